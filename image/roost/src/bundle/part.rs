//! A part of a file, read as if it were a whole one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// A part of a file. Reading one does not move another of the same file.
#[derive(Debug)]
pub struct Part {
    file: File,
    start: u64,
    len: u64,
    at: u64,
}

impl Part {
    /// `len` bytes from `start` on.
    pub fn new(file: File, start: u64, len: u64) -> Self {
        Self {
            file,
            start,
            len,
            at: 0,
        }
    }

    /// The same part once more, with a place of its own to read from.
    pub fn again(&self) -> io::Result<Self> {
        let file = self.file.try_clone()?;
        Ok(Self::new(file, self.start, self.len))
    }

    /// All of a file.
    pub fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self::new(file, 0, len))
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.len.saturating_sub(self.at);
        let wanted = usize::try_from(rest).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let n = self
            .file
            .read_at(&mut buffer[..wanted], self.start + self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_part_begins_and_ends_where_it_was_said() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut part = Part::new(file.try_clone().unwrap(), 2, 5);
        let mut text = String::new();
        part.read_to_string(&mut text).unwrap();
        assert_eq!(text, "23456");
        assert_eq!(part.seek(SeekFrom::End(-2)).unwrap(), 3);
        let mut rest = [0; 4];
        assert_eq!(part.read(&mut rest).unwrap(), 2);
        assert_eq!(&rest[..2], b"56");
        part.seek(SeekFrom::Start(9)).unwrap();
        assert_eq!(part.read(&mut rest).unwrap(), 0);
        assert!(part.seek(SeekFrom::Current(-10)).is_err());
        assert_eq!(
            Part::whole(file).unwrap().seek(SeekFrom::End(0)).unwrap(),
            10
        );
    }
}
