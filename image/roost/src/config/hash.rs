//! Hashes of passwords in the forms that the mail service can check.

use super::read::{MAKE_A_HASH, Reason, printable};
use argon2::password_hash::PasswordHash as Phc;
use std::fmt;

/// A password's hash, checked to be complete and cheap enough for the smallest box.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Most memory that checking one password may take, in KiB: several log-ins at once must
/// fit beside everything else into a Pi with 1 GB.
const MAX_MEMORY_KIB: u64 = 64 << 10;
/// Most rounds of SHA-crypt and PBKDF2: about ten seconds on a Pi 3.
const MAX_ROUNDS: u64 = 1_000_000;
/// Most bcrypt cost (2^cost rounds): some seconds on a Pi 3.
const MAX_BCRYPT_COST: u8 = 14;

const CRYPT_ALPHABET: &str = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl PasswordHash {
    /// Checks the form of a hash; a text that is no hash is taken for a password and never repeated.
    pub fn parse(value: &str) -> Result<Self, Reason> {
        Self::check(value).map_err(|message| Reason::new(message).hint(MAKE_A_HASH))?;
        Ok(Self(value.to_owned()))
    }

    fn check(value: &str) -> Result<(), String> {
        let Some((scheme, rest)) = value.strip_prefix('$').and_then(|v| v.split_once('$')) else {
            return Err(if value.starts_with('{') {
                "hashes in the form {SCHEME}… are not accepted".to_owned()
            } else {
                "this is no password hash".to_owned()
            });
        };
        match scheme {
            "argon2id" | "argon2i" | "argon2d" => argon2(value),
            "scrypt" => scrypt(value),
            "pbkdf2-sha256" | "pbkdf2-sha512" => pbkdf2(value),
            "2a" | "2b" | "2y" => bcrypt(rest),
            "5" => sha_crypt("SHA-256", rest, 43),
            "6" => sha_crypt("SHA-512", rest, 86),
            "1" | "apr1" | "sha1" | "3" | "md5" => Err(format!(
                "hashes of the form ${scheme}$ are broken or too quick to guess"
            )),
            "y" | "gy" | "7" => Err(format!(
                "the mail service does not understand yescrypt (${scheme}$)"
            )),
            other => Err(format!(
                "the mail service does not understand hashes of the form ${}$",
                printable(other)
            )),
        }
    }

    /// The hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A hash is no secret like the password, but has no business in logs either.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// The parts of a PHC string; salt and hash must be there.
fn phc<'v>(name: &str, value: &'v str) -> Result<Phc<'v>, String> {
    let phc = Phc::new(value).map_err(|e| format!("the {name} hash is damaged ({e})"))?;
    if phc.salt.is_none() || phc.hash.is_none() {
        return Err(format!(
            "the {name} hash is cut off: its salt or its end is missing"
        ));
    }
    Ok(phc)
}

fn argon2(value: &str) -> Result<(), String> {
    let phc = phc("Argon2", value)?;
    let params =
        argon2::Params::try_from(&phc).map_err(|e| format!("the Argon2 hash is damaged ({e})"))?;
    within_memory(u64::from(params.m_cost()))
}

fn scrypt(value: &str) -> Result<(), String> {
    let phc = phc("scrypt", value)?;
    let number = |name: &str| phc.params.get_decimal(name).map(u64::from);
    match (number("ln"), number("r"), number("p")) {
        (Some(ln @ 1..=40), Some(r @ 1..=1024), Some(1..=16)) => {
            within_memory((128 * r) << ln >> 10)
        }
        _ => Err("the scrypt hash has missing or impossible parameters (ln, r, p)".to_owned()),
    }
}

fn pbkdf2(value: &str) -> Result<(), String> {
    let phc = phc("PBKDF2", value)?;
    rounds_allowed(phc.params.get_decimal("i").map_or(0, u64::from))
}

/// `$2b$` cost, 22 letters of salt, 31 of hash.
fn bcrypt(rest: &str) -> Result<(), String> {
    let (cost, tail) = rest.split_once('$').ok_or("the bcrypt hash is cut off")?;
    let cost = match cost.parse::<u8>() {
        Ok(n @ 4..=31) if cost.len() == 2 => n,
        _ => return Err("the bcrypt hash has an impossible cost".to_owned()),
    };
    if cost > MAX_BCRYPT_COST {
        return Err(format!(
            "bcrypt with cost {cost} takes too long on a small box (at most {MAX_BCRYPT_COST})"
        ));
    }
    letters("bcrypt", tail, 53)
}

/// `$6$[rounds=N$]salt$hash`.
fn sha_crypt(name: &str, rest: &str, length: usize) -> Result<(), String> {
    let rest = match rest.strip_prefix("rounds=") {
        Some(after) => {
            let (rounds, rest) = after
                .split_once('$')
                .ok_or_else(|| format!("the {name} hash is cut off"))?;
            // Outside these bounds crypt(3) silently takes the bound, and the hash never matches.
            match rounds.parse::<u64>() {
                Ok(n @ 1000..=999_999_999) if !rounds.starts_with(['+', '0']) => rounds_allowed(n)?,
                _ => {
                    return Err(format!(
                        "the {name} hash has an impossible number of rounds"
                    ));
                }
            }
            rest
        }
        None => rest,
    };
    let (salt, hash) = rest
        .split_once('$')
        .ok_or_else(|| format!("the {name} hash is cut off"))?;
    if salt.is_empty() || salt.len() > 16 || !salt.chars().all(|c| CRYPT_ALPHABET.contains(c)) {
        return Err(format!("the {name} hash has no valid salt"));
    }
    letters(name, hash, length)
}

fn letters(name: &str, text: &str, length: usize) -> Result<(), String> {
    if text.chars().all(|c| CRYPT_ALPHABET.contains(c)) && text.len() == length {
        return Ok(());
    }
    Err(format!(
        "the {name} hash is damaged: {length} letters belong after its last $, {} are there",
        text.chars().count()
    ))
}

fn within_memory(kib: u64) -> Result<(), String> {
    if kib <= MAX_MEMORY_KIB {
        return Ok(());
    }
    Err(format!(
        "checking this hash takes {} MiB of memory, more than a small box can spare (at most {})",
        kib >> 10,
        MAX_MEMORY_KIB >> 10
    ))
}

fn rounds_allowed(rounds: u64) -> Result<(), String> {
    match rounds {
        0 => Err("the hash has no number of rounds".to_owned()),
        1..=MAX_ROUNDS => Ok(()),
        _ => Err(format!(
            "{rounds} rounds take too long on a small box (at most {MAX_ROUNDS})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_mail_understands_is_accepted() {
        for good in [
            "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$scrypt$ln=14,r=8,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$pbkdf2-sha256$i=600000,l=32$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe",
            "$6$rounds=11531$G/gkPn17kHYo0gTF$Kq.uZBHlSBXyzsOJXtxJruOOH4yc0Is13uY7yK0PvAvXxbvc1w8DO1RzREMhKsc82K/Jh8OquV8FZUlreYPJk1",
        ] {
            if let Err(reason) = PasswordHash::parse(good) {
                panic!("{good}: {}", reason.message);
            }
        }
    }

    #[test]
    fn a_hash_that_cannot_work_is_refused() {
        let sha512 = "a".repeat(86);
        for bad in [
            "",
            "hunter2",
            "$",
            "$6$",
            "$6$salt$short",
            "{SSHA}abcd",
            "$1$salt$aaaaaaaaaaaaaaaaaaaaaa",
            "$y$j9T$x$y",
            "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=7168,t=5$!!$!!",
            "$argon2id$v=19$m=1048576,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$scrypt$ln=20,r=8,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$scrypt$ln=14,r=8$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$2b$31$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe",
            "$2b$05$short",
            &format!("$6$rounds=999$salt${sha512}"),
            &format!("$6$toolongsalttoolongsalt${sha512}"),
            &format!("$6$s:lt${sha512}"),
            &format!("$6$rounds=90000000$salt${sha512}"),
        ] {
            assert!(PasswordHash::parse(bad).is_err(), "{bad:?}");
        }
    }
}
