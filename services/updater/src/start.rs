//! What happens when the service starts: look, decide, repair, remember.

use crate::control::words;
use crate::disk::{Disk, OpenError};
use crate::engine::{SelectorError, told};
use crate::facts::Facts;
use crate::logs;
use crate::reconcile::{Seen, Then, reconcile};
use crate::selector;
use crate::state::{DataFolder, Found, Ledger, SaveError};
use crate::updater::now;
use roost_service::control::BoxStatus;
use std::path::Path;

/// Lines of init's log that are looked through for those of a trial that could not speak for itself.
pub const LOOKED_THROUGH: usize = 2000;
/// Lines kept of them.
const LINES: usize = 60;

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A device is missing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The state cannot be kept.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// Finds out where updates stand, repairs the selector and writes the state. `init_log` gives
/// [`LOOKED_THROUGH`] lines of init's log, those of earlier boots included; none if it cannot.
///
/// # Errors
/// When the devices or the state file cannot be used at all. A selector that
/// cannot be repaired is said and lived with: the box runs.
pub fn start(
    facts: &Facts,
    status: &BoxStatus,
    devices: &Path,
    data: &Path,
    init_log: impl FnOnce() -> Vec<String>,
) -> Result<(Ledger<DataFolder>, Then), StartError> {
    let mut disk = Disk::open(devices)?;
    let found = Found::look(DataFolder(data.to_owned()));
    if let Some(fault) = &found.fault {
        println!("updater: the state file is of no use and is made anew: {fault}");
    }
    let selected = selector::selected(&mut disk.selector);
    if let Err(error) = &selected {
        println!("updater: {}", words(error));
    }
    let seen = Seen {
        facts,
        on_trial: status.trial_left_s.is_some(),
        selector: selected.ok(),
        state: found.state.as_ref(),
        now: now(),
    };
    let mut decision = reconcile(&seen);
    for line in &decision.say {
        println!("updater: {line}");
    }
    if let Some(slot) = decision.heal {
        heal(&mut disk, slot);
    }
    let before = found.state.as_ref().and_then(|state| state.last.clone());
    if decision.state.last != before
        && let Some(last) = &mut decision.state.last
    {
        if let Some(reason) = &mut last.rolled_back
            && reason.log.is_empty()
        {
            let booted = now().saturating_sub(status.uptime_s as u64);
            let started = last.at.saturating_sub(last.took_s);
            reason.log = logs::of_span(&init_log(), started, booted, LINES);
        }
        println!("updater: {}", told(last));
    }
    let ledger = found.go_on(decision.state)?;
    Ok((ledger, decision.then))
}

fn heal(disk: &mut Disk<std::fs::File>, slot: roost_board::Slot) {
    let healed: Result<(), SelectorError> = selector::commit(&mut disk.selector, slot);
    if let Err(error) = healed {
        println!(
            "updater: the selector cannot be repaired: {}",
            words(&error)
        );
    }
}
