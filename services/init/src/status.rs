//! The answer to a status request, gathered from the machine and the kernel.

use crate::machine::{Machine, Phase};
use crate::{clock, data, processes};
use roost_service::control::{BoxStatus, ServiceStatus};
use std::fs;
use std::time::Duration;

/// What the status needs beyond the machine's state.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Host name.
    pub name: String,
    /// Image version.
    pub version: String,
    /// Partition number of the running slot; 0 if unknown.
    pub slot: u8,
    /// How long the trial may still take; `None` if this boot is none.
    pub trial_left: Option<Duration>,
    /// Whether a time server was heard in this boot, and is believed.
    pub clock_synced: bool,
    /// Addresses as `address/prefix`.
    pub addresses: Vec<String>,
}

/// Gathers the status.
pub fn gather(machine: &Machine, facts: Facts) -> BoxStatus {
    let (memory_total, memory_available) = fs::read_to_string("/proc/meminfo")
        .map(|text| read_meminfo(&text))
        .unwrap_or_default();
    let mounted = matches!(
        machine.phase(),
        Phase::Running
            | Phase::Failing { .. }
            | Phase::Stopping {
                checking: false,
                ..
            }
    );
    let data = mounted
        .then(|| rustix::fs::statvfs(data::MOUNT_POINT).ok())
        .flatten();
    let (data_total, data_free) = data
        .map(|d| (d.f_blocks * d.f_frsize, d.f_bavail * d.f_frsize))
        .unwrap_or_default();
    let data_written = mounted.then(written_to_data).flatten().unwrap_or(0);
    let rescue = match machine.phase() {
        Phase::Rescue { reason } | Phase::Failing { reason } => Some(reason.clone()),
        _ => None,
    };
    let held = matches!(machine.phase(), Phase::Rescue { .. });
    let services = machine.supervisor().services().iter().map(|service| {
        let pid = service.state.pid();
        ServiceStatus {
            name: service.spec.name.clone(),
            state: service.state.word().to_owned(),
            detail: if held {
                "the box is in the rescue state".into()
            } else {
                service.detail.clone()
            },
            pid,
            restarts: service.restarts,
            memory: pid.and_then(processes::memory),
        }
    });
    BoxStatus {
        name: facts.name,
        version: facts.version,
        slot: facts.slot,
        trial_left_s: facts.trial_left.map(|left| left.as_secs_f64()),
        uptime_s: clock::since_boot().as_secs_f64(),
        ready: machine.ready(),
        ready_after_s: machine.ready_after().map(|time| time.as_secs_f64()),
        clock_synced: facts.clock_synced,
        addresses: facts.addresses,
        memory_total,
        memory_available,
        data_total,
        data_free,
        data_written,
        services: services.collect(),
        rescue,
    }
}

/// Bytes written to the partition under [`data::MOUNT_POINT`], by the kernel's count.
fn written_to_data() -> Option<u64> {
    let device = rustix::fs::stat(data::MOUNT_POINT).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    read_block_stat(&fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?)
}

/// Bytes written, from a block device's `stat`: its seventh field counts
/// sectors of 512 bytes (Linux, Documentation/block/stat.rst).
fn read_block_stat(text: &str) -> Option<u64> {
    let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

/// `MemTotal` and `MemAvailable` in bytes.
fn read_meminfo(text: &str) -> (u64, u64) {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line
            .trim_start_matches(':')
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse()
            .ok()?;
        Some(kib * 1024)
    };
    (
        field("MemTotal").unwrap_or(0),
        field("MemAvailable").unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo() {
        let text = "MemTotal:        1000 kB\nMemFree:           10 kB\nMemAvailable:     500 kB\n";
        assert_eq!(read_meminfo(text), (1_024_000, 512_000));
        assert_eq!(read_meminfo("junk"), (0, 0));
    }

    #[test]
    fn block_stat() {
        let text = "     120      3     9000    40     55     7     1024    90  0  100  130\n";
        assert_eq!(read_block_stat(text), Some(524_288));
        assert_eq!(read_block_stat("1 2 3"), None);
    }
}
