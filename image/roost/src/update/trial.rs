//! Waiting through a restart on trial: what a box's reports, or their absence, say about it.
//!
//! | the box | with | means |
//! |---|---|---|
//! | says nothing | | it is restarting, or its network is |
//! | is on trial of the wanted version | | it is up; its checks are told as they are answered |
//! | tells a new outcome for that version | | that is the verdict |
//! | runs the wanted version, and is idle | | kept, though nobody says so |
//! | runs the version from before | a restart in between | the outcome comes within [`SAY_WHY`], else: rolled back, and nobody says why |
//! | runs the version from before | no restart | it is stopping its services, at most [`GO_DOWN`] |

use crate::device::error::DeviceError;
use crate::device::link::Link;
use crate::device::words::{check, version};
use crate::device::{Device, demand, status};
use crate::error::Failure;
use crate::ui::{Step, Ui, seconds};
use roost_service::update::{Call, Check, Outcome, Phase, Report, Version};
use serde_json::json;
use std::time::{Duration, Instant};

/// Between two looks at the box.
const EVERY: Duration = Duration::from_secs(1);
/// A trial ends after 10 minutes by itself; then a restart, and some slack.
pub const LIMIT: Duration = Duration::from_secs(15 * 60);
/// init stops services, kills what is left and lets go of the card within 275 s at the very most.
const GO_DOWN: Duration = Duration::from_secs(300);
/// After a restart the updater needs some seconds to find out what has happened.
const SAY_WHY: Duration = Duration::from_secs(90);
/// A clock that runs apart, and the time that a report takes.
const SLACK: Duration = Duration::from_secs(10);

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The wanted version was kept; with the box's account of it if there is one.
    Kept(Option<Outcome>),
    /// The version from before runs; with the box's account of it if there is one.
    RolledBack(Option<Outcome>),
    /// The box goes on as if it had not been asked.
    NoRestart,
    /// No verdict within [`LIMIT`].
    NoNews,
}

/// What a look at the box has brought.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The box is up on trial.
    Up,
    /// A check was answered, or its answer has changed.
    Check(Check),
    /// It is over.
    Over(Verdict),
}

/// What is known so far. No clock and no network in it.
#[derive(Debug)]
pub struct Watch {
    wanted: Version,
    /// The last outcome before the restart.
    last: Option<Outcome>,
    uptime_s: f64,
    checks: Vec<Check>,
    up: bool,
    /// When the version from before was first seen after a restart.
    back: Option<Duration>,
}

impl Watch {
    /// Watches for `wanted`; `before` is the report from just before the restart was asked for.
    pub fn new(wanted: Version, before: &Report) -> Self {
        Self {
            wanted,
            last: before.update.last.clone(),
            uptime_s: before.machine.uptime_s,
            checks: Vec::new(),
            up: false,
            back: None,
        }
    }

    /// What a report, or none, means `after` the restart was asked for.
    pub fn look(&mut self, after: Duration, report: Option<&Report>) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(report) = report
            && let Some(verdict) = self.take(after, report, &mut news)
        {
            news.push(News::Over(verdict));
        } else if after > LIMIT {
            news.push(News::Over(Verdict::NoNews));
        }
        news
    }

    fn take(&mut self, after: Duration, report: &Report, news: &mut Vec<News>) -> Option<Verdict> {
        let update = &report.update;
        match &update.phase {
            Phase::Trial {
                version, checks, ..
            } if version.number == self.wanted.number => {
                if !self.up {
                    self.up = true;
                    news.push(News::Up);
                }
                self.answered(checks, news);
                return None;
            }
            _ => {}
        }
        if let Some(outcome) = &update.last
            && outcome.to.number == self.wanted.number
            && update.last != self.last
        {
            return Some(match &outcome.rolled_back {
                None => Verdict::Kept(Some(outcome.clone())),
                Some(_) => Verdict::RolledBack(Some(outcome.clone())),
            });
        }
        if update.running.number == self.wanted.number {
            return (update.phase == Phase::Idle).then_some(Verdict::Kept(None));
        }
        let expected = Duration::try_from_secs_f64(self.uptime_s).unwrap_or_default() + after;
        let restarted =
            self.up || report.machine.uptime_s + SLACK.as_secs_f64() < expected.as_secs_f64();
        if !restarted {
            return (after > GO_DOWN).then_some(Verdict::NoRestart);
        }
        let back = *self.back.get_or_insert(after);
        (after.saturating_sub(back) > SAY_WHY).then_some(Verdict::RolledBack(None))
    }

    fn answered(&mut self, checks: &[Check], news: &mut Vec<News>) {
        for check in checks {
            let before = self.checks.iter().find(|c| c.name == check.name);
            if check.passed.is_some() && before.and_then(|b| b.passed) != check.passed {
                news.push(News::Check(check.clone()));
            }
        }
        self.checks = checks.to_vec();
    }

    /// The checks that were not answered when it was looked last.
    fn open(&self) -> Vec<&str> {
        self.checks
            .iter()
            .filter(|c| c.passed.is_none())
            .map(|c| c.name.as_str())
            .collect()
    }
}

/// Asks for a restart on trial ([`Call::Trial`] or [`Call::Rollback`]), and gives the box's
/// report from just before it.
///
/// # Errors
///
/// [`DeviceError`]. If the connection is cut after the call was sent, that is no error: whether
/// the box has heard it, [`wait`] finds out.
pub fn start(
    device: &mut Device<'_>,
    mut link: Link,
    call: &Call,
    ui: &Ui,
) -> Result<Report, DeviceError> {
    let before = match status(&mut link) {
        Ok(report) => report,
        // The box may have taken its time, and something on the way has forgotten the connection.
        Err(e) if e.may_pass() => {
            let (again, report) = device.open()?;
            link = again;
            report
        }
        Err(e) => return Err(e),
    };
    match demand(&mut link, call) {
        Err(e) if e.may_pass() => ui.warn(format!("{e}; looking whether the box restarts")),
        other => other?,
    }
    Ok(before)
}

/// Waits for the verdict on `wanted`, and tells what happens meanwhile.
///
/// # Errors
///
/// A [`Failure`] for Ctrl-C.
pub fn wait(
    device: &mut Device<'_>,
    wanted: &Version,
    before: &Report,
    ui: &Ui,
) -> Result<Verdict, Failure> {
    let asked = Instant::now();
    let mut watch = Watch::new(wanted.clone(), before);
    let mut restart = Some(ui.step("restart the box"));
    let mut trial: Option<Step<'_>> = None;
    loop {
        if !device.stop.wait(EVERY) {
            return Err(interrupted(wanted, &before.update.running));
        }
        // An unreachable box is expected; whatever else goes wrong is no verdict either.
        let report = device.open().ok().map(|(_, report)| report);
        for news in watch.look(asked.elapsed(), report.as_ref()) {
            match news {
                News::Up => {
                    if let Some(step) = restart.take() {
                        step.done(format!("{} is on trial", version(wanted)));
                    }
                    trial = Some(ui.step("trial"));
                }
                News::Check(found) => {
                    ui.event_line(&json!({
                        "event": "check", "name": found.name, "passed": found.passed, "detail": found.detail,
                    }));
                    if ui.mode() != crate::ui::Mode::Json {
                        ui.info(format!("    {}", check(&found)));
                    }
                }
                News::Over(verdict) => {
                    if matches!(verdict, Verdict::Kept(_)) {
                        for step in restart.take().into_iter().chain(trial.take()) {
                            step.done("");
                        }
                    }
                    return Ok(verdict);
                }
            }
        }
        if let Some(step) = &trial {
            step.message(watch.open().join(", "));
        }
    }
}

fn interrupted(wanted: &Version, from: &Version) -> Failure {
    Failure::interrupted("stopped waiting for the box")
        .because(format!(
            "it goes on by itself: it keeps {} if all checks pass, and returns to {} if not",
            version(wanted),
            version(from)
        ))
        .hint("`roost status` shows how it ended")
}

/// The failure of a command that got no verdict.
pub fn no_verdict(verdict: &Verdict, device: &Device<'_>) -> Failure {
    let limit = match verdict {
        Verdict::NoRestart => GO_DOWN,
        _ => LIMIT,
    };
    let address = &device.address;
    match verdict {
        Verdict::NoRestart => Failure::new(format!("{address} does not restart"))
            .because(format!("it runs on {} after it has agreed to", seconds(limit)))
            .hint("`roost logs` shows why; `roost reboot` asks again"),
        _ => Failure::new(format!("no news from {address}"))
            .because(format!("nothing was heard of it for {}", seconds(limit)))
            .hint("it may have another address now: look into your router. Else pull its plug and put it back: it then starts the version that it has kept"),
    }
}
