//! Asking init: one line there, one line back.

use roost_service::boot_times::BootTimes;
use roost_service::control::{BoxStatus, Request, Response};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Init answers at once; it is single-threaded and never waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: 5,000 log lines of 128 KiB text in all, each byte
/// of it at worst six in JSON.
const MAX_RESPONSE: u64 = 2 << 20;

/// Why init does not do it.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It cannot be reached, or broke off.
    #[error("the box's init does not answer: {}", crate::sockets::plain(.0))]
    Io(#[from] io::Error),
    /// It said no.
    #[error("the box's init refuses: {0}")]
    Refused(String),
    /// The answer is none to this question.
    #[error("the box's init answers something else")]
    Strange,
}

/// Where init listens.
#[derive(Debug, Clone)]
pub struct Init(pub PathBuf);

impl Init {
    /// Asks for something; a refusal is an error.
    ///
    /// # Errors
    /// When init cannot be asked, or refuses.
    pub async fn ask(&self, request: &Request) -> Result<Response, AskError> {
        let mut line = serde_json::to_string(request).map_err(io::Error::from)?;
        line.push('\n');
        let talk = async {
            let mut stream = UnixStream::connect(&self.0).await?;
            stream.write_all(line.as_bytes()).await?;
            let mut answer = Vec::new();
            BufReader::new(stream.take(MAX_RESPONSE))
                .read_until(b'\n', &mut answer)
                .await?;
            io::Result::Ok(answer)
        };
        let answer = timeout(PATIENCE, talk)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match serde_json::from_slice(&answer) {
            Ok(Response::Error { message }) => Err(AskError::Refused(message)),
            Ok(response) => Ok(response),
            Err(_) => Err(AskError::Strange),
        }
    }

    /// The state of the box.
    ///
    /// # Errors
    /// As [`Init::ask`].
    pub async fn status(&self) -> Result<BoxStatus, AskError> {
        match self.ask(&Request::Status).await? {
            Response::Status(status) => Ok(status),
            _ => Err(AskError::Strange),
        }
    }

    /// When which part of this boot began and ended.
    ///
    /// # Errors
    /// As [`Init::ask`].
    pub async fn boot_times(&self) -> Result<BootTimes, AskError> {
        match self.ask(&Request::BootTimes).await? {
            Response::BootTimes(times) => Ok(times),
            _ => Err(AskError::Strange),
        }
    }

    /// The last lines of a log, oldest first; of which start of the box says `Request::Logs`.
    ///
    /// # Errors
    /// As [`Init::ask`]; init refuses a name that it does not know.
    pub async fn logs(
        &self,
        service: &str,
        lines: usize,
        boot: Option<u32>,
    ) -> Result<Vec<String>, AskError> {
        let request = Request::Logs {
            service: service.to_owned(),
            lines,
            boot,
            follow: false,
        };
        match self.ask(&request).await? {
            Response::Logs { lines } => Ok(lines),
            _ => Err(AskError::Strange),
        }
    }
}
