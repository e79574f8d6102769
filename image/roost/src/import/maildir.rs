//! Maildirs: Maildir++ as Dovecot and Courier lay it out, and folders in folders.
//!
//! A message is a file in `cur` or `new`; its name says how it is marked, its time when it arrived.

use crate::mail::message::Flags;
use crate::mail::names;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Where an export of ours says how its folders are really called.
pub const NAMES: &str = "roost-folders.json";
/// Where Dovecot says which letter stands for which word.
pub const KEYWORDS: &str = "dovecot-keywords";
/// Letters for words in a file's name.
pub const LETTERS: std::ops::RangeInclusive<u8> = b'a'..=b'z';
/// Longest file with names or words that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// The letters of a file's name and what they stand for.
pub const MARKS: [(char, &str); 6] = [
    ('D', "\\Draft"),
    ('F', "\\Flagged"),
    ('P', "$Forwarded"),
    ('R', "\\Answered"),
    ('S', "\\Seen"),
    ('T', "\\Deleted"),
];

/// The names of folders in an export of ours, by the names of their directories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// One each.
    pub folders: BTreeMap<String, Name>,
}

/// How a folder is really called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The folders that it is in, and itself.
    pub path: Vec<String>,
    /// What it is for, e.g. `sent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// A directory with messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Names from the outermost folder on; empty for the inbox.
    pub path: Vec<String>,
    /// What it is for, if an export of ours says it.
    pub role: Option<String>,
    /// Where it is.
    pub place: PathBuf,
}

/// Whether messages are in this directory.
pub fn is_one(place: &Path) -> bool {
    place.join("cur").is_dir() && (place.join("new").is_dir() || place.join("tmp").is_dir())
}

/// The folders beside the inbox in this maildir.
///
/// # Errors
///
/// What the disk says.
pub fn folders(place: &Path) -> io::Result<Vec<Found>> {
    let known = read_names(place)?;
    let mut all = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let place = entry.path();
        if !place.is_dir() || !is_one(&place) {
            continue;
        }
        let name = entry.file_name();
        let Some(dotted) = name.as_encoded_bytes().strip_prefix(b".") else {
            continue;
        };
        let given = known.folders.get(&*name.to_string_lossy());
        all.push(match given {
            Some(name) => Found {
                path: name.path.clone(),
                role: name.role.clone(),
                place,
            },
            None => {
                let parts = dotted.split(|b| *b == b'.').map(names::decode);
                Found {
                    path: parts.filter(|part| !part.is_empty()).collect(),
                    role: None,
                    place,
                }
            }
        });
    }
    all.retain(|found| !found.path.is_empty());
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

fn read_names(place: &Path) -> io::Result<Names> {
    match small(&place.join(NAMES))? {
        Some(text) => serde_json::from_str(&text)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{NAMES}: {e}"))),
        None => Ok(Names::default()),
    }
}

fn small(path: &Path) -> io::Result<Option<String>> {
    match std::fs::metadata(path) {
        Ok(about) if about.len() > MAX_FILE => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is too long", path.display()),
        )),
        Ok(_) => Ok(Some(
            String::from_utf8_lossy(&std::fs::read(path)?).into_owned(),
        )),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The files of messages in a directory, by name.
///
/// # Errors
///
/// What the disk says.
pub fn files(place: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for part in ["cur", "new"] {
        let entries = match std::fs::read_dir(place.join(part)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden && !entry.file_type()?.is_dir() {
                all.push(entry.path());
            }
        }
    }
    all.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(all)
}

/// The words that letters stand for in this directory.
///
/// # Errors
///
/// What the disk says.
pub fn keywords(place: &Path) -> io::Result<Vec<String>> {
    let text = small(&place.join(KEYWORDS))?.unwrap_or_default();
    let mut all = vec![String::new(); LETTERS.count()];
    for line in text.lines() {
        let Some((number, word)) = line.split_once(' ') else {
            continue;
        };
        let place = number
            .parse()
            .ok()
            .and_then(|number: usize| all.get_mut(number));
        if let Some(place) = place {
            word.clone_into(place);
        }
    }
    Ok(all)
}

/// The part of a file's name that stays while marks change.
pub fn base(name: &[u8]) -> &[u8] {
    split(name).0
}

/// How a message is marked.
pub fn flags(name: &[u8], keywords: &[String]) -> Flags {
    let mut flags = Flags::default();
    for letter in split(name).1 {
        if let Some((_, flag)) = MARKS.iter().find(|(mark, _)| *mark == char::from(*letter)) {
            flags.add(flag);
        } else if LETTERS.contains(letter)
            && let Some(word) = keywords.get(usize::from(*letter - LETTERS.start()))
        {
            flags.add(word);
        }
    }
    flags
}

/// Name and marks. Windows and some copies have another letter for the colon.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    let at = name
        .windows(3)
        .rposition(|three| matches!(three, [b':' | b';' | b'!', b'2', b',']));
    match at {
        Some(at) => (&name[..at], &name[at + 3..]),
        None => (name, &[]),
    }
}

/// Why the bytes of a file are no message as they are.
pub fn packed(beginning: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 4] = [
        (&[0x1f, 0x8b], "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"BZh", "bzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    ];
    KINDS
        .iter()
        .find(|(magic, _)| beginning.starts_with(magic))
        .map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_tell_marks() {
        let words = ["$Junk".to_owned(), String::new(), "blue".to_owned()];
        for (name, base_name, marks) in [
            (
                "1.a.host,S=12:2,FRSTac",
                "1.a.host,S=12",
                "$Junk \\Answered \\Deleted \\Flagged \\Seen blue",
            ),
            ("1.a.host:2,", "1.a.host", ""),
            ("1.a.host", "1.a.host", ""),
            ("1.a.host;2,DPbz", "1.a.host", "$Forwarded \\Draft"),
            ("1:2,x!2,S", "1:2,x", "\\Seen"),
        ] {
            let all: Vec<String> = flags(name.as_bytes(), &words)
                .iter()
                .map(str::to_owned)
                .collect();
            assert_eq!(
                (base(name.as_bytes()), all.join(" ").as_str()),
                (base_name.as_bytes(), marks),
                "{name}"
            );
        }
    }

    #[test]
    fn folders_are_found_by_their_names() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            for part in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(root.path().join(name).join(part)).unwrap();
            }
        };
        for name in [
            "",
            ".Work",
            ".Work.Invoices",
            ".Entw&APw-rfe",
            "..",
            ".odd..name",
            ".v1_0",
            "other",
        ] {
            make(name);
        }
        std::fs::create_dir(root.path().join(".nomail")).unwrap();
        std::fs::write(
            root.path().join(NAMES),
            r#"{"folders":{".v1_0":{"path":["v1.0"],"role":"archive"}}}"#,
        )
        .unwrap();
        assert!(is_one(root.path()));
        let found: Vec<String> = folders(root.path())
            .unwrap()
            .iter()
            .map(|found| format!("{} {:?}", found.path.join("/"), found.role))
            .collect();
        assert_eq!(
            found,
            [
                "Entwürfe None",
                "Work None",
                "Work/Invoices None",
                "odd/name None",
                "v1.0 Some(\"archive\")"
            ]
        );
        std::fs::write(root.path().join(NAMES), "{").unwrap();
        assert!(
            folders(root.path()).is_err(),
            "names are not guessed where they were given"
        );
    }

    proptest! {
        #[test]
        fn no_name_panics(name in prop::collection::vec(any::<u8>(), 0..40), words in prop::collection::vec("\\PC{0,5}", 0..30)) {
            let _ = (base(&name), flags(&name, &words), packed(&name));
        }
    }
}
