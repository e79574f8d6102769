//! The last steps of a shutdown, when no service runs any more.

use crate::data;
use crate::machine::Halt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::system::{RebootCommand, reboot};
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone. One that waits for a dead
/// disk never is, and must not keep the machine from going down.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How long a slow card may take to write what the memory holds (a fifth of it
/// at most, at a few MB/s). A dead one would keep the machine up for ever.
pub const RELEASE_LIMIT: Duration = Duration::from_secs(180);

/// The same for a USB disk that somebody had.
pub const DISK_LIMIT: Duration = Duration::from_secs(60);

/// The same for the last log lines, which are few.
pub const LOGS_LIMIT: Duration = Duration::from_secs(30);

/// Does `work`, which may block for longer than a watchdog waits, and calls
/// `feed` at least every `every` until it is done. `None` if it is not done
/// within `limit`; then it is left to itself.
pub fn patiently<T: Send + 'static>(
    work: impl FnOnce() -> T + Clone + Send + 'static,
    limit: Duration,
    every: Duration,
    mut feed: impl FnMut(),
) -> Option<T> {
    let deadline = Instant::now() + limit;
    let (done, result) = mpsc::channel();
    let threaded = work.clone();
    let thread = thread::Builder::new().spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = done.send(threaded());
    });
    feed();
    if thread.is_err() {
        // Better without feeding than not at all.
        return Some(work());
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match result.recv_timeout(left.min(every)) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) if !left.is_zero() => feed(),
            Err(_) => return None,
        }
    }
}

/// There as long as the box runs, and afterwards if it did not go down in order.
const RUNNING: &str = "/data/init/running";

/// Notes that the box runs. Returns whether it did not go down in order before: its power was cut,
/// the kernel gave up, or init hung and the watchdog restarted the machine.
///
/// # Errors
/// Those of the file system.
pub fn note_running() -> std::io::Result<bool> {
    note(Path::new(RUNNING))
}

fn note(mark: &Path) -> std::io::Result<bool> {
    if let Some(folder) = mark.parent() {
        fs::create_dir_all(folder)?;
    }
    match File::create_new(mark) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(true),
        Err(error) => Err(error),
    }
}

/// Takes the note back; the last sync brings that to the card.
///
/// # Errors
/// Those of the file system. The next start then suspects a fault that was none.
pub fn note_end() -> std::io::Result<()> {
    fs::remove_file(RUNNING)
}

/// Kills every process but ours and waits until they are gone, because they
/// may hold files on the data partition. Kernel threads do not mind.
pub fn kill_everything() {
    let deadline = Instant::now() + KILL_LIMIT;
    // A process may fork while we look; further rounds find what the first missed.
    for _ in 0..3 {
        let Ok(entries) = fs::read_dir("/proc") else {
            continue;
        };
        let killed: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|&pid| pid > 1 && !is_kernel_thread(pid))
            .filter_map(|pid| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok())
            .filter(|pidfd| pidfd_send_signal(pidfd, Signal::KILL).is_ok())
            .collect();
        if killed.is_empty() {
            return;
        }
        for pidfd in &killed {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            // Readable once the process has ended; nobody needs its status any more.
            let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout));
        }
    }
}

/// Kernel threads have no program.
fn is_kernel_thread(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_err()
}

/// Puts the data partition into order; may block. Returns what went wrong, if something did.
///
/// First, and by itself: a USB disk that does not answer keeps the card from nothing.
pub fn release_data() -> Option<String> {
    let synced = open(
        data::MOUNT_POINT,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .and_then(|folder| rustix::fs::syncfs(&folder));
    let of_sync = synced
        .err()
        .map(|error| format!("not all is on the card: {error}"));
    unmount_data().or(of_sync)
}

fn unmount_data() -> Option<String> {
    let Err(error) = unmount(data::MOUNT_POINT, UnmountFlags::empty()) else {
        return None;
    };
    if error == rustix::io::Errno::INVAL {
        // Not mounted.
        return None;
    }
    match mount_remount(data::MOUNT_POINT, MountFlags::RDONLY, "") {
        Ok(()) => None,
        Err(_) => Some(format!("cannot unmount {}: {error}", data::MOUNT_POINT)),
    }
}

/// Halts the machine, without a last sync. Returns only if the kernel refuses.
pub fn halt(how: Halt) -> std::io::Error {
    let command = match how {
        Halt::Reboot | Halt::Trial => RebootCommand::Restart,
        Halt::PowerOff => RebootCommand::PowerOff,
    };
    match reboot(command) {
        Ok(()) => std::io::Error::other("the kernel did not halt"),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_watchdog_is_fed_while_a_card_is_slow() {
        let slow = || {
            thread::sleep(200 * MS);
            7
        };
        let mut fed = 0;
        assert_eq!(patiently(slow, 60_000 * MS, 10 * MS, || fed += 1), Some(7));
        assert!(fed > 2, "{fed}");
    }

    #[test]
    fn an_end_without_order_is_known_afterwards() {
        let folder = std::env::temp_dir().join(format!("roost-running-{}", std::process::id()));
        let mark = folder.join("init/running");
        assert!(!note(&mark).unwrap(), "the first start");
        assert!(note(&mark).unwrap(), "after a power cut");
        fs::remove_file(&mark).unwrap();
        assert!(!note(&mark).unwrap(), "after an end in order");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_dead_card_does_not_keep_the_machine_up() {
        let mut fed = 0;
        let dead = || thread::sleep(60_000 * MS);
        assert_eq!(patiently(dead, 50 * MS, 10 * MS, || fed += 1), None);
        assert!((1..=7).contains(&fed), "{fed}");
    }
}
