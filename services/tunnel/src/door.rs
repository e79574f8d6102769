//! The socket ([`roost_service::tunnel`]): one user may connect, asks once and is answered once.

use roost_service::spec::ServiceSpec;
use roost_service::tunnel::{Answer, Call, MAX_LINE};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// The spec's name of the portal.
const PORTAL: &str = "portal";
/// Longest that somebody may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);
/// Connections at a time; more wait.
const PLACES: usize = 4;

/// What somebody asks who may.
pub struct Asked {
    /// The question.
    pub call: Call,
    answer: oneshot::Sender<Answer>,
}

impl Asked {
    /// Answers.
    pub fn answer(self, answer: Answer) {
        // Somebody who hangs up is everyday life.
        let _ = self.answer.send(answer);
    }
}

/// The socket, for the portal's user.
pub struct Door {
    asked: mpsc::Receiver<Asked>,
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
        let (give, asked) = mpsc::channel(PLACES);
        tokio::spawn(listen(listener, portal.user, give));
        Ok(Some(Self { asked }))
    }

    /// Waits for a question. None is lost when this is dropped.
    pub async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            // The listener never ends.
            None => std::future::pending().await,
        }
    }
}

async fn listen(listener: UnixListener, user: u32, give: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(BREATHER).await;
            continue;
        };
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == user => {
                let give = give.clone();
                tokio::spawn(async move {
                    let _place = place;
                    // A connection that broke is no event: the portal asks again.
                    let _ = talk(stream, &give).await;
                });
            }
            Ok(peer) => println!("tunnel: user {} was not let in", peer.uid()),
            Err(error) => println!("tunnel: nobody knows who has connected: {error}"),
        }
    }
}

async fn talk(mut stream: UnixStream, give: &mpsc::Sender<Asked>) -> io::Result<()> {
    let mut line = Vec::new();
    let mut limited = BufReader::new((&mut stream).take(MAX_LINE as u64));
    timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice(&line) {
        Ok(call) => {
            let (answer, answered) = oneshot::channel();
            let asked = Asked { call, answer };
            give.send(asked).await.map_err(io::Error::other)?;
            answered.await.map_err(io::Error::other)?
        }
        Err(error) => Answer::Refused {
            why: format!("this is no call: {error}"),
        },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(PATIENCE, async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    })
    .await?
}
