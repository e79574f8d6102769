//! A damaged file system: folders, files and their places are read or refused,
//! never with a panic, and every place lies on the disk.
#![no_main]

mod disk;

use disk::Disk;
use libfuzzer_sys::fuzz_target;
use roost_board::fat::FileSystem;

/// Bytes of the disk.
const BYTES: u64 = 64 << 20;

fuzz_target!(|input: &[u8]| {
    let Ok(mut fs) = FileSystem::open(Disk::of(input)) else {
        return;
    };
    let Ok(root) = fs.list("") else {
        return;
    };
    for item in root.iter().take(8) {
        let _ = fs.has_file(&item.name);
        let inner = fs.list(&item.name).unwrap_or_default();
        let inner = inner
            .iter()
            .map(|inner| format!("{}/{}", item.name, inner.name));
        for path in inner.take(4).chain([item.name.clone()]) {
            let Ok(extents) = fs.extents(&path) else {
                continue;
            };
            for extent in &extents {
                assert!(extent.bytes > 0);
                assert!(extent.offset + extent.bytes <= BYTES);
            }
            let total: u64 = extents.iter().map(|extent| extent.bytes).sum();
            match fs.read(&path, 1 << 16) {
                Ok(bytes) => assert_eq!(bytes.len() as u64, total),
                Err(_) => assert!(total > 1 << 16, "what has a place can be read"),
            }
        }
    }
});
