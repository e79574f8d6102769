//! A conversation in SFTP over any stream: many requests on their way at once, and what is made of them.

use super::packet::{
    Entry, FSYNC, MAX_PACKET, PIECE, READ, Reply, Request, Strange, WRITE_ANEW, parse,
};
use bytes::Bytes;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Requests that are on their way at once. With pieces of 32 KiB that is a mebibyte: 35 MB/s at 30 ms, and
/// less than the window that OpenSSH gives a channel, so that no request waits while its answers do.
const AT_ONCE: usize = 32;
/// Longest file that is read whole, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// Most entries of a folder. A repository of a terabyte has 500 in each of its 256.
const MAX_ENTRIES: usize = 1 << 20;
/// Longest part of a server's own words that is shown, in characters.
const MAX_WORDS: usize = 120;

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// Longest silence.
    pub silence: Duration,
    /// When all has to be over.
    pub until: Option<Instant>,
}

impl Wait {
    /// What comes of it in time.
    ///
    /// # Errors
    /// `TimedOut`.
    pub async fn within<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let silent = Instant::now() + self.silence;
        let end = self.until.map_or(silent, |until| until.min(silent));
        match tokio::time::timeout_at(end, work).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the server does not answer in time",
            )),
        }
    }
}

/// The conversation.
pub struct Session<S> {
    stream: S,
    wait: Wait,
    next: u32,
    syncs: bool,
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Strange)
}

fn lost(error: &io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection broke off".to_owned(),
        _ => format!("the connection broke off: {error}"),
    };
    io::Error::new(io::ErrorKind::ConnectionReset, why)
}

/// What a status means (section 7 of the draft; from 9 on, those of later versions that servers send all the same).
pub fn refused(code: u32, message: &str) -> io::Error {
    use io::ErrorKind as Kind;
    let (kind, why) = match code {
        1 => (Kind::UnexpectedEof, "the file is shorter than it should be"),
        2 | 10 => (Kind::NotFound, "there is no such file"),
        3 | 12 => (Kind::PermissionDenied, "the account may not do that"),
        8 => (Kind::Unsupported, "the server cannot do that"),
        11 => (Kind::AlreadyExists, "the file is there already"),
        14 | 15 => (Kind::StorageFull, "there is no room left"),
        _ => (Kind::Other, "the server did not do it"),
    };
    // Whatever a server says is a stranger's text; some say the same as the number does.
    let words: String = message
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_WORDS)
        .collect();
    let text = match words.trim() {
        "" => format!("{why} (status {code})"),
        words => format!("{why} ({words})"),
    };
    io::Error::new(kind, text)
}

fn done(reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Status { code: 0, .. } => Ok(()),
        Reply::Status { code, message } => Err(refused(code, &message)),
        _ => Err(strange()),
    }
}

fn unlike(reply: Reply) -> io::Error {
    match reply {
        Reply::Status { code, message } if code != 0 => refused(code, &message),
        _ => strange(),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Greets a server.
    ///
    /// # Errors
    /// Those of the stream; `InvalidData` if it speaks something else.
    pub async fn begin(stream: S, wait: Wait) -> io::Result<Self> {
        let mut session = Self {
            stream,
            wait,
            next: 1,
            syncs: false,
        };
        let hello = Request::Init.to_bytes(0);
        wait.within(async { session.stream.write_all(&hello).await.map_err(|e| lost(&e)) })
            .await?;
        match session.receive().await? {
            (_, Reply::Version { version: 3.., more }) => {
                session.syncs = more.iter().any(|name| name == FSYNC);
                Ok(session)
            }
            _ => Err(strange()),
        }
    }

    async fn receive(&mut self) -> io::Result<(u32, Reply)> {
        let (wait, stream) = (self.wait, &mut self.stream);
        let packet = wait.within(async {
            let length = stream.read_u32().await.map_err(|e| lost(&e))?;
            if length > MAX_PACKET {
                return Err(strange());
            }
            let mut packet = vec![0; length as usize];
            stream.read_exact(&mut packet).await.map_err(|e| lost(&e))?;
            Ok(packet)
        });
        parse(Bytes::from(packet.await?)).map_err(|_| strange())
    }

    /// Sends requests, [`AT_ONCE`] at most before the first is answered, and has each answer taken with the
    /// number of its request. After a first fault no more are sent, and what is on its way is waited for, so
    /// that the next exchange gets its own answers.
    ///
    /// # Errors
    /// The first fault; after one of the stream the session is of no use any more.
    async fn exchange<'a>(
        &mut self,
        requests: impl IntoIterator<Item = Request<'a>>,
        mut take: impl FnMut(usize, Reply) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut requests = requests.into_iter().enumerate();
        let mut waiting = HashMap::new();
        let mut fault = None;
        loop {
            while fault.is_none() && waiting.len() < AT_ONCE {
                let Some((number, request)) = requests.next() else {
                    break;
                };
                let id = self.next;
                self.next = self.next.wrapping_add(1);
                waiting.insert(id, number);
                let (packet, wait, stream) = (request.to_bytes(id), self.wait, &mut self.stream);
                wait.within(async { stream.write_all(&packet).await.map_err(|e| lost(&e)) })
                    .await?;
            }
            if waiting.is_empty() {
                return fault.map_or(Ok(()), Err);
            }
            let (id, reply) = self.receive().await?;
            let number = waiting.remove(&id).ok_or_else(strange)?;
            if let (Err(error), None) = (take(number, reply), &fault) {
                fault = Some(error);
            }
        }
    }

    /// One request.
    async fn ask(&mut self, request: Request<'_>) -> io::Result<Reply> {
        let mut answer = None;
        self.exchange([request], |_, reply| {
            answer = Some(reply);
            Ok(())
        })
        .await?;
        answer.ok_or_else(strange)
    }

    async fn open(&mut self, path: &str, flags: u32) -> io::Result<Bytes> {
        let path = path.as_bytes();
        match self.ask(Request::Open { path, flags }).await? {
            Reply::Handle(handle) => Ok(handle),
            other => Err(unlike(other)),
        }
    }

    async fn close(&mut self, handle: &[u8]) -> io::Result<()> {
        done(self.ask(Request::Close { handle }).await?)
    }

    /// Length of a file, in bytes; none if it is not there.
    ///
    /// # Errors
    /// The server's.
    pub async fn size(&mut self, path: &str) -> io::Result<Option<u64>> {
        let path = path.as_bytes();
        match self.ask(Request::Stat { path }).await? {
            Reply::Attributes(about) => about.size.map(Some).ok_or_else(strange),
            other => match unlike(other) {
                error if error.kind() == io::ErrorKind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    /// A file, or `length` bytes of it from `offset` on.
    ///
    /// # Errors
    /// The server's; `NotFound`; `UnexpectedEof` if it is shorter.
    pub async fn read(&mut self, path: &str, part: Option<(u32, u32)>) -> io::Result<Vec<u8>> {
        let handle = self.open(path, READ).await?;
        match self.read_open(&handle, part).await {
            Err(error) if is_lost(&error) => Err(error),
            read => {
                self.close(&handle).await.or_else(harmless)?;
                read
            }
        }
    }

    async fn read_open(&mut self, handle: &Bytes, part: Option<(u32, u32)>) -> io::Result<Vec<u8>> {
        let (from, length) = match part {
            Some((from, length)) => (u64::from(from), u64::from(length)),
            None => match self.ask(Request::Fstat { handle }).await? {
                Reply::Attributes(about) => (0, about.size.ok_or_else(strange)?),
                other => return Err(unlike(other)),
            },
        };
        if length > MAX_FILE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a file of {length} bytes is none of a repository"),
            ));
        }
        let mut bytes = vec![0; length as usize];
        // A server may give less than was asked for; then the rest is asked for.
        let mut missing = vec![(0, bytes.len())];
        while !missing.is_empty() {
            let pieces: Vec<(usize, usize)> = missing
                .drain(..)
                .flat_map(|(at, length)| {
                    (0..length)
                        .step_by(PIECE)
                        .map(move |step| (at + step, PIECE.min(length - step)))
                })
                .collect();
            let requests = pieces.iter().map(|(at, length)| Request::Read {
                handle,
                offset: from + *at as u64,
                length: *length as u32,
            });
            self.exchange(requests, |number, reply| {
                let Some(&(at, length)) = pieces.get(number) else {
                    return Err(strange());
                };
                match reply {
                    Reply::Data(data) if (1..=length).contains(&data.len()) => {
                        bytes[at..at + data.len()].copy_from_slice(&data);
                        if data.len() < length {
                            missing.push((at + data.len(), length - data.len()));
                        }
                        Ok(())
                    }
                    other => Err(unlike(other)),
                }
            })
            .await?;
        }
        Ok(bytes)
    }

    /// Writes a file anew, and has it put on the medium if the server can.
    ///
    /// # Errors
    /// The server's; `NotFound` if there is no such folder; `StorageFull` if it was not taken as a whole.
    pub async fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let handle = self.open(path, WRITE_ANEW).await?;
        let written = self.write_open(&handle, bytes).await;
        let closed = match &written {
            Err(error) if is_lost(error) => Ok(()),
            _ => self.close(&handle).await.map_err(full),
        };
        written.and(closed)
    }

    async fn write_open(&mut self, handle: &Bytes, bytes: &[u8]) -> io::Result<()> {
        let requests = bytes
            .chunks(PIECE)
            .enumerate()
            .map(|(number, data)| Request::Write {
                handle,
                offset: (number * PIECE) as u64,
                data,
            });
        self.exchange(requests, |_, reply| done(reply).map_err(full))
            .await?;
        if self.syncs {
            done(self.ask(Request::Sync { handle }).await?).map_err(full)?;
        }
        match self.ask(Request::Fstat { handle }).await? {
            Reply::Attributes(about) if about.size == Some(bytes.len() as u64) => Ok(()),
            Reply::Attributes(_) => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the server has not kept all of what it was given: its disk may be full",
            )),
            other => Err(unlike(other)),
        }
    }

    /// Gives a file another name, under which there is none.
    ///
    /// # Errors
    /// The server's.
    pub async fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        done(self.ask(Request::Rename { from, to }).await?)
    }

    /// Puts what a folder has of names on the medium, if the server lets it be opened for that. OpenSSH does;
    /// the protocol has nothing for it.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        if !self.syncs {
            return Ok(());
        }
        let handle = match self.open(path, READ).await {
            Ok(handle) => handle,
            Err(error) => return harmless(error),
        };
        let handle = &handle;
        let both = [Request::Sync { handle }, Request::Close { handle }];
        self.exchange(both, |_, _| Ok(())).await
    }

    /// Makes a folder and those above it. One that is there already is as good.
    ///
    /// # Errors
    /// The server's.
    pub async fn make_folders(&mut self, path: &str) -> io::Result<()> {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let all = above.filter(|above| !above.is_empty()).chain([path]);
        for folder in all {
            let path = folder.as_bytes();
            let Err(error) = done(self.ask(Request::MakeFolder { path }).await?) else {
                continue;
            };
            // Servers have several words for one that is there.
            match self.ask(Request::Stat { path }).await? {
                Reply::Attributes(about) if about.is_folder != Some(false) => {}
                _ => {
                    let text = format!("the folder {folder} cannot be made: {error}");
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
        Ok(())
    }

    /// Removes a file. One that is not there is removed already.
    ///
    /// # Errors
    /// The server's.
    pub async fn remove(&mut self, path: &str) -> io::Result<()> {
        let path = path.as_bytes();
        match done(self.ask(Request::Remove { path }).await?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is in each of these folders; in one that is not there, nothing. As many are read at once as requests may be
    /// on their way.
    ///
    /// # Errors
    /// The server's.
    pub async fn list(&mut self, folders: &[String]) -> io::Result<Vec<Vec<Entry>>> {
        let mut all = vec![Vec::new(); folders.len()];
        for (first, some) in (0..).step_by(AT_ONCE).zip(folders.chunks(AT_ONCE)) {
            let mut open: Vec<(usize, Bytes)> = Vec::new();
            let requests = some.iter().map(|path| Request::OpenFolder {
                path: path.as_bytes(),
            });
            let mut fault = None;
            self.exchange(requests, |number, reply| {
                match reply {
                    Reply::Handle(handle) => open.push((first + number, handle)),
                    other => match unlike(other) {
                        error if error.kind() == io::ErrorKind::NotFound => {}
                        // What is open is closed first.
                        error => fault = Some(error),
                    },
                }
                Ok(())
            })
            .await?;
            let read = match fault {
                Some(error) => Err(error),
                None => self.read_folders(&open, &mut all).await,
            };
            let handles = open.iter().map(|(_, handle)| Request::Close { handle });
            match read {
                Err(error) if is_lost(&error) => return Err(error),
                read => {
                    self.exchange(handles, |_, _| Ok(())).await?;
                    read?;
                }
            }
        }
        Ok(all)
    }

    async fn read_folders(
        &mut self,
        open: &[(usize, Bytes)],
        all: &mut [Vec<Entry>],
    ) -> io::Result<()> {
        let mut left: Vec<&(usize, Bytes)> = open.iter().collect();
        while !left.is_empty() {
            let asked = std::mem::take(&mut left);
            let requests = asked
                .iter()
                .map(|(_, handle)| Request::ReadFolder { handle });
            self.exchange(requests, |number, reply| {
                let Some(&of) = asked.get(number) else {
                    return Err(strange());
                };
                match reply {
                    Reply::Names(names) if !names.is_empty() => {
                        let found = all.get_mut(of.0).ok_or_else(strange)?;
                        found.extend(names);
                        if found.len() > MAX_ENTRIES {
                            return Err(strange());
                        }
                        left.push(of);
                        Ok(())
                    }
                    Reply::Status { code: 1, .. } => Ok(()),
                    other => Err(unlike(other)),
                }
            })
            .await?;
        }
        Ok(())
    }
}

/// Whether the stream is of no use any more after this, unlike after a server's no.
pub fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::TimedOut | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::InvalidData
    )
}

/// A server's no, where that does not matter.
fn harmless(error: io::Error) -> io::Result<()> {
    match is_lost(&error) {
        true => Err(error),
        false => Ok(()),
    }
}

/// Why bytes were not written: the draft has no number for a full disk, so OpenSSH says just that it failed.
fn full(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other => io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "the server does not write on: its disk, or what this account may take of it, seems to be full: {error}"
            ),
        ),
        _ => error,
    }
}
