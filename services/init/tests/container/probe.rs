//! What a service can do in its container: one line for each try. `tests/container.rs` compiles it,
//! statically, for a container has no libraries. So does the lab (`scenarios/test_containers.py`),
//! which puts it in place of the services of an image.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

const NEWUSER: i32 = 0x1000_0000;
const NEWNS: i32 = 0x2_0000;
const SOL_SOCKET: i32 = 1;
const SO_PEERCRED: i32 = 17;

unsafe extern "C" {
    fn mount(from: *const u8, at: *const u8, kind: *const u8, flags: u64, data: *const u8) -> i32;
    fn unshare(flags: i32) -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
    fn getsockopt(fd: i32, level: i32, name: i32, value: *mut u32, length: *mut u32) -> i32;
}

fn main() {
    let program = std::env::args().next().unwrap();
    let name = program.rsplit('/').next().unwrap();
    match name {
        "guest" => drop(UnixStream::connect("/run/services/host/door").unwrap()),
        "host" => host(),
        "abort" => std::process::abort(),
        "disk" => disk(),
        _ => tries(name),
    }
}

/// Says who connects.
fn host() {
    let listener = UnixListener::bind("/run/services/host/door").unwrap();
    fs::set_permissions("/run/services/host/door", PermissionsExt::from_mode(0o666)).unwrap();
    println!("open");
    let (stream, _) = listener.accept().unwrap();
    let (mut who, mut length) = ([0u32; 3], 12);
    let (fd, to) = (stream.as_raw_fd(), who.as_mut_ptr());
    assert_eq!(
        unsafe { getsockopt(fd, SOL_SOCKET, SO_PEERCRED, to, &mut length) },
        0
    );
    println!("user {}", who[1]);
}

/// What is lent to it, from its coming to its going.
fn disk() {
    println!("begun");
    let lent = "/run/disk/lent";
    let wait = |there: bool| {
        while fs::exists(format!("{lent}/there")).unwrap() != there {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    wait(true);
    say("read /run/disk/lent/there", fs::read(format!("{lent}/there")).map(drop));
    say("read /run/disk/lent/secret", fs::read(format!("{lent}/secret")).map(drop));
    say("write /run/disk/new", fs::write("/run/disk/new", "x"));
    let copy = format!("{lent}/copy");
    let copied = fs::copy("/bin/disk", &copy).and_then(|_| {
        fs::set_permissions(&copy, PermissionsExt::from_mode(0o755))?;
        Command::new(&copy).status()
    });
    say("execute what it wrote", copied.map(drop));
    say("rename", fs::rename(&copy, format!("{lent}/own")));
    wait(false);
    println!("it is gone");
}

fn tries(name: &str) {
    let own = |variable| std::env::var(variable).unwrap();
    let (data, run) = (own("ROOST_DATA"), own("ROOST_RUN"));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines() {
        let known = [
            "Uid",
            "Gid",
            "Groups",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
        ];
        if known.contains(&line.split(':').next().unwrap()) {
            println!("{}", line.replace('\t', " ").trim());
        }
    }
    println!("process: {}", std::process::id());
    println!("folder: {}", std::env::current_dir().unwrap().display());
    processes();
    for path in [
        "/",
        "/data",
        "/data/services",
        "/run/services",
        "/dev",
        "/sys",
    ] {
        say(&format!("list {path}"), fs::read_dir(path).map(drop));
    }
    for path in [
        "/etc/shown",
        "/etc/hidden",
        "/etc/roost/settings.json",
        "/data/services/other/secret",
        "/data/first-boot/card",
        "/proc/sys/kernel/hostname",
        "/proc/kmsg",
        "/run/roost/control.sock",
        "/run/services/other/door",
    ] {
        say(&format!("read {path}"), fs::read(path).map(drop));
    }
    for path in [
        "/bin/new",
        "/etc/shown",
        "/new",
        "/dev/new",
        "/proc/self/comm",
    ] {
        say(&format!("write {path}"), fs::write(path, "x"));
    }
    for path in [
        &format!("{data}/new"),
        &format!("{run}/new"),
        "/tmp/new",
        "/dev/null",
    ] {
        say(&format!("write {path}"), fs::write(path, "x"));
    }
    let full = vec![0; 2 << 20];
    say("write 2 MiB to /tmp", fs::write("/tmp/full", full));
    let copy = format!("{data}/copy");
    let copied = fs::copy(format!("/bin/{name}"), &copy).and_then(|_| {
        fs::set_permissions(&copy, PermissionsExt::from_mode(0o755))?;
        Command::new(&copy).status()
    });
    say("execute what it wrote", copied.map(drop));
    say("execute itself", itself());
    ports("tcp", |port| {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
    });
    ports("udp", |port| {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
    });
    let door = "/run/services/other/door";
    say("connect to other", UnixStream::connect(door).map(drop));
    let init = "/run/roost/control.sock";
    say("connect to init", UnixStream::connect(init).map(drop));
    say("signal process 2", call(unsafe { kill(2, 0) }));
    println!("tries: over");
    if name == "probe" {
        of_the_system();
        return;
    }
    let number = std::env::var("ROOST_NOTIFY_FD").unwrap().parse().unwrap();
    // It is this program's: init gave it.
    let mut notify = unsafe { fs::File::from_raw_fd(number) };
    notify.write_all(b"READY\n").unwrap();
    if data.ends_with("/certificates") {
        of_the_system();
    }
    loop {
        std::thread::park();
    }
}

/// What a filter of system calls ends a service for: in an image that is the end of this program.
fn of_the_system() {
    say(
        "mount",
        call(unsafe {
            let (kind, at) = (c"tmpfs".as_ptr().cast(), c"/tmp".as_ptr().cast());
            mount(kind, at, kind, 0, std::ptr::null())
        }),
    );
    say("make a mount namespace", call(unsafe { unshare(NEWNS) }));
    say("make a user namespace", call(unsafe { unshare(NEWUSER) }));
    println!("the system's: over");
}

/// Ports that are tried: 0 is one of the kernel's choice, some are of a service each, some of none.
const PORTS: [u16; 19] = [
    0, 1, 22, 25, 26, 53, 80, 110, 143, 443, 465, 587, 993, 995, 4190, 5353, 7625, 8000, 8080,
];

/// Says which of [`PORTS`] can be bound.
fn ports(protocol: &str, bind: impl Fn(u16) -> bool) {
    let bound: Vec<String> = PORTS
        .iter()
        .filter(|port| bind(**port))
        .map(ToString::to_string)
        .collect();
    let bound = match bound.len() {
        n if n == PORTS.len() => "any".to_owned(),
        _ => bound.join(" "),
    };
    println!("binds {protocol}: {bound}");
}

fn itself() -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe");
    // Not as a probe: that would never end.
    std::os::unix::process::CommandExt::arg0(&mut child, "abort");
    child.status().map(drop)
}

fn processes() {
    for entry in fs::read_dir("/proc").into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.bytes().all(|b| b.is_ascii_digit()) {
            println!("sees process: {name}");
        }
    }
}

fn call(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn say(what: &str, result: io::Result<()>) {
    match result {
        Ok(()) => println!("{what}: done"),
        Err(error) => println!("{what}: {error}"),
    }
}
