//! What a machine is to be like.

use roost_board::Board;
use std::ffi::OsString;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// A machine that QEMU can emulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// QEMU's generic ARM64 machine with virtio devices: quick.
    Virt,
    /// A Raspberry Pi 3 B with SD card: slow, closest to hardware. It always
    /// has 1024 MB and four processors.
    Raspi3b,
}

impl Machine {
    /// The board that the machine is, for the firmware's choices.
    pub const fn board(self) -> Board {
        match self {
            Self::Virt => Board::Virt,
            Self::Raspi3b => Board::Rpi3,
        }
    }

    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Raspi3b => "raspi3b",
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Transport protocol of a forwarded port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to one of the guest.
///
/// QEMU lets one connection wait for it (`listen(…, 1)` in libslirp). With SYN
/// cookies, Linux' default, several at the same moment can be open for their
/// clients and unknown to QEMU until the client sends something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Address of the host to listen on; QEMU forwards IPv4 only.
    pub host_addr: Ipv4Addr,
    /// Port of the host; 0 picks a free one.
    pub host_port: u16,
    /// Port of the guest.
    pub guest_port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

impl Forward {
    /// TCP from a free port on loopback.
    pub const fn tcp(guest_port: u16) -> Self {
        Self {
            host_addr: Ipv4Addr::LOCALHOST,
            host_port: 0,
            guest_port,
            protocol: Protocol::Tcp,
        }
    }
}

/// Where the other host on the guest's network binds its socket, for [`Options::lan_socket`].
pub fn lan_peer(lan_socket: &Path) -> PathBuf {
    let mut peer = lan_socket.as_os_str().to_owned();
    peer.push("-peer");
    peer.into()
}

/// The command that starts QEMU; QEMU's arguments follow.
///
/// Plain `qemu-system-aarch64`, or a sandbox around it. A sandbox must show
/// [`Options::image`], [`Options::workdir`] and the folder of
/// the sockets at their own paths, must leave the host's network for forwards
/// to work, and must take QEMU with it when it is killed
/// (`bwrap --die-with-parent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPrefix(pub Vec<OsString>);

impl Default for CommandPrefix {
    fn default() -> Self {
        Self(vec!["qemu-system-aarch64".into()])
    }
}

/// A machine and its surroundings.
#[derive(Debug, Clone)]
pub struct Options {
    /// The disk, written to by the guest. See [`crate::prepare_disk`].
    pub image: PathBuf,
    /// The machine.
    pub machine: Machine,
    /// Memory in MB; `virt` only.
    pub memory_mb: u32,
    /// Processors; `virt` only.
    pub cpus: u32,
    /// Ports of the guest to reach from the host.
    pub forwards: Vec<Forward>,
    /// Unix socket that QEMU makes for the guest's control port; `virt` only.
    pub control_socket: Option<PathBuf>,
    /// Unix datagram socket that QEMU makes for one more host on the guest's network,
    /// which binds its own to [`lan_peer`]; `virt` only. A datagram is an Ethernet frame.
    /// IPv6 is then left to that host: QEMU's own network would answer in its place,
    /// whoever a packet is addressed to.
    pub lan_socket: Option<PathBuf>,
    /// Whether that host is all that there is on the guest's network, over IPv4 too. QEMU then has no
    /// network of its own, so [`Options::forwards`] must be empty: it would reset the others'
    /// connections even if it is told to let nothing out (`restrict=on`, libslirp 4.8).
    pub lan_only: bool,
    /// Unix socket that QEMU makes for a second control channel (QMP), for tests that do to the
    /// machine what no guest can: pull its network cable.
    pub monitor_socket: Option<PathBuf>,
    /// Whether the machine has sockets for USB disks, which are plugged in through the second control channel;
    /// `virt` only.
    pub usb: bool,
    /// File that the serial console's output is appended to, so that all boots
    /// of a machine follow each other. It takes no input: there is nothing on
    /// the box to type into.
    pub console: PathBuf,
    /// How QEMU is started.
    pub qemu: CommandPrefix,
    /// Folder for the files of the present boot and QEMU's sockets; made if
    /// missing. It belongs to one machine at a time.
    pub workdir: PathBuf,
    /// Whether a machine that resets starts again, as hardware does. Without,
    /// [`crate::Running::wait`] returns [`crate::Exit::Reset`].
    pub restart: bool,
}

impl Options {
    /// A `machine` of 1 GB and two processors that runs from `image`; its console is `console.log` in `workdir`.
    pub fn new(machine: Machine, image: impl Into<PathBuf>, workdir: impl Into<PathBuf>) -> Self {
        let workdir = workdir.into();
        Self {
            image: image.into(),
            machine,
            memory_mb: 1024,
            cpus: 2,
            forwards: Vec::new(),
            control_socket: None,
            lan_socket: None,
            lan_only: false,
            monitor_socket: None,
            usb: false,
            console: workdir.join("console.log"),
            qemu: CommandPrefix::default(),
            workdir,
            restart: true,
        }
    }
}
