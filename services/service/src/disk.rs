//! USB disks that are plugged into the box: what init knows of them, and where a service sees the one it was lent.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// The folder in which a service with the right [`crate::spec::Right::Disk`] sees what it is lent.
pub const FOLDER: &str = "/run/disk";
/// The folder on the disk that was asked for, while the service has it.
pub const LENT: &str = "/run/disk/lent";
/// Longest name of a file system, in bytes: exFAT's has 11 UTF-16 units, ext4's 16 bytes, FAT's 11.
pub const MAX_LABEL: usize = 44;
/// Longest folder on a disk, in bytes.
pub const MAX_FOLDER: usize = 128;
/// Most disks and partitions that are told of: a hub has fewer sockets.
pub const MAX_DISKS: usize = 16;

/// A file system that the box can write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FileSystem {
    /// Linux's own; ext2 and ext3 are read by the same driver.
    Ext4,
    /// What large disks and sticks come with.
    Exfat,
    /// FAT16 and FAT32.
    Vfat,
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Exfat => "exFAT",
            Self::Vfat => "FAT",
        })
    }
}

/// By what a file system is known again when its disk is plugged in another time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DiskMark {
    /// Its kind.
    pub file_system: FileSystem,
    /// Its number, which it was given when it was made: `1A2B-3C4D` of the FAT family, a UUID of ext4.
    pub id: String,
    /// Its name; may be empty.
    #[serde(default)]
    pub label: String,
}

/// Why something is no mark, or no folder on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoDisk {
    /// The number.
    #[error(
        "{0:?} is no number of a file system: it is like 1A2B-3C4D, or a UUID; `roost backup target disks` shows it"
    )]
    Id(String),
    /// The name.
    #[error("{0:?} is no name of a file system")]
    Label(String),
    /// The folder.
    #[error(
        "{0:?} is no folder for backups on a disk: letters, digits, dots, hyphens and low lines, with a slash between two names"
    )]
    Folder(String),
}

impl DiskMark {
    /// Whether it can be one at all.
    ///
    /// # Errors
    /// [`NoDisk`].
    pub fn check(&self) -> Result<(), NoDisk> {
        let places = match self.file_system {
            FileSystem::Ext4 => &[8, 4, 4, 4, 12][..],
            FileSystem::Exfat | FileSystem::Vfat => &[4, 4][..],
        };
        let parts: Vec<&str> = self.id.split('-').collect();
        let right = parts.len() == places.len()
            && parts.iter().zip(places).all(|(part, length)| {
                part.len() == *length && part.chars().all(|c| c.is_ascii_hexdigit())
            });
        if !right {
            return Err(NoDisk::Id(self.id.clone()));
        }
        if self.label.len() > MAX_LABEL || self.label.chars().any(char::is_control) {
            return Err(NoDisk::Label(self.label.clone()));
        }
        Ok(())
    }
}

impl fmt::Display for DiskMark {
    /// For people, e.g. `BACKUP (exFAT, 1A2B-3C4D)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file_system,
            id,
            label,
        } = self;
        match label.as_str() {
            "" => write!(f, "{id} ({file_system})"),
            label => write!(f, "{label} ({file_system}, {id})"),
        }
    }
}

/// Whether this can be a folder for backups on a disk. It may be a folder in another one.
///
/// # Errors
/// [`NoDisk::Folder`].
pub fn check_folder(folder: &str) -> Result<(), NoDisk> {
    // Narrower than any of the file systems: what FAT refuses, or takes for the same, is not in it.
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && (part.chars()).all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    match folder.len() <= MAX_FOLDER && folder.split('/').all(plain) {
        true => Ok(()),
        false => Err(NoDisk::Folder(folder.to_owned())),
    }
}

/// A USB disk, or a partition of one, that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Disk {
    /// The kernel's name for it, e.g. `sda1`; another one after the next plugging in.
    pub name: String,
    /// What the disk says of itself, e.g. `SanDisk Ultra`.
    pub model: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// By what its file system is known again, if it has one that the box can write to.
    pub mark: Option<DiskMark>,
    /// Why the box cannot back up to it; nothing if missing.
    pub problem: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
}

impl Disk {
    /// Its mark, if nothing is wrong with it.
    pub fn usable(&self) -> Option<&DiskMark> {
        self.mark.as_ref().filter(|_| self.problem.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_what_a_file_system_can_have() {
        let mark = |file_system, id: &str, label: &str| DiskMark {
            file_system,
            id: id.to_owned(),
            label: label.to_owned(),
        };
        let uuid = "0f0e0d0c-1111-2222-3333-444455556666";
        let good = mark(FileSystem::Vfat, "1A2B-3C4D", "BACKUP");
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.to_string(), "BACKUP (FAT, 1A2B-3C4D)");
        let bare = mark(FileSystem::Ext4, uuid, "");
        assert_eq!(bare.check(), Ok(()));
        assert_eq!(bare.to_string(), format!("{uuid} (ext4)"));
        for (file_system, id) in [
            (FileSystem::Vfat, uuid),
            (FileSystem::Ext4, "1A2B-3C4D"),
            (FileSystem::Exfat, "1A2B3C4D"),
            (FileSystem::Exfat, "1A2G-3C4D"),
            (FileSystem::Exfat, ""),
        ] {
            let no = mark(file_system, id, "").check();
            assert_eq!(no, Err(NoDisk::Id(id.into())));
        }
        assert!(
            mark(FileSystem::Vfat, "1A2B-3C4D", "a\u{1b}b")
                .check()
                .is_err()
        );
    }

    #[test]
    fn a_folder_leads_nowhere_else() {
        for good in ["roost-backups", "a/b", "a.b_c-d", &"x".repeat(MAX_FOLDER)] {
            assert_eq!(check_folder(good), Ok(()), "{good}");
        }
        let long = "x".repeat(MAX_FOLDER + 1);
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", ".a", "a.", "a b", "ä", "a\0", &long,
        ] {
            assert_eq!(check_folder(bad), Err(NoDisk::Folder(bad.into())), "{bad}");
        }
    }
}
