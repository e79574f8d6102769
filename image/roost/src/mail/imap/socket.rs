//! A socket that gives up when the user says so, or when nothing has moved for too long.

use crate::device::stop::{Stop, TICK};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Said by [`io::Error`] when the user has asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("ended by Ctrl-C")]
pub struct Stopped;

/// A connected socket.
pub struct Socket {
    tcp: TcpStream,
    stop: Stop,
    patience: Duration,
}

impl Socket {
    /// Over `tcp`; `patience` is how long nothing may move.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn new(tcp: TcpStream, stop: &Stop, patience: Duration) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(TICK))?;
        tcp.set_write_timeout(Some(TICK))?;
        Ok(Self {
            tcp,
            stop: stop.clone(),
            patience,
        })
    }

    fn tried(&self, mut attempt: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        let began = Instant::now();
        loop {
            if self.stop.is_set() {
                return Err(io::Error::other(Stopped));
            }
            match attempt(&self.tcp) {
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) =>
                {
                    if began.elapsed() > self.patience {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                other => return other,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.tried(|mut tcp| tcp.read(to))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tried(|mut tcp| tcp.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
