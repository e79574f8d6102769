//! The box's key and certificate: those of its card, or its own, made on the first start without.

use rcgen::{Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use roost_service::card;
use roost_service::fingerprint::Fingerprint;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Key (PKCS #8) and certificate in one file of PEM: there is no moment with only one of them.
pub const FILE: &str = "identity.pem";

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is damaged. It is not replaced: laptops and browsers would refuse a new key.
    #[error("{place} is damaged: {reason}")]
    Damaged {
        /// Where it is kept.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// No key or certificate could be made.
    #[error("cannot make the box's key: {0}")]
    Make(String),
}

/// Key and certificate, P-256, for every port of the portal.
#[derive(Debug)]
pub struct Identity {
    /// Self-signed.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// For people to compare.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The card's.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_card(card: &card::Identity) -> Result<Self, IdentityError> {
        Self::parse(
            &format!("{}{}", card.key_pem, card.certificate_pem),
            "the card's identity",
        )
    }

    /// Reads it from `folder`, or makes one for this name of the box.
    ///
    /// # Errors
    /// When the file is damaged, or the folder cannot be written.
    pub fn load_or_make(folder: &Path, name: &str) -> Result<Self, IdentityError> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(pem) => Self::parse(&pem, &path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = make(name).map_err(|error| IdentityError::Make(error.to_string()))?;
                write(folder, &pem)?;
                Self::parse(&pem, &path.display().to_string())
            }
            Err(source) => Err(IdentityError::File {
                action: "read",
                path,
                source,
            }),
        }
    }

    fn parse(pem: &str, place: &str) -> Result<Self, IdentityError> {
        let damaged = |reason: String| IdentityError::Damaged {
            place: place.to_owned(),
            reason,
        };
        // rcgen checks more of a key than that it is PEM.
        KeyPair::from_pem(pem).map_err(|error| damaged(error.to_string()))?;
        Ok(Self {
            key: PrivateKeyDer::from_pem_slice(pem.as_bytes())
                .map_err(|error| damaged(error.to_string()))?,
            certificate: CertificateDer::from_pem_slice(pem.as_bytes())
                .map_err(|error| damaged(error.to_string()))?,
        })
    }
}

/// As `roost flash` makes it for a card (image/roost/src/flash/card.rs).
fn make(name: &str) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(vec![format!("{name}.local"), name.to_owned()]);
    params.alg = &rcgen::PKCS_ECDSA_P256_SHA256;
    // The box may have no clock, and nobody decides by these dates.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{name}.local"));
    let certificate = Certificate::from_params(params)?;
    let key = certificate.serialize_private_key_pem();
    Ok(key + &certificate.serialize_pem()?)
}

/// The file appears whole or not at all: a key that was half written would be damaged for good.
fn write(folder: &Path, pem: &str) -> Result<(), IdentityError> {
    let path = folder.join(FILE);
    let new = folder.join(format!("{FILE}.new"));
    let put = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    put().map_err(|source| IdentityError::File {
        action: "write",
        path: path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = Identity::load_or_make(folder.path(), "roost").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let second = Identity::load_or_make(folder.path(), "other").unwrap();
        assert_eq!(first.certificate, second.certificate);
        assert_eq!(first.key.secret_der(), second.key.secret_der());
        fs::write(&path, "rot").unwrap();
        let error = Identity::load_or_make(folder.path(), "roost").unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"rot");
    }

    #[test]
    fn the_cards_identity_is_taken_as_it_is() {
        let pem = make("roost").unwrap();
        let at = pem.find("-----BEGIN CERTIFICATE-----").unwrap();
        let card = card::Identity {
            key_pem: pem[..at].to_owned(),
            certificate_pem: pem[at..].to_owned(),
        };
        let identity = Identity::of_card(&card).unwrap();
        assert_eq!(identity.fingerprint().hex().len(), 64);
    }
}
