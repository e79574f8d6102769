//! The health gate: whether a trial may be committed. Pure: it is told what was
//! seen and says what to do next; [`crate::trial`] does it.
//!
//! | it passes when, at the same time | because |
//! |---|---|
//! | init reports every required service ready for [`APART`] on end, and no rescue | a service in a crash loop is ready now and then |
//! | no required service was started again meanwhile | as above |
//! | every required service with a probe has answered without fault twice in a row, [`APART`] apart | running is not working |
//!
//! It fails before its deadline when waiting cannot help: in the rescue state,
//! when a required service was started again [`RESTARTS`] times, or when one
//! that is ready has shown for [`PATIENCE`] that it does not work.
//!
//! The internet is no part of it: a line that is down says nothing about the version.

use roost_service::control::BoxStatus;
use roost_service::probe::Answer;
use roost_service::spec::ServiceSpec;
use roost_service::update::Check;
use std::time::Duration;

/// The gate's deadline, from the start of the kernel. Init's own is 600 s: in
/// between there is time to write down the reason and to stop in order.
pub const DEADLINE: Duration = Duration::from_secs(480);
/// Time between two answers that count, and that readiness must last.
pub const APART: Duration = Duration::from_secs(10);
/// So many restarts of a required service are a crash loop. Init waits longer
/// before each, so that this takes a minute at least.
pub const RESTARTS: u32 = 8;
/// A service that is ready all the time and fails every probe for so long will
/// not come to itself: a cold card and a first look at name servers that do not
/// answer take less.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Time between two looks at the status.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Proves that the gate has passed in this boot.
#[derive(Debug)]
pub struct Passed(());

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Ask init, then call [`Gate::status`].
    AskStatus,
    /// Ask this service, then call [`Gate::answer`].
    Probe(String),
    /// Nothing before this time.
    WaitUntil(Duration),
    /// The trial may be committed.
    Pass(Passed),
    /// The trial must be given up, because of this.
    Fail(String),
}

#[derive(Debug)]
struct Probe {
    service: String,
    /// When it answered well, the first time of those in a row that count.
    since: Option<Duration>,
    /// When it failed, the first time of those in a row.
    failing: Option<Duration>,
    /// Two answers that count.
    passed: bool,
    /// When it is to be asked again.
    next: Duration,
    /// The last answer, in words.
    detail: String,
    asked: bool,
}

impl Probe {
    fn failed(&mut self, now: Duration, detail: String) {
        self.since = None;
        self.failing.get_or_insert(now);
        self.passed = false;
        self.detail = detail;
    }
}

/// The gate. Times are since the start of the kernel.
#[derive(Debug)]
pub struct Gate {
    required: Vec<String>,
    probes: Vec<Probe>,
    ready_since: Option<Duration>,
    /// Restarts of the required services, as last seen.
    restarts: Option<u32>,
    /// Why waiting cannot help.
    hopeless: Option<String>,
    next_look: Duration,
    /// The last look was after everything that counts.
    looked_last: bool,
    detail: String,
}

impl Gate {
    /// The gate of a box with these services.
    pub fn new(services: &[ServiceSpec]) -> Self {
        let required = || services.iter().filter(|spec| spec.required);
        Self {
            required: required().map(|spec| spec.name.clone()).collect(),
            probes: required()
                .filter(|spec| spec.probe)
                .map(|spec| Probe {
                    service: spec.name.clone(),
                    since: None,
                    failing: None,
                    passed: false,
                    next: Duration::ZERO,
                    detail: "not asked yet".into(),
                    asked: false,
                })
                .collect(),
            ready_since: None,
            restarts: None,
            hopeless: None,
            next_look: Duration::ZERO,
            looked_last: false,
            detail: "not asked yet".into(),
        }
    }

    /// What to do next.
    pub fn next(&self, now: Duration) -> Next {
        if let Some(reason) = &self.hopeless {
            return Next::Fail(reason.clone());
        }
        let lasting = self.ready_since.is_some_and(|since| now >= since + APART);
        if lasting && self.looked_last && self.probes.iter().all(|probe| probe.passed) {
            return Next::Pass(Passed(()));
        }
        if now >= DEADLINE {
            return Next::Fail(self.complaint());
        }
        if now >= self.next_look {
            return Next::AskStatus;
        }
        // A service that is not ready has nothing to show.
        let open = || self.probes.iter().filter(|probe| !probe.passed);
        if self.ready_since.is_some()
            && let Some(probe) = open().find(|probe| now >= probe.next)
        {
            return Next::Probe(probe.service.clone());
        }
        Next::WaitUntil(self.next_look.min(DEADLINE))
    }

    /// What init said at `now`, or why it said nothing.
    pub fn status(&mut self, now: Duration, status: Result<&BoxStatus, String>) {
        self.next_look = now + LOOK_EVERY;
        self.looked_last = true;
        let status = match status {
            Ok(status) => status,
            Err(error) => return self.not_ready(format!("init does not answer: {error}")),
        };
        if let Some(reason) = &status.rescue {
            self.hopeless = Some(format!("the box is in the rescue state: {reason}"));
            return self.not_ready(reason.clone());
        }
        let required = || {
            let ours = status.services.iter();
            ours.filter(|service| self.required.contains(&service.name))
        };
        let restarts = required().map(|service| service.restarts).sum();
        let unready: Vec<String> = required()
            .filter(|service| service.state != "ready")
            .map(|service| format!("{} is {} ({})", service.name, service.state, service.detail))
            .collect();
        if let Some(looping) = required().find(|service| service.restarts >= RESTARTS) {
            self.hopeless = Some(format!(
                "{} was started again {} times: {}",
                looping.name, looping.restarts, looping.detail
            ));
        }
        let before = self.restarts.replace(restarts);
        if !status.ready {
            return self.not_ready(if unready.is_empty() {
                "not every required service is ready".into()
            } else {
                unready.join(", ")
            });
        }
        if before.is_some_and(|before| before != restarts) {
            self.not_ready("a required service was started again".into());
        }
        let since = *self.ready_since.get_or_insert(now);
        self.detail = format!("ready since second {} of this boot", since.as_secs());
    }

    /// What a service answered at `now`, or why it did not.
    pub fn answer(&mut self, now: Duration, service: &str, answer: Result<Answer, String>) {
        let Some(probe) = self.probes.iter_mut().find(|p| p.service == service) else {
            return;
        };
        // What follows must be seen with this answer in.
        self.looked_last = false;
        self.next_look = now;
        probe.next = now + APART;
        probe.asked = true;
        match answer {
            Ok(Answer {
                fault: None,
                took_ms,
            }) => {
                let first = *probe.since.get_or_insert(now);
                probe.failing = None;
                probe.passed = now >= first + APART;
                probe.detail = format!("works, in {took_ms} ms");
            }
            Ok(Answer {
                fault: Some(fault), ..
            }) => probe.failed(now, fault),
            Err(error) => probe.failed(now, format!("no answer: {error}")),
        }
        if probe.failing.is_some_and(|since| now >= since + PATIENCE) {
            self.hopeless = Some(format!("{service} does not work: {}", probe.detail));
        }
    }

    /// How everything stands, for people.
    pub fn checks(&self) -> Vec<Check> {
        let services = Check {
            name: "required services are ready".into(),
            passed: self.restarts.map(|_| self.ready_since.is_some()),
            detail: self.detail.clone(),
        };
        let probes = self.probes.iter().map(|probe| Check {
            name: format!("{} works", probe.service),
            passed: probe.asked.then_some(probe.since.is_some()),
            detail: probe.detail.clone(),
        });
        [services].into_iter().chain(probes).collect()
    }

    /// Names of services that are behind a failure, to look into their logs.
    pub fn suspects(&self) -> Vec<String> {
        let failing = self.probes.iter().filter(|probe| !probe.passed);
        let named: Vec<String> = failing.map(|probe| probe.service.clone()).collect();
        if self.ready_since.is_none() || named.is_empty() {
            return self.required.clone();
        }
        named
    }

    /// What was seen before counts no longer: a service that fails in between
    /// must show from the beginning that it works.
    fn not_ready(&mut self, why: String) {
        self.ready_since = None;
        self.detail = why;
        for probe in &mut self.probes {
            probe.since = None;
            probe.failing = None;
            probe.passed = false;
        }
    }

    fn complaint(&self) -> String {
        let minutes = DEADLINE.as_secs() / 60;
        if self.ready_since.is_none() {
            return format!(
                "the required services were not ready within {minutes} minutes: {}",
                self.detail
            );
        }
        match self.probes.iter().find(|probe| !probe.passed) {
            Some(probe) => format!(
                "{} did not work within {minutes} minutes: {}",
                probe.service, probe.detail
            ),
            None => format!(
                "the required services were not ready for long enough within {minutes} minutes"
            ),
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
