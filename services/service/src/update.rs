//! The update calls: what the owner's laptop says to the box's updater, and what comes back.
//!
//! One JSON object a line: the laptop sends a [`Call`], the box answers with one or
//! several [`Answer`]s. Two calls are followed by bytes, as they say.
//!
//! The updater takes them on the Unix socket [`socket`], from the portal alone. The laptop
//! speaks TLS 1.3 to the portal on TCP [`PORT`], where each compares the other's key with the
//! one it knows, asks there with HTTP/1.1 for an [`UPGRADE`] of [`PATH`] (RFC 9110, section 7.8),
//! and gets `101`: from then on the portal pipes.

use crate::boot_times::BootTimes;
use crate::control::BoxStatus;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// TCP port on which laptops reach the portal's device API.
pub const PORT: u16 = 7625;
/// What a laptop asks for at that port.
pub const PATH: &str = "/api/v1/updates";
/// Value of the `Upgrade` header there.
pub const UPGRADE: &str = "roost-update/1";
/// The service that may connect to [`socket`].
pub const PORTAL: &str = "portal";

/// The updater's socket.
pub fn socket() -> PathBuf {
    crate::spec::run_folder("updater").join("api.sock")
}

/// Longest line in bytes, either way.
pub const MAX_LINE: usize = 64 * 1024;
/// Longest head of a bundle (everything before its payloads) that is taken, in bytes.
pub const MAX_HEAD: u64 = 8 << 20;

/// What the laptop may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// One [`Answer::Status`].
    Status,
    /// The last lines of a service's log, as one [`Answer::Logs`]; with
    /// `follow` more of them until the connection is closed.
    Logs {
        /// A service's name, `init` or `kernel`.
        service: String,
        /// How many lines at most.
        lines: usize,
        /// Of which start of the box, see `control::Request::Logs`. An older
        /// box takes no call that has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot: Option<u32>,
        /// Whether to go on with what comes.
        follow: bool,
    },
    /// When which part of the box's last start began and ended, as one [`Answer::BootTimes`].
    BootTimes,
    /// Restart the box. [`Answer::Ok`], then it goes down.
    Reboot,
    /// Look at the address that the box follows for updates now, and install what is newer there
    /// whatever the hour. [`Answer::Ok`] once it begins to; how it ends is in the log.
    Look,
    /// Try a bundle: `head_bytes` bytes follow, its beginning up to the first
    /// payload. Nothing is written. [`Answer::Progress`] while the box reads its
    /// slots, then one [`Answer::Offer`].
    Offer {
        /// Bytes that follow; at most [`MAX_HEAD`].
        head_bytes: u64,
        /// The owner wants an older version.
        allow_downgrade: bool,
        /// The owner wants a version from which there is no way back.
        allow_irreversible: bool,
    },
    /// Write what was offered on this connection: [`Answer::Ok`], then the
    /// laptop sends the ranges of the offer, one after the other, while the
    /// box sends [`Answer::Progress`] and, at the end, [`Answer::Staged`].
    Write,
    /// Boot the staged slot on trial. [`Answer::Ok`], then the box goes down.
    Trial,
    /// Boot the version that is in the other slot on trial. [`Answer::Ok`], then the box goes down.
    Rollback {
        /// The owner wants it though that version has an older mail store, in
        /// which what came since the update is missing.
        allow_older_mail: bool,
    },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Box<Report>),
    /// To [`Call::Logs`], oldest first.
    Logs {
        /// The lines.
        lines: Vec<String>,
    },
    /// To [`Call::BootTimes`].
    BootTimes(BootTimes),
    /// To [`Call::Offer`].
    Offer(Offer),
    /// So far, of what [`Call::Offer`] reads or [`Call::Write`] writes.
    Progress {
        /// Bytes that were read; bytes of the slot that are right.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The slot is written, was read back and is right.
    Staged,
    /// Accepted.
    Ok,
    /// Refused, with the reason in plain words and, where there is one, what to do.
    Error {
        /// The reason.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// Whole state of the box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What init knows.
    pub machine: BoxStatus,
    /// Where updates stand.
    pub update: UpdateStatus,
}

/// A version of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// Decides what is newer.
    pub number: u64,
    /// As people read it.
    pub name: String,
}

/// Where updates stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateStatus {
    /// What runs.
    pub running: Version,
    /// What is in the other slot, if it is whole.
    pub other: Option<Version>,
    /// What is being done.
    pub phase: Phase,
    /// How the last update ended.
    pub last: Option<Outcome>,
    /// How the ones before ended, newest first, without checks and logs. Nothing from a box that kept none.
    #[serde(default)]
    pub earlier: Vec<Outcome>,
}

/// What the update engine is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Nothing; the running slot is the committed one.
    Idle,
    /// A slot is being written.
    Writing {
        /// Its version.
        version: Version,
    },
    /// A slot is written and was never booted.
    Staged {
        /// Its version.
        version: Version,
    },
    /// The running slot is on trial.
    Trial {
        /// Its version.
        version: Version,
        /// The version of the committed slot.
        from: Version,
        /// What is checked before it is committed, and how that stands.
        checks: Vec<Check>,
    },
}

/// One check of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// What is checked, e.g. `mail delivers`.
    pub name: String,
    /// `None` while it was not answered yet, else whether it passed.
    pub passed: Option<bool>,
    /// What was found, in plain words.
    pub detail: String,
}

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outcome {
    /// The version before.
    pub from: Version,
    /// The version that was tried.
    pub to: Version,
    /// When it ended: seconds since 1970 by the box's clock, which may be unset.
    pub at: u64,
    /// Seconds from the restart into the trial until its end.
    pub took_s: u64,
    /// `None`: committed. Else why it was rolled back.
    pub rolled_back: Option<Reason>,
}

/// Why a trial was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reason {
    /// One sentence.
    pub summary: String,
    /// The checks as they stood.
    pub checks: Vec<Check>,
    /// The last lines that the trial logged, oldest first.
    pub log: Vec<String>,
}

/// What an update would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What runs now.
    pub from: Version,
    /// What would run.
    pub to: Version,
    /// Ranges of the payloads to send, in order: first byte and byte behind the last.
    pub ranges: Vec<(u64, u64)>,
    /// Bytes that would be sent.
    pub send: u64,
    /// Bytes of the slot that would be written (the rest of it is right already).
    pub write: u64,
    /// Bytes of them that are on the box already.
    pub copied: u64,
}
