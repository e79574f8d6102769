//! The one-time code that `roost flash` writes to the card; its rules are [`roost_service::card`]'s.

use roost_service::card::{ALPHABET, CODE_LETTERS, code, display_code, normalise_code};
use serde::{Deserialize, Serialize};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// How many codes there are.
pub const CODES: u64 = 1 << (5 * CODE_LETTERS);

/// A code, as [`normalise_code`] gives it: 40 random bits.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(Zeroizing<String>);

/// A text cannot be a code. It is no guess, and costs no try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pairing code has {CODE_LETTERS} letters from A to Z and digits, like ABCD-EFGH, and no U"
)]
pub struct NotACode;

/// A letter for each random byte; 256 is a multiple of 32, so the bytes' low five bits are as
/// evenly spread as they are.
pub(crate) fn letters(random: &[u8]) -> String {
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte & 31)]);
    random.iter().map(letter).collect()
}

impl Code {
    /// Reads what a person typed.
    ///
    /// # Errors
    /// When it cannot be a code.
    pub fn parse(typed: &str) -> Result<Self, NotACode> {
        let code = normalise_code(typed).ok_or(NotACode)?;
        Ok(Self(Zeroizing::new(code)))
    }

    /// A new code of fresh random bytes.
    pub fn from_random(bytes: [u8; 5]) -> Self {
        Self(Zeroizing::new(code(bytes)))
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn is(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }

    /// As [`normalise_code`] gives it, for init.
    pub fn normalised(&self) -> &str {
        &self.0
    }

    /// `ABCD-EFGH`, for the screen that a person reads it from.
    pub fn reveal(&self) -> String {
        display_code(&self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl TryFrom<String> for Code {
    type Error = NotACode;

    fn try_from(text: String) -> Result<Self, NotACode> {
        Self::parse(&text)
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.reveal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_type_is_understood() {
        let code = Code::parse("ABCD-0110").unwrap();
        for typed in [
            "abcd-olio",
            " AB CD — 0 1 1 0\n",
            "ABCD0IlO",
            "a-b-c-d-0-1-1-0",
        ] {
            assert!(code.is(&Code::parse(typed).unwrap()), "{typed:?}");
        }
        assert_eq!(code.reveal(), "ABCD-0110");
        assert_eq!(format!("{code:?}"), "Code(…)");
    }

    #[test]
    fn what_is_no_code_is_said_in_words() {
        for typed in [
            "",
            "ABCD-EFG",
            "ABCD-EFGH-J",
            "ABCU-EFGH",
            "ABCÄ-EFGH",
            "ABCD EF%GH",
        ] {
            assert_eq!(Code::parse(typed).unwrap_err(), NotACode, "{typed:?}");
        }
        insta::assert_snapshot!(NotACode);
    }

    proptest! {
        #[test]
        fn codes_come_back(bytes: [u8; 5], other: [u8; 5]) {
            let code = Code::from_random(bytes);
            prop_assert!(code.is(&Code::parse(&code.reveal()).unwrap()));
            let json = serde_json::to_string(&code).unwrap();
            prop_assert!(code.is(&serde_json::from_str(&json).unwrap()));
            prop_assert_eq!(code.is(&Code::from_random(other)), bytes == other);
        }

        #[test]
        fn nothing_typed_breaks_the_parser(text: String) {
            let _ = Code::parse(&text);
        }
    }
}
