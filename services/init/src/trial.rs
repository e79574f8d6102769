//! Asking the firmware to boot the other slot once (see `roost_board::boot_control`).

use crate::ports;
use roost_board::boot_control::trial::{LINE, PARAMETER, PORT};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the firmware may take. The kernel waits a second for a Raspberry
/// Pi's; a port that nobody reads would keep the machine up for ever.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A way to ask that exists on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The parameter of the Raspberry Pi's module.
    Module(PathBuf),
    /// The node of the emulator's port.
    Port(PathBuf),
}

impl Way {
    /// Finds the way.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn find() -> Result<Self, String> {
        let parameter = Path::new(PARAMETER);
        Self::choose(parameter.exists().then_some(parameter), ports::find(PORT))
    }

    /// A Raspberry Pi's firmware is asked itself, even where there is a port.
    fn choose(parameter: Option<&Path>, port: Option<PathBuf>) -> Result<Self, String> {
        parameter
            .map(|path| Self::Module(path.to_owned()))
            .or(port.map(Self::Port))
            .ok_or_else(|| {
                "this machine cannot try another slot: the module roost_tryboot is not loaded, \
                 and there is no emulator to ask"
                    .to_owned()
            })
    }

    /// Asks; may block. Holds for the next restart; a power cut forgets it.
    ///
    /// # Errors
    /// Those of opening and writing; the firmware's own through its module.
    pub fn ask(&self) -> io::Result<()> {
        let (path, text) = match self {
            Self::Module(path) => (path, "1"),
            Self::Port(path) => (path, LINE),
        };
        // A blocking write to the port returns once the other side has taken it,
        // which must be before the restart.
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(text.as_bytes())
    }
}

/// Finds the way and asks; may block.
///
/// # Errors
/// A sentence that says why there will be no trial.
pub fn ask() -> Result<(), String> {
    Way::find()?
        .ask()
        .map_err(|e| format!("cannot ask the firmware for it: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_machine_without_a_way_says_so() {
        assert_eq!(
            Way::choose(None, None).unwrap_err(),
            "this machine cannot try another slot: the module roost_tryboot is not loaded, \
             and there is no emulator to ask"
        );
    }

    #[test]
    fn each_way_is_told_in_its_own_words() {
        let folder = std::env::temp_dir().join(format!("roost-trial-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (parameter, port) = (folder.join("request"), folder.join("vport0p2"));
        for file in [&parameter, &port] {
            fs::write(file, "").unwrap();
        }
        Way::choose(Some(&parameter), Some(port.clone()))
            .unwrap()
            .ask()
            .unwrap();
        assert_eq!(fs::read_to_string(&parameter).unwrap(), "1");
        assert_eq!(fs::read_to_string(&port).unwrap(), "");
        Way::choose(None, Some(port.clone()))
            .unwrap()
            .ask()
            .unwrap();
        assert_eq!(fs::read_to_string(&port).unwrap(), "tryboot\n");
        fs::remove_dir_all(&folder).unwrap();
        let gone = Way::Port(port).ask().unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }
}
