//! The box as a machine.

use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, count, failed, note, ok, some, unknown, warning};
use crate::web::{bytes, rounded, times};
use roost_service::control::ServiceStatus;
use std::time::Duration;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "box-rescue",
        what: "The box runs normally",
        how: "Failed while init holds the box in its rescue state, in which it takes no mail, or says that the card \
              fails.",
        to_do: "Restart the box: `roost reboot`. If that does not help, return to the version before with \
                `roost rollback`; if the card is what fails, make a backup (`roost backup FOLDER`), and \
                `roost restore` writes a new one from it.",
        decide: rescue,
    },
    Check {
        id: "box-services",
        what: "Every service works",
        how: "Asked of init. Failed if a service has failed, is stopped or waits to be started again after it ended; a \
              warning while one is starting.",
        to_do: "A service that ended is started again by itself. If it stays like this, `roost logs SERVICE` says why, \
                and `roost reboot` starts all of them anew.",
        decide: services,
    },
    Check {
        id: "box-restarts",
        what: "No service ends by itself",
        how: "How often init had to start a service again since the box was switched on: a note from the first time, a \
              warning from the fifth.",
        to_do: "`roost logs SERVICE` says why it ended. If it goes on, please report it with these lines.",
        decide: restarts,
    },
    Check {
        id: "box-memory",
        what: "There is memory left",
        how: "What the kernel could give to programs (`MemAvailable`): a warning below a tenth of the memory, failed \
              below a twenty-fifth.",
        to_do: "`roost status` shows what each service takes. Fewer programs that are connected all the time need less; a \
                Raspberry Pi with more memory helps for good.",
        decide: memory,
    },
    Check {
        id: "box-memory-ended",
        what: "No program was ended for want of memory",
        how: "Lines of the kernel's log since the box was switched on. A warning if there is one.",
        to_do: "`roost logs init` says which service it was, and how much it had. It was started again; mail that it had \
                taken is on the card.",
        decide: memory_ended,
    },
    Check {
        id: "box-heat",
        what: "The processor is cool enough",
        how: "The kernel's thermometer: a warning from 80 °C on, where a Raspberry Pi slows itself down, failed from \
              85 °C on.",
        to_do: "Give the box air, or a case with a heat sink.",
        decide: heat,
    },
    Check {
        id: "box-power",
        what: "The box went down in order the last time",
        how: "What init says at its start. A note if the power was cut, the kernel gave up, or the watchdog restarted \
              the box. Mail that was acknowledged is on the card all the same.",
        to_do: "If nobody pulled the plug, look at the power supply: too weak a one restarts a Raspberry Pi.",
        decide: power,
    },
];

/// How many restarts are too many.
const MANY_RESTARTS: u32 = 5;
/// Degrees at which a Pi slows itself down, and at which it does so for good.
const HOT: f64 = 80.0;
const TOO_HOT: f64 = 85.0;
/// What init logs after an end without order (`services/init/src/pid1.rs`).
const NO_ORDER: &str = "did not go down in order";

fn rescue(facts: &Facts) -> Verdict {
    match &facts.machine {
        Err(why) => failed(format!("Nobody knows how the box is: {why}."))
            .to_do("Take the box's power away and give it back."),
        Ok(machine) => match &machine.rescue {
            Some(why) => failed(format!("The box says: {why}.")),
            None => ok(format!(
                "Version {}, switched on {} ago.",
                machine.version,
                rounded(Duration::from_secs_f64(machine.uptime_s.clamp(0.0, 1e12)))
            )),
        },
    }
}

fn services(facts: &Facts) -> Verdict {
    let services = match &facts.machine {
        Ok(machine) => &machine.services,
        Err(why) => return unknown(why),
    };
    let of = |states: &[&str]| -> Vec<&ServiceStatus> {
        let all = services.iter();
        all.filter(|service| states.contains(&service.state.as_str()))
            .collect()
    };
    let starting = of(&["waiting", "starting", "stopping"]);
    let not = |service: &&ServiceStatus| {
        service.state != "ready" && !starting.iter().any(|one| one.name == service.name)
    };
    let broken: Vec<&ServiceStatus> = services.iter().filter(not).collect();
    let told = |of: &[&ServiceStatus]| {
        let all = of.iter();
        let all: Vec<String> = all
            .map(|service| match service.detail.as_str() {
                "" => format!("{} is in the state {}.", service.name, service.state),
                detail => format!(
                    "{} is in the state {}: {}.",
                    service.name,
                    service.state,
                    detail.trim_end_matches('.')
                ),
            })
            .collect();
        all.join(" ")
    };
    if !broken.is_empty() {
        return failed(told(&broken));
    }
    if !starting.is_empty() {
        return warning(told(&starting)).to_do("Look again in a minute.");
    }
    if services.is_empty() {
        return unknown("init names no service");
    }
    ok(format!("{} are ready.", count(services.len(), "service")))
}

fn restarts(facts: &Facts) -> Verdict {
    let machine = match &facts.machine {
        Ok(machine) => machine,
        Err(why) => return unknown(why),
    };
    let again: Vec<String> = (machine.services.iter())
        .filter(|service| service.restarts > 0)
        .map(|service| format!("{} {}", service.name, times(service.restarts)))
        .collect();
    let most = machine.services.iter().map(|service| service.restarts);
    let found = format!(
        "Started again since the box was switched on: {}.",
        some(&again)
    );
    match most.max().unwrap_or(0) {
        0 => ok("None has ended since the box was switched on."),
        1..MANY_RESTARTS => note(found),
        _ => warning(found),
    }
}

fn memory(facts: &Facts) -> Verdict {
    let machine = match &facts.machine {
        Ok(machine) => machine,
        Err(why) => return unknown(why),
    };
    let (free, total) = (machine.memory_available, machine.memory_total);
    if total == 0 {
        return unknown("the kernel does not say how much memory there is");
    }
    let found = format!("{} of {} are free.", bytes(free), bytes(total));
    if free < total / 25 {
        failed(found)
    } else if free < total / 10 {
        warning(found)
    } else {
        ok(found)
    }
}

fn memory_ended(facts: &Facts) -> Verdict {
    let log = match &facts.kernel_log {
        Ok(log) => log,
        Err(why) => return unknown(format!("the kernel's log cannot be read: {why}")),
    };
    let ended = log.iter().filter(|line| {
        line.contains("Out of memory: Killed process")
            || line.contains("Memory cgroup out of memory")
    });
    match ended.count() {
        0 => ok("The kernel's log has no such line."),
        times => warning(format!(
            "The kernel has ended {} for want of memory since the box was switched on.",
            count(times, "program")
        )),
    }
}

fn heat(facts: &Facts) -> Verdict {
    let Some(degrees) = facts.degrees else {
        return unknown("this machine has no thermometer that it shows");
    };
    let found = format!("The processor has {degrees:.0} °C.");
    if degrees >= TOO_HOT {
        failed(found)
    } else if degrees >= HOT {
        warning(found)
    } else {
        ok(found)
    }
}

fn power(facts: &Facts) -> Verdict {
    match &facts.init_log {
        Err(why) => unknown(format!("init's log cannot be read: {why}")),
        Ok(log) if log.iter().any(|line| line.contains(NO_ORDER)) => {
            note("Before this start the power was cut, the kernel gave up, or the watchdog restarted the box.").advised()
        }
        Ok(_) => ok("Init's log of this start says nothing else."),
    }
}
