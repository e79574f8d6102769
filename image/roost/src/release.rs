//! The number of a release: which of two builds of one box is newer.
//!
//! It grows by one when what a build is made from has changed, so that the same
//! inputs have the same number and give the same bytes. The last number is kept
//! in [`FILE`] beside `roost.toml`, with where the slots of the last releases
//! are: bundles hold differences to them.

use crate::error::Failure;
use crate::store::{Key, disk_failure};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the file, beside `roost.toml`.
pub const FILE: &str = "roost.release.json";
/// Earlier releases that a bundle has differences to: a box that was away for a
/// while still updates quickly, and each of them makes the bundle larger.
const EARLIER: usize = 3;

/// A release that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Built {
    number: u64,
    /// Hash of what it was made from, without the number.
    key: String,
    /// Its slot image, in the cache of the machine that built it.
    slot: PathBuf,
}

/// What is known of the releases of a box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    path: PathBuf,
    /// Newest first.
    releases: Vec<Built>,
}

impl History {
    /// Reads the file beside `config`; without one nothing was released yet.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be read or is no such file.
    pub fn load(config: &Path) -> Result<Self, Failure> {
        let path = config.with_file_name(FILE);
        let releases = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Failure::new(format!("{} cannot be understood", path.display()))
                    .because(e)
                    .hint("restore it; or remove it and give the next number with --release")
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(disk_failure("read", &path, e)),
        };
        Ok(Self { path, releases })
    }

    /// The number of a release that is made from `key`.
    pub fn number(&self, key: &Key) -> u64 {
        match self.releases.first() {
            None => 1,
            Some(last) if last.key == key.full() => last.number,
            Some(last) => last.number + 1,
        }
    }

    /// Notes a release that was built, and writes the file if that is news.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be written.
    pub fn note(&mut self, number: u64, key: &Key, slot: &Path) -> Result<(), Failure> {
        let built = Built {
            number,
            key: key.full().to_owned(),
            slot: slot.to_owned(),
        };
        if self.releases.first() == Some(&built) {
            return Ok(());
        }
        self.releases.retain(|release| release.number < number);
        self.releases.insert(0, built);
        self.releases.truncate(1 + EARLIER);
        let text = serde_json::to_string_pretty(&self.releases).expect("plain data") + "\n";
        let fail = |e| disk_failure("write", &self.path, e);
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        file.persist(&self.path).map_err(|e| fail(e.error))?;
        Ok(())
    }

    /// Slot images of the releases before `number` that are still there.
    pub fn earlier(&self, number: u64) -> Vec<PathBuf> {
        let earlier = self.releases.iter().filter(|r| r.number < number);
        earlier
            .map(|r| r.slot.clone())
            .filter(|s| s.is_file())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KeyBuilder;

    #[test]
    fn the_number_grows_with_what_changes() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("roost.toml");
        let key = |text: &str| KeyBuilder::new("test", 1).text(text).finish();
        let slot = |n: u64| {
            let path = dir.path().join(format!("slot-{n}"));
            std::fs::write(&path, "").unwrap();
            path
        };
        let load = || History::load(&config).unwrap();
        assert_eq!(load().number(&key("a")), 1);
        load().note(1, &key("a"), &slot(1)).unwrap();
        assert_eq!((load().number(&key("a")), load().number(&key("b"))), (1, 2));
        for number in 2..7 {
            load()
                .note(number, &key(&number.to_string()), &slot(number))
                .unwrap();
        }
        assert_eq!(load().earlier(6), [slot(5), slot(4), slot(3)]);
        std::fs::remove_file(dir.path().join("slot-4")).unwrap();
        assert_eq!(load().earlier(6), [slot(5), slot(3)]);

        std::fs::write(dir.path().join(FILE), "{}").unwrap();
        assert!(History::load(&config).is_err());
    }
}
