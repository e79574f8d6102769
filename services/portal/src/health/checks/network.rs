//! The home network, and looking names up.

use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, failed, note, ok, some, unknown, warning};
use roost_service::resolver::Way;
use std::net::IpAddr;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "net-address",
        what: "The box has an address",
        how: "Asked of init. Failed if the box has no address but those that reach only the next switch (169.254.0.0/16, \
              fe80::/10).",
        to_do: "See whether the cable is in, and whether the router gives addresses (DHCP); or give the box a fixed one \
                in roost.toml (`[network]`).",
        decide: address,
    },
    Check {
        id: "net-name",
        what: "The box has its name on the network",
        how: "A note if another machine answers to the box's name, so that the box took the next one (RFC 6762).",
        to_do: "Give one of the two another name: `roost flash --name`, or the other machine's settings.",
        decide: name,
    },
    Check {
        id: "net-resolver",
        what: "The box looks names up itself",
        how: "What the box's resolver says of the way that it takes. From the root servers on: ok. A note if it has to \
              ask the network's resolver, which then knows what is asked; a warning if that leaves out signatures, so \
              that nothing can be checked; failed if nobody answers.",
        to_do: "Let the box reach port 53 (UDP and TCP) of the internet in your router. Until then mail goes on, but by \
                what others say.",
        decide: resolver,
    },
    Check {
        id: "net-lookups",
        what: "Names can be looked up",
        how: "The portal asks the box's resolver for the root of the DNS. Failed if it does not answer.",
        to_do: "See whether the internet works at home. `roost logs resolver` says whom it asks and what comes back.",
        decide: lookups,
    },
    Check {
        id: "net-validation",
        what: "Signatures of the DNS are checked",
        how: "The root of the DNS is signed: a resolver that checks says so in its answer (AD). A warning if it does not; \
              receivers' keys (DANE) then count for nothing.",
        to_do: "Somebody on the way leaves out signatures. Let the box reach port 53 of the internet itself.",
        decide: validation,
    },
    Check {
        id: "net-forged",
        what: "Nobody answers falsely",
        how: "Answers that failed the check of their signatures since the resolver started. A note for any, a warning if \
              there are twenty and more than one in a hundred. Most are mistakes of the owners of those names.",
        to_do: "`roost logs resolver` names them. If they are many, somebody on the line may be changing answers.",
        decide: forged,
    },
];

fn address(facts: &Facts) -> Verdict {
    let machine = match &facts.machine {
        Ok(machine) => machine,
        Err(why) => return unknown(why),
    };
    let reaches_far = |text: &&String| {
        let bare = text.split('/').next().unwrap_or_default();
        match bare.parse() {
            Ok(IpAddr::V4(v4)) => !v4.is_link_local() && !v4.is_loopback(),
            Ok(IpAddr::V6(v6)) => !v6.is_unicast_link_local() && !v6.is_loopback(),
            Err(_) => false,
        }
    };
    let far: Vec<String> = (machine.addresses.iter())
        .filter(reaches_far)
        .cloned()
        .collect();
    match (far.is_empty(), machine.addresses.is_empty()) {
        (false, _) => ok(format!("{}.", some(&far))),
        (true, true) => failed("It has none."),
        (true, false) => failed(format!(
            "It has none but {}, which reach only the next switch.",
            some(&machine.addresses)
        )),
    }
}

fn name(facts: &Facts) -> Verdict {
    let (own, announced) = (&facts.name, &facts.announced);
    if own == announced {
        return ok(format!("It answers to {own}.local."));
    }
    note(format!(
        "Another machine has the name {own}.local, so the box answers to {announced}.local."
    ))
    .advised()
}

fn resolver(facts: &Facts) -> Verdict {
    let status = match &facts.resolver {
        Ok(status) => status,
        Err(why) => return unknown(why),
    };
    let via: Vec<String> = status.network.iter().map(ToString::to_string).collect();
    match status.way {
        Way::Recursive => ok("It asks the domains' own name servers, from the root on."),
        Way::Forwarded => note(format!(
            "It has to ask the network's resolver ({}), and checks what that says.",
            some(&via)
        )),
        Way::Unchecked => warning(format!(
            "It has to ask the network's resolver ({}), which leaves out signatures: nothing can be checked.",
            some(&via)
        )),
        Way::Offline => {
            failed("Nobody answers: neither the root servers nor the network's resolver.")
        }
        Way::Unknown => unknown("the box is still finding out whom it can ask"),
    }
}

fn lookups(facts: &Facts) -> Verdict {
    match facts.asked("", "SOA") {
        Ok(answer) if answer.values.is_empty() => {
            failed("The box's resolver says that the root of the DNS is not there.")
        }
        Ok(_) => ok("The root of the DNS answers."),
        Err(why) => failed(format!(
            "The root of the DNS could not be looked up: {why}."
        )),
    }
}

fn validation(facts: &Facts) -> Verdict {
    match facts.asked("", "SOA") {
        Ok(answer) if answer.secure => ok("The answer about the root of the DNS was found good."),
        Ok(_) => warning(
            "The answer about the root of the DNS came without its signatures being checked.",
        ),
        Err(why) => unknown(format!("the root of the DNS could not be looked up: {why}")),
    }
}

fn forged(facts: &Facts) -> Verdict {
    let status = match &facts.resolver {
        Ok(status) => status,
        Err(why) => return unknown(why),
    };
    let (asked, bogus) = (status.asked, status.bogus);
    let found =
        format!("{bogus} of {asked} answers had wrong signatures since the resolver started.");
    match bogus {
        0 => ok(format!("None of {asked} answers had a wrong signature.")),
        20.. if bogus > asked / 100 => warning(found),
        _ => note(found),
    }
}
