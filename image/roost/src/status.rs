//! `roost status`: how the box is, on one screen.

use crate::cli::StatusArgs;
use crate::device::Device;
use crate::device::stop::Stop;
use crate::device::words::{check, outcome, plain, span, version};
use crate::error::Failure;
use crate::ui::table::{Align, Table};
use crate::ui::{Ui, size};
use anstyle::{AnsiColor, Style};
use roost_service::update::{Phase, Report};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::SystemTime;

const RED: Style = AnsiColor::Red.on_default().bold();

/// `roost status`.
pub fn run(args: &StatusArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        address: String,
        #[serde(flatten)]
        report: &'a Report,
    }
    let mut device = Device::of(&args.which, args.argument.as_ref(), Stop::default(), ui)?;
    let (_, report) = device
        .open()
        .map_err(|e| device.failure("cannot read the status of", e))?;
    let address = device.address.to_string();
    ui.result(
        render(&address, &report, SystemTime::now()),
        &Result {
            address,
            report: &report,
        },
    );
    Ok(())
}

/// The screen, as of `now` by this machine's clock.
fn render(address: &str, report: &Report, now: SystemTime) -> String {
    let machine = &report.machine;
    let mut text = String::new();
    if let Some(why) = &machine.rescue {
        let (on, off) = (RED.render(), RED.render_reset());
        let _ = writeln!(
            text,
            "  {on}rescue{off}      {}: no mail is taken\n",
            plain(why)
        );
    }
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:<10}  {value}").expect("writing to a string");
    };
    line("box", &format!("{} at {address}", plain(&machine.name)));
    line("version", &running(report));
    line("up", &up(report));
    let addresses: Vec<String> = machine.addresses.iter().map(|a| plain(a)).collect();
    line(
        "addresses",
        &match addresses.as_slice() {
            [] => "none".to_owned(),
            some => some.join(", "),
        },
    );
    let used = |total: u64, free: u64| {
        format!(
            "{} of {} used",
            size(total.saturating_sub(free)),
            size(total)
        )
    };
    line(
        "memory",
        &used(machine.memory_total, machine.memory_available),
    );
    line(
        "disk",
        &format!(
            "{}, {} written since the start",
            used(machine.data_total, machine.data_free),
            size(machine.data_written)
        ),
    );
    if !machine.clock_synced {
        line("clock", "not set: no time server has answered yet");
    }
    line("update", &phase(report));
    if let Phase::Trial { checks, .. } = &report.update.phase {
        for found in checks {
            let _ = writeln!(text, "              {}", check(found));
        }
    }
    if let Some(last) = &report.update.last {
        for (n, part) in outcome(last, now).lines().enumerate() {
            let name = if n == 0 { "last" } else { "" };
            let _ = writeln!(text, "  {name:<10}  {part}");
        }
    }
    let mut services = Table::new([
        ("service", Align::Left),
        ("state", Align::Left),
        ("memory", Align::Right),
        ("restarts", Align::Right),
        ("", Align::Left),
    ]);
    for service in &machine.services {
        services.row([
            plain(&service.name),
            plain(&service.state),
            service.memory.map(size).unwrap_or_default(),
            service.restarts.to_string(),
            plain(&service.detail),
        ]);
    }
    if !machine.services.is_empty() {
        text.push('\n');
        text += &services.render();
    }
    text
}

fn running(report: &Report) -> String {
    let slot = match report.machine.slot {
        2 => "A".to_owned(),
        3 => "B".to_owned(),
        n => format!("in partition {n}"),
    };
    let other = match &report.update.other {
        Some(other) => format!("; the other slot has {}", version(other)),
        None => String::new(),
    };
    format!("{}, slot {slot}{other}", version(&report.update.running))
}

fn up(report: &Report) -> String {
    let machine = &report.machine;
    let ready = match (machine.ready, machine.ready_after_s) {
        (true, Some(after)) => format!(", ready after {}", span(after)),
        (true, None) => ", ready".to_owned(),
        (false, _) => ", not ready".to_owned(),
    };
    format!("{}{ready}", span(machine.uptime_s))
}

fn phase(report: &Report) -> String {
    match &report.update.phase {
        Phase::Idle => "none under way".to_owned(),
        Phase::Writing { version: to } => format!("{} is being written", version(to)),
        Phase::Staged { version: to } => {
            format!("{} is written and was not tried yet", version(to))
        }
        Phase::Trial {
            version: to, from, ..
        } => {
            let left = match report.machine.trial_left_s {
                Some(s) => format!(" within {}", span(s)),
                None => String::new(),
            };
            format!(
                "{} is on trial; the box returns to {}{left} if its checks do not pass",
                version(to),
                version(from)
            )
        }
    }
}
