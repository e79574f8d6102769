//! Logs on the card: writing them, and reading those of earlier boots.
//!
//! | file in `/data/log` | a line of it | at most |
//! |---|---|---|
//! | `NAME.log`, `NAME.log.1` | `= boot` before lines of that boot; `number milliseconds text` | 512 KiB each |
//! | `boots` | `boot began set`: when that boot's kernel started, in ms since 1970, and whether the clock was set by then | 16 KiB |
//!
//! A line has the time since the start of its boot, so it gets its right time
//! when that boot's clock is set, also when the line was on the card before.
//!
//! Every file only grows at its end, by one write, and a line counts from its
//! line feed on: what a power cut or a full card leaves behind the last one is
//! cut off before more is written, and passed over when reading. A batch that
//! was written half and is written again has the numbers of the first half
//! twice; the reader takes each once. A file that would become too long takes
//! the place of its `.1` first. All of a batch is synced at once.
//!
//! Both happen in children of init (`init --spill`, `init --recall`, what to do on
//! their standard input), because a card may take seconds and PID 1 waits for nothing.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// Folder of the logs.
const FOLDER: &str = "/data/log";
/// Longest log file; with its `.1` a log has twice that, and the dozen of a box 12 MiB.
pub const FILE_LIMIT: u64 = 512 * 1024;
/// Longest list of boots: some three hundred.
pub const BOOTS_LIMIT: u64 = 16 * 1024;
/// Boots that stay when the list is written anew.
const BOOTS_KEPT: usize = 100;
/// Bytes that may follow a file's last line feed: what one batch may have.
const TAIL: u64 = 64 * 1024;
/// Longest answer, bytes of text.
const RECALL_LIMIT: usize = 512 * 1024;
const BOOTS: &str = "boots";

/// One start of the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The kernel's number for it, without dashes.
    pub id: String,
    /// When its kernel started: milliseconds since 1970, as far as is known.
    pub began_ms: u64,
    /// Whether the clock was set from a time server.
    pub set: bool,
}

/// A line on its way to the card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the log of its boot.
    pub number: u64,
    /// Milliseconds since the kernel's start.
    pub at_ms: u64,
    /// The text, without control characters.
    pub text: String,
}

/// What is written at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The running boot.
    pub boot: Boot,
    /// Lines by the log's name.
    pub logs: BTreeMap<String, Vec<Record>>,
}

/// What somebody wants to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The log.
    pub name: String,
    /// The running boot, whose lines init has itself.
    pub running: Boot,
    /// How many boots ago; `None`: of all before the running one.
    pub boot: Option<u32>,
    /// How many lines at most.
    pub lines: usize,
}

/// The folder, as far as it is used: what tests cut the power of.
pub trait Medium {
    /// A file's length; 0 if there is none.
    fn length(&mut self, name: &str) -> io::Result<u64>;
    /// A file's bytes from there on; none if there is no file.
    fn read(&mut self, name: &str, from: u64) -> io::Result<Vec<u8>>;
    /// Puts bytes behind a file's end.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Takes away what is behind this length.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// Gives a file the name of another, which is gone.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Returns when all is on the card.
    fn sync(&mut self) -> io::Result<()>;
}

/// Writes a batch.
///
/// # Errors
/// The medium's; then the batch may be written again as a whole.
pub fn write(medium: &mut impl Medium, batch: &Batch) -> io::Result<()> {
    let known = boots(&read_text(medium, BOOTS)?);
    let last = known.iter().find(|boot| boot.id == batch.boot.id);
    // The clock is corrected by some milliseconds all the time.
    let news = last.is_none_or(|last| {
        last.set != batch.boot.set || last.began_ms.abs_diff(batch.boot.began_ms) > 1000
    });
    if news {
        let entry = entry(&batch.boot);
        mend(medium, BOOTS)?;
        if medium.length(BOOTS)? + entry.len() as u64 > BOOTS_LIMIT {
            let kept = known.iter().skip(known.len().saturating_sub(BOOTS_KEPT));
            let text: String = kept.map(self::entry).collect();
            let new = format!("{BOOTS}.new");
            medium.truncate(&new, 0)?;
            medium.append(&new, text.as_bytes())?;
            medium.sync()?;
            medium.rename(&new, BOOTS)?;
        }
        medium.append(BOOTS, entry.as_bytes())?;
    }
    for (name, records) in &batch.logs {
        let file = format!("{name}.log");
        let mut text = format!("= {}\n", batch.boot.id);
        for Record {
            number,
            at_ms,
            text: line,
        } in records
        {
            text.push_str(&format!("{number} {at_ms} {line}\n"));
        }
        mend(medium, &file)?;
        if medium.length(&file)? + text.len() as u64 > FILE_LIMIT {
            medium.rename(&file, &format!("{file}.1"))?;
        }
        medium.append(&file, text.as_bytes())?;
    }
    medium.sync()
}

/// Cuts off what is behind the last line feed.
fn mend(medium: &mut impl Medium, name: &str) -> io::Result<()> {
    let length = medium.length(name)?;
    let from = length.saturating_sub(TAIL);
    let tail = medium.read(name, from)?;
    let whole = tail
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |at| at + 1);
    if whole < tail.len() {
        medium.truncate(name, from + whole as u64)?;
    }
    Ok(())
}

fn entry(boot: &Boot) -> String {
    format!("{} {} {}\n", boot.id, boot.began_ms, u8::from(boot.set))
}

fn read_text(medium: &mut impl Medium, name: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&medium.read(name, 0)?).into_owned())
}

/// Lines that have their line feed.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    let end = text.rfind('\n').map_or(0, |at| at + 1);
    text[..end].lines()
}

/// The boots of a list, the newest last, each as it was written last.
fn boots(text: &str) -> Vec<Boot> {
    let mut boots: Vec<Boot> = Vec::new();
    for line in whole_lines(text) {
        let mut words = line.split(' ');
        let (Some(id), Some(Ok(began_ms)), Some(set), None) = (
            words.next(),
            words.next().map(str::parse),
            words.next().filter(|set| ["0", "1"].contains(set)),
            words.next(),
        ) else {
            continue;
        };
        let boot = Boot {
            id: id.to_owned(),
            began_ms,
            set: set == "1",
        };
        match boots.iter_mut().find(|known| known.id == boot.id) {
            Some(known) => *known = boot,
            None => boots.push(boot),
        }
    }
    boots
}

/// A file's lines by boot, each number once.
fn lines(text: &str) -> Vec<(&str, u64, &str)> {
    let mut found: Vec<(&str, u64, &str)> = Vec::new();
    let mut boot = None;
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for line in whole_lines(text) {
        if let Some(id) = line.strip_prefix("= ") {
            boot = Some(id);
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (Some(id), Some(Ok(number)), Some(Ok(at)), Some(text)) = (
            boot,
            words.next().map(str::parse::<u64>),
            words.next().map(str::parse::<u64>),
            words.next(),
        ) else {
            continue;
        };
        if seen.get(id).is_none_or(|&last| number > last) {
            seen.insert(id, number);
            found.push((id, at, text));
        }
    }
    found
}

/// The last lines of earlier boots, oldest first, as they are shown. Of all boots, a line says
/// where each begins.
///
/// # Errors
/// The medium's.
pub fn recall(medium: &mut impl Medium, wanted: &Wanted) -> io::Result<Vec<String>> {
    let mut known = boots(&read_text(medium, BOOTS)?);
    known.retain(|boot| boot.id != wanted.running.id);
    let file = format!("{}.log", wanted.name);
    let text = read_text(medium, &format!("{file}.1"))? + &read_text(medium, &file)?;
    let one = match wanted.boot {
        Some(ago) => {
            let place = known.len().checked_sub(ago as usize);
            let Some(boot) = place.and_then(|place| known.get(place)) else {
                return Ok(Vec::new());
            };
            Some(boot.id.clone())
        }
        None => None,
    };
    let mut told: Vec<String> = Vec::new();
    let mut at = None;
    for (id, at_ms, text) in lines(&text) {
        if id == wanted.running.id || one.as_deref().is_some_and(|one| one != id) {
            continue;
        }
        let unknown = Boot {
            id: id.to_owned(),
            began_ms: 0,
            set: false,
        };
        let boot = known.iter().find(|boot| boot.id == id).unwrap_or(&unknown);
        if one.is_none() && at != Some(id) {
            at = Some(id);
            told.push(boot.heading());
        }
        told.push(boot.show(Duration::from_millis(at_ms), text));
    }
    let mut bytes = 0;
    let fitting = told.iter().rev().take(wanted.lines).take_while(|line| {
        bytes += line.len() + 1;
        bytes <= RECALL_LIMIT
    });
    let from = told.len() - fitting.count();
    Ok(told.split_off(from))
}

impl Boot {
    /// What stands before its lines where there are those of several.
    pub fn heading(&self) -> String {
        if self.set {
            let began = roost_service::stamp::utc(Duration::from_millis(self.began_ms));
            format!("-- the box was started, {began} --")
        } else {
            "-- the box was started, and its clock not set --".into()
        }
    }
}

/// `/data/log`.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Default for Disk {
    fn default() -> Self {
        Self(FOLDER.into())
    }
}

impl Medium for Disk {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        match fs::metadata(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            found => Ok(found?.len()),
        }
    }

    fn read(&mut self, name: &str, from: u64) -> io::Result<Vec<u8>> {
        let mut file = match File::open(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        // A file of an earlier version may be longer than ours get.
        file.take(4 * FILE_LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.0.join(name))?
            .write_all(bytes)
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        match OpenOptions::new().write(true).open(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            file => file?.set_len(length),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync(&mut self) -> io::Result<()> {
        // One commit of the file system's journal for all files.
        Ok(rustix::fs::syncfs(File::open(&self.0)?)?)
    }
}

/// The child program that writes; returns the exit status. Its last line is the reason of a failure.
pub fn main() -> i32 {
    act(
        |batch: Batch| write(&mut Disk::default(), &batch),
        "write logs",
    )
}

/// The child program that reads; it prints the lines.
pub fn recall_main() -> i32 {
    let print = |wanted: Wanted| {
        let mut text = recall(&mut Disk::default(), &wanted)?.join("\n");
        text.push('\n');
        io::stdout().write_all(text.as_bytes())
    };
    act(print, "read logs")
}

fn act<T: serde::de::DeserializeOwned>(what: impl FnOnce(T) -> io::Result<()>, name: &str) -> i32 {
    let input = serde_json::from_reader(io::stdin().lock()).map_err(io::Error::from);
    match input.and_then(what) {
        Ok(()) => 0,
        Err(error) => {
            println!("cannot {name}: {error}");
            1
        }
    }
}

#[cfg(test)]
#[path = "spill_tests.rs"]
mod tests;
