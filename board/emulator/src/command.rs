//! QEMU's arguments.

use crate::firmware::Loaded;
use crate::options::{Forward, Machine, Options, Protocol, lan_peer};
use crate::trial;
use roost_board::boot_control::trial::PORT;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Name of the guest's virtio-serial port for requests to init.
const CONTROL_PORT: &str = "roost.control";

/// Everything behind the program's name.
///
/// `forwards` have their host ports chosen; QEMU connects to the socket
/// `qmp`, and waits there for leave to start the guest, so that no event of
/// the guest is missed. What the guest asks of the firmware goes into a file
/// of the folder ([`trial::FILE`]).
pub fn arguments(
    options: &Options,
    loaded: &Loaded,
    forwards: &[Forward],
    qmp: &Path,
) -> Vec<OsString> {
    let mut args = Arguments::default();
    args.all(&[
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-S",
    ]);
    args.pair("-machine", machine(options.machine));
    args.pair("-chardev", value("socket,id=qmp,path=", qmp, ""));
    args.pair("-mon", "chardev=qmp,mode=control");
    if let Some(socket) = &options.monitor_socket {
        let socket = value("socket,id=monitor,path=", socket, ",server=on,wait=off");
        args.pair("-chardev", socket);
        args.pair("-mon", "chardev=monitor,mode=control");
    }
    // Output only: nothing is ever written to QEMU's standard input.
    args.pair("-chardev", "stdio,id=console,signal=off");
    args.pair("-kernel", &loaded.kernel);
    if let Some(initramfs) = &loaded.initramfs {
        args.pair("-initrd", initramfs);
    }
    if let Some(device_tree) = &loaded.device_tree {
        args.pair("-dtb", device_tree);
    }
    args.pair("-append", &loaded.command_line);
    network(&mut args, forwards, options);
    match options.machine {
        Machine::Virt => virt(&mut args, options),
        Machine::Raspi3b => raspi3b(&mut args, options),
    }
    args.0
}

/// Without random numbers in the device tree of `virt`, as `raspi3b` has none either. With them the kernel
/// lies somewhere in memory (KASLR) and hides its page tables from programs to keep that secret (KPTI, Linux,
/// arch/arm64/kernel/cpufeature.c): a start costs the emulated processor a tenth more. Keys come from `virtio-rng`.
fn machine(machine: Machine) -> &'static str {
    match machine {
        Machine::Virt => "virt,dtb-randomness=off",
        Machine::Raspi3b => machine.name(),
    }
}

fn virt(args: &mut Arguments, options: &Options) {
    args.pair("-cpu", "cortex-a72");
    args.pair("-smp", options.cpus.to_string());
    args.pair("-m", options.memory_mb.to_string());
    args.pair("-serial", "chardev:console");
    args.pair("-drive", drive("none,id=disk", &options.image));
    args.pair("-device", "virtio-blk-pci,drive=disk");
    // Without a boot ROM: the guest does not boot from the network.
    args.pair("-device", "virtio-net-pci,id=cable,netdev=net,romfile=");
    args.pair("-device", "virtio-rng-pci");
    if options.usb {
        args.pair("-device", "qemu-xhci,id=usb");
    }
    args.pair("-device", "i6300esb");
    args.pair("-action", "watchdog=reset");
    args.pair("-device", "virtio-serial-pci");
    let file = options.workdir.join(trial::FILE);
    args.pair("-chardev", value("file,id=firmware,path=", &file, ""));
    args.pair(
        "-device",
        format!("virtserialport,chardev=firmware,name={PORT}"),
    );
    if let Some(socket) = &options.control_socket {
        args.pair(
            "-chardev",
            value("socket,id=control,path=", socket, ",server=on,wait=off"),
        );
        args.pair(
            "-device",
            format!("virtserialport,chardev=control,name={CONTROL_PORT}"),
        );
    }
}

fn raspi3b(args: &mut Arguments, options: &Options) {
    // Until Linux wakes them, three of its four processors turn in a loop. One thread for all passes them over; with
    // a thread each they would take a small host's processors from the one that boots: 95 s of computing, not 56.
    args.pair("-accel", "tcg,thread=single");
    // The first serial port drives Bluetooth on this board.
    args.pair("-serial", "null");
    args.pair("-serial", "chardev:console");
    args.pair("-drive", drive("sd", &options.image));
    args.pair("-device", "usb-net,netdev=net");
    args.pair("-d", format!("trace:{}", trial::TRACE));
    args.pair("-D", options.workdir.join(trial::FILE));
}

/// The disk behind the host's page cache.
///
/// The guest sees a cache that it must flush, like a card's, and QEMU turns
/// its flushes into `fdatasync`. A kill of QEMU is then a power cut that takes
/// what the guest has not handed over; what it has handed over is in the
/// host's page cache and outlives QEMU. (A real card may also lose what was
/// handed over but not flushed: this cannot show it.)
fn drive(interface: &str, image: &Path) -> OsString {
    value(
        &format!("if={interface},format=raw,cache=writeback,file="),
        image,
        "",
    )
}

/// The network that the guest's interface joins under the id `net`.
fn network(args: &mut Arguments, forwards: &[Forward], options: &Options) {
    let Some(socket) = &options.lan_socket else {
        args.pair("-netdev", user_network("net", forwards));
        return;
    };
    let lan = |id: &str| {
        // Datagrams, as QEMU makes this socket at once. A stream's it makes later, and until then
        // the first frame (of a client that connects to a forward) crashes QEMU 10.
        let before = format!("dgram,id={id},local.type=unix,local.path=");
        let mut lan = value(&before, socket, "");
        lan.push(value(
            ",remote.type=unix,remote.path=",
            &lan_peer(socket),
            "",
        ));
        lan
    };
    if options.lan_only {
        args.pair("-netdev", lan("net"));
        return;
    }
    args.pair("-netdev", user_network("user", forwards) + ",ipv6=off");
    args.pair("-netdev", lan("lan"));
    args.pair("-netdev", "hubport,id=hub-user,hubid=0,netdev=user");
    args.pair("-netdev", "hubport,id=hub-lan,hubid=0,netdev=lan");
    args.pair("-netdev", "hubport,id=net,hubid=0");
}

fn user_network(id: &str, forwards: &[Forward]) -> String {
    let mut network = format!("user,id={id}");
    for forward in forwards {
        let protocol = match forward.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let Forward {
            host_addr,
            host_port,
            guest_port,
            ..
        } = forward;
        network += &format!(",hostfwd={protocol}:{host_addr}:{host_port}-:{guest_port}");
    }
    network
}

/// A path inside of an option's value, where a comma must be doubled.
fn value(before: &str, path: &Path, after: &str) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = before.as_bytes().to_vec();
    for byte in path.as_os_str().as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    bytes.extend(after.as_bytes());
    OsString::from_vec(bytes)
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn all(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn pair(&mut self, option: &str, value: impl AsRef<OsStr>) {
        self.0.push(option.into());
        self.0.push(value.as_ref().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::Boot;

    fn line(options: &Options, forwards: &[Forward]) -> String {
        let loaded = Loaded {
            boot: Boot {
                partition: 2,
                tryboot: false,
            },
            kernel: "w/kernel".into(),
            initramfs: Some("w/initramfs".into()),
            device_tree: (options.machine == Machine::Raspi3b).then(|| "w/device-tree.dtb".into()),
            command_line: "quiet roost.tryboot=0".into(),
        };
        let args = arguments(options, &loaded, forwards, Path::new("w/qmp"));
        let words: Vec<_> = args.iter().map(|a| a.to_str().unwrap()).collect();
        words.join(" ").replace(" -", "\n-")
    }

    #[test]
    fn a_virt_machine() {
        let mut options = Options::new(Machine::Virt, "a,b.img", "w");
        options.control_socket = Some("w/control".into());
        let udp = Forward {
            host_port: 5300,
            protocol: Protocol::Udp,
            ..Forward::tcp(53)
        };
        let tcp = Forward {
            host_port: 2525,
            ..Forward::tcp(25)
        };
        assert_eq!(
            line(&options, &[tcp, udp]),
            "-no-user-config\n-nodefaults\n-display none\n-no-reboot\n-S\n-machine virt,dtb-randomness=off\n\
             -chardev socket,id=qmp,path=w/qmp\n-mon chardev=qmp,mode=control\n\
             -chardev stdio,id=console,signal=off\n-kernel w/kernel\n-initrd w/initramfs\n\
             -append quiet roost.tryboot=0\n\
             -netdev user,id=net,hostfwd=tcp:127.0.0.1:2525-:25,hostfwd=udp:127.0.0.1:5300-:53\n\
             -cpu cortex-a72\n-smp 2\n-m 1024\n-serial chardev:console\n\
             -drive if=none,id=disk,format=raw,cache=writeback,file=a,,b.img\n\
             -device virtio-blk-pci,drive=disk\n-device virtio-net-pci,id=cable,netdev=net,romfile=\n\
             -device virtio-rng-pci\n-device i6300esb\n-action watchdog=reset\n\
             -device virtio-serial-pci\n-chardev file,id=firmware,path=w/firmware\n\
             -device virtserialport,chardev=firmware,name=roost.firmware\n\
             -chardev socket,id=control,path=w/control,server=on,wait=off\n\
             -device virtserialport,chardev=control,name=roost.control"
        );
    }

    #[test]
    fn one_more_host_on_the_network() {
        let mut options = Options::new(Machine::Virt, "card.img", "w");
        options.lan_socket = Some("w/l,an".into());
        let line = line(&options, &[]);
        assert!(
            line.contains(
                "-netdev user,id=user,ipv6=off\n\
                 -netdev dgram,id=lan,local.type=unix,local.path=w/l,,an,remote.type=unix,remote.path=w/l,,an-peer\n\
                 -netdev hubport,id=hub-user,hubid=0,netdev=user\n\
                 -netdev hubport,id=hub-lan,hubid=0,netdev=lan\n\
                 -netdev hubport,id=net,hubid=0\n"
            ),
            "{line}"
        );
    }

    #[test]
    fn one_more_host_and_nobody_else() {
        let mut options = Options::new(Machine::Virt, "card.img", "w");
        options.lan_socket = Some("w/lan".into());
        options.lan_only = true;
        let line = line(&options, &[]);
        let network = line.matches("-netdev").count();
        assert!(
            network == 1
                && line.contains(
                    "-netdev dgram,id=net,local.type=unix,local.path=w/lan,remote.type=unix,remote.path=w/lan-peer\n"
                ),
            "{line}"
        );
    }

    #[test]
    fn a_second_control_channel() {
        let mut options = Options::new(Machine::Virt, "card.img", "w");
        options.monitor_socket = Some("w/mon,itor".into());
        let line = line(&options, &[]);
        assert!(
            line.contains(
                "-chardev socket,id=monitor,path=w/mon,,itor,server=on,wait=off\n\
                 -mon chardev=monitor,mode=control\n"
            ),
            "{line}"
        );
    }

    #[test]
    fn sockets_for_disks() {
        let mut options = Options::new(Machine::Virt, "card.img", "w");
        assert!(!line(&options, &[]).contains("usb"));
        options.usb = true;
        assert!(line(&options, &[]).contains("-device qemu-xhci,id=usb\n"));
    }

    #[test]
    fn a_raspberry_pi() {
        let options = Options::new(Machine::Raspi3b, "card.img", "w");
        assert_eq!(
            line(&options, &[]),
            "-no-user-config\n-nodefaults\n-display none\n-no-reboot\n-S\n-machine raspi3b\n\
             -chardev socket,id=qmp,path=w/qmp\n-mon chardev=qmp,mode=control\n\
             -chardev stdio,id=console,signal=off\n-kernel w/kernel\n-initrd w/initramfs\n\
             -dtb w/device-tree.dtb\n-append quiet roost.tryboot=0\n-netdev user,id=net\n\
             -accel tcg,thread=single\n-serial null\n-serial chardev:console\n\
             -drive if=sd,format=raw,cache=writeback,file=card.img\n-device usb-net,netdev=net\n\
             -d trace:bcm2835_mbox_property\n-D w/firmware"
        );
    }
}
