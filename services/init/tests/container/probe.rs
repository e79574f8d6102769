//! What a service can do in its container: one line for each try. `tests/container.rs` compiles it,
//! statically, for a container has no libraries.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
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
    match program.rsplit('/').next().unwrap() {
        "guest" => drop(UnixStream::connect("/run/services/host/door").unwrap()),
        "host" => host(),
        "abort" => std::process::abort(),
        _ => tries(),
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

fn tries() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines() {
        let known = [
            "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
        ];
        if known.contains(&line.split(':').next().unwrap()) {
            println!("{}", line.replace('\t', " ").trim());
        }
    }
    println!("process {}", std::process::id());
    println!("folder {}", std::env::current_dir().unwrap().display());
    say("processes", numbers());
    for path in ["/", "/data/services", "/dev"] {
        say(&format!("list {path}"), fs::read_dir(path).map(drop));
    }
    for path in [
        "/etc/shown",
        "/etc/hidden",
        "/data/services/other/secret",
        "/proc/sys/kernel/hostname",
        "/run/services/other/door",
    ] {
        say(&format!("read {path}"), fs::read(path).map(drop));
    }
    for path in ["/bin/new", "/etc/shown", "/new", "/dev/new", "/proc/self/comm"] {
        say(&format!("write {path}"), fs::write(path, "x"));
    }
    for path in [
        "/data/services/probe/new",
        "/run/services/probe/new",
        "/tmp/new",
        "/dev/null",
    ] {
        say(&format!("write {path}"), fs::write(path, "x"));
    }
    let full = vec![0; 2 << 20];
    say("write 2 MiB to /tmp", fs::write("/tmp/full", full));
    let copy = "/data/services/probe/copy";
    let copied = fs::copy("/bin/probe", copy).and_then(|_| {
        fs::set_permissions(copy, PermissionsExt::from_mode(0o755))?;
        Command::new(copy).status()
    });
    say("execute what it wrote", copied.map(drop));
    say("execute itself", itself());
    let any = "0.0.0.0";
    for port in [0, 25, 26, 8000] {
        say(&format!("tcp {port}"), TcpListener::bind((any, port)).map(drop));
    }
    // Others are guarded from Landlock's version 10 on, which not every machine has that runs this.
    say("udp 0", UdpSocket::bind((any, 0)).map(drop));
    let door = "/run/services/other/door";
    say("connect to other", UnixStream::connect(door).map(drop));
    say(
        "mount",
        call(unsafe {
            let (kind, at) = (c"tmpfs".as_ptr().cast(), c"/tmp".as_ptr().cast());
            mount(kind, at, kind, 0, std::ptr::null())
        }),
    );
    say("a mount namespace", call(unsafe { unshare(NEWNS) }));
    say("a user namespace", call(unsafe { unshare(NEWUSER) }));
    say("signal process 2", call(unsafe { kill(2, 0) }));
    io::stdout().flush().unwrap();
}

fn itself() -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe");
    // Not as a probe: that would never end.
    std::os::unix::process::CommandExt::arg0(&mut child, "abort");
    child.status().map(drop)
}

fn numbers() -> io::Result<()> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name().into_string().unwrap();
        if name.bytes().all(|b| b.is_ascii_digit()) {
            let mut command = String::new();
            fs::File::open(format!("/proc/{name}/cmdline"))?.read_to_string(&mut command)?;
            println!("sees process {name}: {}", command.trim_end_matches('\0'));
        }
    }
    Ok(())
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
