//! What init reads of the data partition: the ext4 superblock and the file in
//! which e2fsck notes what it overwrites. Never a panic; growth never
//! promises more than the partition has, and what is put back lies in the file.
//! The first byte chooses, then eight bytes are the partition's length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_init::ext4::{LENGTH, Superblock};
use roost_init::undo::old_contents;

fuzz_target!(|bytes: &[u8]| {
    let Some(([kind, length @ ..], bytes)) = bytes.split_first_chunk::<9>() else {
        return;
    };
    if kind & 1 == 0 {
        let length = u64::from_le_bytes(*length);
        let mut superblock = [0; LENGTH];
        let count = bytes.len().min(LENGTH);
        superblock[..count].copy_from_slice(&bytes[..count]);
        superblock[56..58].copy_from_slice(&[0x53, 0xef]);
        if let Some(found) = Superblock::parse(&superblock)
            && let Some(blocks) = found.growth(length)
        {
            assert!(blocks > found.blocks);
            assert!(blocks * found.block_size <= length);
        }
        return;
    }
    let file = [b"E2UNDO02", bytes].concat();
    let total = file.len();
    for (_, old) in old_contents(&file).unwrap_or_default() {
        assert!(old.len() <= total);
    }
});
