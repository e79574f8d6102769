//! The card: room, errors, age.

use super::DAY;
use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, count, failed, note, ok, unknown, warning};
use crate::web::bytes;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "card-room",
        what: "The card has room",
        how: "Free space of the data partition: a warning below a tenth, failed below a fiftieth or 32 MB, where the \
              mail service begins to turn mail away.",
        to_do: "Delete mail that is not needed any more, empty trash and junk, or move to a larger card.",
        decide: room,
    },
    Check {
        id: "card-errors",
        what: "The card reads and writes without errors",
        how: "Lines of the kernel's log since the box was switched on that tell of failed reads and writes, or of a \
              damaged file system. Failed if there is one.",
        to_do: "Copy the mail that you need (any mail program can), and replace the card soon. `roost logs kernel` has \
                the lines.",
        decide: errors,
    },
    Check {
        id: "card-verity",
        what: "The system is as it was signed",
        how: "The kernel compares each block of the system with its hash when it is read (dm-verity), and says so in its \
              log if one differs. Failed if there is such a line.",
        to_do: "The card has lost a piece of the system. Write the version anew: `roost update`. If it comes again, \
                replace the card.",
        decide: verity,
    },
    Check {
        id: "card-writes",
        what: "Little is written to the card",
        how: "Bytes written since the box was switched on, as so much a day. A note when that is more than a tenth of the \
              card's size, a warning when it is more than the whole: flash memory bears a limited number of writes. \
              Not looked at in the first six hours.",
        to_do: "Look for a mail program that changes much all the time, e.g. one that moves a mailbox in. If it stays, \
                use a card made for it (\"high endurance\").",
        decide: writes,
    },
    Check {
        id: "card-life",
        what: "The card is not worn out",
        how: "What memory of the kind eMMC says of its own age. A warning from nine tenths of its life on, failed beyond \
              it, or when its spare blocks are used up. SD cards do not tell their age: then it is not checked.",
        to_do: "Replace the card before it fails: make a backup (`roost backup FOLDER`), and \
                `roost restore` writes a new one from it.",
        decide: life,
    },
];

/// Bytes below which mail may be turned away soon, whatever the card's size.
const LEAST_ROOM: u64 = 32_000_000;
/// Seconds after which a rate means something.
const LONG_ENOUGH: f64 = 6.0 * 3600.0;

fn room(facts: &Facts) -> Verdict {
    let machine = match &facts.machine {
        Ok(machine) => machine,
        Err(why) => return unknown(why),
    };
    let (free, total) = (machine.data_free, machine.data_total);
    if total == 0 {
        return unknown("the data partition is not there");
    }
    let found = format!("{} of {} are free.", bytes(free), bytes(total));
    if free < total / 50 || free < LEAST_ROOM {
        failed(found)
    } else if free < total / 10 {
        warning(found)
    } else {
        ok(found)
    }
}

fn errors(facts: &Facts) -> Verdict {
    let failing = facts.machine.as_ref().ok();
    if let Some(why) = failing.and_then(|machine| machine.rescue.as_deref())
        && why.contains("the card is failing")
    {
        return failed("The data partition has errors, and nothing more is written to it.");
    }
    let log = match &facts.kernel_log {
        Ok(log) => log,
        Err(why) => return unknown(format!("the kernel's log cannot be read: {why}")),
    };
    let bad = |line: &&String| {
        ["I/O error", "EXT4-fs error", "Buffer I/O", "critical medium error"]
            .iter()
            .any(|words| line.contains(words))
            // A timeout of the card's own controller.
            || (line.contains("mmc") && (line.contains("error -110") || line.contains("Timeout waiting")))
    };
    match log.iter().filter(bad).count() {
        0 => ok("The kernel's log tells of none."),
        times => failed(format!(
            "The kernel's log has {} about failed reads or writes.",
            count(times, "line")
        )),
    }
}

fn verity(facts: &Facts) -> Verdict {
    let log = match &facts.kernel_log {
        Ok(log) => log,
        Err(why) => return unknown(format!("the kernel's log cannot be read: {why}")),
    };
    let bad = |line: &&String| line.contains("verity") && line.contains("corrupted");
    match log.iter().filter(bad).count() {
        0 => ok("No block that was read differs."),
        times => failed(format!(
            "The kernel has found {} of the system that differ from what was signed.",
            count(times, "block")
        )),
    }
}

fn writes(facts: &Facts) -> Verdict {
    let machine = match &facts.machine {
        Ok(machine) => machine,
        Err(why) => return unknown(why),
    };
    if machine.data_total == 0 {
        return unknown("the data partition is not there");
    }
    if machine.uptime_s.is_nan() || machine.uptime_s < LONG_ENOUGH {
        return unknown(
            "the box was switched on too short a time ago to say how much it writes a day",
        );
    }
    let daily = machine.data_written as f64 / machine.uptime_s * DAY as f64;
    let found = format!("{} are written a day.", bytes(daily as u64));
    let total = machine.data_total as f64;
    if daily > total {
        warning(found)
    } else if daily > total / 10.0 {
        note(found)
    } else {
        ok(found)
    }
}

fn life(facts: &Facts) -> Verdict {
    let life = match facts.life {
        Some(life) if (life.a, life.b, life.spare) != (0, 0, 0) => life,
        _ => return unknown("this card does not tell its age"),
    };
    let used = life.a.max(life.b);
    let found = match used {
        0 => "The card does not tell how much of its life is used.".to_owned(),
        1..=10 => format!(
            "{} to {} % of its life are used.",
            (used - 1) * 10,
            used * 10
        ),
        _ => "It has borne more writes than it was made for.".to_owned(),
    };
    let spare = match life.spare {
        2 => " Four fifths of its spare blocks are used.",
        3 => " Nearly all of its spare blocks are used.",
        _ => "",
    };
    let found = format!("{found}{spare}");
    if used > 10 || life.spare == 3 {
        failed(found)
    } else if used == 10 || life.spare == 2 {
        warning(found)
    } else {
        ok(found)
    }
}
