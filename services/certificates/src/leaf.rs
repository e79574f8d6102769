//! What a certificate says of itself.

use crate::keys;
use crate::renew::Lifetime;
use instant_acme::CertificateIdentifier;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The first certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// SHA-256 of it, in hex.
    pub version: String,
    /// Serial number, in hex.
    pub serial: String,
    /// When it holds.
    pub life: Lifetime,
    /// SHA-256 of the key, in hex.
    pub key_sha256: String,
    /// Its DNS names, sorted.
    pub names: Vec<String>,
}

impl Leaf {
    /// Reads the first certificate of a chain in PEM.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(chain: &str) -> Result<Self, String> {
        let blocks = pem::parse_many(chain).map_err(|e| format!("it is no PEM: {e}"))?;
        let first = blocks
            .into_iter()
            .find(|block| block.tag() == "CERTIFICATE");
        let der = first
            .ok_or("there is no certificate in it")?
            .into_contents();
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|e| format!("it is no certificate: {e}"))?;
        let time = |time: i64| u64::try_from(time).map_err(|_| "it is from before 1970");
        let life = Lifetime {
            from: time(certificate.validity().not_before.timestamp())?,
            until: time(certificate.validity().not_after.timestamp())?,
        };
        if life.from >= life.until {
            return Err("it never holds".into());
        }
        let alternative = certificate.subject_alternative_name();
        let alternative = alternative.map_err(|e| format!("its names are broken: {e}"))?;
        let mut names: Vec<String> = alternative
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        names.sort_unstable();
        Ok(Self {
            version: hex::encode(Sha256::digest(&der)),
            serial: hex::encode(certificate.raw_serial()),
            life,
            key_sha256: keys::hash(certificate.public_key().raw),
            names,
            der,
        })
    }

    /// What it is called in questions for advice (RFC 9773, section 4.1); `None` if its issuer did not
    /// say which key has signed it.
    pub fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let der = self.der.as_slice().into();
        let id = CertificateIdentifier::try_from(&der).ok()?;
        Some(id.into_owned())
    }

    /// Whether it is for exactly these names.
    pub fn is_for(&self, names: &[String]) -> bool {
        let mut names = names.to_vec();
        names.sort_unstable();
        self.names == names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};

    fn made(names: &[&str]) -> (KeyPair, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (key, pem)
    }

    #[test]
    fn a_leaf_tells_names_and_key() {
        let (key, pem) = made(&["b.example", "a.example"]);
        let leaf = Leaf::parse(&(pem + &made(&["issuer"]).1)).unwrap();
        assert_eq!(leaf.names, ["a.example", "b.example"]);
        assert!(leaf.is_for(&["b.example".into(), "a.example".into()]));
        assert!(!leaf.is_for(&["a.example".into()]));
        assert_eq!(leaf.key_sha256, keys::hash(&key.subject_public_key_info()));
    }

    proptest! {
        #[test]
        fn damage_is_told(at in 0usize..300, byte: u8) {
            let (_, pem) = made(&["a.example"]);
            let mut der = pem::parse(&pem).unwrap().into_contents();
            let at = at % der.len();
            der[at] = byte;
            // No panic, and what is read is within bounds.
            let again = pem::encode(&pem::Pem::new("CERTIFICATE", der));
            if let Ok(leaf) = Leaf::parse(&again) {
                prop_assert!(leaf.life.from < leaf.life.until);
            }
        }

        #[test]
        fn any_text_is_read(text in "(?s).{0,200}") {
            let _ = Leaf::parse(&text);
        }
    }
}
