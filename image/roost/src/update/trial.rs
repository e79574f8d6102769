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
use crate::device::words::{check_so_far, version};
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
    /// No verdict within [`LIMIT`]; with what was heard last.
    NoNews(String),
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
            let heard = "it answers, but its trial has no end".to_owned();
            news.push(News::Over(Verdict::NoNews(heard)));
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
        let (report, error) = match device.open() {
            Ok((_, report)) => (Some(report), None),
            Err(e) => (None, Some(e)),
        };
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
                        ui.info(format!("    {}", check_so_far(&found)));
                    }
                }
                News::Over(verdict) => {
                    if matches!(verdict, Verdict::Kept(_)) {
                        for step in restart.take().into_iter().chain(trial.take()) {
                            step.done("");
                        }
                    }
                    return Ok(match (verdict, error) {
                        (Verdict::NoNews(_), Some(e)) => Verdict::NoNews(e.to_string()),
                        (verdict, _) => verdict,
                    });
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

/// The failure of a command after [`Verdict::NoRestart`].
pub fn no_restart(device: &Device<'_>) -> Failure {
    Failure::new(format!("{} does not restart", device.address))
        .because(format!(
            "it still runs, {} after it has agreed to",
            seconds(GO_DOWN)
        ))
        .hint("`roost logs` may show why; `roost reboot` asks again")
}

/// The failure of a command after [`Verdict::NoNews`].
pub fn no_news(device: &Device<'_>, heard: &str) -> Failure {
    Failure::new(format!("no verdict from {}", device.address))
        .because(format!("{heard}, {} after the restart was asked for", seconds(LIMIT)))
        .hint("the box may have another address now: look into your router. Else pull its plug and put it back: it then starts the version that it has kept")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roost_service::control::BoxStatus;
    use roost_service::update::{Reason, UpdateStatus};

    fn version(number: u64) -> Version {
        Version {
            number,
            name: number.to_string(),
        }
    }

    /// A box on version `running` that is up for so long.
    fn report(running: u64, uptime_s: f64) -> Report {
        Report {
            machine: BoxStatus {
                name: "roost".into(),
                version: "0.1.0".into(),
                slot: 2,
                trial_left_s: None,
                uptime_s,
                rescue: None,
                ready: true,
                ready_after_s: None,
                clock_synced: true,
                addresses: Vec::new(),
                memory_total: 0,
                memory_available: 0,
                data_total: 0,
                data_free: 0,
                data_written: 0,
                services: Vec::new(),
            },
            update: UpdateStatus {
                running: version(running),
                other: None,
                phase: Phase::Idle,
                last: None,
                earlier: Vec::new(),
            },
        }
    }

    fn on_trial(checks: &[(&str, Option<bool>)]) -> Report {
        let mut report = report(15, 20.0);
        let checks = checks.iter().map(|(name, passed)| Check {
            name: (*name).into(),
            passed: *passed,
            detail: String::new(),
        });
        report.update.phase = Phase::Trial {
            version: version(15),
            from: version(14),
            checks: checks.collect(),
        };
        report
    }

    fn ended(mut report: Report, rolled_back: bool) -> Report {
        report.update.last = Some(Outcome {
            from: version(14),
            to: version(15),
            at: 0,
            took_s: 60,
            rolled_back: rolled_back.then(|| Reason {
                summary: "mail does not deliver".into(),
                checks: Vec::new(),
                log: Vec::new(),
            }),
        });
        report
    }

    fn watch() -> Watch {
        Watch::new(version(15), &report(14, 1000.0))
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn verdict(news: &[News]) -> Option<&Verdict> {
        match news {
            [.., News::Over(verdict)] => Some(verdict),
            _ => None,
        }
    }

    #[test]
    fn each_answer_is_told_once() {
        let mut watch = watch();
        assert_eq!(watch.look(s(1), Some(&report(14, 1001.0))), []);
        assert_eq!(watch.look(s(5), None), []);
        let open = on_trial(&[("a", None), ("b", None)]);
        assert_eq!(watch.look(s(30), Some(&open)), [News::Up]);
        assert_eq!(watch.open(), ["a", "b"]);
        let one = on_trial(&[("a", Some(true)), ("b", None)]);
        assert!(matches!(&watch.look(s(31), Some(&one))[..], [News::Check(c)] if c.name == "a"));
        assert_eq!(watch.look(s(32), Some(&one)), []);
        assert_eq!(watch.open(), ["b"]);
        let both = on_trial(&[("a", Some(false)), ("b", Some(true))]);
        assert_eq!(watch.look(s(33), Some(&both)).len(), 2);
        let news = watch.look(s(40), Some(&ended(report(15, 50.0), false)));
        assert!(matches!(verdict(&news), Some(Verdict::Kept(Some(_)))));
    }

    #[test]
    fn a_trial_that_was_never_seen_has_a_verdict_too() {
        let news = watch().look(s(60), Some(&ended(report(14, 5.0), true)));
        assert!(matches!(verdict(&news), Some(Verdict::RolledBack(Some(_)))));
        let news = watch().look(s(60), Some(&report(15, 5.0)));
        assert_eq!(verdict(&news), Some(&Verdict::Kept(None)));
    }

    #[test]
    fn an_older_outcome_for_the_same_version_is_no_verdict() {
        let before = ended(report(14, 1000.0), true);
        let mut watch = Watch::new(version(15), &before);
        assert_eq!(watch.look(s(1), Some(&ended(report(14, 1001.0), true))), []);
    }

    #[test]
    fn a_box_that_is_back_without_a_word_was_rolled_back() {
        let mut watch = watch();
        assert_eq!(watch.look(s(60), Some(&report(14, 10.0))), []);
        assert_eq!(watch.look(s(149), Some(&report(14, 99.0))), []);
        let news = watch.look(s(151), Some(&report(14, 101.0)));
        assert_eq!(verdict(&news), Some(&Verdict::RolledBack(None)));
    }

    #[test]
    fn a_box_that_only_runs_on_does_not_restart() {
        let mut watch = watch();
        assert_eq!(watch.look(s(299), Some(&report(14, 1299.0))), []);
        let news = watch.look(s(301), Some(&report(14, 1301.0)));
        assert_eq!(verdict(&news), Some(&Verdict::NoRestart));
    }

    proptest! {
        /// Whatever a box says or does not say: no panic, an end in time, and nothing is called
        /// kept that the box does not say it runs.
        #[test]
        fn every_wait_ends(
            steps in prop::collection::vec(
                (1_u64..40, prop::option::of((13_u64..17, 0.0..2000.0, any::<bool>(), prop::option::of(any::<bool>())))),
                1..60,
            ),
        ) {
            let mut watch = watch();
            let mut now = 0;
            for (step, seen) in steps {
                now += step;
                let seen = seen.map(|(running, uptime, trial, last)| {
                    let mut report = if trial && running == 15 {
                        on_trial(&[("a", last)])
                    } else {
                        report(running, uptime)
                    };
                    if let Some(back) = last {
                        report = ended(report, back);
                    }
                    report
                });
                match verdict(&watch.look(s(now), seen.as_ref())) {
                    Some(Verdict::Kept(None)) => {
                        prop_assert_eq!(seen.unwrap().update.running, version(15));
                        return Ok(());
                    }
                    Some(Verdict::Kept(Some(o))) => {
                        prop_assert_eq!(&o.rolled_back, &None);
                        return Ok(());
                    }
                    Some(_) => return Ok(()),
                    None => prop_assert!(now <= LIMIT.as_secs()),
                }
            }
        }
    }
}
