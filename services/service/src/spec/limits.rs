//! What a service may use up of the machine.

use super::SpecError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most that a limit of memory or scratch space may say, in MiB.
const MAX_MIB: u32 = 16 * 1024;
/// Weights of control groups (kernel document admin-guide/cgroup-v2.rst).
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;
/// Weights that the BFQ scheduler takes (kernel document block/bfq-iosched.rst).
const IO_WEIGHTS: std::ops::RangeInclusive<u32> = 1..=1000;

/// What a service may use up. The defaults suit a small service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Above this the service is ended (`memory.max`), in MiB.
    ///
    /// There is no softer limit below it: without swap a service has nothing to give back but what it has
    /// read of files. With `memory.high` a mail service that took in 50 MB stood still for as
    /// long as anybody watched, with nobody told why.
    pub memory_max_mib: u32,
    /// Processes and threads (`pids.max`).
    pub tasks: u32,
    /// Share of the processors while others want them too (`cpu.weight`); 100 is usual.
    pub cpu_weight: u32,
    /// Share of the card's time while others want it too (`io.bfq.weight`); 100 is usual.
    pub io_weight: u32,
    /// Room on the card.
    pub card_mib: CardRoom,
    /// Open files (`RLIMIT_NOFILE`).
    pub open_files: u32,
    /// Size of its `/tmp`, which is memory, in MiB.
    pub scratch_mib: u32,
}

/// Most that the files of a service may take of the card, as a quota of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CardRoom {
    /// So many MiB.
    Mib(u32),
    /// All of it, but for what is kept for the box itself.
    Rest(Rest),
}

/// The word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rest {
    /// What the box itself does not need.
    Rest,
}

impl fmt::Display for CardRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mib(mib) => write!(f, "{mib} MiB"),
            Self::Rest(_) => f.write_str("all but what the box itself needs"),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_max_mib: 64,
            tasks: 64,
            cpu_weight: 100,
            io_weight: 100,
            card_mib: CardRoom::Mib(16),
            open_files: 1024,
            scratch_mib: 1,
        }
    }
}

/// Whether all are in range.
///
/// # Errors
/// [`SpecError::BadLimit`] with the first that is not.
pub(super) fn validate(name: &str, limits: &Limits) -> Result<(), SpecError> {
    let weights = (*WEIGHTS.start(), *WEIGHTS.end());
    let io_weights = (*IO_WEIGHTS.start(), *IO_WEIGHTS.end());
    let card_mib = match limits.card_mib {
        CardRoom::Mib(mib) => mib,
        CardRoom::Rest(_) => MAX_MIB,
    };
    for (field, value, (least, most)) in [
        ("memory_max_mib", limits.memory_max_mib, (4, MAX_MIB)),
        ("tasks", limits.tasks, (1, 4096)),
        ("cpu_weight", limits.cpu_weight, weights),
        ("io_weight", limits.io_weight, io_weights),
        ("open_files", limits.open_files, (16, 65_536)),
        ("scratch_mib", limits.scratch_mib, (1, MAX_MIB)),
        ("card_mib", card_mib, (1, MAX_MIB)),
    ] {
        if !(least..=most).contains(&value) {
            return Err(SpecError::BadLimit {
                name: name.to_owned(),
                field,
                value,
                least,
                most,
            });
        }
    }
    Ok(())
}
