//! What each board needs in a slot: the data under `board/`.

use crate::error::Failure;
use crate::store::disk_failure;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The lists of all boards.
#[derive(Debug, Clone)]
pub struct Boards {
    boards: BTreeMap<String, BoardFiles>,
    text: String,
}

/// One board's part of a data file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BoardFiles {
    /// Kernel modules of every start in the order wanted, without dependencies.
    modules: Vec<String>,
    /// What else init loads when it looks for USB disks.
    usb_disks: Vec<String>,
    /// Device trees that the firmware may choose.
    #[serde(default)]
    device_trees: Vec<String>,
    /// Firmware files that belong into the slot.
    #[serde(default)]
    firmware: Vec<String>,
}

impl Boards {
    /// Reads `boards.toml` of every board family.
    pub fn load(source: &Path) -> Result<Self, Failure> {
        let mut boards = BTreeMap::new();
        let mut text = String::new();
        for family in ["rpi", "virt"] {
            let path = source.join("board").join(family).join("boards.toml");
            let part =
                std::fs::read_to_string(&path).map_err(|e| disk_failure("read", &path, e))?;
            let parsed: BTreeMap<String, BoardFiles> = toml::from_str(&part)
                .map_err(|e| Failure::new(format!("{} is not valid", path.display())).because(e))?;
            boards.extend(parsed);
            text.push_str(&part);
        }
        let config = source.join("board/rpi/config.txt");
        text.push_str(
            &std::fs::read_to_string(&config).map_err(|e| disk_failure("read", &config, e))?,
        );
        Ok(Self { boards, text })
    }

    /// All that these files say, for cache keys.
    pub fn fingerprint(&self) -> String {
        self.text.clone()
    }

    /// Modules per board, in the order wanted.
    pub fn modules(&self) -> BTreeMap<String, Vec<String>> {
        self.boards
            .iter()
            .map(|(name, b)| (name.clone(), b.modules.clone()))
            .collect()
    }

    /// Modules per board that are loaded when somebody looks for USB disks, in the order wanted.
    pub fn usb_disks(&self) -> BTreeMap<String, Vec<String>> {
        self.boards
            .iter()
            .map(|(name, b)| (name.clone(), b.usb_disks.clone()))
            .collect()
    }

    /// Device trees of all boards.
    pub fn device_trees(&self) -> BTreeSet<String> {
        self.boards
            .values()
            .flat_map(|b| b.device_trees.iter().cloned())
            .collect()
    }

    /// Firmware files of all boards.
    pub fn firmware(&self) -> BTreeSet<String> {
        self.boards
            .values()
            .flat_map(|b| b.firmware.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is plugged into a box can be a disk, or nothing: a keyboard or a network adapter would be an intruder's.
    #[test]
    fn nothing_but_disks_has_a_driver_when_it_is_plugged_in() {
        let checkout = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let boards = Boards::load(checkout).unwrap();
        // The host controllers of each board, and what they need; disks; file systems and their letters.
        let known = [
            "xhci-pci",
            "reset-raspberrypi",
            "dwc3",
            "xhci-plat-hcd",
            "sd_mod",
            "usb-storage",
            "uas",
            "nls_cp437",
            "nls_ascii",
            "vfat",
            "exfat",
        ];
        for (board, modules) in boards.usb_disks() {
            for module in &modules {
                assert!(known.contains(&module.as_str()), "{board}: {module}");
            }
            // init takes it for the sign that all are there.
            assert_eq!(modules.last().map(String::as_str), Some("exfat"), "{board}");
        }
        for (board, modules) in boards.modules() {
            let early = modules
                .iter()
                .find(|m| m.contains("hid") || m.contains("storage"));
            assert_eq!(early, None, "{board}");
        }
    }
}
