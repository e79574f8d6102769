//! Kernel uevents: `ACTION@devpath` and `KEY=value` strings, each ended by a zero byte.

/// What the kernel says happened to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `remove`, `change`, ….
    pub action: String,
    /// `block`, `net`, `virtio-ports`, ….
    pub subsystem: String,
    /// Node under `/dev`, e.g. `vda2`, if it has one.
    pub devname: Option<String>,
}

/// Reads one datagram of a `NETLINK_KOBJECT_UEVENT` socket.
///
/// `None` for what is no kernel uevent, such as a message of another udev.
pub fn parse(datagram: &[u8]) -> Option<Uevent> {
    let mut parts = datagram.split(|&b| b == 0);
    let header = std::str::from_utf8(parts.next()?).ok()?;
    let (action, _devpath) = header.split_once('@')?;
    let mut subsystem = None;
    let mut devname = None;
    for part in parts {
        let Ok(part) = std::str::from_utf8(part) else {
            continue;
        };
        match part.split_once('=') {
            Some(("SUBSYSTEM", value)) => subsystem = Some(value.to_owned()),
            Some(("DEVNAME", value)) => devname = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(Uevent {
        action: action.to_owned(),
        subsystem: subsystem?,
        devname,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_partition_appears() {
        let datagram =
            b"add@/devices/x/block/vda/vda2\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=vda2\0PARTN=2\0";
        let event = parse(datagram).unwrap();
        assert_eq!(event.action, "add");
        assert_eq!(event.subsystem, "block");
        assert_eq!(event.devname.as_deref(), Some("vda2"));
    }

    #[test]
    fn udevs_own_messages_are_ignored() {
        assert_eq!(parse(b"libudev\0\xfe\xed\xca\xfe"), None);
    }

    proptest! {
        #[test]
        fn junk_never_panics(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&datagram);
        }
    }
}
