//! Requests to init: one JSON object a line, one answer a line.
//!
//! Served on [`SOCKET`] and, in an emulator that offers one, on the virtio
//! port named [`VIRTIO_PORT`].

use crate::boot_times::BootTimes;
use crate::disk::{Disk, DiskMark};
use crate::settings::Chosen;
use serde::{Deserialize, Serialize};

/// Unix socket that init listens on.
pub const SOCKET: &str = "/run/roost/control.sock";
/// Name of the virtio-serial port on emulated machines.
pub const VIRTIO_PORT: &str = "roost.control";

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// State of the box and of every service.
    Status,
    /// The last `lines` log lines of a service (`init` and `kernel` count as services), each
    /// behind the time when it was written.
    Logs {
        /// The service.
        service: String,
        /// How many lines at most.
        lines: usize,
        /// Of which start of the box: 0 is the running one, 1 the one before. Missing: of the
        /// running one, and with what room there is left, of those before it.
        #[serde(default)]
        boot: Option<u32>,
        /// One more [`Response::Logs`] whenever there are new lines, until the connection is
        /// closed or something else is asked on it.
        #[serde(default)]
        follow: bool,
    },
    /// When which part of this boot began and ended.
    BootTimes,
    /// Send SIGKILL to a service's process; init restarts it.
    Kill {
        /// The service.
        service: String,
    },
    /// Stop and start a service.
    Restart {
        /// The service.
        service: String,
    },
    /// Stop everything in order and restart the machine.
    Reboot {
        /// Boot the other slot, once: whatever ends that boot, the next one is
        /// from the committed slot again.
        #[serde(default)]
        trial: bool,
    },
    /// The slot on trial is the committed one from now on: init no longer
    /// restarts the box by itself when the trial's time is over.
    EndTrial,
    /// Stop everything in order and power off.
    PowerOff,
    /// What the serial console and an attached screen show, until the next `announce`. It goes
    /// to no log.
    Announce {
        /// The pairing code, as [`crate::card::normalise_code`] gives it, while somebody may pair.
        code: Option<String>,
        /// The box's name on the network, if another machine has its own (RFC 6762 section 9).
        #[serde(default)]
        name: Option<String>,
        /// The fingerprint of the portal's certificate, as words: what
        /// `fingerprint::Fingerprint::words` gives, with a blank between them.
        fingerprint: String,
    },
    /// Keep what the owner chose in the browser, over the image's settings, and start the
    /// services that read it again. [`Response::Ok`] once it is on the card for good.
    Configure {
        /// All of it: what was chosen before does not stay.
        chosen: Chosen,
    },
    /// Restart, and wipe everything but the card's own file on the way up: mail, accounts, owner,
    /// laptops, logs. Name, network and identity of the box stay. [`Response::Ok`] once the box
    /// is bound to it, whatever happens to the power.
    FactoryReset {
        /// The new pairing code, as [`crate::card::normalise_code`] gives it; without one init
        /// makes one and shows it.
        #[serde(default)]
        code: Option<String>,
    },
    /// Which USB disks are plugged in: [`Response::Disks`]. Until the first such question after a start the
    /// kernel has no driver for any.
    Disks,
    /// Mount the file system with this mark, and show a folder of it to the service whose spec has the right:
    /// [`Response::Ok`] once it is at [`crate::disk::LENT`]. It is unmounted when the connection ends, if not before.
    TakeDisk {
        /// Which.
        disk: DiskMark,
        /// The folder; it is made if it is not there.
        folder: String,
    },
    /// Bring what was written onto the disk, and unmount it: [`Response::Ok`] once it may be pulled out. For the
    /// connection that has taken it.
    ReleaseDisk,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(BoxStatus),
    /// To [`Request::Logs`], oldest first.
    Logs {
        /// The lines.
        lines: Vec<String>,
    },
    /// To [`Request::BootTimes`].
    BootTimes(BootTimes),
    /// To [`Request::Disks`].
    Disks {
        /// At most [`crate::disk::MAX_DISKS`].
        disks: Vec<Disk>,
    },
    /// Accepted; for `Reboot` and `PowerOff` the machine goes down after this line.
    Ok,
    /// Refused, with the reason in plain words.
    Error {
        /// The reason.
        message: String,
    },
    /// Something about a disk cannot be done.
    DiskRefused {
        /// Why, in plain words.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// State of the whole box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BoxStatus {
    /// Host name.
    pub name: String,
    /// Image version.
    pub version: String,
    /// Partition number of the running slot (2 = A, 3 = B).
    pub slot: u8,
    /// The slot is on trial: seconds until init restarts the box into the
    /// committed slot, unless the trial is ended before.
    pub trial_left_s: Option<f64>,
    /// Seconds since the kernel started.
    pub uptime_s: f64,
    /// Why the box is in the rescue state, if it is.
    pub rescue: Option<String>,
    /// Whether every required service is ready.
    pub ready: bool,
    /// Seconds from kernel start until every required service was first ready.
    pub ready_after_s: Option<f64>,
    /// Whether the clock was set from a time server in this boot.
    pub clock_synced: bool,
    /// Addresses of the box, e.g. `192.168.1.5/24`.
    pub addresses: Vec<String>,
    /// Memory of the machine, bytes: total and available (`MemAvailable`).
    pub memory_total: u64,
    /// See `memory_total`.
    pub memory_available: u64,
    /// Size of the data file system and its free space, bytes.
    pub data_total: u64,
    /// See `data_total`.
    pub data_free: u64,
    /// Bytes written to the data partition since the kernel started.
    pub data_written: u64,
    /// Every service of the table.
    pub services: Vec<ServiceStatus>,
}

/// State of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceStatus {
    /// Name from its spec.
    pub name: String,
    /// `waiting`, `starting`, `ready`, `stopping`, `stopped`, `backoff` or `failed`.
    pub state: String,
    /// Why it is in that state, in plain words, or its own `STATUS` line.
    pub detail: String,
    /// Process id while it runs.
    pub pid: Option<u32>,
    /// Times it was started again in this boot without being asked to.
    pub restarts: u32,
    /// Resident memory in bytes while it runs.
    pub memory: Option<u64>,
}
