//! A service's user namespace (user_namespaces(7)).
//!
//! In it every service has the number that it has outside: who connects to a socket is asked of the
//! kernel, which gives users that the namespace lacks all the same number. Root and everybody else
//! are lacking. It belongs to root, and no process in it has a capability: it cannot be changed.

use crate::launch::fork;
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};

/// Makes one for these users and their groups.
///
/// A namespace comes with a process in it; that one lives only until the maps are written, well
/// below a millisecond, in which init waits.
///
/// # Errors
/// Those of fork(2), unshare(2) and of writing the maps, with the step.
pub fn namespace(users: impl Iterator<Item = u32>) -> io::Result<OwnedFd> {
    let map = map(users);
    let (ready, tell_ready) = pipe_with(PipeFlags::CLOEXEC)?;
    let (wait, release) = pipe_with(PipeFlags::CLOEXEC)?;
    let child = fork(|| {
        #[expect(
            unsafe_code,
            reason = "unshare(2) may part a thread from its descriptors"
        )]
        // SAFETY: not with this flag.
        let entered = unsafe { unshare_unsafe(UnshareFlags::NEWUSER) };
        // Nor may anybody in it make one below it, in which he would have every capability. It is this
        // namespace's own number that is seen here.
        let entered = entered
            .map_err(io::Error::from)
            .and_then(|()| fs::write("/proc/sys/user/max_user_namespaces", "0"));
        if entered.is_ok() && rustix::io::write(&tell_ready, b"1").is_ok() {
            // Until init has what it wants.
            let _ = rustix::io::read(&wait, &mut [0]);
        }
    })?;
    drop(tell_ready);
    let made = File::from(ready)
        .read_exact(&mut [0])
        .map_err(|_| io::Error::other("the kernel refuses it"))
        .and_then(|()| {
            let folder = format!("/proc/{}", child.as_raw_nonzero());
            let write = |name: &str, text: &str| {
                fs::write(format!("{folder}/{name}"), text).map_err(|e| told(name, &e))
            };
            write("setgroups", "deny")?;
            write("uid_map", &map)?;
            write("gid_map", &map)?;
            let namespace = File::open(format!("{folder}/ns/user")).map_err(|e| told("ns", &e))?;
            Ok(OwnedFd::from(namespace))
        });
    if rustix::io::write(&release, b"1").is_err() {
        // Its end may have come before; if not, it would be waited for in vain.
        let _ = kill_process(child, Signal::KILL);
    }
    // Whatever became of it: nobody else knows this child.
    let _ = waitpid(Some(child), WaitOptions::empty());
    made
}

fn told(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Each number is itself (user_namespaces(7), "Defining user and group ID mappings").
fn map(users: impl Iterator<Item = u32>) -> String {
    users.fold(String::new(), |mut map, user| {
        let _ = writeln!(map, "{user} {user} 1");
        map
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_itself() {
        assert_eq!(map([800, 820].into_iter()), "800 800 1\n820 820 1\n");
    }
}
