//! The key by which the box signs in at SFTP servers, kept in the data folder. It is made when it is first asked for,
//! and is in no backup: who has a backup and its code shall not be able to remove the others.

use anyhow::{Context, Result};
use roost_backup_repository::sftp::Key;
use roost_service::files;
use std::io;
use std::path::Path;

/// The file: a private key as OpenSSH writes it.
pub const FILE: &str = "ssh-key";

/// The key of this box.
///
/// # Errors
/// When the file cannot be read or written, or is damaged. It is not replaced then: servers know it.
pub fn load_or_make(data: &Path) -> Result<Key> {
    let path = data.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            Key::parse(&text, None).with_context(|| format!("{} is damaged", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = Key::random().context("make a key")?;
            files::write(&path, key.to_text().as_bytes())
                .with_context(|| format!("write {}", path.display()))?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_and_a_damaged_one_is_not_replaced() {
        let data = tempfile::tempdir().unwrap();
        let key = load_or_make(data.path()).unwrap();
        assert_eq!(load_or_make(data.path()).unwrap().line(), key.line());
        let path = data.path().join(FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "-----BEGIN").unwrap();
        let error = load_or_make(data.path()).err().unwrap();
        assert!(format!("{error:#}").contains("is damaged"), "{error:#}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "-----BEGIN");
    }
}
