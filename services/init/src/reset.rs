//! Factory reset: everything of the owner's goes, the box stays what `roost flash` made it.
//!
//! # Order
//!
//! | Step | What a power cut behind it leads to |
//! |---|---|
//! | 1. [`bind`]: the record in [`FOLDER`] says `pending`, with the new code | the next start goes on at 2 |
//! | 2. every folder of the data but [`FOLDER`] is removed, then all of that is on the medium | the next start begins 2 again |
//! | 3. the card's file is written anew: the new code, not the computer that wrote it, everything else as it was | the next start does 2 and 3 again, with the same code |
//! | 4. the record says that nothing is pending | the next start is the new box's first |
//!
//! No service runs before 4. The record and the card are replaced whole (new file, sync, rename,
//! sync of the folder), so there is no state in between. Removed files are not overwritten: a card
//! keeps old blocks for itself anyway.
//!
//! A file on partition 1 ([`crate::wish`]) is obeyed once: the record remembers it, and is written
//! with `pending` in one piece. It stays where it is, because the box never writes to a FAT.

use crate::keep;
use roost_service::card::{self, Card, Pairing};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The folder that a reset leaves alone, in the data's.
pub const FOLDER: &str = "first-boot";
/// The record's name in it.
pub const RECORD: &str = "reset";
/// The card's name in it ([`card::PATH`]).
pub const CARD: &str = "card";
/// Longest record that is read, in bytes.
const MAX_RECORD: usize = 4096;

/// What is remembered of resets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The code of a reset that is not done yet.
    pending: Option<String>,
    /// The file on partition 1 that was obeyed last.
    obeyed: Option<Wish>,
}

/// A file on partition 1 that asks for a reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// When it was written, as FAT notes it.
    pub modified: u32,
    /// What is in it.
    pub content: Vec<u8>,
}

impl Wish {
    /// The code that it says, if it says one.
    pub fn code(&self) -> Option<String> {
        card::normalise_code(std::str::from_utf8(&self.content).ok()?)
    }
}

/// The data file system, as far as a reset needs it. Names are those of [`FOLDER`] where nothing
/// else is said.
pub trait Medium {
    /// A file's bytes, at most `limit` and one more; `None` if there is none.
    ///
    /// # Errors
    /// Those of the file system.
    fn read(&mut self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>>;
    /// Writes a file; its bytes are on the medium when this returns, its name perhaps not.
    ///
    /// # Errors
    /// Those of the file system.
    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name, at once and whole.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Puts all names onto the medium.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync(&mut self) -> io::Result<()>;
    /// What lies beside [`FOLDER`].
    ///
    /// # Errors
    /// Those of the file system.
    fn others(&mut self) -> io::Result<Vec<String>>;
    /// Removes one of those with everything in it.
    ///
    /// # Errors
    /// Those of the file system.
    fn remove_other(&mut self, name: &str) -> io::Result<()>;
    /// Puts everything onto the medium.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync_all(&mut self) -> io::Result<()>;
}

/// What [`take_up`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Nothing was asked.
    Nothing,
    /// The owner's data is gone.
    Wiped,
    /// What is remembered of resets cannot be read: no file on partition 1 is obeyed, because that
    /// might be the second time.
    Unsure,
}

/// Binds the box to a reset with this code, which [`take_up`] does on the next start.
///
/// # Errors
/// When the code is none, and those of the file system. Then nothing was bound.
pub fn bind(medium: &mut impl Medium, code: &str) -> io::Result<()> {
    if card::normalise_code(code).as_deref() != Some(code) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no code"));
    }
    // A record that cannot be read is replaced: the owner is asking now.
    let obeyed = read_record(medium)?.unwrap_or_default().obeyed;
    let record = Record {
        pending: Some(code.to_owned()),
        obeyed,
    };
    save(medium, &record)
}

/// Does what is pending, or what a file on partition 1 asks for the first time. `make_code` is
/// asked when nobody has said a code.
///
/// # Errors
/// Those of the file system; the next start goes on.
pub fn take_up(
    medium: &mut impl Medium,
    wish: Option<Wish>,
    make_code: impl FnOnce() -> String,
) -> io::Result<Done> {
    let Some(mut record) = read_record(medium)? else {
        return Ok(Done::Unsure);
    };
    if wish.is_some() && wish != record.obeyed {
        let said = wish.as_ref().and_then(Wish::code);
        record = Record {
            pending: Some(said.unwrap_or_else(make_code)),
            obeyed: wish,
        };
        save(medium, &record)?;
    }
    let Some(code) = record.pending.take() else {
        return Ok(Done::Nothing);
    };
    for name in medium.others()? {
        medium.remove_other(&name)?;
    }
    medium.sync_all()?;
    let card = renewed(medium.read(CARD, card::SIZE)?, code);
    let bytes = card::render(&card).map_err(io::Error::other)?;
    replace(medium, CARD, &bytes)?;
    save(medium, &record)?;
    Ok(Done::Wiped)
}

/// The card with another code. What cannot be read of it was no use before either.
fn renewed(file: Option<Vec<u8>>, code: String) -> Card {
    let old = file.and_then(|bytes| card::parse(&bytes).ok().flatten());
    let pairing = Some(Pairing { code });
    match old {
        // Whoever wrote the card is forgotten as all others are: the reset may be because of that
        // computer, and the next owner is asked nothing about it.
        Some(old) => Card {
            pairing,
            ..old.alone()
        },
        None => Card {
            format: card::FORMAT_ALONE,
            name: None,
            network: None,
            pairing,
            identity: None,
            computer: None,
        },
    }
}

/// `None`: there is something, but it is no record.
fn read_record(medium: &mut impl Medium) -> io::Result<Option<Record>> {
    let Some(bytes) = medium.read(RECORD, MAX_RECORD)? else {
        return Ok(Some(Record::default()));
    };
    Ok(serde_json::from_slice(&bytes).ok())
}

fn save(medium: &mut impl Medium, record: &Record) -> io::Result<()> {
    let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
    replace(medium, RECORD, &bytes)
}

fn replace(medium: &mut impl Medium, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.new");
    medium.write_synced(&new, bytes)?;
    medium.rename(&new, name)?;
    medium.sync()
}

/// A mounted data file system.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// The one mounted at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }
}

impl Medium for Disk {
    fn read(&mut self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        match crate::card::read_at_most(&self.folder().join(name), limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        keep::make_folder(&self.folder())?;
        // The code is in it.
        keep::write_synced(&self.folder().join(name), bytes, 0o600)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder().join(from), self.folder().join(to))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(self.folder())?.sync_all()
    }

    fn others(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            // e2fsck wants lost+found, and makes it anew at a cost.
            let name = entry?.file_name();
            if name != FOLDER && name != "lost+found" {
                names.push(name.into_string().map_err(|_| io::ErrorKind::InvalidData)?);
            }
        }
        Ok(names)
    }

    fn remove_other(&mut self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        // Follows no link.
        if path.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn sync_all(&mut self) -> io::Result<()> {
        rustix::fs::syncfs(File::open(Path::new(&self.root))?)?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "reset_tests.rs"]
mod tests;
