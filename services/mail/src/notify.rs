//! Telling init how far the start got (see `roost_service::notify`).

use roost_service::notify;
use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;

/// Bytes of a status that init keeps.
const STATUS_BYTES: usize = 200;

/// The descriptor that init gave, if any.
pub struct Notifier(Option<File>);

impl Notifier {
    /// Takes the descriptor whose number is in the environment.
    pub fn from_env() -> Self {
        let number = std::env::var(notify::ENV)
            .ok()
            .and_then(|number| number.parse().ok())
            .filter(|number: &i32| *number > 2);
        #[allow(unsafe_code)]
        // SAFETY: init opened this descriptor for this program alone, and
        // nothing else here uses the number. This runs once, at the start.
        Notifier(number.map(|number| unsafe { File::from_raw_fd(number) }))
    }

    /// "My ports answer."
    pub fn ready(&self) {
        self.send("READY\n");
    }

    /// What the start is waiting for.
    pub fn status(&self, text: &str) {
        let mut line: String = text
            .chars()
            .map(|char| if char.is_control() { ' ' } else { char })
            .collect();
        line.truncate(line.floor_char_boundary(STATUS_BYTES));
        self.send(&format!("STATUS {line}\n"));
    }

    fn send(&self, line: &str) {
        if let Some(mut file) = self.0.as_ref() {
            // Init gone means this program goes too; nothing to do here.
            let _ = file.write_all(line.as_bytes());
        }
    }
}
