//! Who is who: the laptop's key pair and certificate, and the public key that a box shows.

use crate::error::Failure;
use crate::keys::{self, Purpose};
use crate::ui::Ui;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::Path;

/// An Ed25519 private key in PKCS#8 before its 32-byte seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// An Ed25519 SubjectPublicKeyInfo before its 32-byte key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The public key by which a box is known (Ed25519); as text 64 lower-case hexadecimal digits.
/// Holding one proves nothing: whoever showed it must also have signed the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BoxKey([u8; 32]);

impl BoxKey {
    /// The key of a certificate.
    ///
    /// # Errors
    ///
    /// What is wrong, in plain words, if it is no certificate or its key is of another kind.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let parsed = ParsedCertificate::try_from(certificate)
            .map_err(|e| format!("its certificate cannot be read: {e}"))?;
        let info = parsed.subject_public_key_info();
        info.strip_prefix(&SPKI_PREFIX)
            .and_then(|key| key.try_into().ok())
            .map(Self)
            .ok_or_else(|| "its certificate holds no Ed25519 key".to_owned())
    }

    /// For people who compare two of them: eight groups of eight digits.
    pub fn fingerprint(&self) -> String {
        let digits = self.to_string();
        let groups: Vec<&str> = (0..8).map(|n| &digits[n * 8..n * 8 + 8]).collect();
        groups.join(" ")
    }
}

impl fmt::Display for BoxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BoxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BoxKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BoxKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
        let mut key = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut key)
            .map_err(|_| serde::de::Error::custom("a box's key has 64 hexadecimal digits"))?;
        Ok(Self(key))
    }
}

/// The laptop's key pair, as TLS wants it.
pub struct Identity {
    /// Self-signed; the box looks at nothing but its key.
    pub certificate: CertificateDer<'static>,
    /// The private half.
    pub key: PrivateKeyDer<'static>,
    /// The public half in hexadecimal digits, as it stands in `roost.toml`.
    pub public: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(of {})", self.public)
    }
}

impl Identity {
    /// Reads the laptop's key in `folder`, and makes the certificate from it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the file is missing, cannot be read, or holds no key.
    pub fn load(folder: &Path, ui: &Ui) -> Result<Self, Failure> {
        let path = folder.join(Purpose::Laptop.file_name());
        if !path.exists() {
            return Err(Failure::new("this laptop has no key for the box")
                .because(format!("{} does not exist", path.display()))
                .hint("`roost init` makes it; or copy it from the laptop where you ran that"));
        }
        let seed = keys::seed(&path, ui)?;
        let cannot = || Failure::new("this laptop's key makes no certificate");
        Self::from_seed(&seed).map_err(|e| cannot().because(e))
    }

    fn from_seed(seed: &[u8; 32]) -> Result<Self, rcgen::Error> {
        let der = [&PKCS8_PREFIX[..], seed].concat();
        let pair = rcgen::KeyPair::from_der_and_sign_algo(&der, &rcgen::PKCS_ED25519)?;
        let public = hex::encode(pair.public_key_raw());
        let mut params = rcgen::CertificateParams::new(Vec::new());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "roost laptop");
        params.alg = &rcgen::PKCS_ED25519;
        params.key_pair = Some(pair);
        let certificate = rcgen::Certificate::from_params(params)?.serialize_der()?;
        Ok(Self {
            certificate: certificate.into(),
            key: PrivatePkcs8KeyDer::from(der).into(),
            public,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Mode;
    use proptest::prelude::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn folder_with(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(Purpose::Laptop.file_name());
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        dir
    }

    fn load(dir: &tempfile::TempDir) -> Result<Identity, Failure> {
        Identity::load(dir.path(), &Ui::new(Mode::Quiet))
    }

    /// The first test vector of RFC 8032, section 7.1.
    #[test]
    fn a_seed_gives_the_public_key_of_the_standard() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let identity = load(&folder_with(seed)).unwrap();
        assert_eq!(identity.public, public);
        let shown = BoxKey::of_certificate(&identity.certificate).unwrap();
        assert_eq!(shown.to_string(), public);
        assert!(shown.fingerprint().starts_with("d75a9801 82b10ab7 "));
        assert_eq!(format!("{identity:?}"), format!("Identity(of {public})"));
    }

    #[test]
    fn a_missing_or_unusable_key_says_what_to_do() {
        let missing = tempfile::tempdir().unwrap();
        let short = folder_with("abcd");
        let mut text = String::new();
        for dir in [&missing, &short] {
            let failure = load(dir).unwrap_err();
            text += &failure
                .render()
                .replace(&dir.path().display().to_string(), "FOLDER");
        }
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn another_kind_of_key_is_refused() {
        let certificate = rcgen::generate_simple_self_signed(vec!["roost".into()]).unwrap();
        let der = certificate.serialize_der().unwrap().into();
        assert_eq!(
            BoxKey::of_certificate(&der),
            Err("its certificate holds no Ed25519 key".to_owned())
        );
    }

    proptest! {
        #[test]
        fn junk_is_no_certificate_and_no_key(junk: Vec<u8>, text: String) {
            prop_assert!(BoxKey::of_certificate(&junk.into()).is_err());
            let json = serde_json::Value::String(text.clone());
            let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(serde_json::from_value::<BoxKey>(json).is_ok(), hex);
        }

        /// A damaged certificate gives an error or some key, and never a panic.
        #[test]
        fn a_damaged_certificate_never_panics(
            seed: [u8; 32],
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut: prop::sample::Index,
        ) {
            let identity = Identity::from_seed(&seed).unwrap();
            let whole = identity.certificate.to_vec();
            let mut damaged = whole.clone();
            for (at, byte) in damage {
                damaged[at.index(whole.len())] = byte;
            }
            let _ = BoxKey::of_certificate(&damaged.into());
            let cut = &whole[..cut.index(whole.len())];
            prop_assert!(BoxKey::of_certificate(&cut.to_vec().into()).is_err());
        }
    }
}
