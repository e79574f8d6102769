//! Partition 1 as anybody may have left it: a file that asks for a factory reset is found in it or
//! not, never a panic, and what is found is short. The record of resets, of any bytes, together
//! with any file: see the property test in `reset_tests.rs`.
#![no_main]

#[path = "../../../../board/fuzz/targets/disk.rs"]
mod disk;

use disk::Disk;
use libfuzzer_sys::fuzz_target;
use roost_init::wish::find;

fuzz_target!(|bytes: &[u8]| {
    if let Some(wish) = find(Disk::of(bytes)) {
        assert!(wish.content.len() <= 256);
        let _ = wish.code();
        let line = serde_json::to_string(&wish).expect("numbers make JSON");
        assert!(line.len() <= 2048);
    }
});
