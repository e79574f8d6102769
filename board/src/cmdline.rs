//! The kernel command line: what the builder tells stage1.
//!
//! ```text
//! roost.disk=1a2b3c4d roost.root=2048,17000,<root hash>,<salt>
//! ```
//! An emulator without the Pi's firmware adds `roost.partition=2
//! roost.tryboot=0`; `roost.watchdog=off` is for a machine whose watchdog
//! cannot be used. Every other word belongs to the kernel and is left alone.
//! Words of `roost.` that are not known are refused: `cmdline.txt` and stage1
//! come from the same build, so an unknown word can only be a mistake.

use crate::layout::Slot;
use std::fmt::{self, Write as _};
use thiserror::Error;

/// Words for the kernel that every board gets.
///
/// Kernel messages go to each of these consoles that exists: the screen, the
/// serial pins of Pi 3 and Pi 4 (ttyS1), the debug connector of the Pi 5, virt
/// (ttyAMA0). The Pi 5's is named by its device, not as ttyAMA10: the kernel
/// takes only the first `console=ttyAMA…`, whether that port exists or not.
/// A panic, and a kernel bug that would only kill a thread, restart the
/// machine: a box has nobody who would press a key. Huge pages give a thread
/// that needs 20 KiB 2 MiB, and the kernel keeps memory free to make them of
/// (`set_recommended_min_free_kbytes`, Linux, mm/khugepaged.c): more than half
/// of what the box had in use (docs/benchmarks.md).
const BASE: &str = "console=tty1 console=ttyS1,115200 console=107d001000.serial:0.0,115200 \
                    console=ttyAMA0,115200 panic=10 oops=panic loglevel=4 printk.devkmsg=on \
                    transparent_hugepage=never";
/// Bytes that the kernel keeps of a command line (`COMMAND_LINE_SIZE` of
/// arm64); the firmware adds words of its own, hence half of it.
const MAX_LINE: usize = 2048 / 2;

/// 512-byte sectors in a block of [`RootSpec::data_blocks`].
const SECTORS_PER_BLOCK: u64 = 4096 / 512;

/// Words for the kernel, the same on every board and in every build.
pub const fn base_line() -> &'static str {
    BASE
}

/// The text of a slot's `cmdline.txt`: one line.
///
/// The firmware passes only the first line on.
pub fn cmdline_txt(args: &BootArgs) -> String {
    let text = format!("{BASE} {args}\n");
    debug_assert!(text.len() <= MAX_LINE);
    text
}

/// Where the root file system is and how it proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSpec {
    /// First 512-byte sector of `root.img`, counted from the start of the
    /// slot's partition.
    pub start_sector: u64,
    /// Number of 4096-byte data blocks; the verity hash tree follows them.
    pub data_blocks: u64,
    /// SHA-256 root of the verity hash tree.
    pub root_hash: [u8; 32],
    /// Salt of the verity hash tree.
    pub salt: [u8; 32],
}

/// All words of `roost.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootArgs {
    /// MBR id of the disk that the slot is on.
    pub disk_id: u32,
    /// The slot's root file system.
    pub root: RootSpec,
    /// Partition number of the slot (2 or 3) where no firmware reports it.
    pub partition: Option<u8>,
    /// Whether this is a trial boot, where no firmware reports it.
    pub tryboot: bool,
    /// Whether the hardware watchdog may be used; true unless said otherwise.
    pub watchdog: bool,
}

/// Why a command line is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CmdlineError {
    /// A word that must be there is not.
    #[error("the kernel command line lacks {0}=")]
    Missing(&'static str),
    /// A word is there twice; which of them counts would be a guess.
    #[error("the kernel command line has {0}= twice")]
    Twice(String),
    /// A word of ours that does not exist.
    #[error("the kernel command line has {0:?}, which means nothing to this system")]
    Unknown(String),
    /// A value that cannot be read.
    #[error("the kernel command line has {name}={value:?}: {reason}")]
    BadValue {
        /// The word, e.g. `roost.disk`.
        name: &'static str,
        /// What follows the `=`.
        value: String,
        /// What it should look like.
        reason: &'static str,
    },
}

const DISK: &str = "roost.disk";
const ROOT: &str = "roost.root";
const PARTITION: &str = "roost.partition";
const TRYBOOT: &str = "roost.tryboot";
const WATCHDOG: &str = "roost.watchdog";

impl BootArgs {
    /// What a build writes into `cmdline.txt`: nothing about this very boot.
    pub const fn new(disk_id: u32, root: RootSpec) -> Self {
        Self {
            disk_id,
            root,
            partition: None,
            tryboot: false,
            watchdog: true,
        }
    }

    /// Reads a whole kernel command line (`/proc/cmdline`).
    ///
    /// # Errors
    /// When `roost.disk` or `roost.root` is missing, a word of `roost.` is
    /// there twice, is unknown or has a bad value.
    pub fn parse(line: &str) -> Result<Self, CmdlineError> {
        let mut values: [(&'static str, Option<&str>); 5] =
            [DISK, ROOT, PARTITION, TRYBOOT, WATCHDOG].map(|name| (name, None));
        for word in words(line).filter(|word| word.starts_with("roost.")) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let Some((_, known)) = values.iter_mut().find(|(known, _)| *known == name) else {
                return Err(CmdlineError::Unknown(name.to_owned()));
            };
            if known.replace(value).is_some() {
                return Err(CmdlineError::Twice(name.to_owned()));
            }
        }
        let [disk, root, partition, tryboot, watchdog] =
            values.map(|(name, value)| value.map(|value| Word { name, value }));
        Ok(Self {
            disk_id: disk.ok_or(CmdlineError::Missing(DISK))?.disk_id()?,
            root: root.ok_or(CmdlineError::Missing(ROOT))?.root()?,
            partition: partition.map(|word| word.partition()).transpose()?,
            tryboot: tryboot.map_or(Ok(false), |word| word.flag(["0", "1"], "expected 0 or 1"))?,
            watchdog: watchdog.map_or(Ok(true), |word| {
                word.flag(["off", "on"], "expected on or off")
            })?,
        })
    }
}

/// The words of `roost.` with one space between them, in a fixed order.
impl fmt::Display for BootArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RootSpec {
            start_sector,
            data_blocks,
            root_hash,
            salt,
        } = &self.root;
        write!(
            f,
            "{DISK}={:08x} {ROOT}={start_sector},{data_blocks},",
            self.disk_id
        )?;
        hex(f, root_hash)?;
        f.write_char(',')?;
        hex(f, salt)?;
        if let Some(partition) = self.partition {
            write!(f, " {PARTITION}={partition}")?;
        }
        if self.tryboot || self.partition.is_some() {
            write!(f, " {TRYBOOT}={}", u8::from(self.tryboot))?;
        }
        if !self.watchdog {
            write!(f, " {WATCHDOG}=off")?;
        }
        Ok(())
    }
}

/// Splits as the kernel does: at blanks outside of double quotes.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

struct Word<'a> {
    name: &'static str,
    value: &'a str,
}

impl Word<'_> {
    fn bad(&self, reason: &'static str) -> CmdlineError {
        CmdlineError::BadValue {
            name: self.name,
            value: self.value.to_owned(),
            reason,
        }
    }

    fn disk_id(&self) -> Result<u32, CmdlineError> {
        let bytes =
            bytes_from_hex(self.value).ok_or_else(|| self.bad("expected 8 lower hex digits"))?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn root(&self) -> Result<RootSpec, CmdlineError> {
        let parts: Vec<&str> = self.value.split(',').collect();
        let [start, blocks, root_hash, salt] = parts[..] else {
            return Err(self.bad("expected <start>,<blocks>,<root hash>,<salt>"));
        };
        let number = |text, reason| decimal(text).ok_or_else(|| self.bad(reason));
        let hash = |text, reason| bytes_from_hex(text).ok_or_else(|| self.bad(reason));
        let root = RootSpec {
            start_sector: number(start, "the start is not a number of sectors")?,
            data_blocks: number(blocks, "the length is not a number of blocks")?,
            root_hash: hash(root_hash, "the root hash is not 64 lower hex digits")?,
            salt: hash(salt, "the salt is not 64 lower hex digits")?,
        };
        if root.data_blocks == 0 {
            return Err(self.bad("the root file system has no blocks"));
        }
        // Partitions end there too: an MBR counts sectors in 32 bits.
        let sectors = root.data_blocks.checked_mul(SECTORS_PER_BLOCK);
        let end = sectors.and_then(|sectors| sectors.checked_add(root.start_sector));
        if end.is_none_or(|end| end > u32::MAX.into()) {
            return Err(self.bad("the root file system ends beyond 2 TiB"));
        }
        Ok(root)
    }

    fn partition(&self) -> Result<u8, CmdlineError> {
        decimal(self.value)
            .and_then(|number| Slot::from_partition(number.try_into().ok()?))
            .map(Slot::partition)
            .ok_or_else(|| self.bad("expected a slot's partition, 2 or 3"))
    }

    fn flag(&self, [no, yes]: [&str; 2], reason: &'static str) -> Result<bool, CmdlineError> {
        match self.value {
            value if value == no => Ok(false),
            value if value == yes => Ok(true),
            _ => Err(self.bad(reason)),
        }
    }
}

/// A number as [`fmt::Display`] writes it: no sign, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

fn bytes_from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn args() -> BootArgs {
        let root = RootSpec {
            start_sector: 2048,
            data_blocks: 17,
            root_hash: [0xab; 32],
            salt: [0x01; 32],
        };
        BootArgs::new(0x0a2b_3c4d, root)
    }

    #[test]
    fn the_whole_line() {
        let hash = "ab".repeat(32);
        let salt = "01".repeat(32);
        assert_eq!(
            cmdline_txt(&args()),
            format!(
                "console=tty1 console=ttyS1,115200 console=107d001000.serial:0.0,115200 \
                 console=ttyAMA0,115200 \
                 panic=10 oops=panic \
                 loglevel=4 printk.devkmsg=on transparent_hugepage=never \
                 roost.disk=0a2b3c4d roost.root=2048,17,{hash},{salt}\n"
            )
        );
        assert_eq!(BootArgs::parse(&cmdline_txt(&args())), Ok(args()));
    }

    #[test]
    fn what_an_emulator_adds() {
        let line = cmdline_txt(&args());
        let line = line.trim_end();
        let parsed = BootArgs::parse(&format!(
            "{line} roost.partition=3 roost.tryboot=1 roost.watchdog=off"
        ));
        let expected = BootArgs {
            partition: Some(3),
            tryboot: true,
            watchdog: false,
            ..args()
        };
        assert_eq!(parsed, Ok(expected));
    }

    #[test]
    fn words_of_others_are_left_alone() {
        let line = format!(
            "  root=/dev/sda  x=\"a roost.disk=9 b\"\troostery=1 {}\u{a0}ü -- roost\n",
            args()
        );
        // A no-break space does not end a word for the kernel either: it spoils the salt.
        assert!(BootArgs::parse(&line).is_err());
        assert_eq!(BootArgs::parse(&line.replace("\u{a0}", " ")), Ok(args()));
    }

    #[test]
    fn errors_name_the_word_and_the_reason() {
        let text = |line: &str| BootArgs::parse(line).unwrap_err().to_string();
        let good = args().to_string();
        assert_eq!(text("quiet"), "the kernel command line lacks roost.disk=");
        assert_eq!(
            text("roost.disk=00000000"),
            "the kernel command line lacks roost.root="
        );
        assert_eq!(
            text(&format!("{good} roost.disk=0a2b3c4d")),
            "the kernel command line has roost.disk= twice"
        );
        assert_eq!(
            text(&format!("{good} roost.watchdgo=off")),
            "the kernel command line has \"roost.watchdgo\", which means nothing to this system"
        );
        // The good line with one word replaced or added.
        let bad = |word: &str, reason: &str| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let others = good.split(' ').filter(|w| !w.starts_with(name));
            let line = others.chain([word]).collect::<Vec<_>>().join(" ");
            assert_eq!(
                text(&line),
                format!("the kernel command line has {name}={value:?}: {reason}")
            );
        };
        bad("roost.disk=0A2B3C4D", "expected 8 lower hex digits");
        bad("roost.disk=", "expected 8 lower hex digits");
        bad(
            "roost.root=1,2,3",
            "expected <start>,<blocks>,<root hash>,<salt>",
        );
        bad(
            "roost.root=+1,2,3,4",
            "the start is not a number of sectors",
        );
        bad(
            "roost.root=1,99999999999999999999,3,4",
            "the length is not a number of blocks",
        );
        bad(
            "roost.root=1,2,3,4",
            "the root hash is not 64 lower hex digits",
        );
        let hash = "ab".repeat(32);
        for place in ["1,18446744073709551615", "4294967289,1"] {
            bad(
                &format!("roost.root={place},{hash},{hash}"),
                "the root file system ends beyond 2 TiB",
            );
        }
        bad("roost.partition=4", "expected a slot's partition, 2 or 3");
        bad("roost.partition=258", "expected a slot's partition, 2 or 3");
        bad("roost.tryboot=yes", "expected 0 or 1");
        bad("roost.watchdog", "expected on or off");
    }

    #[test]
    fn the_longest_line_fits() {
        let root = RootSpec {
            start_sector: u64::MAX,
            data_blocks: u64::MAX,
            root_hash: [1; 32],
            salt: [2; 32],
        };
        let args = BootArgs {
            disk_id: u32::MAX,
            root,
            partition: Some(3),
            tryboot: true,
            watchdog: false,
        };
        assert!(cmdline_txt(&args).len() <= MAX_LINE);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            disk_id: u32, start_sector in 0u64..1 << 31, data_blocks in 1u64..1 << 28,
            root_hash: [u8; 32], salt: [u8; 32],
            partition in proptest::option::of(2u8..4), tryboot: bool, watchdog: bool,
        ) {
            let root = RootSpec { start_sector, data_blocks, root_hash, salt };
            let args = BootArgs { disk_id, root, partition, tryboot, watchdog };
            prop_assert_eq!(BootArgs::parse(&cmdline_txt(&args)), Ok(args));
        }

        #[test]
        fn any_line_is_read_or_refused(line: String, tail in "(roost\\.(disk|root|tryboot|partition)=[0-9a-f,\"]{0,80} ){0,4}") {
            let _ = BootArgs::parse(&format!("{line} {tail}"));
        }
    }
}
