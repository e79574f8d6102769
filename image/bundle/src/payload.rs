//! Payloads: zstd frames (RFC 8878), plain or with a base range as prefix.

use crate::error::Error;
use crate::hash::{Check, Hash};
use crate::limits::{WINDOW_LOG, max_stored};
use crate::tables::{Chunk, Delta};
use std::io;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, get_error_name};

/// First bytes of a zstd frame (RFC 8878, section 3.1.1). Skippable frames and
/// frames of old zstd versions begin otherwise and are refused.
const FRAME: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// Unpacks a chunk from its plain payload. `row` is the chunk's row, for errors.
///
/// Memory: the chunk, and zstd's decoder without a window of its own (about 160 KiB).
///
/// # Errors
///
/// [`Error::Payload`] if `stored` is not the signed payload (nothing was
/// unpacked then), [`Error::Unpack`], [`Error::Content`].
pub fn decode_chunk(row: usize, chunk: &Chunk, stored: &[u8]) -> Result<Vec<u8>, Error> {
    if chunk.is_zero() && stored.is_empty() {
        return Ok(vec![0; chunk.len as usize]);
    }
    unpack(row, chunk, chunk.check, &[], stored, "from its payload")
}

/// Unpacks a chunk from a delta's payload and the base range of the running slot.
///
/// # Errors
///
/// [`Error::Base`] if `base` is not the range that the delta was made against,
/// else as [`decode_chunk`].
pub fn decode_delta(
    row: usize,
    chunk: &Chunk,
    delta: &Delta,
    base: &[u8],
    stored: &[u8],
) -> Result<Vec<u8>, Error> {
    if base.len() != delta.base_len as usize || Hash::of(base) != delta.base_hash {
        return Err(Error::Base { chunk: row });
    }
    unpack(row, chunk, delta.check, base, stored, "from a delta")
}

fn unpack(
    row: usize,
    chunk: &Chunk,
    check: Check,
    base: &[u8],
    stored: &[u8],
    from: &'static str,
) -> Result<Vec<u8>, Error> {
    if Check::of(stored) != check {
        return Err(Error::Payload { chunk: row });
    }
    let raw = unpack_frame(stored, base, chunk.len as usize)
        .map_err(|why| Error::Unpack { chunk: row, why })?;
    if raw.len() != chunk.len as usize || Hash::of(&raw) != chunk.hash {
        return Err(Error::Content { chunk: row, from });
    }
    Ok(raw)
}

/// Unpacks a frame into at most `len` bytes. The whole output is the window, so
/// that a window size in the frame's header allocates nothing.
pub(crate) fn unpack_frame(stored: &[u8], base: &[u8], len: usize) -> Result<Vec<u8>, String> {
    if !stored.starts_with(&FRAME) {
        return Err("it is no zstd frame".into());
    }
    let say = |code| get_error_name(code).to_owned();
    let mut raw = Vec::with_capacity(len);
    let mut decoder = DCtx::try_create().ok_or("there is no memory for zstd")?;
    if !base.is_empty() {
        decoder.ref_prefix(base).map_err(say)?;
    }
    decoder.decompress(&mut raw, stored).map_err(say)?;
    Ok(raw)
}

/// Packs `raw`, with `base` as prefix unless that is empty.
pub(crate) fn pack(raw: &[u8], base: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let say = |code| io::Error::other(get_error_name(code));
    let mut encoder = CCtx::try_create().ok_or_else(|| io::Error::other("no memory for zstd"))?;
    encoder
        .set_parameter(CParameter::CompressionLevel(level))
        .map_err(say)?;
    if !base.is_empty() {
        // Left alone, zstd makes its window and its memory of places for the
        // short chunk, and forgets most of the base range. These hold all of it.
        let wide = [
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::HashLog(WINDOW_LOG - 1),
            CParameter::ChainLog(WINDOW_LOG),
        ];
        for parameter in wide {
            encoder.set_parameter(parameter).map_err(say)?;
        }
        encoder.ref_prefix(base).map_err(say)?;
    }
    let mut stored = Vec::with_capacity(max_stored(raw.len() as u32) as usize);
    encoder.compress2(&mut stored, raw).map_err(say)?;
    Ok(stored)
}
