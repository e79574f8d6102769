//! A kernel command line and the board's name in a device tree, of any bytes:
//! never a panic, and boot arguments that are read and written again are read
//! as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_board::Board;
use roost_board::cmdline::{BootArgs, cmdline_txt};

fuzz_target!(|bytes: &[u8]| {
    let line = String::from_utf8_lossy(bytes);
    if let Ok(args) = BootArgs::parse(&line) {
        assert_eq!(BootArgs::parse(&args.to_string()).as_ref(), Ok(&args));
        assert_eq!(BootArgs::parse(&cmdline_txt(&args)), Ok(args));
    }
    if let Some(board) = Board::from_compatible(bytes) {
        assert_eq!(Board::from_name(board.name()), Some(board));
    }
});
