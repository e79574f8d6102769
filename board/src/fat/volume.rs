//! The boot sector: how a file system is laid out.

use super::Extent;

/// How wide an entry of the FAT is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 2 bytes.
    Fat16,
    /// 4 bytes.
    Fat32,
}

/// Where the root folder is.
#[derive(Debug, Clone, Copy)]
pub enum Root {
    /// FAT16: in a place of its own.
    At(Extent),
    /// FAT32: a chain of clusters like any folder.
    Cluster(u32),
}

/// A layout that lies within the disk: every offset it gives can be read.
/// Offsets are bytes from the start of the file system.
#[derive(Debug)]
pub struct Volume {
    width: Width,
    fat: Extent,
    data: u64,
    cluster_bytes: u64,
    clusters: u32,
    root: Root,
}

impl Volume {
    /// Reads the boot sector of a file system that has `bytes` bytes of disk.
    pub fn from_boot_sector(sector: &[u8; 512], bytes: u64) -> Result<Self, &'static str> {
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| sector[at + i]));
        let or_wide = |narrow: u64, wide: usize| match narrow {
            0 => u64::from(u32_at(wide)),
            narrow => narrow,
        };
        if sector[510..] != [0x55, 0xaa] {
            return Err("its first sector has no boot signature");
        }
        let sector_bytes = u16_at(11);
        if !matches!(sector_bytes, 512 | 1024 | 2048 | 4096) {
            return Err("its sector size is impossible");
        }
        let cluster_sectors = u64::from(sector[13]);
        if !cluster_sectors.is_power_of_two() {
            return Err("its cluster size is impossible");
        }
        let reserved = u16_at(14);
        let fats = u64::from(sector[16]);
        if reserved == 0 || fats == 0 {
            return Err("it has no FAT");
        }
        // All factors have at most 32 bits and the products at most 50: no overflow.
        let root_bytes = u16_at(17) * 32;
        let total = or_wide(u16_at(19), 32) * sector_bytes;
        let fat_bytes = or_wide(u16_at(22), 36) * sector_bytes;
        let fat = Extent {
            offset: reserved * sector_bytes,
            bytes: fat_bytes,
        };
        let root = fat.offset + fats * fat_bytes;
        let data = root + root_bytes.next_multiple_of(sector_bytes);
        if total > bytes {
            return Err("it is larger than its partition");
        }
        if data > total {
            return Err("it has no room for files");
        }
        let cluster_bytes = cluster_sectors * sector_bytes;
        let clusters = (total - data) / cluster_bytes;
        let (width, entry_bytes) = match clusters {
            ..4085 => return Err("it is FAT12"),
            4085..65525 => (Width::Fat16, 2),
            _ => (Width::Fat32, 4),
        };
        if (clusters + 2) * entry_bytes > fat_bytes {
            return Err("its FAT is too short for its clusters");
        }
        let clusters = u32::try_from(clusters).map_err(|_| "it has too many clusters")?;
        let root = match width {
            Width::Fat16 if root_bytes == 0 => return Err("it has no root folder"),
            Width::Fat16 => Root::At(Extent {
                offset: root,
                bytes: root_bytes,
            }),
            Width::Fat32 => Root::Cluster(u32_at(44)),
        };
        Ok(Self {
            width,
            fat,
            data,
            cluster_bytes,
            clusters,
            root,
        })
    }

    pub fn cluster_bytes(&self) -> u64 {
        self.cluster_bytes
    }

    /// Number of clusters.
    pub fn clusters(&self) -> u32 {
        self.clusters
    }

    pub fn root(&self) -> Root {
        self.root
    }

    /// Where a cluster lies; clusters are counted from 2.
    pub fn cluster_offset(&self, cluster: u32) -> Option<u64> {
        let index = cluster
            .checked_sub(2)
            .filter(|index| *index < self.clusters)?;
        Some(self.data + u64::from(index) * self.cluster_bytes)
    }

    /// Where the FAT's entry of an existing cluster lies.
    pub fn fat_entry(&self, cluster: u32) -> (u64, Width) {
        let bytes = match self.width {
            Width::Fat16 => 2,
            Width::Fat32 => 4,
        };
        (self.fat.offset + u64::from(cluster) * bytes, self.width)
    }

    pub fn fat_end(&self) -> u64 {
        self.fat.offset + self.fat.bytes
    }
}
