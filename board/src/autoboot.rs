//! `autoboot.txt`: from which partition the firmware goes on.
//!
//! Specification: Raspberry Pi documentation, "The config.txt file",
//! "autoboot.txt". The file is exactly one sector long, so that a slot change
//! is one sector written in place: after a power cut it is the old or the new.

use crate::layout::Slot;
use std::fmt::Write as _;
use thiserror::Error;

/// File name in the root of the selector.
pub const FILE: &str = "autoboot.txt";
/// Bytes of the file; the firmware reads no more than that.
pub const SIZE: usize = 512;

/// What an `autoboot.txt` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autoboot {
    /// `tryboot_a_b=1`: a trial differs by its partition, not by reading
    /// `tryboot.txt` instead of `config.txt`.
    pub tryboot_a_b: bool,
    /// `boot_partition` of an ordinary boot; 0 leaves it to the firmware.
    pub boot_partition: u8,
    /// `boot_partition` of a trial, where it differs.
    pub tryboot_partition: Option<u8>,
}

/// Why an `autoboot.txt` is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AutobootError {
    /// Longer than [`SIZE`].
    #[error("autoboot.txt has {0} bytes; the firmware reads 512")]
    TooLong(usize),
    /// Not ASCII.
    #[error("autoboot.txt holds a byte that is not ASCII")]
    NotText,
    /// A line that the firmware would pass over in silence.
    #[error("autoboot.txt line {line}: {text:?} is not a section or key=value")]
    BadLine {
        /// Line number from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A value that cannot be read.
    #[error("autoboot.txt line {line}: {key}={value:?} is not a number")]
    BadNumber {
        /// Line number from 1.
        line: usize,
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
}

/// The file of a disk that boots `slot`, and the other slot in a trial.
pub fn render(slot: Slot) -> [u8; SIZE] {
    Autoboot::for_slot(slot).render()
}

impl Autoboot {
    /// Ordinary boots from `slot`, trials from the other one.
    pub const fn for_slot(slot: Slot) -> Self {
        Self {
            tryboot_a_b: true,
            boot_partition: slot.partition(),
            tryboot_partition: Some(slot.other().partition()),
        }
    }

    /// The partition that the firmware goes on from; `None` leaves it to the firmware.
    pub fn partition(&self, tryboot: bool) -> Option<u8> {
        let number = match self.tryboot_partition {
            Some(number) if tryboot => number,
            _ => self.boot_partition,
        };
        (number != 0).then_some(number)
    }

    /// The file's bytes: exactly one sector, filled with line ends.
    pub fn render(&self) -> [u8; SIZE] {
        let mut text = format!(
            "[all]\ntryboot_a_b={}\nboot_partition={}\n",
            u8::from(self.tryboot_a_b),
            self.boot_partition
        );
        if let Some(number) = self.tryboot_partition {
            // Writing to a string cannot fail.
            let _ = write!(text, "[tryboot]\nboot_partition={number}\n");
        }
        let mut bytes = [b'\n'; SIZE];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    /// Reads the file's bytes.
    ///
    /// Sections other than `[all]` and `[tryboot]` never apply; unknown keys
    /// are passed over, as the firmware does.
    ///
    /// # Errors
    /// When the file is too long, is not text, or has a line without meaning.
    pub fn parse(bytes: &[u8]) -> Result<Self, AutobootError> {
        enum Section {
            All,
            Tryboot,
            Other,
        }
        if bytes.len() > SIZE {
            return Err(AutobootError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.is_ascii())
            .ok_or(AutobootError::NotText)?;
        let mut autoboot = Self {
            tryboot_a_b: false,
            boot_partition: 0,
            tryboot_partition: None,
        };
        let mut section = Section::All;
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            if let Some(name) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
                section = match name {
                    "all" => Section::All,
                    "tryboot" => Section::Tryboot,
                    _ => Section::Other,
                };
                continue;
            }
            let Some((key, value)) = text.split_once('=') else {
                return Err(AutobootError::BadLine {
                    line,
                    text: text.to_owned(),
                });
            };
            if !matches!(key, "boot_partition" | "tryboot_a_b") {
                continue;
            }
            let number: u8 = value.parse().map_err(|_| AutobootError::BadNumber {
                line,
                key: key.to_owned(),
                value: value.to_owned(),
            })?;
            match (key, &section) {
                ("boot_partition", Section::All) => autoboot.boot_partition = number,
                ("boot_partition", Section::Tryboot) => autoboot.tryboot_partition = Some(number),
                ("tryboot_a_b", Section::All) => autoboot.tryboot_a_b = number == 1,
                _ => {}
            }
        }
        Ok(autoboot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_what_the_firmware_documents() {
        let bytes = Autoboot::for_slot(Slot::A).render();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            text.trim_end_matches('\n'),
            "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3"
        );
    }

    #[test]
    fn a_trial_boots_the_other_slot() {
        for slot in [Slot::A, Slot::B] {
            let autoboot = Autoboot::for_slot(slot);
            assert_eq!(autoboot.partition(false), Some(slot.partition()));
            assert_eq!(autoboot.partition(true), Some(slot.other().partition()));
        }
    }

    #[test]
    fn files_of_others_are_read_as_the_firmware_does() {
        let parse = |text: &str| Autoboot::parse(text.as_bytes()).unwrap();
        let by_hand =
            parse("# comment\r\nboot_partition=3 # B\r\n\r\n[none]\r\nboot_partition=1\r\n");
        assert_eq!(by_hand.partition(false), Some(3));
        assert_eq!(by_hand.partition(true), Some(3), "no section for trials");
        assert!(!by_hand.tryboot_a_b);
        assert_eq!(parse("").partition(false), None);
    }

    #[test]
    fn useless_files_are_refused() {
        let text = |bytes: &[u8]| Autoboot::parse(bytes).unwrap_err().to_string();
        assert_eq!(
            text(&[b'\n'; 513]),
            "autoboot.txt has 513 bytes; the firmware reads 512"
        );
        assert_eq!(
            text(b"[all]\nboot_partition\n"),
            "autoboot.txt line 2: \"boot_partition\" is not a section or key=value"
        );
        assert_eq!(
            text(b"boot_partition=two"),
            "autoboot.txt line 1: boot_partition=\"two\" is not a number"
        );
        assert_eq!(text(&[0xff]), "autoboot.txt holds a byte that is not ASCII");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a_b: bool, all: u8, tryboot: Option<u8>) {
            let autoboot = Autoboot { tryboot_a_b: a_b, boot_partition: all, tryboot_partition: tryboot };
            prop_assert_eq!(Autoboot::parse(&autoboot.render()), Ok(autoboot));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Autoboot::parse(&bytes);
        }
    }
}
