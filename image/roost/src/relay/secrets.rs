//! What the relay must know and nobody else: its WireGuard key and the secret of zone transfers.
//!
//! Both are made on this computer and kept beside the box's update key. Terraform gets them
//! through its environment, as ephemeral variables.

use crate::error::Failure;
use crate::keys;
use crate::ui::Ui;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// File of the WireGuard key.
const KEY: &str = "relay.key";
/// File of the secret of zone transfers.
const TSIG: &str = "relay-tsig.key";
/// What stands in a text where a secret stood.
const HIDDEN: &str = "(secret)";

/// The relay's secrets.
pub struct Secrets {
    /// X25519 private key as WireGuard writes it: 44 characters of base64.
    pub private_key: Zeroizing<String>,
    /// Its public half, written in the same way.
    pub public_key: String,
    /// 32 bytes in base64 (RFC 8945).
    pub tsig: Zeroizing<String>,
    /// Where they are.
    pub folder: PathBuf,
}

impl Secrets {
    /// Those in `folder`; what is not there is made, and nothing is ever replaced.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if a file is damaged, or cannot be read or written.
    pub fn keep(folder: &Path, owner: &str, ui: &Ui) -> Result<Self, Failure> {
        let key = keys::keep_seed(folder, KEY, ui, |_| {
            format!("Secret. WireGuard key of the relay of {owner}, made by `roost relay`.")
        })?;
        let tsig = keys::keep_seed(folder, TSIG, ui, |_| {
            format!(
                "Secret. The relay of {owner} may copy its zones with this (TSIG), made by `roost relay`."
            )
        })?;
        let private = StaticSecret::from(*key.seed);
        Ok(Self {
            // WireGuard shows keys as they are used: with the bits set that RFC 7748 wants.
            private_key: Zeroizing::new(STANDARD.encode(clamped(*key.seed))),
            public_key: STANDARD.encode(PublicKey::from(&private).as_bytes()),
            tsig: Zeroizing::new(STANDARD.encode(*tsig.seed)),
            folder: folder.to_owned(),
        })
    }

    /// The text without any secret, whatever somebody wrote into it.
    pub fn hide(&self, text: &str) -> String {
        text.replace(self.private_key.as_str(), HIDDEN)
            .replace(self.tsig.as_str(), HIDDEN)
    }
}

/// The private key as X25519 uses it (RFC 7748 section 5).
fn clamped(mut key: [u8; 32]) -> [u8; 32] {
    key[0] &= 248;
    key[31] = (key[31] & 127) | 64;
    key
}

/// Whether the text is a WireGuard key: 32 bytes in base64.
pub fn is_key(text: &str) -> bool {
    text.len() == 44 && STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Mode;

    #[test]
    fn the_public_key_belongs_to_the_private_one() {
        let dir = tempfile::tempdir().unwrap();
        // With bits set that X25519 does not use.
        let seed = "ff".repeat(32);
        std::fs::write(dir.path().join(KEY), format!("{seed}\n")).unwrap();
        let secrets = Secrets::keep(dir.path(), "example.org", &Ui::new(Mode::Quiet)).unwrap();
        let private: [u8; 32] = (STANDARD.decode(secrets.private_key.as_str()).unwrap())
            .try_into()
            .unwrap();
        let public = PublicKey::from(&StaticSecret::from(private));
        assert_eq!(STANDARD.encode(public.as_bytes()), secrets.public_key);
        assert!(is_key(&secrets.private_key) && is_key(&secrets.public_key));
        assert!(is_key(&secrets.tsig) && *secrets.tsig != *secrets.private_key);
    }

    #[test]
    fn secrets_stay_the_same_and_out_of_texts() {
        let dir = tempfile::tempdir().unwrap();
        let ui = Ui::new(Mode::Quiet);
        let one = Secrets::keep(dir.path(), "example.org", &ui).unwrap();
        let two = Secrets::keep(dir.path(), "example.org", &ui).unwrap();
        assert_eq!(one.private_key, two.private_key);
        assert_eq!(one.tsig, two.tsig);
        let said = format!("{} and {}", *one.private_key, *one.tsig);
        assert_eq!(one.hide(&said), "(secret) and (secret)");
    }
}
