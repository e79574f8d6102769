//! What is on a USB disk, which anybody may have written: a file system with changes that a fuzzer made up, or nothing but
//! its bytes. Never a panic; a file system that is found has a mark by which it can be known again, and what is said of
//! it is short and can be shown.
#![no_main]

#[path = "../../../../board/fuzz/targets/disk.rs"]
mod disk;

use disk::Disk;
use libfuzzer_sys::fuzz_target;
use roost_init::superblock::{Found, look};
use std::io::{Cursor, Read, Seek};

/// Starts of file systems that have no maker here: exFAT, ext4.
fn start(kind: u8) -> Vec<u8> {
    let mut disk = vec![0; 72 << 10];
    if kind & 1 == 0 {
        disk[..11].copy_from_slice(b"\xeb\x76\x90EXFAT   ");
        disk[88..92].copy_from_slice(&32_u32.to_le_bytes());
        disk[96..100].copy_from_slice(&2_u32.to_le_bytes());
        (disk[108], disk[109]) = (9, 3);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        disk[32 * 512] = 0x83;
    } else {
        disk[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
    }
    disk
}

fn holds(mut disk: impl Read + Seek) {
    let found = look(&mut disk).expect("a disk in memory can be read");
    if let Found::Usable(mark) = &found {
        assert_eq!(mark.check(), Ok(()));
    }
    let line = serde_json::to_string(&found).expect("names make JSON");
    assert!(line.len() <= 2048);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else {
        return;
    };
    if kind & 2 == 0 {
        holds(Disk::of(rest));
        return;
    }
    let mut disk = start(kind);
    let mut changes = rest;
    while let Some(([low, high, byte], more)) = changes.split_first_chunk() {
        disk[usize::from(u16::from_le_bytes([*low, *high]))] = *byte;
        changes = more;
    }
    holds(Cursor::new(disk));
    holds(Cursor::new(rest));
});
