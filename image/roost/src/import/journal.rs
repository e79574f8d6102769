//! What was moved already, so that an import that was interrupted goes on where it ended.
//!
//! One file for each pair of an old and a new mailbox, in the user's state folder. It is no truth, only
//! memory: a message that is not in it is compared with those in the new mailbox before it is put
//! there. Its lines count only for the very folders that they were written for: a box that was
//! reset has folders with other validities (RFC 3501, section 2.3.1.1), and gets everything again.

use crate::error::Failure;
use crate::store::disk_failure;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Digits of a line.
const DIGITS: usize = 32;

/// A message of one folder, on its way into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Line(u128);

impl Line {
    /// `folders` is all that tells this pair of folders from others, `message` what tells the message from
    /// those in the same folder.
    pub fn new(folders: &[u8], message: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [folders, message] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(
            hash.finalize()
                .iter()
                .take(16)
                .fold(0, |line, byte| line << 8 | u128::from(*byte)),
        )
    }
}

/// The memory of one import.
pub struct Journal {
    lines: HashSet<Line>,
    /// `None`: nothing is written down.
    file: Option<File>,
    path: PathBuf,
}

impl Journal {
    /// That of an import from `source` into `target`; for looking only, if nothing is moved.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if another import of the same kind is under way, or if the file cannot be used.
    pub fn open(source: &str, target: &str, moves: bool) -> Result<Self, Failure> {
        Self::open_in(&folder()?, source, target, moves)
    }

    fn open_in(folder: &Path, source: &str, target: &str, moves: bool) -> Result<Self, Failure> {
        let Line(name) = Line::new(source.as_bytes(), target.as_bytes());
        let path = folder.join(format!("{name:032x}"));
        let failed = |e| disk_failure("open", &path, e);
        if !moves {
            let lines = match File::open(&path) {
                Ok(mut file) => read(&mut file).map_err(failed)?.0,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => HashSet::new(),
                Err(e) => return Err(failed(e)),
            };
            return Ok(Self {
                lines,
                file: None,
                path,
            });
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(format!(
                    "another import from {source} into {target} is under way"
                ))
                .hint("wait for its end, or stop it"));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let (lines, whole) = read(&mut file).map_err(failed)?;
        if file.seek(SeekFrom::End(0)).map_err(failed)? == 0 {
            writeln!(
                file,
                "roost import from {source} into {target}: what was moved already"
            )
            .map_err(failed)?;
        } else if !whole {
            // The last one was cut off.
            writeln!(file).map_err(failed)?;
        }
        Ok(Self {
            lines,
            file: Some(file),
            path,
        })
    }

    /// Whether it was moved.
    pub fn has(&self, line: Line) -> bool {
        self.lines.contains(&line)
    }

    /// It was moved.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that cannot be written down.
    pub fn add(&mut self, line: Line) -> Result<(), Failure> {
        if self.lines.insert(line)
            && let Some(file) = &mut self.file
        {
            writeln!(file, "{:032x}", line.0).map_err(|e| disk_failure("write", &self.path, e))?;
        }
        Ok(())
    }
}

/// All lines, and whether the last one has its end.
fn read(file: &mut File) -> std::io::Result<(HashSet<Line>, bool)> {
    let mut lines = HashSet::new();
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut whole = true;
    while (&mut reader).take(4096).read_until(b'\n', &mut line)? > 0 {
        whole = line.ends_with(b"\n");
        let digits = line
            .strip_suffix(b"\n")
            .filter(|digits| digits.len() == DIGITS);
        let text = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        lines.extend(
            text.and_then(|text| u128::from_str_radix(text, 16).ok())
                .map(Line),
        );
        line.clear();
    }
    Ok((lines, whole))
}

/// `roost/import` in the user's state folder (XDG Base Directory Specification).
fn folder() -> Result<PathBuf, Failure> {
    let xdg = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|d| d.is_absolute());
    let home = || std::env::var_os("HOME").map(|h| Path::new(&h).join(".local/state"));
    xdg.or_else(home)
        .map(|d| d.join("roost/import"))
        .ok_or_else(|| {
            Failure::new("no folder to note down in what was moved: HOME is not set")
                .hint("set HOME or XDG_STATE_HOME")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_import_of_a_kind_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Journal::open_in(dir.path(), "a", "b", true).unwrap();
        let second = Journal::open_in(dir.path(), "a", "b", true)
            .err()
            .expect("it is locked");
        assert!(second.in_a_line().contains("under way"));
        Journal::open_in(dir.path(), "a", "c", true).unwrap();
        drop(first);
        Journal::open_in(dir.path(), "a", "b", true).unwrap();
    }

    proptest! {
        /// Wherever the file was cut off: no line that was whole is forgotten, and none is invented.
        #[test]
        fn a_journal_that_was_cut_off_keeps_all_whole_lines(count in 0usize..8, cut in 0usize..400) {
            let dir = tempfile::tempdir().unwrap();
            let line = |n: usize| Line::new(b"folders", &n.to_be_bytes());
            let mut journal = Journal::open_in(dir.path(), "a", "b", true).unwrap();
            for n in 0..count {
                journal.add(line(n)).unwrap();
            }
            let path = journal.path.clone();
            drop(journal);
            let length = std::fs::metadata(&path).unwrap().len();
            let cut = length.min(cut as u64);
            File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let whole = text.matches('\n').count().saturating_sub(1);
            let mut journal = Journal::open_in(dir.path(), "a", "b", true).unwrap();
            for n in 0..count {
                prop_assert_eq!(journal.has(line(n)), n < whole);
                journal.add(line(n)).unwrap();
            }
            drop(journal);
            let journal = Journal::open_in(dir.path(), "a", "b", true).unwrap();
            prop_assert!((0..count).all(|n| journal.has(line(n))));
            prop_assert!(!journal.has(line(count)));
        }
    }
}
