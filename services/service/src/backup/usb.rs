//! A folder of a USB disk that is plugged into the box.

use super::target::{NoTarget, USB};
use crate::disk::{Disk, DiskMark, check_folder};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The folder on a USB disk where none is named.
const USB_FOLDER: &str = "roost-backups";

/// A folder of a USB disk that is plugged into the box, now and then or always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UsbTarget {
    /// By what the disk is known again. Another one is not written to.
    pub disk: DiskMark,
    /// The folder on it, e.g. `roost-backups`.
    pub folder: String,
}

impl UsbTarget {
    /// Whether it can be one at all. Nothing is asked.
    ///
    /// # Errors
    /// [`NoTarget::Disk`].
    pub fn check(&self) -> Result<(), NoTarget> {
        self.disk.check()?;
        Ok(check_folder(&self.folder)?)
    }
}

impl fmt::Display for UsbTarget {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{USB}{}/{}", self.disk.id, self.folder)
    }
}

/// A folder of a USB disk, as somebody names it who sees which disks are plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbPlace {
    /// The number or the name of its file system; may be empty, if there is but one.
    pub disk: String,
    /// The folder.
    pub folder: String,
}

impl Default for UsbPlace {
    /// The only disk, and the usual folder.
    fn default() -> Self {
        Self {
            disk: String::new(),
            folder: USB_FOLDER.to_owned(),
        }
    }
}

impl FromStr for UsbPlace {
    type Err = NoTarget;
    fn from_str(place: &str) -> Result<Self, NoTarget> {
        let place = place.trim().strip_prefix(USB).ok_or(NoTarget::Scheme)?;
        let (disk, folder) = place.split_once('/').unwrap_or((place, ""));
        let folder = match folder.trim_end_matches('/') {
            "" => USB_FOLDER,
            folder => folder,
        };
        check_folder(folder)?;
        Ok(Self {
            disk: disk.to_owned(),
            folder: folder.to_owned(),
        })
    }
}

impl UsbPlace {
    /// Those of the disks that it may mean, and that the box can back up to.
    pub fn among<'a>(&self, disks: &'a [Disk]) -> Vec<&'a Disk> {
        let meant = |disk: &&Disk| disk.usable().is_some_and(|mark| self.means(mark));
        disks.iter().filter(meant).collect()
    }

    /// Whether it may mean this one.
    pub fn means(&self, disk: &DiskMark) -> bool {
        self.disk.is_empty() || disk.id.eq_ignore_ascii_case(&self.disk) || disk.label == self.disk
    }

    /// The folder on this disk.
    pub fn on(&self, disk: &DiskMark) -> UsbTarget {
        UsbTarget {
            disk: disk.clone(),
            folder: self.folder.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_named_by_its_number_or_its_name() {
        let disk = |id: &str, label: &str, problem: Option<&str>| Disk {
            name: "sda1".into(),
            model: "A stick".into(),
            bytes: 1,
            mark: Some(DiskMark {
                file_system: crate::disk::FileSystem::Vfat,
                id: id.into(),
                label: label.into(),
            }),
            problem: problem.map(str::to_owned),
            hint: None,
        };
        let disks = [
            disk("1A2B-3C4D", "BACKUP", None),
            disk("0000-0001", "HOLIDAY", None),
            disk("0000-0002", "BACKUP", Some("it can only be read")),
        ];
        let of = |place: &str| {
            let place: UsbPlace = place.parse()?;
            let found = place.among(&disks).into_iter();
            let all = found.filter_map(Disk::usable);
            Ok::<_, NoTarget>(
                all.map(|mark| place.on(mark).to_string())
                    .collect::<Vec<_>>(),
            )
        };
        let backup = "usb://1A2B-3C4D/roost-backups";
        for place in [
            "usb://1a2b-3c4d",
            "usb://BACKUP/",
            "usb://1A2B-3C4D/roost-backups",
        ] {
            assert_eq!(of(place).unwrap(), [backup], "{place}");
        }
        assert_eq!(
            of("usb://HOLIDAY/attic").unwrap(),
            ["usb://0000-0001/attic"]
        );
        assert_eq!(of("usb://").unwrap().len(), 2);
        assert_eq!(of("usb://NONE").unwrap(), [""; 0]);
        assert_eq!(of("/media/stick"), Err(NoTarget::Scheme));
        assert!(matches!(of("usb://BACKUP/../x"), Err(NoTarget::Disk(_))));
    }
}
