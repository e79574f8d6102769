//! Asking other services of the box over their Unix sockets: one JSON object a line, both ways.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longest wait for an answer: mail hashes a password, the updater looks into its slots.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Longest answer, in bytes; mail's are the longest.
const MAX_ANSWER: u64 = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{who} does not answer: {}", plain(.why))]
pub struct NoAnswer {
    /// Who was asked, as the owner knows it.
    pub who: &'static str,
    /// Why.
    pub why: io::Error,
}

impl NoAnswer {
    /// Whether the call may have reached the service, and may have been done.
    pub(crate) fn may_have_been_done(&self) -> bool {
        !matches!(
            self.why.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::PermissionDenied
        )
    }
}

/// Why a socket does not answer, for people.
pub(crate) fn plain(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "it is not running".into(),
        io::ErrorKind::PermissionDenied => "it does not take calls of the portal".into(),
        io::ErrorKind::TimedOut => "it takes too long".into(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => "it broke off".into(),
        io::ErrorKind::InvalidData => "it answers something else than was asked".into(),
        _ => why.to_string(),
    }
}

/// Sends one call on a connection of its own and reads one answer.
///
/// # Errors
/// [`NoAnswer`].
pub async fn ask<A: DeserializeOwned>(
    who: &'static str,
    socket: &Path,
    call: &impl Serialize,
) -> Result<A, NoAnswer> {
    ask_within(who, socket, call, PATIENCE).await
}

/// The same, for an answer that takes longer.
///
/// # Errors
/// [`NoAnswer`].
pub async fn ask_within<A: DeserializeOwned>(
    who: &'static str,
    socket: &Path,
    call: &impl Serialize,
    patience: Duration,
) -> Result<A, NoAnswer> {
    let talk = async {
        let mut line = serde_json::to_string(call)?;
        line.push('\n');
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(line.as_bytes()).await?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(MAX_ANSWER))
            .read_until(b'\n', &mut answer)
            .await?;
        if answer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&answer)?)
    };
    let late = || Err(io::Error::from(io::ErrorKind::TimedOut));
    let answer = timeout(patience, talk).await.unwrap_or_else(|_| late());
    answer.map_err(|why| NoAnswer { who, why })
}
