//! SHA-256 values.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

/// A SHA-256 value; as text, 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl std::str::FromStr for Hash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bytes_from_hex(from).map(Self)
    }
}

/// 32 bytes from 64 lower-case digits: one value has one spelling.
pub(crate) fn bytes_from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    use serde::de::Error;
    let text = String::deserialize(from)?;
    let mut bytes = [0; 32];
    if text.bytes().any(|b| b.is_ascii_uppercase())
        || hex::decode_to_slice(&text, &mut bytes).is_err()
    {
        return Err(D::Error::custom("not 64 lower-case hexadecimal digits"));
    }
    Ok(bytes)
}

/// The first half of a SHA-256 value, over a payload as it is stored.
///
/// It keeps bytes that nobody signed away from the zstd decoder. To replace a
/// payload somebody must find a second preimage (2^128 tries); to make two
/// payloads with the same value one must be the signer, who needs no tricks.
/// The other half would only add to what every update sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Check(pub [u8; 16]);

impl Check {
    /// The value of a chunk without payload.
    pub const NONE: Self = Self([0; 16]);

    /// The check of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&Hash::of(bytes).0[..16]);
        Self(half)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
