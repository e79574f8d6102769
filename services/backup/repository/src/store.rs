//! The little that a repository needs of the place where it lies: files by kind and name.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::str::FromStr;

/// Kinds of files, by what restic's design calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One file, which makes a folder a repository.
    Config,
    /// What the recovery code opens.
    Key,
    /// One for each backup.
    Snapshot,
    /// Which piece lies in which pack.
    Index,
    /// Pieces of files.
    Pack,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::Config,
        Self::Key,
        Self::Snapshot,
        Self::Index,
        Self::Pack,
    ];

    /// Its folder in a repository; the config is a file of this name.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }
}

/// A file's name: SHA-256 of what is in it. The config's is not looked at.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Name(pub [u8; 32]);

impl Name {
    /// That of these bytes.
    pub fn of(pieces: &[Bytes]) -> Self {
        let mut hash = Sha256::new();
        for piece in pieces {
            hash.update(piece);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Name {
    type Err = String;
    fn from_str(digits: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes)
            .map_err(|_| format!("{digits:?} is no name of a file in a repository"))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(digits: String) -> Result<Self, String> {
        digits.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.to_string()
    }
}

/// Removes keys that an earlier beginning has left, before another is written: a key without a config is of one
/// that was cut short, and would be taken for the one that opens.
///
/// # Errors
/// The place's.
pub fn clear_beginning(store: &impl Store) -> io::Result<()> {
    if !store.list(Kind::Config)?.is_empty() {
        return Ok(());
    }
    for (stale, _) in store.list(Kind::Key)? {
        store.remove(Kind::Key, stale).map_err(|error| {
            let kind = error.kind();
            let why =
                format!("what an earlier beginning has left there cannot be removed: {error}");
            io::Error::new(kind, why)
        })?;
    }
    Ok(())
}

/// A place for a repository. Nothing in it is ever changed through this, and nothing is removed but by
/// [`Store::remove`], which the laptop's folder does not have: a box that somebody broke into can add to
/// the backups there, and destroy none.
pub trait Store: Send + Sync + 'static {
    /// For people, e.g. a folder.
    fn place(&self) -> String;
    /// All files of this kind with their lengths.
    ///
    /// # Errors
    /// The place's.
    fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>>;
    /// A file, or `length` bytes of it from `offset` on.
    ///
    /// # Errors
    /// The place's; `NotFound`; `UnexpectedEof` if it is shorter.
    fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes>;
    /// Puts a file there. When this returns it is on the medium, whole; after a power cut before that
    /// it is there whole or not at all. A file that is there already stays.
    ///
    /// # Errors
    /// The place's.
    fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()>;
    /// Removes a file that no backup needs any more. One that is not there is removed already.
    ///
    /// # Errors
    /// The place's; `PermissionDenied` where nothing is ever removed, which is most places.
    fn remove(&self, _: Kind, _: Name) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "nothing is removed from here",
        ))
    }
}
