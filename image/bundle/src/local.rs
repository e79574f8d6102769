//! What a box has already: its running slot.

use crate::chunker::{Chunker, is_zero};
use crate::hash::Hash;
use crate::limits::{BLOCK, MAX_BASE};
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Where bytes of a bundle exist on the box. A wrong answer costs a refused
/// chunk and another plan, never a wrong slot: everything is checked when written.
pub trait Local {
    /// Where in the running slot a chunk with this hash and length lies.
    fn find(&mut self, hash: &Hash, len: u32) -> Option<u64>;
    /// Whether this range of the running slot has this hash.
    fn has_base(&mut self, start: u64, len: u32, hash: &Hash) -> bool;
}

/// Nothing is there, as on a box whose slots are of another kind.
impl Local for () {
    fn find(&mut self, _: &Hash, _: u32) -> Option<u64> {
        None
    }

    fn has_base(&mut self, _: u64, _: u32, _: &Hash) -> bool {
        false
    }
}

/// A chunk of a slot that was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub hash: Hash,
    pub at: u64,
    pub len: u32,
    pub zero: bool,
}

/// Cuts a slot and hashes its chunks.
pub(crate) fn pieces(slot: impl Read) -> io::Result<Vec<Piece>> {
    let mut chunker = Chunker::new(slot);
    let (mut chunk, mut pieces, mut at) = (Vec::new(), Vec::new(), 0);
    while chunker.next_into(&mut chunk)? {
        pieces.push(Piece {
            hash: Hash::of(&chunk),
            at,
            len: chunk.len() as u32,
            zero: is_zero(&chunk),
        });
        at += chunk.len() as u64;
    }
    Ok(pieces)
}

/// The running slot, read once from end to end and cut as the builder cuts.
pub struct ActiveSlot<R> {
    slot: R,
    chunks: HashMap<Hash, (u64, u32)>,
    /// Deltas of neighbours share a base range; each is read and hashed once.
    bases: HashMap<(u64, u32), Hash>,
}

impl<R: Read + Seek> ActiveSlot<R> {
    /// Reads the whole slot. `slot` must be whole blocks.
    ///
    /// # Errors
    ///
    /// The reader's.
    pub fn read(slot: R) -> io::Result<Self> {
        Self::read_first(slot, u64::MAX)
    }

    /// Reads the first `limit` bytes of the slot. What lies behind them is not
    /// found, and is sent like something that is not there.
    ///
    /// # Errors
    ///
    /// The reader's.
    pub fn read_first(mut slot: R, limit: u64) -> io::Result<Self> {
        slot.seek(SeekFrom::Start(0))?;
        let mut chunks = HashMap::new();
        let first = (&mut slot).take(limit - limit % BLOCK as u64);
        for piece in pieces(io::BufReader::with_capacity(1 << 17, first))? {
            chunks.entry(piece.hash).or_insert((piece.at, piece.len));
        }
        Ok(Self {
            slot,
            chunks,
            bases: HashMap::new(),
        })
    }

    /// Gives the slot back.
    pub fn into_inner(self) -> R {
        self.slot
    }
}

impl<R: Read + Seek> Local for ActiveSlot<R> {
    fn find(&mut self, hash: &Hash, len: u32) -> Option<u64> {
        let (at, found) = self.chunks.get(hash)?;
        (*found == len).then_some(*at)
    }

    fn has_base(&mut self, start: u64, len: u32, hash: &Hash) -> bool {
        if len > MAX_BASE {
            return false;
        }
        if let Some(known) = self.bases.get(&(start, len)) {
            return known == hash;
        }
        let mut base = vec![0; len as usize];
        let read = self
            .slot
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.slot.read_exact(&mut base));
        if read.is_err() {
            return false;
        }
        let known = Hash::of(&base);
        self.bases.insert((start, len), known);
        known == *hash
    }
}
