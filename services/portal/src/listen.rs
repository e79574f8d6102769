//! Doors and their limits: how many connections, from whom, and how long each may take.
//!
//! | Who | Does what | What stops them |
//! |---|---|---|
//! | one machine | opens a thousand connections | each beyond [`Limits::per_address`] ends the one of that address that has waited longest |
//! | many machines, or one with many IPv6 addresses | the same | beyond [`Limits::connections`] the longest waiting one of the address that has most is ended, so whoever comes new gets in |
//! | a slow one | does not finish TLS, or a request's head | [`Limits::handshake`], [`Limits::head`] |
//! | a slow one | does not finish a body | [`Limits::body`]; where bodies are handed on, each rest in them |
//! | a slow one | does not read the answer | its connection counts as waiting, and is ended first |
//!
//! *Waiting* is every connection but one whose request is being worked on.

use crate::identity::Identity;
use crate::tls::{ByName, Shown};
use crate::unread;
use crate::visitor::Network;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// How much and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. Each takes about 60 KiB; a household has a dozen browsers and mail programs.
    pub connections: usize,
    /// Of one address. A browser opens six; more browsers may be behind one address.
    pub per_address: usize,
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// Longest time for the head of a request, and longest rest between two.
    pub head: Duration,
    /// Longest time for a whole body, where the answer needs it whole.
    pub body: Duration,
    /// Longest head, in bytes.
    pub head_bytes: usize,
    /// Most fields in it.
    pub fields: usize,
}

impl Limits {
    /// Those of the box.
    pub const STANDARD: Self = Self {
        connections: 256,
        per_address: 64,
        handshake: Duration::from_secs(10),
        head: Duration::from_secs(15),
        // A phone at the end of the garden sends a form in one.
        body: Duration::from_secs(20),
        head_bytes: 16 << 10,
        fields: 64,
    };
    /// Those of port 80, which only leads to the other.
    pub const PLAIN: Self = Self {
        connections: 64,
        per_address: 16,
        head: Duration::from_secs(5),
        head_bytes: 8 << 10,
        ..Self::STANDARD
    };
}

/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);
/// What connections get to end an answer when the portal stops.
const GRACE: Duration = Duration::from_secs(2);

/// Where a request comes from; an extension of each.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// [`Limits::body`]; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct BodyTime(pub Duration);

/// Held while a request is worked on: its connection is not waiting. In each request's extensions, for
/// answers that go on for longer.
#[derive(Debug)]
pub struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(count: &Arc<AtomicUsize>) -> Arc<Self> {
        count.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self(count.clone()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens a port on all addresses; without IPv6 in the kernel, on those of IPv4.
///
/// # Errors
/// When the port is taken.
pub async fn open(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// TLS 1.2 and 1.3 with the certificates that are `shown` by name, else the box's, HTTP/1.1 only: that is
/// bounded above, HTTP/2 has ways of its own to keep a server busy.
///
/// # Errors
/// When key and certificate do not belong together.
pub fn tls(identity: &Identity, shown: Arc<Shown>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let by_name = ByName::new(identity, shown, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(by_name));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// One connection in the table.
struct Entry {
    from: IpAddr,
    /// Requests being worked on.
    busy: Arc<AtomicUsize>,
    /// Since when it is there, or when its last request began.
    active: Arc<Mutex<Instant>>,
    task: AbortHandle,
}

/// All connections of a door.
#[derive(Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
}

impl Table {
    /// Sees to it that there is room for one more from `from`. `false` if nothing can be ended.
    fn make_room(&mut self, from: IpAddr, limits: &Limits) -> bool {
        self.entries.retain(|_, entry| !entry.task.is_finished());
        let of_one = self.entries.values().filter(|e| e.from == from).count();
        if of_one >= limits.per_address {
            return self.end_oldest(|entry| entry.from == from);
        }
        if self.entries.len() < limits.connections {
            return true;
        }
        // A machine may have many addresses of its IPv6 network, so it is networks that are compared.
        let mut counts: HashMap<Network, usize> = HashMap::new();
        for entry in self.entries.values() {
            *counts.entry(entry.from.into()).or_default() += 1;
        }
        let mut networks: Vec<(usize, Network)> = counts
            .into_iter()
            .map(|(network, count)| (count, network))
            .collect();
        networks.sort_unstable_by_key(|(count, _)| std::cmp::Reverse(*count));
        networks
            .into_iter()
            .any(|(_, network)| self.end_oldest(|entry| Network::from(entry.from) == network))
    }

    /// Ends the connection that has waited longest, of those that are meant.
    fn end_oldest(&mut self, meant: impl Fn(&Entry) -> bool) -> bool {
        let waiting = self
            .entries
            .iter()
            .filter(|(_, entry)| meant(entry) && entry.busy.load(Ordering::Relaxed) == 0);
        let oldest = waiting
            .min_by_key(|(_, entry)| *entry.active.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(id) = oldest.map(|(id, _)| *id) else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&id) {
            entry.task.abort();
        }
        true
    }
}

/// Serves until `stop` says `true`: TLS if there is an acceptor, else plain HTTP.
pub async fn serve<S, F>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut table = Table::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, from)) = accepted else {
            sleep(BREATHER).await;
            continue;
        };
        // A socket that takes both families shows IPv4 as ::ffff:a.b.c.d.
        let from = from.ip().to_canonical();
        if !table.make_room(from, &limits) {
            continue;
        }
        let busy = Arc::new(AtomicUsize::new(0));
        let active = Arc::new(Mutex::new(Instant::now()));
        let mark = Mark {
            from,
            busy: busy.clone(),
            active: active.clone(),
        };
        let task = tokio::spawn(connection(
            stream,
            tls.clone(),
            limits,
            mark,
            service.clone(),
            stop.clone(),
        ));
        let id = table.next;
        table.next += 1;
        let task = task.abort_handle();
        table.entries.insert(
            id,
            Entry {
                from,
                busy,
                active,
                task,
            },
        );
    }
    drop(listener);
    let end = Instant::now() + GRACE;
    while table.entries.values().any(|e| !e.task.is_finished()) && Instant::now() < end {
        sleep(Duration::from_millis(20)).await;
    }
    for entry in table.entries.values() {
        entry.task.abort();
    }
}

/// What a connection tells the table.
#[derive(Clone)]
struct Mark {
    from: IpAddr,
    busy: Arc<AtomicUsize>,
    active: Arc<Mutex<Instant>>,
}

async fn connection<S, F>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    mark: Mark,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // Answers are written in one go.
    let _ = stream.set_nodelay(true);
    match tls {
        None => talk(stream, limits, mark, service, stop).await,
        Some(tls) => {
            // Who it is and why it failed is not logged: a stranger could fill the log with it.
            let accepted = tokio::select! {
                accepted = timeout(limits.handshake, tls.accept(stream)) => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            if let Ok(Ok(stream)) = accepted {
                talk(stream, limits, mark, service, stop).await;
            }
        }
    }
}

async fn talk<S, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: Limits,
    mark: Mark,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = Busy::new(&mark.busy);
        *mark.active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let (service, from) = (service.clone(), mark.from);
        async move {
            let answer = unread::answer(request, async |mut request| {
                request.extensions_mut().insert(Peer(from));
                request.extensions_mut().insert(BodyTime(limits.body));
                request.extensions_mut().insert(busy.clone());
                let answer = service(request).await;
                // Whoever sends a body that nobody wants is waiting.
                drop(busy);
                answer
            });
            Ok::<_, Infallible>(answer.await)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.fields)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Its end is the same to us whatever the reason.
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
