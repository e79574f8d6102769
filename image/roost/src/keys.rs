//! The owner's private keys on this machine: made once, read when needed, never replaced.

use crate::error::Failure;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A longer file is no key (bytes).
const MAX_BYTES: u64 = 1024;

/// A kind of key.
#[derive(Debug)]
pub struct Kind {
    /// Name of its file in the folder of the domain.
    pub file: &'static str,
    /// What it is, as in "cannot use …".
    what: &'static str,
    /// What to say when it is not there.
    absent: &'static str,
    /// What to do when it is not there.
    hint: &'static str,
}

/// The key by which the box knows this machine.
pub const LAPTOP: Kind = Kind {
    file: "laptop.key",
    what: "this laptop's key",
    absent: "this laptop has no key for the box",
    hint: "`roost init` makes it; or copy it from the laptop where you ran that",
};

/// The key that signs bundles.
pub const UPDATE: Kind = Kind {
    file: "update.key",
    what: "the update key",
    absent: "there is no key to sign the bundle with",
    hint: "`roost init` makes it; or copy it from the laptop where you ran that",
};

/// Reads the seed (RFC 8032, section 5.1.5) of a key in `folder`.
///
/// # Errors
///
/// A [`Failure`] if the file is missing, cannot be read, is open to others, or holds no key.
pub fn read(folder: &Path, kind: &Kind) -> Result<[u8; 32], Failure> {
    let file = folder.join(kind.file);
    let cannot = || Failure::new(format!("cannot use {} {}", kind.what, file.display()));
    let read = || {
        let meta = file.metadata()?;
        if meta.len() > MAX_BYTES {
            return Err(std::io::Error::other("it is too long for a key"));
        }
        Ok((
            std::fs::read_to_string(&file)?,
            meta.permissions().mode() & 0o077,
        ))
    };
    let (text, others) = read().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::new(kind.absent)
            .because(format!("there is no {}", file.display()))
            .hint(kind.hint),
        _ => cannot().because(e),
    })?;
    if others != 0 {
        return Err(cannot()
            .because("other users of this machine may read or change it")
            .hint(format!("chmod 600 {}", file.display())));
    }
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed).map_err(|_| {
        cannot()
            .because("it does not hold 64 hexadecimal digits")
            .hint("restore it from a backup; a new one is taken by the box only once it is in the box's image")
    })?;
    Ok(seed)
}

/// The seed of a key in `folder`, made if it is not there; says whether it was made.
///
/// # Errors
///
/// As [`read`], and a file that cannot be written.
pub fn read_or_make(folder: &Path, kind: &Kind) -> Result<([u8; 32], bool), Failure> {
    let file = folder.join(kind.file);
    if file.symlink_metadata().is_ok() {
        return read(folder, kind).map(|seed| (seed, false));
    }
    let cannot =
        |e: std::io::Error| Failure::new(format!("cannot write {}", file.display())).because(e);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|e| Failure::new("the system gives no random numbers").because(e))?;
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .map_err(cannot)?;
    new.write_all(format!("{}\n", hex::encode(seed)).as_bytes())
        .and_then(|()| new.sync_all())
        .map_err(cannot)?;
    Ok((seed, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("roost/example.org");
        assert!(read(&folder, &UPDATE).is_err());
        let (seed, made) = read_or_make(&folder, &UPDATE).unwrap();
        assert!(made);
        assert_eq!(read_or_make(&folder, &UPDATE).unwrap(), (seed, false));
        assert_eq!(read(&folder, &UPDATE).unwrap(), seed);
        let file = folder.join(UPDATE.file);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(read_or_make(&folder, &LAPTOP).unwrap().0, seed);

        std::fs::write(&file, "junk").unwrap();
        assert!(read_or_make(&folder, &UPDATE).is_err(), "never replaced");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "junk");
    }
}
