//! What a start makes of what it finds: pure, so that every combination can be tested.
//!
//! Three things tell where an update stands: which slot runs and whether init
//! calls it a trial; what the selector says; what the state file says. Power
//! may have been cut between any two of their changes. The selector is the
//! truth about what boots next; it is written only where it is damaged.
//!
//! | init | selector | state | so |
//! |---|---|---|---|
//! | trial | the other slot | anything | run the health gate |
//! | trial | this slot | anything | it was committed: record that, tell init |
//! | no trial | this slot | trial of the other slot | it ended badly: record that |
//! | no trial | this slot | trial of this slot | it was committed: record that |
//! | no trial | this slot | writing | nobody writes any more: the other slot is not whole |
//! | no trial | the other slot | trial of this slot | firmware that does not report trials: run the gate |
//! | no trial | the other slot | anything else | leave it; the other slot is not written until a restart |
//! | any | damaged | known | write the state's copy, then as above |
//! | trial | damaged | lost | the other slot was committed, or this were no trial |
//! | no trial | damaged | lost | this slot boots, so it is the one to keep |

use crate::engine::Trial;
use crate::facts::Facts;
use crate::state::{Stage, State, TrialRecord};
use roost_board::Slot;
use roost_service::update::{Outcome, Reason, Version};

/// What was found.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// This boot.
    pub facts: &'a Facts,
    /// Init restarts the box unless it is told that the trial is over.
    pub on_trial: bool,
    /// What the selector says; `None` if it is damaged.
    pub selector: Option<Slot>,
    /// The state file's content; `None` if there is none or it is of no use.
    pub state: Option<&'a State>,
    /// Seconds since 1970.
    pub now: u64,
}

/// What to do, in this order: `heal`, keep `state`, `then`.
#[derive(Debug)]
pub struct Decision {
    /// Write this choice into the selector.
    pub heal: Option<Slot>,
    /// The state from now on.
    pub state: State,
    /// What follows.
    pub then: Then,
    /// What the log should say.
    pub say: Vec<String>,
}

/// What follows a start.
#[derive(Debug)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// The running slot must show that it works.
    Gate {
        /// What is tried.
        trial: Trial,
        /// Why it need not even try.
        wrong: Option<String>,
    },
    /// Tell init that the trial is over: the running slot is committed.
    EndTrial,
}

/// Decides. See the table above.
pub fn reconcile(seen: &Seen<'_>) -> Decision {
    let running = seen.facts.slot;
    let mut say = Vec::new();
    let believed = match (seen.state, seen.on_trial) {
        (Some(state), _) => state.committed,
        (None, true) => running.other(),
        (None, false) => running,
    };
    let heal = seen.selector.is_none().then_some(believed);
    if heal.is_some() {
        say.push(format!(
            "the selector is damaged: it is made to say slot {believed} again"
        ));
    }
    let selected = seen.selector.unwrap_or(believed);
    let mut state = seen.state.cloned().unwrap_or_else(|| State::new(selected));
    let then = if selected == running {
        settle(&mut state, seen, &mut say);
        if seen.on_trial {
            Then::EndTrial
        } else {
            Then::Nothing
        }
    } else if seen.on_trial || matches!(&state.stage, Stage::Trial(t) if t.slot == running) {
        state.committed = selected;
        begin_gate(&mut state, seen)
    } else {
        say.push(format!(
            "slot {running} runs, but the selector names slot {selected}, which the next restart leads to"
        ));
        state.committed = selected;
        state.set_slot(running, Some(seen.facts.running.clone()));
        if !matches!(state.stage, Stage::Trial(_)) {
            state.stage = Stage::Idle;
        }
        Then::Nothing
    };
    Decision {
        heal,
        state,
        then,
        say,
    }
}

/// The running slot is the committed one.
fn settle(state: &mut State, seen: &Seen<'_>, say: &mut Vec<String>) {
    let running = seen.facts.slot;
    match &state.stage {
        Stage::Trial(trial) if trial.slot == running => record_commit(state, running, seen.now),
        Stage::Trial(_) => record_rollback(state, seen.now),
        Stage::Staged if state.committed == running && state.slot(running.other()).is_some() => {}
        Stage::Writing { version } => {
            say.push(format!(
                "version {} was not written to its end",
                version.name
            ));
            state.set_slot(running.other(), None);
            state.stage = Stage::Idle;
        }
        Stage::Staged | Stage::Idle => state.stage = Stage::Idle,
    }
    state.committed = running;
    state.set_slot(running, Some(seen.facts.running.clone()));
}

fn begin_gate(state: &mut State, seen: &Seen<'_>) -> Then {
    let running = &seen.facts.running;
    let slot = seen.facts.slot;
    let mut wrong = None;
    match &mut state.stage {
        Stage::Trial(trial) if trial.slot == slot => {
            trial.seen = true;
            let other_hash = matches!(
                (trial.to.root_hash, running.root_hash),
                (Some(written), Some(runs)) if written != runs
            );
            if trial.to.version.number != running.version.number {
                wrong = Some(format!(
                    "version {} runs, not the version {} that was to be tried",
                    running.version.name, trial.to.version.name
                ));
            } else if other_hash {
                wrong = Some(format!(
                    "another build of version {} runs than the one that was to be tried",
                    running.version.name
                ));
            }
            wrong = trial.failed.clone().or(wrong);
        }
        _ => {
            let from = state.slot(slot.other()).map(|there| there.version.clone());
            state.stage = Stage::Trial(TrialRecord {
                to: running.clone(),
                slot,
                from: from.unwrap_or_else(unknown_version),
                started: seen.now,
                seen: true,
                failed: None,
                checks: Vec::new(),
                log: Vec::new(),
            });
        }
    }
    state.set_slot(slot, Some(running.clone()));
    Then::Gate {
        trial: Trial { slot },
        wrong,
    }
}

/// A version that was forgotten together with the state file.
pub(crate) fn unknown_version() -> Version {
    Version {
        number: 0,
        name: "unknown".into(),
    }
}

/// The trial of `slot` has ended well.
pub(crate) fn record_commit(state: &mut State, slot: Slot, now: u64) {
    state.committed = slot;
    if let Stage::Trial(trial) = std::mem::replace(&mut state.stage, Stage::Idle) {
        state.forgive(trial.to.version.number);
        state.add_outcome(outcome(&trial, now, None));
        state.set_slot(slot, Some(trial.to));
    }
}

/// The trial has ended, and not with a commit.
fn record_rollback(state: &mut State, now: u64) {
    let Stage::Trial(trial) = std::mem::replace(&mut state.stage, Stage::Idle) else {
        return;
    };
    let summary = trial.failed.clone().unwrap_or_else(|| {
        let text = if trial.seen {
            "it restarted by itself before it was found healthy"
        } else {
            "it did not come up: the box restarted or lost power before the trial could begin"
        };
        text.into()
    });
    let reason = Reason {
        summary,
        checks: trial.checks.clone(),
        log: trial.log.clone(),
    };
    state.add_failed(trial.to.version.number);
    state.add_outcome(outcome(&trial, now, Some(reason)));
    state.untold = true;
}

fn outcome(trial: &TrialRecord, now: u64, rolled_back: Option<Reason>) -> Outcome {
    Outcome {
        from: trial.from.clone(),
        to: trial.to.version.clone(),
        at: now,
        took_s: now.saturating_sub(trial.started),
        rolled_back,
    }
}
