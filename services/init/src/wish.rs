//! The file on partition 1 that asks for a factory reset ([`crate::reset`]).
//!
//! Partition 1 is a FAT that every computer can write. It is somebody else's file system, so it is
//! read by a child without rights (`init --wish`, the partition on its standard input), for a
//! bounded time, and whatever is wrong there means that nothing is asked: neither a damaged file
//! system nor a hostile one delays the box or keeps it from starting.

use crate::launch::{self, Confinement};
use crate::reset::Wish;
use roost_board::fat::FileSystem;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names of the file. Some editors give every text this ending, and hide it.
const NAMES: [&str; 2] = ["factory-reset", "factory-reset.txt"];
/// A longer file asks for nothing: a code has eight letters.
const MAX_FILE: u64 = 256;
/// Longest answer of the child, in bytes: each byte of the file takes up to four.
const MAX_ANSWER: usize = 2048;
/// How long the child may take. A healthy card answers within a hundredth of that.
const LIMIT: Duration = Duration::from_secs(5);
/// User of the child ("nobody").
const NOBODY: u32 = 65_534;

/// The file that asks, if there is one.
pub fn find<D: Read + Seek>(disk: D) -> Option<Wish> {
    let mut files = FileSystem::open(disk).ok()?;
    let items = files.list("").ok()?;
    let item = items.into_iter().find(|item| {
        let called = NAMES
            .iter()
            .any(|name| item.name.eq_ignore_ascii_case(name));
        called && !item.is_folder && item.size <= MAX_FILE
    })?;
    Some(Wish {
        modified: item.modified,
        content: files.read(&item.name, MAX_FILE).ok()?,
    })
}

/// The child program; returns the exit status.
pub fn main() -> i32 {
    let Ok(disk) = io::stdin().as_fd().try_clone_to_owned() else {
        return 1;
    };
    match find(File::from(disk)).map(|wish| serde_json::to_string(&wish)) {
        Some(Ok(line)) => {
            println!("{line}");
            0
        }
        _ => 1,
    }
}

/// Asks a child what partition 1, `node`, has; `None` also for everything that goes wrong.
pub fn ask(node: &Path) -> Option<Wish> {
    let (out, answer) = pipe_with(PipeFlags::CLOEXEC).ok()?;
    let mut command = Command::new("/bin/init");
    command
        .arg("--wish")
        .env_clear()
        .current_dir("/")
        .stdin(File::open(node).ok()?)
        .stdout(answer)
        .stderr(Stdio::null());
    let child = launch::start(command, Some(Confinement::of(NOBODY))).ok()?;
    let answer = read_for(&out, LIMIT, MAX_ANSWER);
    // It has ended, or has nothing more to say.
    let _ = kill_process(child, Signal::KILL);
    // Not waited for if it hangs in the kernel: it is PID 1's then.
    let _ = waitpid(Some(child), WaitOptions::NOHANG);
    serde_json::from_slice(&answer?).ok()
}

/// Everything up to the end, if that comes in time and is not too long.
pub(crate) fn read_for(out: &impl AsFd, limit: Duration, most: usize) -> Option<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok()?;
        match poll(&mut [PollFd::new(out, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return None,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        match rustix::io::read(out, &mut buffer) {
            Ok(0) => return Some(answer),
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
        if answer.len() > most {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    /// A FAT with these files in its root folder.
    fn selector(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut disk = vec![0; 16 << 20];
        let options = fatfs::FormatVolumeOptions::new();
        fatfs::format_volume(Cursor::new(&mut disk[..]), options).unwrap();
        let fs = fatfs::FileSystem::new(Cursor::new(&mut disk[..]), fatfs::FsOptions::new());
        let fs = fs.unwrap();
        for (name, bytes) in files {
            let mut file = fs.root_dir().create_file(name).unwrap();
            file.write_all(bytes).unwrap();
        }
        fs.unmount().unwrap();
        disk
    }

    fn found(files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
        find(Cursor::new(selector(files))).map(|wish| wish.content)
    }

    #[test]
    fn the_file_is_found_under_the_names_that_people_give_it() {
        let other = ("autoboot.txt", &b"[all]"[..]);
        assert_eq!(found(&[other]), None);
        assert_eq!(found(&[other, ("factory-reset", b"")]), Some(Vec::new()));
        assert_eq!(
            found(&[("FACTORY-RESET.TXT", b"7QXM-4KPB\r\n"), other]),
            Some(b"7QXM-4KPB\r\n".to_vec())
        );
        assert_eq!(found(&[("factory-reset.toml", b"")]), None);
        assert_eq!(found(&[("factory-reset", &[b'x'; 257])]), None);
    }

    #[test]
    fn what_is_no_file_system_asks_for_nothing() {
        assert_eq!(find(Cursor::new(Vec::new())), None);
        assert_eq!(find(Cursor::new(vec![0xff; 1 << 20])), None);
        let mut damaged = selector(&[("factory-reset", b"7QXM-4KPB")]);
        damaged[512..].fill(0xff);
        assert_eq!(find(Cursor::new(damaged)), None);
    }

    #[test]
    fn the_code_in_it_is_read_as_people_type_it() {
        let wish = |content: &[u8]| Wish {
            modified: 0,
            content: content.into(),
        };
        assert_eq!(wish(b"7qxm-4kpb\r\n").code().as_deref(), Some("7QXM4KPB"));
        for none in [
            &b""[..],
            b"yes please",
            b"\xff\xfe7\0Q\0",
            b"7QXM4KPB 7QXM4KPB",
        ] {
            assert_eq!(wish(none).code(), None);
        }
    }

    #[test]
    fn a_child_that_says_nothing_is_not_waited_for() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let begin = Instant::now();
        assert_eq!(read_for(&read, Duration::from_millis(50), MAX_ANSWER), None);
        assert!(begin.elapsed() < Duration::from_secs(4));
        rustix::io::write(&write, b"{}").unwrap();
        drop(write);
        assert_eq!(read_for(&read, LIMIT, MAX_ANSWER), Some(b"{}".to_vec()));
    }

    #[test]
    fn a_child_that_says_too_much_is_not_listened_to() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, &[b'x'; 4096]).unwrap();
        drop(write);
        assert_eq!(read_for(&read, LIMIT, MAX_ANSWER), None);
    }
}
