//! The few fields of an ext4 superblock that growing needs
//! (kernel document filesystems/ext4/super.rst).

/// Where the superblock begins on the partition, in bytes.
pub const OFFSET: u64 = 1024;
/// Bytes of it that [`Superblock::parse`] wants.
pub const LENGTH: usize = 1024;

/// Geometry of an ext4 file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Bytes in a block.
    pub block_size: u64,
    /// Blocks in the file system.
    pub blocks: u64,
}

impl Superblock {
    /// Reads a superblock; `None` if this is no ext4.
    pub fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[56..58] != [0x53, 0xef] {
            return None;
        }
        let shift = u32_at(0x18);
        if shift > 6 {
            return None;
        }
        // INCOMPAT_64BIT: the upper half of the count is in use.
        let high = if u32_at(0x60) & 0x80 != 0 {
            u64::from(u32_at(0x150)) << 32
        } else {
            0
        };
        Some(Self {
            block_size: 1024 << shift,
            blocks: high | u64::from(u32_at(4)),
        })
    }

    /// How many blocks would fill a partition of `bytes`, if that is more than now.
    pub fn growth(&self, bytes: u64) -> Option<u64> {
        let full = bytes / self.block_size;
        (full > self.blocks).then_some(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_geometry() {
        let mut bytes = [0u8; LENGTH];
        assert_eq!(Superblock::parse(&bytes), None);
        bytes[56..58].copy_from_slice(&[0x53, 0xef]);
        bytes[0x18] = 2;
        bytes[4..8].copy_from_slice(&16384u32.to_le_bytes());
        bytes[0x150] = 1;
        let sb = Superblock::parse(&bytes).unwrap();
        assert_eq!(
            sb,
            Superblock {
                block_size: 4096,
                blocks: 16384
            }
        );
        assert_eq!(sb.growth(16384 * 4096 + 4095), None);
        assert_eq!(sb.growth(16385 * 4096), Some(16385));
        bytes[0x60] = 0x80;
        assert_eq!(Superblock::parse(&bytes).unwrap().blocks, 16384 + (1 << 32));
    }

    proptest! {
        #[test]
        fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), LENGTH), size: u64) {
            let mut bytes: [u8; LENGTH] = bytes.try_into().unwrap();
            bytes[56..58].copy_from_slice(&[0x53, 0xef]);
            if let Some(sb) = Superblock::parse(&bytes) {
                let _ = sb.growth(size);
            }
        }
    }
}
