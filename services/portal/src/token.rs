//! Secrets that a browser holds and the box knows only by their hash.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// 256 random bits in a browser's cookie.
///
/// Neither `Clone` nor `Serialize`: it goes out once, in a cookie.
pub struct SecretToken(Zeroizing<[u8; 32]>);

impl SecretToken {
    /// Takes bytes fresh from the system's random generator.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads what [`SecretToken::to_text`] wrote; anything else is no token.
    pub fn parse(text: &str) -> Option<Self> {
        // One spelling for each token: `hex` would take capital letters as well.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    /// 64 hexadecimal digits, for the cookie only.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }

    /// What the box keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_slice()).into())
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretToken(…)")
    }
}

/// SHA-256 of a token. A token has 256 random bits, so a fast hash without a salt
/// is enough: who reads the store cannot make a cookie of it.
#[derive(Debug, Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl PartialEq for TokenHash {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_has_one_spelling_and_never_shows() {
        let token = SecretToken::from_random([0xab; 32]);
        let text = token.to_text();
        assert!(SecretToken::parse(&text).is_some());
        assert!(SecretToken::parse(&text.to_uppercase()).is_none());
        assert!(SecretToken::parse(&text[1..]).is_none());
        assert!(SecretToken::parse(&format!("{}0", *text)).is_none());
        assert_eq!(format!("{token:?}"), "SecretToken(…)");
        // FIPS 180-4's function, of 32 zero bytes.
        assert_eq!(
            serde_json::to_string(&SecretToken::from_random([0; 32]).hash()).unwrap(),
            "\"66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925\""
        );
    }

    proptest! {
        #[test]
        fn tokens_and_hashes_come_back(bytes: [u8; 32], other: [u8; 32]) {
            let token = SecretToken::from_random(bytes);
            let back = SecretToken::parse(&token.to_text()).unwrap();
            prop_assert_eq!(token.hash(), back.hash());
            let json = serde_json::to_string(&token.hash()).unwrap();
            prop_assert_eq!(serde_json::from_str::<TokenHash>(&json).unwrap(), token.hash());
            prop_assert_eq!(SecretToken::from_random(other).hash() == token.hash(), other == bytes);
        }

        #[test]
        fn nothing_typed_breaks_the_parser(text: String) {
            let _ = SecretToken::parse(&text);
        }
    }
}
