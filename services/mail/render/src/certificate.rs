//! The certificate that TLS uses until a publicly trusted one exists.
//!
//! Self-signed, ECDSA P-256, valid for the mail host, the domain and the
//! box's name on the home network.

use crate::{Error, secret_file};
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;

/// Longest life that Apple's clients accept for a server certificate is 825 days.
const LIFETIME: Duration = Duration::days(800);

/// Renewed this long before it ends, at the next start.
const RENEW_BEFORE: Duration = Duration::days(60);

/// The clock of a box without a battery may be behind at first boot.
const BACKDATE: Duration = Duration::days(2);

/// Certificate file in the service's data folder.
pub fn certificate_file(data: &Path) -> PathBuf {
    data.join("tls-certificate.pem")
}

/// Private key file in the service's data folder.
pub fn key_file(data: &Path) -> PathBuf {
    data.join("tls-key.pem")
}

/// What [`ensure`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The certificate there is still good.
    Kept,
    /// A new one was made.
    Made,
}

/// Makes a certificate for `names` unless a good one is there.
///
/// `now` is the current time; a certificate is good while it has more than
/// sixty days to live, names exactly `names` and belongs to its key file.
pub fn ensure(data: &Path, names: &[String], now: OffsetDateTime) -> Result<Outcome, Error> {
    let (certificate_path, key_path) = (certificate_file(data), key_file(data));
    if let (Some(certificate), Some(key)) = (
        secret_file::read(&certificate_path)?,
        secret_file::read(&key_path)?,
    ) && is_good(&certificate, &key, names, now)
    {
        return Ok(Outcome::Kept);
    }
    let (certificate, key) = make(names, now)?;
    // Key first: cut off between the two, the pair does not match and is made again.
    secret_file::write(&key_path, &key)?;
    secret_file::write(&certificate_path, &certificate)?;
    Ok(Outcome::Made)
}

fn make(names: &[String], now: OffsetDateTime) -> Result<(String, String), Error> {
    let crypto = |error| Error::crypto("the self-signed certificate", error);
    let mut params = rcgen::CertificateParams::new(names.to_vec());
    params.alg = &rcgen::PKCS_ECDSA_P256_SHA256;
    params.not_before = now - BACKDATE;
    params.not_after = now + LIFETIME;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(host) = names.first() {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, host.as_str());
    }
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = rcgen::Certificate::from_params(params).map_err(crypto)?;
    let pem = certificate.serialize_pem().map_err(crypto)?;
    Ok((pem, certificate.serialize_private_key_pem()))
}

fn is_good(certificate: &str, key: &str, names: &[String], now: OffsetDateTime) -> bool {
    let Ok(pem) = pem::parse(certificate) else {
        return false;
    };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(pem.contents()) else {
        return false;
    };
    let Ok(key) = rcgen::KeyPair::from_pem(key) else {
        return false;
    };
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else {
        return false;
    };
    let mut have: Vec<&str> = alternative
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
        .collect();
    let mut want: Vec<&str> = names.iter().map(String::as_str).collect();
    have.sort_unstable();
    want.sort_unstable();

    let validity = parsed.validity();
    have == want
        && parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        && validity.not_before.timestamp() <= now.unix_timestamp()
        && validity.not_after.timestamp() > (now + RENEW_BEFORE).unix_timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("roost-cert-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn names() -> Vec<String> {
        vec!["mail.example.org".into(), "roost.local".into()]
    }

    fn day(days: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap() + Duration::days(days)
    }

    #[test]
    fn is_made_once_and_kept_private() {
        let data = folder("once");
        assert_eq!(ensure(&data, &names(), day(0)).unwrap(), Outcome::Made);
        assert_eq!(ensure(&data, &names(), day(1)).unwrap(), Outcome::Kept);
        for file in [certificate_file(&data), key_file(&data)] {
            let mode = std::fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn is_renewed_before_it_ends_and_when_a_name_changes() {
        let data = folder("renew");
        ensure(&data, &names(), day(0)).unwrap();
        assert_eq!(ensure(&data, &names(), day(739)).unwrap(), Outcome::Kept);
        assert_eq!(ensure(&data, &names(), day(741)).unwrap(), Outcome::Made);
        let other = vec!["mail.example.net".into()];
        assert_eq!(ensure(&data, &other, day(742)).unwrap(), Outcome::Made);
        std::fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_foreign_key_or_a_torn_file_is_replaced() {
        let data = folder("torn");
        ensure(&data, &names(), day(0)).unwrap();
        let key = rcgen::Certificate::from_params(rcgen::CertificateParams::new(names()))
            .unwrap()
            .serialize_private_key_pem();
        std::fs::write(key_file(&data), key).unwrap();
        assert_eq!(ensure(&data, &names(), day(0)).unwrap(), Outcome::Made);
        std::fs::write(certificate_file(&data), "-----BEGIN").unwrap();
        assert_eq!(ensure(&data, &names(), day(0)).unwrap(), Outcome::Made);
        assert_eq!(ensure(&data, &names(), day(0)).unwrap(), Outcome::Kept);
        std::fs::remove_dir_all(data).unwrap();
    }
}
