//! A certificate's fingerprint, as browsers show it and as words to read out.

use bip39::Language;
use sha2::{Digest, Sha256};

/// Words shown: 66 bits of the hash, too many to make a second certificate for in the time that
/// somebody compares them.
const WORDS: usize = 6;
/// Bits that a word of the list of 2,048 stands for.
const BITS: usize = 11;

/// SHA-256 of a certificate (DER), which browsers call its SHA-256 fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of this certificate.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// As 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Two lines of pairs with colons, as browsers show it.
    pub fn lines(&self) -> [String; 2] {
        let (first, last) = self.0.split_at(16);
        [first, last].map(|half| {
            let pairs: Vec<String> = half.iter().map(|byte| format!("{byte:02X}")).collect();
            pairs.join(":")
        })
    }

    /// The first bits, eleven at a time, as words of BIP 39's English list: no two of them begin
    /// with the same four letters.
    pub fn words(&self) -> [&'static str; WORDS] {
        let list = Language::English.word_list();
        std::array::from_fn(|word| {
            let number = (word * BITS..(word + 1) * BITS).fold(0, |number, bit| {
                number << 1 | usize::from(self.0[bit / 8] >> (7 - bit % 8) & 1)
            });
            list[number]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_first_bits() {
        assert_eq!(Fingerprint([0; 32]).words(), ["abandon"; 6]);
        assert_eq!(Fingerprint([0xff; 32]).words(), ["zoo"; 6]);
        // The first vector of BIP 39 that is not one word repeated: 7f 7f … is "legal winner thank
        // year wave sausage …".
        let words = Fingerprint([0x7f; 32]).words();
        assert_eq!(
            words,
            ["legal", "winner", "thank", "year", "wave", "sausage"]
        );
    }

    #[test]
    fn a_fingerprint_reads_as_in_a_browser() {
        // sha256sum of no bytes.
        let fingerprint = Fingerprint::of(b"");
        assert_eq!(
            fingerprint.lines(),
            [
                "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24",
                "27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55"
            ]
        );
        assert!(fingerprint.hex().starts_with("e3b0c442"));
    }
}
