//! Port 7625: TLS 1.3 with the box's certificate, for laptops whose Ed25519 key is paired.
//!
//! There is no authority and no name: a laptop's certificate is a wrapping for a key, and the key is
//! looked up in the store at every handshake. Whoever shows none that is paired gets an alert
//! before a byte of ours. A laptop that is revoked is out at once: every connection looks again
//! whenever the list changes.
//!
//! | Who | Does what | What stops them |
//! |---|---|---|
//! | a stranger | opens connections and is silent | the oldest of [`Limits::handshakes`] goes for each new one; [`Limits::handshake`] |
//! | a laptop | opens many | [`Limits::connections`]; further ones are closed |
//! | a laptop | is slow with the head of a request | [`Limits::head`]; within an update, the updater's own limits |

use crate::app::App;
use crate::listen::Peer;
use crate::store::{LaptopKey, StoreError};
use crate::unread;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service;

/// How much and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Laptops' connections at a time: a household has a few, each with a log that is followed.
    pub connections: usize,
    /// Strangers in their handshake at a time.
    pub handshakes: usize,
    /// Longest handshake.
    pub handshake: Duration,
    /// Longest time for the head of a request, and longest rest between two.
    pub head: Duration,
}

impl Limits {
    /// Those of the box.
    pub const STANDARD: Self = Self {
        connections: 12,
        handshakes: 16,
        handshake: Duration::from_secs(10),
        head: Duration::from_secs(15),
    };
}

/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);
/// What connections get to end an answer when the portal stops.
const GRACE: Duration = Duration::from_secs(2);
/// Longest head of a request in bytes, and most fields in it.
const HEAD_BYTES: usize = 16 << 10;
const FIELDS: usize = 64;
/// Bytes of an update or a backup that wait in either direction.
const PIPE: usize = 64 << 10;
/// What stands before the 32 bytes of an Ed25519 key in a certificate's
/// SubjectPublicKeyInfo (RFC 8410, section 10.1, in DER).
const ED25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The laptop that asks; an extension of its requests.
#[derive(Debug, Clone)]
pub struct ByLaptop {
    /// Its key, which is paired.
    pub key: LaptopKey,
    hand: Arc<Mutex<Option<Pipe>>>,
}

#[derive(Debug)]
struct Pipe {
    upgrade: OnUpgrade,
    service: UnixStream,
}

impl ByLaptop {
    /// After this answer the connection is a service's.
    pub(super) fn pipe(&self, upgrade: OnUpgrade, service: UnixStream) {
        let pipe = Pipe { upgrade, service };
        *self.hand.lock().unwrap_or_else(PoisonError::into_inner) = Some(pipe);
    }

    fn take(&self) -> Option<Pipe> {
        self.hand
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// The key of a certificate; `None` if it is of another kind.
fn key_of(certificate: &CertificateDer<'_>) -> Result<Option<LaptopKey>, Error> {
    let info = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let key = info.strip_prefix(&ED25519);
    Ok(key.and_then(|key| key.try_into().ok()).map(LaptopKey))
}

/// Lets laptops in that are paired.
#[derive(Debug)]
struct Paired {
    app: Arc<App>,
    provider: Arc<CryptoProvider>,
}

impl Paired {
    /// Whether this laptop is paired now. The store has it in memory, or reads one small page.
    fn knows(&self, key: &LaptopKey) -> Result<bool, StoreError> {
        self.app
            .store
            .view(|store| Ok(store.laptop(key)?.is_some()))
    }
}

impl ClientCertVerifier for Paired {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let known = match key_of(certificate)? {
            Some(key) => self
                .knows(&key)
                .map_err(|error| Error::General(error.to_string()))?,
            None => false,
        };
        match known {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
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

fn tls(app: &Arc<App>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Paired {
        app: app.clone(),
        provider: provider.clone(),
    });
    let identity = &app.identity;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    // A resumed session would not show its key again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The laptops' door.
#[derive(Clone)]
pub struct Door {
    app: Arc<App>,
    router: axum::Router,
    acceptor: TlsAcceptor,
    limits: Limits,
    places: Arc<Semaphore>,
}

impl Door {
    /// With the box's identity.
    ///
    /// # Errors
    /// When that cannot be used.
    pub fn new(app: Arc<App>, limits: Limits) -> Result<Self, Error> {
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(tls(&app)?)),
            router: super::router(app.clone()).fallback(super::fault::not_found),
            places: Arc::new(Semaphore::new(limits.connections)),
            app,
            limits,
        })
    }

    /// Serves paired laptops until `stop` says `true`.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let mut strangers: VecDeque<(Arc<AtomicBool>, AbortHandle)> = VecDeque::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, from)) = accepted else {
                sleep(BREATHER).await;
                continue;
            };
            strangers.retain(|(known, task)| !known.load(Ordering::Relaxed) && !task.is_finished());
            // Whoever comes new gets in: who was silent longest is the least likely to be the owner.
            if strangers.len() >= self.limits.handshakes
                && let Some((_, oldest)) = strangers.pop_front()
            {
                oldest.abort();
            }
            let known = Arc::new(AtomicBool::new(false));
            let connection = self
                .clone()
                .connection(stream, from, known.clone(), stop.clone());
            strangers.push_back((known, connections.spawn(connection)));
        }
        drop(listener);
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(GRACE, all).await;
    }

    async fn connection(
        self,
        stream: TcpStream,
        from: SocketAddr,
        known: Arc<AtomicBool>,
        mut stop: watch::Receiver<bool>,
    ) {
        // Answers are short and somebody waits for them.
        let _ = stream.set_nodelay(true);
        // From before the key is looked up, so that no change is missed.
        let mut changes = self.app.laptops.subscribe();
        // Who it was and why it failed is not logged: a stranger could fill the log with it.
        let accepted = tokio::select! {
            accepted = timeout(self.limits.handshake, self.acceptor.accept(stream)) => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok(Ok(stream)) = accepted else {
            return;
        };
        known.store(true, Ordering::Relaxed);
        let shown = stream.get_ref().1.peer_certificates();
        let key = shown.and_then(|shown| key_of(shown.first()?).ok()?);
        let Some(key) = key else {
            return;
        };
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            return;
        };
        let seen = move |store: &mut crate::store::Change<'_>, now| store.saw_laptop(&key, now);
        if let Err(error) = self.app.change(seen).await {
            eprintln!("portal: {error}");
        }
        let revoked = async {
            while changes.changed().await.is_ok() {
                let paired = self.app.view(move |store, _| store.laptop(&key)).await;
                if !matches!(paired, Ok(Some(_))) {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.talk(stream, from.ip().to_canonical(), key, stop) => {}
            () = revoked => {}
        }
    }

    /// When the portal stops, what was asked is still answered: a restart that a laptop asked for
    /// stops the portal too.
    async fn talk(
        &self,
        stream: TlsStream<TcpStream>,
        from: IpAddr,
        key: LaptopKey,
        mut stop: watch::Receiver<bool>,
    ) {
        let laptop = ByLaptop {
            key,
            hand: Arc::default(),
        };
        let (router, by) = (self.router.clone(), laptop.clone());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (mut router, by) = (router.clone(), by.clone());
            unread::answer(request, move |mut request| {
                request.extensions_mut().insert(Peer(from));
                request.extensions_mut().insert(by);
                router.call(request)
            })
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(HEAD_BYTES)
            .max_headers(FIELDS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        // Its end is the same to us whatever the reason.
        let stopped = tokio::select! {
            _ = connection.as_mut() => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        if stopped {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
        // A service closes its end when it stops.
        if let Some(Pipe {
            upgrade,
            mut service,
        }) = laptop.take()
            && let Ok(upgraded) = upgrade.await
        {
            let mut laptop = TokioIo::new(upgraded);
            let _ = copy_bidirectional_with_sizes(&mut laptop, &mut service, PIPE, PIPE).await;
        }
    }
}
