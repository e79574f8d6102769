//! `config.txt` of any bytes, for any boot: never a panic, and the files that it
//! names come from the file or are the firmware's own defaults. The first byte
//! says which boot, the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_board::Board;
use roost_board::config_txt::{Conditions, Config};

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, text)) = bytes.split_first() else {
        return;
    };
    let boot = Conditions {
        board: Board::ALL[usize::from(kind & 3)],
        partition: kind >> 2 & 3,
        tryboot: kind & 16 != 0,
    };
    let Ok(config) = Config::parse(text, &boot) else {
        return;
    };
    let files = config.boot_files();
    let text = std::str::from_utf8(text).expect("it was read as text");
    assert!(files.kernel.ends_with("kernel8.img") || config.get("kernel").is_some());
    if let Some(initramfs) = &files.initramfs {
        let prefix = config.get("os_prefix").unwrap_or_default();
        let name = initramfs.strip_prefix(prefix).expect("the prefix is first");
        assert!(text.contains(name));
    }
    for name in config.firmware(boot.board).slot {
        assert!(!name.contains('/'));
    }
});
