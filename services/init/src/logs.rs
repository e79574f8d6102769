//! Log lines of init and the services: rings in memory, a small copy on the data partition.

use crate::ring::Ring;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Folder of the copies.
const FOLDER: &str = "/data/log";
/// A file this long is renamed to `.1` (replacing that) and begun anew.
const FILE_LIMIT: u64 = 512 * 1024;
/// Lines are collected this long before they are written, to spare the card.
pub const SPILL_EVERY: Duration = Duration::from_secs(30);
/// More than this is not collected for one file; what is above it is in the ring only.
const PENDING_LIMIT: usize = 128 * 1024;
/// Records of the kernel's log that one request may read.
const KERNEL_RECORDS: usize = 20_000;

#[derive(Debug)]
struct Log {
    ring: Ring,
    pending: String,
}

/// All logs, by service name.
#[derive(Debug, Default)]
pub struct Logs {
    logs: BTreeMap<String, Log>,
    spilling: bool,
}

impl Logs {
    /// Keeps one line of `name`; `clock` is the time since 1970.
    pub fn push(&mut self, now: Duration, clock: Duration, name: &str, line: String) {
        let log = self.logs.entry(name.to_owned()).or_insert_with(|| Log {
            ring: Ring::new(now),
            pending: String::new(),
        });
        for line in log.ring.push(now, line) {
            if log.pending.len() + line.len() < PENDING_LIMIT {
                log.pending
                    .push_str(&format!("{} {line}\n", clock.as_secs()));
            }
        }
    }

    /// The last `count` lines of `name`; `None` if it never wrote any.
    pub fn last(&self, name: &str, count: usize) -> Option<Vec<String>> {
        self.logs.get(name).map(|log| log.ring.last(count))
    }

    /// `/data` is there: copies are written from now on.
    pub fn start_spilling(&mut self) {
        self.spilling = true;
    }

    /// Writes what has been collected. A failure loses those lines on the
    /// card; they stay in the ring, and the next write tries again.
    pub fn spill(&mut self) {
        if !self.spilling {
            return;
        }
        for (name, log) in self
            .logs
            .iter_mut()
            .filter(|(_, log)| !log.pending.is_empty())
        {
            let _ = append(
                &Path::new(FOLDER).join(format!("{name}.log")),
                log.pending.as_bytes(),
            );
            log.pending.clear();
        }
    }
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > FILE_LIMIT) {
        let mut old = PathBuf::from(path);
        old.set_extension("log.1");
        fs::rename(path, old)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .write_all(bytes)
}

/// The last `count` lines of the kernel's log, as `[seconds] text`.
pub fn kernel(count: usize) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::open("/dev/kmsg", flags, Mode::empty()) else {
        return Vec::new();
    };
    let file = File::from(fd);
    let mut lines = std::collections::VecDeque::new();
    let mut buffer = [0; 8192];
    for _ in 0..KERNEL_RECORDS {
        match rustix::io::read(&file, &mut buffer[..]) {
            Ok(length) => {
                if lines.len() >= count {
                    lines.pop_front();
                }
                lines.extend(kernel_line(&buffer[..length]));
            }
            // Overwritten while we read: go on with the oldest that is left.
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    lines.into()
}

/// One record of `/dev/kmsg`: `priority,sequence,microseconds,flags;text`, then
/// lines of details (kernel document ABI/testing/dev-kmsg).
pub fn kernel_line(record: &[u8]) -> Option<String> {
    let first = record.split(|&b| b == b'\n').next()?;
    let text = crate::ring::clean(first);
    let (head, text) = text.split_once(';')?;
    let microseconds: u64 = head.split(',').nth(2)?.parse().ok()?;
    Some(format!(
        "[{:5}.{:06}] {text}",
        microseconds / 1_000_000,
        microseconds % 1_000_000
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kernel_records() {
        assert_eq!(
            kernel_line(b"6,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=x\n")
                .as_deref(),
            Some("[    5.140900] NET: Registered protocol family 10")
        );
    }

    proptest! {
        #[test]
        fn junk_never_panics(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = kernel_line(&record);
        }
    }
}
