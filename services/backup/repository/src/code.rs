//! The recovery code: twelve words that open a backup.
//!
//! They are BIP 39's English words, of 128 random bits and 4 bits by which a slip is noticed. In the
//! repository they are the password, joined by single blanks: whoever has them can use `restic` too.
//! The list is such that four letters tell its words apart, so that is what has to be readable on paper.

use bip39::{Language, Mnemonic};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Words of a code.
pub const WORDS: usize = 12;
/// Random bytes behind them.
const BYTES: usize = 16;
/// Letters that tell every word of the list from all others.
const LETTERS: usize = 4;

/// A recovery code. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<String>);

/// Why something is no recovery code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCode {
    /// Too few or too many words.
    #[error("it has {0} words, not {WORDS}")]
    Count(usize),
    /// A word that is not in the list; its place, counted from 1.
    #[error("word {0} is not one of the list")]
    Unknown(usize),
    /// All words are of the list, and do not belong together.
    #[error("these words do not belong together: one of them, or their order, is wrong")]
    Checksum,
}

impl Code {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut entropy = Zeroizing::new([0; BYTES]);
        getrandom::fill(&mut entropy[..])?;
        Ok(Self::of(&entropy))
    }

    fn of(entropy: &[u8; BYTES]) -> Self {
        // The length is one of those that BIP 39 has, so the other arm is never taken.
        let words = Mnemonic::from_entropy_in(Language::English, entropy)
            .map(|mnemonic| mnemonic.words().collect::<Vec<_>>().join(" "))
            .unwrap_or_default();
        Self(Zeroizing::new(words))
    }

    /// What somebody has typed, or read from paper: in any case, with anything but letters between the
    /// words. Of each word the first four letters do.
    ///
    /// # Errors
    /// [`NoCode`].
    pub fn parse(typed: &str) -> Result<Self, NoCode> {
        let mut lower = Zeroizing::new(typed.to_lowercase());
        let list = Language::English.word_list();
        let typed: Vec<&str> = lower
            .split(|c: char| !c.is_alphabetic())
            .filter(|word| !word.is_empty())
            .collect();
        if typed.len() != WORDS {
            return Err(NoCode::Count(typed.len()));
        }
        let mut words = Vec::new();
        for (place, typed) in typed.iter().enumerate() {
            let found = list
                .iter()
                .find(|word| *word == typed || (typed.len() >= LETTERS && word.starts_with(typed)));
            words.push(*found.ok_or(NoCode::Unknown(place + 1))?);
        }
        let words = Zeroizing::new(words.join(" "));
        let sound = Mnemonic::parse_in_normalized(Language::English, &words).is_ok();
        lower.zeroize();
        sound.then_some(Self(words)).ok_or(NoCode::Checksum)
    }

    /// The words with single blanks between them: the repository's password.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words, to be shown with their numbers.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_words_are_those_of_the_standard() {
        // Test vectors of BIP 39 (github.com/trezor/python-mnemonic, vectors.json).
        let zeros = Code::of(&[0; BYTES]);
        assert_eq!(
            zeros.as_str(),
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
        );
        let code = Code::of(&[0x7f; BYTES]);
        assert_eq!(
            code.as_str(),
            "legal winner thank year wave sausage worth useful legal winner thank yellow"
        );
        assert_eq!(format!("{code:?}"), "Code(…)");
        assert_ne!(Code::random().unwrap(), Code::random().unwrap());
    }

    #[test]
    fn slips_are_named() {
        let good = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        let parse = |text: &str| Code::parse(text).map(|_| ());
        assert_eq!(parse(good), Ok(()));
        assert_eq!(parse("legal winner"), Err(NoCode::Count(2)));
        assert_eq!(parse(""), Err(NoCode::Count(0)));
        assert_eq!(
            parse(&good.replace("wave", "wafe")),
            Err(NoCode::Unknown(5))
        );
        assert_eq!(parse(&good.replace("wave", "waste")), Err(NoCode::Checksum));
        assert_eq!(
            parse(&good.replace("legal winner thank year", "winner legal thank year")),
            Err(NoCode::Checksum)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_down_is_read_back(entropy in any::<[u8; BYTES]>(), capitals: bool, short: bool) {
            let code = Code::of(&entropy);
            prop_assert_eq!(code.words().count(), WORDS);
            let mut lines = String::new();
            for (number, word) in code.words().enumerate() {
                let word = if short { &word[..word.len().min(LETTERS)] } else { word };
                lines += &format!("{:>2}. {word}\n", number + 1);
            }
            if capitals {
                lines = lines.to_uppercase();
            }
            prop_assert_eq!(Code::parse(&lines), Ok(code));
        }

        #[test]
        fn junk_is_refused_in_words(text in ".{0,200}") {
            // One in 2^136 texts of letters would be a code.
            prop_assert!(Code::parse(&text).is_err());
        }
    }
}
