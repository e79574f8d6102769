//! Small images, and files that are none.

use super::*;
use roost_board::mbr::{Kind, Partition};
use roost_service::card;
use std::io::Write;

/// An image on disk, and what is in it.
pub struct Made {
    pub image: Image,
    pub scan: Scan,
    pub bytes: Vec<u8>,
    pub path: PathBuf,
    _dir: tempfile::TempDir,
}

/// Bytes of [`bytes`].
const CHUNKS: usize = 7;

/// A small disk: data in its first piece and the last three, zeros between, and the placeholder
/// across the border of two pieces. Its end is no whole piece.
pub fn bytes() -> Vec<u8> {
    let sectors = |bytes: usize| (bytes / 512) as u32;
    let mut bytes = vec![0; CHUNKS * CHUNK - CHUNK / 2];
    let partition = |start: usize, end: usize, kind| {
        Some(Partition {
            kind,
            active: false,
            start: sectors(start),
            sectors: sectors(end - start),
        })
    };
    let mbr = Mbr::new(
        7,
        [
            partition(64 << 10, CHUNK, Kind::Fat32),
            partition(CHUNK, 2 * CHUNK, Kind::Fat32),
            partition(2 * CHUNK, 4 * CHUNK, Kind::Fat32),
            partition(4 * CHUNK, bytes.len(), Kind::Linux),
        ],
    )
    .unwrap();
    bytes[..512].copy_from_slice(&mbr.to_bytes());
    bytes[64 << 10..CHUNK].fill(0xfa);
    for (n, byte) in bytes[4 * CHUNK..].iter_mut().enumerate() {
        *byte = (n / 5) as u8;
    }
    let card = 5 * CHUNK - 8192;
    bytes[card..][..card::SIZE].copy_from_slice(&card::placeholder());
    bytes
}

/// As `roost build` packs: with a check sum.
fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes [`bytes`], packed or not, and reads them as an image.
pub fn made(packed: bool) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roost.img");
    let bytes = bytes();
    let stored = match packed {
        true => pack(&bytes),
        false => bytes.clone(),
    };
    std::fs::write(&path, stored).unwrap();
    let image = Image::open(&path).unwrap();
    let scan = image.scan(|_| Ok(())).unwrap();
    Made {
        image,
        scan,
        bytes,
        path,
        _dir: dir,
    }
}

#[test]
fn packed_or_not_the_image_is_the_same() {
    let (plain, packed) = (made(false), made(true));
    assert_eq!(plain.scan.chunks, packed.scan.chunks);
    assert_eq!(plain.scan.card, packed.scan.card);
    assert_eq!(plain.image.bytes(), plain.bytes.len() as u64);
    let zeros: Vec<bool> = plain
        .scan
        .chunks
        .iter()
        .map(|c| *c == Content::Zero)
        .collect();
    assert_eq!(zeros, [false, true, true, true, false, false, false]);
}

/// What is said about a file with these bytes.
fn complaint(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roost.img");
    std::fs::write(&path, bytes).unwrap();
    let failure = Image::open(&path)
        .and_then(|image| image.scan(|_| Ok(())))
        .unwrap_err();
    anstream::adapter::strip_str(&failure.render())
        .to_string()
        .replace(&dir.path().display().to_string(), "build")
}

#[test]
fn what_is_no_image_is_refused_before_anything_is_written() {
    let whole = bytes();
    let packed = pack(&whole);
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    let mut old = whole.clone();
    old[5 * CHUNK - 8192] = b'R';
    let mut text = String::new();
    for bytes in [
        b"hello".as_slice(),
        &vec![0; 4096],
        &whole[..whole.len() - 4096],
        &[whole.as_slice(), &[0; 512]].concat(),
        &old,
    ] {
        text += &complaint(bytes);
    }
    insta::assert_snapshot!(text);
    // What zstd says is its own matter.
    for bytes in [&packed[..packed.len() / 2], &damaged] {
        let text = complaint(bytes);
        assert!(text.contains("because:"), "{text}");
    }
    assert!(Image::open(Path::new("/")).is_err());
}

#[test]
fn zeros_are_zeros() {
    for length in [0, 1, 15, 16, 17, 4096] {
        let mut bytes = vec![0; length];
        assert!(is_zero(&bytes));
        for n in 0..length {
            bytes[n] = 1;
            assert!(!is_zero(&bytes));
            bytes[n] = 0;
        }
    }
}
