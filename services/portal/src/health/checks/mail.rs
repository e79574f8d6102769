//! The mail service: what waits, who has room, what is filtered.

use super::{DAY, NO_CLOCK};
use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, count, failed, note, ok, together, unknown, warning};
use crate::web::rounded;
use std::time::Duration;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "mail-queue",
        what: "Little waits to be sent",
        how: "Messages that wait for delivery: a note from 50 on, a warning from 500 on. Many at once may mean that somebody \
              else sends with one of your passwords.",
        to_do: "Look at the page Queue: receivers and reasons stand there. If they are not yours, change the passwords of \
                that account, and delete the messages.",
        decide: length,
    },
    Check {
        id: "mail-queue-age",
        what: "Nothing waits for long",
        how: "How long the oldest message waits: a note from an hour on, a warning from a day on, failed from three days on, \
              when it will soon be given up and its sender told.",
        to_do: "The page Queue says what the receiver's server answered. If nothing at all gets out, see `out-port25`.",
        decide: age,
    },
    Check {
        id: "mail-accounts",
        what: "Accounts have room",
        how: "Of accounts with a limit: a warning when nine tenths of it are used, failed when it is reached, which turns \
              their mail away.",
        to_do: "Give the account more room on the page Accounts, or have its owner delete mail.",
        decide: accounts,
    },
    Check {
        id: "mail-filter",
        what: "The spam filter is on",
        how: "What the box's settings say. A note if it is off.",
        to_do: "Switch it on in roost.toml (`[mail] spam_filter = true`), build and update.",
        decide: filter,
    },
];

fn length(facts: &Facts) -> Verdict {
    let mail = match &facts.mail {
        Ok(mail) => mail,
        Err(why) => return unknown(why),
    };
    let verb = if mail.queued == 1 { "waits" } else { "wait" };
    let waiting = usize::try_from(mail.queued).unwrap_or(usize::MAX);
    let found = format!("{} {verb}.", count(waiting, "message"));
    match mail.queued {
        0 => ok("Nothing waits."),
        1..50 => ok(found),
        50..500 => note(found),
        _ => warning(found),
    }
}

fn age(facts: &Facts) -> Verdict {
    let queue = match &facts.queue {
        Ok(queue) => queue,
        Err(why) => return unknown(why),
    };
    let Some(oldest) = queue.oldest.iter().min_by_key(|message| message.came) else {
        return ok("Nothing waits.");
    };
    let Some(now) = facts.now else {
        return unknown(NO_CLOCK);
    };
    let waits = now.0.saturating_sub(oldest.came);
    let fault = oldest.receivers.iter().find_map(|to| {
        let fault = to.fault.as_ref()?;
        let fault = fault.replace(char::is_control, " ");
        Some(format!(" {}: {}", to.address, fault.trim()))
    });
    let found = format!(
        "The oldest waits for {}.{}",
        rounded(Duration::from_secs(waits)),
        fault.unwrap_or_default()
    );
    match waits {
        0..3_600 => ok(found),
        3_600..DAY => note(found),
        DAY..259_200 => warning(found),
        _ => failed(found),
    }
}

fn accounts(facts: &Facts) -> Verdict {
    let mail = match &facts.mail {
        Ok(mail) => mail,
        Err(why) => return unknown(why),
    };
    let limited = mail
        .accounts
        .iter()
        .filter_map(|account| Some((account, account.quota?)));
    let all: Vec<Verdict> = limited
        .map(|(account, quota)| {
            let found = format!(
                "{} uses {} of {}.",
                account.name,
                crate::web::bytes(account.used),
                crate::web::bytes(quota)
            );
            if account.used >= quota {
                failed(found)
            } else if account.used >= quota - quota / 10 {
                warning(found)
            } else {
                ok("")
            }
        })
        .collect();
    let well = match all.len() {
        0 => "No account has a limit but the card's.".to_owned(),
        limited => format!("{} with a limit, none near it.", count(limited, "account")),
    };
    together(all, well)
}

fn filter(facts: &Facts) -> Verdict {
    match facts.spam_filter {
        true => ok("It is."),
        false => note("It is off in the box's settings.").advised(),
    }
}
