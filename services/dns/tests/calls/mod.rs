//! What a program did to its folder, call by call, from a trace that `strace` wrote; and what a power cut may
//! leave of it.
//!
//! Names are made for good in their order, by the folder's sync at the latest: a journal keeps order, it may
//! end early. What a file holds is for good from its own sync on; before, any part of it may be there.

use std::collections::BTreeMap;
use std::path::Path;

/// What strace is told, before `-o FILE` and the program: who did what, with every byte.
pub const STRACE: &[&str] = &[
    "-f",
    "--seccomp-bpf",
    "-xx",
    "-y",
    "-s",
    "1048576",
    "-e",
    "trace=openat,creat,write,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,truncate,ftruncate,sendto,sendmsg,sendmmsg",
];

/// A call that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A file is there, empty.
    Create(String),
    /// Bytes are added to its end.
    Write(String, Vec<u8>),
    /// Its bytes are on the medium.
    Sync(String),
    /// It has another name.
    Rename(String, String),
    /// It is gone.
    Remove(String),
    /// Names are on the medium.
    SyncFolder,
    /// Somebody was told something.
    Send(Vec<u8>),
}

/// Reads a trace: calls in this folder, and what was sent to others.
pub fn read(trace: &str, folder: &Path) -> Vec<Call> {
    let folder = folder.to_str().unwrap();
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (process, line) = line.split_once(' ').unwrap();
        let line = line.trim_start();
        // Another thread's call came between its beginning and its end.
        let whole = if let Some(start) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(process, start);
            continue;
        } else if let Some((_, end)) = line.split_once(" resumed>") {
            let start = begun.remove(process).unwrap_or_default();
            format!("{start}{end}")
        } else {
            line.to_owned()
        };
        calls.extend(one(&whole, folder));
    }
    calls
}

fn one(line: &str, folder: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let bytes = |at: usize| arguments.split('"').nth(2 * at + 1).map(unhex);
    let inside = |path: Vec<u8>| {
        let path = String::from_utf8(path).ok()?;
        let name = path.strip_prefix(folder)?;
        Some(name.trim_start_matches('/').to_owned())
    };
    let path = |at| inside(bytes(at)?);
    let described = || {
        unhex(
            arguments
                .split_once('<')
                .unwrap()
                .1
                .split('>')
                .next()
                .unwrap(),
        )
    };
    let file = || inside(described());
    Some(match name {
        "openat" if arguments.contains("O_CREAT") => {
            assert!(
                arguments.contains("O_EXCL"),
                "what is there already would have to be followed: {line}"
            );
            Call::Create(path(0)?)
        }
        "openat" => return None,
        "write" if described().starts_with(b"socket:") => Call::Send(bytes(0)?),
        "write" => {
            let (file, bytes) = (file()?, bytes(0)?);
            assert_eq!(result.parse(), Ok(bytes.len()), "a write was not whole");
            Call::Write(file, bytes)
        }
        "fsync" | "fdatasync" => match file()? {
            name if name.is_empty() => Call::SyncFolder,
            name => Call::Sync(name),
        },
        "rename" => Call::Rename(path(0)?, path(1)?),
        "unlink" => Call::Remove(path(0)?),
        "sendto" => Call::Send(bytes(0)?),
        "sendmsg" | "sendmmsg" => panic!("answers are read from sendto and write: {line}"),
        other => {
            let named = path(0).or_else(file);
            assert_eq!(named, None, "{other} is not known here: {line}");
            return None;
        }
    })
}

/// `\x66\x6f` as bytes.
fn unhex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits
        .map(|two| u8::from_str_radix(two, 16).unwrap())
        .collect()
}

/// A file, whatever it is called.
#[derive(Debug, Clone, Default)]
struct File {
    bytes: Vec<u8>,
    synced: bool,
}

type Names = BTreeMap<String, usize>;

/// A folder, as the medium has it and as it will be.
#[derive(Debug, Clone, Default)]
pub struct Medium {
    files: Vec<File>,
    /// What is for good.
    names: Names,
    /// What came after, in order: the folder after each change.
    later: Vec<Names>,
}

impl Medium {
    /// A folder in which these files have been for long.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let mut medium = Self::default();
        for (name, bytes) in files {
            medium.names.insert(name, medium.files.len());
            medium.files.push(File {
                bytes,
                synced: true,
            });
        }
        medium
    }

    fn now(&self) -> &Names {
        self.later.last().unwrap_or(&self.names)
    }

    /// Does what the program did.
    pub fn take(&mut self, call: &Call) {
        let mut names = self.now().clone();
        match call {
            Call::Create(name) => {
                names.insert(name.clone(), self.files.len());
                self.files.push(File::default());
            }
            Call::Write(name, bytes) => {
                let file = &mut self.files[names[name]];
                file.bytes.extend(bytes);
                file.synced = false;
                return;
            }
            Call::Sync(name) => {
                self.files[names[name]].synced = true;
                return;
            }
            Call::Rename(from, to) => {
                let file = names.remove(from).unwrap();
                names.insert(to.clone(), file);
            }
            Call::Remove(name) => {
                names.remove(name).unwrap();
            }
            Call::SyncFolder => {
                self.names = names;
                self.later.clear();
                return;
            }
            Call::Send(_) => return,
        }
        self.later.push(names);
    }

    /// What may be there if the power is cut now.
    pub fn cut(&self) -> Vec<BTreeMap<String, Vec<u8>>> {
        let mut left = Vec::new();
        for names in std::iter::once(&self.names).chain(&self.later) {
            // Of what was not synced: nothing, a byte, half, all but a byte, all, or as long but never written.
            for part in 0..6 {
                let folder: BTreeMap<String, Vec<u8>> = names
                    .iter()
                    .map(|(name, file)| (name.clone(), self.files[*file].part(part)))
                    .collect();
                if !left.contains(&folder) {
                    left.push(folder);
                }
            }
        }
        left
    }
}

impl File {
    fn part(&self, part: usize) -> Vec<u8> {
        let length = self.bytes.len();
        if self.synced {
            return self.bytes.clone();
        }
        match part {
            0 => Vec::new(),
            1 => self.bytes[..length.min(1)].to_vec(),
            2 => self.bytes[..length / 2].to_vec(),
            3 => self.bytes[..length.saturating_sub(1)].to_vec(),
            4 => self.bytes.clone(),
            _ => vec![0; length],
        }
    }
}
