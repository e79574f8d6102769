//! The boxes that this laptop has met, each with the key by which it is known again.
//!
//! As SSH does: the first contact stores the key, and from then on nothing but
//! that key is accepted at that address.

use super::address::Address;
use super::identity::BoxKey;
use crate::error::Failure;
use roost_bundle::Component;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the file in the folder of the domain.
pub const FILE: &str = "known_boxes.json";
/// A longer file is not ours (bytes): an entry has a few hundred.
const MAX_FILE: u64 = 4 << 20;

/// What is known of one box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its public key.
    pub key: BoxKey,
    /// What this laptop has installed there last, to tell what an update changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Installed>,
}

/// A version that this laptop has installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Its number.
    pub number: u64,
    /// What was in it.
    pub components: Vec<Component>,
}

/// The file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    boxes: BTreeMap<String, Known>,
}

/// The known boxes of one domain. Every change reads the file anew, so that two
/// commands at a time lose nothing but the slower one's change of the same box.
#[derive(Debug)]
pub struct KnownBoxes {
    path: PathBuf,
}

impl KnownBoxes {
    /// Those that are kept in `folder`, which must be there before one is added.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join(FILE),
        }
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of the box at `address`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the file cannot be read. It is never taken for empty then:
    /// that would accept any box as new.
    pub fn get(&self, address: &Address) -> Result<Option<Known>, Failure> {
        Ok(self.load()?.boxes.remove(&address.to_string()))
    }

    /// Another address under which a box with this key is known.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub fn address_of(&self, key: BoxKey) -> Result<Option<String>, Failure> {
        let found = self.load()?.boxes.into_iter().find(|(_, k)| k.key == key);
        Ok(found.map(|(address, _)| address))
    }

    /// Writes down what is known of the box at `address`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the file cannot be read or written; it is then as before.
    pub fn put(&self, address: &Address, known: Known) -> Result<(), Failure> {
        let mut content = self.load()?;
        content.boxes.insert(address.to_string(), known);
        self.save(&content)
            .map_err(|e| Failure::new(format!("cannot write {}", self.path.display())).because(e))
    }

    fn load(&self) -> Result<Content, Failure> {
        let cannot = || Failure::new(format!("cannot use {}", self.path.display()));
        let read = || {
            if self.path.metadata()?.len() > MAX_FILE {
                return Err(std::io::Error::other("it is too long"));
            }
            std::fs::read(&self.path)
        };
        let bytes = match read() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Content::default()),
            Err(e) => return Err(cannot().because(e)),
            Ok(bytes) => bytes,
        };
        serde_json::from_slice(&bytes).map_err(|e| {
            cannot()
                .because(e)
                .hint("it holds the keys by which boxes are known again; repair it, or remove it if you are sure who answers")
        })
    }

    fn save(&self, content: &Content) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".known-")
            .tempfile_in(folder)?;
        serde_json::to_writer_pretty(&mut file, content)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|e| e.error)?;
        // The new name must outlive a power cut too.
        std::fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(digit: char) -> BoxKey {
        serde_json::from_value(digit.to_string().repeat(64).into()).unwrap()
    }

    fn known(digit: char) -> Known {
        Known {
            key: key(digit),
            installed: None,
        }
    }

    #[test]
    fn what_is_written_down_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        let boxes = KnownBoxes::in_folder(dir.path());
        let (here, there): (Address, Address) =
            ("roost".parse().unwrap(), "[::1]:17625".parse().unwrap());
        assert_eq!(boxes.get(&here).unwrap(), None);
        boxes.put(&here, known('a')).unwrap();
        let installed = Known {
            installed: Some(Installed {
                number: 14,
                components: vec![Component {
                    name: "init".into(),
                    version: "0.1.0".into(),
                }],
            }),
            ..known('b')
        };
        // Another command, at the same time.
        KnownBoxes::in_folder(dir.path())
            .put(&there, installed.clone())
            .unwrap();
        assert_eq!(boxes.get(&here).unwrap(), Some(known('a')));
        assert_eq!(boxes.get(&there).unwrap(), Some(installed));
        assert_eq!(
            boxes.address_of(key('b')).unwrap().as_deref(),
            Some("[::1]:17625")
        );
        assert_eq!(boxes.address_of(key('c')).unwrap(), None);
        insta::assert_snapshot!(std::fs::read_to_string(boxes.path()).unwrap());
        // Nothing else is left behind.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let boxes = KnownBoxes::in_folder(&dir.path().join("missing"));
        assert!(boxes.put(&"roost".parse().unwrap(), known('a')).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    proptest! {
        /// Neither read as empty nor written over, and no panic.
        #[test]
        fn junk_is_an_error_and_is_kept(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assume!(serde_json::from_slice::<Content>(&junk).is_err());
            let dir = tempfile::tempdir().unwrap();
            let boxes = KnownBoxes::in_folder(dir.path());
            std::fs::write(boxes.path(), &junk).unwrap();
            let address: Address = "roost".parse().unwrap();
            prop_assert!(boxes.get(&address).is_err());
            prop_assert!(boxes.put(&address, known('a')).is_err());
            prop_assert_eq!(std::fs::read(boxes.path()).unwrap(), junk);
        }
    }
}
