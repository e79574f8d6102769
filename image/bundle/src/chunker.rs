//! Where a slot is cut into chunks. Part of the format: the box finds in its
//! running slot only what it cuts at the same places.
//!
//! The unit is the block, because the root file system is made of blocks: what
//! is inserted there moves the rest by whole blocks. Rules, for the block that
//! comes next:
//!
//! 1. Zeros and data do not mix for long. A run of zeros is a chunk of its own,
//!    cut where data begin or at [`MAX_ZERO`] blocks. A chunk of data ends
//!    after [`TAIL`] blocks of zeros in a row, and then the run begins.
//! 2. A chunk of data of at least [`MIN`] blocks ends after a block whose
//!    [`mark`] ends in [`MASK`] zero bits, and always at [`MAX_DATA`] blocks.
//!
//! The last chunk may be of any length.

use crate::limits::{BLOCK, MAX_CHUNK};
use std::io::{self, Read};

/// Blocks of the smallest chunk that a mark ends (64 KiB): below, a chunk's
/// row costs too much of what it saves.
pub const MIN: usize = 16;
/// Blocks of zeros after which a chunk of data ends (16 KiB).
pub const TAIL: usize = 4;
/// Blocks after which data are cut anywhere (1 MiB).
pub const MAX_DATA: usize = MAX_CHUNK as usize / BLOCK;
/// Blocks after which a run of zeros is cut (1 MiB).
pub const MAX_ZERO: usize = MAX_CHUNK as usize / BLOCK;
/// A block in 64 is marked, so chunks of data have some 300 KiB on average.
/// Smaller ones would cost less where little has changed and there is no delta,
/// but every update sends 64 bytes for each of them.
pub const MASK: u64 = 63;

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Wide steps: this runs over every byte of a slot on a slow processor.
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|b| *b == 0)
}

/// A number that depends on every byte of a block: its 64-bit little-endian
/// words multiplied and rotated into each other, ended by the mixing step of
/// SplitMix64. Not a cryptographic hash: who makes a slot may choose where it is cut.
pub fn mark(block: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, _) = block.as_chunks::<8>();
    let mut h = words.iter().fold(K, |h, word| {
        (h ^ u64::from_le_bytes(*word))
            .wrapping_mul(K)
            .rotate_left(29)
    });
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// Cuts what a reader gives. The reader's length must be whole blocks; an
/// incomplete block at the end is an error of kind `InvalidData`.
pub struct Chunker<R> {
    from: R,
    /// The block that begins the next chunk, if it was read already.
    ahead: Option<Box<[u8; BLOCK]>>,
}

impl<R: Read> Chunker<R> {
    /// Cuts what `from` gives.
    pub fn new(from: R) -> Self {
        Self { from, ahead: None }
    }

    /// Puts the next chunk into `chunk`; `false` at the end.
    ///
    /// # Errors
    ///
    /// The reader's, and `InvalidData` for an incomplete last block.
    pub fn next_into(&mut self, chunk: &mut Vec<u8>) -> io::Result<bool> {
        chunk.clear();
        let Some(first) = self.block()? else {
            return Ok(false);
        };
        let zeros = is_zero(&first[..]);
        chunk.extend(&first[..]);
        let mut blocks = 1;
        // Blocks of zeros at the end of a chunk of data.
        let mut tail = 0;
        let mut marked = mark(&first[..]) & MASK == 0;
        loop {
            let full = if zeros {
                blocks == MAX_ZERO
            } else {
                blocks == MAX_DATA || tail == TAIL || (blocks >= MIN && marked)
            };
            if full {
                return Ok(true);
            }
            let Some(block) = self.block()? else {
                return Ok(true);
            };
            let zero = is_zero(&block[..]);
            if zeros && !zero {
                self.ahead = Some(block);
                return Ok(true);
            }
            chunk.extend(&block[..]);
            blocks += 1;
            tail = if zero { tail + 1 } else { 0 };
            marked = !zero && mark(&block[..]) & MASK == 0;
        }
    }

    fn block(&mut self) -> io::Result<Option<Box<[u8; BLOCK]>>> {
        if let Some(block) = self.ahead.take() {
            return Ok(Some(block));
        }
        let mut block = Box::new([0; BLOCK]);
        let mut filled = 0;
        while filled < BLOCK {
            match self.from.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        match filled {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the last block is incomplete",
            )),
        }
    }
}
