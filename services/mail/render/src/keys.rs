//! Signing keys of the mail domain (DKIM, RFC 6376) and the key of OAuth tokens.
//!
//! Made once, on the box, and never sent anywhere. Losing them only means
//! publishing new DNS records, so a restored box may make new ones.

use crate::{Error, secret_file};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand::RngCore;
use ring::signature::KeyPair;
use roost_service::mail::Dkim;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::EncodePublicKey;
use std::path::{Path, PathBuf};

/// Bits of the RSA key: RFC 8301 asks for at least 2048, and a longer key does
/// not fit one DNS string.
const RSA_BITS: usize = 2048;

/// Bytes of randomness in the OAuth key (it is used as a 256-bit key).
const OAUTH_BYTES: usize = 32;

/// Signature algorithm of a DKIM key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `rsa-sha256`: every receiver understands it.
    Rsa,
    /// `ed25519-sha256` (RFC 8463): short and strong, not understood everywhere.
    Ed25519,
}

impl Algorithm {
    /// Both: a message gets one signature of each.
    pub const ALL: [Algorithm; 2] = [Algorithm::Rsa, Algorithm::Ed25519];

    /// Short name, used in file names, signature ids and selectors.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa",
            Algorithm::Ed25519 => "ed25519",
        }
    }

    /// The `a=` tag of a signature.
    pub fn tag(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa-sha256",
            Algorithm::Ed25519 => "ed25519-sha256",
        }
    }

    /// Selector: the key's name in DNS, `<selector>._domainkey.<domain>`.
    pub fn selector(self) -> &'static str {
        match self {
            Algorithm::Rsa => "roost-rsa",
            Algorithm::Ed25519 => "roost-ed25519",
        }
    }

    /// Where the private key is kept in the service's data folder.
    pub fn file(self, data: &Path) -> PathBuf {
        data.join(format!("dkim-{}.pem", self.name()))
    }
}

/// The half of a signing key that DNS shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// What it checks.
    pub algorithm: Algorithm,
    /// The key as the `p=` tag has it.
    pub base64: String,
}

impl PublicKey {
    /// Text of the `TXT` record (RFC 6376 §3.6.1, RFC 8463 §4).
    pub fn record(&self) -> String {
        let kind = self.algorithm.name();
        format!("v=DKIM1; k={kind}; h=sha256; p={}", self.base64)
    }
}

/// What the DNS says of these keys. All of a box's domains are signed with the same, under the same
/// selectors, so that a new domain needs no new key.
pub fn published(keys: &[PublicKey]) -> Vec<Dkim> {
    let dkim = |key: &PublicKey| Dkim {
        selector: key.algorithm.selector().into(),
        record: key.record(),
    };
    keys.iter().map(dkim).collect()
}

/// Reads the public halves of the keys that [`make_missing`] made.
pub fn public(data: &Path) -> Result<Vec<PublicKey>, Error> {
    Algorithm::ALL
        .into_iter()
        .map(|algorithm| {
            let path = algorithm.file(data);
            let pem = std::fs::read_to_string(&path)
                .map_err(|error| Error::file("read", &path, error))?;
            Ok(PublicKey {
                algorithm,
                base64: match algorithm {
                    Algorithm::Rsa => public_rsa(&pem)?,
                    Algorithm::Ed25519 => public_ed25519(&pem)?,
                },
            })
        })
        .collect()
}

fn public_rsa(private: &str) -> Result<String, Error> {
    let what = "the public RSA DKIM key";
    let key = rsa::RsaPrivateKey::from_pkcs1_pem(private)
        .map_err(|error| Error::crypto(what, error))?
        .to_public_key()
        .to_public_key_der()
        .map_err(|error| Error::crypto(what, error))?;
    Ok(BASE64_STANDARD.encode(key.as_bytes()))
}

fn public_ed25519(private: &str) -> Result<String, Error> {
    let what = "the public Ed25519 DKIM key";
    let private = pem::parse(private).map_err(|error| Error::crypto(what, error))?;
    let key = ring::signature::Ed25519KeyPair::from_pkcs8(private.contents())
        .map_err(|error| Error::crypto(what, error))?;
    Ok(BASE64_STANDARD.encode(key.public_key().as_ref()))
}

/// File with the key that signs OAuth tokens.
pub fn oauth_file(data: &Path) -> PathBuf {
    data.join("oauth.key")
}

/// Makes the keys that are not there yet.
pub fn make_missing(data: &Path) -> Result<(), Error> {
    secret_file::read_or_make(&Algorithm::Rsa.file(data), || make_rsa(RSA_BITS))?;
    secret_file::read_or_make(&Algorithm::Ed25519.file(data), make_ed25519)?;
    secret_file::read_or_make(&oauth_file(data), || Ok(make_oauth()))?;
    Ok(())
}

fn make_rsa(bits: usize) -> Result<String, Error> {
    let what = "the RSA DKIM key";
    let key = rsa::RsaPrivateKey::new(&mut rand::rngs::OsRng, bits)
        .map_err(|error| Error::crypto(what, error))?;
    let pem = key
        .to_pkcs1_pem(rsa::pkcs1::LineEnding::LF)
        .map_err(|error| Error::crypto(what, error))?;
    Ok(pem.to_string())
}

fn make_ed25519() -> Result<String, Error> {
    let key = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new())
        .map_err(|error| Error::crypto("the Ed25519 DKIM key", error))?;
    Ok(pem::encode_config(
        &pem::Pem::new("PRIVATE KEY", key.as_ref()),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    ))
}

fn make_oauth() -> String {
    let mut bytes = [0; OAUTH_BYTES];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rsa_key_has_the_header_that_signers_expect() {
        // 512 bits only because this is a debug build.
        let pem = make_rsa(512).unwrap();
        assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(pem.ends_with("-----END RSA PRIVATE KEY-----\n"));
    }

    #[test]
    fn an_ed25519_key_can_be_read_back() {
        let parsed = pem::parse(make_ed25519().unwrap()).unwrap();
        assert_eq!(parsed.tag(), "PRIVATE KEY");
        assert!(ring::signature::Ed25519KeyPair::from_pkcs8(parsed.contents()).is_ok());
    }

    #[test]
    fn oauth_keys_differ() {
        assert_eq!(make_oauth().len(), 2 * OAUTH_BYTES);
        assert_ne!(make_oauth(), make_oauth());
    }

    #[test]
    fn the_public_halves_are_as_dns_wants_them() {
        let folder = tempfile::tempdir().unwrap();
        // 512 bits only because this is a debug build.
        let rsa = make_rsa(512).unwrap();
        secret_file::write(&Algorithm::Rsa.file(folder.path()), &rsa).unwrap();
        let ed25519 = make_ed25519().unwrap();
        secret_file::write(&Algorithm::Ed25519.file(folder.path()), &ed25519).unwrap();
        let [rsa, ed25519] = public(folder.path()).unwrap().try_into().unwrap();

        // A SubjectPublicKeyInfo with the object identifier of rsaEncryption.
        let der = BASE64_STANDARD.decode(&rsa.base64).unwrap();
        let (_, info) =
            <x509_parser::x509::SubjectPublicKeyInfo as x509_parser::prelude::FromDer<_>>::from_der(&der)
                .unwrap();
        assert_eq!(
            info.algorithm.algorithm.to_id_string(),
            "1.2.840.113549.1.1.1"
        );
        // RFC 8463 §4: the bare key.
        assert_eq!(BASE64_STANDARD.decode(&ed25519.base64).unwrap().len(), 32);
        assert!(
            ed25519
                .record()
                .starts_with("v=DKIM1; k=ed25519; h=sha256; p=")
        );
    }
}
