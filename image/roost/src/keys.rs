//! The owner's key on this computer that signs updates.
//!
//! Its file holds a comment and the key's seed (Ed25519, RFC 8032) in
//! hexadecimal digits. The public half goes into `roost.toml`. The keys by which boxes know this
//! computer are made by `roost pair` (`device/identity.rs`).

use crate::error::Failure;
use crate::password::random;
use crate::store::disk_failure;
use crate::ui::Ui;
use roost_bundle::{PublicKey, SigningKey};
use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Name of the key's file.
pub const UPDATE_KEY: &str = "update.key";

/// A key, and whether it was made just now.
#[derive(Debug)]
pub struct Kept {
    /// The public half.
    pub public: PublicKey,
    /// Whether it was not there before.
    pub new: bool,
}

/// The folder with the key of this owner's boxes (`Config::owner`): `roost/OWNER` in the user's
/// configuration folder.
pub fn folder(owner: &str) -> Result<PathBuf, Failure> {
    Ok(crate::device::folder::config()?.join(owner))
}

/// The key in `folder`; made if it is not there, and never replaced.
pub fn keep(folder: &Path, owner: &str, ui: &Ui) -> Result<Kept, Failure> {
    let kept = keep_seed(folder, UPDATE_KEY, ui, |seed| {
        format!(
            "Secret. This key signs updates: whoever has it can install anything on the box of {owner}. \
             Its public half: {}",
            SigningKey::from_seed(seed).public()
        )
    })?;
    Ok(Kept {
        public: SigningKey::from_seed(&kept.seed).public(),
        new: kept.new,
    })
}

/// A secret, and whether it was made just now.
pub struct KeptSeed {
    /// The secret.
    pub seed: Seed,
    /// Whether it was not there before.
    pub new: bool,
}

/// The secret in the file `name` in `folder`; made if it is not there, with `comment` above it, and never replaced.
pub fn keep_seed(
    folder: &Path,
    name: &str,
    ui: &Ui,
    comment: impl FnOnce(&Seed) -> String,
) -> Result<KeptSeed, Failure> {
    let path = folder.join(name);
    if path.symlink_metadata().is_ok() {
        let seed = seed(&path, ui)?;
        return Ok(KeptSeed { seed, new: false });
    }
    let seed = Seed::new(random()?);
    let text = zeroize::Zeroizing::new(format!("# {}\n{}\n", comment(&seed), hex::encode(*seed)));
    let fail = |e| disk_failure("write", &path, e);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| disk_failure("create", folder, e))?;
    let mut file = tempfile::Builder::new()
        .prefix(".key-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(fail)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(fail)?;
    file.persist_noclobber(&path).map_err(|e| fail(e.error))?;
    File::open(folder)
        .and_then(|dir| dir.sync_all())
        .map_err(fail)?;
    Ok(KeptSeed { seed, new: true })
}

/// The secret half of a key; its memory is cleared when it is dropped.
pub type Seed = zeroize::Zeroizing<[u8; 32]>;

/// Reads a key's file, and warns if others can read it too.
pub fn seed(path: &Path, ui: &Ui) -> Result<Seed, Failure> {
    let fail = |e| disk_failure("read", path, e);
    let mode = path.metadata().map_err(fail)?.permissions().mode();
    if mode & 0o077 != 0 {
        ui.warn(format!(
            "{} can be read by others: `chmod 600` it",
            path.display()
        ));
    }
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(fail)?);
    parse(&text).ok_or_else(|| {
        Failure::new(format!("{} holds no key", path.display()))
            .because("beside comments it must have one line of 64 hexadecimal digits")
            .hint("restore it from a copy; where there is none, a new one is made")
    })
}

fn parse(text: &str) -> Option<Seed> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let mut seed = Seed::default();
    hex::decode_to_slice(line, &mut *seed).ok()?;
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Mode;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("roost/example.org");
        let ui = Ui::new(Mode::Quiet);
        let made = keep(&folder, "example.org", &ui).unwrap();
        let path = folder.join("update.key");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&made.public.to_string()), "{text}");
        let again = keep(&folder, "example.org", &ui).unwrap();
        assert!(made.new && !again.new);
        assert_eq!(again.public, made.public);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_key_is_neither_used_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("update.key");
        std::fs::write(&path, "# a comment\nabc\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let failure = keep(dir.path(), "example.org", &Ui::new(Mode::Quiet));
        let text = failure.unwrap_err().render();
        let text = text.replace(&dir.path().display().to_string(), "FOLDER");
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
        assert_eq!(std::fs::read(&path).unwrap(), b"# a comment\nabc\n");
    }

    #[test]
    fn one_line_of_digits_is_a_key() {
        let digits = "0f".repeat(32);
        let good = format!("# Made by roost.\n\n  {digits}\n");
        assert_eq!(parse(&good).map(|seed| *seed), Some([15; 32]));
        for bad in [
            "",
            "# only a comment",
            &digits[2..],
            &format!("{digits}\n{digits}"),
        ] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
