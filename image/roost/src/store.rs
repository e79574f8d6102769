//! The step store: the output of every build step under the hash of its inputs.
//!
//! An output is written to a folder of its own beside the final one and
//! renamed when complete, so an interrupted step leaves nothing that a later
//! build could take for finished.

use crate::error::Failure;
use sha2::{Digest, Sha256};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Hash of a step's inputs, in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The first 16 hex digits: enough to tell outputs apart.
    pub fn short(&self) -> &str {
        &self.0[..16]
    }

    /// All 64 hex digits.
    pub fn full(&self) -> &str {
        &self.0
    }
}

/// Collects the inputs of a step; each is framed by its length, so that no two lists of inputs collide.
pub struct KeyBuilder(Sha256);

impl KeyBuilder {
    /// Starts the key of the step `name`; raise `version` when the step's own code changes its output.
    pub fn new(name: &str, version: u32) -> Self {
        Self(Sha256::new()).text(name).text(&version.to_string())
    }

    /// Adds a text.
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds another step's key.
    pub fn key(self, key: &Key) -> Self {
        self.text(&key.0)
    }

    /// Adds a file's contents.
    pub fn file(self, path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path).map_err(|e| disk_failure("read", path, e))?;
        Ok(self.bytes(&bytes))
    }

    /// Adds names and contents of all files below `dir`, in order of name.
    pub fn tree(mut self, dir: &Path) -> Result<Self, Failure> {
        for path in files_below(dir)? {
            let name = path
                .strip_prefix(dir)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            self = self.text(&name).file(&path)?;
        }
        Ok(self)
    }

    /// The finished key.
    pub fn finish(self) -> Key {
        Key(hex::encode(self.0.finalize()))
    }
}

/// All regular files below `dir`, sorted.
pub fn files_below(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(d) = open.pop() {
        for entry in std::fs::read_dir(&d).map_err(|e| disk_failure("read", &d, e))? {
            let entry = entry.map_err(|e| disk_failure("read", &d, e))?;
            let kind = entry
                .file_type()
                .map_err(|e| disk_failure("read", &entry.path(), e))?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// SHA-256 of a file in hex.
pub fn sha256_file(path: &Path) -> Result<String, Failure> {
    let mut file = File::open(path).map_err(|e| disk_failure("read", path, e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file
            .read(&mut buffer)
            .map_err(|e| disk_failure("read", path, e))?
        {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Turns an I/O error into a message that says what to do about a full disk.
pub fn disk_failure(action: &str, path: &Path, error: io::Error) -> Failure {
    let failure = Failure::new(format!("cannot {action} {}", path.display()));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure
            .because(error)
            .hint("free some space (a build needs about 6 GB in the cache) and run the same command again; finished steps are kept"),
        io::ErrorKind::PermissionDenied => {
            failure.because(error).hint("check who owns that path; Roost needs no root where user namespaces are allowed")
        }
        _ => failure.because(error),
    }
}

/// How folders of unfinished outputs begin.
const MAKING: &str = ".making-";

/// A folder in which something is being made; removed with this value, or
/// after an interruption by the next one beside it.
#[derive(Debug)]
pub struct Making {
    dir: tempfile::TempDir,
    /// Held while the folder is in use; the kernel lets go of it with the process.
    _lock: File,
}

impl Making {
    /// A fresh folder in `parent`.
    pub fn start(parent: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(parent).map_err(|e| disk_failure("create", parent, e))?;
        let lock = |path: &Path| File::open(path).and_then(|dir| dir.lock().map(|()| dir));
        // Between its creation and its lock a new folder looks like an abandoned one.
        let _one_at_a_time = lock(parent).map_err(|e| disk_failure("lock", parent, e))?;
        for entry in std::fs::read_dir(parent)
            .map_err(|e| disk_failure("read", parent, e))?
            .flatten()
        {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(MAKING)
                && File::open(&path).is_ok_and(|dir| dir.try_lock().is_ok())
            {
                std::fs::remove_dir_all(&path).map_err(|e| disk_failure("remove", &path, e))?;
            }
        }
        let dir = tempfile::Builder::new()
            .prefix(MAKING)
            .tempdir_in(parent)
            .map_err(|e| disk_failure("create a folder in", parent, e))?;
        let lock = lock(dir.path()).map_err(|e| disk_failure("lock", dir.path(), e))?;
        Ok(Self { dir, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Gives the finished folder its name. `false` if another build was
    /// first: the same inputs make the same bytes.
    pub fn finish(self, name: &Path) -> Result<bool, Failure> {
        // All of it is on the disk before it counts as finished.
        File::open(self.path())
            .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
            .map_err(|e| disk_failure("write", self.path(), e))?;
        match std::fs::rename(self.path(), name) {
            Ok(()) => {
                let _ = self.dir.keep();
                Ok(true)
            }
            Err(_) if name.is_dir() => Ok(false),
            Err(e) => Err(disk_failure("rename", self.path(), e)),
        }
    }
}

/// Writes a small file whole or not at all; everybody may read it.
pub fn write_atomically(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |e| disk_failure("write", path, e);
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".roost-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)
        .map_err(fail)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Notes that an output was used now.
fn used(dir: &Path) {
    // Only a courtesy to [`Store::prune`]: a cache that cannot be written still serves.
    let _ = File::open(dir).and_then(|dir| dir.set_modified(SystemTime::now()));
}

/// The folders in a folder; none if it is not there.
fn folders(parent: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(disk_failure("read", parent, e)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.is_dir()).collect())
}

/// Where steps put their outputs.
pub struct Store {
    root: PathBuf,
    /// The folder, with a shared lock: a build is using it. `None` where there is none yet, or it cannot be locked.
    users: Option<File>,
}

/// A step's finished output folder.
#[derive(Debug, Clone)]
pub struct Output {
    /// Folder with the step's files.
    pub dir: PathBuf,
    /// Whether an earlier build made it.
    pub cached: bool,
}

impl Store {
    /// The store below the cache folder.
    pub fn new(cache: &Path) -> Self {
        let root = cache.join("steps");
        // A cache that cannot be written still serves.
        let _ = std::fs::create_dir_all(&root);
        let users = File::open(&root).ok();
        Self {
            // Waits for who removes something.
            users: users.filter(|folder| folder.lock_shared().is_ok()),
            root,
        }
    }

    /// Gives the output for `key`, running `make` in a fresh folder if there is none yet.
    pub fn get(
        &self,
        step: &str,
        key: &Key,
        make: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<Output, Failure> {
        let parent = self.root.join(step);
        let dir = parent.join(key.short());
        if dir.is_dir() {
            used(&dir);
            return Ok(Output { dir, cached: true });
        }
        let fresh = Making::start(&parent)?;
        make(fresh.path())?;
        let cached = !fresh.finish(&dir)?;
        Ok(Output { dir, cached })
    }

    /// The output folder of `step` for the key whose [`Key::short`] this is, if there is one.
    pub fn find(&self, step: &str, short: &str) -> Option<PathBuf> {
        let dir = self.root.join(step).join(short);
        dir.is_dir().then(|| {
            used(&dir);
            dir
        })
    }

    /// Removes outputs, longest unused first, until all of them together take at most `room` bytes. While other
    /// builds use the store, only those that nothing has used for the time `idle`. Gives the bytes that this freed.
    pub fn prune(&self, room: u64, idle: Duration) -> Result<u64, Failure> {
        let alone = self.users.as_ref().filter(|users| users.try_lock().is_ok());
        let idle = alone.map_or(idle, |_| Duration::ZERO);
        let freed = self.remove(room, idle);
        if let Some(users) = &self.users {
            // Others may begin.
            let _ = users.lock_shared();
        }
        freed
    }

    fn remove(&self, room: u64, idle: Duration) -> Result<u64, Failure> {
        let mut outputs = Vec::new();
        for step in folders(&self.root)? {
            for dir in folders(&step)? {
                let name = dir.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(MAKING) {
                    continue;
                }
                let mut bytes = 0;
                for file in files_below(&dir).unwrap_or_default() {
                    bytes += file.symlink_metadata().map_or(0, |m| m.blocks() * 512);
                }
                // Another build may have removed it just now.
                if let Ok(used) = dir.metadata().and_then(|m| m.modified()) {
                    outputs.push((used, bytes, dir));
                }
            }
        }
        outputs.sort();
        let mut total: u64 = outputs.iter().map(|(_, bytes, _)| bytes).sum();
        let mut freed = 0;
        for (used, bytes, dir) in outputs {
            // Another build may be reading what was used lately.
            if total <= room || used.elapsed().is_ok_and(|unused| unused < idle) {
                break;
            }
            // Under such a name nothing takes it for whole, and whatever is left is removed later.
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let gone = dir.with_file_name(format!("{MAKING}{name}"));
            match std::fs::rename(&dir, &gone) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                renamed => renamed.map_err(|e| disk_failure("rename", &dir, e))?,
            }
            std::fs::remove_dir_all(&gone).map_err(|e| disk_failure("remove", &gone, e))?;
            total -= bytes;
            freed += bytes;
        }
        Ok(freed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_where_inputs_are_split_differently() {
        let a = KeyBuilder::new("s", 1).text("ab").text("c").finish();
        let b = KeyBuilder::new("s", 1).text("a").text("bc").finish();
        assert_ne!(a, b);
    }

    #[test]
    fn a_failed_step_leaves_nothing_and_a_retry_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let key = KeyBuilder::new("s", 1).finish();
        let failed = store.get("s", &key, |d| {
            std::fs::write(d.join("half"), "x").unwrap();
            Err(Failure::new("stopped"))
        });
        assert!(failed.is_err());
        assert_eq!(
            std::fs::read_dir(dir.path().join("steps/s"))
                .unwrap()
                .count(),
            0
        );
        let made = store.get("s", &key, |d| {
            std::fs::write(d.join("whole"), "y").map_err(|e| disk_failure("write", d, e))
        });
        assert!(!made.unwrap().cached);
        let again = store
            .get("s", &key, |_| panic!("must come from the store"))
            .unwrap();
        assert!(again.cached && again.dir.join("whole").exists());
    }

    #[test]
    fn what_was_not_used_for_long_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let another_build = Store::new(dir.path());
        let hour = Duration::from_secs(3600);
        let key = |name: &str| KeyBuilder::new(name, 1).finish();
        let make = |name: &str, hours: u32| {
            let file = |d: &Path| d.join("file");
            let made = store.get("s", &key(name), |d| {
                std::fs::write(file(d), vec![1; 1 << 20]).map_err(|e| disk_failure("write", d, e))
            });
            let then = SystemTime::now() - hour * hours;
            File::open(made.unwrap().dir)
                .unwrap()
                .set_modified(then)
                .unwrap();
        };
        let there = |name: &str| dir.path().join("steps/s").join(key(name).short()).exists();
        for (name, hours) in [("old", 9), ("older", 10), ("used again", 20), ("new", 0)] {
            make(name, hours);
        }
        store
            .get("s", &key("used again"), |_| unreachable!())
            .unwrap();
        // File systems count in blocks, so a little more room than for three.
        let freed = store.prune((3 << 20) + (64 << 10), hour).unwrap();
        assert!(freed >= 1 << 20, "{freed}");
        assert!(!there("older") && there("old") && there("used again") && there("new"));
        // Those of the last hour stay, however little room there is: another build may be reading them.
        store.prune(0, hour).unwrap();
        assert!(!there("old") && there("used again") && there("new"));
        assert_eq!(
            std::fs::read_dir(dir.path().join("steps/s"))
                .unwrap()
                .count(),
            2
        );
        drop(another_build);
        store.prune(0, hour).unwrap();
        assert!(!there("used again") && !there("new"));
        assert_eq!(
            Store::new(&dir.path().join("nothing"))
                .prune(0, hour)
                .unwrap(),
            0
        );
    }

    #[test]
    fn what_an_interrupted_build_left_is_removed_and_what_another_makes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let abandoned = dir.path().join(".making-x");
        std::fs::create_dir_all(abandoned.join("half")).unwrap();
        let first = Making::start(dir.path()).unwrap();
        assert!(!abandoned.exists());
        let second = Making::start(dir.path()).unwrap();
        assert!(first.path().is_dir());
        let done = dir.path().join("done");
        std::fs::write(first.path().join("file"), "x").unwrap();
        std::fs::write(second.path().join("file"), "x").unwrap();
        assert!(first.finish(&done).unwrap());
        assert!(!second.finish(&done).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
