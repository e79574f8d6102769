//! Names of folders and files in a maildir (Maildir++), so that Dovecot and Courier read them.

use crate::import::maildir::{LETTERS, MARKS, Name, Names};
use crate::mail::message::Flags;
use crate::mail::names;
use std::collections::HashSet;

/// Names of one account's folders as directories.
#[derive(Debug, Default)]
pub struct Folders {
    taken: HashSet<String>,
    /// How they are really called.
    pub names: Names,
}

impl Folders {
    /// The directory of a folder: nothing for the inbox. A dot stands between folders there, so it
    /// cannot be in a name; what it was is in [`Self::names`].
    pub fn directory(&mut self, path: &[String], role: Option<&str>) -> String {
        if path.len() == 1 && path[0].eq_ignore_ascii_case("INBOX") {
            return String::new();
        }
        let parts = path.iter().map(|part| {
            let part: String = part
                .chars()
                .map(|c| {
                    if matches!(c, '.' | '/' | '\0') {
                        '_'
                    } else {
                        c
                    }
                })
                .collect();
            names::encode(if part.is_empty() { "_" } else { &part })
        });
        let wanted = format!(".{}", parts.collect::<Vec<_>>().join("."));
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        let called = Name {
            path: path.to_vec(),
            role: role.map(str::to_owned),
        };
        self.names.folders.insert(name.clone(), called);
        name
    }
}

/// The words of one folder and their letters.
#[derive(Debug, Default)]
pub struct Words {
    words: Vec<String>,
    /// Those for which there was no letter left, as often as that happened.
    pub lost: u64,
}

impl Words {
    /// The letters for these marks, in the order that the format wants.
    pub fn letters(&mut self, flags: &Flags) -> String {
        let mut letters: Vec<char> = MARKS
            .iter()
            .filter(|(_, flag)| flags.has(flag))
            .map(|(letter, _)| *letter)
            .collect();
        // Dovecot knows no `P`, only letters of its own.
        for word in flags.keywords() {
            let known = self.words.iter().position(|own| own == word);
            let at = known.unwrap_or_else(|| {
                self.words.push(word.to_owned());
                self.words.len() - 1
            });
            match LETTERS.clone().nth(at) {
                Some(letter) => letters.push(char::from(letter)),
                None => self.lost += 1,
            }
        }
        letters.sort_unstable();
        letters.into_iter().collect()
    }

    /// The file that says which letter stands for what, if one is needed.
    pub fn file(&self) -> Option<String> {
        let lines = self.words.iter().take(LETTERS.count()).enumerate();
        let text: String = lines
            .map(|(number, word)| format!("{number} {word}\n"))
            .collect();
        (!text.is_empty()).then_some(text)
    }
}

/// Name of a message's file: the `number`-th of its folder, `size` bytes in the file, `whole` with the line
/// ends of mail (Dovecot's `S=` and `W=`).
pub fn file_name(
    seconds: i64,
    number: u64,
    size: u64,
    whole: Option<u64>,
    letters: &str,
) -> String {
    let whole = whole.map_or_else(String::new, |whole| format!(",W={whole}"));
    format!(
        "{}.{number}.roost,S={size}{whole}:2,{letters}",
        seconds.max(0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::maildir;
    use proptest::prelude::*;

    proptest! {
        /// Every folder gets a directory of its own, which reads as the folder again.
        #[test]
        fn folders_come_back(paths in prop::collection::hash_set(prop::collection::vec("[a-c./_ ü&]{0,3}", 1..3), 1..8)) {
            let mut folders = Folders::default();
            let directories: HashSet<String> = paths.iter().map(|path| folders.directory(path, Some("sent"))).collect();
            prop_assert_eq!(directories.len(), paths.len());
            let back: HashSet<Vec<String>> = directories.iter().map(|name| folders.names.folders[name].path.clone()).collect();
            prop_assert_eq!(back, paths);
            prop_assert!(directories.iter().all(|name| name.starts_with('.') && !name.contains('/') && name.is_ascii()));
        }

        #[test]
        fn marks_come_back(all in prop::collection::vec(prop::collection::hash_set(0usize..30, 0..8), 1..6)) {
            let pool: Vec<String> = (0..24).map(|n| format!("word{n}"))
                .chain(["\\Seen", "\\Draft", "\\Flagged", "\\Answered", "\\Deleted", "$Forwarded"].map(str::to_owned)).collect();
            let mut words = Words::default();
            let flags: Vec<Flags> = all.iter().map(|set| set.iter().map(|n| pool[*n].as_str()).collect()).collect();
            let names: Vec<String> = flags.iter().map(|flags| file_name(-5, 1, 2, Some(3), &words.letters(flags))).collect();
            prop_assert_eq!(words.lost, 0);
            let dir = tempfile::tempdir().unwrap();
            if let Some(text) = words.file() {
                std::fs::write(dir.path().join(maildir::KEYWORDS), text).unwrap();
            }
            let known = maildir::keywords(dir.path()).unwrap();
            for (flags, name) in flags.iter().zip(&names) {
                prop_assert_eq!(&maildir::flags(name.as_bytes(), &known), flags);
            }
        }
    }
}
