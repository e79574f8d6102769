//! The image on this machine: read from start to end, twice, and the same both times.

use super::card::{Finder, Place};
use crate::error::Failure;
use crate::store::disk_failure;
use roost_board::layout::{DATA_PARTITION, SECTOR};
use roost_board::mbr::Mbr;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Bytes read and written at a time: long enough for a card to be at its fastest.
pub const CHUNK: usize = 1 << 20;
/// How a file that zstd made begins (RFC 8878 section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A larger image is none of ours: with its table it says how much it would write.
const MAX_BYTES: u64 = 64 << 30;

/// A disk image as `roost build` makes it, packed by zstd or not.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    file: File,
    packed: bool,
    /// Where the data partition begins and ends, in bytes.
    data: (u64, u64),
    bytes: u64,
}

/// What a piece of the image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Zeros alone.
    Zero,
    /// Something with this SHA-256.
    Data([u8; 32]),
}

impl Content {
    /// What `bytes` hold.
    pub fn of(bytes: &[u8]) -> Self {
        if is_zero(bytes) {
            Self::Zero
        } else {
            Self::Data(Sha256::digest(bytes).into())
        }
    }
}

/// Whether there is nothing but zeros.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Sixteen at a time, which the compiler turns into wide instructions.
    let (wide, rest) = bytes.as_chunks::<16>();
    wide.iter().all(|part| u128::from_ne_bytes(*part) == 0) && rest.iter().all(|b| *b == 0)
}

/// What an image holds, once it was read to its end.
#[derive(Debug)]
pub struct Scan {
    /// Its pieces of [`CHUNK`] bytes; the last may be shorter.
    pub chunks: Vec<Content>,
    /// Where the card's own file goes.
    pub card: Place,
}

impl Image {
    /// Opens an image and reads its partition table.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be read or is no image.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let cannot = || Failure::new(format!("cannot use the image {}", path.display()));
        let unreadable = |e: std::io::Error| {
            cannot()
                .because(e)
                .hint("run `roost build` first, or name its image with --image")
        };
        let mut file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(cannot()
                .because("it is no file")
                .hint("name the disk image that `roost build` made, roost.img or roost.img.zst"));
        }
        let mut start = [0; 4];
        let packed = read_full(&mut file, &mut start).map_err(unreadable)? == 4 && start == ZSTD;
        let mut image = Self {
            path: path.to_owned(),
            file,
            packed,
            data: (0, 0),
            bytes: 0,
        };
        let none = |why: String| {
            cannot()
                .because(why)
                .hint("name the disk image that `roost build` made, roost.img or roost.img.zst")
        };
        let mut sector = [0; SECTOR as usize];
        let length = image
            .reader()
            .and_then(|mut reader| read_full(&mut reader, &mut sector))
            .map_err(unreadable)?;
        if length < sector.len() {
            return Err(none("it is shorter than a sector".into()));
        }
        let mbr = Mbr::from_bytes(&sector).map_err(|e| none(e.to_string()))?;
        let data = mbr
            .partition(DATA_PARTITION)
            .ok_or_else(|| none("it has no data partition".into()))?;
        image.data = (data.offset(), data.end() * SECTOR);
        image.bytes = mbr.end() * SECTOR;
        let aligned = |n: u64| n.is_multiple_of(super::card::BLOCK as u64);
        if !aligned(image.bytes) || !aligned(image.data.0) || image.bytes > MAX_BYTES {
            return Err(none("its partitions are not those of a box".into()));
        }
        Ok(image)
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the data partition begins and ends, in bytes.
    pub fn data(&self) -> (u64, u64) {
        self.data
    }

    /// Bytes of the disk that the image is of.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads it from the start, unpacked.
    fn reader(&self) -> std::io::Result<Box<dyn Read + '_>> {
        (&self.file).rewind()?;
        Ok(if self.packed {
            Box::new(zstd::Decoder::new(BufReader::with_capacity(
                CHUNK, &self.file,
            ))?)
        } else {
            Box::new(&self.file)
        })
    }

    /// Gives every piece of it to `each`, with its place in bytes, through `buffer` of [`CHUNK`].
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be read or has another length than its table says; else the
    /// first error of `each`.
    pub fn read<E: From<Failure>>(
        &self,
        buffer: &mut [u8],
        mut each: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let unreadable = |e| disk_failure("read", &self.path, e);
        let length = |why: &str| {
            Failure::new(format!("the image {} is damaged", self.path.display()))
                .because(why.to_owned())
                .hint("run `roost build` again, or copy the image again")
        };
        let mut reader = self.reader().map_err(unreadable)?;
        let mut at = 0;
        while at < self.bytes {
            let wanted = (self.bytes - at).min(CHUNK as u64) as usize;
            let piece = &mut buffer[..wanted];
            if read_full(&mut reader, piece).map_err(unreadable)? < wanted {
                return Err(length("it ends before its last partition does").into());
            }
            each(at, piece)?;
            at += wanted as u64;
        }
        // This is also where zstd compares its check sum.
        if read_full(&mut reader, &mut buffer[..1]).map_err(unreadable)? > 0 {
            return Err(length("it goes on behind its last partition").into());
        }
        Ok(())
    }

    /// Reads all of it, before anything is written; `each` hears of every place in bytes.
    ///
    /// # Errors
    ///
    /// A [`Failure`] as from [`Image::read`], or if it has no place for a card's own file.
    pub fn scan(&self, mut each: impl FnMut(u64) -> Result<(), Failure>) -> Result<Scan, Failure> {
        let (start, end) = self.data;
        let mut finder = Finder::new(start);
        let mut chunks = Vec::new();
        let mut buffer = vec![0; CHUNK];
        self.read(&mut buffer, |at, piece| {
            chunks.push(Content::of(piece));
            let inside = |place: u64| place.clamp(at, at + piece.len() as u64) - at;
            finder.feed(&piece[inside(start) as usize..inside(end) as usize]);
            each(at + piece.len() as u64)
        })?;
        let card = finder.only().map_err(|why| {
            Failure::new(format!(
                "the image {} cannot be given a name, a pairing code and a key",
                self.path.display()
            ))
            .because(why)
            .hint("run `roost build` again")
        })?;
        Ok(Scan { chunks, card })
    }
}

/// Reads until `buffer` is full or nothing more comes; says how much came.
///
/// # Errors
///
/// What reading says.
pub fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}

#[cfg(test)]
#[path = "image_tests.rs"]
pub mod tests;
