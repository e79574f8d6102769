//! What this boot is: board, slot, version.

use crate::engine::Allowed;
use crate::state::Installed;
use roost_board::cmdline::BootArgs;
use roost_board::{Board, Slot};
use roost_bundle::{BoxState, Hash};
use roost_service::spec;
use roost_service::update::Version;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where the builder says what the image is.
const RELEASE: &str = "etc/roost/release.json";

/// What the machine is (devicetree specification, section 2.3.1); `/proc/device-tree` leads there.
const COMPATIBLE: &str = "sys/firmware/devicetree/base/compatible";

/// The service whose store a bundle must be able to read.
const MAIL: &str = "mail";

/// What the image says about itself. Fields that this program does not know
/// are passed over: they are for people.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Release {
    version: String,
    /// 0 in images from before there were updates: everything is newer.
    #[serde(default)]
    number: u64,
    /// Format of the settings that this image writes; 0 if it does not say.
    #[serde(default)]
    settings_format: u32,
}

/// What matters here of a row of the table of services.
#[derive(Debug, Deserialize)]
struct Service {
    name: String,
    /// Number of the format of its data; 0 if the image does not say.
    #[serde(default)]
    data_format: u32,
}

/// What this boot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Short name of the board.
    pub board: String,
    /// The slot that runs.
    pub slot: Slot,
    /// What is in it.
    pub running: Installed,
    /// Format of the settings.
    pub settings_format: u32,
}

/// Why it is unknown.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file says something else than expected.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Init says that another partition runs.
    #[error("partition {0} runs, which is not a slot")]
    NotASlot(u8),
}

impl Facts {
    /// Reads them below `root` (`/` on the box); `partition` is the number of
    /// the running slot's partition, as init tells it.
    ///
    /// # Errors
    /// When something essential is not known. A missing root hash is not: it
    /// is compared where it is known.
    pub fn read(root: &Path, partition: u8) -> Result<Self, FactsError> {
        let read = |name: &str| {
            let path = root.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok((path, bytes)),
                Err(source) => Err(FactsError::Read { path, source }),
            }
        };
        let (path, bytes) = read(RELEASE)?;
        let release: Release =
            serde_json::from_slice(&bytes).map_err(|error| FactsError::Content {
                path,
                reason: error.to_string(),
            })?;
        let (path, bytes) = read(spec::PATH.trim_start_matches('/'))?;
        let services: Vec<Service> =
            serde_json::from_slice(&bytes).map_err(|error| FactsError::Content {
                path,
                reason: error.to_string(),
            })?;
        let mail = services.iter().find(|service| service.name == MAIL);
        let (path, bytes) = read(COMPATIBLE)?;
        let board = Board::from_compatible(&bytes).ok_or_else(|| FactsError::Content {
            path,
            reason: format!(
                "{:?} is no board that this image knows",
                String::from_utf8_lossy(&bytes)
            ),
        })?;
        let (_, bytes) = read("proc/cmdline")?;
        let root_hash = BootArgs::parse(&String::from_utf8_lossy(&bytes))
            .ok()
            .map(|args| Hash(args.root.root_hash));
        Ok(Self {
            board: board.name().to_owned(),
            slot: Slot::from_partition(partition).ok_or(FactsError::NotASlot(partition))?,
            running: Installed {
                version: Version {
                    number: release.number,
                    name: format!("{}+{}", release.version, release.number),
                },
                root_hash,
                mail_store: mail.map_or(0, |mail| mail.data_format),
            },
            settings_format: release.settings_format,
        })
    }

    /// As a bundle's admission wants it.
    pub(crate) fn box_state(&self, slot_bytes: u64, allowed: Allowed) -> BoxState {
        BoxState {
            board: self.board.clone(),
            version: self.running.version.number,
            slot_bytes,
            mail_store: self.running.mail_store,
            settings_format: self.settings_format,
            allow_downgrade: allowed.downgrade,
            allow_irreversible: allowed.irreversible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_tells_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        let error = Facts::read(folder.path(), 2).unwrap_err().to_string();
        assert!(error.ends_with("etc/roost/release.json"), "{error}");
        write(RELEASE, br#"{"version":"0.1.0","build":"abc","number":14}"#);
        write("proc/cmdline", b"console=tty1");
        write(
            "etc/roost/services.json",
            br#"[{"name":"mail","data_format":3,"user":800}]"#,
        );
        write(COMPATIBLE, b"linux,dummy-virt\0");
        let facts = Facts::read(folder.path(), 3).unwrap();
        assert_eq!(facts.running.version.name, "0.1.0+14");
        assert_eq!(facts.running.version.number, 14);
        assert_eq!(facts.running.root_hash, None);
        assert_eq!(facts.running.mail_store, 3);
        assert_eq!((facts.board.as_str(), facts.slot), ("virt", Slot::B));
        let error = Facts::read(folder.path(), 4).unwrap_err().to_string();
        assert_eq!(error, "partition 4 runs, which is not a slot");
    }
}
