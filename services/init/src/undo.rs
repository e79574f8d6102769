//! Undo files of e2fsck (`-z`; format: e2fsprogs `lib/ext2fs/undo_io.c`): what
//! every changed block held before.
//!
//! A header of one block, a copy of the superblock, then again and again a
//! block of keys and the old contents that they name, all little-endian.

/// Bytes of a key, and of what stands before the first key of a block.
const KEY: usize = 16;
const KEY_BLOCK_MAGIC: u32 = 0xcade_cade;

/// The old contents and where on the device they belong (bytes); `None` if
/// the file is no undo file or ends too early. Whether it is marked as finished
/// does not matter: e2fsck notes a block before it changes it, and leaves out
/// the mark when it gives up.
pub fn old_contents(file: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let u32_at =
        |at: usize| -> Option<u32> { Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?)) };
    let u64_at =
        |at: usize| -> Option<u64> { Some(u64::from_le_bytes(*file.get(at..)?.first_chunk()?)) };
    if !file.starts_with(b"E2UNDO02") {
        return None;
    }
    let keys = u64_at(8)?;
    if keys == 0 {
        // Then the other fields need not have been written.
        return Some(Vec::new());
    }
    let block = usize::try_from(u32_at(32)?).ok()?;
    let unit = u64::from(u32_at(36)?);
    if block <= KEY {
        return None;
    }
    let mut at = usize::try_from(u64_at(24)?).ok()?.checked_mul(block)?;
    let mut found: Vec<(u64, &[u8])> = Vec::new();
    while (found.len() as u64) < keys {
        if u32_at(at)? != KEY_BLOCK_MAGIC {
            return None;
        }
        let left = keys - found.len() as u64;
        let here = left.min((block / KEY - 1) as u64) as usize;
        let mut data = at.checked_add(block)?;
        for key in (1..=here).map(|number| at + number * KEY) {
            let length = usize::try_from(u32_at(key + 12)?).ok()?;
            let old = file.get(data..data.checked_add(length)?)?;
            found.push((u64_at(key)?.checked_mul(unit)?, old));
            data = data.checked_add(length.next_multiple_of(block))?;
        }
        at = data;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An undo file with blocks of 1,024 bytes (63 keys each) over a device with blocks of 4,096.
    fn undo_file(contents: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut file = b"E2UNDO02".to_vec();
        file.extend((contents.len() as u64).to_le_bytes());
        file.extend([1u64, 2].map(u64::to_le_bytes).concat());
        file.extend([1024u32, 4096].map(u32::to_le_bytes).concat());
        file.resize(2048, 0);
        for chunk in contents.chunks(63) {
            let begin = file.len();
            file.extend(KEY_BLOCK_MAGIC.to_le_bytes());
            file.extend([0; 12]);
            for (place, old) in chunk {
                file.extend((place / 4096).to_le_bytes());
                file.extend([0; 4]);
                file.extend((old.len() as u32).to_le_bytes());
            }
            file.resize(begin + 1024, 0);
            for (_, old) in chunk {
                file.extend(old);
                file.resize(file.len().next_multiple_of(1024), 0);
            }
        }
        file
    }

    proptest! {
        #[test]
        fn what_was_there_is_found(
            blocks in proptest::collection::vec((0u64..1 << 40, 1usize..3000, any::<u8>()), 0..150)
        ) {
            let contents: Vec<_> = blocks
                .iter()
                .map(|(place, length, byte)| (place * 4096, vec![*byte; *length]))
                .collect();
            let file = undo_file(&contents);
            let found = old_contents(&file).unwrap();
            prop_assert_eq!(found.len(), contents.len());
            for ((place, old), (at, bytes)) in contents.iter().zip(found) {
                prop_assert_eq!((*place, &old[..]), (at, bytes));
            }
            if !contents.is_empty() {
                prop_assert_eq!(old_contents(&file[..2048 + 1023]), None, "cut off");
            }
        }

        #[test]
        fn junk_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 8..4000)) {
            bytes[..8].copy_from_slice(b"E2UNDO02");
            let _ = old_contents(&bytes);
        }

        #[test]
        fn junk_headers_never_panic(keys: u64, place in 0u64..5, block in 0u32..2000, unit: u32) {
            let mut file = undo_file(&[(0, vec![1; 3000]), (4096, vec![2; 10])]);
            file[8..16].copy_from_slice(&keys.to_le_bytes());
            file[24..32].copy_from_slice(&place.to_le_bytes());
            file[32..36].copy_from_slice(&block.to_le_bytes());
            file[36..40].copy_from_slice(&unit.to_le_bytes());
            let _ = old_contents(&file);
        }
    }

    #[test]
    fn a_file_without_keys_is_empty_and_an_empty_file_is_none() {
        let mut file = undo_file(&[]);
        file[32..40].fill(0);
        assert_eq!(old_contents(&file), Some(Vec::new()));
        assert_eq!(old_contents(b""), None);
    }
}
