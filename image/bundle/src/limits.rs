//! Limits of the format. Each is checked before memory is taken for the thing.

/// First bytes of every bundle.
pub const MAGIC: [u8; 8] = *b"ROOSTBDL";
/// The one format version that this crate reads and writes.
pub const FORMAT: u16 = 1;
/// Bytes before the signatures.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a public key and a signature.
pub const SIGNATURE_BYTES: usize = 32 + 64;
/// One signature, or two while the owner changes the key.
pub const MAX_SIGNATURES: u16 = 2;
/// What is signed begins with this, so that a signature of a bundle is never
/// one of anything else that the same key may sign one day, and the reverse.
pub const DOMAIN: &[u8] = b"roost update bundle v1\0";

/// Bytes of the manifest: 230 packages take 12 KB, release notes a few more.
pub const MAX_MANIFEST: u32 = 256 << 10;
/// Boards named by one bundle; there are four.
pub const MAX_BOARDS: usize = 16;
/// Components named by one bundle.
pub const MAX_COMPONENTS: usize = 4096;
/// Bytes of a name or version string: they are shown in one line.
pub const MAX_NAME: usize = 128;
/// Bytes of the release notes: two screens, not a book.
pub const MAX_NOTES: usize = 16 << 10;

/// Bytes of a block, the unit of chunks and base ranges: that of the root file
/// system, most of a slot, and of the clusters of the FAT around it.
pub const BLOCK: usize = 4096;
/// Bytes of a slot image. Slots have 320 MiB; a box cannot grow them.
pub const MAX_SLOT: u64 = 1 << 30;
/// Bytes of one chunk as it lies in the slot. A reader holds one in memory.
pub const MAX_CHUNK: u32 = 1 << 20;
/// Rows of the chunk table: four times as many as the largest slot has in the
/// smallest usual chunks (64 KiB). A reader holds the table in memory: at most 4 MiB.
pub const MAX_CHUNKS: u32 = 1 << 16;
/// Rows of the delta table: the largest slot, wholly changed, in chunks of
/// 64 KiB. A reader holds the table in memory: at most 1.2 MiB.
pub const MAX_DELTAS: u32 = 1 << 14;
/// Bytes of the range that a delta is taken against. A reader holds one in
/// memory; the largest program of ours that changes with every release is smaller.
pub const MAX_BASE: u32 = 4 << 20;
/// Bytes of all payloads: every chunk plain and once more as a delta.
pub const MAX_PAYLOAD: u64 = 2 * MAX_SLOT;
/// Base-2 logarithm of the largest window of a zstd frame (8 MiB): the next
/// power of two over the longest base range and chunk together.
pub const WINDOW_LOG: u32 = 23;

/// Bytes of a row of the chunk table.
pub const CHUNK_ROW: usize = 64;
/// Bytes of a row of the delta table.
pub const DELTA_ROW: usize = 76;

/// The longest frame for `raw` bytes: zstd's own bound (`ZSTD_COMPRESSBOUND`,
/// zstd.h), so that data that do not compress fit and nothing longer does.
pub const fn max_stored(raw: u32) -> u32 {
    let small = if raw < (128 << 10) {
        ((128 << 10) - raw) >> 11
    } else {
        0
    };
    raw + (raw >> 8) + small
}

const _: () = assert!((MAX_BASE + MAX_CHUNK) as u64 <= 1 << WINDOW_LOG);
