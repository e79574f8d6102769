//! Which number a build has: `roost.release.json` beside `roost.toml`.
//!
//! A box takes only what has a higher number than what it runs. So the number
//! grows by one with every build whose slot differs from the one before, and
//! stays with builds that differ in nothing. The file also remembers from which step
//! output each number's slot came, so that bundles can have deltas against it.

use crate::error::Failure;
use crate::store::{disk_failure, write_atomically};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the file.
const FILE: &str = "roost.release.json";
/// Slots remembered. Bundles have deltas against few of them, but a box may run an old one.
const SLOTS: usize = 16;
/// Programs that read JSON take larger numbers for fractions.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// What the last build was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its number, from 1.
    pub number: u64,
    /// Hash of all that its slot is made from, but for the number.
    pub key: String,
    /// MBR id of the cards that the first build was for. It follows from the domain and the name
    /// of then, and stays when those change: an updated slot has to find the card it is on.
    #[serde(default)]
    pub disk_id: Option<u32>,
    /// The builds whose slots may still be in the step store, oldest first.
    #[serde(default)]
    pub slots: Vec<Built>,
}

/// A build whose slot may still be in the step store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// Its number.
    pub number: u64,
    /// Short key of its slot in the step store.
    pub slot: String,
}

impl Release {
    /// Reads the file beside `config`; `None` if there is none yet.
    pub fn load(config: &Path) -> Result<Option<Self>, Failure> {
        let path = path(config);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(disk_failure("read", &path, e)),
        };
        let unusable = |why: String| {
            Failure::new(format!("{} cannot be used", path.display()))
                .because(why)
                .hint("restore it from a copy; or remove it, and give the next build a number above that of the box: `roost build --release N`")
        };
        let release: Self = serde_json::from_str(&text).map_err(|e| unusable(e.to_string()))?;
        if !(1..=MAX_NUMBER).contains(&release.number) {
            return Err(unusable(format!(
                "{} is no number of a release",
                release.number
            )));
        }
        Ok(Some(release))
    }

    /// Writes the file beside `config`.
    pub fn save(&self, config: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).expect("plain data");
        write_atomically(&path(config), &(text + "\n"))
    }
}

/// The number of a build with this key, after `before`; `wanted` is the user's wish.
pub fn number(before: Option<&Release>, key: &str, wanted: Option<u64>) -> u64 {
    match (wanted, before) {
        (Some(number), _) => number,
        (None, None) => 1,
        (None, Some(before)) if before.key == key => before.number,
        (None, Some(before)) => (before.number + 1).min(MAX_NUMBER),
    }
}

/// What to remember after a build.
pub fn record(
    before: Option<Release>,
    number: u64,
    key: &str,
    disk_id: u32,
    slot: &str,
) -> Release {
    let mut slots = before.map(|b| b.slots).unwrap_or_default();
    slots.retain(|built| built.number != number);
    slots.push(Built {
        number,
        slot: slot.to_owned(),
    });
    slots.drain(..slots.len().saturating_sub(SLOTS));
    Release {
        number,
        key: key.to_owned(),
        disk_id: Some(disk_id),
        slots,
    }
}

fn path(config: &Path) -> PathBuf {
    config.with_file_name(FILE)
}

/// A version as people read it, e.g. `0.1.0+14`.
pub fn name(number: u64) -> String {
    format!("{}+{number}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_grows_when_the_inputs_change_and_only_then() {
        let mut release = None;
        let mut numbers = Vec::new();
        for (key, wanted) in [
            ("a", None),
            ("a", None),
            ("b", None),
            ("a", None),
            ("a", Some(7)),
            ("a", None),
            ("c", None),
            ("c", Some(2)),
            ("d", None),
        ] {
            let number = number(release.as_ref(), key, wanted);
            release = Some(record(release, number, key, 1, key));
            numbers.push(number);
        }
        assert_eq!(numbers, [1, 1, 2, 3, 7, 7, 8, 2, 3]);
        // Each number stands for its latest build.
        let slots = release.unwrap().slots;
        let slots: Vec<_> = slots.iter().map(|s| (s.number, s.slot.as_str())).collect();
        assert_eq!(slots, [(1, "a"), (7, "a"), (8, "c"), (2, "c"), (3, "d")]);
    }

    #[test]
    fn the_file_is_written_beside_the_config_and_forgets_old_slots() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("roost.toml");
        assert_eq!(Release::load(&config).unwrap(), None);
        let mut release = None;
        for n in 1..=30 {
            release = Some(record(release, n, "key", 1, &format!("slot-{n}")));
        }
        let release = release.unwrap();
        assert_eq!((release.slots.len(), release.slots[0].number), (16, 15));
        release.save(&config).unwrap();
        assert!(dir.path().join("roost.release.json").is_file());
        assert_eq!(release.disk_id, Some(1));
        assert_eq!(Release::load(&config).unwrap(), Some(release));
        // What the format asks for at least.
        std::fs::write(dir.path().join(FILE), r#"{"number":14,"key":"ab"}"#).unwrap();
        let least = Release::load(&config).unwrap().unwrap();
        assert_eq!((least.number, least.disk_id), (14, None));
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("roost.toml");
        std::fs::write(dir.path().join(FILE), r#"{"number":0,"key":"ab"}"#).unwrap();
        let text = Release::load(&config).unwrap_err().render();
        let text = text.replace(&dir.path().display().to_string(), "FOLDER");
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Release::load(&config).is_err());
    }
}
