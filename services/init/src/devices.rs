//! Nodes for the devices that a service may open.
//!
//! A node belongs to root, with the service's group: a service that may only
//! read its slot cannot give itself the right to write.

use crate::block;
use roost_board::layout::{SELECTOR_PARTITION, Slot};
use roost_service::spec::{Device, ServiceSpec};
use rustix::fs::{CWD, Dev, FileType, Gid, Mode, Uid, chown, makedev, mknodat};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Number of the TUN device (linux/Documentation/admin-guide/devices.txt).
const TUN: (u32, u32) = (10, 200);

/// Makes the nodes that `table` names, for the disk and the slot of this boot. Those that can be
/// made are made, whatever becomes of the others.
///
/// # Errors
/// A sentence for each node that is missing.
pub fn make(table: &[ServiceSpec], disk_id: u32, slot: u8) -> Result<(), String> {
    let faults: Vec<String> = wanted(table)?
        .into_iter()
        .filter_map(|(device, spec)| {
            let path = device.path();
            let made = kind_and_number(device, disk_id, slot)
                .and_then(|(kind, number)| node(&path, kind, number, spec.user, device));
            let why = made.err()?;
            Some(format!(
                "cannot make {} for {}: {why}",
                path.display(),
                spec.name
            ))
        })
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("; "))
    }
}

fn kind_and_number(device: Device, disk_id: u32, slot: u8) -> io::Result<(FileType, Dev)> {
    if device == Device::Tun {
        return Ok((FileType::CharacterDevice, makedev(TUN.0, TUN.1)));
    }
    let disk = block::find_disk(disk_id).ok_or_else(|| io::Error::other("the disk has gone"))?;
    let number =
        partition(device, slot).ok_or_else(|| io::Error::other("the running slot is not known"))?;
    let found = block::find_partition(&disk, number).ok_or(io::ErrorKind::NotFound)?;
    let (major, minor) = found
        .number
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| io::Error::other("it has no number"))?;
    Ok((FileType::BlockDevice, makedev(major, minor)))
}

/// Which service gets which device.
fn wanted(table: &[ServiceSpec]) -> Result<Vec<(Device, &ServiceSpec)>, String> {
    let mut found: Vec<(Device, &ServiceSpec)> = Vec::new();
    for spec in table {
        for &device in spec.devices.keys() {
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

/// The partition behind a device; `None` if it is no partition, or `slot` is no slot's.
fn partition(device: Device, slot: u8) -> Option<u8> {
    let running = Slot::from_partition(slot)?;
    match device {
        Device::ActiveSlot => Some(running.partition()),
        Device::InactiveSlot => Some(running.other().partition()),
        Device::Selector => Some(SELECTOR_PARTITION),
        Device::Tun => None,
    }
}

fn node(path: &Path, kind: FileType, number: Dev, group: u32, device: Device) -> io::Result<()> {
    let mode = match device {
        Device::ActiveSlot => 0o440,
        Device::InactiveSlot | Device::Selector | Device::Tun => 0o660,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    mknodat(CWD, path, kind, Mode::empty(), number)?;
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
            devices: devices
                .iter()
                .map(|&device| (device, "Why.".into()))
                .collect(),
            ..ServiceSpec::plain(name, 1)
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
