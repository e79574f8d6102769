//! Making backups, listing them, proving them, getting them back.

use crate::backend::{Backend, Flaw};
use crate::code::Code;
use crate::contents::{Contents, DATA, FORMAT, FileOf, NAME};
use crate::source::{Source, Stream};
use crate::store::{Kind, Store};
use rustic_core::jiff;
use rustic_core::repofile::{Chunker, Node, SnapshotFile};
use rustic_core::{
    BackupOptions, CheckOptions, ConfigOptions, Credentials, KeepOptions, KeyOptions, LsOptions,
    OpenStatus, ParentOptions, PruneOptions, Repository as Rustic, RepositoryBackends,
    RepositoryOptions, RusticError, SnapshotOptions, StringList,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a piece on average, and its bounds. A mail store is one file in which a message changes a
/// few pages here and there; with restic's pieces of a megabyte each such page would cost a megabyte.
/// The README has the figures.
const PIECE: u64 = 64 << 10;
const PIECE_MIN: u64 = 16 << 10;
const PIECE_MAX: u64 = 512 << 10;
/// Bytes of a pack of pieces. Some are in memory at once, on a board that has little; a repository of
/// 10 GB has a thousand of them.
const PACK: u64 = 8 << 20;
/// Days, weeks and months of which [`Repository::forget`] leaves the newest backup: a mistake is noticed in days,
/// a silent one in months.
pub const DAYS: i32 = 7;
/// See [`DAYS`].
pub const WEEKS: i32 = 5;
/// See [`DAYS`].
pub const MONTHS: i32 = 12;
/// Hours for which a pack is left alone after it was written, and after it was marked: a backup that was begun
/// elsewhere, as by a card that was restored, may count on it.
pub const LEAVE_H: i64 = 24;
/// What snapshots of a box are marked with, so that a repository may hold other things too.
const TAG: &str = "roost";

/// Why something did not work out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no repository.
    #[error("there is no backup in {0}")]
    Nothing(String),
    /// The code opens nothing here.
    #[error("this recovery code does not open {0}")]
    WrongCode(String),
    /// There is no such backup.
    #[error("there is no backup {0:?}")]
    Unknown(String),
    /// What went in was not whole: no backup was made.
    #[error("{0}")]
    NotWhole(String),
    /// What comes out is not what went in.
    #[error("{0}")]
    Differs(String),
    /// The repository is damaged, or the library does not get on with it.
    #[error("{0}")]
    Library(String),
    /// A file could not be read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<Box<RusticError>> for Error {
    fn from(error: Box<RusticError>) -> Self {
        let text = error.display_log();
        Self::Library(text.strip_prefix("Error: ").unwrap_or(&text).to_owned())
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

/// A backup, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Its name: 64 hexadecimal digits, of which the first few do.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub made_s: i64,
    /// Of which box.
    pub name: String,
    /// How many files it has, the one about it included.
    pub files: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes that it added to the repository.
    pub added: u64,
}

impl Backup {
    fn of(snapshot: &SnapshotFile) -> Self {
        let summary = snapshot.summary.as_ref();
        Self {
            id: snapshot.id.to_hex().as_str().to_owned(),
            made_s: snapshot.time.timestamp().as_second(),
            name: snapshot.hostname.clone(),
            files: summary.map_or(0, |summary| summary.total_files_processed),
            bytes: summary.map_or(0, |summary| summary.total_bytes_processed),
            added: summary.map_or(0, |summary| summary.data_added_packed),
        }
    }
}

/// What about a backup is known before it is made.
#[derive(Debug, Clone)]
pub struct About {
    /// What the box calls itself.
    pub name: String,
    /// Version of its image.
    pub version: String,
    /// When, in seconds since 1970.
    pub made_s: u64,
    /// Services that hand something over.
    pub services: Vec<crate::contents::Service>,
}

/// What a repository is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Use,
    Begin,
    Forget,
}

/// A repository that is open.
pub struct Repository {
    rustic: Rustic<OpenStatus>,
    place: String,
    flaw: Flaw,
}

impl Repository {
    /// Opens the one in this store.
    ///
    /// # Errors
    /// [`Error::Nothing`], [`Error::WrongCode`], [`Error::Library`].
    pub fn open(store: Arc<dyn Store>, code: &Code) -> Result<Self, Error> {
        Self::get(store, code, Wish::Use)
    }

    /// Opens the one in this store, or begins one.
    ///
    /// # Errors
    /// [`Error::WrongCode`], [`Error::Library`].
    pub fn open_or_begin(store: Arc<dyn Store>, code: &Code) -> Result<Self, Error> {
        Self::get(store, code, Wish::Begin)
    }

    fn get(store: Arc<dyn Store>, code: &Code, wish: Wish) -> Result<Self, Error> {
        let (place, flaw) = (store.place(), Flaw::default());
        let begun = store
            .list(Kind::Config)
            .map_err(|error| Error::Library(error.to_string()))?;
        let backend = Backend::new(store, flaw.clone(), wish == Wish::Forget);
        let backends = RepositoryBackends::new(Arc::new(backend), None);
        // The cache would be a second copy of the index, in a home that the box does not have.
        let rustic = Rustic::new(&RepositoryOptions::default().no_cache(true), &backends)?;
        let credentials = Credentials::password(code.as_str());
        let told = |error: Box<RusticError>| match (error.is_code("C002"), flaw.get()) {
            (_, Some(why)) => Error::Library(why),
            (true, None) => Error::WrongCode(place.clone()),
            (false, None) => error.into(),
        };
        let rustic = match (begun.is_empty(), wish) {
            (true, Wish::Use | Wish::Forget) => return Err(Error::Nothing(place)),
            (true, Wish::Begin) => rustic.init(&credentials, &KeyOptions::default(), &options()),
            (false, _) => rustic.open(&credentials),
        };
        let rustic = rustic.map_err(told)?;
        Ok(Self {
            rustic,
            place,
            flaw,
        })
    }

    /// Where it is.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Makes a backup of what the services hand over; `seen` is told how many bytes were read, of how
    /// many. It is there when this returns `Ok`; until the
    /// very last write, which is one small file, there is none.
    ///
    /// # Errors
    /// [`Error::NotWhole`] if a service broke off; [`Error::Library`].
    pub fn back_up(
        self,
        about: About,
        streams: Vec<Stream>,
        seen: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<(Backup, Contents), Error> {
        let contents = Contents {
            format: FORMAT,
            name: about.name.clone(),
            version: about.version,
            made_s: about.made_s,
            services: about.services,
            files: Vec::new(),
        };
        let flaw = self.flaw.clone();
        let source = Source::new(streams, contents, flaw.clone(), Box::new(seen));
        let time = i64::try_from(about.made_s)
            .ok()
            .and_then(|made_s| jiff::Timestamp::from_second(made_s).ok())
            .ok_or_else(|| Error::Library("the clock is set to no time".to_owned()))?;
        let snapshot = SnapshotOptions::default()
            .host(about.name)
            .time(time.to_zoned(jiff::tz::TimeZone::UTC))
            .tags(vec![
                TAG.parse::<StringList>()
                    .map_err(|error| Error::Library(error.to_string()))?,
            ])
            .to_snapshot()?;
        // What is known of the last backup's files decides nothing: each is read, and its pieces are
        // compared.
        let options = BackupOptions::default()
            .no_scan(true)
            .parent_opts(ParentOptions::default().force(true));
        let indexed = self.rustic.to_indexed_ids()?;
        let paths = [PathBuf::from(DATA), PathBuf::from(NAME)];
        let made = indexed.archive(&options, &source, snapshot, &paths);
        match (made, flaw.get()) {
            (_, Some(why)) => Err(Error::NotWhole(why)),
            (Err(error), None) => Err(error.into()),
            (Ok(snapshot), None) => Ok((Backup::of(&snapshot), source.contents())),
        }
    }

    /// All backups, oldest first.
    ///
    /// # Errors
    /// [`Error::Library`].
    pub fn list(&self) -> Result<Vec<Backup>, Error> {
        Ok(self.snapshots()?.iter().map(Backup::of).collect())
    }

    fn snapshots(&self) -> Result<Vec<SnapshotFile>, Error> {
        let mut all = self.rustic.get_all_snapshots()?;
        all.retain(|snapshot| snapshot.tags.contains(TAG));
        all.sort_by(|a, b| a.time.cmp(&b.time).then(a.id.cmp(&b.id)));
        Ok(all)
    }

    /// The backup with a name that begins so, or the newest.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is none, or several begin so.
    fn find(&self, id: Option<&str>) -> Result<SnapshotFile, Error> {
        let mut all = self.snapshots()?;
        let Some(id) = id else {
            return all.pop().ok_or_else(|| Error::Nothing(self.place.clone()));
        };
        all.retain(|snapshot| snapshot.id.to_hex().as_str().starts_with(id));
        match all.pop() {
            Some(one) if all.is_empty() => Ok(one),
            _ => Err(Error::Unknown(id.to_owned())),
        }
    }

    /// Looks at every byte of the repository: whether all that backups name is there, and is what was
    /// written.
    ///
    /// # Errors
    /// [`Error::Differs`] with all that was found; [`Error::Library`].
    pub fn check(&self) -> Result<(), Error> {
        let found = self.rustic.check(CheckOptions::default().read_data(true))?;
        let faults: Vec<String> = found
            .0
            .iter()
            // What is only strange is left of a backup that was cut short: pieces that no backup names.
            .filter(|(level, _)| format!("{level:?}") == "Error")
            .map(|(_, error)| error.to_string())
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Error::Differs(faults.join("; "))),
        }
    }

    /// Gets a backup back: its files appear below `into`, an empty folder, as they lay on the data
    /// partition. Afterwards what lies there is counted and read again, and compared with what the
    /// box wrote down when it made the backup. `id` is the begin of a name; without, it is the newest.
    /// `seen` is told how many bytes are there, of how many.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Differs`], [`Error::Library`], [`Error::Io`].
    pub fn restore(
        self,
        id: Option<&str>,
        into: &Path,
        mut seen: impl FnMut(u64, u64),
    ) -> Result<(Backup, Contents), Error> {
        let snapshot = self.find(id)?;
        let indexed = self.rustic.to_indexed()?;
        let (contents, _) = contents(&indexed, &snapshot)?;
        let (all, mut done) = (contents.bytes(), 0);
        walk(&indexed, &snapshot, |below, node| {
            let to = into.join(below);
            if node.is_dir() {
                return fs::create_dir(&to).map_err(io_error("make", &to));
            }
            done += write(&indexed, node, &to)?;
            seen(done, all);
            Ok(())
        })?;
        compare(&contents, &into.join(DATA))?;
        Ok((Backup::of(&snapshot), contents))
    }

    /// Reads a backup back as [`Repository::restore`] does, and puts it nowhere: each file is hashed as it
    /// comes, and compared with what the box wrote down when it made the backup. Beside these, gives
    /// the SHA-256 of the list, for whoever has noted it elsewhere.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Differs`] with the first difference, [`Error::Library`].
    pub fn prove(
        self,
        id: Option<&str>,
        mut seen: impl FnMut(u64, u64),
    ) -> Result<(Backup, Contents, String), Error> {
        let snapshot = self.find(id)?;
        let indexed = self.rustic.to_indexed()?;
        let (contents, manifest) = contents(&indexed, &snapshot)?;
        let mut left: BTreeMap<&str, &FileOf> = contents
            .files
            .iter()
            .map(|file| (file.path.as_str(), file))
            .collect();
        let (all, mut done) = (contents.bytes(), 0);
        walk(&indexed, &snapshot, |below, node| {
            if node.is_dir() {
                return Ok(());
            }
            let path = below.strip_prefix(DATA).ok().and_then(Path::to_str);
            let Some(file) = path.and_then(|path| left.remove(path)) else {
                return Err(Error::Differs(format!("{} did not go in", below.display())));
            };
            let mut hash = Hashing::default();
            indexed.dump(node, &mut hash)?;
            if hash.size != file.size || hex::encode(hash.hash.finalize()) != file.sha256 {
                return Err(Error::Differs(format!("{} is not what went in", file.path)));
            }
            done += hash.size;
            seen(done, all);
            Ok(())
        })?;
        if let Some(path) = left.into_keys().next() {
            return Err(Error::Differs(format!("{path} did not come back")));
        }
        let backup = Backup::of(&snapshot);
        Ok((backup, contents, manifest))
    }

    /// Some files of a backup, by the path that the list of them has ([`Contents::files`]). Each is compared with what
    /// the box wrote down. They are held in memory.
    ///
    /// # Errors
    /// As those of [`Repository::restore`].
    pub fn read(
        self,
        id: Option<&str>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let snapshot = self.find(id)?;
        let indexed = self.rustic.to_indexed()?;
        let (contents, _) = contents(&indexed, &snapshot)?;
        let mut left: BTreeMap<&str, &FileOf> = (contents.files.iter())
            .filter(|file| wanted(&file.path))
            .map(|file| (file.path.as_str(), file))
            .collect();
        let mut found = Vec::new();
        walk(&indexed, &snapshot, |below, node| {
            let path = below.strip_prefix(DATA).ok().and_then(Path::to_str);
            let Some(file) = path.and_then(|path| left.remove(path)) else {
                return Ok(());
            };
            let mut bytes = Vec::new();
            indexed.dump(node, &mut bytes)?;
            if bytes.len() as u64 != file.size || hex::encode(Sha256::digest(&bytes)) != file.sha256
            {
                return Err(Error::Differs(format!("{} is not what went in", file.path)));
            }
            found.push((file.path.clone(), bytes));
            Ok(())
        })?;
        match left.into_keys().next() {
            Some(path) => Err(Error::Differs(format!("{path} did not come back"))),
            None => Ok(found),
        }
    }

    /// Forgets old backups: the newest of each of the last [`DAYS`], [`WEEKS`] and [`MONTHS`] that have any stay,
    /// and so does whatever is no backup of a box. Pieces that no backup needs any more are marked, and
    /// removed by a later call, at the earliest `leave_h` hours after.
    ///
    /// Nobody may make a backup there meanwhile. `leave_h` is [`LEAVE_H`] but in tests. Tells how many backups
    /// were forgotten.
    ///
    /// # Errors
    /// [`Error::Nothing`], [`Error::WrongCode`], [`Error::Library`].
    pub fn forget(store: Arc<dyn Store>, code: &Code, leave_h: i64) -> Result<usize, Error> {
        let this = Self::get(store, code, Wish::Forget)?;
        let done = || -> Result<usize, Error> {
            let gone: Vec<_> = old(this.snapshots()?)?
                .iter()
                .map(|snapshot| snapshot.id)
                .collect();
            this.rustic.delete_snapshots(&gone)?;
            let options = PruneOptions::default()
                .keep_pack(jiff::Span::new().hours(leave_h))
                .keep_delete(jiff::Span::new().hours(leave_h));
            let plan = this.rustic.prune_plan(&options)?;
            this.rustic.prune(&options, plan)?;
            Ok(gone.len())
        };
        done().map_err(|error| match this.flaw.get() {
            Some(why) => Error::Library(why),
            None => error,
        })
    }
}

/// The backups that may be forgotten.
fn old(all: Vec<SnapshotFile>) -> Result<Vec<SnapshotFile>, Error> {
    let keep = KeepOptions::default()
        .keep_daily(DAYS)
        .keep_weekly(WEEKS)
        .keep_monthly(MONTHS);
    let judged = keep.apply(all, &jiff::Zoned::now())?;
    Ok(judged
        .into_iter()
        .filter(|one| !one.keep)
        .map(|one| one.snapshot)
        .collect())
}

/// What is in a backup by its own word, and the SHA-256 of that.
fn contents<S: rustic_core::IndexedFull>(
    from: &Rustic<S>,
    snapshot: &SnapshotFile,
) -> Result<(Contents, String), Error> {
    let mut manifest = Vec::new();
    let about = from.node_from_snapshot_and_path(snapshot, NAME)?;
    from.dump(&about, &mut manifest)?;
    let contents = Contents::parse(&manifest)
        .map_err(|why| Error::Differs(format!("the backup's list of files is of no use: {why}")))?;
    Ok((contents, hex::encode(Sha256::digest(&manifest))))
}

/// Goes through a backup's files and folders, but for the list of them.
fn walk<S: rustic_core::IndexedFull>(
    from: &Rustic<S>,
    snapshot: &SnapshotFile,
    mut see: impl FnMut(&Path, &Node) -> Result<(), Error>,
) -> Result<(), Error> {
    let root = from.node_from_snapshot_and_path(snapshot, "")?;
    for entry in from.ls(&root, &LsOptions::default())? {
        let (path, node) = entry?;
        let Some(below) = plain(&path) else {
            return Err(Error::Differs(format!("{path:?} leads out of the backup")));
        };
        if !node.is_dir() && !node.is_file() {
            return Err(Error::Differs(format!("{path:?} is no file")));
        }
        if below != Path::new(NAME) {
            see(below, &node)?;
        }
    }
    Ok(())
}

/// Counts and hashes what is written to it.
#[derive(Default)]
struct Hashing {
    hash: Sha256,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a new repository is like.
fn options() -> ConfigOptions {
    use bytesize::ByteSize;
    ConfigOptions::default()
        .set_version(2_u32)
        .set_chunker(Chunker::Rabin)
        .set_chunk_size(ByteSize(PIECE))
        .set_chunk_min_size(ByteSize(PIECE_MIN))
        .set_chunk_max_size(ByteSize(PIECE_MAX))
        .set_datapack_size(ByteSize(PACK))
        .set_datapack_growfactor(0_u32)
        .set_datapack_size_limit(ByteSize(PACK))
        .set_treepack_size(ByteSize(PACK))
        .set_treepack_growfactor(0_u32)
        .set_treepack_size_limit(ByteSize(PACK))
}

fn plain(path: &Path) -> Option<&Path> {
    let text = path.to_str()?;
    roost_service::snapshot::is_plain(text).then_some(path)
}

fn write<S: rustic_core::IndexedFull>(
    from: &Rustic<S>,
    node: &Node,
    to: &Path,
) -> Result<u64, Error> {
    use std::os::unix::fs::OpenOptionsExt;
    // What somebody's mail is in is for nobody else, wherever it is put.
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(to);
    let mut file = BufWriter::new(file.map_err(io_error("make", to))?);
    from.dump(node, &mut file)?;
    file.flush().map_err(io_error("write", to))?;
    let file = file
        .into_inner()
        .map_err(|error| io_error("write", to)(error.into_error()))?;
    Ok(file.metadata().map_err(io_error("read", to))?.len())
}

/// Compares what lies below a folder with what was written down: the same files, no other, each of the
/// same length and hash.
///
/// # Errors
/// [`Error::Differs`] with the first difference; [`Error::Io`].
pub fn compare(contents: &Contents, folder: &Path) -> Result<(), Error> {
    let mut there = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let path = folder.join(&below);
        if below.as_os_str().is_empty() && !path.exists() {
            continue;
        }
        for entry in fs::read_dir(&path).map_err(io_error("read", &path))? {
            let entry = entry.map_err(io_error("read", &path))?;
            let below = below.join(entry.file_name());
            match entry.file_type().map_err(io_error("read", &path))?.is_dir() {
                true => folders.push(below),
                false => {
                    there.insert(below);
                }
            }
        }
    }
    if there.len() != contents.files.len() {
        return Err(Error::Differs(format!(
            "{} files came back, and {} went in",
            there.len(),
            contents.files.len()
        )));
    }
    for file in &contents.files {
        if !there.contains(Path::new(&file.path)) {
            return Err(Error::Differs(format!("{} did not come back", file.path)));
        }
        let path = folder.join(&file.path);
        let (size, hash) = hash(&path).map_err(io_error("read", &path))?;
        if size != file.size || hash != file.sha256 {
            return Err(Error::Differs(format!("{} is not what went in", file.path)));
        }
    }
    Ok(())
}

fn hash(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..count]);
        size += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_of_days_five_weeks_and_a_year_of_months_are_kept() {
        const DAY: i64 = 86_400;
        // Monday, 15 January 2024.
        const BEGIN: i64 = 1_705_276_800;
        // Once in each of 14 months, then on 20 days from Monday, 24 March 2025 on, on the last twice.
        let days = BEGIN + 14 * 31 * DAY;
        let newest = days + 19 * DAY + 3600;
        let all: Vec<i64> = (0..14)
            .map(|month| BEGIN + month * 31 * DAY)
            .chain((0..20).map(|day| days + day * DAY))
            .chain([newest])
            .collect();
        let snapshot = |at: &i64| {
            let time = jiff::Timestamp::from_second(*at).unwrap();
            let time = time.to_zoned(jiff::tz::TimeZone::UTC);
            SnapshotFile {
                time,
                ..SnapshotFile::default()
            }
        };
        let gone: Vec<i64> = old(all.iter().map(snapshot).collect())
            .unwrap()
            .iter()
            .map(|snapshot| snapshot.time.timestamp().as_second())
            .collect();
        let left: Vec<i64> = all
            .iter()
            .copied()
            .filter(|at| !gone.contains(at))
            .collect();
        // Ten months before those of the days, the last Sunday and the last day of March (the newest of
        // its month), and seven days of April.
        let kept: Vec<i64> = (4..14)
            .map(|month| BEGIN + month * 31 * DAY)
            .chain([6, 7, 13, 14, 15, 16, 17, 18].map(|day| days + day * DAY))
            .chain([newest])
            .collect();
        assert_eq!(left, kept);
        // The only one stays, however old it is.
        assert!(old(vec![snapshot(&BEGIN)]).unwrap().is_empty());
    }
}
