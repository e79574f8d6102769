//! Making a bundle from a slot image.

use crate::envelope::seal;
use crate::error::Error;
use crate::hash::{Check, Hash};
use crate::keys::SigningKey;
use crate::limits::{
    BLOCK, DELTA_ROW, MAX_BASE, MAX_CHUNK, MAX_CHUNKS, MAX_DELTAS, MAX_MANIFEST, MAX_SLOT,
};
use crate::local::{Piece, pieces};
use crate::manifest::{Manifest, Release, Slot, TableRef};
use crate::parallel;
use crate::payload::{pack, unpack_frame};
use crate::tables::{Chunk, Delta, Tables, encode_chunks, encode_deltas};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// zstd level of payloads. A bundle is packed once, and every byte of it
/// crosses a home's upload; unpacking is as fast as at any level.
const LEVEL: i32 = 19;
/// zstd level of deltas: a fourteenth of the time of [`LEVEL`], which takes a
/// second per MiB of base range, for 8 % more bytes (measured on the mail server).
const DELTA_LEVEL: i32 = 12;
/// Chunks packed between two reads of the slot: enough for all cores, few
/// enough that their bases (at most 4 MiB each) fit in memory.
const BATCH: usize = 32;
/// Bytes taken into a base range on both sides of where the old text of a
/// chunk is expected: chunks are cut elsewhere in the old slot.
const MARGIN: u64 = 64 << 10;
/// Bytes on both sides of the expected place if the changed region is too long
/// to be a base as a whole. A quarter of it all, because packing time grows with it.
const REACH: u64 = MAX_BASE as u64 / 4;

/// Why no bundle was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The caller's reader or writer failed.
    #[error("cannot access the {what}")]
    Io {
        /// What was read or written.
        what: &'static str,
        /// The caller's error.
        source: io::Error,
    },
    /// The slot image cannot be in a bundle.
    #[error(
        "the slot image has {found} bytes; whole blocks of {BLOCK} up to {MAX_SLOT} are possible"
    )]
    SlotLength {
        /// Its bytes.
        found: u64,
    },
    /// More rows than the format has.
    #[error("the slot image needs {found} chunks; {MAX_CHUNKS} are possible")]
    Chunks {
        /// How many it needs.
        found: usize,
    },
    /// The new key is the present one.
    #[error("the new key is the key that signs already")]
    SameKey,
    /// The description breaks the format.
    #[error("the bundle's manifest cannot be used: {why}")]
    Manifest {
        /// The first fault.
        why: String,
    },
    /// zstd failed.
    #[error("cannot pack a chunk")]
    Pack(#[source] io::Error),
    /// The tables made break the format: a fault of this crate.
    #[error("the tables made are not valid")]
    Tables(#[source] Error),
}

/// What a bundle was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows of the chunk table.
    pub chunks: usize,
    /// Rows of the delta table.
    pub deltas: usize,
    /// Bytes of header, signatures, manifest and tables.
    pub head: u64,
    /// Bytes of the chunks' payloads.
    pub plain: u64,
    /// Bytes of the deltas' payloads.
    pub delta: u64,
}

/// Makes bundles. Equal input, keys, settings and known payloads give equal
/// bytes, on any number of threads.
pub struct Builder<'a> {
    release: Release,
    root_hash: Hash,
    key: &'a SigningKey,
    new_key: Option<&'a SigningKey>,
    level: i32,
    threads: usize,
    progress: &'a (dyn Fn(u64, u64) + Sync),
    known: &'a (dyn Fn(&Hash) -> Option<Vec<u8>> + Sync),
}

impl<'a> Builder<'a> {
    /// A bundle of this release, signed with `key`. `root_hash` is the root
    /// hash of dm-verity in the slot.
    pub fn new(release: Release, root_hash: Hash, key: &'a SigningKey) -> Self {
        Self {
            release,
            root_hash,
            key,
            new_key: None,
            level: LEVEL,
            threads: 1,
            progress: &|_, _| {},
            known: &|_| None,
        }
    }

    /// Signs with `key` too, and tells the box to trust it from now on.
    #[must_use]
    pub fn new_key(mut self, key: &'a SigningKey) -> Self {
        self.new_key = Some(key);
        self
    }

    /// zstd level of the chunks' payloads, 1 to 22, and at most that of the deltas; 19
    /// if not called. Decides the bytes.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }

    /// Threads that pack; 1 if not called. Does not decide the bytes.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Asked for the plain payload of a chunk before it is packed: that of an
    /// earlier bundle serves again. It is used if it unpacks to the chunk.
    #[must_use]
    pub fn known(mut self, payload: &'a (dyn Fn(&Hash) -> Option<Vec<u8>> + Sync)) -> Self {
        self.known = payload;
        self
    }

    /// Called by each thread after a piece of work with the bytes that are packed
    /// and those that will be; the longer a delta's base range, the more it counts.
    #[must_use]
    pub fn progress(mut self, tell: &'a (dyn Fn(u64, u64) + Sync)) -> Self {
        self.progress = tell;
        self
    }

    /// Writes the bundle for `slot` to `out`. For boxes that run one of
    /// `bases`, it has deltas where those are clearly smaller. All are whole
    /// images, read from their start; memory: all payloads.
    ///
    /// # Errors
    ///
    /// [`BuildError::Io`] with the caller's error; all others before the first
    /// byte is written.
    pub fn write<R: Read + Seek>(
        &self,
        slot: &mut R,
        bases: &mut [R],
        out: &mut impl Write,
    ) -> Result<Summary, BuildError> {
        if self
            .new_key
            .is_some_and(|new| new.public() == self.key.public())
        {
            return Err(BuildError::SameKey);
        }
        let bytes = length(slot, "slot image")?;
        if bytes == 0 || bytes > MAX_SLOT || !bytes.is_multiple_of(BLOCK as u64) {
            return Err(BuildError::SlotLength { found: bytes });
        }
        let found = cut(slot, "slot image")?;
        if found.len() > MAX_CHUNKS as usize {
            return Err(BuildError::Chunks { found: found.len() });
        }
        let mut seen = HashSet::new();
        let distinct: Vec<&Piece> = found
            .iter()
            .filter(|piece| !piece.zero && seen.insert(piece.hash))
            .collect();
        let mut ranges = Vec::new();
        for base in bases.iter_mut() {
            let bytes = length(base, "base image")?;
            if bytes > MAX_SLOT || !bytes.is_multiple_of(BLOCK as u64) {
                return Err(BuildError::SlotLength { found: bytes });
            }
            ranges.push(base_ranges(&found, &cut(base, "base image")?, bytes));
        }
        let plain = distinct.iter().map(|piece| u64::from(piece.len));
        let deltas = ranges
            .iter()
            .flatten()
            .map(|(row, _, len)| len + u64::from(found[*row].len));
        let work = Work {
            done: AtomicU64::new(0),
            all: plain.chain(deltas).sum(),
            tell: self.progress,
        };

        let mut payloads = Vec::new();
        let chunks = self.pack_chunks(slot, &found, &distinct, &work, &mut payloads)?;
        let plain = payloads.len() as u64;
        let mut deltas = Vec::new();
        for (base, ranges) in bases.iter_mut().zip(&ranges) {
            self.pack_deltas(
                slot,
                &chunks,
                base,
                ranges,
                &work,
                &mut deltas,
                &mut payloads,
            )?;
        }
        // By chunk; the payloads stay in the order in which they were made.
        deltas.sort_by_key(|d| (d.chunk, d.payload));

        let (chunk_table, delta_table) = (encode_chunks(&chunks), encode_deltas(&deltas));
        let manifest = Manifest {
            release: self.release.clone(),
            slot: Slot {
                bytes,
                root_hash: self.root_hash,
            },
            chunks: table_ref(chunks.len(), &chunk_table),
            deltas: table_ref(deltas.len(), &delta_table),
            payload_bytes: payloads.len() as u64,
            new_key: self.new_key.map(SigningKey::public),
        };
        manifest
            .check()
            .map_err(|why| BuildError::Manifest { why })?;
        let json = serde_json::to_vec(&manifest)
            .map_err(|e| BuildError::Manifest { why: e.to_string() })?;
        if json.len() > MAX_MANIFEST as usize {
            return Err(BuildError::Manifest {
                why: format!("it has {} bytes; {MAX_MANIFEST} are possible", json.len()),
            });
        }
        Tables::parse(bytes, len64(&payloads), &chunk_table, &delta_table)
            .map_err(BuildError::Tables)?;

        let keys: Vec<&SigningKey> = [Some(self.key), self.new_key]
            .into_iter()
            .flatten()
            .collect();
        let envelope = seal(&json, &keys);
        for part in [&envelope, &chunk_table, &delta_table, &payloads] {
            out.write_all(part).map_err(|source| BuildError::Io {
                what: "bundle",
                source,
            })?;
        }
        Ok(Summary {
            chunks: chunks.len(),
            deltas: deltas.len(),
            head: (envelope.len() + chunk_table.len() + delta_table.len()) as u64,
            plain,
            delta: payloads.len() as u64 - plain,
        })
    }

    /// The chunk table. Equal chunks share the payload of the first.
    fn pack_chunks<R: Read + Seek>(
        &self,
        slot: &mut R,
        found: &[Piece],
        distinct: &[&Piece],
        work: &Work<'_>,
        payloads: &mut Vec<u8>,
    ) -> Result<Vec<Chunk>, BuildError> {
        let mut packed: HashMap<Hash, (Check, u64, u32)> = HashMap::new();
        for batch in distinct.chunks(BATCH) {
            let mut read = Vec::with_capacity(batch.len());
            for piece in batch {
                let raw = read_at(slot, piece.at, piece.len.into(), "slot image")?;
                read.push((raw, piece.hash));
            }
            let stored = parallel::map(&read, self.threads, |(raw, hash)| {
                let right = |stored: &Vec<u8>| {
                    unpack_frame(stored, &[], raw.len()).is_ok_and(|unpacked| unpacked == *raw)
                };
                let stored = match (self.known)(hash).filter(right) {
                    Some(known) => Ok(known),
                    None => pack(raw, &[], self.level),
                };
                work.done(raw.len());
                stored
            });
            for (piece, stored) in batch.iter().zip(stored) {
                let stored = stored.map_err(BuildError::Pack)?;
                let place = (Check::of(&stored), len64(payloads), stored.len() as u32);
                packed.insert(piece.hash, place);
                payloads.extend(stored);
            }
        }
        Ok(found
            .iter()
            .map(|piece| {
                let place = packed.get(&piece.hash).copied();
                let (check, payload, stored) = place.unwrap_or((Check::NONE, 0, 0));
                Chunk {
                    hash: piece.hash,
                    check,
                    payload,
                    at: piece.at,
                    len: piece.len,
                    stored,
                }
            })
            .collect())
    }

    /// Adds a delta for every chunk that `base` does not have and that is
    /// clearly smaller this way.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of them are parts of one bundle"
    )]
    fn pack_deltas<R: Read + Seek>(
        &self,
        slot: &mut R,
        chunks: &[Chunk],
        base: &mut R,
        ranges: &[(usize, u64, u64)],
        work: &Work<'_>,
        deltas: &mut Vec<Delta>,
        payloads: &mut Vec<u8>,
    ) -> Result<(), BuildError> {
        for batch in ranges.chunks(BATCH) {
            let mut read = Vec::with_capacity(batch.len());
            for (row, start, len) in batch {
                let chunk = &chunks[*row];
                let raw = read_at(slot, chunk.at, chunk.len.into(), "slot image")?;
                let base = read_at(base, *start, *len, "base image")?;
                read.push((raw, base, chunk.stored));
            }
            let packed = parallel::map(&read, self.threads, |(raw, base, plain)| {
                let stored = self.pack_delta(raw, base, *plain);
                work.done(raw.len() + base.len());
                stored
            });
            for (((row, start, len), (_, base, _)), stored) in batch.iter().zip(&read).zip(packed) {
                let Some(stored) = stored.map_err(BuildError::Pack)? else {
                    continue;
                };
                if deltas.len() == MAX_DELTAS as usize {
                    return Ok(());
                }
                deltas.push(Delta {
                    base_hash: Hash::of(base),
                    check: Check::of(&stored),
                    base: *start,
                    payload: len64(payloads),
                    chunk: *row as u32,
                    base_len: *len as u32,
                    stored: stored.len() as u32,
                });
                payloads.extend(stored);
            }
        }
        Ok(())
    }

    /// The delta, if it is clearly smaller than the plain payload: with its row, at most three quarters.
    fn pack_delta(&self, raw: &[u8], base: &[u8], plain: u32) -> io::Result<Option<Vec<u8>>> {
        let stored = pack(raw, base, self.level.min(DELTA_LEVEL))?;
        let worth = (stored.len() + DELTA_ROW) * 4 <= plain as usize * 3;
        Ok(worth.then_some(stored))
    }
}

/// How much of the packing is done.
struct Work<'a> {
    done: AtomicU64,
    all: u64,
    tell: &'a (dyn Fn(u64, u64) + Sync),
}

impl Work<'_> {
    fn done(&self, bytes: usize) {
        let before = self.done.fetch_add(bytes as u64, Ordering::Relaxed);
        (self.tell)(before + bytes as u64, self.all);
    }
}

/// For every chunk (first of its kind) that `old` does not have: where in `old`
/// its former text may be, as (row, start, bytes).
///
/// Chunks that occur once in both slots are landmarks. What lies between two
/// landmarks in the new slot was made from what lies between the same two in
/// the old one; that gap is the base range, and if it is too long, the part of
/// it that is as far along as the chunk is.
fn base_ranges(new: &[Piece], old: &[Piece], old_bytes: u64) -> Vec<(usize, u64, u64)> {
    let mut places: HashMap<Hash, Option<u64>> = HashMap::new();
    for piece in old {
        let once = places.entry(piece.hash).or_insert(Some(piece.at));
        if *once != Some(piece.at) {
            *once = None;
        }
    }
    let mut count: HashMap<Hash, u32> = HashMap::new();
    for piece in new {
        *count.entry(piece.hash).or_default() += 1;
    }
    let landmark = |piece: &Piece| -> Option<u64> {
        let once = !piece.zero && count.get(&piece.hash) == Some(&1);
        places.get(&piece.hash).copied().flatten().filter(|_| once)
    };
    let end = |piece: &Piece| piece.at + u64::from(piece.len);
    let new_bytes = new.last().map_or(0, end);

    // The landmark at or after each chunk, as (place in new, place in old).
    let mut next = vec![(new_bytes, old_bytes); new.len()];
    let mut after = (new_bytes, old_bytes);
    for (row, piece) in new.iter().enumerate().rev() {
        if let Some(at) = landmark(piece) {
            after = (piece.at, at);
        }
        next[row] = after;
    }
    let mut ranges = Vec::new();
    let mut done = HashSet::new();
    // The end of the landmark before, in the same way.
    let mut before = (0, 0);
    for (row, piece) in new.iter().enumerate() {
        if let Some(at) = landmark(piece) {
            before = (end(piece), at + u64::from(piece.len));
        }
        if piece.zero || places.contains_key(&piece.hash) || !done.insert(piece.hash) {
            continue;
        }
        let after = next[row];
        // Landmarks in another order: believe the one before, and take as much as changed.
        let gap_end = if after.1 >= before.1 {
            after.1
        } else {
            before.1 + (after.0 - before.0)
        };
        let (start, stop) = if gap_end - before.1 + 2 * MARGIN <= u64::from(MAX_BASE) {
            (before.1.saturating_sub(MARGIN), gap_end + MARGIN)
        } else {
            let along = piece.at - before.0;
            let whole = (after.0 - before.0).max(1);
            // Both lengths are below 2^30, so the product fits.
            let place = before.1 + (gap_end - before.1) * along / whole;
            let place = place / BLOCK as u64 * BLOCK as u64;
            let stop = place + u64::from(piece.len.min(MAX_CHUNK)) + REACH;
            (place.saturating_sub(REACH), stop)
        };
        let stop = stop.min(old_bytes);
        let start = start.min(stop);
        if start < stop {
            ranges.push((row, start, stop - start));
        }
    }
    ranges
}

fn len64(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

fn table_ref(rows: usize, bytes: &[u8]) -> TableRef {
    TableRef {
        rows: rows as u32,
        hash: Hash::of(bytes),
    }
}

fn length(image: &mut impl Seek, what: &'static str) -> Result<u64, BuildError> {
    image
        .seek(SeekFrom::End(0))
        .map_err(|source| BuildError::Io { what, source })
}

fn cut(image: &mut (impl Read + Seek), what: &'static str) -> Result<Vec<Piece>, BuildError> {
    image
        .seek(SeekFrom::Start(0))
        .and_then(|_| pieces(io::BufReader::with_capacity(1 << 20, image)))
        .map_err(|source| BuildError::Io { what, source })
}

fn read_at(
    image: &mut (impl Read + Seek),
    at: u64,
    len: u64,
    what: &'static str,
) -> Result<Vec<u8>, BuildError> {
    let mut bytes = vec![0; len as usize];
    image
        .seek(SeekFrom::Start(at))
        .and_then(|_| image.read_exact(&mut bytes))
        .map_err(|source| BuildError::Io { what, source })?;
    Ok(bytes)
}
