//! HTTPS to the certificate authority.
//!
//! instant-acme's own client has no time limit, no bound on an answer, the system's certificates (the
//! image has none), and drops `Retry-After` where an order fails. So it gets this one.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest wait for one answer. Let's Encrypt answers within seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer, in bytes; a chain has some thousand.
const MAX_ANSWER: usize = 1 << 20;

/// A client that remembers for how long it was asked to stay away.
#[derive(Clone)]
pub struct Https {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    /// Seconds; 0: it was not.
    retry_after: Arc<AtomicU64>,
}

impl Https {
    /// Trusts whom [`trusted`] says.
    ///
    /// # Errors
    /// As that.
    pub fn new(roots_pem: Option<&str>) -> Result<Self, String> {
        let trusted = trusted(roots_pem)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            retry_after: Arc::default(),
        })
    }

    /// Seconds that the authority wants to be left alone, by its last refusal; forgotten then.
    pub fn take_retry_after(&self) -> Option<u64> {
        match self.retry_after.swap(0, Ordering::Relaxed) {
            0 => None,
            seconds => Some(seconds),
        }
    }

    /// Names by which CAA records call the authority (RFC 8555, section 9.7.6), as its directory says; none if
    /// it says none or is not understood. `instant-acme` leaves that part out.
    pub async fn caa_identities(&self, directory: &str) -> Vec<String> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Meta {
            caa_identities: Vec<String>,
        }
        #[derive(serde::Deserialize)]
        struct Told {
            #[serde(default)]
            meta: Meta,
        }
        let Ok(request) = Request::get(directory).body(BodyWrapper::default()) else {
            return Vec::new();
        };
        let Ok(mut answer) = self.request(request).await else {
            return Vec::new();
        };
        let body = answer.body.into_bytes().await.unwrap_or_default();
        serde_json::from_slice::<Told>(&body)
            .map_or_else(|_| Vec::new(), |told| told.meta.caa_identities)
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let other = |error| Error::Other(error);
        let answer = self.client.request(request).await;
        let (parts, body) = answer.map_err(|e| other(Box::new(e)))?.into_parts();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            let seconds = parts
                .headers
                .get(http::header::RETRY_AFTER)
                .and_then(seconds);
            self.retry_after
                .store(seconds.unwrap_or(0), Ordering::Relaxed);
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = Full::new(body.map_err(other)?.to_bytes());
        Ok(BytesResponse::from(Response::from_parts(parts, body)))
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = self.clone().ask(request);
        Box::pin(async move {
            let asked = tokio::time::timeout(PATIENCE, asked).await;
            asked.unwrap_or_else(|_| {
                let why = "no answer came in time";
                Err(Error::Other(why.into()))
            })
        })
    }
}

/// Who the well-known authorities have signed, and whom these certificates (PEM) have.
///
/// # Errors
/// Says what of them cannot be used, in a sentence.
pub fn trusted(roots_pem: Option<&str>) -> Result<RootCertStore, String> {
    let mut trusted = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(text) = roots_pem {
        let fault = |why| format!("roots_pem: {why}.");
        let mut none = true;
        for root in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let root = root.map_err(|_| fault("it is cut off, or is no PEM"))?;
            (trusted.add(root)).map_err(|_| fault("a certificate in it is broken"))?;
            none = false;
        }
        if none {
            return Err(fault("there is no certificate in it"));
        }
    }
    Ok(trusted)
}

/// `Retry-After` in seconds. Its other form, a date, is taken for an hour (RFC 8555 servers send
/// seconds; RFC 9110, section 10.2.3 allows both).
fn seconds(value: &http::HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?.trim();
    Some(text.parse().unwrap_or(3600)).filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after() {
        let of = |text: &'static str| seconds(&http::HeaderValue::from_static(text));
        assert_eq!(of("120"), Some(120));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), Some(3600));
        assert_eq!(of(" "), None);
    }

    #[test]
    fn roots_that_are_none_are_told() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let half = &broken[..40];
        let told = ["", "roots", half, broken].map(|text| trusted(Some(text)).unwrap_err());
        insta::assert_snapshot!(told.join("\n"), @"
        roots_pem: there is no certificate in it.
        roots_pem: there is no certificate in it.
        roots_pem: it is cut off, or is no PEM.
        roots_pem: a certificate in it is broken.
        ");
    }
}
