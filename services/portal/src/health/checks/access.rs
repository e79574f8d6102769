//! Who gets in.

use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, count, note, ok, unknown, warning};

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "access-owner",
        what: "The box has an owner",
        how: "A warning while it has none: whoever has the code of its card can take it.",
        to_do: "Open the box's page, or `roost pair`, and become its owner.",
        decide: owner,
    },
    Check {
        id: "access-second",
        what: "A password alone opens nothing",
        how: "Whether an app's codes are asked for at sign-in, or a passkey is set up. A note if neither is.",
        to_do: "On the page Security, set up an app for codes, or a passkey.",
        decide: second,
    },
    Check {
        id: "access-alarms",
        what: "Nothing alarming happened at the doors",
        how: "Entries of the last 24 hours in the log of doors that the owner should look at, e.g. wrong codes of an app \
              after a right password. A warning if there is one.",
        to_do: "The page Activity says what happened and from where. If it was not you, change the admin password.",
        decide: alarms,
    },
];

fn owner(facts: &Facts) -> Verdict {
    match &facts.access {
        Err(why) => unknown(why),
        Ok(access) if access.owner => ok("It has."),
        Ok(_) => warning("It has none yet."),
    }
}

fn second(facts: &Facts) -> Verdict {
    let access = match &facts.access {
        Ok(access) => access,
        Err(why) => return unknown(why),
    };
    match (access.app, access.passkeys) {
        (true, 0) => ok("An app's code is asked for."),
        (false, 0) => note("Neither an app nor a passkey is set up.").advised(),
        (true, keys) => ok(format!(
            "An app's code is asked for; {} set up.",
            passkeys(keys)
        )),
        (false, keys) => ok(format!("{} set up.", passkeys(keys))),
    }
}

fn passkeys(keys: usize) -> String {
    let verb = if keys == 1 { "is" } else { "are" };
    format!("{} {verb}", count(keys, "passkey"))
}

fn alarms(facts: &Facts) -> Verdict {
    match &facts.access {
        Err(why) => unknown(why),
        Ok(access) if access.alarming == 0 => ok("Nothing in the last 24 hours."),
        Ok(access) => warning(format!(
            "{} in the last 24 hours.",
            match access.alarming {
                1 => "1 entry".to_owned(),
                entries => format!("{entries} entries"),
            }
        )),
    }
}
