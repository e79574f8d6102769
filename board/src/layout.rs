//! Where the partitions of a disk lie.
//!
//! | number | holds | file system |
//! |---|---|---|
//! | 1 | selector: `autoboot.txt`, the Pi 3's `bootcode.bin` | FAT32 |
//! | 2 | slot A | FAT32 |
//! | 3 | slot B | FAT32 |
//! | 4 | data, grown to the disk's end on first boot | ext4 |

use crate::mbr::{Kind, Mbr, Partition};
use std::fmt;

/// Bytes in a sector, the unit of the partition table.
pub const SECTOR: u64 = 512;
/// Partitions begin at multiples of this many bytes (4 MiB): the usual erase
/// block of SD cards, so that no block is shared by two partitions and a power
/// cut while one is written cannot harm the other.
pub const ALIGNMENT: u64 = 4 << 20;
/// Bytes of the selector. Far more than its two small files need, but FAT32
/// must have at least 65,525 clusters of 512 bytes: mtools refuses a FAT32 of
/// 32 MiB, and FAT16 is left to firmware that was never tested with it.
pub const SELECTOR_SIZE: u64 = 64 << 20;
/// Bytes of a slot. An image takes about 100 MB of it; a slot cannot grow once
/// cards are in the field, so the rest is room for years of updates. FAT32 must
/// have at least 65,525 clusters: with 4 KiB each, no slot below 257 MiB has them.
pub const SLOT_SIZE: u64 = 320 << 20;
/// Bytes of the data partition at build time: enough for ext4 with a journal
/// and the first boot before it grows; small, to keep the image small.
pub const DATA_SIZE: u64 = 64 << 20;

/// Partition number of the selector.
pub const SELECTOR_PARTITION: u8 = 1;
/// Partition number of the data file system. It is the last, so that it can grow.
pub const DATA_PARTITION: u8 = 4;

/// A run of sectors on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First sector, counted from the start of the disk.
    pub start: u32,
    /// Number of sectors.
    pub sectors: u32,
}

impl Extent {
    /// Extent of `bytes` at byte `offset`; both are whole sectors below 2 TiB.
    const fn at(offset: u64, bytes: u64) -> Self {
        assert!(offset.is_multiple_of(SECTOR) && bytes.is_multiple_of(SECTOR));
        let (start, sectors) = (offset / SECTOR, bytes / SECTOR);
        assert!(start + sectors <= u32::MAX as u64);
        Self {
            start: start as u32,
            sectors: sectors as u32,
        }
    }

    /// Byte offset of the first sector from the start of the disk.
    pub const fn offset(self) -> u64 {
        self.start as u64 * SECTOR
    }

    /// Length in bytes.
    pub const fn bytes(self) -> u64 {
        self.sectors as u64 * SECTOR
    }

    /// Byte offset just behind the last sector.
    pub const fn end(self) -> u64 {
        self.offset() + self.bytes()
    }
}

/// The places of the four partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Partition 1.
    pub selector: Extent,
    /// Partition 2.
    pub slot_a: Extent,
    /// Partition 3.
    pub slot_b: Extent,
    /// Partition 4, as built; on a box it reaches to the end of the disk.
    pub data: Extent,
}

impl Layout {
    /// The layout of every image.
    pub const STANDARD: Self = {
        let selector = Extent::at(ALIGNMENT, SELECTOR_SIZE);
        let slot_a = Extent::at(selector.end(), SLOT_SIZE);
        let slot_b = Extent::at(slot_a.end(), SLOT_SIZE);
        let data = Extent::at(slot_b.end(), DATA_SIZE);
        Self {
            selector,
            slot_a,
            slot_b,
            data,
        }
    };

    /// The place of a slot.
    pub const fn slot(&self, slot: Slot) -> Extent {
        match slot {
            Slot::A => self.slot_a,
            Slot::B => self.slot_b,
        }
    }

    /// Bytes of the whole image.
    pub const fn total_bytes(&self) -> u64 {
        self.data.end()
    }

    /// The partition table. Partition 1 is marked active, as partitioning
    /// tools do for the first boot partition; the firmware does not look.
    pub fn mbr(&self, disk_id: u32) -> Mbr {
        let partition = |kind, extent: Extent, active| {
            Some(Partition {
                kind,
                active,
                start: extent.start,
                sectors: extent.sectors,
            })
        };
        Mbr::new(
            disk_id,
            [
                partition(Kind::Fat32, self.selector, true),
                partition(Kind::Fat32, self.slot_a, false),
                partition(Kind::Fat32, self.slot_b, false),
                partition(Kind::Linux, self.data, false),
            ],
        )
        .expect("the parts of a layout do not overlap")
    }
}

/// One of the two places for a bootable system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Partition 2.
    A,
    /// Partition 3.
    B,
}

impl Slot {
    /// Partition number.
    pub const fn partition(self) -> u8 {
        match self {
            Self::A => 2,
            Self::B => 3,
        }
    }

    /// The slot with this partition number, if it is a slot's.
    pub const fn from_partition(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::A),
            3 => Some(Self::B),
            _ => None,
        }
    }

    /// The one that is not this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_aligned_and_follows_the_one_before() {
        let l = Layout::STANDARD;
        for extent in [l.selector, l.slot_a, l.slot_b, l.data] {
            assert_eq!(extent.offset() % ALIGNMENT, 0, "{extent:?}");
            assert_eq!(extent.bytes() % ALIGNMENT, 0, "{extent:?}");
        }
        assert_eq!(l.selector.offset(), 4 << 20);
        assert_eq!(l.total_bytes(), 772 << 20);
    }

    #[test]
    fn the_table_says_what_the_layout_says() {
        let mbr = Layout::STANDARD.mbr(0x1234_abcd);
        let again = Mbr::from_bytes(&mbr.to_bytes()).unwrap();
        assert_eq!(again, mbr);
        for slot in [Slot::A, Slot::B] {
            let partition = again.partition(slot.partition()).unwrap();
            assert_eq!(partition.offset(), Layout::STANDARD.slot(slot).offset());
            assert_eq!(partition.bytes(), SLOT_SIZE);
            assert_eq!(Slot::from_partition(slot.partition()), Some(slot));
            assert_ne!(slot.other(), slot);
        }
        assert_eq!(Slot::from_partition(1), None);
    }
}
