//! Things that a box reports, made up.

use roost_service::control::{BoxStatus, ServiceStatus};
use roost_service::update::{
    Answer, Check, Offer, Outcome, Phase, Reason, Report, UpdateStatus, Version,
};

pub fn version(number: u64) -> Version {
    Version {
        number,
        name: format!("0.1.0+{number}"),
    }
}

/// A box that runs version 14 for three days.
pub fn report() -> Report {
    let service = |name: &str, state: &str, detail: &str, memory| ServiceStatus {
        name: name.into(),
        state: state.into(),
        detail: detail.into(),
        pid: Some(100),
        restarts: 0,
        memory,
    };
    Report {
        machine: BoxStatus {
            name: "roost".into(),
            version: "0.1.0".into(),
            slot: 2,
            trial_left_s: None,
            uptime_s: 273_600.0,
            rescue: None,
            ready: true,
            ready_after_s: Some(21.3),
            clock_synced: true,
            addresses: vec!["192.168.1.5/24".into(), "fd00::5/64".into()],
            memory_total: 1_000_000_000,
            memory_available: 688_000_000,
            data_total: 29_100_000_000,
            data_free: 27_900_000_000,
            data_written: 3_400_000,
            services: vec![
                service("mail", "ready", "", Some(120_000_000)),
                service("updater", "ready", "waits for the laptop", Some(8_100_000)),
            ],
        },
        update: UpdateStatus {
            running: version(14),
            other: Some(version(13)),
            phase: Phase::Idle,
            last: None,
            earlier: Vec::new(),
        },
    }
}

/// The same box shortly after a restart.
pub fn restarted() -> Report {
    let mut report = report();
    report.machine.uptime_s = 12.0;
    report
}

pub fn on_trial(mut report: Report, to: u64, checks: &[Check]) -> Report {
    report.machine.slot = 3;
    report.machine.trial_left_s = Some(512.0);
    report.update.phase = Phase::Trial {
        version: version(to),
        from: report.update.running.clone(),
        checks: checks.to_vec(),
    };
    report.update.other = Some(report.update.running.clone());
    report.update.running = version(to);
    report
}

pub fn kept(mut report: Report, to: u64) -> Report {
    report.machine.slot = 3;
    report.update.last = Some(outcome(report.update.running.number, to, None));
    report.update.other = Some(report.update.running.clone());
    report.update.running = version(to);
    report
}

pub fn rolled_back(mut report: Report, to: u64) -> Report {
    let why = Reason {
        summary: "mail does not deliver".into(),
        checks: vec![
            check("services ready", Some(true), "2 of 2"),
            check(
                "mail delivers",
                Some(false),
                "no message came back within 60 s",
            ),
        ],
        log: vec![
            "updater: a message was sent to port 25".into(),
            "mail: cannot open the queue: \u{1b}[31mno such table".into(),
        ],
    };
    report.update.last = Some(outcome(report.update.running.number, to, Some(why)));
    report
}

/// As a box without a clock tells it: its age depends on when the test runs.
pub fn outcome(from: u64, to: u64, rolled_back: Option<Reason>) -> Outcome {
    Outcome {
        from: version(from),
        to: version(to),
        at: 75,
        took_s: 75,
        rolled_back,
    }
}

pub fn check(name: &str, passed: Option<bool>, detail: &str) -> Check {
    Check {
        name: name.into(),
        passed,
        detail: detail.into(),
    }
}

pub fn offer(from: u64, to: u64, ranges: &[(u64, u64)]) -> Offer {
    Offer {
        from: version(from),
        to: version(to),
        ranges: ranges.to_vec(),
        send: ranges.iter().map(|(from, to)| to - from).sum(),
        write: 2_100_000,
        copied: 1_700_000,
    }
}

pub fn status(report: &Report) -> Answer {
    Answer::Status(Box::new(report.clone()))
}
