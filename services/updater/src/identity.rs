//! The box's own key pair, made on first start; laptops know the box by it.

use rcgen::{Certificate, CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The private key, PKCS #8 in PEM, for this service's eyes only.
pub const KEY: &str = "device.key";
/// The certificate, self-signed, in PEM.
pub const CERTIFICATE: &str = "device.crt";

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
    /// A file is damaged. It is not replaced: laptops would refuse a new key.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No key or certificate could be made.
    #[error("cannot make the box's key: {0}")]
    Make(String),
}

/// Key and certificate.
#[derive(Debug)]
pub struct Identity {
    /// Self-signed.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads them from `folder`; makes what is not there.
    ///
    /// # Errors
    /// When a file is damaged, or the folder cannot be written.
    pub fn load_or_make(folder: &Path) -> Result<Self, IdentityError> {
        let made = |error: rcgen::Error| IdentityError::Make(error.to_string());
        let path = folder.join(KEY);
        let pair = match read(&path)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(|error| IdentityError::Damaged {
                path,
                reason: error.to_string(),
            })?,
            None => {
                let pair = KeyPair::generate(&PKCS_ED25519).map_err(made)?;
                write(folder, KEY, pair.serialize_pem().as_bytes())?;
                // A certificate without its key is of no use.
                let _ = fs::remove_file(folder.join(CERTIFICATE));
                pair
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let path = folder.join(CERTIFICATE);
        let certificate = match read(&path)? {
            Some(pem) => CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| {
                IdentityError::Damaged {
                    path,
                    reason: error.to_string(),
                }
            })?,
            None => {
                // Nobody looks at names and dates: the key is what is compared.
                let mut params = CertificateParams::new(vec!["roost".into()]);
                params.alg = &PKCS_ED25519;
                params.key_pair = Some(pair);
                let certificate = Certificate::from_params(params).map_err(made)?;
                let pem = certificate.serialize_pem().map_err(made)?;
                write(folder, CERTIFICATE, pem.as_bytes())?;
                CertificateDer::from_pem_slice(pem.as_bytes())
                    .map_err(|error| IdentityError::Make(error.to_string()))?
            }
        };
        Ok(Self { certificate, key })
    }
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File {
            action: "read",
            path: path.into(),
            source,
        }),
    }
}

/// The file appears whole or not at all: a key that was half written would be
/// damaged for good.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
    let path = folder.join(name);
    let new = folder.join(format!("{name}.new"));
    let put = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
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
        let first = Identity::load_or_make(folder.path()).unwrap();
        let mode = |name| {
            let metadata = fs::metadata(folder.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!((mode(KEY), mode(CERTIFICATE)), (0o600, 0o600));
        let second = Identity::load_or_make(folder.path()).unwrap();
        assert_eq!(first.certificate, second.certificate);
        assert_eq!(first.key.secret_der(), second.key.secret_der());
        // Power was cut before the certificate was written.
        fs::remove_file(folder.path().join(CERTIFICATE)).unwrap();
        let third = Identity::load_or_make(folder.path()).unwrap();
        assert_eq!(first.key.secret_der(), third.key.secret_der());
        fs::write(folder.path().join(KEY), "rot").unwrap();
        let error = Identity::load_or_make(folder.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
    }
}
