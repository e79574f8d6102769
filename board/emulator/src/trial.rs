//! The firmware's one-shot flag: the next boot, and only that, is a trial.
//!
//! The guest asks for it (`roost_board::boot_control::trial`) and QEMU notes
//! that in a file, complete when QEMU has ended: on virt everything written to
//! the port, on a Raspberry Pi a trace of the mailbox. The flag survives a
//! reset and nothing else: a power cut ends the emulator, which holds it.

use crate::options::Machine;
use roost_board::boot_control::trial::{LINE, TAG};
use std::io;
use std::path::Path;

/// Name of QEMU's file in the folder of the machine.
pub const FILE: &str = "firmware";
/// QEMU's name for the event of a mailbox property (hw/misc/trace-events).
pub const TRACE: &str = "bcm2835_mbox_property";

/// Removes what an earlier boot noted.
///
/// # Errors
/// Those of removing a file.
pub fn forget(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Whether the boot that has just ended asked for a trial.
///
/// # Errors
/// Those of reading the file; without one nothing was asked.
pub fn requested(file: &Path, machine: Machine) -> io::Result<bool> {
    let noted = match std::fs::read(file) {
        Ok(noted) => noted,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let noted = String::from_utf8_lossy(&noted);
    Ok(match machine {
        Machine::Virt => noted.lines().any(|line| line == LINE.trim_end()),
        Machine::Raspi3b => {
            let tag = format!("tag:0x{TAG:08x}");
            noted
                .lines()
                .any(|line| line.contains(TRACE) && line.split_whitespace().any(|word| word == tag))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(machine: Machine, bytes: &[u8]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        std::fs::write(&file, bytes).unwrap();
        requested(&file, machine).unwrap()
    }

    #[test]
    fn virt_writes_a_line() {
        assert!(noted(Machine::Virt, b"tryboot\n"));
        assert!(noted(Machine::Virt, b"\xff?\ntryboot\n"));
        for other in [&b""[..], b"tryboots\n", b"no tryboot\n"] {
            assert!(!noted(Machine::Virt, other));
        }
    }

    #[test]
    fn a_raspberry_pi_sets_a_property() {
        let line =
            |tag| format!("bcm2835_mbox_property mbox property tag:0x{tag} in_sz:4 out_sz:0\n");
        assert!(noted(
            Machine::Raspi3b,
            (line("00030002") + &line("00038064")).as_bytes()
        ));
        for other in [
            "",
            "tag:0x00038064\n",
            &line("00030064"),
            &line("000380640"),
        ] {
            assert!(!noted(Machine::Raspi3b, other.as_bytes()));
        }
    }

    #[test]
    fn nothing_noted_is_nothing_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        assert!(!requested(&file, Machine::Virt).unwrap());
        std::fs::write(&file, LINE).unwrap();
        forget(&file).unwrap();
        forget(&file).unwrap();
        assert!(!requested(&file, Machine::Virt).unwrap());
    }
}
