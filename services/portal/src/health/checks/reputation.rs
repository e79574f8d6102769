//! What others make of mail that comes from the box's address.

use super::{NO_ADDRESS, NO_RELAY};
use crate::health::facts::{Facts, reverse};
use crate::health::table::Check;
use crate::health::verdict::{Verdict, failed, ok, some, unknown, warning};
use roost_service::mail::ports;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "out-port25",
        what: "Mail gets out (port 25)",
        how: "The box connects to mail servers of three large receivers by the way that its mail takes, and waits for their \
              greeting. Failed if none greets; not checked if their names cannot be looked up.",
        to_do: "Providers keep this port closed until they are asked: `roost relay port25` prints the request.",
        decide: port25,
    },
    Check {
        id: "out-ptr",
        what: "The address leads back to the mail server (PTR)",
        how: "The name that belongs to the public address, looked up as receivers do. Failed if it is another than the mail \
              server's: most receivers then refuse mail, or put it into junk.",
        to_do: "`roost relay finish` has AWS set it. For a relay elsewhere, set the reverse name in your provider's console.",
        decide: ptr,
    },
    Check {
        id: "out-name",
        what: "The mail server's name leads to the address (A)",
        how: "The address of the mail server's name, looked up as receivers do. Failed if the public address is not among \
              them.",
        to_do: "`roost dns check` shows what each name server answers.",
        decide: forward,
    },
    Check {
        id: "out-helo",
        what: "The mail server calls itself by its name (HELO)",
        how: "The first word of the greeting at port 25, which is the name that the mail server also gives when it sends. \
              Failed if it is another than the one that the address leads back to.",
        to_do: "The name is `[mail] host` in roost.toml; the address has to lead back to it (`out-ptr`).",
        decide: helo,
    },
    Check {
        id: "out-blocklists",
        what: "No blocklist has the address",
        how: "Lists that receivers ask are asked for the public address through the box's own resolver, as any small mail \
              server may: Spamhaus ZEN, SpamCop, Barracuda, PSBL, UCEPROTECT Level 1, Mailspike and s5h.net. A list counts \
              only if it has its own test entry (RFC 5782), and Spamhaus' answers 127.255.255.x mean \"not answered\", not \
              \"listed\". A warning if one list has the address, failed if Spamhaus or three of them have; not checked \
              if none answers.",
        to_do: "Ask the list on its page to take the address out; it says why it is there. A new address is the way out if \
                the one before you has spoiled it: `roost relay destroy`, then `roost relay apply`.",
        decide: blocklists,
    },
];

fn port25(facts: &Facts) -> Verdict {
    match (&facts.port25, facts.has_relay()) {
        // From home it says nothing about the way that mail will take.
        (_, Some(false)) => unknown(NO_RELAY),
        (Err(why), _) => unknown(why),
        (Ok(port), _) => match port.open {
            Some(true) => ok(port.why.clone()),
            Some(false) => failed(port.why.clone()),
            None => unknown(&port.why),
        },
    }
}

fn ptr(facts: &Facts) -> Verdict {
    let Some(address) = facts.address4() else {
        return unknown(NO_ADDRESS);
    };
    let Some(host) = facts.host() else {
        return unknown("the mail service does not say its name");
    };
    match facts.asked(&reverse(address), "PTR") {
        Err(why) => unknown(format!("the name of {address} cannot be looked up: {why}")),
        Ok(answer) if answer.values.is_empty() => failed(format!("{address} leads to no name.")),
        Ok(answer) if answer.values.iter().all(|name| name == host) => {
            ok(format!("{address} leads back to {host}."))
        }
        Ok(answer) if answer.values.iter().any(|name| name == host) => warning(format!(
            "{address} leads back to {host}, and to other names as well: {}.",
            some(&answer.values)
        )),
        Ok(answer) => failed(format!(
            "{address} leads back to {}, not to {host}.",
            some(&answer.values)
        )),
    }
}

fn forward(facts: &Facts) -> Verdict {
    let Some(address) = facts.address4() else {
        return unknown(NO_ADDRESS);
    };
    let Some(host) = facts.host() else {
        return unknown("the mail service does not say its name");
    };
    match facts.asked(host, "A") {
        Err(why) => failed(format!("{host} cannot be looked up: {why}.")),
        Ok(answer) if answer.values.contains(&address.to_string()) => {
            ok(format!("{host} leads to {address}."))
        }
        Ok(answer) if answer.values.is_empty() => {
            failed(format!("{host} leads to no IPv4 address."))
        }
        Ok(answer) => failed(format!(
            "{host} leads to {}, not to {address}.",
            some(&answer.values)
        )),
    }
}

fn helo(facts: &Facts) -> Verdict {
    let Some(host) = facts.host() else {
        return unknown("the mail service does not say its name");
    };
    let greeting = match facts.own_ports.get(&ports::SMTP) {
        Some(Ok(shown)) => &shown.greeting,
        Some(Err(why)) => return unknown(format!("port 25 does not answer: {why}")),
        None => return unknown("port 25 was not asked"),
    };
    // "220 mail.example.org ESMTP …" (RFC 5321, section 4.2).
    let said = greeting.get(4..).unwrap_or_default();
    let said = said.split(' ').next().unwrap_or_default();
    if !said.eq_ignore_ascii_case(host) {
        return failed(format!("It calls itself {said:?}, not {host}."));
    }
    match facts
        .address4()
        .map(|address| facts.asked(&reverse(address), "PTR"))
    {
        Some(Ok(answer))
            if !answer.values.is_empty() && !answer.values.iter().any(|name| name == host) =>
        {
            failed(format!(
                "It calls itself {host}, but its address leads back to {}.",
                some(&answer.values)
            ))
        }
        _ => ok(format!("It calls itself {host}.")),
    }
}

/// How many lists are as bad as the one that most receivers ask.
const MANY_LISTS: usize = 3;
/// The list that most receivers ask.
const FEARED: &str = "Spamhaus";

fn blocklists(facts: &Facts) -> Verdict {
    let Some(lists) = &facts.lists else {
        return unknown(NO_ADDRESS);
    };
    let listed: Vec<_> = lists
        .iter()
        .filter(|list| list.listed == Some(true))
        .collect();
    let silent: Vec<String> = (lists.iter())
        .filter(|list| list.listed.is_none())
        .map(|list| list.name.clone())
        .collect();
    let answered = lists.len() - silent.len();
    if answered == 0 {
        let why = lists
            .first()
            .map_or("no list is known", |list| list.why.as_str());
        return unknown(format!("no list has answered: {why}"));
    }
    if listed.is_empty() {
        let found = format!("None of {answered} lists has it.");
        return match silent.is_empty() {
            true => ok(found),
            false => ok(format!("{found} Not answered: {}.", some(&silent))),
        };
    }
    let found: Vec<String> = listed.iter().map(|list| list.why.clone()).collect();
    let pages: Vec<String> = (listed.iter())
        .map(|list| format!("{}: {}", list.name, list.removal))
        .collect();
    let bad = listed.len() >= MANY_LISTS || listed.iter().any(|list| list.name.contains(FEARED));
    let verdict = if bad { failed } else { warning };
    let general = CHECKS.iter().find(|check| check.id == "out-blocklists");
    let general = general.map_or("", |check| check.to_do);
    verdict(found.join(" ")).to_do(format!("{general} Pages: {}.", pages.join(", ")))
}
