//! Asking init, and the services' probes: one line there, one line back.

use roost_service::control::{BoxStatus, Request, Response};
use roost_service::probe::{Answer, MAX_ANSWER};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Init answers at once; it is single-threaded and never waits.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer of init, in bytes: 5,000 log lines of 128 KiB text in all,
/// each byte of it at worst six in JSON.
const MAX_RESPONSE: u64 = 2 << 20;
/// Longest probe: a message through port 25 and back takes seconds on a small
/// board, and several times that under emulation.
const PROBE_TIMEOUT: Duration = Duration::from_secs(90);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The other side cannot be reached or broke off.
    #[error("{what} does not answer")]
    Io {
        /// Who was asked.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Init said no.
    #[error("init refuses: {0}")]
    Refused(String),
    /// The answer is none to this question.
    #[error("{what} answers something else: {answer}")]
    Strange {
        /// Who was asked.
        what: String,
        /// The beginning of what came.
        answer: String,
    },
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
        let mut line = serde_json::to_string(request).unwrap_or_default();
        line.push('\n');
        let answer = exchange(&self.0, line.as_bytes(), MAX_RESPONSE, INIT_TIMEOUT)
            .await
            .map_err(|source| AskError::Io {
                what: "init".into(),
                source,
            })?;
        match serde_json::from_slice(&answer) {
            Ok(Response::Error { message }) => Err(AskError::Refused(message)),
            Ok(response) => Ok(response),
            Err(_) => Err(strange("init", &answer)),
        }
    }

    /// The state of the box.
    ///
    /// # Errors
    /// As [`Init::ask`].
    pub async fn status(&self) -> Result<BoxStatus, AskError> {
        match self.ask(&Request::Status).await? {
            Response::Status(status) => Ok(status),
            other => Err(strange("init", format!("{other:?}").as_bytes())),
        }
    }

    /// The last lines of a log; of which start of the box says `Request::Logs`.
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
            service: service.into(),
            lines,
            boot,
            follow: false,
        };
        match self.ask(&request).await? {
            Response::Logs { lines } => Ok(lines),
            other => Err(strange("init", format!("{other:?}").as_bytes())),
        }
    }
}

/// A log that goes on.
#[derive(Debug)]
pub struct Follower {
    stream: BufReader<UnixStream>,
    /// The beginning of the next answer, if [`Follower::next`] was given up in its midst.
    begun: Vec<u8>,
}

impl Init {
    /// The last lines of a log, and what comes behind them.
    ///
    /// # Errors
    /// As [`Init::logs`].
    pub async fn follow(
        &self,
        service: &str,
        lines: usize,
        boot: Option<u32>,
    ) -> Result<(Vec<String>, Follower), AskError> {
        let request = Request::Logs {
            service: service.into(),
            lines,
            boot,
            follow: true,
        };
        let mut line = serde_json::to_string(&request).unwrap_or_default();
        line.push('\n');
        let begin = async {
            let mut stream = UnixStream::connect(&self.0).await.map_err(broke_off)?;
            stream.write_all(line.as_bytes()).await.map_err(broke_off)?;
            let mut follower = Follower {
                stream: BufReader::new(stream),
                begun: Vec::new(),
            };
            Ok((follower.next().await?, follower))
        };
        timeout(INIT_TIMEOUT, begin)
            .await
            .unwrap_or_else(|_| Err(broke_off(io::ErrorKind::TimedOut.into())))
    }
}

impl Follower {
    /// The next lines, as soon as there are any. Loses nothing when it is given up half way.
    ///
    /// # Errors
    /// When init breaks off, or says something else.
    pub async fn next(&mut self) -> Result<Vec<String>, AskError> {
        let room = MAX_RESPONSE.saturating_sub(self.begun.len() as u64);
        (&mut self.stream)
            .take(room)
            .read_until(b'\n', &mut self.begun)
            .await
            .map_err(broke_off)?;
        let answer = std::mem::take(&mut self.begun);
        match serde_json::from_slice(&answer) {
            Ok(Response::Logs { lines }) => Ok(lines),
            Ok(Response::Error { message }) => Err(AskError::Refused(message)),
            _ if answer.is_empty() => Err(broke_off(io::ErrorKind::UnexpectedEof.into())),
            _ => Err(strange("init", &answer)),
        }
    }
}

fn broke_off(source: io::Error) -> AskError {
    AskError::Io {
        what: "init".into(),
        source,
    }
}

/// Lets a service prove that it works.
///
/// # Errors
/// When it does not answer in time, or not with an answer.
pub async fn probe(service: &str, socket: &Path) -> Result<Answer, AskError> {
    let answer = exchange(socket, b"", MAX_ANSWER as u64, PROBE_TIMEOUT)
        .await
        .map_err(|source| AskError::Io {
            what: service.into(),
            source,
        })?;
    serde_json::from_slice(&answer).map_err(|_| strange(service, &answer))
}

async fn exchange(
    socket: &Path,
    question: &[u8],
    limit: u64,
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(question).await?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(limit))
            .read_until(b'\n', &mut answer)
            .await?;
        Ok(answer)
    };
    timeout(patience, talk).await.unwrap_or_else(|_| {
        let seconds = patience.as_secs();
        Err(io::Error::other(format!("no answer within {seconds} s")))
    })
}

fn strange(what: &str, answer: &[u8]) -> AskError {
    AskError::Strange {
        what: what.into(),
        answer: String::from_utf8_lossy(answer).chars().take(80).collect(),
    }
}

/// An error and all that is behind it, in one line.
pub fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        let more = next.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = next.source();
    }
    text
}
