//! The two tables: what the slot is made of, and cheaper ways to get there.

use crate::error::{Error, Table};
use crate::hash::{Check, Hash};
use crate::limits::{BLOCK, CHUNK_ROW, DELTA_ROW, MAX_BASE, MAX_CHUNK, MAX_SLOT, max_stored};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

/// A piece of the slot. Pieces follow each other without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Hash of its bytes in the slot.
    pub hash: Hash,
    /// Check of its payload; [`Check::NONE`] without one.
    pub check: Check,
    /// Where its payload begins, counted from the first payload; 0 without one.
    pub payload: u64,
    /// Where it lies in the slot, in bytes. Not stored: the sum of the lengths before it.
    pub at: u64,
    /// Bytes in the slot; whole blocks, at most [`MAX_CHUNK`].
    pub len: u32,
    /// Bytes of its payload; 0 for zeros, which need none.
    pub stored: u32,
}

impl Chunk {
    /// Whether the chunk is all zeros.
    pub fn is_zero(&self) -> bool {
        self.stored == 0
    }
}

/// Another encoding of a chunk: a zstd frame that refers to bytes of the
/// running slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta {
    /// Hash of the base range.
    pub base_hash: Hash,
    /// Check of the payload.
    pub check: Check,
    /// Where the base range begins in the running slot, in bytes; whole blocks.
    pub base: u64,
    /// Where the payload begins, counted from the first payload.
    pub payload: u64,
    /// The chunk, as its row in the chunk table.
    pub chunk: u32,
    /// Bytes of the base range; whole blocks, at most [`MAX_BASE`].
    pub base_len: u32,
    /// Bytes of the payload.
    pub stored: u32,
}

/// Both tables of a bundle. Every range in them is within bounds, the chunks
/// fill the slot exactly, and every payload byte belongs to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    chunks: Vec<Chunk>,
    deltas: Vec<Delta>,
}

impl Tables {
    /// The chunks in the order of the slot.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The deltas in the order of their chunks.
    pub fn deltas(&self) -> &[Delta] {
        &self.deltas
    }

    /// Bytes of the slot.
    pub fn slot_bytes(&self) -> u64 {
        self.chunks.last().map_or(0, |c| c.at + u64::from(c.len))
    }

    /// The deltas of a chunk.
    pub fn deltas_of(&self, chunk: usize) -> impl Iterator<Item = (usize, &Delta)> {
        let first = self.deltas.partition_point(|d| (d.chunk as usize) < chunk);
        self.deltas
            .iter()
            .enumerate()
            .skip(first)
            .take_while(move |(_, d)| d.chunk as usize == chunk)
    }

    /// Reads both tables; `chunks` and `deltas` are whole rows within the limits.
    pub(crate) fn parse(
        slot_bytes: u64,
        payload_bytes: u64,
        chunks: &[u8],
        deltas: &[u8],
    ) -> Result<Self, Error> {
        let mut at = 0;
        let mut parsed = Vec::with_capacity(chunks.len() / CHUNK_ROW);
        for row in chunks.chunks_exact(CHUNK_ROW) {
            let chunk = read_chunk(row, at);
            at += u64::from(chunk.len);
            parsed.push(chunk);
        }
        let tables = Self {
            chunks: parsed,
            deltas: deltas.chunks_exact(DELTA_ROW).map(read_delta).collect(),
        };
        tables.check_chunks(slot_bytes, payload_bytes)?;
        tables.check_deltas(payload_bytes)?;
        tables.check_payloads(payload_bytes)?;
        Ok(tables)
    }

    fn check_chunks(&self, slot_bytes: u64, payload_bytes: u64) -> Result<(), Error> {
        let zeros = zero_hashes();
        let mut seen: HashMap<Hash, &Chunk> = HashMap::new();
        for (row, chunk) in self.chunks.iter().enumerate() {
            let fault = |why| {
                Err(Error::Row {
                    table: Table::Chunks,
                    row,
                    why,
                })
            };
            if !whole_blocks(chunk.len, MAX_CHUNK) {
                return fault("its length is not whole blocks up to 1 MiB");
            }
            if chunk.is_zero() {
                if chunk.payload != 0 || chunk.check != Check::NONE {
                    return fault("it has no payload, but names one");
                }
                if zeros[chunk.len as usize / BLOCK - 1] != chunk.hash {
                    return fault("it has no payload, but its hash is not that of zeros");
                }
            } else if !payload_fits(chunk.payload, chunk.stored, chunk.len, payload_bytes) {
                return fault("its payload is too long or outside of the bundle");
            }
            let first = seen.entry(chunk.hash).or_insert(chunk);
            let key = |c: &Chunk| (c.len, c.stored, c.payload, c.check.0);
            if key(first) != key(chunk) {
                return fault("it differs from an earlier row with the same hash");
            }
        }
        if self.slot_bytes() != slot_bytes {
            return Err(Error::Tables {
                why: "the chunks together are not as long as the slot",
            });
        }
        Ok(())
    }

    fn check_deltas(&self, payload_bytes: u64) -> Result<(), Error> {
        let mut before = 0;
        for (row, delta) in self.deltas.iter().enumerate() {
            let fault = |why| {
                Err(Error::Row {
                    table: Table::Deltas,
                    row,
                    why,
                })
            };
            let Some(chunk) = self.chunks.get(delta.chunk as usize) else {
                return fault("its chunk does not exist");
            };
            if delta.chunk < before {
                return fault("it is not in the order of the chunks");
            }
            before = delta.chunk;
            if !whole_blocks(delta.base_len, MAX_BASE) {
                return fault("its base range is not whole blocks up to 4 MiB");
            }
            let end = delta.base.checked_add(delta.base_len.into());
            if !delta.base.is_multiple_of(BLOCK as u64) || end.is_none_or(|end| end > MAX_SLOT) {
                return fault("its base range cannot lie in a slot");
            }
            if !payload_fits(delta.payload, delta.stored, chunk.len, payload_bytes) {
                return fault("its payload is too long or outside of the bundle");
            }
        }
        Ok(())
    }

    /// Payloads lie one behind the other from 0 to the end: none overlaps
    /// another, and there is no byte that no hash covers.
    fn check_payloads(&self, payload_bytes: u64) -> Result<(), Error> {
        let chunks = self.chunks.iter().filter(|c| !c.is_zero());
        let ranges: BTreeSet<(u64, u32)> = chunks
            .map(|c| (c.payload, c.stored))
            .chain(self.deltas.iter().map(|d| (d.payload, d.stored)))
            .collect();
        let mut end = 0;
        for (start, len) in ranges {
            if start != end {
                return Err(Error::Tables {
                    why: "the payloads overlap or leave gaps",
                });
            }
            end += u64::from(len);
        }
        if end != payload_bytes {
            return Err(Error::Tables {
                why: "the payloads together are not as long as the manifest says",
            });
        }
        Ok(())
    }
}

fn whole_blocks(len: u32, max: u32) -> bool {
    len != 0 && len <= max && len.is_multiple_of(BLOCK as u32)
}

/// Whether a payload of `stored` bytes can hold `len` bytes and lies in the bundle.
fn payload_fits(start: u64, stored: u32, len: u32, payload_bytes: u64) -> bool {
    stored != 0
        && stored <= max_stored(len)
        && start
            .checked_add(stored.into())
            .is_some_and(|end| end <= payload_bytes)
}

/// Hashes of 1, 2, … blocks of zeros, up to the longest chunk.
fn zero_hashes() -> Vec<Hash> {
    let mut running = Sha256::new();
    (0..MAX_CHUNK as usize / BLOCK)
        .map(|_| {
            running.update([0; BLOCK]);
            Hash(running.clone().finalize().into())
        })
        .collect()
}

/// Takes fields off the front of a row.
struct Row<'a>(&'a [u8]);

impl Row<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            // Rows come from `chunks_exact` of the sum of the fields.
            None => [0; N],
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

fn read_chunk(row: &[u8], at: u64) -> Chunk {
    let mut row = Row(row);
    Chunk {
        hash: Hash(row.take()),
        check: Check(row.take()),
        payload: row.u64(),
        at,
        len: row.u32(),
        stored: row.u32(),
    }
}

fn read_delta(row: &[u8]) -> Delta {
    let mut row = Row(row);
    Delta {
        base_hash: Hash(row.take()),
        check: Check(row.take()),
        base: row.u64(),
        payload: row.u64(),
        chunk: row.u32(),
        base_len: row.u32(),
        stored: row.u32(),
    }
}

/// The chunk table's bytes.
pub(crate) fn encode_chunks(chunks: &[Chunk]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunks.len() * CHUNK_ROW);
    for chunk in chunks {
        out.extend(chunk.hash.0);
        out.extend(chunk.check.0);
        out.extend(chunk.payload.to_le_bytes());
        out.extend(chunk.len.to_le_bytes());
        out.extend(chunk.stored.to_le_bytes());
    }
    out
}

/// The delta table's bytes.
pub(crate) fn encode_deltas(deltas: &[Delta]) -> Vec<u8> {
    let mut out = Vec::with_capacity(deltas.len() * DELTA_ROW);
    for delta in deltas {
        out.extend(delta.base_hash.0);
        out.extend(delta.check.0);
        out.extend(delta.base.to_le_bytes());
        out.extend(delta.payload.to_le_bytes());
        out.extend(delta.chunk.to_le_bytes());
        out.extend(delta.base_len.to_le_bytes());
        out.extend(delta.stored.to_le_bytes());
    }
    out
}
