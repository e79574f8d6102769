//! What a disk holds, by its first sectors: kind, number and name of its file system. The disk may be anybody's.
//!
//! Sources: Microsoft, "FAT: General Overview of On-Disk Format" 1.03 and "exFAT file system specification" (sections
//! 3.1 and 7); linux/Documentation/filesystems/ext4/super.rst. Of others only what tells them apart: cryptsetup's
//! "LUKS2 On-Disk Format", Apple's "File System Reference" and "TN1150", and Linux's own xfs and btrfs.

use crate::ext4::{LENGTH, OFFSET, Superblock};
use roost_service::disk::{DiskMark, FileSystem};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of a folder that are searched for the name of a file system. It is written when that is made, and so comes
/// among the first of them.
const FOLDER: usize = 4096;
/// Size of an entry of a folder, of FAT and of exFAT.
const ENTRY: usize = 32;
/// Where btrfs has its mark, in bytes.
const BTRFS: u64 = (64 << 10) + 64;

/// What a disk holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// A file system that the box can write to.
    Usable(DiskMark),
    /// One that it has no driver for, or that is locked: its name, for people.
    Other(String),
    /// Nothing that is known here.
    Nothing,
}

/// Looks at a disk, or a partition of one.
///
/// # Errors
/// Those of reading it. A disk that is too short for something is none of that.
pub fn look<D: Read + Seek>(disk: &mut D) -> io::Result<Found> {
    let mut start = [0; 2048];
    if !read_at(disk, 0, &mut start)? {
        return Ok(Found::Nothing);
    }
    if let Some(name) = locked(&start) {
        return Ok(Found::Other(name.to_owned()));
    }
    if let Some(mark) = ext4(disk)? {
        return Ok(Found::Usable(mark));
    }
    let mark = match exfat(disk, &start)? {
        Some(mark) => Some(mark),
        None => fat(disk, &start)?,
    };
    if let Some(mark) = mark {
        return Ok(Found::Usable(mark));
    }
    let mut btrfs = [0; 8];
    if read_at(disk, BTRFS, &mut btrfs)? && btrfs == *b"_BHRfS_M" {
        return Ok(Found::Other("btrfs".to_owned()));
    }
    Ok(Found::Nothing)
}

/// Reads these bytes; `false` if the disk is shorter.
fn read_at<D: Read + Seek>(disk: &mut D, at: u64, bytes: &mut [u8]) -> io::Result<bool> {
    disk.seek(SeekFrom::Start(at))?;
    match disk.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the box has no driver or no key for.
fn locked(start: &[u8; 2048]) -> Option<&'static str> {
    let has = |at: usize, what: &[u8]| start[at..].starts_with(what);
    let known: [(usize, &[u8], &str); 7] = [
        (0, b"LUKS\xba\xbe", "LUKS (it is encrypted)"),
        (3, b"-FVE-FS-", "BitLocker (it is encrypted)"),
        (3, b"NTFS    ", "NTFS"),
        (32, b"NXSB", "APFS"),
        (1024, b"H+", "HFS+"),
        (1024, b"HX", "HFS+"),
        (0, b"XFSB", "XFS"),
    ];
    let known = known.into_iter().find(|(at, what, _)| has(*at, what));
    known.map(|(.., name)| name)
}

fn ext4<D: Read + Seek>(disk: &mut D) -> io::Result<Option<DiskMark>> {
    let mut bytes = [0; LENGTH];
    if !read_at(disk, OFFSET, &mut bytes)? || Superblock::parse(&bytes).is_none() {
        return Ok(None);
    }
    let uuid: Vec<String> = bytes[0x68..0x78]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let part = |from: usize, to: usize| uuid[from..to].concat();
    Ok(Some(DiskMark {
        file_system: FileSystem::Ext4,
        id: [
            part(0, 4),
            part(4, 6),
            part(6, 8),
            part(8, 10),
            part(10, 16),
        ]
        .join("-"),
        label: plain(until_zero(&bytes[0x78..0x88])),
    }))
}

fn exfat<D: Read + Seek>(disk: &mut D, start: &[u8; 2048]) -> io::Result<Option<DiskMark>> {
    let sound = start[3..11] == *b"EXFAT   "
        && start[510..512] == [0x55, 0xaa]
        // What would be FAT's parameters is zero, so that nobody takes it for that.
        && start[11..64].iter().all(|b| *b == 0)
        && (9..=12).contains(&start[108])
        && start[109] <= 25 - start[108];
    if !sound {
        return Ok(None);
    }
    let sector = u32::from(start[108]);
    let heap = u64::from(u32_at(start, 88)) << sector;
    // The root folder's first cluster; those below 2 do not exist.
    let root = u64::from(u32_at(start, 96).saturating_sub(2)) << (sector + u32::from(start[109]));
    let folder = folder(disk, heap.saturating_add(root))?;
    // Section 7.3: the count of UTF-16 units, at most 11, and these.
    let label = entries(&folder).find(|entry| entry[0] == 0x83);
    let label = label.map_or_else(String::new, |entry| {
        let units = entry[2..24].chunks_exact(2).take(usize::from(entry[1]));
        let units: Vec<u16> = units
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .collect();
        plain(String::from_utf16_lossy(&units).as_bytes())
    });
    Ok(Some(DiskMark {
        file_system: FileSystem::Exfat,
        id: serial(u32_at(start, 100)),
        label,
    }))
}

fn fat<D: Read + Seek>(disk: &mut D, start: &[u8; 2048]) -> io::Result<Option<DiskMark>> {
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([start[at], start[at + 1]]));
    let (sector, cluster) = (u16_at(11), u64::from(start[13]));
    let (reserved, fats) = (u16_at(14), u64::from(start[16]));
    let sound = start[510..512] == [0x55, 0xaa]
        && matches!(start[0], 0xeb | 0xe9)
        && matches!(sector, 512 | 1024 | 2048 | 4096)
        && cluster.is_power_of_two()
        && reserved != 0
        && (1..=2).contains(&fats)
        && matches!(start[21], 0xf0 | 0xf8..);
    if !sound {
        return Ok(None);
    }
    // Sectors of one FAT are counted at one place or the other; that decides between FAT32 and its elders.
    let (old, new) = (u16_at(22), u64::from(u32_at(start, 36)));
    let (signature, id, name, root) = match old {
        0 => {
            let data = (reserved + fats * new) * sector;
            let root = u64::from(u32_at(start, 44).saturating_sub(2)) * cluster * sector;
            (start[66], u32_at(start, 67), &start[71..82], data + root)
        }
        _ => {
            let root = (reserved + fats * old) * sector;
            (start[38], u32_at(start, 39), &start[43..54], root)
        }
    };
    // Without it there is neither number nor name: a file system of the eighties.
    if !matches!(signature, 0x28 | 0x29) {
        return Ok(None);
    }
    // The name in the root folder counts: Windows changes that alone.
    let folder = folder(disk, root)?;
    let entry = entries(&folder).find(|entry| {
        // Neither removed nor a piece of a long name.
        entry[0] != 0xe5 && entry[11] & 0x3f & !0x20 == 0x08
    });
    let label = match entry {
        Some(entry) => plain(&entry[..11]),
        None if signature == 0x29 && name != b"NO NAME    " => plain(name),
        None => String::new(),
    };
    Ok(Some(DiskMark {
        file_system: FileSystem::Vfat,
        id: serial(id),
        label,
    }))
}

/// The beginning of a folder; nothing where the disk has none.
fn folder<D: Read + Seek>(disk: &mut D, at: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; FOLDER];
    // Linux takes no place beyond this.
    let there = at <= i64::MAX as u64 && read_at(disk, at, &mut bytes)?;
    Ok(if there { bytes } else { Vec::new() })
}

/// The entries of a folder, up to its end.
fn entries(folder: &[u8]) -> impl Iterator<Item = &[u8]> {
    folder.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// As every system shows it.
fn serial(id: u32) -> String {
    format!("{:04X}-{:04X}", id >> 16, id & 0xffff)
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// A name that can be shown anywhere. What is no UTF-8, as letters of DOS, and what a terminal would obey becomes `?`:
/// the same each time, so that the disk is known again.
fn plain(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(until_zero(name));
    let shown = |c: char| match c.is_control() || c == char::REPLACEMENT_CHARACTER {
        true => '?',
        false => c,
    };
    text.trim().chars().map(shown).collect()
}

#[cfg(test)]
#[path = "superblock_tests.rs"]
mod tests;
