//! Who called `sudo roost`: writing to a card needs root, and what is left on this computer is for whoever
//! sits at it.

use rustix::process::geteuid;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Number of the user.
    pub uid: u32,
    /// Number of the user's first group.
    pub gid: u32,
    /// The home folder.
    pub home: PathBuf,
}

/// Who called sudo (sudo(8) sets `SUDO_UID`); `None` if this is not root for somebody else.
pub fn caller() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let uid: u32 = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    find(&users, uid).filter(|user| user.uid != 0)
}

/// The user with this number (passwd(5)).
fn find(users: &str, uid: u32) -> Option<User> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, number, group, _, home, _] = fields[..] else {
            return None;
        };
        let user = User {
            uid: number.parse().ok()?,
            gid: group.parse().ok()?,
            home: PathBuf::from(home),
        };
        (user.uid == uid && user.home.is_absolute()).then_some(user)
    })
}

/// Makes the folder `path` by `make`, and gives what was missing of it to the owner of what was there.
///
/// # Errors
///
/// What `make` or the system says.
pub fn as_the_folders(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|path| path.symlink_metadata().is_err())
        .collect();
    make(path)?;
    for path in missing.iter().rev() {
        if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
            give(path, parent)?;
        }
    }
    Ok(())
}

/// Root gives a file to the owner of the folder that it is for; for others it is theirs already.
///
/// # Errors
///
/// What the system says.
pub fn give(file: &Path, folder: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let of = folder.metadata()?;
    chown(file, Some(of.uid()), Some(of.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_number() {
        let users = "root:x:0:0:root:/root:/bin/bash\ndamaged\nx:x:1000:y::/x:\nalice:x:1000:1001:Alice,,,:/home/alice:/bin/sh\nnone:x:1002:1002:::/bin/sh\n";
        let alice = User {
            uid: 1000,
            gid: 1001,
            home: "/home/alice".into(),
        };
        assert_eq!(find(users, 1000), Some(alice));
        assert_eq!(find(users, 1002), None, "no home");
        assert_eq!(find(users, 1001), None);
    }

    #[test]
    fn what_root_makes_belongs_to_the_folders_owner() {
        if !geteuid().is_root() {
            return eprintln!("skipped: only root gives files away");
        }
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        chown(&home, Some(1000), Some(1001)).unwrap();
        let deep = home.join("a/b");
        as_the_folders(&deep, |path| std::fs::create_dir_all(path)).unwrap();
        as_the_folders(&deep, |path| std::fs::create_dir_all(path)).unwrap();
        let file = deep.join("c");
        std::fs::write(&file, "").unwrap();
        give(&file, &deep).unwrap();
        for path in [home.join("a"), deep, file] {
            let of = path.metadata().unwrap();
            assert_eq!((of.uid(), of.gid()), (1000, 1001), "{}", path.display());
        }
        let of = dir.path().metadata().unwrap();
        assert_eq!(of.uid(), 0);
    }
}
