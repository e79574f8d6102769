//! TLS 1.3 with pinned certificates: which one it is decides, names and dates do not.

use super::identity::Identity;
use roost_service::fingerprint::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};

/// Who may answer.
#[derive(Debug, Clone)]
pub enum Expect {
    /// Anybody. For a look at the certificate: nothing that matters may be sent.
    Anybody,
    /// Who has one of these certificates. For a look at who it is: we show nothing.
    OneOf(Vec<Fingerprint>),
    /// Who has this certificate, and what to show to them, if anything.
    One(Fingerprint, Option<Identity>),
}

impl Expect {
    fn takes(&self, shown: Fingerprint) -> bool {
        match self {
            Self::Anybody => true,
            Self::OneOf(known) => known.contains(&shown),
            Self::One(known, _) => *known == shown,
        }
    }
}

/// A connection that is not shaken hands on, and the place where the box's certificate will be.
pub struct Client {
    /// The connection.
    pub connection: ClientConnection,
    /// Who answers.
    pub peer: Arc<Peer>,
}

/// Compares the certificate that a box shows with the expected ones, and remembers what it showed.
///
/// rustls asks the verifier for the signature over the handshake too: only the
/// holder of the key passes that, whoever's certificate was shown.
#[derive(Debug)]
pub struct Peer {
    expect: Expect,
    shown: Mutex<Option<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl Peer {
    /// The certificate that was shown; `None` before that.
    pub fn shown(&self) -> Option<CertificateDer<'static>> {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Its fingerprint, if it is not one of those that are expected.
    pub fn unexpected(&self) -> Option<Fingerprint> {
        let shown = Fingerprint::of(&self.shown()?);
        (!self.expect.takes(shown)).then_some(shown)
    }
}

/// A connection to whom `expect` says.
///
/// # Errors
///
/// rustls' own.
pub fn client(expect: Expect) -> Result<Client, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let peer = Arc::new(Peer {
        expect,
        shown: Mutex::new(None),
        provider: provider.clone(),
    });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(peer.clone())
        .with_client_cert_resolver(peer.clone());
    config.enable_sni = false;
    // Every connection shows its key anew.
    config.resumption = Resumption::disabled();
    // rustls wants a name; neither side looks at it.
    let name = ServerName::try_from("roost").expect("it is a host name");
    let connection = ClientConnection::new(Arc::new(config), name)?;
    Ok(Client { connection, peer })
}

/// What is given here is sent once the server's own certificate was accepted (RFC 8446, section 4.4):
/// nobody but the box sees the key that was made for it.
impl ResolvesClientCert for Peer {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        match &self.expect {
            Expect::One(_, Some(identity)) => Some(identity.certified.clone()),
            _ => None,
        }
    }

    fn has_certs(&self) -> bool {
        matches!(self.expect, Expect::One(_, Some(_)))
    }
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
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(end_entity.clone().into_owned());
        if self.expect.takes(Fingerprint::of(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
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
        // What `roost flash` and the box make.
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
