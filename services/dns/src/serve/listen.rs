//! Addresses that are served. They come and go with the tunnel and the network.

use super::handle::Shared;
use super::tcp::{self, Connections};
use super::{Access, Options, udp};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A running server. It ends when this is dropped.
pub struct Listener {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    running: Mutex<BTreeMap<SocketAddr, Running>>,
}

/// An address that is served.
struct Running {
    // Its tasks end when it is dropped.
    tasks: JoinSet<()>,
    datagrams: AbortHandle,
    /// Dropped to end what runs over TCP.
    stop: watch::Sender<()>,
}

/// Starts a server on these addresses, UDP and TCP.
///
/// # Errors
/// The first address that cannot be bound, with the reason. Nothing is served then.
pub async fn listen(
    addresses: &[SocketAddr],
    options: Options,
) -> Result<Listener, (SocketAddr, io::Error)> {
    let listener = Listener {
        shared: Arc::new(Shared::new(options)),
        connections: Arc::default(),
        running: Mutex::default(),
    };
    for address in addresses {
        listener
            .add(*address)
            .await
            .map_err(|error| (*address, error))?;
    }
    Ok(listener)
}

impl Listener {
    /// Serves one more address; says which, for port 0 the port that was free. Nothing happens if it is
    /// served already.
    ///
    /// # Errors
    /// It cannot be bound, or is a wildcard: from such a socket the kernel would send answers from whatever
    /// address routing prefers.
    pub async fn add(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        if address.ip().is_unspecified() {
            let why =
                "a wildcard address answers from the wrong address: give each address by itself";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        if self.lock().contains_key(&address) {
            return Ok(address);
        }
        let (datagrams, streams) = bind(address).await?;
        let bound = datagrams.local_addr()?;
        let mut tasks = JoinSet::new();
        let datagrams = tasks.spawn(udp::serve(Arc::new(datagrams), Arc::clone(&self.shared)));
        let (stop, stopped) = watch::channel(());
        let connections = Arc::clone(&self.connections);
        tasks.spawn(tcp::serve(
            streams,
            Arc::clone(&self.shared),
            connections,
            stopped,
        ));
        self.lock().insert(
            bound,
            Running {
                tasks,
                datagrams,
                stop,
            },
        );
        Ok(bound)
    }

    /// Serves an address no longer, closes its connections; says whether it was served.
    pub async fn remove(&self, address: SocketAddr) -> bool {
        let running = self.lock().remove(&address);
        let Some(mut running) = running else {
            return false;
        };
        running.datagrams.abort();
        drop(running.stop);
        while running.tasks.join_next().await.is_some() {}
        true
    }

    /// The addresses that are served.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.lock().keys().copied().collect()
    }

    /// Changes who may do what.
    pub fn set_access(&self, access: Access) {
        self.shared.set_access(access);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds both. For port 0 one that is free with UDP may be taken with TCP, so others are tried.
async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if address.port() == 0 { 20 } else { 1 };
    loop {
        tries -= 1;
        let datagrams = UdpSocket::bind(address).await?;
        match TcpListener::bind(datagrams.local_addr()?).await {
            Ok(streams) => return Ok((datagrams, streams)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}
