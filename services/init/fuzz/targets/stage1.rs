//! What stage1 makes of a kernel command line of any bytes: device-mapper
//! tables for the root that lie in one another, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_board::cmdline::BootArgs;
use roost_init::verity::{linear, verity};

fuzz_target!(|bytes: &[u8]| {
    let Ok(args) = BootArgs::parse(&String::from_utf8_lossy(bytes)) else {
        return;
    };
    let (below, above) = (linear(&args.root, "254:2"), verity(&args.root, "253:0"));
    // One block has no hash tree: the root hash is its own.
    assert!(above.sectors <= below.sectors);
    assert_eq!(above.sectors / 8, args.root.data_blocks);
    assert!(args.root.start_sector.checked_add(below.sectors).is_some());
    // The kernel takes parameters of one page with its own fields before them.
    assert!(above.params.len() < 1024 && below.params.len() < 1024);
});
