//! Why a machine cannot be emulated.

use crate::options::Machine;
use roost_board::autoboot::AutobootError;
use roost_board::config_txt::ConfigError;
use roost_board::fat::FatError;
use roost_board::mbr::MbrError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// What failed, on which thing; the cause is the error's source, and
/// [`Error::hint`] says what can be done about it.
#[derive(Debug, Error)]
pub enum Error {
    /// A file or folder of the host.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// `open`, `read`, `create`, …
        action: &'static str,
        /// Path on the host.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The image has no usable partition table.
    #[error("{} is not a disk image", .image.display())]
    NotADisk {
        /// The image.
        image: PathBuf,
        /// Cause.
        source: MbrError,
    },
    /// A partition that the firmware needs is not there.
    #[error("{} has no partition {number}", .image.display())]
    NoPartition {
        /// The image.
        image: PathBuf,
        /// Partition number from 1.
        number: u8,
    },
    /// The firmware could not read this partition.
    #[error("cannot read partition {number} of {}", .image.display())]
    Partition {
        /// The image.
        image: PathBuf,
        /// Partition number from 1.
        number: u8,
        /// Cause.
        source: FatError,
    },
    /// The selector's `autoboot.txt` cannot be used.
    #[error("the firmware cannot choose a slot of {}", .image.display())]
    Autoboot {
        /// The image.
        image: PathBuf,
        /// Cause.
        source: AutobootError,
    },
    /// The selector leaves the choice to the firmware, which would search.
    #[error("autoboot.txt of {} names no boot_partition", .image.display())]
    NoChoice {
        /// The image.
        image: PathBuf,
    },
    /// The slot's `config.txt` cannot be used.
    #[error("the firmware cannot boot partition {number} of {}", .image.display())]
    Config {
        /// The image.
        image: PathBuf,
        /// Partition number from 1.
        number: u8,
        /// Cause.
        source: ConfigError,
    },
    /// The slot's device tree cannot be used.
    #[error("{path} in partition {number} is not a device tree: {reason}")]
    DeviceTree {
        /// Path in the slot.
        path: String,
        /// Partition number from 1.
        number: u8,
        /// Why not.
        reason: String,
    },
    /// Another machine runs from the image.
    #[error("{} is in use by another machine", .image.display())]
    InUse {
        /// The image.
        image: PathBuf,
    },
    /// QEMU's SD card must have a size that real cards have.
    #[error("{} has {bytes} bytes; {machine} needs a power of two", .image.display())]
    CardSize {
        /// The image.
        image: PathBuf,
        /// Its size.
        bytes: u64,
        /// The machine.
        machine: Machine,
    },
    /// A disk that shall be smaller than the image on it.
    #[error("a disk of {wanted} bytes is too small for {}, which has {least}", .image.display())]
    TooSmall {
        /// The image.
        image: PathBuf,
        /// Size asked for.
        wanted: u64,
        /// Size of the image.
        least: u64,
    },
    /// The machine lacks what was asked for.
    #[error("{machine} has no {what}")]
    Unsupported {
        /// The machine.
        machine: Machine,
        /// The missing part.
        what: &'static str,
    },
    /// Unix sockets have short names only.
    #[error("{} is too long for a socket: {bytes} bytes of at most {limit}", .path.display())]
    SocketPath {
        /// The socket's path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// What the system allows.
        limit: usize,
    },
    /// No port of the host could be had.
    #[error("cannot find a free port on {address}")]
    NoPort {
        /// Address of the host.
        address: std::net::Ipv4Addr,
        /// Cause.
        source: io::Error,
    },
    /// QEMU could not be started at all.
    #[error("cannot start {program}")]
    Start {
        /// First word of the command.
        program: String,
        /// Cause.
        source: io::Error,
    },
    /// QEMU ended by itself, or never began.
    #[error("QEMU failed ({status}){}", said(.output))]
    Qemu {
        /// Exit status in words.
        status: String,
        /// Last lines of its error output.
        output: String,
    },
    /// QEMU's control channel gave something unexpected.
    #[error("QEMU's control channel failed")]
    Qmp(#[source] io::Error),
}

fn said(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(": {output}")
    }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotADisk { .. } | Self::NoPartition { .. } => Some(
                "give the disk image that `roost build` made, not a slot or a compressed file"
                    .into(),
            ),
            Self::CardSize { bytes, .. } => Some(format!(
                "run from a copy of {} MiB, which costs no space until it is written to",
                bytes.next_power_of_two() >> 20
            )),
            Self::TooSmall { least, .. } => {
                Some(format!("take at least {} MiB", least.div_ceil(1 << 20)))
            }
            Self::SocketPath { .. } => Some("use a folder with a shorter path".into()),
            Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("install QEMU for ARM (Debian: qemu-system-arm)".into())
            }
            Self::InUse { .. } => Some("stop it, or run from a copy of the image".into()),
            Self::Qemu { output, .. }
                if output.contains("Could not set up host forwarding rule") =>
            {
                Some("another program uses that port: stop it, or forward from another port".into())
            }
            _ => None,
        }
    }
}
