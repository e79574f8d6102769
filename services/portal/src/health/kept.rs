//! What is kept of the box's health: the last look, and what the owner was told of each check. One file, there
//! as a whole or not at all.

use crate::time::Now;
use roost_service::files;
use roost_service::health::{Checked, Health, Level};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Its name in the portal's folder.
pub const FILE: &str = "health.json";
/// Number of the form of the file.
const FORMAT: u32 = 1;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    format: u32,
    /// The last look.
    pub last: Option<Looked>,
    /// How bad each check was when the owner was told, or looked well, for the last time; what is not here was
    /// well.
    pub told: BTreeMap<String, Level>,
    /// What the owner is to be told; the mail service has not taken it yet.
    pub due: Option<Due>,
}

/// A look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Looked {
    /// When.
    pub at: Now,
    /// What came of it.
    pub health: Health,
}

/// A message to the owner that was not taken yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Due {
    /// When it was decided upon, in powered-on seconds: its name, which stays the same at each try.
    pub number: u64,
    /// What has changed.
    pub changes: Vec<Change>,
    /// All of it in one sentence, as it was then.
    pub summary: String,
}

/// A check that has become worse or better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// How it was when the owner was told of it last.
    pub before: Level,
    /// How it is.
    pub now: Checked,
}

impl Change {
    /// Whether it has become worse.
    pub fn is_worse(&self) -> bool {
        weight(self.now.level) > weight(self.before)
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            format: FORMAT,
            last: None,
            told: BTreeMap::new(),
            due: None,
        }
    }
}

impl Kept {
    /// What is in this folder; nothing if there is nothing, or nothing that can be used.
    pub fn load(data: &Path) -> Self {
        let path = data.join(FILE);
        let why = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => error.to_string(),
            Ok(bytes) => match serde_json::from_slice::<Self>(&bytes) {
                Ok(kept) if kept.format == FORMAT => return kept,
                Ok(kept) => format!("it has the form {}, not {FORMAT}", kept.format),
                Err(error) => error.to_string(),
            },
        };
        eprintln!(
            "portal: {} cannot be used ({why}): it is begun anew, and what is not well is told again",
            path.display()
        );
        Self::default()
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When it cannot be; what was there before is there still.
    pub fn save(&self, data: &Path) -> io::Result<()> {
        files::write(&data.join(FILE), &serde_json::to_vec(self)?)
    }

    /// What the owner has not been told of.
    pub fn changes(&self, health: &Health) -> Vec<Change> {
        let all = health.checks.iter();
        all.filter_map(|now| {
            // It says nothing, neither good nor bad.
            if now.level == Level::Unknown {
                return None;
            }
            let before = self.told.get(&now.id).copied().unwrap_or(Level::Ok);
            (weight(before) != weight(now.level)).then(|| Change {
                before,
                now: now.clone(),
            })
        })
        .collect()
    }

    /// The owner knows.
    pub fn take(&mut self, due: &Due) {
        for change in &due.changes {
            self.told.insert(change.now.id.clone(), change.now.level);
        }
    }
}

/// What a level weighs to somebody who reads mail: notes are for who looks.
fn weight(level: Level) -> u8 {
    match level {
        Level::Ok | Level::Note | Level::Unknown => 0,
        Level::Warning => 1,
        Level::Failed => 2,
    }
}

/// What both looks say: changes of the second one that the first one had too, in the same direction. So what
/// flickers is not told.
pub fn sure(first: &[Change], second: Vec<Change>) -> Vec<Change> {
    let was_seen = |change: &Change| {
        first
            .iter()
            .any(|before| before.now.id == change.now.id && before.is_worse() == change.is_worse())
    };
    second.into_iter().filter(was_seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::PoweredOn;

    fn checked(id: &str, level: Level) -> Checked {
        Checked {
            id: id.into(),
            group: "Box".into(),
            what: "It works".into(),
            level,
            found: "Found.".into(),
            to_do: String::new(),
            docs: String::new(),
        }
    }

    fn health(levels: &[(&str, Level)]) -> Health {
        Health {
            name: "attic".into(),
            at: None,
            checks: levels
                .iter()
                .map(|(id, level)| checked(id, *level))
                .collect(),
        }
    }

    fn ids(changes: &[Change]) -> Vec<(&str, bool)> {
        let all = changes.iter();
        all.map(|change| (change.now.id.as_str(), change.is_worse()))
            .collect()
    }

    #[test]
    fn only_what_changed_is_told_and_only_once() {
        let mut kept = Kept::default();
        let first = health(&[
            ("a", Level::Failed),
            ("b", Level::Warning),
            ("c", Level::Note),
            ("d", Level::Unknown),
            ("e", Level::Ok),
        ]);
        let changes = kept.changes(&first);
        assert_eq!(ids(&changes), [("a", true), ("b", true)]);
        let due = Due {
            number: 1,
            changes,
            summary: String::new(),
        };
        kept.take(&due);
        assert!(kept.changes(&first).is_empty());
        let later = health(&[
            ("a", Level::Warning),
            ("b", Level::Unknown),
            ("c", Level::Ok),
            ("d", Level::Failed),
            ("e", Level::Note),
        ]);
        assert_eq!(ids(&kept.changes(&later)), [("a", false), ("d", true)]);
        let well = health(&[("a", Level::Note), ("b", Level::Ok)]);
        assert_eq!(ids(&kept.changes(&well)), [("a", false), ("b", false)]);
    }

    #[test]
    fn what_flickers_is_not_told() {
        let kept = Kept::default();
        let first = kept.changes(&health(&[("a", Level::Failed), ("b", Level::Warning)]));
        let second = kept.changes(&health(&[("b", Level::Failed), ("c", Level::Failed)]));
        let sure = sure(&first, second);
        assert_eq!(ids(&sure), [("b", true)]);
        assert_eq!(sure[0].now.level, Level::Failed, "as it is now");
    }

    #[test]
    fn it_outlives_a_restart_and_a_damaged_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Kept::load(folder.path()), Kept::default());
        let mut kept = Kept::default();
        kept.told.insert("a".into(), Level::Failed);
        kept.last = Some(Looked {
            at: Now {
                powered_on: PoweredOn(7),
                wall: None,
            },
            health: health(&[("a", Level::Failed)]),
        });
        kept.save(folder.path()).unwrap();
        assert_eq!(Kept::load(folder.path()), kept);
        let whole = std::fs::read(folder.path().join(FILE)).unwrap();
        for bad in [&whole[..whole.len() / 2], b"", b"{}", b"{\"format\":9}"] {
            std::fs::write(folder.path().join(FILE), bad).unwrap();
            assert_eq!(Kept::load(folder.path()), Kept::default());
        }
    }
}
