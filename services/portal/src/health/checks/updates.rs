//! Updates: how the last one ended, and whether there is a way back.

use super::{DAY, NO_CLOCK};
use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, note, ok, unknown, warning};
use crate::web::rounded;
use roost_service::update::{Phase, UpdateStatus};
use std::time::Duration;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "update-last",
        what: "The last update was kept",
        how: "How the last update ended. A warning if the box returned to the version before.",
        to_do: "`roost status` says which check failed. That version is not tried again by itself; `roost update` installs \
                another.",
        decide: last,
    },
    Check {
        id: "update-trial",
        what: "No version is on trial",
        how: "A note while a new version is being written or tried; a warning if it is on trial with a check that has failed.",
        to_do: "Wait: the box keeps the version or returns to the one before within ten minutes.",
        decide: trial,
    },
    Check {
        id: "update-way-back",
        what: "There is a way back",
        how: "Whether the other slot has a whole version. A note if it has none, as before the first update.",
        to_do: "`roost update` fills it the next time.",
        decide: way_back,
    },
    Check {
        id: "update-age",
        what: "The version is not old",
        how: "Since when the running version is kept: a note from 120 days on, a warning from a year on, because fixes of the \
              system and rules of the spam filter come with updates alone. Not checked before the first update, since \
              the box does not know when its card was written.",
        to_do: "Build the newest version and install it: `roost update`.",
        decide: age,
    },
];

fn status(facts: &Facts) -> Result<&UpdateStatus, Verdict> {
    match &facts.updates {
        Ok(status) => Ok(status),
        Err(why) => Err(unknown(why)),
    }
}

fn last(facts: &Facts) -> Verdict {
    let status = match status(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    match &status.last {
        None => ok("This box has not been updated yet."),
        Some(last) => match &last.rolled_back {
            None => ok(format!("Version {} was kept.", last.to.name)),
            Some(why) => warning(format!(
                "Version {} did not work, and {} runs again: {}.",
                last.to.name,
                last.from.name,
                why.summary.trim_end_matches('.')
            )),
        },
    }
}

fn trial(facts: &Facts) -> Verdict {
    let status = match status(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    match &status.phase {
        Phase::Idle => ok("None is."),
        Phase::Writing { version } => note(format!("Version {} is being written.", version.name)),
        Phase::Staged { version } => note(format!(
            "Version {} is written, and was not tried yet.",
            version.name
        )),
        Phase::Trial {
            version, checks, ..
        } => match checks.iter().find(|check| check.passed == Some(false)) {
            None => note(format!("Version {} is on trial.", version.name)),
            Some(check) => warning(format!(
                "Version {} is on trial, and {} has failed: {}.",
                version.name,
                check.name,
                check.detail.trim_end_matches('.')
            )),
        },
    }
}

fn way_back(facts: &Facts) -> Verdict {
    let status = match status(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    match (&status.other, &status.phase) {
        (Some(other), _) => ok(format!("The other slot has version {}.", other.name)),
        (None, Phase::Writing { .. }) => unknown("the other slot is being written"),
        (None, _) => note("The other slot has no whole version."),
    }
}

fn age(facts: &Facts) -> Verdict {
    let status = match status(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    let Some(now) = facts.now else {
        return unknown(NO_CLOCK);
    };
    let mut kept = status.last.iter().chain(&status.earlier);
    let Some(kept) =
        kept.find(|outcome| outcome.rolled_back.is_none() && outcome.to == status.running)
    else {
        return unknown("the box does not know since when it has this version");
    };
    let old = now.0.saturating_sub(kept.at);
    let found = format!(
        "Version {} has been running for {}.",
        status.running.name,
        rounded(Duration::from_secs(old))
    );
    match old / DAY {
        0..120 => ok(found),
        120..365 => note(found).advised(),
        _ => warning(found),
    }
}
