//! The device API ([`roost_service::update`]): doors and limits.
//!
//! What a caller asks is done in `session`.

use crate::session::{Session, stopped};
use crate::updater::Updater;
use rustls::ServerConfig;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// How much and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time, strangers in their handshake included; further
    /// ones are closed at once. One household has a laptop or two.
    pub connections: usize,
    /// Longest handshake.
    pub handshake: Duration,
    /// Longest silence between two calls: somebody may think about an offer
    /// over a coffee.
    pub idle: Duration,
    /// Longest silence where bytes are expected.
    pub stalled: Duration,
    /// How long a second update waits for the end of a first before it is refused.
    pub turn: Duration,
    /// Time between two looks at a log that is followed.
    pub follow: Duration,
}

impl Limits {
    /// Those of the box.
    pub const STANDARD: Self = Self {
        connections: 8,
        handshake: Duration::from_secs(10),
        idle: Duration::from_secs(15 * 60),
        stalled: Duration::from_secs(60),
        turn: Duration::from_secs(5),
        follow: Duration::from_secs(1),
    };
}

/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);
/// What connections get to end an answer when the service stops.
const GRACE: Duration = Duration::from_secs(3);

/// Opens the port on all addresses; without IPv6 in the kernel, on those of IPv4.
///
/// # Errors
/// When the port is taken.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Serves until `stop` says `true`.
pub async fn serve(
    updater: Arc<Updater>,
    listener: TcpListener,
    tls: ServerConfig,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
            Some(_) = sessions.join_next() => continue,
        };
        let Ok((stream, from)) = accepted else {
            sleep(BREATHER).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let (updater, acceptor, stop) = (updater.clone(), acceptor.clone(), stop.clone());
        sessions.spawn(async move {
            connection(updater, acceptor, stream, from, limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let all = async { while sessions.join_next().await.is_some() {} };
    let _ = timeout(GRACE, all).await;
}

async fn connection(
    updater: Arc<Updater>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    // Answers are short lines that somebody waits for.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(limits.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            println!("updater: {} was not let in: {error}", from.ip());
            return;
        }
        Err(_) => return,
    };
    talk(updater, stream, limits, stop).await;
}

/// Does what comes over `stream`, on which a known key was shown, until either side closes.
pub async fn talk(
    updater: Arc<Updater>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    Session::new(updater, stream, limits, stop).run().await;
}
