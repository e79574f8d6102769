//! The laptop's key pair for one box, and the certificate that shows it.

use crate::error::Failure;
use crate::password::random;
use roost_service::card::is_computer_name;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// An Ed25519 private key in PKCS#8 before its 32-byte seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The secret half of a laptop's key (Ed25519, RFC 8032); as text 64 hexadecimal digits. Each box
/// gets a key of its own, so that boxes cannot tell that they know the same laptop.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the system gives no random numbers.
    pub fn make() -> Result<Self, Failure> {
        Ok(Self(Zeroizing::new(random()?)))
    }
}

/// What a box shall call this computer: what was given, or else its host name.
///
/// # Errors
///
/// A [`Failure`] if no box takes that.
pub fn computer_name(given: Option<&str>) -> Result<String, Failure> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    };
    let name = name.trim();
    if !is_computer_name(name) {
        return Err(
            Failure::usage(format!("{name:?} is no name for this computer"))
                .hint("give it 1 to 64 letters: --laptop NAME"),
        );
    }
    Ok(name.to_owned())
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(hex::encode(*self.0)))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.as_bytes(), &mut *seed)
            .map_err(|_| serde::de::Error::custom("a laptop's key has 64 hexadecimal digits"))?;
        Ok(Self(seed))
    }
}

/// The laptop's key pair, as TLS wants it.
#[derive(Clone)]
pub struct Identity {
    /// Key and certificate. The box looks at nothing but the key.
    pub certified: Arc<CertifiedKey>,
    /// The public half in hexadecimal digits.
    pub public: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(of {})", self.public)
    }
}

impl Identity {
    /// Of this seed.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if no certificate can be made, which does not happen to a seed.
    pub fn of(seed: &Seed) -> Result<Self, Failure> {
        let cannot = || Failure::new("this laptop's key makes no certificate");
        let der = Zeroizing::new([&PKCS8_PREFIX[..], &*seed.0].concat());
        let (certificate, public) = certificate(&der).map_err(|e| cannot().because(e))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der.to_vec()));
        let key = ring::sign::any_supported_type(&key).map_err(|e| cannot().because(e))?;
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(vec![certificate], key)),
            public,
        })
    }
}

fn certificate(pkcs8: &[u8]) -> Result<(CertificateDer<'static>, String), rcgen::Error> {
    let pair = rcgen::KeyPair::from_der_and_sign_algo(pkcs8, &rcgen::PKCS_ED25519)?;
    let public = hex::encode(pair.public_key_raw());
    let mut params = rcgen::CertificateParams::new(Vec::new());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "roost laptop");
    params.alg = &rcgen::PKCS_ED25519;
    params.key_pair = Some(pair);
    let der = rcgen::Certificate::from_params(params)?.serialize_der()?;
    Ok((der.into(), public))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first test vector of RFC 8032, section 7.1.
    #[test]
    fn a_seed_gives_the_public_key_of_the_standard() {
        let text = "\"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\"";
        let seed: Seed = serde_json::from_str(text).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let identity = Identity::of(&seed).unwrap();
        assert_eq!(identity.public, public);
        assert_eq!(format!("{identity:?}"), format!("Identity(of {public})"));
        assert_eq!(format!("{seed:?}"), "Seed(…)");
        assert_eq!(serde_json::to_string(&seed).unwrap(), text);
        assert_ne!(Seed::make().unwrap(), Seed::make().unwrap());
    }

    proptest! {
        #[test]
        fn junk_is_no_seed(text: String) {
            let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            let json = serde_json::Value::String(text);
            prop_assert_eq!(serde_json::from_value::<Seed>(json).is_ok(), hex);
        }
    }
}
