//! A damaged selector: whatever it holds, reading the choice and changing it
//! never panics. Reading writes nothing; a change that succeeds is read back
//! and differs in one sector; one that is refused has written nothing.
#![no_main]

mod disk;

use disk::Disk;
use libfuzzer_sys::fuzz_target;
use roost_board::Slot;
use roost_board::boot_control::{commit, selected};

fuzz_target!(|input: &[u8]| {
    let before = Disk::of(input);
    let mut disk = before.clone();
    let found = selected(&mut disk).ok();
    assert_eq!(disk.differing(&before), 0);
    for slot in [Slot::B, Slot::A] {
        let before = disk.clone();
        match commit(&mut disk, slot) {
            Ok(written) => {
                assert_eq!(selected(&mut disk).ok(), Some(slot));
                assert_eq!(disk.differing(&before), usize::from(written));
            }
            Err(_) => {
                assert_eq!(disk.differing(&before), 0);
                assert_eq!(found, None, "what can be read can be changed");
            }
        }
    }
});
