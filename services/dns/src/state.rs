//! What is kept of a zone over restarts: keys, serial number, the owner's records, those that programs set.
//!
//! One file for each zone, there as a whole or not at all. It is on the card before anything of it is served
//! or acknowledged, so a power cut never takes back what somebody was told.

use crate::sign::keys::KeySet;
use crate::stages::Stages;
use hickory_proto::rr::Name;
use roost_service::files;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Longest file that is read, in bytes: the owner's records and many keys.
const MAX_FILE: u64 = 4 << 20;

/// What is kept of a zone. Lines are as in a zone file, with whole names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Its keys.
    pub keys: KeySet,
    /// The serial number that was served last.
    #[serde(default)]
    pub serial: Option<u32>,
    /// When it was signed last, in seconds since 1970.
    #[serde(default)]
    pub signed_at: Option<u64>,
    /// The owner's records, as they were given.
    #[serde(default)]
    pub own: String,
    /// Records that programs set, one a line.
    #[serde(default)]
    pub set: Vec<String>,
    /// How strict its policies are.
    #[serde(default)]
    pub stages: Stages,
}

/// Why the file of a zone cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct StateError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub why: String,
}

/// The folder with the zones' files.
#[derive(Debug, Clone)]
pub struct States(PathBuf);

impl States {
    /// In this folder, which is there.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn path(&self, origin: &Name) -> PathBuf {
        let name = origin.to_lowercase().to_ascii();
        // A name of the DNS may hold anything, a domain of the box holds letters, digits, hyphens and dots.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let name: String = name.chars().filter(|c| plain(*c)).collect();
        self.0.join(format!("zone-{name}json"))
    }

    /// What is kept of a zone. A zone that is new gets keys, made at `now` (seconds since 1970), which are not
    /// on the card before [`States::save`].
    ///
    /// # Errors
    /// The file cannot be read, or is none of this zone. New keys in its place would make the domain
    /// unreachable for whoever validates, so nothing is made then.
    pub fn load(&self, origin: &Name, now: u64) -> Result<Kept, StateError> {
        let path = self.path(origin);
        let fail = |why: String| StateError {
            path: path.clone(),
            why,
        };
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let keys = KeySet::generate(origin, now).map_err(|e| fail(e.to_string()))?;
                return Ok(Kept {
                    keys,
                    serial: None,
                    signed_at: None,
                    own: String::new(),
                    set: Vec::new(),
                    stages: Stages::default(),
                });
            }
            Err(error) => return Err(fail(error.to_string())),
            Ok(meta) if meta.len() > MAX_FILE => {
                return Err(fail(format!("it is longer than {MAX_FILE} bytes")));
            }
            Ok(_) => {}
        }
        let bytes = std::fs::read(&path).map_err(|e| fail(e.to_string()))?;
        // The parser's own words could repeat a key.
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| {
            fail(format!(
                "it is damaged at line {}, column {}",
                e.line(),
                e.column()
            ))
        })?;
        if kept.keys.origin() != &origin.to_lowercase() {
            return Err(fail(format!("it belongs to {}", kept.keys.origin())));
        }
        Ok(kept)
    }

    /// Keeps it. When this returns, it is on the card.
    ///
    /// # Errors
    /// When it cannot be written; what was there before is there still.
    pub fn save(&self, kept: &Kept) -> Result<(), StateError> {
        let path = self.path(kept.keys.origin());
        let fail = |why: String| StateError {
            path: path.clone(),
            why,
        };
        let text = serde_json::to_vec(kept).map_err(|e| fail(e.to_string()))?;
        files::write(&path, &text).map_err(|e| fail(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn origin() -> Name {
        Name::from_ascii("example.org.").unwrap()
    }

    #[test]
    fn what_was_saved_is_there_again_and_a_new_zone_gets_keys() {
        let folder = tempfile::tempdir().unwrap();
        let states = States::new(folder.path());
        let mut kept = states.load(&origin(), NOW).unwrap();
        let tags = |kept: &Kept| kept.keys.keys().iter().map(|k| k.tag()).collect::<Vec<_>>();
        // Nobody was told of these keys: the next start makes others.
        assert_ne!(tags(&states.load(&origin(), NOW).unwrap()), tags(&kept));
        kept.serial = Some(7);
        kept.own = "www A 192.0.2.1".into();
        states.save(&kept).unwrap();
        let again = states.load(&origin(), NOW + 1).unwrap();
        assert_eq!(tags(&again), tags(&kept));
        assert_eq!((again.serial, again.own), (Some(7), kept.own));
    }

    #[test]
    fn a_damaged_file_is_told_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let states = States::new(folder.path());
        states.save(&states.load(&origin(), NOW).unwrap()).unwrap();
        let path = states.path(&origin());
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let said = states.load(&origin(), NOW).unwrap_err().to_string();
            assert!(said.contains("it is damaged at line 1"), "{said}");
        }
        let other = Name::from_ascii("example.com.").unwrap();
        std::fs::write(states.path(&other), &whole).unwrap();
        let said = states.load(&other, NOW).unwrap_err().to_string();
        assert!(said.ends_with("it belongs to example.org."), "{said}");
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_told(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            let states = States::new(folder.path());
            std::fs::write(states.path(&origin()), &bytes).unwrap();
            prop_assert!(states.load(&origin(), NOW).is_err());
        }
    }
}
