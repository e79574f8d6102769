//! Finding the box's disk and its partitions among the block devices.

use crate::uevent;
use roost_board::mbr::Mbr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Multicast group of the kernel's own uevents (1 in the mask).
const KERNEL_GROUP: u32 = 1;

/// A block device as `/sys/class/block` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Kernel name, e.g. `mmcblk0p2`; also its name in `/dev`.
    pub name: String,
    /// `major:minor`.
    pub number: String,
    /// Size in 512-byte sectors.
    pub sectors: u64,
}

impl Device {
    /// Its node in `/dev`.
    pub fn node(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    fn read(name: &str) -> io::Result<Self> {
        let sys = Path::new("/sys/class/block").join(name);
        let number = fs::read_to_string(sys.join("dev"))?.trim().to_owned();
        let sectors = fs::read_to_string(sys.join("size"))?
            .trim()
            .parse()
            .map_err(io::Error::other)?;
        Ok(Self {
            name: name.to_owned(),
            number,
            sectors,
        })
    }
}

/// The disk whose MBR carries `disk_id`, if it is there already.
pub fn find_disk(disk_id: u32) -> Option<Device> {
    let mut names: Vec<String> = fs::read_dir("/sys/class/block")
        .ok()?
        .flatten()
        .filter(|entry| !entry.path().join("partition").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            !["loop", "ram", "zram", "dm-", "nbd"]
                .iter()
                .any(|p| name.starts_with(p))
        })
        .collect();
    names.sort_unstable();
    names.into_iter().find_map(|name| {
        let device = Device::read(&name).ok()?;
        let mbr = read_mbr(&device.node()).ok()??;
        (mbr.disk_id() == disk_id).then_some(device)
    })
}

/// Partition `number` of `disk`, if the kernel has made it already.
pub fn find_partition(disk: &Device, number: u8) -> Option<Device> {
    // `vda` → `vda2`, but `mmcblk0` → `mmcblk0p2`.
    let separator = if disk.name.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    Device::read(&format!("{}{separator}{number}", disk.name)).ok()
}

/// Sector 0 of a disk, if it holds a usable partition table.
///
/// # Errors
/// Those of reading the device.
pub fn read_mbr(node: &Path) -> io::Result<Option<Mbr>> {
    let mut sector = [0; 512];
    File::open(node)?.read_exact(&mut sector)?;
    Ok(Mbr::from_bytes(&sector).ok())
}

/// A socket on which the kernel announces devices.
///
/// Open it before looking, so that nothing appears unseen in between.
#[derive(Debug)]
pub struct Uevents(OwnedFd);

impl Uevents {
    /// Opens the socket, non-blocking.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2).
    pub fn open() -> io::Result<Self> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(KOBJECT_UEVENT),
        )?;
        bind(&fd, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(Self(fd))
    }

    /// The subsystems of all announcements that have come; announcements may
    /// be missing when many came at once, then `lost` is true.
    pub fn drain(&self) -> (Vec<String>, bool) {
        let mut subsystems = Vec::new();
        let mut lost = false;
        let mut buffer = [0; 8192];
        // Bounded: whoever calls has other things to do.
        for _ in 0..64 {
            match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    let event = uevent::parse(&buffer[..length.min(buffer.len())]);
                    subsystems.extend(event.map(|event| event.subsystem));
                }
                Err(rustix::io::Errno::NOBUFS) => lost = true,
                Err(_) => break,
            }
        }
        (subsystems, lost)
    }

    /// Looks with `look` now and after every uevent of `subsystem`, until it
    /// finds something or `limit` has passed.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait_for<T>(
        &self,
        subsystem: &str,
        limit: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> io::Result<Option<T>> {
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0u8; 8192];
        loop {
            if let Some(found) = look() {
                return Ok(Some(found));
            }
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
                let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
                match poll(&mut fds, Some(&timeout)) {
                    Ok(0) => return Ok(None),
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                    Ok((length, _)) => {
                        let event = uevent::parse(&buffer[..length.min(buffer.len())]);
                        if event.is_some_and(|event| event.subsystem == subsystem) {
                            break;
                        }
                    }
                    // Announcements were lost: look again.
                    Err(rustix::io::Errno::NOBUFS) => break,
                    Err(_) => {}
                }
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
