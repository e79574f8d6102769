//! Using up what the box has only once, until something says no.

use crate::say;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// What can be used up.
#[derive(Clone, Copy)]
pub enum Usage {
    /// Threads, which count as processes do.
    Tasks,
    /// Open files.
    Files,
    /// `/tmp`.
    Scratch,
    /// Its folder on the card.
    Card,
    /// Files in there, whatever their size.
    Names,
    /// All processors at once.
    Processors,
    /// Memory: the last, because it ends the service.
    Memory,
}

/// In this order.
pub const ALL: &[Usage] = &[
    Usage::Tasks,
    Usage::Files,
    Usage::Scratch,
    Usage::Card,
    Usage::Names,
    Usage::Processors,
    Usage::Memory,
];

/// What is used up and kept, by the feature that this was built with.
pub const KEPT: Option<Usage> = if cfg!(feature = "keep-tasks") {
    Some(Usage::Tasks)
} else if cfg!(feature = "keep-files") {
    Some(Usage::Files)
} else if cfg!(feature = "keep-memory") {
    Some(Usage::Memory)
} else {
    None
};

/// More than any box has, so that nothing here goes on for ever.
const MOST_TASKS: u32 = 20_000;
const MOST_FILES: u32 = 200_000;
const MOST_SCRATCH: u64 = 2 << 30;
const MOST_CARD: u64 = 4 << 30;
const MOST_NAMES: u32 = 8_000;
const MOST_MEMORY: u64 = 4 << 30;
const BLOCK: usize = 1 << 20;
/// How long the processors are kept busy.
const BUSY: Duration = Duration::from_secs(10);

impl Usage {
    /// In the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tasks => "use tasks",
            Self::Files => "use files",
            Self::Scratch => "use scratch",
            Self::Card => "use card",
            Self::Names => "use names",
            Self::Processors => "use processors",
            Self::Memory => "use memory",
        }
    }
}

/// Uses one thing up and tells the log how far that went.
pub fn run(usage: Usage, folder: &Path) {
    let name = usage.name();
    match usage {
        Usage::Tasks => {
            let (done, error) = tasks();
            say(&format!("{name}: {done}, then {error}"));
        }
        Usage::Files => {
            let (done, error) = files();
            say(&format!("{name}: {done}, then {error}"));
        }
        Usage::Scratch => {
            let (done, error) = fill(Path::new("/tmp/fill"), MOST_SCRATCH);
            say(&format!("{name}: {done}, then {error}"));
        }
        Usage::Card => {
            let (done, error) = fill(&folder.join("fill"), MOST_CARD);
            say(&format!("{name}: {done}, then {error}"));
        }
        Usage::Names => {
            let (done, error) = names(&folder.join("names"));
            say(&format!("{name}: {done}, then {error}"));
        }
        Usage::Processors => {
            processors();
            say(&format!("{name}: for {} s", BUSY.as_secs()));
        }
        Usage::Memory => {
            say(&format!("{name}: begins"));
            let done = memory();
            say(&format!("{name}: {done}, and nothing said no"));
        }
    }
}

/// How often what is kept is filled up again.
const AGAIN: Duration = Duration::from_millis(100);
/// How often the log is told what is kept, in fillings.
const TELL: usize = 50;

/// Uses one thing up, and whatever comes free of it, for ever.
pub fn keep(usage: Usage) -> ! {
    let name = usage.name();
    let (mut tasks, mut files) = (0, Vec::new());
    for round in 0_usize.. {
        let why = match usage {
            Usage::Tasks => busy_tasks(&mut tasks),
            Usage::Files => more_files(&mut files),
            _ => {
                say(&format!("{name}: begins"));
                format!("{}, and nothing said no", memory())
            }
        };
        if round.is_multiple_of(TELL) {
            say(&format!(
                "{name}: keeps {}, then {why}",
                tasks + files.len()
            ));
        }
        thread::sleep(AGAIN);
    }
    unreachable!("rounds do not end")
}

/// Threads that never rest, until there is no more.
fn busy_tasks(count: &mut usize) -> String {
    loop {
        let busy = || {
            let mut sum = 0u64;
            loop {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
        };
        match thread::Builder::new().stack_size(16 << 10).spawn(busy) {
            Ok(_) => *count += 1,
            Err(error) => return error.to_string(),
        }
    }
}

/// Files that stay open, until there is no more.
fn more_files(open: &mut Vec<File>) -> String {
    loop {
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(error) => return error.to_string(),
        }
    }
}

/// Threads that wait, until there is no more; they end with it.
fn tasks() -> (u32, String) {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let mut threads = Vec::new();
    let mut why = "the most that this tries".to_owned();
    while (threads.len() as u32) < MOST_TASKS {
        let held = held.clone();
        let wait = move || {
            let guard = held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let _ = guard.recv();
        };
        match thread::Builder::new().stack_size(16 << 10).spawn(wait) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                why = error.to_string();
                break;
            }
        }
    }
    let count = threads.len() as u32;
    drop(release);
    for thread in threads {
        let _ = thread.join();
    }
    (count, why)
}

fn files() -> (u32, String) {
    let mut open = Vec::new();
    while (open.len() as u32) < MOST_FILES {
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(error) => return (open.len() as u32, error.to_string()),
        }
    }
    (open.len() as u32, "the most that this tries".to_owned())
}

/// Empty files in a new folder; it is removed afterwards.
fn names(folder: &Path) -> (u32, String) {
    let make = |number: u32| File::create(folder.join(number.to_string()));
    let made = fs::create_dir(folder).map_err(|error| (0, error));
    let all = made.and_then(|()| {
        (0..MOST_NAMES).try_for_each(|done| make(done).map(drop).map_err(|error| (done, error)))
    });
    let _ = fs::remove_dir_all(folder);
    match all {
        Ok(()) => (MOST_NAMES, "the most that this tries".to_owned()),
        Err((done, error)) => (done, error.to_string()),
    }
}

/// Bytes that a new file takes; it is removed afterwards.
fn fill(path: &Path, most: u64) -> (u64, String) {
    let (done, error) = match grow(path, most) {
        Ok(done) => (done, "the most that this tries".to_owned()),
        Err((done, error)) => (done, error.to_string()),
    };
    let _ = fs::remove_file(path);
    (done, error)
}

fn grow(path: &Path, most: u64) -> Result<u64, (u64, io::Error)> {
    let block = vec![0x5a; BLOCK];
    let mut file = File::create(path).map_err(|error| (0, error))?;
    let mut done = 0;
    while done < most {
        file.write_all(&block).map_err(|error| (done, error))?;
        done += BLOCK as u64;
    }
    Ok(done)
}

fn processors() {
    let until = std::time::Instant::now() + BUSY;
    let threads: Vec<_> = (0..8)
        .filter_map(|_| {
            let busy = move || {
                let mut sum = 0u64;
                while std::time::Instant::now() < until {
                    sum = std::hint::black_box(sum.wrapping_add(1));
                }
            };
            thread::Builder::new().spawn(busy).ok()
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
}

/// Takes memory and writes to all of it.
fn memory() -> u64 {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while (taken.len() * BLOCK) as u64 <= MOST_MEMORY {
        let block: Vec<u8> = (0..BLOCK).map(|at| (at % 251) as u8).collect();
        taken.push(std::hint::black_box(block));
        if taken.len().is_multiple_of(64) {
            say(&format!("use memory: {} MiB so far", taken.len()));
        }
    }
    (taken.len() * BLOCK) as u64
}
