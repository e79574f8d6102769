//! A list of system calls: one a line, as people write and review it.
//!
//! ```text
//! # Why the next ones are there.
//! read
//! socket: inet inet6
//! ```
//!
//! A call whose arguments matter ([`arguments`]) is allowed only with the words
//! behind its colon, and must have some.

use super::arguments;
use std::collections::{BTreeMap, BTreeSet};
use syscalls::aarch64::Sysno;

/// System calls, each with the words for its argument; none for a call that is allowed with all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List(BTreeMap<&'static str, BTreeSet<&'static str>>);

/// What is wrong with a list, and in which line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It names nothing.
    #[error("it names no system call")]
    Empty,
    /// ARM64 has no such call.
    #[error("line {line}: ARM64 has no system call {name:?}{}", meant(.nearest))]
    Unknown {
        /// Where.
        line: usize,
        /// What was written.
        name: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// The same call again.
    #[error("line {line}: {name} is there already, in line {before}")]
    Twice {
        /// Where.
        line: usize,
        /// The call.
        name: &'static str,
        /// Where it was first.
        before: usize,
    },
    /// The call's argument must be named.
    #[error("line {line}: {name} needs a colon and what its argument may be: {words}")]
    NoWords {
        /// Where.
        line: usize,
        /// The call.
        name: &'static str,
        /// All that there are.
        words: String,
    },
    /// A word that means nothing for this call.
    #[error("line {line}: {word:?} is nothing that {name} may be limited to{}", meant(.nearest))]
    BadWord {
        /// Where.
        line: usize,
        /// The call.
        name: &'static str,
        /// What was written.
        word: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
}

fn meant(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// The one of `known` that `text` is likely to be a slip of.
fn nearest(text: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known
        .map(|name| (strsim::damerau_levenshtein(text, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let mut list = Self::default();
        let mut lines = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let (name, words) = match text.split_once(':') {
                Some((name, words)) => (name.trim(), Some(words)),
                None => (text, None),
            };
            let Ok(call) = name.parse::<Sysno>() else {
                return Err(ListError::Unknown {
                    line,
                    name: name.to_owned(),
                    nearest: nearest(name, Sysno::iter().map(|call| call.name())),
                });
            };
            let name = call.name();
            if let Some(before) = lines.insert(name, line) {
                return Err(ListError::Twice { line, name, before });
            }
            list.0.insert(name, words_of(name, words, line)?);
        }
        if list.0.is_empty() {
            return Err(ListError::Empty);
        }
        Ok(list)
    }

    /// Every call with its words.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, &BTreeSet<&'static str>)> {
        self.0.iter().map(|(name, words)| (*name, words))
    }

    /// The calls' names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Adds what `other` allows: its calls, and its words to calls that are here too. A call
    /// without words stands for the call with any argument.
    pub fn add(&mut self, other: &Self) {
        for (name, words) in other.calls() {
            match self.0.get_mut(name) {
                Some(mine) if mine.is_empty() || words.is_empty() => mine.clear(),
                Some(mine) => mine.extend(words),
                None => {
                    self.0.insert(name, words.clone());
                }
            }
        }
    }

    /// A call that is on both lists; with `words`, one that adds nothing to those of `other`.
    pub fn common(&self, other: &Self, words: bool) -> Option<&'static str> {
        let same = |(name, mine): &(&'static str, &BTreeSet<&'static str>)| {
            let theirs = other.0.get(name);
            theirs.is_some_and(|theirs| !words || mine.is_subset(theirs))
        };
        self.calls().find(same).map(|(name, _)| name)
    }
}

fn words_of(
    name: &'static str,
    words: Option<&str>,
    line: usize,
) -> Result<BTreeSet<&'static str>, ListError> {
    let known = arguments::words(name);
    let mut found = BTreeSet::new();
    for word in words.unwrap_or_default().split_whitespace() {
        let Some(word) = known.clone().find(|known| *known == word) else {
            return Err(ListError::BadWord {
                line,
                name,
                word: word.to_owned(),
                nearest: nearest(word, known),
            });
        };
        found.insert(word);
    }
    if found.is_empty() && known.clone().next().is_none() && words.is_some() {
        return Err(ListError::BadWord {
            line,
            name,
            word: String::new(),
            nearest: None,
        });
    }
    if found.is_empty() && known.clone().next().is_some() {
        return Err(ListError::NoWords {
            line,
            name,
            words: known.collect::<Vec<_>>().join(", "),
        });
    }
    Ok(found)
}
