//! Who called `sudo roost`: writing to a card needs root, and what is left on this computer is for whoever
//! sits at it.

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use std::io;
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

/// Does something in a folder: as the caller of sudo where the folder is in their home. What is made there is theirs
/// then, and root follows no link that they set meanwhile.
///
/// # Errors
///
/// What `work` or the system says.
pub fn as_its_owner<T>(folder: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match caller().filter(|caller| folder.starts_with(&caller.home)) {
        Some(caller) => as_user(&caller, work),
        None => work(),
    }
}

/// Does something in this thread with a user's rights alone.
fn as_user<T>(user: &User, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    /// Gives root's back in any case.
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            // The saved numbers are root's still.
            let _ = set_thread_res_uid(None, Uid::ROOT, None);
            let _ = set_thread_res_gid(None, Gid::ROOT, None);
        }
    }
    let _back = Back;
    set_thread_res_gid(None, Gid::from_raw(user.gid), None)?;
    set_thread_res_uid(None, Uid::from_raw(user.uid), None)?;
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

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
    fn root_works_as_the_caller_and_is_root_again() {
        if !geteuid().is_root() {
            return eprintln!("skipped: only root is somebody else at will");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        chown(&home, Some(1000), Some(1001)).unwrap();
        let alice = User {
            uid: 1000,
            gid: 1001,
            home,
        };
        let deep = alice.home.join("a/b");
        let file = deep.join("c");
        as_user(&alice, || {
            std::fs::create_dir_all(&deep)?;
            std::fs::write(&file, "")
        })
        .unwrap();
        for path in [alice.home.join("a"), deep, file] {
            let of = path.metadata().unwrap();
            assert_eq!((of.uid(), of.gid()), (1000, 1001), "{}", path.display());
        }
        // A link to what is root's leads nowhere.
        let link = alice.home.join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let refused = as_user(&alice, || std::fs::write(link.join("d"), "")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        std::fs::write(link.join("d"), "").unwrap();
        assert_eq!(dir.path().join("d").metadata().unwrap().uid(), 0);
    }
}
