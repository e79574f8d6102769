//! Keys by which somebody signs in at an SFTP server.

use roost_service::backup::HostKey;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{Error as KeyError, LineEnding};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What stands behind the key in `authorized_keys`, for whoever reads that.
const COMMENT: &str = "roost-backup";

/// A private key.
#[derive(Clone)]
pub struct Key(Arc<PrivateKey>);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// It is in no form that is known.
    #[error("it is no private key as ssh-keygen writes it")]
    Form,
    /// It has a passphrase, and none or another was given.
    #[error("it has a passphrase, which is needed")]
    Passphrase,
    /// Of a kind that is not used.
    #[error("it is of a kind that is not used here: Ed25519 and ECDSA are (ssh-keygen -t ed25519)")]
    Kind,
}

impl Key {
    /// A new one, Ed25519.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
        // Nothing in such a pair can be refused.
        let key = PrivateKey::new(pair, COMMENT).map_err(|_| getrandom::Error::UNEXPECTED)?;
        Ok(Self(Arc::new(key)))
    }

    /// As OpenSSH writes it, with a passphrase if it has one.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn parse(text: &str, passphrase: Option<&str>) -> Result<Self, NoKey> {
        let key = PrivateKey::from_openssh(text.trim()).map_err(|error| match error {
            KeyError::AlgorithmUnknown | KeyError::AlgorithmUnsupported { .. } => NoKey::Kind,
            _ => NoKey::Form,
        })?;
        let key = match (key.is_encrypted(), passphrase) {
            (false, _) => key,
            (true, None) => return Err(NoKey::Passphrase),
            (true, Some(passphrase)) => key.decrypt(passphrase).map_err(|_| NoKey::Passphrase)?,
        };
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(Self(Arc::new(key))),
            _ => Err(NoKey::Kind),
        }
    }

    /// As OpenSSH writes it, without a passphrase.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Only keys of other kinds cannot be written so.
        self.0.to_openssh(LineEnding::LF).unwrap_or_default()
    }

    /// The public half as a line for `authorized_keys`.
    pub fn line(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    pub(super) fn private(&self) -> Arc<PrivateKey> {
        self.0.clone()
    }
}

/// A public key's fingerprint. `None` has no key: it always has 43 digits.
pub fn fingerprint(key: &PublicKey) -> Option<HostKey> {
    key.fingerprint(HashAlg::Sha256).to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_key_is_written_and_read_as_ssh_keygen_does() {
        let key = Key::random().unwrap();
        let text = key.to_text();
        assert!(
            text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"),
            "no text"
        );
        let again = Key::parse(&text, None).unwrap();
        assert_eq!(again.line(), key.line());
        assert_ne!(Key::random().unwrap().line(), key.line());
        let line = key.line();
        assert!(
            line.starts_with("ssh-ed25519 AAAA") && line.ends_with(" roost-backup"),
            "{line}"
        );
        for junk in [
            "",
            "ssh-ed25519 AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
        ] {
            assert_eq!(Key::parse(junk, None).err(), Some(NoKey::Form));
        }
    }

    #[test]
    fn keys_of_openssh_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let made = |kind: &str, passphrase: &str| {
            let path = dir.path().join(format!("{kind}{passphrase}"));
            let out = Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-N", passphrase, "-f"])
                .arg(&path)
                .output()
                .expect("ssh-keygen is installed (scripts/setup test)");
            assert!(out.status.success(), "{out:?}");
            let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
            (std::fs::read_to_string(path).unwrap(), public)
        };
        for kind in ["ed25519", "ecdsa"] {
            let (text, public) = made(kind, "");
            assert_eq!(Key::parse(&text, None).unwrap().line(), public.trim());
        }
        let (text, public) = made("ed25519", "open sesame");
        assert_eq!(Key::parse(&text, None).err(), Some(NoKey::Passphrase));
        assert_eq!(Key::parse(&text, Some("x")).err(), Some(NoKey::Passphrase));
        let key = Key::parse(&text, Some("open sesame")).unwrap();
        assert_eq!(key.line(), public.trim());
        let (text, _) = made("rsa", "");
        assert_eq!(Key::parse(&text, None).err(), Some(NoKey::Kind));
    }
}
