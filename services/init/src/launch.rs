//! Starting a program with exactly the rights its spec lists.

use crate::container::enter::{Entrance, Fault, Step};
use crate::limits::OfProcess;
use crate::seccomp::Filters;
use roost_service::spec::Capability;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Signal, Uid, WaitOptions, kill_process, setsid, waitpid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Longest report of a child, in bytes.
const MAX_REPORT: u64 = 4096;

/// Who a program runs as and what it keeps.
#[derive(Debug)]
pub struct Confinement {
    /// User and group number; never 0.
    pub user: u32,
    /// Capabilities it keeps.
    pub capabilities: Vec<Capability>,
    /// `cgroup.procs` of its control group, if it has one.
    pub cgroup: Option<File>,
    /// A descriptor that the program shall inherit.
    pub inherit: Option<OwnedFd>,
    /// Its container, if it has one.
    pub container: Option<Entrance>,
    /// What it may use up by itself.
    pub limits: OfProcess,
    /// Filters of its system calls, if it has some.
    pub filters: Option<Filters>,
}

impl Confinement {
    /// No right at all, for this user.
    pub fn of(user: u32) -> Self {
        Self {
            user,
            capabilities: Vec::new(),
            cgroup: None,
            inherit: None,
            container: None,
            limits: OfProcess::HELPER,
            filters: None,
        }
    }

    /// Makes `command` start confined: own session, own control group, own container, the given
    /// user, only the given capabilities (bounding, ambient and all others), and no way to gain more.
    /// The step that fails, and why, goes to `report` as a line.
    #[expect(
        unsafe_code,
        reason = "std's only door to the child between fork and exec"
    )]
    fn prepare(self, command: &mut Command, report: OwnedFd) {
        // SAFETY: init has one thread, so nothing was locked by another at
        // the fork, and `enter` only makes system calls on the child itself.
        unsafe {
            command.pre_exec(move || {
                self.enter().map_err(|fault| {
                    let _ = rustix::io::write(&report, format!("{fault}\n").as_bytes());
                    let number = fault.source.raw_os_error().unwrap_or(libc::EINVAL);
                    // std hands on nothing else.
                    io::Error::from_raw_os_error(number)
                })
            });
        }
    }

    /// Runs in the child.
    fn enter(&self) -> Result<(), Fault> {
        setsid().step("its session")?;
        self.limits.apply().step("its limits")?;
        if let Some(mut procs) = self.cgroup.as_ref() {
            procs.write_all(b"0").step("its control group")?;
        }
        if let Some(fd) = &self.inherit {
            rustix::io::fcntl_setfd(fd.as_fd(), rustix::io::FdFlags::empty())
                .step("its notification pipe")?;
        }
        // In its user namespace nobody may (user_namespaces(7)).
        set_thread_groups(&[]).step("leaving root's groups")?;
        let wall = self.container.as_ref().map(Entrance::enter).transpose()?;
        self.become_user().step("giving up root's rights")?;
        if let Some(wall) = wall {
            wall.close().step("closing its Landlock wall")?;
        }
        // Last of all: what was done until here is on no list.
        if let Some(filters) = &self.filters {
            filters
                .install()
                .step("installing its filters of system calls")?;
        }
        Ok(())
    }

    fn become_user(&self) -> io::Result<()> {
        let kept = self.kept();
        // Later kernels may know more capabilities than these; EINVAL ends the list.
        for number in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if kept.contains(one) {
                continue;
            }
            match remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error.into()),
            }
        }
        set_keep_capabilities(true)?;
        let (uid, gid) = (Uid::from_raw(self.user), Gid::from_raw(self.user));
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        set_capabilities(
            None,
            CapabilitySets {
                effective: kept,
                permitted: kept,
                inheritable: kept,
            },
        )?;
        for one in kept.iter() {
            configure_capability_in_ambient_set(one, true)?;
        }
        set_no_new_privs(true)?;
        Ok(())
    }

    fn kept(&self) -> CapabilitySet {
        let bits = self
            .capabilities
            .iter()
            .fold(0, |bits, capability| bits | (1u64 << capability.number()));
        CapabilitySet::from_bits_retain(bits)
    }
}

/// Starts `command`, confined or not.
///
/// Not by `Command::spawn`: should that not learn whether the program was started, it waits for the
/// program's end, and then panics.
///
/// # Errors
/// A sentence: which step failed, and why. Nothing of the child is left then.
pub fn start(mut command: Command, confinement: Option<Confinement>) -> Result<Pid, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("{program}: {error}");
    let (read, report) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    if let Some(confinement) = confinement {
        confinement.prepare(&mut command, report.try_clone().map_err(failed)?);
    }
    let child = fork(|| {
        let line = format!("{}\n", failed(command.exec()));
        // Shorter than what a pipe holds. Should it get lost, the child's end tells that it failed.
        let _ = rustix::io::write(&report, line.as_bytes());
    })
    .map_err(failed)?;
    // The child has the last copies of the pipe then: they are closed by its end, or by exec.
    drop((command, report));
    let problem = match io::read_to_string(File::from(read).take(MAX_REPORT)) {
        // A step of ours comes before what exec(3) has to say of it.
        Ok(told) => told.lines().next().map(str::to_owned),
        Err(error) => {
            let _ = kill_process(child, Signal::KILL);
            Some(format!("cannot learn whether it was started: {error}"))
        }
    };
    match problem {
        None => Ok(child),
        Some(problem) => {
            // It has nothing more to do. If this is refused, it is reaped like any other child.
            let _ = waitpid(Some(child), WaitOptions::empty());
            Err(problem)
        }
    }
}

/// Runs `child` in a process of its own, which ends with it.
///
/// # Errors
/// Those of fork(2).
pub fn fork(child: impl FnOnce()) -> io::Result<Pid> {
    #[expect(unsafe_code, reason = "neither std nor rustix has a fork without exec")]
    // SAFETY: init has one thread, so nothing was locked by another at the fork; `_exit` runs
    // nothing that belongs to the parent.
    unsafe {
        match libc::fork() {
            0 => {
                child();
                libc::_exit(1)
            }
            pid => Pid::from_raw(pid.max(0)).ok_or_else(io::Error::last_os_error),
        }
    }
}
