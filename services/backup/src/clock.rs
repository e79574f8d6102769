//! Whether the clock is set. A Raspberry Pi forgets the time with its power; init asks time servers.

use anyhow::{Context, Result, bail};
use roost_service::control::{Request, Response, SOCKET};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Another socket of init, for tests.
const INIT_ENV: &str = "ROOST_CONTROL";
/// Init answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer of init, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// init's socket.
pub fn socket() -> PathBuf {
    std::env::var_os(INIT_ENV).map_or_else(|| SOCKET.into(), PathBuf::from)
}

/// The clock, as far as it can be trusted.
#[derive(Debug)]
pub struct Clock {
    init: PathBuf,
    set: AtomicBool,
    /// Whether it was said that init does not answer; once is enough.
    said: AtomicBool,
}

impl Clock {
    /// Asks init whether a time server has set the clock.
    pub fn new() -> Self {
        Self {
            init: socket(),
            set: AtomicBool::new(false),
            said: AtomicBool::new(false),
        }
    }

    /// Seconds since 1970; `None` as long as nobody has set the clock.
    pub fn now(&self) -> Option<u64> {
        if !self.set.load(Ordering::Relaxed) {
            match self.ask() {
                // Once set it runs on.
                Ok(set) => self.set.store(set, Ordering::Relaxed),
                Err(error) if !self.said.swap(true, Ordering::Relaxed) => {
                    println!("backup: init does not tell of the clock: {error:#}");
                }
                Err(_) => {}
            }
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        self.set.load(Ordering::Relaxed).then_some(since.as_secs())
    }

    fn ask(&self) -> Result<bool> {
        let mut stream = UnixStream::connect(&self.init)
            .with_context(|| format!("connect to {}", self.init.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(&Request::Status)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer)?;
        match serde_json::from_slice(&answer)? {
            Response::Status(status) => Ok(status.clock_synced),
            _ => bail!("it answers something else"),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
