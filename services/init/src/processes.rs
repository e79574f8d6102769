//! Starting services and helper programs, and what is known of running ones.

use crate::container::enter::{Entrance, STAGE};
use crate::container::{Container, users};
use crate::launch::{self, Confinement};
use crate::network::RESOLV_CONF;
use crate::supervisor::Exit;
use crate::{card, limits, seccomp};
use roost_service::notify;
use roost_service::spec::{self, DATA_FORMAT_ENV, NAME_ENV, RUN_ENV, ServiceSpec};
use rustix::fs::{Gid, Uid};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Parent of the services' control groups.
const CGROUPS: &str = limits::GROUPS;
/// Times that init asks for its own PID namespace back.
const BACK_ATTEMPTS: u32 = 3;
/// User of helpers that need no rights at all ("nobody").
const NOBODY: u32 = 65_534;

/// What init holds of a process it has just started.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: u32,
    /// Read ends of its standard output and error, non-blocking.
    pub output: Vec<OwnedFd>,
    /// Read end of its notification pipe, if it has one.
    pub notify: Option<OwnedFd>,
}

/// Makes the folders in which services see something of others before it is there: those for
/// sockets, and that of what the network says of itself.
///
/// # Errors
/// Names the folder.
pub fn prepare_folders(table: &[ServiceSpec]) -> Result<(), String> {
    let told = |path: &Path, error: io::Error| format!("cannot make {}: {error}", path.display());
    let network = Path::new(RESOLV_CONF).parent();
    for folder in network.into_iter().chain([Path::new(STAGE)]) {
        fs::create_dir_all(folder).map_err(|e| told(folder, e))?;
    }
    for spec in table {
        let folder = spec::run_folder(&spec.name);
        folder
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| own_folder(spec, &folder, 0o755))
            .map_err(|e| told(&folder, e))?;
    }
    Ok(())
}

/// Starts a service in its container. `table`: all services, whose users it may meet.
///
/// # Errors
/// A sentence that says which step failed.
pub fn start_service(
    spec: &ServiceSpec,
    table: &[ServiceSpec],
    name: &str,
) -> Result<Child, String> {
    let container = Container::of(spec);
    let folder = container.home.clone();
    own_folder(spec, &folder, 0o700).map_err(|e| format!("its data folder: {e}"))?;
    if spec.card {
        card::hand_over(
            Path::new(roost_service::card::PATH),
            &spec::card_file(&spec.name),
            spec.user,
        )
        .map_err(|e| format!("its copy of the card: {e}"))?;
    }
    let users = container
        .own_users
        .then(|| users::namespace(table.iter().map(|spec| spec.user)))
        .transpose()
        .map_err(|e| format!("its user namespace: {e}"))?;
    let (notify_read, notify_write) = pipe().map_err(|e| format!("its notification pipe: {e}"))?;
    let mut command = Command::new(&spec.program);
    // It goes to its data folder by itself, once it is in its own root.
    command
        .env_clear()
        .env("PATH", "/bin")
        .env("HOME", &folder)
        .env("TMPDIR", "/tmp")
        .env("ROOST_DATA", &folder)
        .env(RUN_ENV, spec::run_folder(&spec.name))
        .env(DATA_FORMAT_ENV, spec.data_format.to_string())
        .env(NAME_ENV, name)
        .env(notify::ENV, notify_write.as_raw_fd().to_string())
        .stdin(Stdio::null());
    let confinement = Confinement {
        user: spec.user,
        capabilities: container.capabilities.clone(),
        cgroup: Some(limits::group(Path::new(CGROUPS), spec)?),
        inherit: Some(notify_write),
        container: Some(Entrance { container, users }),
        limits: limits::OfProcess::of(spec),
        filters: Some(seccomp::load(Path::new(seccomp::FOLDER), &spec.name)?),
    };
    let mut child = in_new_pid_namespace(|| spawn(command, Some(confinement)))?;
    child.notify = Some(notify_read);
    Ok(child)
}

/// Runs `start`, whose first child is process 1 of a new PID namespace.
///
/// The namespace of a process is chosen by its parent (pid_namespaces(7)): init's own children
/// after that are in init's again. Of the child init knows the number in its own namespace.
fn in_new_pid_namespace(start: impl FnOnce() -> Result<Child, String>) -> Result<Child, String> {
    let refused = |e: io::Error| format!("its process namespace: {e}");
    let own = File::open("/proc/thread-self/ns/pid").map_err(refused)?;
    #[expect(
        unsafe_code,
        reason = "unshare(2) may part a thread from its descriptors"
    )]
    // SAFETY: not with this flag.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }.map_err(|e| refused(e.into()))?;
    let started = start();
    let back = || move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID));
    // In a namespace whose first process is gone nobody can be started ever again.
    if let Err(error) = (1..BACK_ATTEMPTS).fold(back(), |done, _| done.or_else(|_| back())) {
        panic!("no program can be started any more, init's own namespace refuses it: {error}");
    }
    started
}

/// Starts one of init's own helpers, with `input` to read: at most what a pipe holds (64 KiB).
/// `confined` ones get no rights.
///
/// # Errors
/// Those of starting a process.
pub fn start_helper(args: &[&str], input: &[u8], confined: bool) -> io::Result<Child> {
    let mut command = Command::new("/bin/init");
    command.args(args).env_clear().current_dir("/");
    let input = if input.is_empty() {
        Stdio::null()
    } else {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // PID 1 waits for nobody to read it.
        rustix::io::ioctl_fionbio(&write, true)?;
        File::from(write).write_all(input)?;
        read.into()
    };
    command.stdin(input);
    spawn(command, confined.then(|| Confinement::of(NOBODY))).map_err(io::Error::other)
}

fn spawn(mut command: Command, confinement: Option<Confinement>) -> Result<Child, String> {
    let output = || pipe().map_err(|e| format!("its output pipes: {e}"));
    let (out_read, out_write) = output()?;
    let (err_read, err_write) = output()?;
    command.stdout(out_write).stderr(err_write);
    // PID 1 reaps all children alike.
    let pid = launch::start(command, confinement)?;
    Ok(Child {
        pid: pid.as_raw_nonzero().get().unsigned_abs(),
        output: vec![out_read, err_read],
        notify: None,
    })
}

/// A pipe whose read end does not block.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

fn own_folder(spec: &ServiceSpec, folder: &Path, mode: u32) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))?;
    let (uid, gid) = (Uid::from_raw(spec.user), Gid::from_raw(spec.user));
    rustix::fs::chown(folder, Some(uid), Some(gid))?;
    Ok(())
}

/// Kills every process in the service's control group.
pub fn sweep(name: &str) {
    // Fails only when there is no such group, and then there is nothing to kill.
    let _ = fs::write(Path::new(CGROUPS).join(name).join("cgroup.kill"), "1");
}

/// Sends a signal to one child that has not been reaped yet.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that has just ended is reaped with the next SIGCHLD.
        let _ = kill_process(pid, signal);
    }
}

/// The next child that has ended, if one has.
pub fn reap() -> Option<(u32, Exit)> {
    let (pid, status) = wait(WaitOptions::NOHANG).ok()??;
    let exit = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        // Stopped or continued children are not reported without WUNTRACED.
        (None, None) => Exit::Code(-1),
    };
    Some((pid.as_raw_nonzero().get().unsigned_abs(), exit))
}

/// Resident memory of a process in bytes.
pub fn memory(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
