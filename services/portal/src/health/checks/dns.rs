//! The zones: who answers what, and whether it is signed.

use super::{DAY, NO_CLOCK, NO_DOMAIN};
use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, count, failed, note, ok, some, together, unknown, warning};
use crate::time::Wall;
use crate::web::rounded;
use roost_service::dns::{Check as Looked, DelegationState, Zone};
use std::time::Duration;

/// Those about answers, in the order in which they are shown.
pub const NAMES: &[Check] = &[
    Check {
        id: "dns-served",
        what: "The box answers for each of its domains",
        how: "Asked of the name server. Failed if it does not serve one of the domains. Not checked without a relay: the \
              domain has no address to lead to then.",
        to_do: "`roost logs dns` says why; `roost dns show` shows the zone.",
        decide: served,
    },
    Check {
        id: "dns-here",
        what: "The box answers what it should",
        how: "Each name and type of each zone is asked of the box's own name server over the network. Failed if an answer \
              is another, or missing.",
        to_do: "`roost dns check` shows which; `roost reboot` starts the name server anew.",
        decide: here,
    },
    Check {
        id: "dns-copy",
        what: "The relay's copy is the same",
        how: "The same questions, asked of the relay's name server within the tunnel. A warning if it has an older copy or \
              answers otherwise; not checked without a relay.",
        to_do: "Look again in some minutes: copies take a moment. If it stays, `roost dns check` shows what differs.",
        decide: copy,
    },
    Check {
        id: "dns-outside-first",
        what: "The first name server answers the internet",
        how: "The same questions, asked at the public address of ns1, through the internet and back in. Failed if it \
              answers otherwise, a warning if it does not answer; not checked where its address is not known.",
        to_do: "`roost dns check` shows what it answers. If it does not answer at all, see whether port 53 (UDP and TCP) is \
                open at the relay: `roost relay status`.",
        decide: first,
    },
    Check {
        id: "dns-outside-second",
        what: "The second name server answers the internet",
        how: "The same at the public address of ns2, which is always the relay. A home without IPv6 cannot ask one that has \
              no other address: then it is not checked.",
        to_do: "`roost dns check` shows what it answers.",
        decide: second,
    },
    Check {
        id: "dns-registry",
        what: "The registry sends the world to the box",
        how: "Name servers of the zone above are asked which name servers your domain has, and at which addresses. Failed \
              if they name others or none, or wrong addresses; not checked if they do not answer.",
        to_do: "Give your registrar the name servers that `roost dns ds` prints.",
        decide: registry,
    },
    Check {
        id: "dns-world",
        what: "The world finds the mail server",
        how: "The box's resolver, which begins at the root of the DNS as any other, is asked where mail for each domain \
              goes (MX). Failed if the answer is not the box's mail server alone, or there is none.",
        to_do: "`roost dns check` shows where the way ends. After a change at the registrar it takes up to a day until \
                everybody sees it.",
        decide: world,
    },
];

/// Those about signatures, in the order in which they are shown.
pub const SIGNATURES: &[Check] = &[
    Check {
        id: "dnssec-expiry",
        what: "Signatures are renewed in time",
        how: "When the first signature of each zone ends, by the name server and by what it answers on the network. They \
              hold for 30 days and are renewed with 22 left. A warning with less than 14 days left, failed with less than \
              7, or if they are missing or wrong.",
        to_do: "Restart the box: `roost reboot`. If this is still told five minutes later, `roost logs dns` says why.",
        decide: expiry,
    },
    Check {
        id: "dnssec-chain",
        what: "The registry vouches for the box's key",
        how: "DS records at the zone above. Failed if they are of keys that the zone does not have: then those who check \
              see nothing of the domain. A warning if there is none: then nobody checks.",
        to_do: "Give your registrar the DS record that `roost dns ds` prints.",
        decide: chain,
    },
    Check {
        id: "dnssec-validates",
        what: "Who checks signatures finds them good",
        how: "The box's resolver checks as others do, from the root on. Failed if the registry vouches for the key and the \
              resolver still does not find the answer good; not checked before the registry does.",
        to_do: "`roost dns check` shows what each name server has. If only one of them has old signatures, it has lost \
                touch with the box.",
        decide: validates,
    },
];

/// Signatures with less left raise an alarm, and are as good as gone.
const SOON: u64 = 14 * DAY;
const TOO_LATE: u64 = 7 * DAY;

fn zones(facts: &Facts) -> Result<&[Zone], Verdict> {
    match &facts.dns {
        Err(why) => Err(unknown(why)),
        Ok(dns) if dns.zones.is_empty() => Err(unknown(NO_DOMAIN)),
        Ok(dns) => Ok(&dns.zones),
    }
}

fn served(facts: &Facts) -> Verdict {
    let zones = match zones(facts) {
        Ok(zones) => zones,
        Err(not) => return not,
    };
    if let Some(not) = super::nowhere(facts) {
        return not;
    }
    let names: Vec<String> = zones.iter().map(|zone| zone.domain.clone()).collect();
    let all = zones.iter().map(|zone| match (&zone.fault, zone.serial) {
        (Some(why), _) => failed(format!("{}: {}.", zone.domain, why.trim_end_matches('.'))),
        (None, None) => failed(format!("{} is not served.", zone.domain)),
        (None, Some(_)) => ok(""),
    });
    together(all, format!("It serves {}.", some(&names)))
}

/// How one place's answers are judged.
struct Judge {
    /// [`roost_service::dns::Place::name`].
    place: &'static str,
    /// A type that another check is about.
    but: Option<&'static str>,
    /// How bad a different answer is.
    otherwise: fn(String) -> Verdict,
    /// How bad it is that there is none.
    silent: fn(String) -> Verdict,
}

impl Judge {
    fn judge(&self, facts: &Facts) -> Verdict {
        if let Some(not) = super::nowhere(facts) {
            return not;
        }
        if facts.checks.is_empty() {
            return match &facts.dns {
                Err(why) => unknown(why),
                Ok(_) => unknown(NO_DOMAIN),
            };
        }
        let all = facts.checks.iter().map(|(domain, check)| match check {
            Err(why) => unknown(format!("{domain} was not looked at: {why}")),
            Ok(check) => self.judge_one(check),
        });
        together(all, "It answers what it should.")
    }

    fn judge_one(&self, check: &Looked) -> Verdict {
        let domain = &check.domain;
        let Some(at) = check.places.iter().position(|of| of.name == self.place) else {
            return unknown(format!("{domain} has no such name server"));
        };
        if let Some(why) = check.places.get(at).and_then(|of| of.fault.as_ref()) {
            return (self.silent)(format!("{domain}: {}.", why.trim_end_matches('.')));
        }
        let mut wrong = Vec::new();
        let mut advice: Vec<String> = Vec::new();
        let mut asked = 0;
        for row in &check.rows {
            let Some(Some(found)) = row.found.get(at) else {
                continue;
            };
            if self.but == Some(row.kind.as_str()) {
                continue;
            }
            asked += 1;
            let same = found.len() == row.expected.len()
                && found.iter().all(|value| row.expected.contains(value));
            // A row that is right is so for reasons that the name server knows.
            if !same && !row.right {
                wrong.push(format!("{} {}", row.name, row.kind));
                if !row.advice.is_empty() && !advice.contains(&row.advice) {
                    advice.push(row.advice.clone());
                }
            }
        }
        if wrong.is_empty() && asked == 0 {
            return unknown(format!(
                "{domain}: it was asked nothing that it could answer"
            ));
        }
        if wrong.is_empty() {
            return ok("");
        }
        let found = format!("{domain}: not as it should be: {}.", some(&wrong));
        match advice.is_empty() {
            true => (self.otherwise)(found),
            false => (self.otherwise)(found).to_do(advice.join(" ")),
        }
    }
}

fn here(facts: &Facts) -> Verdict {
    let place = "box";
    Judge {
        place,
        but: None,
        otherwise: failed,
        silent: failed,
    }
    .judge(facts)
}

fn copy(facts: &Facts) -> Verdict {
    if facts.has_relay() == Some(false) {
        return unknown(super::NO_RELAY);
    }
    let place = "secondary";
    Judge {
        place,
        but: None,
        otherwise: warning,
        silent: warning,
    }
    .judge(facts)
}

fn first(facts: &Facts) -> Verdict {
    let place = "ns1";
    public(
        facts,
        &Judge {
            place,
            but: None,
            otherwise: failed,
            silent: warning,
        },
    )
}

fn second(facts: &Facts) -> Verdict {
    let place = "ns2";
    let silent = |why: String| unknown(why);
    public(
        facts,
        &Judge {
            place,
            but: None,
            otherwise: failed,
            silent,
        },
    )
}

fn public(facts: &Facts, judge: &Judge) -> Verdict {
    match facts.outside.is_empty() {
        true => unknown(super::NO_ADDRESS),
        false => judge.judge(facts),
    }
}

fn registry(facts: &Facts) -> Verdict {
    let silent = |why: String| unknown(why);
    // Keys are `dnssec-chain`'s.
    let but = Some("DS");
    Judge {
        place: "parent",
        but,
        otherwise: failed,
        silent,
    }
    .judge(facts)
}

fn world(facts: &Facts) -> Verdict {
    if let Some(not) = super::nowhere(facts) {
        return not;
    }
    let domains = facts.domains();
    let Some(host) = facts.host() else {
        return unknown("the mail service does not say its name");
    };
    if domains.is_empty() {
        return unknown(NO_DOMAIN);
    }
    let all = domains
        .iter()
        .map(|domain| match facts.asked(domain, "MX") {
            Err(why) => failed(format!(
                "Where mail for {domain} goes cannot be looked up: {why}."
            )),
            Ok(answer) if answer.values.is_empty() => {
                failed(format!("The world finds no mail server of {domain}."))
            }
            Ok(answer) if answer.values.iter().all(|value| value == host) => ok(""),
            Ok(answer) => failed(format!(
                "Mail for {domain} goes to {}, not to {host} alone.",
                some(&answer.values)
            )),
        });
    together(all, format!("Mail goes to {host}."))
}

fn expiry(facts: &Facts) -> Verdict {
    let zones = match zones(facts) {
        Ok(zones) => zones,
        Err(not) => return not,
    };
    if !facts.alarms.is_empty() {
        return failed(facts.alarms.join(" ").replace('`', ""));
    }
    let Some(now) = facts.now else {
        return unknown(NO_CLOCK);
    };
    let mut least = u64::MAX;
    let all: Vec<Verdict> = zones
        .iter()
        .map(|zone| {
            let Some(until) = zone.signed_until else {
                return match zone.serial {
                    Some(_) => failed(format!("{} is served without signatures.", zone.domain)),
                    None => unknown(format!("{} is not served", zone.domain)),
                };
            };
            let left = until.saturating_sub(now.0);
            least = least.min(left);
            let found = match left {
                0 => format!(
                    "Signatures of {} have ended at {}.",
                    zone.domain,
                    Wall(until)
                ),
                left => format!(
                    "Signatures of {} end in {}.",
                    zone.domain,
                    rounded(Duration::from_secs(left))
                ),
            };
            match left {
                0..TOO_LATE => failed(found),
                TOO_LATE..SOON => warning(found),
                _ => ok(""),
            }
        })
        .collect();
    together(
        all,
        format!("The first ends in {}.", rounded(Duration::from_secs(least))),
    )
}

fn chain(facts: &Facts) -> Verdict {
    let zones = match zones(facts) {
        Ok(zones) => zones,
        Err(not) => return not,
    };
    let all = zones.iter().map(|zone| {
        let domain = &zone.domain;
        let Some(parent) = &zone.delegation else {
            return unknown(format!("the registry of {domain} was not asked yet"));
        };
        let one = match parent.state {
            DelegationState::Secure => return ok(""),
            DelegationState::Unknown => {
                return unknown(format!("the registry of {domain} does not answer"));
            }
            DelegationState::Elsewhere => {
                return unknown(format!("{domain} is not delegated to the box"));
            }
            DelegationState::Unsigned => warning(format!(
                "The registry has no key of {domain}, so nobody checks its signatures."
            )),
            DelegationState::Broken => failed(format!(
                "The registry has {} of keys that {domain} does not have: who checks sees nothing of it.",
                count(parent.ds.len(), "record")
            )),
        };
        match parent.advice.is_empty() {
            true => one,
            false => one.to_do(parent.advice.clone()),
        }
    });
    together(all, "The registry has the right key.")
}

fn validates(facts: &Facts) -> Verdict {
    let zones = match zones(facts) {
        Ok(zones) => zones,
        Err(not) => return not,
    };
    // Whether the resolver checks anything at all is another check's.
    if !facts.asked("", "SOA").is_ok_and(|answer| answer.secure) {
        return unknown("the box's resolver cannot check signatures at the moment");
    }
    let all = zones.iter().map(|zone| {
        let domain = &zone.domain;
        let state = zone.delegation.as_ref().map(|parent| parent.state);
        match (state, facts.asked(domain, "SOA")) {
            (_, Ok(answer)) if answer.secure => ok(""),
            (Some(DelegationState::Secure), Ok(_)) => failed(format!(
                "The registry vouches for {domain}, but its answer came without good signatures."
            )),
            (Some(DelegationState::Secure | DelegationState::Broken), Err(why)) => failed(format!(
                "{domain} cannot be looked up with its signatures checked: {why}."
            )),
            (_, Ok(_)) => note(format!("{domain} is not signed for the world yet.")),
            (_, Err(why)) => unknown(format!("{domain} cannot be looked up: {why}")),
        }
    });
    together(all, "The box's resolver finds them good.")
}
