//! Where this computer keeps what it knows of boxes, and how a file gets there whole.

use crate::error::Failure;
use crate::store::disk_failure;
use crate::sudo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A longer file is not ours (bytes): one has some thousands.
const MAX_FILE: u64 = 4 << 20;
const SUFFIX: &str = "json";

/// `roost` in the user's configuration folder (XDG Base Directory Specification).
///
/// # Errors
///
/// A [`Failure`] if nothing says where that is.
pub fn config() -> Result<PathBuf, Failure> {
    let xdg = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|d| d.is_absolute());
    let home = || std::env::var_os("HOME").map(|h| Path::new(&h).join(".config"));
    xdg.or_else(home).map(|d| d.join("roost")).ok_or_else(|| {
        Failure::new("no folder for keys: HOME is not set").hint("set HOME or XDG_CONFIG_HOME")
    })
}

/// The same, but under sudo that of whoever called it: only `roost flash` needs root, and what it leaves is
/// for the commands after it.
///
/// # Errors
///
/// As [`config`].
pub fn config_of_caller() -> Result<PathBuf, Failure> {
    match (std::env::var_os("XDG_CONFIG_HOME"), sudo::caller()) {
        (None, Some(caller)) => Ok(caller.home.join(".config/roost")),
        _ => config(),
    }
}

/// A folder of records, one file each, which only their owner can read. Two commands at a time
/// lose nothing: each file is written whole or not at all.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// This one; it is made when the first record is kept.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The file of a record.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name).with_extension(SUFFIX)
    }

    /// All records, in the order of their names.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if one cannot be read. It is never taken for missing then.
    pub fn all<T: DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(disk_failure("read", &self.0, e)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| disk_failure("read", &self.0, e))?.path();
            let hidden = (path.file_name()).is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|e| e == SUFFIX) {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| read(path)).collect()
    }

    /// Writes a record, in place of one of that name.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that fails; the file is as before then.
    pub fn put<T: Serialize>(&self, name: &str, record: &T) -> Result<(), Failure> {
        let path = self.path(name);
        let put = || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.0)?;
            let mut file = tempfile::Builder::new()
                .prefix(".new-")
                .permissions(Permissions::from_mode(0o600))
                .tempfile_in(&self.0)?;
            serde_json::to_writer_pretty(&mut file, record)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|e| e.error)?;
            // The new name must outlive a power cut too.
            File::open(&self.0)?.sync_all()
        };
        sudo::as_its_owner(&self.0, put).map_err(|e| disk_failure("write", &path, e))
    }

    /// Forgets a record, if it is there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that fails.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(disk_failure("remove", &path, e))
            }
            _ => Ok(()),
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let cannot = || Failure::new(format!("cannot use {}", path.display()));
    if path.metadata().is_ok_and(|m| m.len() > MAX_FILE) {
        return Err(cannot().because("it is too long"));
    }
    let bytes = zeroize::Zeroizing::new(std::fs::read(path).map_err(|e| cannot().because(e))?);
    serde_json::from_slice(&bytes).map_err(|e| {
        cannot()
            .because(e)
            .hint("`roost` wrote it and cannot read it any more; remove it, then pair with that box again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_kept_whole_and_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("roost/boxes"));
        assert_eq!(folder.all::<u32>().unwrap(), Vec::<u32>::new());
        folder.put("b", &2).unwrap();
        folder.put("a", &1).unwrap();
        folder.put("b", &3).unwrap();
        assert_eq!(folder.all::<u32>().unwrap(), [1, 3]);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path("a")), 0o600);
        assert_eq!(mode(folder.path("a").parent().unwrap()), 0o700);
        folder.remove("a").unwrap();
        folder.remove("a").unwrap();
        assert_eq!(folder.all::<u32>().unwrap(), [3]);
        // Nothing else is left behind.
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    proptest! {
        /// Neither read as nothing nor written over, and no panic.
        #[test]
        fn junk_is_an_error_and_is_kept(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assume!(serde_json::from_slice::<u32>(&junk).is_err());
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::new(dir.path().to_owned());
            std::fs::write(folder.path("a"), &junk).unwrap();
            prop_assert!(folder.all::<u32>().is_err());
            prop_assert_eq!(std::fs::read(folder.path("a")).unwrap(), junk);
        }
    }
}
