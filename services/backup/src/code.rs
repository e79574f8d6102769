//! The recovery code, kept in the data folder.

use anyhow::{Context, Result};
use roost_backup_repository::code::Code;
use roost_service::files;
use std::io;
use std::path::Path;

/// The file.
pub const FILE: &str = "recovery-code";

/// The code of this box; made on the first start.
///
/// # Errors
/// When the file cannot be read or written, or is damaged. It is not replaced then: backups that are
/// there open with the old one only.
pub fn load_or_make(data: &Path) -> Result<Code> {
    let path = data.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Code::parse(&text).with_context(|| {
            format!(
                "{} is damaged: the words on paper are needed",
                path.display()
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let code = Code::random().context("make a recovery code")?;
            files::write(&path, code.as_str().as_bytes())
                .with_context(|| format!("write {}", path.display()))?;
            Ok(code)
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
        let code = load_or_make(data.path()).unwrap();
        assert_eq!(load_or_make(data.path()).unwrap(), code);
        let path = data.path().join(FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "twelve words").unwrap();
        let error = format!("{:#}", load_or_make(data.path()).unwrap_err());
        assert!(error.contains("is damaged"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "twelve words");
    }
}
