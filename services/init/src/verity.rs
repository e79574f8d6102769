//! Device-mapper tables for the root file system: `linear` cuts `root.img` out
//! of the slot partition, `verity` above it checks every block
//! (kernel document admin-guide/device-mapper/verity.rst).

use roost_board::cmdline::RootSpec;

/// Bytes in a data or hash block.
const BLOCK: u64 = 4096;
/// Sectors in a block.
const SECTORS_PER_BLOCK: u64 = BLOCK / 512;
/// SHA-256 hashes in a hash block.
const HASHES_PER_BLOCK: u64 = BLOCK / 32;

/// One target line of a device-mapper table, starting at sector 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Target type.
    pub target: &'static str,
    /// Length in sectors.
    pub sectors: u64,
    /// Parameters in the target's own words.
    pub params: String,
}

/// Blocks of the hash tree above `data_blocks`: every level holds one hash
/// for each block of the level below, up to the single root block.
pub fn hash_blocks(data_blocks: u64) -> u64 {
    let mut level = data_blocks;
    let mut total = 0;
    while level > 1 {
        level = level.div_ceil(HASHES_PER_BLOCK);
        total += level;
    }
    total
}

/// The part of the slot partition (`major:minor`) that holds `root.img`.
pub fn linear(root: &RootSpec, partition: &str) -> Table {
    let blocks = root.data_blocks + hash_blocks(root.data_blocks);
    Table {
        target: "linear",
        sectors: blocks * SECTORS_PER_BLOCK,
        params: format!("{partition} {}", root.start_sector),
    }
}

/// The checked root above the linear device (`major:minor`).
///
/// `restart_on_corruption`: a damaged block restarts the machine, so that a
/// trial boot of a bad slot falls back and nothing ever reads wrong data.
pub fn verity(root: &RootSpec, linear: &str) -> Table {
    Table {
        target: "verity",
        sectors: root.data_blocks * SECTORS_PER_BLOCK,
        params: format!(
            "1 {linear} {linear} {BLOCK} {BLOCK} {data} {data} sha256 {hash} {salt} 1 restart_on_corruption",
            data = root.data_blocks,
            hash = hex(&root.root_hash),
            salt = hex(&root.salt),
        ),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root(data_blocks: u64) -> RootSpec {
        RootSpec {
            start_sector: 4096,
            data_blocks,
            root_hash: [0xab; 32],
            salt: [1; 32],
        }
    }

    #[test]
    fn hash_tree_sizes() {
        // Checked against the sizes that `veritysetup format --no-superblock` writes.
        for (data, hashes) in [
            (1, 0),
            (2, 1),
            (128, 1),
            (129, 3),
            (16_384, 129),
            (16_385, 132),
        ] {
            assert_eq!(hash_blocks(data), hashes, "{data} data blocks");
        }
    }

    #[test]
    fn tables() {
        assert_eq!(
            linear(&root(129), "254:2"),
            Table {
                target: "linear",
                sectors: 132 * 8,
                params: "254:2 4096".into()
            }
        );
        let verity = verity(&root(129), "253:0");
        assert_eq!(verity.sectors, 129 * 8);
        assert_eq!(
            verity.params,
            format!(
                "1 253:0 253:0 4096 4096 129 129 sha256 {} {} 1 restart_on_corruption",
                "ab".repeat(32),
                "01".repeat(32)
            )
        );
    }

    proptest! {
        #[test]
        fn the_tree_is_small_and_ends(data in 1u64..(1 << 40)) {
            let hashes = hash_blocks(data);
            prop_assert!(hashes <= data / 127 + 8);
        }
    }
}
