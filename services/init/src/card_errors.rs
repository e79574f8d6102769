//! A card that fails while the box runs: what ext4 says of it.
//!
//! ext4 counts the errors that it meets, and wakes whoever polls the count
//! (`ext4_notify_error_sysfs`, kernel document admin-guide/abi: `/sys/fs/ext4/*/errors_count`).
//! With `errors=remount-ro` it writes nothing more from the first of them on.
//! Its being read-only is shown in no mount table that can be polled.

use crate::data;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// What the owner is told.
pub const FAILING: &str = "the card is failing: the data partition has errors and nothing more is \
     written to it; copy the mail you need, restart the box, which checks the card, and replace \
     the card if this comes again";

/// ext4's count of errors on the data partition.
#[derive(Debug)]
pub struct Errors {
    count: File,
    /// Of accidents before this mount, which the check at the start has seen to.
    before: u64,
}

impl Errors {
    /// Begins to count; the data must be mounted.
    ///
    /// # Errors
    /// When the kernel shows no count.
    pub fn open() -> io::Result<Self> {
        let device = rustix::fs::stat(data::MOUNT_POINT)?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let block = fs::read_link(format!("/sys/dev/block/{major}:{minor}"))?;
        let name = block.file_name().ok_or(io::ErrorKind::NotFound)?;
        let folder = std::path::Path::new("/sys/fs/ext4").join(name);
        let count = File::open(folder.join("errors_count"))?;
        let before = read(&count)?;
        Ok(Self { count, before })
    }

    /// Whether there was an error since; reading it also lets the descriptor wait for the next one.
    pub fn found(&self) -> bool {
        // A count that cannot be read any more says nothing about the card.
        read(&self.count).is_ok_and(|now| now > self.before)
    }
}

impl AsFd for Errors {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.count.as_fd()
    }
}

fn read(count: &File) -> io::Result<u64> {
    let mut text = [0; 32];
    let length = count.read_at(&mut text, 0)?;
    parse(&text[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        assert_eq!(parse(b"0\n"), Some(0));
        assert_eq!(parse(b"12\n"), Some(12));
        for junk in [&b""[..], b"-1\n", b"\xff", b"1 2"] {
            assert_eq!(parse(junk), None);
        }
    }
}
