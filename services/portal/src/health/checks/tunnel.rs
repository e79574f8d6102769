//! The way to the relay.

use super::{DAY, NO_RELAY};
use crate::health::facts::{Facts, Told};
use crate::health::table::Check;
use crate::health::verdict::{Verdict, failed, note, ok, unknown, warning};
use crate::web::{rounded, times};
use roost_service::tunnel::{Guard, State, Status};
use std::time::Duration;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "tunnel-up",
        what: "The box reaches its relay",
        how: "Asked of the tunnel service. Failed while the relay does not answer; a warning if there is none yet: then \
              mail from outside cannot arrive, unless the home's own line has a public address.",
        to_do: "See whether the internet works at home, and whether the relay runs: `roost relay status`. Mail from \
                outside waits with its senders meanwhile, for some days.",
        decide: up,
    },
    Check {
        id: "tunnel-alone",
        what: "No other card serves in this one's place",
        how: "A card that was restored from a backup has this one's keys. The relay remembers which of them may serve, and \
              the box asks it every 20 seconds. A note if the relay does not remember that, a warning while it does not \
              say, failed if it is another card.",
        to_do: "If this card is the one that is to serve: `roost relay takeover`. If it is the other, switch this one off \
                for good.",
        decide: alone,
    },
    Check {
        id: "tunnel-loss",
        what: "Packets to the relay arrive",
        how: "Share of the last probes without an answer: a note from 2 % on, a warning from 10 % on, failed from 50 % on.",
        to_do: "Look at the home's line: a cable in place of Wi-Fi, less load. If it is the relay's side, \
                `roost relay status` and your cloud's console say more.",
        decide: loss,
    },
    Check {
        id: "tunnel-delay",
        what: "The relay is near",
        how: "Milliseconds to the relay and back: a note from 300 on, a warning from 1,000 on.",
        to_do: "A relay in a region nearer to you answers faster; a line that is busy with an upload answers late.",
        decide: delay,
    },
    Check {
        id: "tunnel-steady",
        what: "The tunnel stays up",
        how: "How often it came up since the service started, for each day that the box runs: a note from the third \
              time on, a warning from the tenth.",
        to_do: "`roost logs tunnel` says when and why. Many providers cut a line once a day; more often than that is a \
                fault of the line or the router.",
        decide: steady,
    },
    Check {
        id: "tunnel-sending",
        what: "The box can send to the relay",
        how: "Why the last packet could not be sent. A warning if there is a reason.",
        to_do: "See whether the box has an address and a way out of the home network.",
        decide: sending,
    },
    Check {
        id: "tunnel-strangers",
        what: "Nobody meddles with the tunnel",
        how: "Packets that were forged, seen before, or had addresses that do not belong into the tunnel. A note if there \
              are some: they were thrown away.",
        to_do: "Nothing, as long as mail arrives: the internet is full of noise.",
        decide: strangers,
    },
];

fn set_up(tunnel: &Told<Status>) -> Result<&Status, Verdict> {
    match tunnel {
        Ok(status) if status.state == State::Unconfigured => Err(unknown(NO_RELAY)),
        Ok(status) => Ok(status),
        Err(why) => Err(unknown(why)),
    }
}

fn running(tunnel: &Told<Status>) -> Result<&Status, Verdict> {
    match set_up(tunnel)? {
        status if status.state == State::Up => Ok(status),
        _ => Err(unknown("the tunnel is down")),
    }
}

fn up(facts: &Facts) -> Verdict {
    let status = match &facts.tunnel {
        Ok(status) => status,
        Err(why) => {
            return failed(format!(
                "Nobody knows whether mail from outside arrives: {why}."
            ));
        }
    };
    let since = rounded(Duration::from_secs(status.since_s));
    match status.state {
        State::Unconfigured => warning("There is no relay yet.")
            .to_do("Make one with `roost relay apply`, or connect one that you have: `roost relay connect`."),
        State::Replaced => failed(format!("{}.", capital(&status.summary)))
            .to_do("See below, at `tunnel-alone`."),
        State::Down if is_heard(status) && waits(status) => {
            failed(format!("{}.", capital(&status.summary))).to_do(
                "Wait a minute. If it stays, see whether the relay's programs run: `roost relay status`.",
            )
        }
        State::Down => failed(format!(
            "The relay has not answered for {since}. {}",
            status.summary
        )),
        State::Up => ok(format!(
            "{} has answered for {since}.",
            status.relay.as_deref().unwrap_or("The relay")
        )),
    }
}

/// Seconds since the relay was heard, below which it is known to answer.
const HEARD: u64 = 30;

fn is_heard(status: &Status) -> bool {
    status.heard_s.is_some_and(|heard| heard < HEARD)
}

/// Whether the box would serve if the relay said so.
fn waits(status: &Status) -> bool {
    matches!(status.guard, Some(Guard::Asking | Guard::Waiting))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn alone(facts: &Facts) -> Verdict {
    let status = match set_up(&facts.tunnel) {
        Ok(status) => status,
        Err(not) => return not,
    };
    match &status.guard {
        Some(Guard::Held) => ok("The relay says that it is this one."),
        Some(Guard::Waiting) => {
            warning("The relay says that it is this one; the one before may not have noticed yet.")
                .to_do("Wait a minute.")
        }
        Some(Guard::Absent) => {
            note("The relay does not remember who may serve: nobody would notice a second card with this one's keys.")
                .to_do(
                    "Write its programs anew: `roost relay apply`, or `roost relay script` on a machine of your own. \
                     Until then, never let a card run from which you have restored another.",
                )
        }
        Some(Guard::Replaced(_) | Guard::Unreadable) => {
            failed(format!("{}.", capital(&status.summary)))
        }
        Some(Guard::Asking) if is_heard(status) => {
            warning("The relay does not say who may serve.").to_do(
                "Restart the relay in your cloud's console; if that does not help, write its programs anew: \
                 `roost relay apply`.",
            )
        }
        Some(Guard::Asking) | None => unknown("the relay has not been asked yet"),
    }
}

fn loss(facts: &Facts) -> Verdict {
    let status = match running(&facts.tunnel) {
        Ok(status) => status,
        Err(not) => return not,
    };
    let Some(share) = status.probe_loss.filter(|share| share.is_finite()) else {
        return unknown("the line was not measured yet");
    };
    let found = format!("{:.0} % of the last probes got no answer.", share * 100.0);
    match share {
        share if share >= 0.5 => failed(found),
        share if share >= 0.1 => warning(found),
        share if share >= 0.02 => note(found),
        _ => ok(found),
    }
}

fn delay(facts: &Facts) -> Verdict {
    let status = match running(&facts.tunnel) {
        Ok(status) => status,
        Err(not) => return not,
    };
    let Some(ms) = status.rtt_ms.filter(|ms| ms.is_finite()) else {
        return unknown("the line was not measured yet");
    };
    let found = format!("A packet takes {ms:.0} milliseconds to the relay and back.");
    match ms {
        ms if ms >= 1000.0 => warning(found),
        ms if ms >= 300.0 => note(found),
        _ => ok(found),
    }
}

fn steady(facts: &Facts) -> Verdict {
    let status = match set_up(&facts.tunnel) {
        Ok(status) => status,
        Err(not) => return not,
    };
    let uptime = match &facts.machine {
        Ok(machine) => machine.uptime_s.clamp(0.0, 1e12) as u64,
        Err(why) => return unknown(why),
    };
    // The first time is no fault.
    let again = status.connected.saturating_sub(1);
    let days = (uptime / DAY).max(1);
    let found = format!(
        "It came up {} since the box was switched on {} ago.",
        times(u32::try_from(status.connected).unwrap_or(u32::MAX)),
        rounded(Duration::from_secs(uptime))
    );
    match again / days {
        0..=2 => ok(found),
        3..=9 => note(found),
        _ => warning(found),
    }
}

fn sending(facts: &Facts) -> Verdict {
    match set_up(&facts.tunnel) {
        Err(not) => not,
        Ok(status) => match &status.send_fault {
            None => ok("The last packet was sent."),
            Some(why) => warning(format!(
                "The last packet could not be sent: {}.",
                why.trim_end_matches('.')
            )),
        },
    }
}

fn strangers(facts: &Facts) -> Verdict {
    let rejected = match set_up(&facts.tunnel) {
        Ok(status) => status.rejected,
        Err(not) => return not,
    };
    let bad = [rejected.forged, rejected.replayed, rejected.misaddressed];
    match bad.iter().fold(0u64, |sum, more| sum.saturating_add(*more)) {
        0 => ok("No packet had to be thrown away."),
        _ => note(format!(
            "Thrown away: {} forged, {} seen before, {} with addresses that do not belong there.",
            rejected.forged, rejected.replayed, rejected.misaddressed
        )),
    }
}
