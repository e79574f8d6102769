//! A slot's `config.txt`, as the firmware reads it.
//!
//! Specification: Raspberry Pi documentation, "The config.txt file". Only what
//! decides which files a boot uses is understood: conditional sections,
//! `kernel`, `initramfs`, `device_tree`, `cmdline`, `os_prefix`, `gpu_mem`.
//! `include` is refused, since the result would be wrong without it, and so is
//! a 32-bit start.

use crate::machine::Board;
use thiserror::Error;

/// File name in the root of a slot.
pub const FILE: &str = "config.txt";
/// The firmware cuts a line behind this many characters.
const MAX_LINE: usize = 98;

/// Why a `config.txt` is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file is not UTF-8.
    #[error("config.txt is not text")]
    NotText,
    /// The firmware would cut this line.
    #[error("config.txt line {0} has more than {MAX_LINE} characters, which the firmware cuts off")]
    TooLong(usize),
    /// `include` is not followed.
    #[error("config.txt line {0}: include is not supported")]
    Include(usize),
    /// The firmware would start the 64-bit kernel in 32-bit mode.
    #[error("config.txt says arm_64bit=0, but the kernel is a 64-bit one")]
    ThirtyTwoBit,
    /// Not a section, a setting or a comment.
    #[error("config.txt line {line}: {text:?} is not a section or key=value")]
    BadLine {
        /// Line number from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

/// What a boot is like, for the conditions in `[…]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// The board; on [`Board::Virt`] only unconditional lines apply.
    pub board: Board,
    /// The partition that the file is on.
    pub partition: u8,
    /// Whether this is a trial boot.
    pub tryboot: bool,
}

/// The settings that apply to one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Key and value in the order of the file; for the firmware the last one counts.
    settings: Vec<(String, String)>,
    initramfs: Option<String>,
    upstream_default: Option<&'static str>,
    downstream_default: Option<&'static str>,
}

/// The files of a boot, as paths in the slot's file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFiles {
    /// The kernel.
    pub kernel: String,
    /// The initramfs, if there is one.
    pub initramfs: Option<String>,
    /// The device tree; `None` on a machine that brings its own.
    pub device_tree: Option<String>,
    /// The file with the kernel command line.
    pub cmdline: String,
}

/// State of the conditions: those of one kind replace each other, those of
/// different kinds must all hold.
struct Filters {
    none: bool,
    model: bool,
    tryboot: bool,
    partition: bool,
    other: bool,
}

impl Filters {
    const ALL: Self = Self {
        none: true,
        model: true,
        tryboot: true,
        partition: true,
        other: true,
    };

    fn apply(&mut self, name: &str, boot: &Conditions) {
        match name {
            "all" => *self = Self::ALL,
            "none" => self.none = false,
            "tryboot" => self.tryboot = boot.tryboot,
            "pi3" => self.model = boot.board == Board::Rpi3,
            "pi4" => self.model = boot.board == Board::Rpi4,
            "pi5" => self.model = boot.board == Board::Rpi5,
            // Sub-models ([pi3+], [cm4], …) that nothing here runs on.
            name if name.starts_with("pi") || name.starts_with("cm") => self.model = false,
            name => match name.split_once('=') {
                Some(("boot_partition" | "partition", n)) => {
                    self.partition = n.parse() == Ok(boot.partition);
                }
                // Serial numbers, displays and pins of no known machine.
                _ => self.other = false,
            },
        }
    }

    const fn hold(&self) -> bool {
        self.none && self.model && self.tryboot && self.partition && self.other
    }
}

impl Config {
    /// Reads the file for one boot.
    ///
    /// # Errors
    /// When the firmware would read something else than what is written.
    pub fn parse(bytes: &[u8], boot: &Conditions) -> Result<Self, ConfigError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ConfigError::NotText)?;
        let mut filters = Filters::ALL;
        let (upstream_default, downstream_default) = default_device_trees(boot.board);
        let mut config = Self {
            settings: Vec::new(),
            initramfs: None,
            upstream_default,
            downstream_default,
        };
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if text.chars().count() > MAX_LINE {
                return Err(ConfigError::TooLong(line));
            }
            if let Some(name) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
                filters.apply(name.trim(), boot);
            } else if text.starts_with("include ") {
                return Err(ConfigError::Include(line));
            } else if let Some(rest) = text.strip_prefix("initramfs ") {
                if filters.hold() {
                    config.initramfs = rest.split_ascii_whitespace().next().map(str::to_owned);
                }
            } else if let Some((key, value)) = text.split_once('=') {
                if filters.hold() {
                    config
                        .settings
                        .push((key.trim().to_owned(), value.trim().to_owned()));
                }
            } else {
                return Err(ConfigError::BadLine {
                    line,
                    text: text.to_owned(),
                });
            }
        }
        if boot.board != Board::Virt && config.get("arm_64bit") == Some("0") {
            return Err(ConfigError::ThirtyTwoBit);
        }
        Ok(config)
    }

    /// The value of a key that counts: the last one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// The files that the boot uses, with the firmware's defaults filled in
    /// (64-bit kernels only).
    pub fn boot_files(&self) -> BootFiles {
        let prefix = self.get("os_prefix").unwrap_or_default();
        let path = |name: &str| format!("{prefix}{name}");
        let default_tree = match self.get("upstream_kernel") {
            Some("1") => self.upstream_default,
            _ => self.downstream_default,
        };
        BootFiles {
            kernel: path(self.get("kernel").unwrap_or("kernel8.img")),
            initramfs: self.initramfs.as_deref().map(path),
            device_tree: self
                .get("device_tree")
                .filter(|t| !t.is_empty())
                .or(default_tree)
                .map(path),
            cmdline: path(self.get("cmdline").unwrap_or("cmdline.txt")),
        }
    }
}

/// Parts of the firmware itself that a board loads from the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firmware {
    /// Files of the first partition, where the boot code in the chip looks.
    pub selector: &'static [&'static str],
    /// Files beside `config.txt`.
    pub slot: &'static [&'static str],
}

impl Config {
    /// The firmware that a boot with these settings loads; a Pi 4 and a Pi 5
    /// have its first stage, a Pi 5 all of it, in a chip of their own. With
    /// `gpu_mem=16` the cut-down files are used.
    pub fn firmware(&self, board: Board) -> Firmware {
        let cut_down = self.get("gpu_mem") == Some("16");
        let (selector, slot): (&[_], &[_]) = match (board, cut_down) {
            (Board::Rpi3, true) => (&["bootcode.bin"], &["start_cd.elf", "fixup_cd.dat"]),
            (Board::Rpi3, false) => (&["bootcode.bin"], &["start.elf", "fixup.dat"]),
            (Board::Rpi4, true) => (&[], &["start4cd.elf", "fixup4cd.dat"]),
            (Board::Rpi4, false) => (&[], &["start4.elf", "fixup4.dat"]),
            (Board::Rpi5 | Board::Virt, _) => (&[], &[]),
        };
        Firmware { selector, slot }
    }
}

/// The device tree that the firmware chooses by itself on the first model of a
/// board: its name upstream and in the Raspberry Pi's own kernel.
const fn default_device_trees(board: Board) -> (Option<&'static str>, Option<&'static str>) {
    match board {
        Board::Virt => (None, None),
        Board::Rpi3 => (Some("bcm2837-rpi-3-b.dtb"), Some("bcm2710-rpi-3-b.dtb")),
        Board::Rpi4 => (Some("bcm2711-rpi-4-b.dtb"), Some("bcm2711-rpi-4-b.dtb")),
        Board::Rpi5 => (Some("bcm2712-rpi-5-b.dtb"), Some("bcm2712-rpi-5-b.dtb")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOOT: Conditions = Conditions {
        board: Board::Rpi3,
        partition: 2,
        tryboot: false,
    };

    fn files(text: &str, boot: Conditions) -> BootFiles {
        Config::parse(text.as_bytes(), &boot).unwrap().boot_files()
    }

    const OURS: &str = "# ours\narm_64bit=1\nupstream_kernel=1\nkernel=Image.gz\r\n\
        initramfs initrd.gz followkernel\n[pi5]\ndevice_tree=five.dtb\n[all]\nenable_uart=1\n";

    #[test]
    fn files_of_each_board() {
        let three = files(OURS, BOOT);
        assert_eq!(three.kernel, "Image.gz");
        assert_eq!(three.initramfs.as_deref(), Some("initrd.gz"));
        assert_eq!(three.device_tree.as_deref(), Some("bcm2837-rpi-3-b.dtb"));
        assert_eq!(three.cmdline, "cmdline.txt");
        let tree = |board| files(OURS, Conditions { board, ..BOOT }).device_tree;
        assert_eq!(tree(Board::Rpi4).as_deref(), Some("bcm2711-rpi-4-b.dtb"));
        assert_eq!(tree(Board::Rpi5).as_deref(), Some("five.dtb"));
        assert_eq!(tree(Board::Virt), None);
        assert_eq!(
            files("", BOOT).device_tree.as_deref(),
            Some("bcm2710-rpi-3-b.dtb")
        );
        assert_eq!(files("", BOOT).kernel, "kernel8.img");
    }

    #[test]
    fn the_file_that_ships_suits_every_board() {
        let boards = include_str!("../rpi/boards.toml");
        for board in [Board::Rpi3, Board::Rpi4, Board::Rpi5, Board::Virt] {
            let config = include_bytes!("../rpi/config.txt");
            let config = Config::parse(config, &Conditions { board, ..BOOT }).unwrap();
            for name in config.firmware(board).slot {
                assert!(
                    boards.contains(&format!("\"{name}\"")),
                    "{name} is not in the slot"
                );
            }
            let ours = config.boot_files();
            assert_eq!(
                (ours.kernel.as_str(), ours.cmdline.as_str()),
                ("Image.gz", "cmdline.txt")
            );
            assert_eq!(ours.initramfs.as_deref(), Some("initrd.img"));
            if let Some(tree) = ours.device_tree {
                assert!(
                    boards.contains(&format!("\"{tree}\"")),
                    "{tree} is not in the slot"
                );
            }
        }
    }

    #[test]
    fn conditions_add_up_until_all() {
        let text = "[pi3]\n[tryboot]\nkernel=trial\n[pi4]\nkernel=never\n[all]\n[boot_partition=3]\nkernel=b\n";
        let kernel = |partition, tryboot| {
            files(
                text,
                Conditions {
                    partition,
                    tryboot,
                    ..BOOT
                },
            )
            .kernel
        };
        assert_eq!(kernel(2, false), "kernel8.img");
        assert_eq!(kernel(2, true), "trial");
        assert_eq!(kernel(3, true), "b");
        assert_eq!(files("[pi3]\n[pi4]\n[pi3]\nkernel=x\n", BOOT).kernel, "x");
        assert_eq!(
            files("[none]\n[pi3]\nkernel=x\n", BOOT).kernel,
            "kernel8.img"
        );
        assert_eq!(
            files("[0x12345678]\nkernel=x\n", BOOT).kernel,
            "kernel8.img"
        );
        assert_eq!(files("[pi3+]\nkernel=x\n", BOOT).kernel, "kernel8.img");
    }

    #[test]
    fn the_last_setting_counts_and_the_prefix_goes_before_it() {
        let files = files("os_prefix=new/\nkernel=a\nkernel=b\ncmdline=c.txt\n", BOOT);
        assert_eq!(files.kernel, "new/b");
        assert_eq!(files.cmdline, "new/c.txt");
    }

    #[test]
    fn what_the_firmware_would_misread_is_refused() {
        let text = |t: &str| Config::parse(t.as_bytes(), &BOOT).unwrap_err().to_string();
        assert_eq!(
            text(&format!("a=1\nkernel={}", "x".repeat(98))),
            "config.txt line 2 has more than 98 characters, which the firmware cuts off"
        );
        assert_eq!(
            text("include more.txt"),
            "config.txt line 1: include is not supported"
        );
        assert_eq!(
            text("kernel Image"),
            "config.txt line 1: \"kernel Image\" is not a section or key=value"
        );
        assert_eq!(Config::parse(&[0xff], &BOOT), Err(ConfigError::NotText));
        assert_eq!(
            text("arm_64bit=0"),
            "config.txt says arm_64bit=0, but the kernel is a 64-bit one"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|[\\[\\]=\n]|pi3|all|kernel){0,60}") {
            let _ = Config::parse(text.as_bytes(), &BOOT).map(|c| c.boot_files());
        }
    }
}
