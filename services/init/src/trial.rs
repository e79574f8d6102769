//! Asking the firmware to boot the other slot once (see `roost_board::boot_control`).

use crate::ports;
use roost_board::boot_control::trial::{LINE, PARAMETER, PORT};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A way to ask that exists on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The parameter of the Raspberry Pi's module.
    Module,
    /// The node of the emulator's port.
    Port(PathBuf),
}

impl Way {
    /// Finds the way.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn find() -> Result<Self, String> {
        if Path::new(PARAMETER).exists() {
            return Ok(Self::Module);
        }
        ports::find(PORT).map(Self::Port).ok_or_else(|| {
            "this machine cannot try another slot: the module roost_tryboot is not loaded, \
             and there is no emulator to ask"
                .to_owned()
        })
    }

    /// Asks. Holds for the next restart; a power cut forgets it.
    ///
    /// # Errors
    /// Those of opening and writing; the firmware's own through its module.
    pub fn ask(&self) -> io::Result<()> {
        match self {
            Self::Module => fs::write(PARAMETER, "1"),
            Self::Port(node) => {
                let mut port = fs::OpenOptions::new().write(true).open(node)?;
                // Returns once the other side has taken it.
                io::Write::write_all(&mut port, LINE.as_bytes())
            }
        }
    }
}
