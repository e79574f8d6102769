//! The update calls ([`roost_service::update`]): one door, and limits.
//!
//! The door is a Unix socket, and one user may come through it: the portal, which
//! knows the owner's laptops and pipes their calls on. What a caller asks is done in `session`.

use crate::session::{Session, stopped};
use crate::updater::Updater;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How much and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once. One household has a laptop or
    /// two, and the portal's pages ask for a moment.
    pub connections: usize,
    /// Longest silence between two calls: somebody may think about an offer
    /// over a coffee.
    pub idle: Duration,
    /// Longest silence where bytes are expected.
    pub stalled: Duration,
    /// How long a second update waits for the end of a first before it is refused.
    pub turn: Duration,
    /// With nothing to tell of a log for so long, an empty answer tells whether
    /// the follower is still there.
    pub heartbeat: Duration,
}

impl Limits {
    /// Those of the box.
    pub const STANDARD: Self = Self {
        connections: 16,
        idle: Duration::from_secs(15 * 60),
        stalled: Duration::from_secs(60),
        turn: Duration::from_secs(5),
        heartbeat: Duration::from_secs(60),
    };
}

/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);
/// What connections get to end an answer when the service stops.
const GRACE: Duration = Duration::from_secs(3);

/// Makes the socket; what an earlier run left there is in the way and goes.
///
/// # Errors
/// When the folder is not there, or is not this service's.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // Whoever connects needs the right to write (unix(7)). Who it is is asked of the kernel.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
    Ok(listener)
}

/// Serves `user`, and nobody else, until `stop` says `true`.
pub async fn serve(
    updater: Arc<Updater>,
    listener: UnixListener,
    user: u32,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
            Some(_) = sessions.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            sleep(BREATHER).await;
            continue;
        };
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == user => {}
            Ok(peer) => {
                println!("updater: user {} was not let in", peer.uid());
                continue;
            }
            Err(error) => {
                println!("updater: nobody knows who has connected: {error}");
                continue;
            }
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let (updater, stop) = (updater.clone(), stop.clone());
        sessions.spawn(async move {
            talk(updater, stream, limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let all = async { while sessions.join_next().await.is_some() {} };
    let _ = timeout(GRACE, all).await;
}

/// Does what comes over `stream` until either side closes.
pub async fn talk(
    updater: Arc<Updater>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    Session::new(updater, stream, limits, stop).run().await;
}
