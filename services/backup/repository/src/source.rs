//! Services' snapshots on their way into a repository.
//!
//! The library opens files as it comes to them, with several threads, while a service sends its own one
//! behind the other. So each reader waits for its turn. There is no deadlock in that: the library takes
//! files up in their order, so the one whose turn it is is always in somebody's hands.

use crate::backend::Flaw;
use crate::contents::{Contents, DATA, FileOf, NAME};
use roost_service::snapshot::{Item, order, read_end};
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ReadSource, ReadSourceEntry, RusticResult};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What one service hands over: its files are still in `from`, up to the last line.
pub struct Stream {
    /// Below `data`, e.g. `services/mail`.
    pub folder: String,
    /// Its files, in their order.
    pub items: Vec<Item>,
    /// User and group that they belong to on the box.
    pub user: u32,
    /// Where the contents come from.
    pub from: Box<dyn BufRead + Send>,
}

/// What the readers share.
struct Shared {
    state: Mutex<State>,
    turned: Condvar,
    flaw: Flaw,
    seen: Box<dyn Fn(u64, u64) + Send + Sync>,
    all: u64,
}

struct State {
    /// Bytes that have come.
    read: u64,
    /// Number of the file whose turn it is.
    turn: usize,
    streams: Vec<Stream>,
    contents: Contents,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a file.
    fn wait(&self, number: usize) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.lock();
        loop {
            if let Some(why) = self.flaw.get() {
                return Err(io::Error::other(why));
            }
            if state.turn == number {
                return Ok(state);
            }
            state = self
                .turned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fail(&self, why: impl std::fmt::Display) -> io::Error {
        self.flaw.set(&why);
        self.turned.notify_all();
        io::Error::other(why.to_string())
    }
}

/// Everything that goes into one backup.
pub struct Source {
    shared: Arc<Shared>,
    /// Which stream and which of its files each number is.
    places: Vec<(usize, usize)>,
    manifest_size: u64,
}

impl Source {
    /// From what services hand over; `about` has everything but the files. The flaw is set when
    /// anything of it does not come in full.
    pub(crate) fn new(
        mut streams: Vec<Stream>,
        mut about: Contents,
        flaw: Flaw,
        seen: Box<dyn Fn(u64, u64) + Send + Sync>,
    ) -> Self {
        streams.sort_by(|a, b| order(&a.folder, &b.folder));
        let mut places = Vec::new();
        about.files.clear();
        for (stream, of) in streams.iter().enumerate() {
            for (item, file) in of.items.iter().enumerate() {
                places.push((stream, item));
                about.files.push(FileOf {
                    path: format!("{}/{}", of.folder, file.path),
                    mode: file.mode,
                    size: file.size,
                    // As long as the right one, so that the manifest's length is known now.
                    sha256: "0".repeat(64),
                });
            }
        }
        let all = about.bytes();
        for of in &mut streams {
            // There is no last file after which its last line could be read.
            if of.items.is_empty()
                && let Err(error) = read_end(&mut of.from, &of.items)
            {
                flaw.set(format!(
                    "{} did not hand everything over: {error}",
                    of.folder
                ));
            }
        }
        let manifest_size = about.to_json().len() as u64;
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    read: 0,
                    turn: 0,
                    streams,
                    contents: about,
                }),
                turned: Condvar::new(),
                flaw,
                seen,
                all,
            }),
            places,
            manifest_size,
        }
    }

    /// What went in, once all of it has.
    pub(crate) fn contents(&self) -> Contents {
        self.shared.lock().contents.clone()
    }

    fn entry(&self, number: usize) -> ReadSourceEntry<Reader> {
        let (path, mode, user, size) = match self.places.get(number) {
            Some((stream, item)) => {
                let state = self.shared.lock();
                let file = &state.contents.files[number];
                let of = &state.streams[*stream];
                let path = PathBuf::from(DATA).join(&file.path);
                (path, of.items[*item].mode, of.user, file.size)
            }
            None => (PathBuf::from(NAME), 0o600, 0, self.manifest_size),
        };
        let metadata = Metadata {
            mode: Some(mode),
            uid: Some(user),
            gid: Some(user),
            size,
            links: 1,
            ..Metadata::default()
        };
        let name = path.file_name().unwrap_or_default();
        ReadSourceEntry {
            node: Node::new_node(name, NodeType::File, metadata),
            open: Some(Reader {
                shared: self.shared.clone(),
                number,
                place: self.places.get(number).copied(),
                left: size,
                hash: Sha256::new(),
                manifest: None,
                done: false,
            }),
            path,
        }
    }
}

impl ReadSource for Source {
    type Open = Reader;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Reader>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        let files = self.shared.lock().contents.bytes();
        Ok(Some(files + self.manifest_size))
    }

    fn entries(&self) -> Self::Iter {
        let all: Vec<_> = (0..=self.places.len())
            .map(|number| Ok(self.entry(number)))
            .collect();
        all.into_iter()
    }
}

/// One file on its way.
pub struct Reader {
    shared: Arc<Shared>,
    number: usize,
    /// Stream and item; `None` for the manifest.
    place: Option<(usize, usize)>,
    left: u64,
    hash: Sha256,
    manifest: Option<io::Cursor<Vec<u8>>>,
    done: bool,
}

impl Reader {
    /// The end of the file was reached: the next one may come.
    fn finish(&mut self) -> io::Result<()> {
        if self.done {
            return Ok(());
        }
        let mut state = self.shared.wait(self.number)?;
        if let Some((stream, item)) = self.place {
            let hash = std::mem::take(&mut self.hash).finalize();
            let number = self.number;
            if let Some(file) = state.contents.files.get_mut(number) {
                file.sha256 = hex::encode(hash);
            }
            if let Some(of) = state.streams.get_mut(stream)
                && item + 1 == of.items.len()
                && let Err(error) = read_end(&mut of.from, &of.items)
            {
                let why = format!("{} did not hand everything over: {error}", of.folder);
                drop(state);
                return Err(self.shared.fail(why));
            }
        }
        self.done = true;
        state.turn += 1;
        drop(state);
        self.shared.turned.notify_all();
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.finish()?;
            return Ok(0);
        }
        let want = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..want];
        let mut state = self.shared.wait(self.number)?;
        let read = match self.place {
            None => self
                .manifest
                .get_or_insert_with(|| io::Cursor::new(state.contents.to_json()))
                .read(buffer),
            Some((stream, _)) => match state.streams.get_mut(stream) {
                Some(of) => of.from.read(buffer),
                None => Ok(0),
            },
        };
        if self.place.is_some() {
            state.read += read.as_ref().map_or(0, |count| *count as u64);
        }
        let come = state.read;
        drop(state);
        (self.shared.seen)(come, self.shared.all);
        match read {
            Ok(0) if !buffer.is_empty() => Err(self
                .shared
                .fail("a service broke off while it handed over what it keeps")),
            Ok(count) => {
                self.left -= count as u64;
                self.hash.update(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(self.shared.fail(format!(
                "a service broke off while it handed over what it keeps: {error}"
            ))),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.left == 0 {
            // An empty file may never be read from. Its turn comes all the same.
            let _ = self.finish();
        } else if !self.done {
            self.shared.fail("a file was given up half way");
        }
    }
}

/// A snapshot of files that lie in a folder, in the form of a service's.
///
/// # Errors
/// The file system's.
pub fn of_folder(folder: &Path, skip: impl Fn(&str) -> bool) -> io::Result<Vec<u8>> {
    let mut held = roost_service::snapshot::Held::new(());
    held.add_folder(folder, skip)?;
    let mut sent = Vec::new();
    held.write_to(&mut sent)?;
    Ok(sent)
}
