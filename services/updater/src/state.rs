//! What the updater remembers: one small file that is replaced as a whole.

use roost_board::Slot;
use roost_bundle::Hash;
use roost_service::update::{Check, Outcome, Version};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The one format that this program reads and writes. A file of another format
/// counts as lost: guessing what a newer program meant would be worse.
const FORMAT: u32 = 1;
/// The file's name.
pub const FILE: &str = "state.json";
/// The file that it is written to before it takes that name.
pub const NEW: &str = "state.json.new";
/// Versions remembered as bad. Ones from longer ago are never offered again.
const MAX_FAILED: usize = 32;
/// Ended updates remembered beside the last one.
const MAX_EARLIER: usize = 19;
/// Longest file that is read, in bytes. Its longest part, a log, is bounded
/// to 100 lines where it is taken.
const MAX_FILE: u64 = 1 << 20;

/// A slot by name, for the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Name {
    A,
    B,
}

mod slot {
    //! [`Slot`] in JSON.
    use super::{Name, Slot};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(slot: &Slot, to: S) -> Result<S::Ok, S::Error> {
        match slot {
            Slot::A => Name::A,
            Slot::B => Name::B,
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Slot, D::Error> {
        Ok(match Name::deserialize(from)? {
            Name::A => Slot::A,
            Name::B => Slot::B,
        })
    }
}

/// A version that is whole in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Which.
    pub version: Version,
    /// dm-verity's root hash in it, where it is known.
    pub root_hash: Option<Hash>,
    /// Schema of its mail store.
    pub mail_store: u32,
}

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// There is none.
    Idle,
    /// The slot that is not committed is being written and is not whole.
    Writing {
        /// What it will be.
        version: Version,
    },
    /// The slot that is not committed is whole and was not tried yet.
    Staged,
    /// The slot that is not committed is on trial, or was.
    Trial(TrialRecord),
}

/// A trial, from the request until its end is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRecord {
    /// What is tried.
    pub to: Installed,
    /// Where that is.
    #[serde(with = "slot")]
    pub slot: Slot,
    /// The version of the committed slot.
    pub from: Version,
    /// When it was asked for: seconds since 1970 by the box's clock.
    pub started: u64,
    /// This program has started in the trial.
    pub seen: bool,
    /// Why the trial restarts the box, if it decided so itself.
    pub failed: Option<String>,
    /// How its checks stood at the last look.
    pub checks: Vec<Check>,
    /// Its last log lines at the last look.
    pub log: Vec<String>,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    format: u32,
    /// The copy of the selector's choice.
    #[serde(with = "slot")]
    pub committed: Slot,
    /// What is whole in slot A.
    a: Option<Installed>,
    /// What is whole in slot B.
    b: Option<Installed>,
    /// How far an update is.
    pub stage: Stage,
    /// How the last one ended.
    pub last: Option<Outcome>,
    /// How the ones before ended, newest first, without checks and logs.
    #[serde(default)]
    pub earlier: Vec<Outcome>,
    /// The owner does not know yet that it ended badly.
    pub untold: bool,
    /// Numbers of versions whose trial went wrong, oldest first.
    failed: Vec<u64>,
}

impl State {
    /// A box that knows nothing but what it runs.
    pub fn new(committed: Slot) -> Self {
        Self {
            format: FORMAT,
            committed,
            a: None,
            b: None,
            stage: Stage::Idle,
            last: None,
            earlier: Vec::new(),
            untold: false,
            failed: Vec::new(),
        }
    }

    /// What is whole in a slot.
    pub fn slot(&self, slot: Slot) -> Option<&Installed> {
        match slot {
            Slot::A => self.a.as_ref(),
            Slot::B => self.b.as_ref(),
        }
    }

    /// Remembers or forgets what is whole in a slot.
    pub fn set_slot(&mut self, slot: Slot, installed: Option<Installed>) {
        match slot {
            Slot::A => self.a = installed,
            Slot::B => self.b = installed,
        }
    }

    /// Whether this version was tried and went wrong.
    pub fn has_failed(&self, number: u64) -> bool {
        self.failed.contains(&number)
    }

    /// Remembers a version as bad.
    pub fn add_failed(&mut self, number: u64) {
        self.forgive(number);
        self.failed.push(number);
        if self.failed.len() > MAX_FAILED {
            self.failed.remove(0);
        }
    }

    /// Forgets that a version was bad: it works after all.
    pub fn forgive(&mut self, number: u64) {
        self.failed.retain(|other| *other != number);
    }

    /// Remembers how an update ended; of the one before, not the checks and the log.
    pub fn add_outcome(&mut self, outcome: Outcome) {
        if let Some(mut before) = self.last.replace(outcome) {
            if let Some(reason) = &mut before.rolled_back {
                reason.checks.clear();
                reason.log.clear();
            }
            self.earlier.insert(0, before);
            self.earlier.truncate(MAX_EARLIER);
        }
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// What is wrong with them. Nothing is guessed from a part of them.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let state: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if state.format != FORMAT {
            return Err(format!(
                "it has format {}; this program reads {FORMAT}",
                state.format
            ));
        }
        Ok(state)
    }

    /// The file's bytes.
    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("no map with other keys than strings is in it")
    }
}

/// The folder that the file is in, as far as a power cut can tell its steps apart.
pub trait Folder {
    /// The file's bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// The file system's.
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Makes or replaces a file, and returns when its bytes are on the medium.
    ///
    /// # Errors
    /// The file system's.
    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Returns when the names are on the medium.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&mut self) -> io::Result<()>;
}

/// A real folder.
#[derive(Debug, Clone)]
pub struct DataFolder(pub PathBuf);

impl Folder for DataFolder {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.0.join(name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MAX_FILE => Err(io::Error::other(format!(
                "it has {} bytes, more than {MAX_FILE}",
                metadata.len()
            ))),
            Ok(_) => fs::read(path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.0.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// The state could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the updater's {FILE}")]
pub struct SaveError(#[from] io::Error);

/// The state in memory and on the medium; both are always the same. It can be
/// read while an update is being written.
#[derive(Debug)]
pub struct Ledger<F>(Mutex<Kept<F>>);

#[derive(Debug)]
struct Kept<F> {
    folder: F,
    state: State,
}

/// What was found in the folder.
#[derive(Debug)]
pub struct Found<F> {
    folder: F,
    /// The state; `None` if there was none or it is of no use.
    pub state: Option<State>,
    /// What is wrong with the file, if something is.
    pub fault: Option<String>,
}

impl<F: Folder> Found<F> {
    /// Looks into the folder. A file that cannot be read counts as lost.
    pub fn look(mut folder: F) -> Self {
        let (state, fault) = match folder.read(FILE) {
            Ok(None) => (None, None),
            Ok(Some(bytes)) => match State::parse(&bytes) {
                Ok(state) => (Some(state), None),
                Err(fault) => (None, Some(fault)),
            },
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            folder,
            state,
            fault,
        }
    }

    /// Goes on from `state`, which is written unless it is what was found.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn go_on(self, state: State) -> Result<Ledger<F>, SaveError> {
        let unchanged = self.state.as_ref() == Some(&state);
        let mut kept = Kept {
            folder: self.folder,
            state,
        };
        if !unchanged {
            let state = kept.state.clone();
            kept.save(&state)?;
        }
        Ok(Ledger(Mutex::new(kept)))
    }
}

impl<F: Folder> Ledger<F> {
    /// What it says.
    pub fn state(&self) -> State {
        self.kept().state.clone()
    }

    /// Changes the state: on the medium first, then in memory.
    ///
    /// # Errors
    /// When it cannot be written; nothing has changed in memory then.
    pub fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), SaveError> {
        let mut kept = self.kept();
        let mut next = kept.state.clone();
        change(&mut next);
        if next != kept.state {
            kept.save(&next)?;
            kept.state = next;
        }
        Ok(())
    }

    /// A thread that panicked while it held the lock has left the state as it
    /// was: it is replaced as a whole.
    fn kept(&self) -> MutexGuard<'_, Kept<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Folder> Kept<F> {
    /// The bytes are on the medium before the name points to them, so that a
    /// power cut leaves the old file or the new one.
    fn save(&mut self, state: &State) -> Result<(), SaveError> {
        self.folder.write_synced(NEW, &state.render())?;
        self.folder.rename(NEW, FILE)?;
        self.folder.sync()?;
        Ok(())
    }
}
