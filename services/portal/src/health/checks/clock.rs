//! The clock.

use super::NO_CLOCK;
use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, failed, ok, unknown, warning};

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "clock-set",
        what: "The clock was set by time servers",
        how: "Asked of init. Failed if no time server that is believed has answered since the box was switched on: \
              certificates, signatures and the app's codes need the time.",
        to_do: "See whether the internet works at home, and whether the network lets time through (UDP port 123). \
                `roost logs init` says what each time server answered; other ones can be named in roost.toml \
                (`[time] servers`).",
        decide: set,
    },
    Check {
        id: "clock-right",
        what: "The clock is right",
        how: "The portal asks the box's time servers itself and takes the middle of what they say. A warning from two \
              seconds on, failed from a minute on.",
        to_do: "Restart the box: `roost reboot`. If the difference comes again, a time server is wrong: name others in \
                roost.toml.",
        decide: right,
    },
];

fn set(facts: &Facts) -> Verdict {
    match &facts.machine {
        Err(why) => unknown(why),
        Ok(machine) if machine.clock_synced => ok("It was set since the box was switched on."),
        Ok(_) => {
            failed("No time server that is believed has answered since the box was switched on.")
        }
    }
}

fn right(facts: &Facts) -> Verdict {
    if facts.now.is_none() {
        return unknown(NO_CLOCK);
    }
    let offset = match &facts.clock_offset {
        Ok(offset) => *offset,
        Err(why) => return unknown(format!("no time server answered the portal: {why}")),
    };
    let away = offset.unsigned_abs();
    let direction = if offset > 0 { "behind" } else { "ahead of" };
    let found = match away {
        0..1000 => format!("It is {away} milliseconds {direction} the time servers."),
        _ => format!(
            "It is {} seconds {direction} the time servers.",
            away / 1000
        ),
    };
    match away {
        0..2_000 => ok(found),
        2_000..60_000 => warning(found),
        _ => failed(found),
    }
}
