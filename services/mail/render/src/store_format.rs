//! Which schema the mail store has, and the way back from a newer one.
//!
//! Every build of the mail service knows one format number of the store
//! (`data_format` in `service.toml`); the file `store-format` beside the store
//! says which one it has. [`settle`] brings the two together before the store
//! is opened:
//!
//! | the store has | then |
//! |---|---|
//! | nothing yet, or the same | go on |
//! | an older format | keep a snapshot of it, then let this version migrate |
//! | a newer format, and there is a snapshot of ours | put the snapshot back: the newer version was on trial and is gone |
//! | a newer format and no snapshot | refuse: this version would not understand it |
//!
//! A store that was replaced by its snapshot is kept beside it, because mail
//! that came during the trial is in there. What is kept is removed by [`tidy`].
//!
//! The store is closed while this runs, so its files are whole. Power may fail
//! at any point: every step can be taken again, and `store-format` changes
//! last (migration begins only after it says the new number).

use crate::{Error, secret_file};
use std::cmp::Ordering;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The store's own file.
pub const STORE: &str = "mail.sqlite3";
/// SQLite's log, which holds what is not in the store's file yet.
pub const LOG: &str = "mail.sqlite3-wal";
/// An index into the log that SQLite makes anew (sqlite.org/walformat.html).
pub const LOG_INDEX: &str = "mail.sqlite3-shm";
/// Says which format the store has.
const FORMAT: &str = "store-format";
/// Format of a store from before [`FORMAT`] existed.
const FIRST: u32 = 1;
/// Free bytes that a snapshot must leave: mail has to go on meanwhile.
const RESERVE: u64 = 64 << 20;
/// A snapshot is kept this long. A trial is decided within minutes; the rest
/// is for the owner to notice something that no check sees.
pub const KEEP_SNAPSHOT: Duration = Duration::from_secs(7 * 24 * 3600);
/// A replaced store is kept this long, for mail that came during the trial.
pub const KEEP_REPLACED: Duration = Duration::from_secs(30 * 24 * 3600);

/// What [`settle`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Nothing: the format is ours.
    Same,
    /// Kept a snapshot; this version will migrate the store.
    Kept {
        /// The format of the snapshot.
        format: u32,
    },
    /// Put our snapshot back.
    Restored {
        /// The format of the store that was replaced.
        from: u32,
    },
}

/// Brings the store in `data` and our `format` together. `free` gives the free
/// bytes of the file system.
///
/// # Errors
/// A file that cannot be read or written, too little space for a snapshot, or
/// a newer store without a snapshot.
pub fn settle(
    data: &Path,
    format: u32,
    free: impl FnOnce() -> io::Result<u64>,
) -> Result<Settled, Error> {
    let mut steps = Steps {
        data,
        before: || Ok(()),
    };
    steps.settle(format, free)
}

/// Removes what was kept for long enough. `now` may be wrong on a box without
/// a clock: a file from the future is kept.
///
/// # Errors
/// A folder that cannot be read or a file that cannot be removed.
pub fn tidy(data: &Path, now: SystemTime) -> Result<(), Error> {
    let entries = fs::read_dir(data).map_err(|e| Error::file("read", data, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::file("read", data, e))?;
        let name = entry.file_name();
        let keep = match name.to_str() {
            Some(name) if name.starts_with("snapshot-") => KEEP_SNAPSHOT,
            Some(name) if name.starts_with("replaced-") => KEEP_REPLACED,
            _ => continue,
        };
        let made = entry.metadata().and_then(|m| m.modified());
        let made = made.map_err(|e| Error::file("read", &entry.path(), e))?;
        if now.duration_since(made).is_ok_and(|age| age > keep) {
            fs::remove_dir_all(entry.path())
                .map_err(|e| Error::file("remove", &entry.path(), e))?;
        }
    }
    Ok(())
}

/// The steps, each preceded by `before`, through which tests cut the power.
struct Steps<'a, F> {
    data: &'a Path,
    before: F,
}

impl<F: FnMut() -> io::Result<()>> Steps<'_, F> {
    fn settle(
        &mut self,
        format: u32,
        free: impl FnOnce() -> io::Result<u64>,
    ) -> Result<Settled, Error> {
        let found = self.found()?.unwrap_or(format);
        let settled = match found.cmp(&format) {
            Ordering::Equal => Settled::Same,
            Ordering::Less => {
                self.keep(found, free)?;
                Settled::Kept { format: found }
            }
            Ordering::Greater => {
                self.put_back(format, found)?;
                Settled::Restored { from: found }
            }
        };
        self.set(format)?;
        self.finish()?;
        Ok(settled)
    }

    /// The store's format; `None` without a store.
    fn found(&self) -> Result<Option<u32>, Error> {
        let path = self.path(FORMAT);
        match secret_file::read(&path)? {
            Some(text) => {
                let format = text.trim().parse();
                format.map(Some).map_err(|_| Error::Settings {
                    path: path.display().to_string(),
                    reason: format!("{:?} is not a format number", text.trim()),
                })
            }
            None => Ok(self.path(STORE).exists().then_some(FIRST)),
        }
    }

    fn set(&mut self, format: u32) -> Result<(), Error> {
        let text = format!("{format}\n");
        if secret_file::read(&self.path(FORMAT))?.is_some_and(|there| there == text) {
            return Ok(());
        }
        self.step(FORMAT, |path| match secret_file::write(path, &text) {
            Err(Error::File { source, .. }) => Err(source),
            other => other.map_err(io::Error::other),
        })
    }

    /// Copies the store into a folder that appears whole. An older snapshot of
    /// the same format is of an earlier update: this store is newer.
    fn keep(&mut self, found: u32, free: impl FnOnce() -> io::Result<u64>) -> Result<(), Error> {
        let mut bytes = 0;
        for name in [STORE, LOG] {
            bytes += self.path(name).metadata().map_or(0, |m| m.len());
        }
        let snapshot = snapshot(found);
        self.step(&snapshot, remove)?;
        let free = free().map_err(|e| Error::file("look at", self.data, e))?;
        if free < bytes + RESERVE {
            return Err(Error::Space {
                needed: bytes + RESERVE,
                free,
            });
        }
        let new = format!("{snapshot}.new");
        self.step(&new, remove)?;
        let data = self.data.to_owned();
        self.step(&new, |new| copy_store(&data, new))?;
        let to = self.path(&snapshot);
        self.step(&new, |new| rename(new, &to))
    }

    /// Puts the snapshot of `ours` into the store's place; the store of format
    /// `found` goes into a folder of its own.
    fn put_back(&mut self, ours: u32, found: u32) -> Result<(), Error> {
        let from = self.path(&snapshot(ours));
        if !from.is_dir() {
            return Err(Error::NewerStore { found, ours });
        }
        let aside = format!("replaced-{found}.new");
        self.step(&aside, |path| match fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        })?;
        let aside = self.path(&aside);
        // The store goes last: once it is there, what lies in its place is the snapshot's.
        if !aside.join(STORE).exists() {
            for name in [LOG, STORE] {
                self.step(name, |path| move_if_there(path, &aside.join(name)))?;
            }
        }
        self.step(LOG_INDEX, remove)?;
        for name in [LOG, STORE] {
            let (from, new) = (from.join(name), format!("{name}.new"));
            if !from.exists() {
                continue;
            }
            self.step(&new, |new| copy(&from, new))?;
            let to = self.path(name);
            self.step(&new, |new| rename(new, &to))?;
        }
        Ok(())
    }

    /// A replaced store gets its last name only after the number has changed:
    /// until then [`Steps::put_back`] may be taken again and needs to know it.
    fn finish(&mut self) -> Result<(), Error> {
        let entries = fs::read_dir(self.data).map_err(|e| Error::file("read", self.data, e))?;
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.collect::<Vec<_>>() {
            let Some(last) = name
                .strip_suffix(".new")
                .filter(|n| n.starts_with("replaced-"))
            else {
                continue;
            };
            self.step(last, remove)?;
            let to = self.path(last);
            self.step(&name, |path| rename(path, &to))?;
        }
        Ok(())
    }

    fn step(&mut self, name: &str, act: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
        let path = self.path(name);
        (self.before)()
            .and_then(|()| act(&path))
            .map_err(|e| Error::file("write", &path, e))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }
}

/// Name of the folder with the snapshot of a format.
fn snapshot(format: u32) -> String {
    format!("snapshot-{format}")
}

fn copy_store(data: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for name in [STORE, LOG] {
        if data.join(name).exists() {
            copy(&data.join(name), &to.join(name))?;
        }
    }
    File::open(to)?.sync_all()
}

/// Copies a file and waits until the disk has it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
