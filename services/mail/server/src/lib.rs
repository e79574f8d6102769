//! Stalwart behind a seam without generics and without futures of its own types.
//!
//! - [`Server`]: from the rendered configuration to a running mail server.
//! - [`Certificates`]: what it shows in TLS.
//! - [`Pins`]: whom it delivers to.
//! - [`directory`]: domains, accounts and addresses.
//! - [`queue`]: messages that wait for delivery.
//! - `boot`, `sessions`, `stream`, `http`: how it does that.
//!
//! Nothing that changes often belongs here: see `Cargo.toml`.

mod boot;
pub mod directory;
mod http;
pub mod queue;
mod sessions;
mod stream;

pub use http::Client;
pub use sessions::Prelude;

use anyhow::{Result, anyhow};
use directory::Directory;
use rustls::sign::CertifiedKey;
use sessions::{mail_handler, serve, stop_queue};
use stalwart_lib::Collector;
use stalwart_lib::common::Inner;
use stalwart_lib::common::config::server::ServerProtocol;
use stalwart_lib::common::config::smtp::resolver::{Tlsa, TlsaEntry};
use stalwart_lib::common::core::BuildServer;
use stalwart_lib::services::broadcast::subscriber::spawn_broadcast_subscriber;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// A future that is compiled here and not by its user.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the program decides about the listeners.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name for links when an HTTP request names none.
    pub host: String,
    /// Speaks on IMAP's clear-text port until the client asks for TLS.
    pub imap_prelude: Prelude,
    /// Whose HTTP request it is.
    pub http_client: Client,
}

/// A mail server with its ports bound and its store open, not serving yet.
pub struct Server(boot::Booted);

impl Server {
    /// Starts from the text of a configuration; `path` is where the library
    /// would save local settings.
    pub fn boot<'a>(text: &'a str, path: PathBuf) -> Later<'a, Result<Server>> {
        Box::pin(async move { Ok(Server(boot::boot(text, path).await?)) })
    }

    /// Its directory.
    pub fn directory(&self) -> Directory {
        Directory::new(&self.0.inner)
    }

    /// Its queue.
    pub fn queue(&self) -> queue::Queue {
        queue::Queue::new(&self.0.inner)
    }

    /// Its certificates.
    pub fn certificates(&self) -> Certificates {
        Certificates(self.0.inner.clone())
    }

    /// The keys that other servers may show.
    pub fn pins(&self) -> Pins {
        Pins(self.0.inner.clone())
    }

    /// Whether DNS names a mail server for a domain. "Don't know" counts as no.
    pub fn has_mail_exchanger<'a>(&'a self, domain: &'a str) -> Later<'a, bool> {
        Box::pin(async move {
            let server = self.0.inner.build_server();
            server.dns_exists_mx(domain).await.unwrap_or(false)
        })
    }

    /// Accepts connections on every port and starts deliveries.
    ///
    /// Must be called on the runtime that is to do the work.
    pub fn serve(mut self, options: Options) -> Result<Running> {
        self.0.spawn_services();
        let inner = self.0.inner;
        let (stop, stopped) = watch::channel(false);
        let (alive, sessions) = mpsc::channel(1);
        for listener in std::mem::take(&mut self.0.servers.servers) {
            let id = listener.id.clone();
            let acceptor = self.0.servers.tcp_acceptors.remove(&id).unwrap_or_default();
            let handler = mail_handler(listener.protocol, &inner)
                .unwrap_or_else(|| http::handler(&inner, &options.host, options.http_client));
            let prelude = match listener.protocol {
                ServerProtocol::Imap => Some(options.imap_prelude),
                _ => None,
            };
            serve(
                listener,
                acceptor,
                prelude,
                handler,
                inner.clone(),
                stopped.clone(),
                alive.clone(),
            )
            .map_err(|error| anyhow!("{id}: {error}"))?;
        }
        spawn_broadcast_subscriber(inner.clone(), stopped);
        Ok(Running {
            inner,
            stop,
            sessions,
        })
    }
}

/// The certificates of a mail server.
pub struct Certificates(Arc<Inner>);

impl Certificates {
    /// Shows this one to everybody who connects from now on, whatever name they ask for: `names` (as
    /// the library looks them up), or any that had another. Open connections stay as they are.
    pub fn show(&self, certificate: CertifiedKey, names: Vec<String>) {
        let certificate = Arc::new(certificate);
        let shown = &self.0.data.tls_certificates;
        let mut by_name = shown.load().as_ref().clone();
        for name in by_name.keys().cloned().chain(names).collect::<Vec<_>>() {
            by_name.insert(name, certificate.clone());
        }
        shown.store(by_name.into());
    }
}

/// A key or certificate of another server (RFC 6698 §2.1), usage DANE-EE.
#[derive(Debug, Clone)]
pub struct PinnedKey {
    /// The hash is of the key, not of the whole certificate.
    pub key: bool,
    /// SHA-256; otherwise SHA-512.
    pub sha256: bool,
    /// The hash.
    pub hash: Vec<u8>,
}

/// What the mail server knows of other servers' keys. It looks here before it asks by itself.
pub struct Pins(Arc<Inner>);

impl Pins {
    /// For so long the server of this name, with a dot at the end, has to show one of these.
    pub fn pin(&self, server: &str, pins: Vec<PinnedKey>, valid: Duration) {
        let entries = pins.into_iter().map(|pin| TlsaEntry {
            is_end_entity: true,
            is_sha256: pin.sha256,
            is_spki: pin.key,
            data: pin.hash,
        });
        let tlsa = Tlsa {
            entries: entries.collect(),
            has_end_entities: true,
            has_intermediates: false,
        };
        self.0.cache.dns_tlsa.insert_with_expiry(
            format!("_25._tcp.{server}"),
            Arc::new(tlsa),
            Instant::now() + valid,
        );
    }
}

/// A mail server at work.
pub struct Running {
    inner: Arc<Inner>,
    stop: watch::Sender<bool>,
    /// Ends when the last session has ended.
    sessions: mpsc::Receiver<()>,
}

impl Running {
    /// Accepts nothing more and waits for sessions to finish their command, at
    /// most for `grace`.
    pub fn stop<'a>(mut self, grace: Duration) -> Later<'a, ()> {
        Box::pin(async move {
            self.stop.send(true).ok();
            stop_queue(&self.inner).await;
            let _ = tokio::time::timeout(grace, self.sessions.recv()).await;
            Collector::shutdown();
        })
    }
}
