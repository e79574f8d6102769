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
    /// Kernel modules in the order wanted, without dependencies.
    modules: Vec<String>,
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
