//! Requests that come as datagrams.

use super::handle::{Next, Shared, Transport};
use super::rates::Verdict;
use super::reply::slip;
use crate::update;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// The largest request that is read: an update with the longest key fits several times.
const MAX_REQUEST: usize = 16 * 1024;

/// So many requests are answered before others on this thread have their turn.
const BATCH: usize = 64;

/// Serves a socket until the task is dropped.
pub async fn serve(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut request = vec![0; MAX_REQUEST];
    let mut answer = Vec::with_capacity(4096);
    loop {
        if socket.readable().await.is_err() {
            pause().await;
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut request) {
                Ok((length, from)) => {
                    one(&socket, &shared, &request[..length], from, &mut answer).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An earlier answer could not be delivered; the socket is as good as before.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => pause().await,
            }
        }
        tokio::task::yield_now().await;
    }
}

/// The network may be on its way down or up: asking at once again would only take time from others.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn one(
    socket: &Arc<UdpSocket>,
    shared: &Arc<Shared>,
    request: &[u8],
    from: SocketAddr,
    answer: &mut Vec<u8>,
) {
    if from.port() == 0 {
        return;
    }
    match shared.handle(request, Transport::Udp, answer) {
        Next::Silent | Next::Transfer(_) => {}
        Next::Send(kind, zone) => {
            let verdict = shared.rates.check(from.ip(), zone, kind);
            let send = verdict == Verdict::Pass || (verdict == Verdict::Slip && slip(answer));
            // A full buffer drops answers, as a full line does: the client asks again.
            if send && socket.try_send_to(answer, from).is_err() {
                tokio::task::yield_now().await;
            }
        }
        Next::Update(verified) => {
            let (socket, shared) = (Arc::clone(socket), Arc::clone(shared));
            let request = request.to_vec();
            // No answer while too many wait: the client asks again.
            let Ok(permit) = Arc::clone(&shared.updates).try_acquire_owned() else {
                return;
            };
            tokio::spawn(async move {
                let answer = update::handle(&shared, &request, from, verified).await;
                let _ = socket.send_to(&answer, from).await;
                drop(permit);
            });
        }
    }
}
