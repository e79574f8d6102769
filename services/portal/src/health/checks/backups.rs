//! Backups: whether there is one, whether it is new, and whether it comes back.

use super::{DAY, NO_CLOCK};
use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, failed, note, ok, unknown, warning};
use crate::web::{rounded, times};
use roost_service::backup::{BackupFailure as Failure, BackupStatus as Status};
use std::time::Duration;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "backup-made",
        what: "There is a new backup",
        how: "When the newest backup was made: by the box at its target, or by a laptop. A warning if there was never one. With a \
              target, a warning if it is older than 3 days, and failed from 14 days on, also while its USB disk is not plugged in; without, a note from 7 days on, a \
              warning from 30.",
        to_do: "`roost backup FOLDER` fetches one, and `roost backup target set` has the box make them by itself, every day.",
        decide: made,
    },
    Check {
        id: "backup-last",
        what: "The last backup worked",
        how: "How the last try at the target ended. A note while the box tries again by itself, a warning from the fourth failure \
              in a row on.",
        to_do: "Look at what is named. `roost backup now` tries at once.",
        decide: last,
    },
    Check {
        id: "backup-proof",
        what: "The newest backup was read back",
        how: "Once a week the box reads the newest backup at its target back and compares every file with what it noted when it \
              made it. Failed if something differed; a warning if no proof came to an end for 14 days.",
        to_do: "Back up to another prefix or folder (`roost backup target set`). What is damaged would be used again at the \
                old one.",
        decide: proof,
    },
];

const NO_TARGET: &str =
    "the box has no target of its own; `roost backup check` proves a laptop's backups";

fn status(facts: &Facts) -> Result<&Status, Verdict> {
    facts.backups.as_ref().map_err(unknown)
}

fn old(seconds: u64) -> String {
    rounded(Duration::from_secs(seconds))
}

fn why(failure: &Failure) -> String {
    let text = format!("{}.", failure.why.trim_end_matches('.'));
    match &failure.hint {
        Some(hint) => format!("{text} Try: {}.", hint.trim_end_matches('.')),
        None => text,
    }
}

fn made(facts: &Facts) -> Verdict {
    let status = match status(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    let Some(newest) = status.newest() else {
        return warning("No backup was ever made: if the card fails, everything is lost.");
    };
    let Some(now) = facts.now else {
        return unknown(NO_CLOCK);
    };
    let age = now.0.saturating_sub(newest.at);
    let waits = match status.waits_since {
        Some(since) => format!(
            " The box waits for its USB disk: one has been due for {}.",
            old(now.0.saturating_sub(since))
        ),
        None => String::new(),
    };
    let found = format!("The newest is {} old.{waits}", old(age));
    let advised = |verdict: Verdict| match status.waits_since {
        Some(_) => verdict.to_do("Plug the disk in: the backup begins by itself within a minute."),
        None => verdict,
    };
    match (age / DAY, status.target.is_some()) {
        (0..3, true) | (0..7, false) => ok(found),
        (7..30, false) => note(found).advised(),
        (3..14, true) | (_, false) => advised(warning(found)),
        (_, true) => advised(failed(found)),
    }
}

fn last(facts: &Facts) -> Verdict {
    let status = match status(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    match (&status.target, &status.failure) {
        (None, _) => unknown("the box has no target of its own"),
        (Some(target), None) => ok(format!("The box backs up to {target}.")),
        (Some(target), Some(failure)) => {
            let found = format!(
                "The box backs up to {target}, which has failed {}: {}",
                times(failure.times),
                why(failure)
            );
            match failure.times {
                0..=3 => note(found),
                _ => warning(found),
            }
        }
    }
}

fn proof(facts: &Facts) -> Verdict {
    let status = match status(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    let Some(made) = status.made.as_ref().filter(|_| status.target.is_some()) else {
        return match status.target {
            None => unknown(NO_TARGET),
            Some(_) => unknown("there is no backup yet"),
        };
    };
    let Some(now) = facts.now else {
        return unknown(NO_CLOCK);
    };
    let so_far = status.proof_failure.as_ref();
    let so_far = so_far.map_or_else(String::new, |failure| {
        format!(" The last try came to no end: {}", why(failure))
    });
    match &status.proof {
        Some(proof) => match &proof.fault {
            Some(fault) => failed(format!(
                "The backup {} did not come back as it went in: {}.",
                proof.id.get(..8).unwrap_or_default(),
                fault.trim_end_matches('.')
            )),
            None => {
                let age = now.0.saturating_sub(proof.at);
                let found = format!(
                    "{} files came back as they went in, {} ago.{so_far}",
                    proof.files,
                    old(age)
                );
                match age / DAY {
                    0..14 => ok(found),
                    _ => warning(found).to_do("`roost backup prove` tries at once."),
                }
            }
        },
        None if now.0.saturating_sub(made.at) < DAY && so_far.is_empty() => {
            note("The newest backup was not read back yet.")
        }
        None => warning(format!("No backup was read back yet.{so_far}"))
            .to_do("`roost backup prove` tries at once."),
    }
}
