//! The one-time code that `roost flash` writes to the card.
//!
//! The builder's side has the same rules (services/service/src/card.rs, made elsewhere
//! at the same time); this type goes when both are merged.

use serde::{Deserialize, Serialize};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Crockford's base 32: no I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a code; 5 bits each.
pub const LETTERS: usize = 8;
/// How many codes there are.
pub const CODES: u64 = 1 << (5 * LETTERS);

/// A code: eight letters of Crockford's base 32, that is 40 random bits.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code([u8; LETTERS]);

/// Why a text cannot be a code. It is no guess, and costs no try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotACode {
    /// Too few or too many letters.
    #[error("a pairing code has {LETTERS} letters and digits, like ABCD-EFGH; this has {0}")]
    Length(usize),
    /// A letter that no code has.
    #[error("{0:?} cannot be in a pairing code; digits and the letters from A to Z, except U, can")]
    Letter(char),
}

/// What a person typed, as it is compared: case, spaces and dashes do not matter, O is
/// read as 0, I and L as 1.
///
/// # Errors
/// When a letter is in no code.
pub(crate) fn normalise(typed: &str) -> Result<String, NotACode> {
    typed
        .chars()
        .filter(|c| !c.is_whitespace() && !"-‐‑–—".contains(*c))
        .map(|typed| {
            let letter = match typed.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let known = u8::try_from(letter).is_ok_and(|letter| ALPHABET.contains(&letter));
            known.then_some(letter).ok_or(NotACode::Letter(typed))
        })
        .collect()
}

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
        let text = Zeroizing::new(normalise(typed)?);
        let letters = text.as_bytes().try_into();
        letters.map(Self).map_err(|_| NotACode::Length(text.len()))
    }

    /// A new code of fresh random bytes.
    pub fn from_random(bytes: [u8; LETTERS]) -> Self {
        Self(bytes.map(|byte| ALPHABET[usize::from(byte & 31)]))
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// `ABCD-EFGH`, for the screen that a person reads it from.
    pub fn reveal(&self) -> String {
        let letter = |letter: &u8| char::from(*letter);
        let (one, two) = self.0.split_at(LETTERS / 2);
        let mut text: String = one.iter().map(letter).collect();
        text.push('-');
        text.extend(two.iter().map(letter));
        text
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
        let said: Vec<String> = [
            "",
            "ABCD-EFG",
            "ABCD-EFGH-J",
            "ABCU-EFGH",
            "ABCÄ-EFGH",
            "ABCD EF%GH",
        ]
        .iter()
        .map(|typed| Code::parse(typed).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    proptest! {
        #[test]
        fn codes_come_back(bytes: [u8; LETTERS], other: [u8; LETTERS]) {
            let code = Code::from_random(bytes);
            prop_assert!(code.is(&Code::parse(&code.reveal()).unwrap()));
            let json = serde_json::to_string(&code).unwrap();
            prop_assert!(code.is(&serde_json::from_str(&json).unwrap()));
            let same = bytes.map(|b| b & 31) == other.map(|b| b & 31);
            prop_assert_eq!(code.is(&Code::from_random(other)), same);
        }

        #[test]
        fn nothing_typed_breaks_the_parser(text: String) {
            let _ = Code::parse(&text);
        }
    }
}
