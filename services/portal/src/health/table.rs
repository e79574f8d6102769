//! The table of checks, in the order in which they are shown. A new one is a row in its group's file below
//! `checks/` with a function beside it; `UPDATE_DOCS=1 cargo test -p roost-portal doctor` writes its section
//! of `docs/doctor.md`.

use super::checks::{
    access, backups, card, certificates, clock, dns, machine, mail, network, ports, records, relay,
    reputation, tunnel, updates,
};
use super::facts::Facts;
use super::verdict::Verdict;
use roost_service::health::{Checked, Health, Level};

/// The page of the documentation.
pub const PAGE: &str = "docs/doctor.md";

/// A check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name: the same for ever, of `a-z`, `0-9` and `-`.
    pub id: &'static str,
    /// What is so if all is well.
    pub what: &'static str,
    /// How it is checked and when it is how bad, in whole sentences.
    pub how: &'static str,
    /// What to do if it is not well, in whole sentences with commands between backticks.
    pub to_do: &'static str,
    /// Decides.
    pub decide: fn(&Facts) -> Verdict,
}

/// Checks under one heading.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The heading.
    pub name: &'static str,
    /// Its checks.
    pub checks: &'static [Check],
}

const fn group(name: &'static str, checks: &'static [Check]) -> Group {
    Group { name, checks }
}

/// All checks.
pub const GROUPS: &[Group] = &[
    group("Box", machine::CHECKS),
    group("Card", card::CHECKS),
    group("Clock", clock::CHECKS),
    group("Network", network::CHECKS),
    group("Tunnel", tunnel::CHECKS),
    group("Relay", relay::CHECKS),
    group("DNS", dns::NAMES),
    group("DNSSEC", dns::SIGNATURES),
    group("Certificates", certificates::CHECKS),
    group("TLS", ports::TLS),
    group("Ports from outside", ports::OUTSIDE),
    group("Outbound mail", reputation::CHECKS),
    group("Mail records", records::CHECKS),
    group("Mail", mail::CHECKS),
    group("Backups", backups::CHECKS),
    group("Updates", updates::CHECKS),
    group("Access", access::CHECKS),
];

/// Decides every check.
pub fn decide(facts: &Facts) -> Health {
    let mut checks = Vec::new();
    for group in GROUPS {
        for check in group.checks {
            let Verdict {
                level,
                found,
                to_do,
                advised,
            } = (check.decide)(facts);
            let to_do = match (level, to_do) {
                (Level::Ok, _) => String::new(),
                (_, Some(to_do)) => to_do,
                (Level::Warning | Level::Failed, None) => check.to_do.to_owned(),
                (Level::Note, None) if advised => check.to_do.to_owned(),
                // What is not known wants nothing done to it.
                (Level::Unknown | Level::Note, None) => String::new(),
            };
            checks.push(Checked {
                id: check.id.to_owned(),
                group: group.name.to_owned(),
                what: check.what.to_owned(),
                level,
                found: match plain(&found) {
                    found if found.is_empty() => "Nothing more is known.".to_owned(),
                    found => found,
                },
                to_do: plain(&to_do),
                docs: format!("{PAGE}#{}", check.id),
            });
        }
    }
    Health {
        name: facts.name.clone(),
        at: facts.now.map(|now| now.0),
        checks,
    }
}

/// On one line: some of it is the word of others, who may say anything.
fn plain(text: &str) -> String {
    let clean = text.replace(char::is_control, " ");
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}
