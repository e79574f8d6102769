//! Lines and bytes of one connection, with limits and time-outs.

use roost_service::update::{Answer, MAX_LINE};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;

/// Bytes read at once.
pub const PIECE: usize = 64 << 10;
/// Longest wait for the other side to take an answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub struct Wire<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection that nothing was read from.
    pub fn new(stream: S) -> Self {
        Self(BufReader::with_capacity(PIECE, stream))
    }

    /// The next line without its line feed; `None` when the other side has closed.
    ///
    /// # Errors
    /// `InvalidData` for a line above [`MAX_LINE`]; the connection's.
    pub async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(MAX_LINE as u64);
        limited.read_until(b'\n', &mut line).await?;
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            Some(_) if line.len() + 1 == MAX_LINE => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the line is longer than {MAX_LINE} bytes"),
            )),
            _ => Ok(None),
        }
    }

    /// Exactly `bytes` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when fewer come; `TimedOut` when none come for `patience`.
    pub async fn exactly(&mut self, bytes: u64, patience: Duration) -> io::Result<Vec<u8>> {
        // Not reserved in advance: memory is taken as bytes come.
        let mut all = Vec::new();
        while (all.len() as u64) < bytes {
            let left = bytes - all.len() as u64;
            let piece = timeout(patience, self.some(left))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            all.extend(piece);
        }
        Ok(all)
    }

    /// What comes next, at most `limit` bytes and [`PIECE`]; empty when the
    /// other side has closed. Loses nothing when it is given up half way.
    ///
    /// # Errors
    /// The connection's.
    pub async fn some(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let there = self.0.fill_buf().await?;
        let count = there.len().min(usize::try_from(limit).unwrap_or(PIECE));
        let piece = there[..count].to_vec();
        self.0.consume(count);
        Ok(piece)
    }

    /// Returns as soon as anything comes, or the other side closes.
    pub async fn stirs(&mut self) {
        let _ = self.0.fill_buf().await;
    }

    /// Sends an answer.
    ///
    /// # Errors
    /// The connection's; `TimedOut` when the other side does not take it.
    pub async fn send(&mut self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        let send = async {
            self.0.write_all(&line).await?;
            self.0.flush().await
        };
        timeout(SEND_TIMEOUT, send)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Says good-bye.
    pub async fn close(&mut self) {
        let _ = timeout(SEND_TIMEOUT, self.0.shutdown()).await;
    }
}
