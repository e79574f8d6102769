//! A service hands over what it keeps, for a backup.
//!
//! Each service that keeps something has a socket, [`NAME`] in its folder of [`crate::spec::run_folder`].
//! Only the backup service may connect; it gets, without asking for anything:
//!
//! 1. a line, [`Head`] in JSON: which files there are, in the order of [`order`];
//! 2. the contents of these files, one behind the other, each exactly as long as its line says;
//! 3. a line, [`End`] in JSON. Without it the snapshot is not whole.
//!
//! What is handed over is of one moment, that of the connection, however long the reading takes. How
//! a service sees to that is its own business: it alone knows what it keeps.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The socket's name.
pub const NAME: &str = "snapshot";
/// The service that may connect.
pub const GUEST: &str = "backup";
/// The file in the portal's snapshot that has the card's own ([`crate::card::Card`], as JSON): the box's name,
/// network and identity. It is for a new card, and not for the portal's folder there.
pub const CARD: &str = "card.json";
/// Longest first line, in bytes, its line feed included.
pub const MAX_HEAD: usize = 4 << 20;
/// Longest last line.
pub const MAX_END: usize = 256;
/// Most files of one service.
pub const MAX_FILES: usize = 10_000;
/// Bytes copied at once.
const PIECE: usize = 64 << 10;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Head {
    /// What comes.
    Files(Vec<Item>),
    /// Nothing comes.
    Refused {
        /// Why, in plain words.
        why: String,
    },
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Below the service's data folder, e.g. `keys/dkim.pem`.
    pub path: String,
    /// Its permissions, e.g. 0o600.
    pub mode: u32,
    /// Its length in bytes.
    pub size: u64,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How many files came.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// The socket of this service.
pub fn socket(service: &str) -> PathBuf {
    crate::spec::run_folder(service).join(NAME)
}

/// The order of files: folder by folder, names by their bytes.
pub fn order(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

/// Whether a path stays below the folder that it is joined to, and has one spelling.
pub fn is_plain(path: &str) -> bool {
    path.len() <= 1024
        && path.split('/').all(|part| {
            !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control)
        })
}

/// Reads the first line and looks whether it makes sense.
///
/// # Errors
/// The connection's; `InvalidData` for anything but a [`Head`] with plain paths in their order.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Head> {
    let head: Head = read_line(from, MAX_HEAD)?;
    if let Head::Files(items) = &head {
        let paths = || items.iter().map(|item| item.path.as_str());
        let ordered = paths()
            .zip(paths().skip(1))
            .all(|(a, b)| order(a, b) == Ordering::Less);
        if items.len() > MAX_FILES || !ordered || !paths().all(is_plain) {
            return Err(invalid("its list of files makes no sense"));
        }
        let modes = items.iter().all(|item| item.mode & !0o777 == 0);
        let fits = items
            .iter()
            .try_fold(0_u64, |sum, item| sum.checked_add(item.size));
        if !modes || fits.is_none() {
            return Err(invalid("its list of files makes no sense"));
        }
    }
    Ok(head)
}

/// Reads the last line, and compares it with what came.
///
/// # Errors
/// The connection's; `InvalidData` when something else came than was sent.
pub fn read_end(from: &mut impl BufRead, items: &[Item]) -> io::Result<()> {
    let end: End = read_line(from, MAX_END)?;
    let bytes = items.iter().map(|item| item.size).sum();
    if (end.files, end.bytes) != (items.len() as u64, bytes) {
        return Err(invalid("it says that it has sent something else"));
    }
    Ok(())
}

fn read_line<T: for<'a> Deserialize<'a>>(from: &mut impl BufRead, max: usize) -> io::Result<T> {
    let mut line = Vec::new();
    from.take(max as u64).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What a service holds still while it is read.
pub struct Held {
    files: Vec<(Item, Content)>,
    /// Dropped when all was read, e.g. a transaction.
    _hold: Box<dyn Send>,
}

enum Content {
    Bytes(Vec<u8>),
    File(File),
    Kept(&'static File),
}

impl Content {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let from = usize::try_from(offset).map_err(io::Error::other)?;
                (&mut bytes.get(from..).unwrap_or_default()).read_exact(buffer)
            }
            Self::File(file) => file.read_exact_at(buffer, offset),
            Self::Kept(file) => file.read_exact_at(buffer, offset),
        }
    }
}

impl Held {
    /// Nothing yet. `hold` is dropped with it: what keeps the files as they are.
    pub fn new(hold: impl Send + 'static) -> Self {
        Self {
            files: Vec::new(),
            _hold: Box::new(hold),
        }
    }

    /// The files below `folder`, opened now: for services that replace their files whole (a new
    /// file, then a rename), so that an open one stays as it is. `skip` says which files and
    /// folders are left out, by their paths below `folder`. Links and sockets are left out.
    ///
    /// # Errors
    /// The file system's. A file that goes away meanwhile is left out.
    pub fn add_folder(&mut self, folder: &Path, skip: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut folders = vec![String::new()];
        while let Some(below) = folders.pop() {
            for entry in std::fs::read_dir(folder.join(&below))? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    return Err(invalid("a file's name is no text"));
                };
                let path = match below.as_str() {
                    "" => name.to_owned(),
                    below => format!("{below}/{name}"),
                };
                if skip(&path) {
                    continue;
                }
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    match File::open(entry.path()) {
                        Ok(file) => self.add_file(&path, file)?,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// An open file, from its beginning, as long as it is now. What is written behind that does
    /// not come with it.
    ///
    /// # Errors
    /// The file system's.
    pub fn add_file(&mut self, path: &str, file: File) -> io::Result<()> {
        self.files.push((item(path, &file)?, Content::File(file)));
        Ok(())
    }

    /// The same for a file that this program must not close: closing takes away all locks that the
    /// program has on the file (fcntl(2)), those of a database's library too.
    ///
    /// # Errors
    /// The file system's.
    pub fn add_kept(&mut self, path: &str, file: &'static File) -> io::Result<()> {
        self.files.push((item(path, file)?, Content::Kept(file)));
        Ok(())
    }

    /// A file of these bytes.
    pub fn add_bytes(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        let item = Item {
            path: path.to_owned(),
            mode,
            size: bytes.len() as u64,
        };
        self.files.push((item, Content::Bytes(bytes)));
    }

    /// Hands everything over.
    ///
    /// # Errors
    /// The connection's and the file system's; `UnexpectedEof` if a file has become shorter.
    pub fn write_to(mut self, to: &mut impl Write) -> io::Result<()> {
        self.files.sort_by(|(a, _), (b, _)| order(&a.path, &b.path));
        let items: Vec<Item> = self.files.iter().map(|(item, _)| item.clone()).collect();
        let bytes = items.iter().map(|item| item.size).sum();
        let files = items.len() as u64;
        write_line(to, &Head::Files(items))?;
        let mut buffer = vec![0; PIECE];
        for (item, content) in &self.files {
            let mut at = 0;
            while at < item.size {
                let want = buffer
                    .len()
                    .min(usize::try_from(item.size - at).unwrap_or(PIECE));
                content.read_exact_at(&mut buffer[..want], at)?;
                to.write_all(&buffer[..want])?;
                at += want as u64;
            }
        }
        write_line(to, &End { files, bytes })?;
        to.flush()
    }
}

fn item(path: &str, file: &File) -> io::Result<Item> {
    let metadata = file.metadata()?;
    Ok(Item {
        path: path.to_owned(),
        mode: metadata.permissions().mode() & 0o777,
        size: metadata.size(),
    })
}

/// Writes one of the lines.
///
/// # Errors
/// The connection's.
pub fn write_line(to: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    to.write_all(&text)
}

#[cfg(feature = "door")]
mod serve {
    use super::{GUEST, Head, Held, write_line};
    use crate::door;
    use crate::spec::ServiceSpec;
    use std::io::{self, BufWriter};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::net::UnixListener;
    use tokio::time::sleep;

    /// Rest after the system had no descriptor or memory for a connection.
    const BREATHER: Duration = Duration::from_millis(200);
    /// Longest time in which the backup service may take nothing: what is held costs room, or keeps
    /// others waiting.
    const PATIENCE: Duration = Duration::from_secs(120);

    /// [`serve`] for a service of this image, at its [`super::socket`].
    ///
    /// # Errors
    /// Says what could not be done to which file.
    pub fn open(
        service: &'static str,
        hold: impl Fn() -> io::Result<Held> + Send + Sync + 'static,
    ) -> io::Result<()> {
        let socket = door::in_folder(&super::socket(service));
        serve(service, &socket, &door::table()?, hold).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("listen on {}: {error}", socket.display()),
            )
        })
    }

    /// [`open`] for a service that replaces its files whole: all that lies in its data folder but files
    /// that are not finished.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open_folder(service: &'static str, data: &Path) -> io::Result<()> {
        let data = data.to_owned();
        open(service, move || {
            let mut held = Held::new(());
            held.add_folder(&data, |path| path.ends_with(".new"))?;
            Ok(held)
        })
    }

    /// Makes the socket and hands over what `hold` gives, to one guest at a time. `service` is the
    /// name for the log. Must be called within tokio's runtime. Nothing happens if the image has no
    /// backup service.
    ///
    /// # Errors
    /// When the folder is not there, or is not this service's.
    pub fn serve(
        service: &'static str,
        socket: &Path,
        table: &[ServiceSpec],
        hold: impl Fn() -> io::Result<Held> + Send + Sync + 'static,
    ) -> io::Result<()> {
        let Some(guest) = table.iter().find(|spec| spec.name == GUEST) else {
            return Ok(());
        };
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        // Whoever connects needs the right to write (unix(7)). Who it is is asked of the kernel.
        std::fs::set_permissions(socket, PermissionsExt::from_mode(0o666))?;
        let (guest, hold) = (guest.user, Arc::new(hold));
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    sleep(BREATHER).await;
                    continue;
                };
                if stream.peer_cred().map(|peer| peer.uid()).ok() != Some(guest) {
                    println!("{service}: a stranger wanted a snapshot and was not let in");
                    continue;
                }
                let hold = hold.clone();
                // Reading a card blocks, and so does holding a store.
                let told = tokio::task::spawn_blocking(move || {
                    let stream = stream.into_std()?;
                    stream.set_nonblocking(false)?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    let mut to = BufWriter::with_capacity(super::PIECE, stream);
                    match hold() {
                        Ok(held) => held.write_to(&mut to),
                        Err(error) => {
                            let why = error.to_string();
                            write_line(&mut to, &Head::Refused { why })?;
                            io::Write::flush(&mut to)?;
                            Err(error)
                        }
                    }
                });
                match told.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        println!("{service}: a snapshot was not handed over: {error}")
                    }
                    Err(error) => println!("{service}: a snapshot was not handed over: {error}"),
                }
            }
        });
        Ok(())
    }
}

#[cfg(feature = "door")]
pub use serve::{open, open_folder, serve};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn take(bytes: &[u8]) -> io::Result<Vec<(Item, Vec<u8>)>> {
        let mut from = bytes;
        let Head::Files(items) = read_head(&mut from)? else {
            panic!("refused")
        };
        let mut all = Vec::new();
        for item in &items {
            let mut content = vec![0; usize::try_from(item.size).unwrap()];
            from.read_exact(&mut content)?;
            all.push((item.clone(), content));
        }
        read_end(&mut from, &items)?;
        assert!(from.is_empty());
        Ok(all)
    }

    #[test]
    fn a_folder_is_handed_over_as_it_was_when_it_was_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("keys/old")).unwrap();
        for (name, text) in [
            ("a.b", "1"),
            ("keys/x", "22"),
            ("keys/old/y", ""),
            ("zone", "4"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        fs::write(at("ballast"), "nothing").unwrap();
        fs::create_dir(at("a")).unwrap();
        fs::write(at("a/z"), "5").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        fs::set_permissions(at("zone"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut held = Held::new(());
        held.add_folder(folder.path(), |path| path == "ballast")
            .unwrap();
        held.add_bytes("extra", 0o640, b"made".to_vec());
        // Replaced as services do it: the open file stays.
        fs::write(at("zone.new"), "newer").unwrap();
        fs::rename(at("zone.new"), at("zone")).unwrap();
        let mut sent = Vec::new();
        held.write_to(&mut sent).unwrap();
        let got = take(&sent).unwrap();
        let got: Vec<(&str, u32, &[u8])> = got
            .iter()
            .map(|(item, bytes)| (item.path.as_str(), item.mode, &bytes[..]))
            .collect();
        let paths: Vec<&str> = got.iter().map(|(path, ..)| *path).collect();
        assert_eq!(
            paths,
            ["a/z", "a.b", "extra", "keys/old/y", "keys/x", "zone"]
        );
        assert_eq!(got[2], ("extra", 0o640, &b"made"[..]));
        assert_eq!(got[5], ("zone", 0o600, &b"4"[..]));
    }

    #[test]
    fn what_is_not_whole_is_noticed() {
        let mut held = Held::new(());
        held.add_bytes("a", 0o600, vec![7; 100]);
        held.add_bytes("b", 0o600, vec![8; 10]);
        let mut sent = Vec::new();
        held.write_to(&mut sent).unwrap();
        assert_eq!(take(&sent).unwrap().len(), 2);
        for end in 0..sent.len() {
            assert!(take(&sent[..end]).is_err(), "cut at {end}");
        }
        let mut long = sent.clone();
        long.insert(sent.len() - 20, 9);
        assert!(take(&long).is_err());
    }

    #[test]
    fn a_file_that_shrinks_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, [1; 1000]).unwrap();
        let mut held = Held::new(());
        held.add_file("log", File::open(&path).unwrap()).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(10)
            .unwrap();
        let error = held.write_to(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn heads_that_would_lead_elsewhere_are_refused() {
        let head = |paths: &[&str], mode| {
            let items = paths
                .iter()
                .map(|path| Item {
                    path: (*path).into(),
                    mode,
                    size: 1,
                })
                .collect();
            let mut line = Vec::new();
            write_line(&mut line, &Head::Files(items)).unwrap();
            read_head(&mut &line[..]).is_ok()
        };
        assert!(head(&["a", "b/c"], 0o600));
        assert!(!head(&["a", "b/c"], 0o4755));
        for bad in [
            &["/etc/passwd"][..],
            &["../x"],
            &["a/../b"],
            &["a//b"],
            &["a/"],
            &[""],
            &["a\nb"],
            &["b", "a"],
            &["a", "a"],
        ] {
            assert!(!head(bad, 0o600), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn junk_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read_head(&mut &bytes[..]).is_err());
        }

        #[test]
        fn whatever_is_held_comes_back(
            files in proptest::collection::btree_map("[a-c]{1,2}(/[a-c.]{3}){0,2}", proptest::collection::vec(any::<u8>(), 0..50), 0..8)
        ) {
            let mut held = Held::new(());
            for (path, bytes) in &files {
                held.add_bytes(path, 0o600, bytes.clone());
            }
            let mut sent = Vec::new();
            held.write_to(&mut sent).unwrap();
            if files.keys().all(|path| is_plain(path)) {
                let got = take(&sent).unwrap();
                prop_assert_eq!(got.len(), files.len());
                for (item, bytes) in got {
                    prop_assert_eq!(&files[&item.path], &bytes);
                }
            } else {
                prop_assert!(take(&sent).is_err());
            }
        }
    }
}
