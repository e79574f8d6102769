//! The service's side of [`crate::notify`]: telling init how far the start got.

use crate::notify::{ENV, MAX_STATUS, Message};
use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;

/// The descriptor that init gave, if any.
#[derive(Debug)]
pub struct Notifier(Option<File>);

impl Notifier {
    /// Takes the descriptor whose number is in the environment.
    pub fn from_env() -> Self {
        let number = std::env::var(ENV)
            .ok()
            .and_then(|number| number.parse().ok())
            .filter(|number: &i32| *number > 2);
        #[allow(unsafe_code)]
        // SAFETY: init opened this descriptor for this program alone, and
        // nothing else here uses the number. This runs once, at the start.
        Notifier(number.map(|number| unsafe { File::from_raw_fd(number) }))
    }

    /// The service does its work.
    pub fn ready(&self) {
        self.send(&Message::Ready);
    }

    /// What the start is waiting for, or why it failed.
    pub fn status(&self, text: &str) {
        let mut text = text.replace(char::is_control, " ");
        text.truncate(text.floor_char_boundary(MAX_STATUS));
        self.send(&Message::Status(text));
    }

    fn send(&self, message: &Message) {
        if let Some(mut file) = self.0.as_ref() {
            // Init gone means this program goes too; nothing to do here.
            let _ = file.write_all(format!("{message}\n").as_bytes());
        }
    }
}
