//! TLS 1.3 where both sides know the other's key (RFC 8446 with pinned keys).
//!
//! There is no authority and no name: a certificate is a wrapping for a key,
//! and the key is compared. What the certificate says besides is not looked at.

use crate::identity::Identity;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use std::sync::Arc;

/// What stands before the 32 bytes of an Ed25519 key in a certificate's
/// SubjectPublicKeyInfo (RFC 8410, section 10.1, in DER).
const ED25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// An Ed25519 public key as certificates hold it.
pub fn spki(key: &[u8; 32]) -> [u8; 44] {
    let mut out = [0; 44];
    out[..12].copy_from_slice(&ED25519);
    out[12..].copy_from_slice(key);
    out
}

/// Lets laptops in whose keys are known.
#[derive(Debug)]
struct Laptops {
    keys: Vec<[u8; 44]>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Laptops {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let shown = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        if self.keys.iter().any(|key| key[..] == *shown) {
            return Ok(ClientCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The box's side: nobody gets past the handshake without one of these keys.
///
/// # Errors
/// When the identity cannot be used.
pub fn server(identity: Identity, laptops: &[[u8; 32]]) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Laptops {
        keys: laptops.iter().map(spki).collect(),
        provider: provider.clone(),
    });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate], identity.key)?;
    // A resumed session would not show its key again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
