//! What this boot has done so far, and when, for the boot chart.
//!
//! stage1 hands its own steps to init in an environment variable: it ends as init begins, and
//! neither the kernel's log nor a file could be taken for anything else afterwards. Only the first
//! time counts: what is restarted later is no part of the boot.

use crate::clock;
use crate::supervisor::{Service, State};
use roost_service::boot_times::{BootMark, BootStep, BootTimes, Stage};
use std::time::Duration;

/// What stage1 tells init in, see [`Steps::hand_over`].
pub const STAGE1_ENV: &str = "ROOST_STAGE1_STEPS";
/// Steps and marks that are kept of each: several times what a box has.
const MAX: usize = 64;

/// Mark: an address that others can reach.
pub const ADDRESS: &str = "network address";
/// Mark: every required service was ready for the first time.
pub const READY: &str = "services ready";

/// stage1's steps: each begins where the one before ended.
#[derive(Debug)]
pub struct Steps {
    text: String,
    last: u64,
}

impl Steps {
    /// Begins now.
    pub fn begin() -> Self {
        Self::at(clock::since_boot())
    }

    fn at(now: Duration) -> Self {
        let last = micros(now);
        Self {
            text: last.to_string(),
            last,
        }
    }

    /// A step has ended now.
    pub fn done(&mut self, name: &str) {
        self.done_at(clock::since_boot(), name);
    }

    fn done_at(&mut self, now: Duration, name: &str) {
        self.last = micros(now);
        self.text += &format!(";{}={name}", self.last);
    }

    /// For [`STAGE1_ENV`]: when it began, then when each step ended, `12;34=modules;56=disk`.
    pub fn hand_over(&self) -> &str {
        &self.text
    }
}

/// Everything known of this boot; bounded.
#[derive(Debug, Default)]
pub struct BootLog(BootTimes);

impl BootLog {
    /// What stage1 has told. What is not understood is left out: a chart is worth no refused boot.
    pub fn new(version: &str, told: Option<&str>) -> Self {
        let mut log = Self(BootTimes {
            version: version.to_owned(),
            ..BootTimes::default()
        });
        let mut parts = told.unwrap_or_default().split(';');
        let Some(mut last) = parts.next().and_then(|start| start.parse().ok()) else {
            return log;
        };
        log.push(Stage::Kernel, "kernel", 0, Some(last));
        for part in parts {
            let Some((end, name)) = part.split_once('=') else {
                continue;
            };
            let Ok(end) = end.parse() else { continue };
            log.push(Stage::Stage1, name, last, Some(end));
            last = end;
        }
        log
    }

    /// A step of init's own begins.
    pub fn begin(&mut self, now: Duration, name: &str) {
        self.push(Stage::Init, name, micros(now), None);
    }

    /// It has ended.
    pub fn end(&mut self, now: Duration, name: &str) {
        self.close(Stage::Init, name, micros(now));
    }

    /// Something has come true.
    pub fn mark(&mut self, now: Duration, name: &str) {
        let marks = &mut self.0.marks;
        if marks.len() < MAX && marks.iter().all(|mark| mark.name != name) {
            marks.push(BootMark {
                name: name.to_owned(),
                at_us: micros(now),
            });
        }
    }

    /// A service is about to be started. Making its container is part of that.
    pub fn launch(&mut self, now: Duration, service: &str) {
        self.push(Stage::Service, service, micros(now), None);
    }

    /// Notes which services are ready.
    pub fn follow(&mut self, services: &[Service]) {
        for service in services {
            if let State::Ready { since, .. } = service.state {
                self.close(Stage::Service, &service.spec.name, micros(since));
            }
        }
    }

    /// All of it, for the answer to a request.
    pub fn times(&self) -> &BootTimes {
        &self.0
    }

    fn push(&mut self, stage: Stage, name: &str, start_us: u64, end_us: Option<u64>) {
        let steps = &mut self.0.steps;
        let known = |step: &BootStep| step.stage == stage && step.name == name;
        if steps.len() < MAX && !steps.iter().any(known) {
            steps.push(BootStep {
                stage,
                name: name.to_owned(),
                start_us,
                end_us,
            });
        }
    }

    fn close(&mut self, stage: Stage, name: &str, end_us: u64) {
        let step = self
            .0
            .steps
            .iter_mut()
            .find(|step| step.stage == stage && step.name == name);
        if let Some(step) = step.filter(|step| step.end_us.is_none()) {
            step.end_us = Some(end_us);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Jitter;
    use crate::supervisor::{Event, Supervisor};
    use roost_service::notify::Message;
    use roost_service::spec::ServiceSpec;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn stage1_hands_its_steps_over() {
        let mut steps = Steps::at(ms(700));
        steps.done_at(ms(900), "modules");
        steps.done_at(ms(950), "disk");
        let log = BootLog::new("1", Some(steps.hand_over()));
        let told: Vec<_> = log
            .times()
            .steps
            .iter()
            .map(|step| (step.stage, step.name.as_str(), step.start_us, step.end_us))
            .collect();
        assert_eq!(
            told,
            [
                (Stage::Kernel, "kernel", 0, Some(700_000)),
                (Stage::Stage1, "modules", 700_000, Some(900_000)),
                (Stage::Stage1, "disk", 900_000, Some(950_000)),
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        for told in [None, Some(""), Some("x;1=y")] {
            assert_eq!(BootLog::new("1", told).times().steps, []);
        }
        let log = BootLog::new("1", Some("5;z;9=disk;=;"));
        assert_eq!(log.times().steps.len(), 2, "kernel and disk");
    }

    #[test]
    fn only_the_first_start_of_a_service_is_the_boots() {
        let mut log = BootLog::default();
        let mut supervisor = Supervisor::new(vec![ServiceSpec::plain("mail", 800)], Jitter::new(0));
        for (at, event) in [
            (1, Event::Release),
            (2, Event::Started(0, 7)),
            (50, Event::Notified(0, Message::Ready)),
            (60, Event::Dead(7, crate::supervisor::Exit::Code(1))),
            (1000, Event::Tick),
            (1001, Event::Started(0, 8)),
            (1050, Event::Notified(0, Message::Ready)),
        ] {
            for action in supervisor.handle(ms(at), event) {
                if matches!(action, crate::supervisor::Action::Start(_)) {
                    log.launch(ms(at), "mail");
                }
            }
            log.follow(supervisor.services());
        }
        let steps = &log.times().steps;
        assert_eq!(steps.len(), 1);
        assert_eq!((steps[0].start_us, steps[0].end_us), (1_000, Some(50_000)));
    }

    #[test]
    fn it_is_bounded() {
        let mut log = BootLog::default();
        for n in 0..1000 {
            log.begin(ms(n), &n.to_string());
            log.mark(ms(n), &n.to_string());
        }
        assert_eq!(
            (log.times().steps.len(), log.times().marks.len()),
            (MAX, MAX)
        );
        log.mark(ms(5000), "0");
        assert_eq!(log.times().marks[0].at_us, 0, "the first time counts");
    }
}
