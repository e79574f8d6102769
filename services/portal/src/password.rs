//! The admin password: what may be one, its hash, and checking it.

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use roost_service::names::Reason;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::LazyLock;
use zeroize::Zeroizing;
use zxcvbn::feedback::{Feedback, Warning};
use zxcvbn::{Score, zxcvbn};

/// Shortest admin password, in letters. NIST SP 800-63B-4 section 3.1.1.2 asks for 15 where a
/// password is all there is, and 8 beside a second factor; this one is typed on the
/// home network only, at 1,440 tries a day at most, and must be hard to guess.
pub const MIN_LETTERS: usize = 10;
/// Longest, in bytes. There is a bound so that nobody makes the box hash megabytes.
pub const MAX_BYTES: usize = 255;
/// A name of fewer letters than this may stand in a password: almost any would hold it.
const SHORT_NAME: usize = 4;
/// Smallest score of a password: more than 10⁸ guesses, by zxcvbn's estimate.
const MIN_SCORE: Score = Score::Three;

/// A password that a person chose and that keeps the rules. Neither printed nor copied.
pub struct NewPassword(Zeroizing<String>);

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

impl NewPassword {
    /// Checks a password. `names` are what everybody knows of the box: its name, domain, account
    /// and pairing code. What it must be made of is not prescribed.
    ///
    /// # Errors
    /// Says which rule it breaks, without repeating it.
    pub fn choose(text: &str, names: &[&str]) -> Result<Self, Reason> {
        let letters = text.chars().count();
        if letters < MIN_LETTERS {
            return Err(Reason::new(format!(
                "the password is too short: {letters} of at least {MIN_LETTERS} letters"
            ))
            .hint("four words that have nothing to do with each other are easy to keep in mind"));
        }
        if text.len() > MAX_BYTES {
            return Err(Reason::new(format!(
                "the password is longer than {MAX_BYTES} bytes"
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(Reason::new(
                "the password holds a line break or another sign that cannot be typed again",
            ));
        }
        // A name may be written with other signs between its parts.
        let mut known = names.to_vec();
        for name in names {
            known.extend(name.split(|c: char| !c.is_alphanumeric()));
        }
        known.retain(|name| !name.is_empty());
        let rated = zxcvbn(text, &known);
        let mostly = names.iter().any(|name| is_mostly(text, name));
        if mostly || rated.score() < MIN_SCORE {
            let by_names = mostly || zxcvbn(text, &[]).score() >= MIN_SCORE;
            return Err(weak(by_names, rated.feedback().and_then(Feedback::warning)));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Its hash. `salt` are fresh random bytes.
    pub fn hash(&self, salt: [u8; 16]) -> PasswordHash {
        hash(self.0.as_bytes(), salt)
    }
}

/// Whether taking `name` out leaves next to nothing. zxcvbn alone takes `roost-roost`.
fn is_mostly(password: &str, name: &str) -> bool {
    let (password, name) = (bare(password), bare(name));
    name.chars().count() >= SHORT_NAME
        && password.contains(&name)
        && password.replace(&name, "").chars().count() < SHORT_NAME
}

/// Letters and digits in lower case.
fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Why a password is easy to guess, and what to do.
fn weak(by_names: bool, warning: Option<Warning>) -> Reason {
    use Warning as W;
    if by_names {
        return Reason::new("the password is little more than a name of the box or its code")
            .hint("choose one that nobody can read from the box's address");
    }
    let why = match warning {
        Some(W::StraightRowsOfKeysAreEasyToGuess | W::ShortKeyboardPatternsAreEasyToGuess) => {
            "the password follows the keys of the keyboard, which is easy to guess"
        }
        Some(
            W::RepeatsLikeAaaAreEasyToGuess | W::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess,
        ) => "the password repeats itself, so it is no harder to guess than a short one",
        Some(W::SequencesLikeAbcAreEasyToGuess) => {
            "the password goes along the alphabet or the digits, which is easy to guess"
        }
        Some(W::RecentYearsAreEasyToGuess | W::DatesAreOftenEasyToGuess) => {
            "the password is little more than a date, which is easy to guess"
        }
        Some(
            W::NamesAndSurnamesByThemselvesAreEasyToGuess | W::CommonNamesAndSurnamesAreEasyToGuess,
        ) => "the password is little more than somebody's name, which is easy to guess",
        Some(W::ThisIsATop10Password | W::ThisIsATop100Password | W::ThisIsACommonPassword) => {
            "the password is among the first that somebody would try"
        }
        Some(W::ThisIsSimilarToACommonlyUsedPassword) => {
            "the password is too much like one that many people have"
        }
        Some(W::AWordByItselfIsEasyToGuess) => {
            "the password is a single word, which is easy to guess"
        }
        None => "the password is easy to guess",
    };
    Reason::new(why).hint("four words that have nothing to do with each other are harder to guess")
}

/// Argon2id (RFC 9106) with OWASP's smallest recommendation, as image/roost/src/password.rs
/// takes for mail accounts: a Pi with 1 GB checks several at once, at 7 MiB each.
fn argon2() -> Argon2<'static> {
    let params = Params::new(7168, 5, 1, None).expect("these are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

pub(crate) fn hash(password: &[u8], salt: [u8; 16]) -> PasswordHash {
    let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt's usual length");
    let hash = argon2()
        .hash_password(password, &salt)
        .expect("argon2 refuses neither this salt nor any password");
    PasswordHash(hash.to_string())
}

/// Hash of a password that kept the rules, in the PHC string format.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A text that is no hash of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no hash that the portal has made")]
pub struct NotAHash;

impl TryFrom<String> for PasswordHash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        // Only our own parameters: a store cannot make the box spend a gigabyte on a check.
        let parsed = password_hash::PasswordHash::new(&text).map_err(|_| NotAHash)?;
        let ours = text.starts_with("$argon2id$v=19$m=7168,t=5,p=1$") && parsed.hash.is_some();
        if ours { Ok(Self(text)) } else { Err(NotAHash) }
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

/// Whether `typed` is the password of `kept`. Takes the same time whether there is a
/// hash or not; argon2 compares results in constant time.
///
/// Takes 7 MiB of memory and some tenths of a second on a Pi: whoever calls it bounds how many run at once.
pub fn is_right(kept: Option<&PasswordHash>, typed: &str) -> bool {
    static NOBODYS: LazyLock<PasswordHash> = LazyLock::new(|| hash(b"nobody's", [0; 16]));
    // Longer ones can be nobody's, which is no secret.
    if typed.len() > MAX_BYTES {
        return false;
    }
    // Made before it is known whether it is needed, so that the first answer takes no longer either.
    let nobodys = &*NOBODYS;
    let hash = &kept.unwrap_or(nobodys).0;
    let right = password_hash::PasswordHash::new(hash)
        .is_ok_and(|hash| argon2().verify_password(typed.as_bytes(), &hash).is_ok());
    right && kept.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 4] = ["roost", "alice-example.org", "alice", "K7Q2-M9XP"];

    #[test]
    fn good_passwords_are_taken_as_they_are() {
        for good in [
            "correct horse battery",
            "trout-lamp-river",
            "x9!fQ2#mLp",
            "Grüße aus Köln",
            "roost in the old oak",
            "alice walks to work",
            "1729 taxicabs",
            "8023571946",
        ] {
            assert!(NewPassword::choose(good, &NAMES).is_ok(), "{good}");
        }
    }

    #[test]
    fn bad_passwords_are_refused_in_words() {
        let mut text = String::new();
        for bad in [
            "",
            "ninechars",
            "tab\tinside of it",
            &"long one ".repeat(40),
            "roost-roost",
            "Alice-Example.org!",
            "k7q2 m9xp 12",
            "qwertyuiop",
            "Password2026!",
            "IloveYou12345",
            "aaaaaaaaaaaa",
            "abcabcabcabc",
            "abcdefghijkl",
            "9876543210",
            "manchester",
            "P4ssw0rd.123",
            "basketball",
            "19841984198419",
            "13.05.1984",
            "elizabethjones",
            "!!!!!!!!!!!!",
        ] {
            let reason = NewPassword::choose(bad, &NAMES).expect_err(bad);
            assert!(bad.is_empty() || !reason.message.contains(bad));
            let shown: String = bad.chars().take(20).collect();
            text += &format!("{shown:?}: {}\n", reason.message);
            if let Some(hint) = reason.hint {
                text += &format!("    {hint}\n");
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_hash_fits_its_password_only() {
        let password = NewPassword::choose("correct horse battery", &[]).unwrap();
        let (one, two) = (password.hash([1; 16]), password.hash([2; 16]));
        assert_ne!(one, two, "the salt is part of it");
        assert!(is_right(Some(&one), "correct horse battery"));
        assert!(!is_right(Some(&one), "correct horse batterz"));
        assert!(!is_right(None, "nobody's"), "the dummy lets nobody in");
        assert!(!is_right(Some(&one), &"x".repeat(MAX_BYTES + 1)));
        let json = serde_json::to_string(&one).unwrap();
        assert!(json.starts_with("\"$argon2id$v=19$m=7168,t=5,p=1$"));
        assert_eq!(serde_json::from_str::<PasswordHash>(&json).unwrap(), one);
        assert!(
            serde_json::from_str::<PasswordHash>(&json.replace("m=7168", "m=1000000")).is_err()
        );
        assert!(serde_json::from_str::<PasswordHash>("\"hunter2\"").is_err());
        assert_eq!(
            format!("{password:?} {one:?}"),
            "NewPassword(…) PasswordHash(…)"
        );
    }

    proptest! {
        // zxcvbn takes its time without optimisation.
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_breaks_the_rules_and_none_is_repeated(text: String) {
            if let Err(reason) = NewPassword::choose(&text, &NAMES) {
                prop_assert!(text.chars().count() < MIN_LETTERS || !reason.message.contains(&text));
            }
        }
    }
}
