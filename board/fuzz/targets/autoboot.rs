//! `autoboot.txt` of any bytes: never a panic, and what is read and written
//! again is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_board::autoboot::Autoboot;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(autoboot) = Autoboot::parse(bytes) {
        assert_eq!(Autoboot::parse(&autoboot.render()), Ok(autoboot));
        for tryboot in [false, true] {
            assert_ne!(autoboot.partition(tryboot), Some(0));
        }
    }
});
