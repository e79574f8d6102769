//! The kernel's log as our console: every console shows it, and it survives until we are up.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// How loud a line is. The boot arguments set `loglevel=4`: the consoles show
/// what is more urgent than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Shown on every console.
    Console,
    /// Kept in the kernel's ring only.
    Quiet,
}

/// An open `/dev/kmsg`; opened again with the next line if that has failed.
#[derive(Debug)]
pub struct Kmsg(Option<File>);

impl Kmsg {
    /// Opens `/dev/kmsg`; without one a line is dropped, since there is nowhere to complain.
    pub fn open() -> Self {
        Self(
            OpenOptions::new()
                .write(true)
                .open(Path::new("/dev/kmsg"))
                .ok(),
        )
    }

    /// Writes one line, prefixed with `roost: `. The kernel takes about 1,000
    /// bytes a record, so longer lines are cut.
    pub fn line(&mut self, level: Level, text: &str) {
        let priority = match level {
            Level::Console => 3,
            Level::Quiet => 6,
        };
        let mut line = format!("<{priority}>roost: {text}");
        let mut end = line.len().min(900);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        // Without its end the kernel waits for more, and shows the line with the next one.
        line.push('\n');
        if self.0.is_none() {
            *self = Self::open();
        }
        if let Some(file) = &mut self.0 {
            // One write is one record; nothing can be done when the kernel refuses it.
            let _ = file.write_all(line.as_bytes());
        }
    }
}
