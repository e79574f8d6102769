//! What a file system says of itself in its first blocks: as much as a list of disks shows.

use roost_board::layout::{Layout, Slot};
use roost_board::mbr::Mbr;
use serde::Serialize;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What is in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The kind of file system, e.g. `FAT`.
    pub system: &'static str,
    /// Its label, if it has one.
    pub label: Option<String>,
}

/// Bytes looked at: the last of the marks, that of btrfs, lies behind 64 KiB.
const LENGTH: usize = 68 << 10;
/// Label of the data file system of a box.
const DATA_LABEL: &str = "roost-data";

/// What begins at byte `at` of `disk`, if it is known here and can be read.
pub fn read(disk: &File, at: u64) -> Option<Found> {
    let mut bytes = vec![0; LENGTH];
    let length = disk.read_at(&mut bytes, at).ok()?;
    known(&bytes[..length])
}

/// Where the data file system of a box begins, in bytes, if the disk has the partitions of one.
pub fn data_of_box(disk: &File) -> Option<u64> {
    let mut sector = [0; 512];
    disk.read_exact_at(&mut sector, 0).ok()?;
    let mbr = Mbr::from_bytes(&sector).ok()?;
    let layout = Layout::STANDARD;
    let at = |number| {
        mbr.partition(number)
            .map(roost_board::mbr::Partition::offset)
    };
    let slots = [Slot::A, Slot::B]
        .into_iter()
        .all(|slot| at(slot.partition()) == Some(layout.slot(slot).offset()));
    let data = at(roost_board::layout::DATA_PARTITION).filter(|_| slots)?;
    (read(disk, data)?.label.as_deref() == Some(DATA_LABEL)).then_some(data)
}

/// Whether the ext4 file system at byte `at` was ever mounted to be written: its superblock has
/// the time (`s_mtime`, Documentation/filesystems/ext4/super.rst). The builder leaves none.
pub fn was_mounted(disk: &File, at: u64) -> bool {
    let mut time = [0; 4];
    disk.read_exact_at(&mut time, at + 1024 + 0x2c).is_ok() && time != [0; 4]
}

/// Marks at fixed places: place, bytes, kind, and where a label stands and how long it is.
type Mark = (usize, &'static [u8], &'static str, Option<(usize, usize)>);
const MARKS: &[Mark] = &[
    (1080, &[0x53, 0xef], "ext", Some((1144, 16))),
    (82, b"FAT32   ", "FAT", Some((71, 11))),
    (54, b"FAT16   ", "FAT", Some((43, 11))),
    (54, b"FAT12   ", "FAT", Some((43, 11))),
    (3, b"EXFAT   ", "exFAT", None),
    (3, b"NTFS    ", "NTFS", None),
    (0, b"XFSB", "XFS", Some((108, 12))),
    (0, b"LUKS\xba\xbe", "encrypted (LUKS)", None),
    (1024, b"\x10\x20\xf5\xf2", "F2FS", None),
    (65_600, b"_BHRfS_M", "btrfs", Some((65_835, 256))),
    (4086, b"SWAPSPACE2", "swap", Some((1052, 16))),
    (536, b"LVM2 001", "LVM", None),
    (32_769, b"CD001", "ISO 9660", Some((32_808, 32))),
];

fn known(bytes: &[u8]) -> Option<Found> {
    let part = |at: usize, length: usize| bytes.get(at..at + length);
    let (_, _, system, label) = MARKS
        .iter()
        .find(|(at, mark, ..)| part(*at, mark.len()) == Some(*mark))?;
    let label = label
        .and_then(|(at, length)| part(at, length))
        .map(|text| {
            let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
            super::media::printable(&String::from_utf8_lossy(&text[..end]))
        })
        // What FAT says if there is none.
        .filter(|label| !label.is_empty() && label != "NO NAME");
    Some(Found { system, label })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_are_read_as_far_as_they_go() {
        let mut bytes = vec![0; 4096];
        bytes[1080..1082].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(known(&bytes).unwrap().label, None);
        bytes[1144..1150].copy_from_slice(b"rootfs");
        let found = known(&bytes).unwrap();
        assert_eq!(
            (found.system, found.label.as_deref()),
            ("ext", Some("rootfs"))
        );
        bytes[1080] = 0;
        bytes[71..90].copy_from_slice(b"NO NAME    FAT32   ");
        assert_eq!(known(&bytes).unwrap().label, None);
        bytes[71..78].copy_from_slice(b"\x1b[31mHI");
        let label = known(&bytes).unwrap().label.unwrap();
        assert!(!label.contains('\x1b'), "{label}");
        assert_eq!(known(&[]), None);
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk: Vec<u8>) {
            let _ = known(&junk);
        }
    }
}
