//! A repository at the other end of a connection: the box writes, the laptop keeps.
//!
//! The connection is one of the device API that became the backup service's (`roost_service::backup::UPGRADE`).
//! The laptop sends one [`Call`] as a line of JSON. From then on the box asks and the laptop replies:
//! [`Ask`] and [`Reply`], each a line, and behind it the bytes that it announces.
//!
//! The laptop trusts the box with little: it keeps what it is given under the name that its bytes have,
//! never writes over a file and never removes one. So a box that somebody broke into can make bad
//! backups from then on, and cannot touch those from before.

use crate::contents::Contents;
use crate::repository::Backup;
use crate::store::{Kind, Name, Store};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Mutex, PoisonError};

/// Longest call, in bytes, its line feed included.
pub const MAX_CALL: usize = 1024;
/// Longest line after that: a list of a hundred thousand files.
pub const MAX_LINE: usize = 16 << 20;
/// Longest file: a pack is a little longer than its pieces together.
pub const MAX_FILE: usize = 64 << 20;

/// What the laptop wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// A backup into the laptop's folder.
    BackUp {
        /// The time by the laptop's clock, in seconds since 1970: a box may have none.
        now_s: u64,
    },
    /// The recovery code; the answer is [`Ask::Code`].
    Code,
}

/// What the box says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Which files of this kind there are: [`Reply::Files`].
    List {
        /// The kind.
        kind: Kind,
    },
    /// A file, or a part of it: [`Reply::Bytes`].
    Read {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// Offset and length; the whole if missing.
        part: Option<(u32, u32)>,
    },
    /// Keep a file, whose bytes follow: [`Reply::Done`].
    Write {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// How many bytes follow.
        bytes: u32,
    },
    /// How far it is. There is no reply.
    Progress {
        /// Bytes that were read on the box.
        read: u64,
        /// Bytes that there are to read.
        of: u64,
    },
    /// The backup is made. The last line.
    Done {
        /// It.
        backup: Backup,
        /// What is in it.
        contents: Contents,
    },
    /// No backup was made. The last line.
    Failed {
        /// What went wrong, for people.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The recovery code. The last line.
    Code {
        /// Its words.
        words: String,
    },
}

/// What the laptop replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// Names and lengths.
    Files {
        /// Them.
        files: Vec<(Name, u32)>,
    },
    /// The bytes that follow.
    Bytes {
        /// How many.
        bytes: u32,
    },
    /// It is kept, and on the medium.
    Done,
    /// There is no such file.
    Missing,
    /// It cannot be done.
    Failed {
        /// Why, in plain words.
        why: String,
    },
}

/// Puts a line in front of the bytes that it announces.
///
/// # Errors
/// None that plain data could have.
pub fn line(of: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(of)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads a line.
///
/// # Errors
/// The connection's; `UnexpectedEof` at its end; `InvalidData` for anything else.
pub fn read_line<T: DeserializeOwned>(from: &mut impl BufRead, max: usize) -> io::Result<T> {
    let mut line = Vec::new();
    from.take(max as u64).read_until(b'\n', &mut line)?;
    match line.last() {
        Some(b'\n') => Ok(serde_json::from_slice(&line)?),
        _ if line.len() == max => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the line is too long",
        )),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The laptop's folder, as the box sees it.
pub struct Remote<S>(Mutex<BufReader<S>>);

impl<S: Read + Write + Send + 'static> Remote<S> {
    /// Over this connection, whose call was read.
    pub fn new(connection: BufReader<S>) -> Self {
        Self(Mutex::new(connection))
    }

    /// Says something that has no reply.
    ///
    /// # Errors
    /// The connection's.
    pub fn tell(&self, ask: &Ask) -> io::Result<()> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send(connection.get_mut(), ask, &[])
    }

    fn ask(&self, ask: &Ask, pieces: &[Bytes]) -> io::Result<(Reply, Bytes)> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send(connection.get_mut(), ask, pieces)?;
        let reply = read_line(&mut *connection, MAX_LINE)?;
        let mut bytes = Vec::new();
        if let Reply::Bytes { bytes: length } = reply {
            if length as usize > MAX_FILE {
                return Err(strange());
            }
            (&mut *connection)
                .take(length.into())
                .read_to_end(&mut bytes)?;
            if bytes.len() != length as usize {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        match reply {
            Reply::Missing => Err(io::ErrorKind::NotFound.into()),
            Reply::Failed { why } => Err(io::Error::other(why)),
            reply => Ok((reply, bytes.into())),
        }
    }
}

fn send(to: &mut impl Write, ask: &Ask, pieces: &[Bytes]) -> io::Result<()> {
    to.write_all(&line(ask)?)?;
    for piece in pieces {
        to.write_all(piece)?;
    }
    to.flush()
}

fn strange() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the laptop replies something else than was asked",
    )
}

impl<S: Read + Write + Send + 'static> Store for Remote<S> {
    fn place(&self) -> String {
        "the laptop's folder".to_owned()
    }

    fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>> {
        match self.ask(&Ask::List { kind }, &[])? {
            (Reply::Files { files }, _) => Ok(files),
            _ => Err(strange()),
        }
    }

    fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes> {
        match self.ask(&Ask::Read { kind, name, part }, &[])? {
            (Reply::Bytes { .. }, bytes) => Ok(bytes),
            _ => Err(strange()),
        }
    }

    fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()> {
        let bytes = u32::try_from(pieces.iter().map(Bytes::len).sum::<usize>())
            .map_err(io::Error::other)?;
        match self.ask(&Ask::Write { kind, name, bytes }, pieces)? {
            (Reply::Done, _) => Ok(()),
            _ => Err(strange()),
        }
    }
}

/// The laptop's end of a connection to the box.
pub trait Wire {
    /// Why it broke.
    type Error: From<io::Error>;
    /// The next line, at most `max` bytes with its line feed, which is left out.
    ///
    /// # Errors
    /// The connection's.
    fn line(&mut self, max: usize) -> Result<Vec<u8>, Self::Error>;
    /// Exactly so many bytes.
    ///
    /// # Errors
    /// The connection's.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Self::Error>;
    /// Sends bytes.
    ///
    /// # Errors
    /// The connection's.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// How a conversation ended.
#[derive(Clone, PartialEq, Eq)]
pub enum Ended {
    /// With a backup.
    Done(Box<(Backup, Contents)>),
    /// Without.
    Failed {
        /// What went wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// With the recovery code.
    Code(String),
}

/// Does what the box asks until it says that it has ended. `seen` is told of progress, and of bytes that
/// were kept: `(read, of, kept)`.
///
/// # Errors
/// The connection's. What the disk refuses is told to the box, which then says how it ended.
pub fn keep<W: Wire>(
    wire: &mut W,
    store: &dyn Store,
    mut seen: impl FnMut(u64, u64, u64),
) -> Result<Ended, W::Error> {
    let (mut read, mut of, mut kept) = (0, 0, 0);
    loop {
        let text = wire.line(MAX_LINE)?;
        let ask = serde_json::from_slice(&text).map_err(io::Error::from)?;
        let (reply, bytes) = match ask {
            Ask::Done { backup, contents } => return Ok(Ended::Done(Box::new((backup, contents)))),
            Ask::Failed { message, hint } => return Ok(Ended::Failed { message, hint }),
            Ask::Code { words } => return Ok(Ended::Code(words)),
            Ask::Progress { read: now, of: all } => {
                (read, of) = (now, all);
                seen(read, of, kept);
                continue;
            }
            Ask::List { kind } => match store.list(kind) {
                Ok(files) => (Reply::Files { files }, Bytes::new()),
                Err(error) => (failed(&error), Bytes::new()),
            },
            Ask::Read { kind, name, part } => match store.read(kind, name, part) {
                Ok(bytes) if bytes.len() > MAX_FILE => {
                    (failed(&"the file is too long"), Bytes::new())
                }
                Ok(bytes) => {
                    let length = bytes.len() as u32;
                    (Reply::Bytes { bytes: length }, bytes)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (Reply::Missing, Bytes::new())
                }
                Err(error) => (failed(&error), Bytes::new()),
            },
            Ask::Write { kind, name, bytes } => {
                let length = bytes as usize;
                if length > MAX_FILE {
                    let error = io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the box wants a file kept that is longer than any of a repository",
                    );
                    return Err(error.into());
                }
                let bytes = [Bytes::from(wire.bytes(length)?)];
                let reply = if kind != Kind::Config && Name::of(&bytes) != name {
                    failed(&"the bytes are not those that the name is made of")
                } else if let Err(error) = store.write(kind, name, &bytes) {
                    failed(&error)
                } else {
                    kept += length as u64;
                    seen(read, of, kept);
                    Reply::Done
                };
                (reply, Bytes::new())
            }
        };
        let mut message = line(&reply)?;
        message.extend_from_slice(&bytes);
        wire.send(&message)?;
    }
}

fn failed(why: &dyn std::fmt::Display) -> Reply {
    Reply::Failed {
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    struct Plain(BufReader<UnixStream>);

    impl Wire for Plain {
        type Error = io::Error;
        fn line(&mut self, max: usize) -> io::Result<Vec<u8>> {
            let mut line = Vec::new();
            (&mut self.0)
                .take(max as u64)
                .read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(line)
        }
        fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; length];
            self.0.read_exact(&mut bytes)?;
            Ok(bytes)
        }
        fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.get_mut().write_all(bytes)
        }
    }

    fn pair(
        folder: Folder,
    ) -> (
        Arc<Remote<UnixStream>>,
        std::thread::JoinHandle<io::Result<Ended>>,
    ) {
        let (box_, laptop) = UnixStream::pair().unwrap();
        let keeper = std::thread::spawn(move || {
            keep(&mut Plain(BufReader::new(laptop)), &folder, |_, _, _| {})
        });
        (Arc::new(Remote::new(BufReader::new(box_))), keeper)
    }

    #[test]
    fn the_folder_is_the_same_at_the_other_end() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let (remote, keeper) = pair(folder.clone());
        let pieces = [Bytes::from("one "), Bytes::from("two")];
        let name = Name::of(&pieces);
        for kind in Kind::ALL {
            assert_eq!(remote.list(kind).unwrap(), []);
            assert_eq!(
                remote.read(kind, name, None).unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
            remote.write(kind, name, &pieces).unwrap();
            assert_eq!(remote.list(kind).unwrap(), folder.list(kind).unwrap());
            assert_eq!(remote.read(kind, name, None).unwrap(), "one two");
            assert_eq!(remote.read(kind, name, Some((4, 3))).unwrap(), "two");
        }
        // A box that somebody broke into: neither other bytes under this name nor under a new one.
        remote
            .write(Kind::Snapshot, name, &[Bytes::from("one two")])
            .unwrap();
        let error = remote
            .write(Kind::Snapshot, Name([7; 32]), &pieces)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the bytes are not those that the name is made of"
        );
        remote
            .write(Kind::Config, Name::default(), &["other".into()])
            .unwrap();
        assert_eq!(folder.read(Kind::Config, name, None).unwrap(), "one two");
        remote
            .tell(&Ask::Failed {
                message: "m".into(),
                hint: None,
            })
            .unwrap();
        let ended = keeper.join().unwrap().unwrap();
        assert!(
            ended
                == Ended::Failed {
                    message: "m".into(),
                    hint: None
                }
        );
    }

    #[test]
    fn what_the_disk_refuses_is_told_to_the_box() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keys"), "no folder").unwrap();
        let (remote, keeper) = pair(Folder::new(dir.path()));
        let pieces = [Bytes::from("x")];
        let error = remote
            .write(Kind::Key, Name::of(&pieces), &pieces)
            .unwrap_err();
        assert!(
            error.to_string().contains("Not a directory") || error.to_string().contains("exists"),
            "{error}"
        );
        drop(remote);
        assert!(
            keeper.join().unwrap().is_err(),
            "the box hung up without a word"
        );
    }
}
