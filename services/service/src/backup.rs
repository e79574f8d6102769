//! The backup service, as others see it.
//!
//! - Laptops reach it by the device API, whose connection becomes the service's own ([`UPGRADE`], [`socket`]).
//!   What is said there stands in `services/backup/repository/src/wire.rs`.
//! - The portal asks it at another socket, [`door`]: a [`Call`] as a line of JSON, an [`Answer`] as a line.
//!
//! A [`Target`] is where the box writes backups to by itself. Its secret travels in one direction only:
//! no answer has a field for it.

mod bucket;
mod secret;
mod sftp;
mod target;
mod usb;

use crate::disk::Disk;
pub use bucket::BucketTarget;
pub use secret::Secret;
use serde::{Deserialize, Serialize};
pub use sftp::{HostKey, SftpPlace, SftpTarget};
use std::path::PathBuf;
pub use target::{NoTarget, S3, SFTP, Target, USB};
pub use usb::{UsbPlace, UsbTarget};

/// The spec's name of the service.
pub const SERVICE: &str = "backup";
/// Path of the device API.
pub const PATH: &str = "/api/v1/backup";
/// The protocol's name in the header `Upgrade`.
pub const UPGRADE: &str = "roost-backup/1";
/// Longest [`Call`] as JSON, in bytes, the line feed included.
pub const MAX_CALL: usize = 16 << 10;
/// The file in the service's data folder that has a [`Kept`], as JSON.
pub const TARGET_FILE: &str = "target.json";

/// The service's socket, to which the portal pipes laptops.
pub fn socket() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("laptops.sock")
}

/// The service's socket for the portal's own questions.
pub fn door() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("portal.sock")
}

/// What the service keeps of a target, in [`TARGET_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Where.
    pub target: Target,
    /// What opens it. Without, the key that this box has made for SFTP servers does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Whether the key may remove files there, as far as was seen when it was set.
    pub removes: bool,
}

/// What the portal asks. Each changes something or tells something, and none gives the target's secret away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// How backups stand: [`Answer::Status`].
    Status,
    /// The recovery code: [`Answer::Code`].
    Code,
    /// Try this target, and if it works back up to it from now on: [`Answer::Done`].
    Set {
        /// Where.
        target: Target,
        /// What opens it; for an SFTP server without one, the box's own key ([`Call::Key`]).
        #[serde(default)]
        secret: Option<Secret>,
    },
    /// The public half of the key by which the box signs in at SFTP servers: [`Answer::Key`]. It is made
    /// when somebody first asks for it.
    Key,
    /// Which host key an SFTP server shows, before anything is said there: [`Answer::HostKey`].
    HostKey {
        /// Its name or address; one of IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Which USB disks are plugged into the box: [`Answer::Disks`].
    Disks,
    /// Back up to no target any more. What lies there stays: [`Answer::Done`].
    Remove,
    /// Begin a backup now: [`Answer::Done`].
    Now,
    /// Begin a proof now: [`Answer::Done`].
    Prove,
}

/// What comes back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Box<BackupStatus>),
    /// To [`Call::Code`].
    Code {
        /// Its words.
        words: String,
    },
    /// To [`Call::Key`].
    Key {
        /// A line for the server's file `authorized_keys`.
        line: String,
    },
    /// To [`Call::HostKey`].
    HostKey {
        /// Its fingerprint.
        host_key: HostKey,
    },
    /// To [`Call::Disks`].
    Disks {
        /// All.
        disks: Vec<Disk>,
    },
    /// It is done, or begun.
    Done,
    /// It is not.
    Refused {
        /// Why, in plain words.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// How backups stand. Times are in seconds since 1970. Fields may be added; a reader skips those that it
/// does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackupStatus {
    /// Where the box backs up to by itself; none was set if missing.
    pub target: Option<Target>,
    /// Whether the box forgets old backups there: its key may remove them.
    pub forgets: bool,
    /// The newest backup that it has made there.
    pub made: Option<Made>,
    /// Why the last try failed, until one succeeds.
    pub failure: Option<BackupFailure>,
    /// What the last proof has found.
    pub proof: Option<Proof>,
    /// Why the last proof came to no end, until one does.
    #[serde(default)]
    pub proof_failure: Option<BackupFailure>,
    /// When old backups were last forgotten.
    pub forgotten_at: Option<u64>,
    /// Why that failed since, if it did.
    #[serde(default)]
    pub forget_failure: Option<BackupFailure>,
    /// When the next backup is due; `None`: not known while the clock is not set.
    pub next_at: Option<u64>,
    /// When something was due for which the target's USB disk was not plugged in; it is done as soon as that is.
    #[serde(default)]
    pub waits_since: Option<u64>,
    /// What is under way.
    pub running: Option<Running>,
    /// The newest backup that a laptop has fetched.
    pub fetched: Option<Made>,
}

impl BackupStatus {
    /// The newest backup, wherever it is.
    pub fn newest(&self) -> Option<&Made> {
        let all = self.made.iter().chain(&self.fetched);
        all.max_by_key(|made| made.at)
    }
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Made {
    /// When.
    pub at: u64,
    /// Its name: 64 hexadecimal digits.
    pub id: String,
    /// How many files it has.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Bytes that it added to the repository.
    pub added: u64,
    /// SHA-256 of its list of files and hashes, 64 hexadecimal digits: the proof compares the one in the
    /// backup with this.
    pub manifest: String,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackupFailure {
    /// When.
    pub at: u64,
    /// How often in a row.
    pub times: u32,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What a proof has found: the newest backup was read back, and every file's hash compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proof {
    /// When.
    pub at: u64,
    /// Of which backup.
    pub id: String,
    /// How many files came back as they went in.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// What was wrong; nothing if missing.
    pub fault: Option<String>,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Running {
    /// What.
    pub what: Work,
    /// Bytes read so far.
    pub read: u64,
    /// Bytes that there are to read; 0: not known yet.
    pub of: u64,
}

/// What the service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// It makes a backup.
    Backup,
    /// It reads one back.
    Proof,
    /// It removes what no backup needs any more.
    Forgetting,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_shows_no_secret() {
        let call = Call::Set {
            target: Target::of("s3://backups", None, None, "AKIA1").unwrap(),
            secret: Some("wJalr+XUtn/FEMI".parse().unwrap()),
        };
        assert!(!format!("{call:?}").contains("wJalr"));
    }

    #[test]
    fn what_an_older_version_has_kept_is_understood() {
        let kept = r#"{"target":{"endpoint":"https://s3.example.net","region":"us-east-1","bucket":"backups","prefix":"","key_id":"K"},"secret":"s","removes":true}"#;
        let parsed: Kept = serde_json::from_str(kept).unwrap();
        assert_eq!(parsed.target.to_string(), "s3://backups");
        assert_eq!(serde_json::to_string(&parsed).unwrap(), kept);
    }
}
