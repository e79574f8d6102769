//! The status socket ([`roost_service::tunnel`]): one user may connect, and gets one line.

use roost_service::spec::ServiceSpec;
use roost_service::tunnel::Status;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

/// The spec's name of the portal.
const PORTAL: &str = "portal";
/// Longest that a reader may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);

/// The socket, for the portal's user.
pub struct Door {
    listener: UnixListener,
    user: u32,
}

impl Door {
    /// Makes the socket; what an earlier run left there is in the way and goes. `None`: the table
    /// has no portal.
    ///
    /// # Errors
    /// When the folder is not there, or is not this service's.
    pub fn open(path: &Path, table: &[ServiceSpec]) -> io::Result<Option<Self>> {
        let Some(portal) = table.iter().find(|spec| spec.name == PORTAL) else {
            return Ok(None);
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // Whoever connects needs the right to write (unix(7)). Who it is is asked of the kernel.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
        Ok(Some(Self {
            listener,
            user: portal.user,
        }))
    }

    /// Waits for somebody who may ask. Loses nobody when it is dropped.
    pub async fn knock(&self) -> UnixStream {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                sleep(BREATHER).await;
                continue;
            };
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.user => return stream,
                Ok(peer) => println!("tunnel: user {} was not let in", peer.uid()),
                Err(error) => println!("tunnel: nobody knows who has connected: {error}"),
            }
        }
    }
}

/// Tells `status` to whoever asked, beside the loop, which waits for nobody.
pub fn tell(mut stream: UnixStream, status: &Status) {
    let Ok(mut line) = serde_json::to_vec(status) else {
        return;
    };
    line.push(b'\n');
    tokio::spawn(async move {
        // A reader that hangs up is everyday life.
        let _ = timeout(PATIENCE, async {
            stream.write_all(&line).await?;
            stream.shutdown().await
        })
        .await;
    });
}
