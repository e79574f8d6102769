//! The partition table in sector 0 of a disk.
//!
//! MBR, not GPT: the Pi 3's boot ROM reads nothing else, and `boot_partition`
//! counts MBR entries. Addresses are LBA only; the CHS fields hold the usual
//! "beyond CHS" mark.

use crate::layout::{DATA_PARTITION, SECTOR};
use thiserror::Error;

/// Where the disk id lies in the sector.
const DISK_ID: usize = 440;
/// Where the four entries of 16 bytes begin.
const ENTRIES: usize = 446;
/// CHS value of a sector that CHS cannot reach.
const CHS_BEYOND: [u8; 3] = [0xfe, 0xff, 0xff];
/// A grown partition ends at a multiple of this many sectors (1 MiB): every
/// file system block and every flash page ends there too.
const END_ALIGNMENT: u64 = (1 << 20) / SECTOR;

/// Why a sector is not a usable partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MbrError {
    /// Bytes 510 and 511 are not 55 AA.
    #[error("sector 0 holds no partition table (signature {0:02x} {1:02x} instead of 55 aa)")]
    NoSignature(u8, u8),
    /// The table is the placeholder of a GPT.
    #[error("the disk has a GPT; the Pi's boot selection needs an MBR")]
    Gpt,
    /// The status byte is neither 00 nor 80: probably a FAT boot sector.
    #[error("partition {number}: status byte {status:02x} is neither 00 nor 80")]
    BadStatus {
        /// Partition number, from 1.
        number: u8,
        /// The byte found.
        status: u8,
    },
    /// A used entry begins at sector 0 or has no sectors.
    #[error("partition {number} has a type but no place on the disk")]
    Empty {
        /// Partition number, from 1.
        number: u8,
    },
    /// Start plus length does not fit in 32 bits.
    #[error("partition {number} ends beyond 2 TiB")]
    TooLong {
        /// Partition number, from 1.
        number: u8,
    },
    /// Two entries share sectors.
    #[error("partitions {0} and {1} overlap")]
    Overlap(u8, u8),
}

/// What a partition is for, by its type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 0x0c: FAT32 addressed by LBA.
    Fat32,
    /// 0x83: a Linux file system.
    Linux,
    /// Any other type byte; never 0.
    Other(u8),
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => None,
            0x0c => Some(Self::Fat32),
            0x83 => Some(Self::Linux),
            other => Some(Self::Other(other)),
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Fat32 => 0x0c,
            Self::Linux => 0x83,
            Self::Other(byte) => byte,
        }
    }
}

/// A used entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub kind: Kind,
    /// The "active" mark, which PC boot code looks at.
    pub active: bool,
    /// First sector.
    pub start: u32,
    /// Number of sectors.
    pub sectors: u32,
}

impl Partition {
    /// Byte offset from the start of the disk.
    pub const fn offset(&self) -> u64 {
        self.start as u64 * SECTOR
    }

    /// Length in bytes.
    pub const fn bytes(&self) -> u64 {
        self.sectors as u64 * SECTOR
    }

    /// First sector behind the partition.
    pub const fn end(&self) -> u64 {
        self.start as u64 + self.sectors as u64
    }
}

/// A partition table whose used entries have a place and do not overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mbr {
    disk_id: u32,
    partitions: [Option<Partition>; 4],
    /// Kept as found, so that growing a partition changes nothing else.
    boot_code: [u8; DISK_ID],
    reserved: [u8; 2],
}

impl Mbr {
    /// A table without boot code.
    ///
    /// # Errors
    /// When an entry has no place or two overlap.
    pub fn new(disk_id: u32, partitions: [Option<Partition>; 4]) -> Result<Self, MbrError> {
        let mbr = Self {
            disk_id,
            partitions,
            boot_code: [0; DISK_ID],
            reserved: [0; 2],
        };
        mbr.checked()
    }

    /// Reads sector 0.
    ///
    /// # Errors
    /// When the sector is not a usable table.
    pub fn from_bytes(sector: &[u8; 512]) -> Result<Self, MbrError> {
        if sector[510..] != [0x55, 0xaa] {
            return Err(MbrError::NoSignature(sector[510], sector[511]));
        }
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| sector[at + i]));
        let mut partitions = [None; 4];
        for (number, slot) in (1u8..).zip(&mut partitions) {
            let at = entry_offset(number);
            let Some(kind) = Kind::from_byte(sector[at + 4]) else {
                continue;
            };
            if kind == Kind::Other(0xee) {
                return Err(MbrError::Gpt);
            }
            let status = sector[at];
            if status & 0x7f != 0 {
                return Err(MbrError::BadStatus { number, status });
            }
            *slot = Some(Partition {
                kind,
                active: status == 0x80,
                start: u32_at(at + 8),
                sectors: u32_at(at + 12),
            });
        }
        Self {
            disk_id: u32_at(DISK_ID),
            partitions,
            boot_code: std::array::from_fn(|i| sector[i]),
            reserved: [sector[444], sector[445]],
        }
        .checked()
    }

    /// The sector's bytes.
    pub fn to_bytes(&self) -> [u8; 512] {
        let mut sector = [0; 512];
        sector[..DISK_ID].copy_from_slice(&self.boot_code);
        sector[DISK_ID..DISK_ID + 4].copy_from_slice(&self.disk_id.to_le_bytes());
        sector[444..446].copy_from_slice(&self.reserved);
        for (number, partition) in (1u8..).zip(&self.partitions) {
            let Some(partition) = partition else { continue };
            let at = entry_offset(number);
            sector[at] = if partition.active { 0x80 } else { 0 };
            sector[at + 1..at + 4].copy_from_slice(&CHS_BEYOND);
            sector[at + 4] = partition.kind.byte();
            sector[at + 5..at + 8].copy_from_slice(&CHS_BEYOND);
            sector[at + 8..at + 12].copy_from_slice(&partition.start.to_le_bytes());
            sector[at + 12..at + 16].copy_from_slice(&partition.sectors.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    /// The number that tells this disk from others (`roost.disk=`).
    pub const fn disk_id(&self) -> u32 {
        self.disk_id
    }

    /// Entry `number` (1 to 4); `None` when it is unused or there is no such number.
    pub fn partition(&self, number: u8) -> Option<&Partition> {
        self.partitions
            .get(usize::from(number).checked_sub(1)?)?
            .as_ref()
    }

    /// First sector behind the last partition: the least size of the disk.
    pub fn end(&self) -> u64 {
        self.partitions
            .iter()
            .flatten()
            .map(Partition::end)
            .max()
            .unwrap_or(1)
    }

    /// The same table with the data partition reaching to the end of a disk of
    /// `disk_sectors`, rounded down to 1 MiB (or to what 32 bits can say).
    ///
    /// `None` when that gains nothing, and when there is no data partition or
    /// another one lies behind it: then nothing may be changed.
    #[must_use]
    pub fn grow_last(&self, disk_sectors: u64) -> Option<Self> {
        let data = *self.partition(DATA_PARTITION)?;
        if data.end() < self.end() {
            return None;
        }
        let end = disk_sectors.min(u64::from(u32::MAX)) / END_ALIGNMENT * END_ALIGNMENT;
        if end <= data.end() {
            return None;
        }
        let sectors = u32::try_from(end - u64::from(data.start)).ok()?;
        let mut grown = self.clone();
        grown.partitions[usize::from(DATA_PARTITION) - 1] = Some(Partition { sectors, ..data });
        Some(grown)
    }

    fn checked(self) -> Result<Self, MbrError> {
        let used: Vec<(u8, &Partition)> = (1u8..)
            .zip(&self.partitions)
            .filter_map(|(n, p)| Some((n, p.as_ref()?)))
            .collect();
        for (i, &(number, partition)) in used.iter().enumerate() {
            if partition.start == 0 || partition.sectors == 0 {
                return Err(MbrError::Empty { number });
            }
            if partition.end() > u64::from(u32::MAX) {
                return Err(MbrError::TooLong { number });
            }
            for &(other_number, other) in &used[..i] {
                if u64::from(partition.start) < other.end()
                    && u64::from(other.start) < partition.end()
                {
                    return Err(MbrError::Overlap(other_number, number));
                }
            }
        }
        Ok(self)
    }
}

fn entry_offset(number: u8) -> usize {
    ENTRIES + 16 * (usize::from(number) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_where_other_programs_look_for_them() {
        let sector = Layout::STANDARD.mbr(0x1234_abcd).to_bytes();
        assert_eq!(sector[440..444], [0xcd, 0xab, 0x34, 0x12]);
        // sfdisk would say: start=8192, size=131072, type=c, bootable
        assert_eq!(
            sector[446..462],
            [
                0x80, 0xfe, 0xff, 0xff, 0x0c, 0xfe, 0xff, 0xff, 0, 0x20, 0, 0, 0, 0, 2, 0
            ]
        );
        assert_eq!(sector[494 + 4], 0x83);
    }

    #[test]
    fn unusable_tables_are_refused() {
        let text = |sector: &[u8; 512]| Mbr::from_bytes(sector).unwrap_err().to_string();
        let good = Layout::STANDARD.mbr(1).to_bytes();
        assert_eq!(
            text(&[0; 512]),
            "sector 0 holds no partition table (signature 00 00 instead of 55 aa)"
        );
        let with = |at: usize, byte: u8| {
            let mut bad = good;
            bad[at] = byte;
            bad
        };
        assert_eq!(
            text(&with(446 + 4, 0xee)),
            "the disk has a GPT; the Pi's boot selection needs an MBR"
        );
        assert_eq!(
            text(&with(462, 7)),
            "partition 2: status byte 07 is neither 00 nor 80"
        );
        assert_eq!(text(&with(462 + 10, 1)), "partitions 1 and 2 overlap");
        let mut long = with(494 + 15, 0xff);
        long[494 + 11] = 0xff;
        assert_eq!(text(&long), "partition 4 ends beyond 2 TiB");
        let mut empty = good;
        empty[446 + 12..446 + 16].fill(0);
        assert_eq!(
            text(&empty),
            "partition 1 has a type but no place on the disk"
        );
    }

    #[test]
    fn data_grows_once_to_the_end_of_the_disk() {
        let mbr = Layout::STANDARD.mbr(1);
        let disk = (4u64 << 30) / SECTOR + 1000;
        let grown = mbr.grow_last(disk).unwrap();
        assert_eq!(grown.partition(4).unwrap().end(), (4 << 30) / SECTOR);
        assert_eq!(grown.partition(3), mbr.partition(3));
        assert_eq!(grown.grow_last(disk), None);
        assert_eq!(
            mbr.grow_last(mbr.end()),
            None,
            "the disk is as small as the image"
        );
        assert_eq!(mbr.grow_last(1), None, "the disk is smaller than the image");
    }

    #[test]
    fn data_grows_no_further_than_the_table_can_say() {
        let grown = Layout::STANDARD.mbr(1).grow_last(u64::MAX).unwrap();
        assert_eq!(Mbr::from_bytes(&grown.to_bytes()), Ok(grown));
    }

    #[test]
    fn a_partition_behind_data_stops_it_from_growing() {
        let part = |start| {
            Some(Partition {
                kind: Kind::Linux,
                active: false,
                start,
                sectors: 2048,
            })
        };
        let mbr = Mbr::new(1, [part(8192), None, None, part(2048)]).unwrap();
        assert_eq!(mbr.grow_last(1 << 20), None);
        let mbr = Mbr::new(1, [part(8192), None, None, None]).unwrap();
        assert_eq!(mbr.grow_last(1 << 20), None);
    }

    fn partition() -> impl Strategy<Value = Option<Partition>> {
        proptest::option::of(
            (1u8..=255, any::<bool>(), 1u32..1 << 24, 1u32..1 << 24)
                .prop_filter("GPT", |p| p.0 != 0xee)
                .prop_map(|(kind, active, start, sectors)| Partition {
                    kind: Kind::from_byte(kind).unwrap(),
                    active,
                    start,
                    sectors,
                }),
        )
    }

    proptest! {
        #[test]
        fn a_table_survives_its_bytes(id: u32, parts in [partition(), partition(), partition(), partition()]) {
            if let Ok(mbr) = Mbr::new(id, parts) {
                prop_assert_eq!(Mbr::from_bytes(&mbr.to_bytes()), Ok(mbr));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            mut sector in proptest::collection::vec(any::<u8>(), 512), signed: bool, disk: u64,
        ) {
            if signed {
                sector[510..].copy_from_slice(&[0x55, 0xaa]);
                for number in 1..=4 {
                    sector[entry_offset(number)] &= 0x80;
                }
            }
            let sector: [u8; 512] = sector.try_into().unwrap();
            if let Ok(mbr) = Mbr::from_bytes(&sector) {
                prop_assert_eq!(&mbr.to_bytes()[..446], &sector[..446], "nothing else is lost");
                if let Some(grown) = mbr.grow_last(disk) {
                    prop_assert!(grown.end() <= disk);
                    prop_assert!(grown.end() > mbr.end());
                    prop_assert!(Mbr::from_bytes(&grown.to_bytes()).is_ok());
                }
            }
        }
    }
}
