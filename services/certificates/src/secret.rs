//! Secrets that this service makes: the key of its updates, and this box's seed.

use crate::zone::SECRET_LEN;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::io;
use zeroize::Zeroizing;

use crate::store::Folder;

/// The file's name, in the run folder or the data folder.
pub const FILE: &str = "acme.key";

/// The secret of updates: the one in the first of these folders that has it, or else a new one in the
/// last of them.
///
/// # Errors
/// When a file cannot be read or written, or has no secret in base64 of at least 32 bytes.
pub fn load_or_make(folders: &mut [&mut dyn Folder]) -> io::Result<Zeroizing<Vec<u8>>> {
    for folder in folders.iter_mut() {
        if let Some(text) = folder.read(FILE)?.map(Zeroizing::new) {
            return parse(&text);
        }
    }
    let folder = folders.last_mut().ok_or(io::ErrorKind::NotFound)?;
    let mut secret = Zeroizing::new(vec![0; SECRET_LEN]);
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let text = Zeroizing::new(BASE64_STANDARD.encode(&*secret) + "\n");
    let new = format!("{FILE}.new");
    folder.write_synced(&new, text.as_bytes())?;
    folder.rename(&new, FILE)?;
    folder.sync()?;
    Ok(secret)
}

fn parse(text: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let secret = BASE64_STANDARD
        .decode(text.trim_ascii())
        .map(Zeroizing::new);
    match secret {
        Ok(secret) if secret.len() >= SECRET_LEN => Ok(secret),
        _ => {
            let why = format!("{FILE} has no secret of {SECRET_LEN} bytes or more in base64");
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
    }
}
