//! The certificate service's certificate, ready for TLS.

use crate::Error;
use roost_service::certificates::{Answer, Call, Certificate, MAIL, MAX_LINE};
use roost_service::door;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::sleep;

/// Longest that ports stay closed while it is not known whether there is a certificate.
///
/// A start that opened them with the self-signed one would put off, for that moment, whoever knows the
/// key from a TLSA record (RFC 7672 §2.2) or holds to an MTA-STS policy (RFC 8461 §5).
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Rest before the service is asked again.
const REST: Duration = Duration::from_millis(100);

/// The mail host's certificate, or that there is none, as soon as the certificate service at `socket`
/// says so. It starts at the same time as mail, so nobody being there yet is no answer.
pub async fn first(socket: &Path) -> Option<Certificate> {
    let call = Call::Get { id: MAIL.into() };
    loop {
        match door::ask(socket, &call, MAX_LINE).await {
            Ok(Answer::Certificate(certificate)) => return Some(*certificate),
            Ok(_) => return None,
            Err(_) => sleep(REST).await,
        }
    }
}

/// The chain and its key.
///
/// # Errors
/// When one of them cannot be read, or the key is another certificate's.
pub fn certified_key(certificate: &Certificate) -> Result<CertifiedKey, Error> {
    let unusable = |reason: String| Error::Certificate {
        names: certificate.names.join(", "),
        reason,
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(format!("read the chain: {error}")))?;
    // What the library says of a key may repeat a line of it.
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes())
        .map_err(|_| unusable("its private key is none in PEM".into()))?;
    if chain.is_empty() {
        return Err(unusable("its chain is empty".into()));
    }
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        unusable(match error {
            rustls::Error::InconsistentKeys(_) => "its private key is another's".into(),
            error => error.to_string(),
        })
    })
}

/// Under which names the library looks for it: `*.example.org` is `example.org` to it, and `*` is what
/// those get who name nobody, or somebody that it does not know.
pub fn lookup_names(certificate: &Certificate) -> Vec<String> {
    certificate
        .names
        .iter()
        .map(|name| name.strip_prefix("*.").unwrap_or(name).to_ascii_lowercase())
        .chain(["*".to_owned()])
        .collect()
}

/// Says for people that it is in use.
pub fn in_use(certificate: &Certificate) -> String {
    let until = i64::try_from(certificate.not_after)
        .ok()
        .and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok())
        .map_or_else(|| "an unknown day".to_owned(), |end| end.date().to_string());
    format!(
        "certificate for {} until {until} is in use",
        certificate.names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    fn issued(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names.clone());
        params.alg = &rcgen::PKCS_ECDSA_P256_SHA256;
        let made = rcgen::Certificate::from_params(params).unwrap();
        Certificate {
            id: MAIL.into(),
            version: "a".into(),
            serial: "1".into(),
            names,
            chain_pem: made.serialize_pem().unwrap(),
            key_pem: made.serialize_private_key_pem(),
            not_after: 1_803_470_000,
        }
    }

    fn refused(certificate: &Certificate) -> String {
        certified_key(certificate).unwrap_err().to_string()
    }

    #[test]
    fn a_chain_and_its_key_are_taken_in_their_order() {
        let mut certificate = issued(&["mail.example.org"]);
        let leaf = certificate.chain_pem.clone();
        let above = issued(&["authority.example"]).chain_pem;
        certificate.chain_pem.push_str(&above);
        let key = certified_key(&certificate).unwrap();
        let pem = [leaf, above].map(|pem| pem::parse(pem).unwrap().into_contents());
        assert_eq!(key.cert, pem.map(CertificateDer::from));
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_key() {
        let good = issued(&["mail.example.org"]);
        let torn: String = good.key_pem.chars().take(60).collect();
        let mut messages = Vec::new();
        for (chain, key) in [
            (&good.chain_pem, &issued(&["mail.example.org"]).key_pem),
            (&good.chain_pem, &torn),
            (&good.chain_pem, &good.chain_pem),
            (&good.chain_pem, &good.key_pem.replace("MIGH", "MIGg")),
            (&String::new(), &good.key_pem),
        ] {
            messages.push(refused(&Certificate {
                chain_pem: chain.clone(),
                key_pem: key.clone(),
                ..good.clone()
            }));
        }
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn it_is_for_its_names_and_for_whoever_names_nobody() {
        let names = lookup_names(&issued(&["Mail.example.org", "*.example.net"]));
        assert_eq!(names, ["mail.example.org", "example.net", "*"]);
    }

    #[test]
    fn the_log_names_it_and_its_last_day() {
        assert_eq!(
            in_use(&issued(&["mail.example.org"])),
            "certificate for mail.example.org until 2027-02-24 is in use"
        );
    }

    /// Answers one question after the other.
    async fn answer_all(listener: UnixListener, answers: Vec<Answer>) {
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut line = String::new();
            BufReader::new(read).read_line(&mut line).await.unwrap();
            assert_eq!(line, "{\"call\":\"get\",\"id\":\"mail\"}\n");
            let answer = serde_json::to_string(&answer).unwrap() + "\n";
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_start_waits_for_the_service_but_not_for_a_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let certificate = issued(&["mail.example.org"]);
        let answers = vec![
            Answer::Certificate(Box::new(certificate.clone())),
            Answer::Refused {
                why: "there is none yet".into(),
            },
        ];
        let early = tokio::spawn({
            let socket = socket.clone();
            async move { first(&socket).await }
        });
        // The first question finds nobody.
        tokio::task::yield_now().await;
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(answer_all(listener, answers));
        assert!(early.await.unwrap() == Some(certificate));
        assert!(first(&socket).await.is_none());
    }
}
