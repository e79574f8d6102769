//! Taking one step of a plan. Every chunk is checked before it is written.

use crate::chunker::is_zero;
use crate::error::Error;
use crate::hash::Hash;
use crate::payload::{decode_chunk, decode_delta};
use crate::plan::{Action, Source};
use crate::tables::{Chunk, Tables};
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Gives payloads, from a file or from the network.
pub trait ReadPayload {
    /// Fills `buffer` with the bytes from `offset` on, counted from the first
    /// payload. One action asks for ascending, adjacent ranges.
    ///
    /// # Errors
    ///
    /// Whatever hinders it; `UnexpectedEof` means that the bundle is cut off.
    fn read_payload(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Payloads in a bundle that can be seeked in.
pub struct PayloadsAt<R> {
    bundle: R,
    start: u64,
}

impl<R: Read + Seek> PayloadsAt<R> {
    /// `start` is [`crate::Verified::payload_start`].
    pub fn new(bundle: R, start: u64) -> Self {
        Self { bundle, start }
    }
}

impl<R: Read + Seek> ReadPayload for PayloadsAt<R> {
    fn read_payload(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = self.start.checked_add(offset);
        let at = at.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.bundle.seek(SeekFrom::Start(at))?;
        self.bundle.read_exact(buffer)
    }
}

/// Takes one step: writes its chunks to `target`. Flushing and syncing are the caller's.
///
/// # Errors
///
/// [`Error::Content`] and [`Error::Base`] if the running slot is not as the plan
/// believed: plan again without it. [`Error::Payload`], [`Error::Truncated`] if
/// the bundle is damaged; [`Error::Unpack`] if it was signed so; [`Error::Plan`] if
/// the step is not of these tables; [`Error::Io`] with the caller's error. The
/// chunks before the failing one are written and right.
pub fn apply(
    action: &Action,
    tables: &Tables,
    active: &mut (impl Read + Seek),
    payloads: &mut impl ReadPayload,
    target: &mut (impl Read + Write + Seek),
) -> Result<(), Error> {
    let rows = action.chunks();
    let chunks = tables.chunks().get(rows.clone()).ok_or(Error::Plan {
        why: "it names chunks that do not exist",
    })?;
    let mut copied = 0;
    for (row, chunk) in rows.zip(chunks) {
        let bytes = match action {
            Action::Zero { .. } if chunk.is_zero() => vec![0; chunk.len as usize],
            Action::Zero { .. } => {
                return Err(Error::Plan {
                    why: "it takes data for zeros",
                });
            }
            Action::Copy { source, from, .. } => {
                let at = from.checked_add(copied).ok_or(Error::Plan {
                    why: "it copies from beyond the slot",
                })?;
                copied += u64::from(chunk.len);
                copy(row, chunk, *source, at, active, target)?
            }
            Action::Delta { delta, .. } => {
                let delta = tables.deltas().get(*delta);
                let delta = delta
                    .filter(|d| d.chunk as usize == row)
                    .ok_or(Error::Plan {
                        why: "it names a delta of another chunk",
                    })?;
                let base = match read_at(active, delta.base, delta.base_len) {
                    Ok(base) => base,
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                        return Err(Error::Base { chunk: row });
                    }
                    Err(source) => return Err(io_error("running slot", source)),
                };
                let stored = fetch(payloads, delta.payload, delta.stored)?;
                decode_delta(row, chunk, delta, &base, &stored)?
            }
            Action::Fetch { .. } => {
                let stored = fetch(payloads, chunk.payload, chunk.stored)?;
                decode_chunk(row, chunk, &stored)?
            }
        };
        target
            .seek(SeekFrom::Start(chunk.at))
            .and_then(|_| target.write_all(&bytes))
            .map_err(|source| io_error("slot to be written", source))?;
    }
    Ok(())
}

/// Which chunks of the slot to be written are right already: reads it once from
/// end to end. A slot that is too short has wrong chunks at its end.
///
/// # Errors
///
/// The reader's.
pub fn already_right(tables: &Tables, target: &mut (impl Read + Seek)) -> io::Result<Vec<bool>> {
    target.seek(SeekFrom::Start(0))?;
    let mut right = Vec::with_capacity(tables.chunks().len());
    let mut buffer = Vec::new();
    for chunk in tables.chunks() {
        buffer.resize(chunk.len as usize, 0);
        match target.read_exact(&mut buffer) {
            Ok(()) if chunk.is_zero() => right.push(is_zero(&buffer)),
            Ok(()) => right.push(Hash::of(&buffer) == chunk.hash),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(e) => return Err(e),
        }
    }
    right.resize(tables.chunks().len(), false);
    Ok(right)
}

fn copy(
    row: usize,
    chunk: &Chunk,
    source: Source,
    at: u64,
    active: &mut (impl Read + Seek),
    target: &mut (impl Read + Seek),
) -> Result<Vec<u8>, Error> {
    let (what, from, read) = match source {
        Source::Active => (
            "running slot",
            "copied from the running slot",
            read_at(active, at, chunk.len),
        ),
        Source::Target => (
            "slot to be written",
            "copied within the new slot",
            read_at(target, at, chunk.len),
        ),
    };
    let wrong = Error::Content { chunk: row, from };
    match read {
        Ok(bytes) if Hash::of(&bytes) == chunk.hash => Ok(bytes),
        Ok(_) => Err(wrong),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(wrong),
        Err(source) => Err(io_error(what, source)),
    }
}

fn read_at(from: &mut (impl Read + Seek), at: u64, len: u32) -> io::Result<Vec<u8>> {
    from.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; len as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn fetch(payloads: &mut impl ReadPayload, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
    let mut stored = vec![0; len as usize];
    match payloads.read_payload(offset, &mut stored) {
        Ok(()) => Ok(stored),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Error::Truncated { what: "payloads" })
        }
        Err(source) => Err(io_error("payloads", source)),
    }
}

fn io_error(what: &'static str, source: io::Error) -> Error {
    Error::Io { what, source }
}
