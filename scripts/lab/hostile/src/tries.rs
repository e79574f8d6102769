//! What a service must not do, one function each. `Ok` says that it worked.

use crate::say;
use crate::system::{self, call, nr};
use std::ffi::{CStr, c_long};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// One try.
pub type Attempt = fn(&str) -> io::Result<()>;

/// How the names of bare system calls begin.
pub const BARE: &str = "call ";
/// Every service of the box.
const SERVICES: [&str; 7] = [
    "certificates",
    "dns",
    "mail",
    "portal",
    "resolver",
    "tunnel",
    "updater",
];
const AT_FDCWD: usize = -100isize as usize;

/// All of them, with names that say about whom where that differs.
pub fn all() -> Vec<(String, Attempt)> {
    let own = std::env::var("ROOST_DATA").unwrap_or_default();
    let others = SERVICES
        .iter()
        .filter(|service| !own.ends_with(&format!("/{service}")));
    let mut all: Vec<(String, Attempt)> = Vec::new();
    for other in others {
        all.push((format!("read_data {other}"), read_data));
        all.push((format!("write_data {other}"), write_data));
        all.push((format!("fill_sockets {other}"), fill_sockets));
    }
    for (name, attempt) in PLAIN {
        all.push(((*name).to_owned(), *attempt));
    }
    // Each service begins elsewhere: few of them come to the end of the list.
    let place = SERVICES.iter().position(|service| own.ends_with(service));
    let first = place.unwrap_or(0) * CALLS.len() / SERVICES.len();
    for (name, ..) in CALLS[first..].iter().chain(&CALLS[..first]) {
        all.push((format!("{BARE}{name}"), bare_call));
    }
    all
}

/// Does one try, in a child if there may be one, and tells the log.
pub fn run(name: &str, attempt: Attempt) {
    let argument = name.rsplit(' ').next().unwrap_or(name);
    match system::fork() {
        Ok(0) => {
            tell(name, attempt(argument));
            system::exit(0);
        }
        Ok(child) => match system::wait(child) {
            Ok(status) if status & 0x7f != 0 => {
                say(&format!("{name}: ended by signal {}", status & 0x7f));
            }
            Ok(_) => {}
            Err(error) => say(&format!("{name}: cannot wait: {error}")),
        },
        Err(_) => tell(name, attempt(argument)),
    }
}

fn tell(name: &str, result: io::Result<()>) {
    match result {
        Ok(()) => say(&format!("{name}: WORKED")),
        Err(error) => match error.raw_os_error() {
            Some(number) => say(&format!("{name}: refused, error {number}")),
            None => say(&format!("{name}: refused, {error}")),
        },
    }
}

const PLAIN: &[(&str, Attempt)] = &[
    ("list_data", |_| listed("/data", &own_name())),
    ("list_services", |_| listed("/data/services", &own_name())),
    ("write_settings", |_| write_to("/data/settings/chosen.json")),
    ("read_logs", |_| listed("/data/log", "")),
    ("write_root", |_| write_to("/hostile")),
    ("write_bin", |_| write_to("/bin/hostile")),
    ("write_etc", |_| write_to("/etc/hostile")),
    ("write_own_program", |_| {
        let own = fs::read_link("/proc/self/exe")?;
        OpenOptions::new().append(true).open(own).map(drop)
    }),
    ("see_processes", see_processes),
    ("signal_init", |_| {
        call(nr::KILL, &[usize::MAX, 0]).map(drop)
    }),
    ("read_init_memory", |_| {
        File::open("/proc/1/mem").map(drop).and_then(not_own)
    }),
    ("read_disk", |_| {
        first_of(&["/dev/vda", "/dev/mmcblk0", "/dev/vda4", "/dev/mmcblk0p4"])
    }),
    ("make_disk_node", |_| disk_node("/tmp/disk")),
    ("make_disk_node_in_data", |_| {
        disk_node(&format!(
            "{}/disk",
            std::env::var("ROOST_DATA").unwrap_or_default()
        ))
    }),
    ("read_memory_device", |_| {
        first_of(&["/dev/mem", "/dev/kmem", "/proc/kcore"])
    }),
    ("read_kernel_log", |_| {
        first_of(&["/dev/kmsg", "/proc/kmsg"])
    }),
    ("write_sysctl", |_| {
        write_to("/proc/sys/kernel/core_pattern")
    }),
    ("write_sysrq", |_| write_to("/proc/sysrq-trigger")),
    ("write_cgroup", |_| write_to("/sys/fs/cgroup/cgroup.procs")),
    ("write_sys", |_| listed("/sys", "")),
    ("set_user_bit", set_user_bit),
    ("run_from_data", run_from_data),
    ("run_from_tmp", |_| run_copy("/tmp/hostile-copy")),
    ("bind_telnet", |_| TcpListener::bind("0.0.0.0:23").map(drop)),
    ("bind_odd_port", |_| {
        TcpListener::bind("0.0.0.0:31337").map(drop)
    }),
    ("ask_init_to_power_off", ask_init),
    ("network_admin", link_change),
];

/// Bare system calls: a name, its number and arguments.
const CALLS: &[(&str, c_long, &[usize])] = &[
    ("mount", nr::MOUNT, &[NONE, TMP, TMPFS, 0, 0]),
    ("bind_mount", nr::MOUNT, &[PROC, TMP, 0, 4096, 0]),
    ("remount_writable", nr::MOUNT, &[NONE, ROOT, 0, 32, 0]),
    ("umount", nr::UMOUNT2, &[PROC, 2]),
    ("pivot_root", nr::PIVOT_ROOT, &[TMP, TMP]),
    ("chroot", nr::CHROOT, &[TMP]),
    ("open_tree", nr::OPEN_TREE, &[AT_FDCWD, ROOT, 1]),
    ("fsopen", nr::FSOPEN, &[TMPFS, 0]),
    ("open_by_handle", nr::OPEN_BY_HANDLE_AT, &[3, TMP, 0]),
    ("unshare_user", nr::UNSHARE, &[0x1000_0000]),
    ("unshare_mount", nr::UNSHARE, &[0x0002_0000]),
    ("unshare_network", nr::UNSHARE, &[0x4000_0000]),
    ("clone_user", nr::CLONE, &[0x1000_0000 | 17, 0, 0, 0, 0]),
    ("clone3", nr::CLONE3, &[0, 0]),
    ("setns", nr::SETNS, &[0, 0]),
    // PTRACE_ATTACH and PTRACE_TRACEME.
    ("ptrace_attach", nr::PTRACE, &[16, 1, 0, 0]),
    ("ptrace_traceme", nr::PTRACE, &[0, 0, 0, 0]),
    (
        "process_vm_readv",
        nr::PROCESS_VM_READV,
        &[1, 0, 0, 0, 0, 0],
    ),
    ("pidfd_open", nr::PIDFD_OPEN, &[1, 0]),
    // AF_INET or AF_PACKET, SOCK_RAW.
    ("raw_socket", nr::SOCKET, &[2, 3, 1]),
    ("raw_socket_v6", nr::SOCKET, &[10, 3, 58]),
    ("packet_socket", nr::SOCKET, &[17, 3, 0x0300]),
    ("vsock", nr::SOCKET, &[40, 1, 0]),
    ("alg_socket", nr::SOCKET, &[38, 5, 0]),
    ("init_module", nr::INIT_MODULE, &[TMP, 1, NONE]),
    ("finit_module", nr::FINIT_MODULE, &[0, NONE, 0]),
    ("kexec_load", nr::KEXEC_LOAD, &[0, 0, 0, 0]),
    ("settimeofday", nr::SETTIMEOFDAY, &[TIME, 0]),
    ("clock_settime", nr::CLOCK_SETTIME, &[0, TIME]),
    ("adjtimex", nr::ADJTIMEX, &[TIMEX]),
    // The two magic numbers, RESTART.
    (
        "reboot",
        nr::REBOOT,
        &[0xfee1_dead, 672_274_793, 0x0123_4567, 0],
    ),
    ("sethostname", nr::SETHOSTNAME, &[TMPFS, 5]),
    ("setuid_root", nr::SETUID, &[0]),
    ("setgid_root", nr::SETGID, &[0]),
    ("setresuid_mail", nr::SETRESUID, &[801, 801, 801]),
    ("swapon", nr::SWAPON, &[TMP, 0]),
    ("acct", nr::ACCT, &[TMP]),
    ("syslog", nr::SYSLOG, &[3, TMP, 0]),
    ("real_time", nr::SCHED_SETSCHEDULER, &[0, 1, PRIORITY]),
    ("nice", nr::SETPRIORITY, &[0, 0, -20isize as usize]),
    ("bpf", nr::BPF, &[0, 0, 0]),
    ("perf_event_open", nr::PERF_EVENT_OPEN, &[0, 0, 0, 0, 0]),
    ("userfaultfd", nr::USERFAULTFD, &[0]),
    ("io_uring_setup", nr::IO_URING_SETUP, &[1, TMP]),
    ("io_setup", nr::IO_SETUP, &[1, ZERO]),
    (
        "add_key",
        nr::ADD_KEY,
        &[TMPFS, TMPFS, 0, 0, -3isize as usize],
    ),
];

// Stand for addresses in the table above, which are known only when it runs.
const NONE: usize = 0xadd0_0000;
const TMP: usize = NONE + 1;
const TMPFS: usize = NONE + 2;
const PROC: usize = NONE + 3;
const ROOT: usize = NONE + 4;
const TIME: usize = NONE + 5;
const TIMEX: usize = NONE + 6;
const PRIORITY: usize = NONE + 7;
const ZERO: usize = NONE + 8;

fn bare_call(name: &str) -> io::Result<()> {
    let (_, number, arguments) = CALLS
        .iter()
        .find(|(listed, ..)| *listed == name)
        .ok_or(io::ErrorKind::NotFound)?;
    let text = |text: &'static CStr| text.as_ptr() as usize;
    // Noon of a day in 2001, as a timespec and as a timeval.
    let time = [1_000_000_000u64, 0];
    // A `timex` that sets the offset (its first field, ADJ_OFFSET); as long as the structure.
    let mut timex = [0u64; 32];
    timex[0] = 1;
    let priority = 1u32;
    let mut zero = [0u64; 16];
    let arguments: Vec<usize> = arguments
        .iter()
        .map(|&argument| match argument {
            NONE => text(c"none"),
            TMP => text(c"/tmp"),
            TMPFS => text(c"tmpfs"),
            PROC => text(c"/proc"),
            ROOT => text(c"/"),
            TIME => time.as_ptr() as usize,
            TIMEX => timex.as_mut_ptr() as usize,
            PRIORITY => (&raw const priority) as usize,
            ZERO => zero.as_mut_ptr() as usize,
            other => other,
        })
        .collect();
    let result = call(*number, &arguments)?;
    if *number == nr::CLONE && result == 0 {
        system::exit(0);
    }
    Ok(())
}

fn own_name() -> String {
    let own = std::env::var("ROOST_DATA").unwrap_or_default();
    own.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Works if the folder shows anything beyond `but` and the way to it.
fn listed(folder: &str, but: &str) -> io::Result<()> {
    let beyond = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.file_name())
        .find(|name| name != but && name != "services" && name != "settings");
    beyond
        .map(drop)
        .ok_or_else(|| io::Error::from_raw_os_error(2))
}

fn read_data(other: &str) -> io::Result<()> {
    fs::read_dir(format!("/data/services/{other}")).map(drop)
}

fn write_data(other: &str) -> io::Result<()> {
    write_to(&format!("/data/services/{other}/hostile"))
}

/// A socket of its own where others look for the other's.
fn fill_sockets(other: &str) -> io::Result<()> {
    write_to(&format!("/run/services/{other}/hostile"))
}

fn write_to(path: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map(drop)
}

fn first_of(paths: &[&str]) -> io::Result<()> {
    let mut last = io::Error::from_raw_os_error(2);
    for path in paths {
        let mut byte = [0];
        match File::open(path).and_then(|mut file| file.read(&mut byte)) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// In a namespace of its own process 1 is this program.
fn not_own((): ()) -> io::Result<()> {
    let one = fs::read("/proc/1/cmdline")?;
    if one.is_empty() || fs::read("/proc/self/cmdline")? == one {
        return Err(io::Error::from_raw_os_error(2));
    }
    Ok(())
}

/// Works if a process is seen that is neither this one nor its parent, process 1.
fn see_processes(_: &str) -> io::Result<()> {
    let own = std::process::id();
    let other = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|&pid| pid != own && pid != 1);
    if other.is_some() {
        return Ok(());
    }
    let command = fs::read_to_string("/proc/1/comm")?;
    if command.trim() == "init" {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(2))
}

/// A node for the card's first disk (virtio block devices are 254:0, SD cards 179:0).
fn disk_node(path: &str) -> io::Result<()> {
    const BLOCK: usize = 0o060_600;
    let name = std::ffi::CString::new(path)?;
    let mut last = io::Error::from_raw_os_error(2);
    for device in [254usize << 8, 253 << 8, 179 << 8] {
        let made = call(
            nr::MKNODAT,
            &[AT_FDCWD, name.as_ptr() as usize, BLOCK, device],
        );
        match made.and_then(|_| File::open(path)) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A program that would run as its owner; works if it can be run at all.
fn set_user_bit(_: &str) -> io::Result<()> {
    let path = format!(
        "{}/set-user",
        std::env::var("ROOST_DATA").unwrap_or_default()
    );
    fs::copy("/proc/self/exe", &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755))?;
    let run = std::process::Command::new(&path).arg("nothing").status();
    let _ = fs::remove_file(&path);
    run.map(drop)
}

fn run_from_data(_: &str) -> io::Result<()> {
    run_copy(&format!(
        "{}/copy",
        std::env::var("ROOST_DATA").unwrap_or_default()
    ))
}

fn run_copy(path: &str) -> io::Result<()> {
    fs::write(path, "#!/bin/none\n")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    let run = std::process::Command::new(path).status();
    let _ = fs::remove_file(path);
    match run {
        // The interpreter is what there is not: the file itself could have been run.
        Err(error) if error.raw_os_error() == Some(2) && Path::new(path).exists() => Ok(()),
        other => other.map(drop),
    }
}

fn ask_init(_: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect("/run/roost/control.sock")?;
    stream.write_all(b"{\"op\":\"power_off\"}\n")?;
    let mut answer = [0; 200];
    let length = stream.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..length]);
    if length == 0 || answer.contains("error") {
        return Err(io::Error::other("init says no"));
    }
    Ok(())
}

/// Asks the kernel to change nothing of interface 2 (RTM_NEWLINK, rtnetlink(7)), for which one
/// needs the right to change all.
fn link_change(_: &str) -> io::Result<()> {
    // AF_NETLINK, SOCK_RAW, NETLINK_ROUTE.
    let fd = call(nr::SOCKET, &[16, 3, 0])?;
    let mut message = Vec::new();
    message.extend(32u32.to_ne_bytes());
    message.extend(16u16.to_ne_bytes());
    // NLM_F_REQUEST and NLM_F_ACK.
    message.extend(5u16.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(2i32.to_ne_bytes());
    // Flags, and which of them to change.
    message.extend([0; 8]);
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    system::write(fd, &message)?;
    let mut answer = [0u8; 64];
    // read(2) of what the kernel says.
    let length = call(
        nr::READ,
        &[fd as usize, answer.as_mut_ptr() as usize, answer.len()],
    )?;
    // nlmsgerr: the error follows the header of 16 bytes.
    let error = answer
        .get(16..20)
        .filter(|_| length >= 20)
        .map(|bytes| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    match error {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(-number)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
