//! Lines to and from a server that is not trusted.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// Longest line of a reply. Both protocols stay far below it (RFC 5321
/// §4.5.3.1.5: 512; a capability list of IMAP is the longest).
const MAX_LINE: u64 = 8 << 10;

/// Bytes that a server may say in one conversation: a minute of looking into an
/// empty mailbox is less than 200 KB.
const MAX_CONVERSATION: u64 = 1 << 20;

/// Characters of a server's words that are repeated.
const SHOWN: usize = 200;

/// What goes wrong in a conversation.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Io(io::Error),
    #[error("the server hung up")]
    HungUp,
    #[error("the server hung up and said \"{0}\"")]
    Bye(String),
    #[error("the server sent a line or an answer without an end")]
    Endless,
    #[error("{command} was answered \"{reply}\"")]
    Refused {
        command: &'static str,
        reply: String,
    },
    #[error("{command} was answered with something else: \"{reply}\"")]
    Strange {
        command: &'static str,
        reply: String,
    },
    #[error("it came back with another text")]
    Changed,
}

/// A server's words, fit for a line of text.
pub(super) fn shown(words: &str) -> String {
    words
        .trim()
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A conversation in lines.
pub(super) struct Wire<S> {
    stream: BufReader<S>,
    /// Bytes that may still come.
    left: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Wire {
            stream: BufReader::new(stream),
            left: MAX_CONVERSATION,
        }
    }

    /// The next line without its end.
    pub(super) async fn line(&mut self) -> Result<String, Trouble> {
        let room = MAX_LINE.min(self.left);
        let mut line = Vec::new();
        (&mut self.stream)
            .take(room)
            .read_until(b'\n', &mut line)
            .await
            .map_err(Trouble::Io)?;
        self.left -= line.len() as u64;
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            let full = line.len() as u64 == room;
            return Err(if full {
                Trouble::Endless
            } else {
                Trouble::HungUp
            });
        }
        line.pop_if(|byte| *byte == b'\r');
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// The next `length` bytes.
    pub(super) async fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Trouble> {
        if length > self.left {
            return Err(Trouble::Endless);
        }
        self.left -= length;
        let mut bytes = Vec::new();
        (&mut self.stream)
            .take(length)
            .read_to_end(&mut bytes)
            .await
            .map_err(Trouble::Io)?;
        if (bytes.len() as u64) < length {
            return Err(Trouble::HungUp);
        }
        Ok(bytes)
    }

    /// Sends what is complete, with its line ends.
    pub(super) async fn send(&mut self, text: &str) -> Result<(), Trouble> {
        let stream = self.stream.get_mut();
        let sending = async {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await
        };
        sending.await.map_err(Trouble::Io)
    }
}
