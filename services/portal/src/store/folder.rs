//! The folder that the store's file is in, as far as a power cut can tell its steps apart.

use redb::StorageBackend;
use redb::backends::FileBackend;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

/// Nobody but the portal reads the store: it holds the secret of the one-time passwords.
const MODE: u32 = 0o600;

/// What the store does to its folder. Its file's own reads, writes and syncs go
/// through [`StorageBackend`], so a test can record and fail each of them.
pub trait Folder {
    /// An open file.
    type File: StorageBackend;

    /// Opens a file for reading and writing; `None` if there is none.
    ///
    /// # Errors
    /// The file system's.
    fn open(&self, name: &str) -> io::Result<Option<Self::File>>;
    /// Makes an empty file for reading and writing, in place of one of that name.
    ///
    /// # Errors
    /// The file system's.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Returns when the names are on the medium.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&self) -> io::Result<()>;
}

/// A real folder. Files in it belong to its owner alone (mode 0600).
#[derive(Debug, Clone)]
pub struct DataFolder(pub PathBuf);

impl Folder for DataFolder {
    type File = FileBackend;

    fn open(&self, name: &str) -> io::Result<Option<FileBackend>> {
        let path = self.0.join(name);
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => backend(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<FileBackend> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        backend(options.mode(MODE).open(self.0.join(name))?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// The mode counts at creation only, so a file that was there before gets it here.
fn backend(file: File) -> io::Result<FileBackend> {
    if file.metadata()?.permissions().mode() & 0o777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    FileBackend::new(file).map_err(io::Error::other)
}
