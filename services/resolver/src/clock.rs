//! Whether the clock is set: signatures have dates, and a Raspberry Pi forgets the time with its power.

use roost_service::control::{Request, Response};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Init answers at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer of init, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// The clock, as far as it can be trusted. Once set it runs on.
#[derive(Debug)]
pub struct Clock {
    init: PathBuf,
    /// Whether it is known to be set.
    pub set: bool,
    /// Whether it was said that init does not answer; once is enough.
    said: bool,
}

impl Clock {
    /// Asks init at this socket.
    pub fn new(init: PathBuf) -> Self {
        Self {
            init,
            set: false,
            said: false,
        }
    }

    /// Asks, if it is not known to be set. Whether it was set just now.
    pub async fn look(&mut self) -> bool {
        if self.set {
            return false;
        }
        let told = timeout(PATIENCE, self.ask()).await;
        match told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(set) => self.set = set,
            Err(error) if !self.said => {
                self.said = true;
                println!("resolver: init does not tell of the clock: {error}");
            }
            Err(_) => {}
        }
        self.set
    }

    async fn ask(&self) -> io::Result<bool> {
        let mut stream = UnixStream::connect(&self.init).await?;
        let mut line = serde_json::to_vec(&Request::Status)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        let mut reader = BufReader::new(stream.take(MAX_ANSWER));
        reader.read_until(b'\n', &mut answer).await?;
        match serde_json::from_slice(&answer)? {
            Response::Status(status) => Ok(status.clock_synced),
            _ => Err(io::Error::other("it answers something else")),
        }
    }
}
