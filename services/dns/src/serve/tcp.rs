//! Requests that come over TCP (RFC 7766).
//!
//! One connection's requests are answered one after the other: what a client sends ahead waits in the
//! kernel's buffer, whose size is the limit on it.

use super::Limits;
use super::handle::{Next, Shared, Transport};
use super::rates::network;
use super::transfer::Transfer;
use crate::update;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at a time, by network.
#[derive(Debug, Default)]
pub struct Connections(Mutex<HashMap<[u8; 8], usize>>);

/// A connection's place, given back when dropped.
pub struct Seat {
    of: Arc<Connections>,
    network: [u8; 8],
}

impl Connections {
    /// A place for a connection from this address, if there is one.
    pub fn seat(self: &Arc<Self>, from: IpAddr, limits: &Limits) -> Option<Seat> {
        let network = network(from);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let own = counts.get(&network).copied().unwrap_or(0);
        if all >= limits.connections || own >= limits.connections_per_network {
            return None;
        }
        counts.insert(network, own + 1);
        Some(Seat {
            of: Arc::clone(self),
            network,
        })
    }
}

impl Seat {
    /// How long this connection may be idle: less once more than half of all seats are taken (RFC 7766,
    /// section 6.2.3), so that idle ones keep nobody out for long.
    fn idle(&self, limits: &Limits) -> Duration {
        let counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        if all > limits.connections / 2 {
            limits.idle / 10
        } else {
            limits.idle
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

/// Serves a listener until nobody holds the other end of `stop`; no connection is left once this returns.
pub async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    mut stop: watch::Receiver<()>,
) {
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break tasks.shutdown().await,
        };
        let Ok((stream, from)) = accepted else {
            // No descriptors left, or the network is going down.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if let Some(seat) = connections.seat(from.ip(), &shared.options.limits) {
            let shared = Arc::clone(&shared);
            tasks.spawn(async move {
                // Why a client's connection ended is nothing that anybody here could act on.
                let _ = converse(stream, from, &shared, &seat).await;
            });
        }
    }
}

async fn converse(
    mut stream: TcpStream,
    from: SocketAddr,
    shared: &Shared,
    seat: &Seat,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let limits = &shared.options.limits;
    let mut answer = Vec::new();
    loop {
        let mut length = [0; 2];
        timeout(seat.idle(limits), stream.read_exact(&mut length[..1])).await??;
        let request = timeout(limits.message, async {
            stream.read_exact(&mut length[1..]).await?;
            let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut request).await?;
            io::Result::Ok(request)
        })
        .await??;
        match shared.handle(&request, Transport::Tcp, &mut answer) {
            Next::Silent => return Ok(()),
            Next::Send(..) => send(&mut stream, &answer, limits).await?,
            Next::Transfer(transfer) => send_all(&mut stream, transfer, shared).await?,
            Next::Update(verified) => {
                let Ok(_permit) = shared.updates.try_acquire() else {
                    return Ok(());
                };
                let answer = update::handle(shared, &request, from, verified).await;
                send(&mut stream, &answer, limits).await?;
            }
        }
    }
}

async fn send_all(
    stream: &mut TcpStream,
    mut transfer: Transfer,
    shared: &Shared,
) -> io::Result<()> {
    let Ok(_permit) = shared.transfers.acquire().await else {
        return Ok(());
    };
    let mut message = Vec::new();
    while transfer.message(&mut message).map_err(io::Error::other)? {
        send(stream, &message, &shared.options.limits).await?;
    }
    Ok(())
}

/// Sends a message; a client that takes longer than allowed to read it is cut off.
async fn send(stream: &mut TcpStream, message: &[u8], limits: &Limits) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut whole = Vec::with_capacity(message.len() + 2);
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(message);
    timeout(limits.write, stream.write_all(&whole)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_shared_out_and_given_back() {
        let limits = Limits {
            connections: 4,
            connections_per_network: 3,
            ..Limits::default()
        };
        let all = Arc::new(Connections::default());
        let seat = |last: u8, network: u8| all.seat(IpAddr::from([192, 0, network, last]), &limits);
        let mut own: Vec<_> = (0..3).map(|last| seat(last, 2).expect("a seat")).collect();
        assert!(seat(9, 2).is_none(), "a network has three");
        assert_eq!(own[0].idle(&limits), limits.idle / 10);
        let other = seat(1, 3).expect("the fourth");
        assert!(seat(1, 4).is_none(), "there are four");
        own.truncate(1);
        assert_eq!(other.idle(&limits), limits.idle);
        assert!(seat(1, 4).is_some());
        drop((own, other));
        assert!(all.0.lock().unwrap().is_empty(), "nothing is remembered");
    }
}
