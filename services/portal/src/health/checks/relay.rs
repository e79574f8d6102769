//! The relay, by what it says of itself within the tunnel.

use super::NO_RELAY;
use crate::health::facts::{Facts, RelaySays};
use crate::health::table::Check;
use crate::health::verdict::{Verdict, failed, note, ok, some, together, unknown, warning};
use crate::web::rounded;
use std::time::Duration;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "relay-answers",
        what: "The relay says how it is",
        how: "The relay answers one question within the tunnel (TCP port 8077). Not checked while the tunnel is down, or \
              if there is nobody to ask: a relay that Roost has not set up does not answer there. A warning if the relay \
              is reached and says something else.",
        to_do: "Write its programs anew: `roost relay apply`, or `roost relay script` on a machine of your own.",
        decide: answers,
    },
    Check {
        id: "relay-dns",
        what: "The relay leaves questions about your domain to the box",
        how: "A warning while the relay answers from its own copy, because the box did not answer it. The copy holds for \
              two weeks.",
        to_do: "`roost logs dns` says why the box's name server did not answer; once it does, the relay leaves it to the \
                box within seconds.",
        decide: dns,
    },
    Check {
        id: "relay-zones",
        what: "The relay has a copy of each of your domains",
        how: "The domains that the relay answers for while the box is away. A warning if one of the box's is not among \
              them, or has not arrived.",
        to_do: "Tell the relay of your domains: `roost relay apply`.",
        decide: zones,
    },
    Check {
        id: "relay-restart",
        what: "The relay's updates are in force",
        how: "Debian's mark for updates that want a restart. A note if it is there: the relay installs updates by itself, \
              but not a new kernel.",
        to_do: "Restart the relay when it suits you, in your cloud's console; the tunnel comes back by itself.",
        decide: restart,
    },
    Check {
        id: "relay-connections",
        what: "The relay has room for connections",
        how: "Connections that the relay follows: a warning from eight tenths of what it can on, failed from 95 % on.",
        to_do: "Somebody may be flooding it. If it stays, a larger machine follows more (`[relay] instance_type`).",
        decide: connections,
    },
];

fn said(facts: &Facts) -> Result<&RelaySays, Verdict> {
    match (&facts.relay, facts.has_relay()) {
        (Some(Ok(said)), _) => Ok(said),
        (_, Some(false)) => Err(unknown(NO_RELAY)),
        (Some(Err(why)), _) => Err(unknown(format!("the relay does not say how it is: {why}"))),
        (None, _) => Err(unknown(
            "the relay's address within the tunnel is not known",
        )),
    }
}

fn answers(facts: &Facts) -> Verdict {
    match said(facts) {
        Ok(said) => ok(format!(
            "It has been on for {}.",
            rounded(Duration::from_secs(said.uptime))
        )),
        Err(not) if not.found.contains(NOT_UNDERSTOOD) => warning(not.found),
        Err(not) => not,
    }
}

/// How [`crate::health::gather`] begins what a relay has said that nobody understands.
pub const NOT_UNDERSTOOD: &str = "what it says cannot be understood";

fn dns(facts: &Facts) -> Verdict {
    match said(facts) {
        Err(not) => not,
        Ok(said) if said.dns == "box" => ok("Questions reach the box."),
        Ok(_) if facts.domains().is_empty() => unknown(super::NO_DOMAIN),
        Ok(_) => warning("The relay answers from its own copy, because the box did not answer it."),
    }
}

fn zones(facts: &Facts) -> Verdict {
    let said = match said(facts) {
        Ok(said) => said,
        Err(not) => return not,
    };
    let domains = facts.domains();
    if domains.is_empty() {
        return unknown(super::NO_DOMAIN);
    }
    let all = domains.iter().map(|domain| match said.zones.get(*domain) {
        None => warning(format!("The relay does not know {domain}.")),
        Some(None) => warning(format!("The relay has no copy of {domain} yet."))
            .to_do("Look again in some minutes. If it stays, `roost dns check` says what the relay answers."),
        Some(Some(_)) => ok(""),
    });
    let names: Vec<String> = domains.iter().map(ToString::to_string).collect();
    together(all, format!("It has {}.", some(&names)))
}

fn restart(facts: &Facts) -> Verdict {
    match said(facts) {
        Err(not) => not,
        Ok(said) if said.reboot_required => {
            note("An update waits for a restart of the relay.").advised()
        }
        Ok(_) => ok("None waits for a restart."),
    }
}

fn connections(facts: &Facts) -> Verdict {
    let said = match said(facts) {
        Ok(said) => said,
        Err(not) => return not,
    };
    let (Some(count), Some(max)) = (said.conntrack, said.conntrack_max.filter(|max| *max > 0))
    else {
        return unknown("the relay does not say how many it follows");
    };
    let found = format!("It follows {count} of {max}.");
    match count as f64 / max as f64 {
        share if share >= 0.95 => failed(found),
        share if share >= 0.8 => warning(found),
        _ => ok(found),
    }
}
