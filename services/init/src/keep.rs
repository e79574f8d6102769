//! Writing a small file for good: whole or not at all, and on the medium before anybody is told.
//!
//! What is asked of PID 1 is kept by a child (`init --keep WHAT`, the text on its standard
//! input), because waiting for a slow card takes seconds and PID 1 waits for nothing. The text may
//! be secret, so it is no argument: everybody may read those.

use crate::data::MOUNT_POINT;
use crate::reset;
use roost_service::settings::{CHOSEN_PATH, Chosen, MAX_CHOSEN};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What a child may be told to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// [`Chosen`] as JSON.
    Chosen,
    /// The code behind a factory reset; the box is bound to it then.
    Reset,
}

impl What {
    /// The child's argument.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Reset => "reset",
        }
    }
}

/// The child program; returns the exit status. Its last line is the reason of a failure.
pub fn main(what: Option<&str>) -> i32 {
    let what = [What::Chosen, What::Reset]
        .into_iter()
        .find(|known| Some(known.word()) == what);
    let mut text = Vec::new();
    let result = match what {
        None => Err("there is nothing of this name to keep".to_owned()),
        Some(what) => io::stdin()
            .take(MAX_CHOSEN as u64 + 1)
            .read_to_end(&mut text)
            .map_err(|e| e.to_string())
            .and_then(|_| keep(what, &text)),
    };
    match result {
        Ok(()) => 0,
        Err(reason) => {
            println!("{reason}");
            1
        }
    }
}

fn keep(what: What, text: &[u8]) -> Result<(), String> {
    match what {
        What::Chosen => {
            // A second look: what cannot be read again would keep mail from starting.
            let chosen = Chosen::parse(text).map_err(|e| e.to_string())?;
            let json = serde_json::to_vec(&chosen).map_err(|e| e.to_string())?;
            write(Path::new(CHOSEN_PATH), &json, 0o644)
                .map_err(|e| format!("cannot write {CHOSEN_PATH}: {e}"))
        }
        What::Reset => {
            let code = std::str::from_utf8(text).map_err(|e| e.to_string())?;
            let folder = Path::new(MOUNT_POINT).join(reset::FOLDER);
            let mut medium = reset::Disk::new(MOUNT_POINT);
            reset::bind(&mut medium, code)
                .map_err(|e| format!("cannot write below {}: {e}", folder.display()))
        }
    }
}

/// Writes a file that is there whole, old or new, whatever happens to the power, and is the new
/// one once this has returned. Its folder is made if it is missing.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(folder)?;
    let new = path.with_extension("new");
    write_synced(&new, bytes, mode)?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

/// Makes a folder whose name is on the medium once this has returned.
///
/// # Errors
/// Those of the file system.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    match folder.parent() {
        Some(above) => File::open(above)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a file whose bytes, but not yet whose name, are on the medium once this has returned.
///
/// # Errors
/// Those of the file system.
pub fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A leftover of an interrupted write may have another mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let dir = std::env::temp_dir().join(format!("roost-keep-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("settings/chosen.json");
        for (bytes, mode) in [(&b"one"[..], 0o644), (b"two", 0o600)] {
            write(&path, bytes, mode).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            let found = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode);
        }
        // Half of a file from before a power cut is in nobody's way.
        fs::write(path.with_extension("new"), b"hal").unwrap();
        write(&path, b"three", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.join("settings")).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
