//! The emulator's virtio-serial ports.

use std::fs;
use std::path::{Path, PathBuf};

/// The node of the port with this name, if the machine has one.
pub fn find(name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let entry = entries.flatten().find(|entry| {
        let found = fs::read_to_string(entry.path().join("name"));
        found.is_ok_and(|found| found.trim() == name)
    })?;
    Some(Path::new("/dev").join(entry.file_name()))
}
