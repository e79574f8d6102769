//! Whether the clock is set. A Raspberry Pi forgets the time with its power; init asks time servers.

use roost_service::control::{Request, Response};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// No clock that is right shows less: it is when this was written (1 November 2026).
pub const FLOOR: u64 = 1_793_491_200;
/// Init answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer of init, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// The clock, as far as it can be trusted.
#[derive(Debug)]
pub struct Clock {
    init: PathBuf,
    set: AtomicBool,
    /// Whether it was said that init does not answer; once is enough.
    said: AtomicBool,
}

impl Clock {
    /// Asks init at this socket whether a time server has set the clock.
    pub fn new(init: PathBuf) -> Self {
        let (set, said) = Default::default();
        Self { init, set, said }
    }

    /// Seconds since 1970; `None` as long as nobody has set the clock.
    pub async fn now(&self) -> Option<u64> {
        if !self.set.load(Ordering::Relaxed) {
            let told = timeout(PATIENCE, self.ask()).await;
            match told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                // Once set it runs on.
                Ok(set) => self.set.store(set, Ordering::Relaxed),
                Err(error) if !self.said.swap(true, Ordering::Relaxed) => {
                    println!("certificates: init does not tell of the clock: {error}");
                }
                Err(_) => {}
            }
        }
        self.last()
    }

    /// As [`Self::now`], without asking anybody.
    pub fn last(&self) -> Option<u64> {
        let now = crate::now();
        (self.set.load(Ordering::Relaxed) && now >= FLOOR).then_some(now)
    }

    async fn ask(&self) -> io::Result<bool> {
        let mut stream = UnixStream::connect(&self.init).await?;
        let mut line = serde_json::to_vec(&Request::Status)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        let mut reader = tokio::io::BufReader::new(stream.take(MAX_ANSWER));
        tokio::io::AsyncBufReadExt::read_until(&mut reader, b'\n', &mut answer).await?;
        match serde_json::from_slice(&answer)? {
            Response::Status(status) => Ok(status.clock_synced),
            _ => Err(io::Error::other("it answers something else")),
        }
    }
}
