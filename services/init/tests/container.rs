//! Starts programs as services, in containers of this machine's kernel, below a root of the test's
//! own. Needs root, or users of its own for `unshare --map-auto` (subuid(5)).

#![expect(
    unsafe_code,
    reason = "unshare(2): the test gets mounts and a network of its own"
)]

use roost_init::disks;
use roost_init::processes::{self, Child};
use roost_service::disk::LENT;
use roost_service::spec::{Namespace, Right, ServiceSpec};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    unmount,
};
use rustix::process::{WaitOptions, chdir, geteuid, pivot_root, wait};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The probe, statically linked.
fn compile(to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/container/probe.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "-Ctarget-feature=+crt-static", "-o"]);
    assert!(command.arg(to).arg(source).status().unwrap().success());
}

/// Says whether the rest of the test has run, as root of its own users, in another process.
fn rerun(name: &str) -> bool {
    if geteuid().is_root() {
        return false;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--map-auto"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .status();
    assert!(
        status.unwrap().success(),
        "needs root, or lines in /etc/subuid and /etc/subgid"
    );
    true
}

/// Runs `test` in a thread that has a machine of its own, as init has one.
fn on_a_machine<T: Send + 'static>(test: fn() -> T) -> T {
    let thread = std::thread::spawn(move || {
        machine();
        test()
    });
    thread.join().unwrap()
}

/// One instruction: `BPF_RET | BPF_K` with `SECCOMP_RET_ALLOW` (`linux/seccomp.h`).
const ALLOW_ALL: [u8; 8] = [6, 0, 0, 0, 0, 0, 0xff, 0x7f];

/// This thread's root, mounts and network from now on.
fn machine() {
    let folder = tempfile::tempdir().unwrap().keep();
    let probe = folder.with_extension("probe");
    compile(&probe);
    // SAFETY: not with these flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET) }.unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    mount("tmpfs", &folder, "tmpfs", MountFlags::empty(), c"mode=0755").unwrap();
    for name in [
        "bin",
        "data/services/other",
        "dev",
        "etc",
        "proc",
        "run",
        "tmp",
    ] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for name in ["probe", "guest", "host", "abort", "disk"] {
        fs::copy(&probe, folder.join("bin").join(name)).unwrap();
    }
    for name in ["dev", "proc"] {
        mount_bind_recursive(Path::new("/").join(name), folder.join(name)).unwrap();
    }
    fs::remove_file(&probe).unwrap();
    chdir(&folder).unwrap();
    pivot_root(".", ".").unwrap();
    // The tests' folder is a mount point only here: outside nothing is left but the empty folder.
    let _ = fs::remove_dir(Path::new(".").join(folder.strip_prefix("/").unwrap()));
    unmount(".", UnmountFlags::DETACH).unwrap();
    chdir("/").unwrap();
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0").unwrap();
    for path in ["/etc/shown", "/etc/hidden", "/data/services/other/secret"] {
        fs::write(path, "x").unwrap();
    }
    // Filters and limits have tests of their own: here every call is allowed, and a file stands
    // where the machine has its control groups, which are not this test's to change.
    let filters = Path::new("/etc/roost/seccomp");
    fs::create_dir_all(filters.join("services")).unwrap();
    let names = table().into_iter().map(|spec| spec.name);
    for name in names {
        let group = Path::new("/sys/fs/cgroup/services").join(&name);
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cgroup.procs"), "").unwrap();
        fs::write(filters.join("services").join(&name), ALLOW_ALL).unwrap();
    }
    for name in ["absent", "hostile"] {
        fs::write(filters.join(name), ALLOW_ALL).unwrap();
    }
}

fn table() -> Vec<ServiceSpec> {
    let why = || "For a test.".to_owned();
    let network = || [(Namespace::Network, why())].into();
    vec![
        ServiceSpec {
            files: [("/etc/shown".into(), why()), ("/sys/none".into(), why())].into(),
            ports: [("tcp/25".parse().unwrap(), why())].into(),
            sockets: [("other".into(), why())].into(),
            shared: network(),
            ..ServiceSpec::plain("probe", 901)
        },
        ServiceSpec::plain("other", 902),
        ServiceSpec::plain("host", 903),
        ServiceSpec::plain("abort", 904),
        ServiceSpec::plain("none", 905),
        ServiceSpec {
            control: [(Right::Disk, why())].into(),
            ..ServiceSpec::plain("disk", 906)
        },
    ]
}

fn start(name: &str) -> Result<Child, String> {
    let table = table();
    processes::prepare_folders(&table).unwrap();
    let spec = table.iter().find(|spec| spec.name == name).unwrap();
    processes::start_service(spec, &table, "box")
}

/// What it says until its end, standard output first.
fn said(child: Child) -> String {
    child.output.into_iter().map(until_end).collect()
}

fn until_end(fd: std::os::fd::OwnedFd) -> String {
    rustix::io::ioctl_fionbio(&fd, false).unwrap();
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_service_can_do_what_its_spec_lists_and_nothing_else() {
    if rerun("a_service_can_do_what_its_spec_lists_and_nothing_else") {
        return;
    }
    let said = on_a_machine(|| {
        processes::prepare_folders(&table()).unwrap();
        let door = UnixListener::bind("/run/services/other/door").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions("/run/services/other/door", mode).unwrap();
        let said = said(start("probe").unwrap());
        drop(door);
        // The next child of this thread is in its own PID namespace again.
        let mut next = Command::new("/bin/abort").spawn().unwrap();
        assert!(Path::new(&format!("/proc/{}", next.id())).exists());
        next.wait().unwrap();
        said
    });
    // Landlock guards ports of UDP from its version 10 on, which not every machine has that runs
    // this; the lab looks at them.
    let (said, udp): (Vec<&str>, Vec<&str>) = said
        .lines()
        .partition(|line| !line.starts_with("binds udp: "));
    assert!(
        matches!(udp[..], ["binds udp: 0" | "binds udp: any"]),
        "{udp:?}"
    );
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn who_connects_has_the_same_number_inside() {
    if rerun("who_connects_has_the_same_number_inside") {
        return;
    }
    on_a_machine(|| {
        let mut host = start("host").unwrap();
        let output = host.output.remove(0);
        rustix::io::ioctl_fionbio(&output, false).unwrap();
        let mut open = [0; 5];
        let mut output = File::from(output);
        output.read_exact(&mut open).unwrap();
        let mut guest = Command::new("/bin/guest");
        assert!(guest.uid(901).gid(901).status().unwrap().success());
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "user 901\n");
    });
}

/// What init mounts while a service runs appears there, and is gone when init unmounts it.
#[test]
fn what_is_lent_is_seen_until_it_is_taken_back() {
    if rerun("what_is_lent_is_seen_until_it_is_taken_back") {
        return;
    }
    let said = on_a_machine(|| {
        disks::prepare().unwrap();
        fs::create_dir("/run/roost").unwrap();
        let control = UnixListener::bind("/run/roost/control.sock").unwrap();
        let mut child = start("disk").unwrap();
        let output = child.output.remove(0);
        rustix::io::ioctl_fionbio(&output, false).unwrap();
        let mut output = File::from(output);
        let mut begun = [0; 6];
        output.read_exact(&mut begun).unwrap();
        // A disk, of which the service may read one thing of two.
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let data = c"mode=0700,uid=906,gid=906";
        mount("tmpfs", LENT, "tmpfs", flags, data).unwrap();
        let secret = Path::new(LENT).join("secret");
        fs::write(&secret, "x").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secret, mode).unwrap();
        fs::write(Path::new(LENT).join("there"), "x").unwrap();
        let own = Path::new(LENT).join("own");
        while !own.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Nobody keeps it from being unmounted, here and there.
        assert_eq!(disks::take_back(), None);
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        drop(control);
        rest
    });
    insta::assert_snapshot!(said, @"
    read /run/disk/lent/there: done
    read /run/disk/lent/secret: Permission denied (os error 13)
    write /run/disk/new: Permission denied (os error 13)
    execute what it wrote: Permission denied (os error 13)
    rename: done
    it is gone
    ");
}

/// Process 1 of a PID namespace gets no signal that it does not handle (pid_namespaces(7)), and still
/// `abort` is its end.
#[test]
fn a_service_that_aborts_ends() {
    if rerun("a_service_that_aborts_ends") {
        return;
    }
    on_a_machine(|| {
        let child = start("abort").unwrap();
        let pid = child.pid;
        said(child);
        let (ended, status) = wait(WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(ended.as_raw_nonzero().get().unsigned_abs(), pid);
        assert!(status.terminating_signal().is_some(), "{status:?}");
    });
}

#[test]
fn a_container_that_cannot_be_made_says_which_step_failed() {
    if rerun("a_container_that_cannot_be_made_says_which_step_failed") {
        return;
    }
    on_a_machine(|| {
        assert_eq!(
            start("none").unwrap_err(),
            "mounting /bin/none: No such file or directory (os error 2)"
        );
        fs::write("/bin/none", "no program").unwrap();
        assert_eq!(
            start("none").unwrap_err(),
            "/bin/none: Permission denied (os error 13)"
        );
    });
}
