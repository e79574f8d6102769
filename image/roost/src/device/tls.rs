//! TLS 1.3 with pinned keys: whose key it is decides, names and dates do not.

use super::identity::{BoxKey, Identity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};

/// A connection that is not shaken hands on, and the place where the box's key will be.
pub struct Client {
    /// The connection.
    pub connection: ClientConnection,
    /// Who answers.
    pub peer: Arc<Peer>,
}

/// Compares the key that a box shows with the known one, and remembers what it showed.
///
/// rustls asks the verifier for the signature over the handshake too: only the
/// holder of the key passes that, whoever's certificate was shown.
#[derive(Debug)]
pub struct Peer {
    known: Option<BoxKey>,
    shown: Mutex<Option<Result<BoxKey, String>>>,
    provider: Arc<CryptoProvider>,
}

impl Peer {
    /// The key that was shown, or why there is none; `None` before that.
    pub fn shown(&self) -> Option<Result<BoxKey, String>> {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The key that had to be shown.
    pub fn known(&self) -> Option<BoxKey> {
        self.known
    }
}

/// A connection for `identity`; with `known` only a box with this key is accepted.
///
/// # Errors
///
/// rustls' own, if it does not take the laptop's key.
pub fn client(identity: &Identity, known: Option<BoxKey>) -> Result<Client, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let peer = Arc::new(Peer {
        known,
        shown: Mutex::new(None),
        provider: provider.clone(),
    });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(peer.clone())
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    config.enable_sni = false;
    // Every connection shows its key anew.
    config.resumption = Resumption::disabled();
    // rustls wants a name; neither side looks at it.
    let name = ServerName::try_from("roost").expect("it is a host name");
    let connection = ClientConnection::new(Arc::new(config), name)?;
    Ok(Client { connection, peer })
}

impl ServerCertVerifier for Peer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = BoxKey::of_certificate(end_entity);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown.clone());
        match (shown, self.known) {
            (Ok(shown), Some(known)) if shown != known => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            (Err(_), _) => Err(CertificateError::BadEncoding.into()),
            (Ok(_), _) => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
