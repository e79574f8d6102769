//! System calls by their numbers on arm64 (include/uapi/asm-generic/unistd.h): most have no
//! safe wrapper anywhere, as no honest program wants them.

use std::ffi::c_long;
use std::io;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Makes one system call with up to six arguments.
pub fn call(number: c_long, arguments: &[usize]) -> io::Result<usize> {
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = six;
    // SAFETY: pointers among the arguments are to live memory of ours, as the callers see to.
    let result = unsafe { syscall(number, a, b, c, d, e, f) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// write(2) to a descriptor by its number.
pub fn write(fd: i32, bytes: &[u8]) -> io::Result<usize> {
    call(
        nr::WRITE,
        &[fd as usize, bytes.as_ptr() as usize, bytes.len()],
    )
}

/// A child process: 0 in the child, its number in the parent.
pub fn fork() -> io::Result<usize> {
    const SIGCHLD: usize = 17;
    call(nr::CLONE, &[SIGCHLD, 0, 0, 0, 0])
}

/// Waits for a child and gives its status as wait(2) does.
pub fn wait(pid: usize) -> io::Result<i32> {
    let mut status = 0i32;
    call(nr::WAIT4, &[pid, (&raw mut status) as usize, 0, 0])?;
    Ok(status)
}

/// Ends this process, and nothing else of it runs.
pub fn exit(code: usize) -> ! {
    loop {
        let _ = call(nr::EXIT_GROUP, &[code]);
    }
}

/// Numbers of system calls.
pub mod nr {
    use std::ffi::c_long;
    pub const IO_SETUP: c_long = 0;
    pub const MKNODAT: c_long = 33;
    pub const UMOUNT2: c_long = 39;
    pub const MOUNT: c_long = 40;
    pub const PIVOT_ROOT: c_long = 41;
    pub const CHROOT: c_long = 51;
    pub const READ: c_long = 63;
    pub const WRITE: c_long = 64;
    pub const ACCT: c_long = 89;
    pub const EXIT_GROUP: c_long = 94;
    pub const UNSHARE: c_long = 97;
    pub const KEXEC_LOAD: c_long = 104;
    pub const INIT_MODULE: c_long = 105;
    pub const CLOCK_SETTIME: c_long = 112;
    pub const SYSLOG: c_long = 116;
    pub const PTRACE: c_long = 117;
    pub const SCHED_SETSCHEDULER: c_long = 119;
    pub const KILL: c_long = 129;
    pub const SETPRIORITY: c_long = 140;
    pub const REBOOT: c_long = 142;
    pub const SETGID: c_long = 144;
    pub const SETUID: c_long = 146;
    pub const SETRESUID: c_long = 147;
    pub const SETHOSTNAME: c_long = 161;
    pub const SETTIMEOFDAY: c_long = 170;
    pub const ADJTIMEX: c_long = 171;
    pub const SOCKET: c_long = 198;
    pub const ADD_KEY: c_long = 217;
    pub const CLONE: c_long = 220;
    pub const SWAPON: c_long = 224;
    pub const PERF_EVENT_OPEN: c_long = 241;
    pub const WAIT4: c_long = 260;
    pub const OPEN_BY_HANDLE_AT: c_long = 265;
    pub const SETNS: c_long = 268;
    pub const PROCESS_VM_READV: c_long = 270;
    pub const FINIT_MODULE: c_long = 273;
    pub const BPF: c_long = 280;
    pub const USERFAULTFD: c_long = 282;
    pub const IO_URING_SETUP: c_long = 425;
    pub const OPEN_TREE: c_long = 428;
    pub const FSOPEN: c_long = 430;
    pub const PIDFD_OPEN: c_long = 434;
    pub const CLONE3: c_long = 435;
}
