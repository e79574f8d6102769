//! From a whole slot to a committed one.

use super::SelectorError;
use crate::disk::{Block, Disk};
use crate::gate::Passed;
use crate::reconcile;
use crate::selector;
use crate::state::{Folder, Installed, Ledger, SaveError, Stage, State, TrialRecord};
use roost_board::Slot;
use roost_service::update::{Check, Outcome, Version};

/// A whole slot that may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    pub(super) slot: Slot,
    pub(super) to: Installed,
}

/// Why there is nothing to try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NothingStaged {
    /// No slot was written, or the writing did not end.
    #[error("no update is ready to be tried")]
    NotWritten,
    /// The other slot is not whole.
    #[error("there is no other version to go back to: the other slot is empty or half written")]
    NoOther,
    /// Going back would go forward.
    #[error(
        "the other slot holds version {}, which was never tried, and no longer the one before",
        .0.name
    )]
    Untried(Version),
    /// Mail would be missing.
    #[error(
        "version {} has an older mail store: mail that came since the update would be missing there",
        .0.name
    )]
    OlderMail(Version),
    /// A trial is under way.
    #[error("version {} is on trial already", .0.name)]
    OnTrial(Version),
}

impl Staged {
    /// What [`super::Planned::write`] has left, in this boot or before it.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn written(state: &State) -> Result<Self, NothingStaged> {
        match &state.stage {
            Stage::Staged => Self::other(state).ok_or(NothingStaged::NotWritten),
            Stage::Trial(trial) => Err(NothingStaged::OnTrial(trial.to.version.clone())),
            Stage::Idle | Stage::Writing { .. } => Err(NothingStaged::NotWritten),
        }
    }

    /// The version that ran before, in the other slot. `allow_older_mail`: also
    /// if its mail store is one from before the update.
    ///
    /// # Errors
    /// When there is none.
    pub fn before(state: &State, allow_older_mail: bool) -> Result<Self, NothingStaged> {
        let running = state.slot(state.committed);
        match (&state.stage, Self::other(state)) {
            (Stage::Idle, Some(staged))
                if !allow_older_mail
                    && running.is_some_and(|now| now.mail_store > staged.to.mail_store) =>
            {
                Err(NothingStaged::OlderMail(staged.to.version))
            }
            (Stage::Idle, Some(staged)) => Ok(staged),
            (Stage::Staged, Some(staged)) => Err(NothingStaged::Untried(staged.to.version)),
            (Stage::Trial(trial), _) => Err(NothingStaged::OnTrial(trial.to.version.clone())),
            _ => Err(NothingStaged::NoOther),
        }
    }

    fn other(state: &State) -> Option<Self> {
        let slot = state.committed.other();
        let to = state.slot(slot)?.clone();
        Some(Self { slot, to })
    }

    /// What would be tried.
    pub fn version(&self) -> &Version {
        &self.to.version
    }

    /// Records that this slot is going on trial. `now`: seconds since 1970.
    ///
    /// # Errors
    /// When it cannot be recorded; then there must be no trial.
    pub fn request<F: Folder>(self, ledger: &Ledger<F>, now: u64) -> Result<Requested, SaveError> {
        let state = ledger.state();
        let from = state
            .slot(state.committed)
            .map_or_else(reconcile::unknown_version, |slot| slot.version.clone());
        ledger.change(|state| {
            state.stage = Stage::Trial(TrialRecord {
                to: self.to,
                slot: self.slot,
                from,
                started: now,
                seen: false,
                failed: None,
                checks: Vec::new(),
                log: Vec::new(),
            });
        })?;
        Ok(Requested {
            before: state.stage,
        })
    }
}

/// A trial that is on record. Now init may be asked for it.
#[derive(Debug)]
pub struct Requested {
    before: Stage,
}

impl Requested {
    /// Init has refused: there is no trial.
    ///
    /// # Errors
    /// When that cannot be recorded; the next start then takes the trial for
    /// one that ended badly.
    pub fn withdraw<F: Folder>(self, ledger: &Ledger<F>) -> Result<(), SaveError> {
        ledger.change(|state| state.stage = self.before)
    }
}

/// This boot is the trial of the slot that runs.
#[derive(Debug)]
pub struct Trial {
    pub(crate) slot: Slot,
}

impl Trial {
    /// Makes the running slot the committed one: the selector first, then the
    /// state. A power cut between the two is repaired by [`crate::reconcile()`].
    ///
    /// # Errors
    /// When the selector cannot be written. What it says then decides; the
    /// trial's deadline goes on.
    pub fn commit<B: Block, F: Folder>(
        self,
        _: Passed,
        disk: &mut Disk<B>,
        ledger: &Ledger<F>,
        now: u64,
    ) -> Result<Committed, SelectorError> {
        selector::commit(&mut disk.selector, self.slot)?;
        let state = ledger.change(|state| reconcile::record_commit(state, self.slot, now));
        Ok(Committed { state: state.err() })
    }

    /// Records why this trial ends with a restart into the committed slot.
    ///
    /// # Errors
    /// When it cannot be recorded; the box must be restarted all the same.
    pub fn give_up<F: Folder>(self, ledger: &Ledger<F>, last: LastLook) -> Result<(), SaveError> {
        last.record(ledger)
    }
}

/// How a trial stood when it was looked at.
#[derive(Debug, Clone, Default)]
pub struct LastLook {
    /// Why it ends, if it does.
    pub failed: Option<String>,
    /// Its checks.
    pub checks: Vec<Check>,
    /// Its last log lines.
    pub log: Vec<String>,
}

impl LastLook {
    /// Keeps it, so that the committed slot can tell it should the trial end without a word.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record<F: Folder>(self, ledger: &Ledger<F>) -> Result<(), SaveError> {
        ledger.change(|state| {
            if let Stage::Trial(trial) = &mut state.stage {
                trial.failed = self.failed.or(trial.failed.take());
                trial.checks = self.checks;
                trial.log = self.log;
            }
        })
    }
}

/// The running slot is the committed one. Only with this may init be told
/// that the trial has ended.
#[derive(Debug)]
#[must_use = "init restarts the box unless it is told"]
pub struct Committed {
    /// The state could not be kept; the selector counts, and the next start
    /// repairs the state.
    pub state: Option<SaveError>,
}

/// What happened, for the owner, in one line.
pub fn told(outcome: &Outcome) -> String {
    match &outcome.rolled_back {
        None => format!(
            "updated from {} to {} in {} s",
            outcome.from.name, outcome.to.name, outcome.took_s
        ),
        Some(reason) => format!(
            "version {} was tried and given up, version {} runs again: {}",
            outcome.to.name, outcome.from.name, reason.summary
        ),
    }
}
