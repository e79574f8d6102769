//! Nodes for the block devices that a service may open.
//!
//! A node belongs to root, with the service's group: a service that may only
//! read its slot cannot give itself the right to write.

use crate::block::{self, Device as Block};
use roost_board::layout::{SELECTOR_PARTITION, Slot};
use roost_service::spec::{DEVICES, Device, ServiceSpec};
use rustix::fs::{CWD, FileType, Gid, Mode, Uid, chown, makedev, mknodat};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Makes the nodes that `table` names, for the disk and the slot of this boot.
///
/// # Errors
/// A sentence that names the node.
pub fn make(table: &[ServiceSpec], disk_id: u32, slot: u8) -> Result<(), String> {
    let wanted = wanted(table)?;
    if wanted.is_empty() {
        return Ok(());
    }
    let disk = block::find_disk(disk_id).ok_or("the disk has gone")?;
    let folder = Path::new(DEVICES);
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)))
        .map_err(|e| format!("cannot make {DEVICES}: {e}"))?;
    for (device, spec) in wanted {
        let number = partition(device, slot).ok_or("the running slot is not known")?;
        let path = folder.join(device.node());
        block::find_partition(&disk, number)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .and_then(|found| node(&path, &found, spec.user, device))
            .map_err(|e| format!("cannot make {} for {}: {e}", path.display(), spec.name))?;
    }
    Ok(())
}

/// Which service gets which device.
fn wanted(table: &[ServiceSpec]) -> Result<Vec<(Device, &ServiceSpec)>, String> {
    let mut found: Vec<(Device, &ServiceSpec)> = Vec::new();
    for spec in table {
        for &device in &spec.devices {
            if let Some((_, other)) = found.iter().find(|(taken, _)| *taken == device) {
                // A node has one group.
                return Err(format!(
                    "services {:?} and {:?} both list the device {}: no service gets a device",
                    other.name,
                    spec.name,
                    device.node()
                ));
            }
            found.push((device, spec));
        }
    }
    Ok(found)
}

/// The partition behind a device; `None` if `slot` is no slot's.
fn partition(device: Device, slot: u8) -> Option<u8> {
    let running = Slot::from_partition(slot)?;
    Some(match device {
        Device::ActiveSlot => running.partition(),
        Device::InactiveSlot => running.other().partition(),
        Device::Selector => SELECTOR_PARTITION,
    })
}

fn node(path: &Path, block: &Block, group: u32, device: Device) -> io::Result<()> {
    let mode = match device {
        Device::ActiveSlot => 0o440,
        Device::InactiveSlot | Device::Selector => 0o660,
    };
    let (major, minor) = block
        .number
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| io::Error::other("it has no number"))?;
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    mknodat(
        CWD,
        path,
        FileType::BlockDevice,
        Mode::empty(),
        makedev(major, minor),
    )?;
    chown(path, Some(Uid::ROOT), Some(Gid::from_raw(group)))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_slot_is_the_inactive_one() {
        let of = |slot| {
            [Device::ActiveSlot, Device::InactiveSlot, Device::Selector]
                .map(|device| partition(device, slot))
        };
        assert_eq!(of(2), [Some(2), Some(3), Some(1)]);
        assert_eq!(of(3), [Some(3), Some(2), Some(1)]);
        assert_eq!(of(0), [None; 3]);
    }

    #[test]
    fn a_device_has_one_service() {
        let spec = |name: &str, devices: &[Device]| ServiceSpec {
            devices: devices.to_vec(),
            ..serde_json::from_value(serde_json::json!({
                "name": name, "description": "For a test.", "program": "/bin/x", "user": 1,
                "required": true, "ready_timeout_s": 1, "stop_timeout_s": 1,
            }))
            .unwrap()
        };
        let table = [
            spec("mail", &[]),
            spec("updater", &[Device::InactiveSlot, Device::Selector]),
            spec("look", &[Device::ActiveSlot]),
        ];
        let found: Vec<_> = wanted(&table)
            .unwrap()
            .into_iter()
            .map(|(device, spec)| (device.node(), spec.name.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("inactive_slot", "updater"),
                ("selector", "updater"),
                ("active_slot", "look")
            ]
        );
        let table = [
            spec("a", &[Device::Selector]),
            spec("b", &[Device::Selector]),
        ];
        assert_eq!(
            wanted(&table).unwrap_err(),
            "services \"a\" and \"b\" both list the device selector: no service gets a device"
        );
    }
}
