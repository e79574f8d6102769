//! When which service runs: decided here, without a system call.
//!
//! # State table
//!
//! Times are since boot. "Dead" is the exit of the service's own process; what
//! else it left behind is swept with it. Only this table changes a state.
//!
//! | State     | Event                             | Next                    | Actions |
//! |-----------|-----------------------------------|-------------------------|---------|
//! | waiting   | released, every `after` is ready  | launching               | start |
//! | launching | started                           | starting                | |
//! | launching | could not be started              | backoff or failed       | log |
//! | starting  | `READY`                           | ready                   | log |
//! | starting  | `ready_timeout_s` over, no shutdown | stopping, then backoff  | SIGTERM, log |
//! | starting, ready | dead                        | backoff or failed       | sweep, log |
//! | starting, ready | request kill                | unchanged; death follows | SIGKILL |
//! | starting, ready | request restart             | stopping, then waiting  | SIGTERM, log |
//! | starting, ready | one of its `restart_with` dead | stopping, then waiting | SIGTERM, log |
//! | launching | one of its `restart_with` dead    | unchanged; stopping when started | |
//! | stopping  | `stop_timeout_s` over             | stopping                | SIGKILL, log |
//! | stopping  | dead                              | as planned              | sweep |
//! | backoff   | time is up                        | waiting                 | |
//! | backoff, failed | request restart             | waiting                 | |
//! | waiting, backoff, failed | shutdown, no dependent runs | stopped        | |
//! | starting, ready | shutdown, no dependent runs | stopping, then stopped  | SIGTERM |
//!
//! *Backoff or failed*: a required service is tried again for ever, at the
//! latest every [`BACKOFF_MAX`]; one that the box can do without is `failed`
//! after [`OPTIONAL_ATTEMPTS`] starts in a row, until somebody asks for it.
//! Being ready for [`STEADY`] forgets earlier failures. The waits double from
//! [`BACKOFF_MIN`] to [`BACKOFF_MAX`], less up to a quarter by chance
//! ([`Jitter`]): services that failed together do not come back together.
//!
//! A service that goes down does not take its dependents with it: `after`
//! orders starts and, reversed, stops; everything else is the dependents' to
//! bear (reconnecting is part of being a service). One that cannot bear it says
//! so in its spec's `restart_with`: then it is stopped when the other's process
//! has ended, for whatever reason, and starts again once the other is ready.
//! That is no failure of its own.

use roost_service::notify::Message;
use roost_service::spec::ServiceSpec;
use std::time::Duration;

mod jitter;
mod states;

pub use jitter::Jitter;
pub use states::{Action, Event, Exit, Index, Pid, State, Then};

/// First wait before a restart. A crash after hours of work shall cost less
/// than a mail client's patience.
pub const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest wait before a restart: what is repaired meanwhile (network, full
/// disk) is noticed within a minute.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A service that was ready this long is well: its next failure is a first one.
pub const STEADY: Duration = Duration::from_secs(60);
/// Starts in a row after which an optional service is left alone. With the
/// doubling waits these take about five minutes.
pub const OPTIONAL_ATTEMPTS: u32 = 12;

/// One supervised service.
#[derive(Debug, Clone)]
pub struct Service {
    /// What was asked for.
    pub spec: ServiceSpec,
    /// Where it is.
    pub state: State,
    /// Why, in plain words, or its own status line.
    pub detail: String,
    /// Starts after the first one in this boot that nobody asked for.
    pub restarts: u32,
    started: bool,
    /// Its next start is one that somebody asked for.
    asked: bool,
    /// What it is restarted with ended while it was launched.
    outdated: bool,
    /// Failed attempts in a row.
    failures: u32,
    after: Vec<Index>,
    restart_with: Vec<Index>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Held,
    Released,
    Shutdown,
}

/// All services of the box.
#[derive(Debug, Clone)]
pub struct Supervisor {
    services: Vec<Service>,
    phase: Phase,
    jitter: Jitter,
}

impl Supervisor {
    /// Takes a table that [`roost_service::spec::validate`] has passed.
    pub fn new(table: Vec<ServiceSpec>, jitter: Jitter) -> Self {
        let places = |names: &mut dyn Iterator<Item = &String>| -> Vec<Index> {
            names
                .filter_map(|name| table.iter().position(|other| &other.name == name))
                .collect()
        };
        let known: Vec<_> = table
            .iter()
            .map(|spec| {
                (
                    places(&mut spec.after.iter()),
                    places(&mut spec.restart_with.keys()),
                )
            })
            .collect();
        let services = table
            .into_iter()
            .zip(known)
            .map(|(spec, (after, restart_with))| Service {
                spec,
                state: State::Waiting,
                detail: "the box is starting".to_owned(),
                restarts: 0,
                started: false,
                asked: false,
                outdated: false,
                failures: 0,
                after,
                restart_with,
            })
            .collect();
        Self {
            services,
            phase: Phase::Held,
            jitter,
        }
    }

    /// Every service, in table order.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Place of a service by name.
    pub fn index(&self, name: &str) -> Option<Index> {
        self.services
            .iter()
            .position(|service| service.spec.name == name)
    }

    /// Whether every required service is ready.
    pub fn ready(&self) -> bool {
        self.services
            .iter()
            .all(|s| !s.spec.required || matches!(s.state, State::Ready { .. }))
    }

    /// Whether the shutdown has stopped every service.
    pub fn all_stopped(&self) -> bool {
        self.services.iter().all(|s| s.state == State::Stopped)
    }

    /// A required service whose process has outlived SIGKILL by `limit`: it waits in the kernel
    /// for something that does not come, and nothing that init can do ends it.
    pub fn unkillable(&self, now: Duration, limit: Duration) -> Option<&Service> {
        self.services.iter().find(|service| {
            service.spec.required && service.killed().is_some_and(|at| now >= at + limit)
        })
    }

    /// When [`Supervisor::unkillable`] may next find something.
    pub fn unkillable_from(&self, limit: Duration) -> Option<Duration> {
        let required = self.services.iter().filter(|service| service.spec.required);
        required.filter_map(|s| Some(s.killed()? + limit)).min()
    }

    /// When [`Event::Tick`] is due next.
    pub fn deadline(&self) -> Option<Duration> {
        self.services
            .iter()
            .filter_map(|service| match service.state {
                // Going down, it is stopped when its turn comes.
                State::Starting { by, .. } if self.phase != Phase::Shutdown => Some(by),
                State::Stopping {
                    kill_at,
                    killed: false,
                    ..
                } => Some(kill_at),
                State::Backoff { until } => Some(until),
                _ => None,
            })
            .min()
    }

    /// Takes an event and says what to do.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Started(index, pid) => self.started(now, index, pid, &mut actions),
            Event::NotStarted(index, reason) => {
                if let Some(service) = self.services.get_mut(index)
                    && service.state == State::Launching
                {
                    service.outdated = false;
                    let why = format!("cannot be started: {reason}");
                    service.failed(now, why, &mut self.jitter, &mut actions);
                }
            }
            Event::Dead(pid, exit) => {
                if let Some(index) = self
                    .services
                    .iter()
                    .position(|s| s.state.pid() == Some(pid))
                {
                    actions.push(Action::Sweep(index));
                    self.services[index].dead(now, exit, &mut self.jitter, &mut actions);
                    self.restart_dependents(now, index, &mut actions);
                }
            }
            Event::Notified(index, message) => {
                if let Some(service) = self.services.get_mut(index) {
                    service.notified(now, message, &mut actions);
                }
            }
            Event::Kill(index) => {
                let state = self.services.get(index).map(|service| &service.state);
                if let Some(State::Starting { pid, .. } | State::Ready { pid, .. }) = state {
                    actions.push(Action::Kill(index, *pid));
                }
            }
            Event::Restart(index) => self.restart(now, index, &mut actions),
            Event::Release => {
                if self.phase == Phase::Held {
                    self.phase = Phase::Released;
                }
            }
            Event::Shutdown => self.phase = Phase::Shutdown,
            Event::Tick => {}
        }
        self.pass_time(now, &mut actions);
        match self.phase {
            Phase::Held => {}
            Phase::Released => self.start_what_may(&mut actions),
            Phase::Shutdown => self.stop_what_may(now, &mut actions),
        }
        actions
    }

    fn started(&mut self, now: Duration, index: Index, pid: Pid, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let by = now + Duration::from_secs(service.spec.ready_timeout_s.into());
        service.state = State::Starting { pid, by };
        service.detail = "starting".to_owned();
        let asked = std::mem::take(&mut service.asked);
        if service.started && !asked {
            service.restarts = service.restarts.saturating_add(1);
        }
        service.started = true;
        if std::mem::take(&mut service.outdated) {
            service.restart(now, "is restarted: what it needs has ended", actions);
        }
    }

    /// `ended` has no process any more.
    fn restart_dependents(&mut self, now: Duration, ended: Index, actions: &mut Vec<Action>) {
        if self.phase == Phase::Shutdown {
            return;
        }
        let name = self.services[ended].spec.name.clone();
        for service in &mut self.services {
            if service.restart_with.contains(&ended) {
                service.outdated = service.state == State::Launching;
                service.restart(now, &format!("is restarted with {name}"), actions);
            }
        }
    }

    fn restart(&mut self, now: Duration, index: Index, actions: &mut Vec<Action>) {
        if self.phase == Phase::Shutdown {
            return;
        }
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if matches!(service.state, State::Backoff { .. } | State::Failed) {
            service.asked = true;
            service.failures = 0;
            service.state = State::Waiting;
        } else {
            service.restart(now, "is restarted on request", actions);
        }
    }

    fn pass_time(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let shutdown = self.phase == Phase::Shutdown;
        for (index, service) in self.services.iter_mut().enumerate() {
            match service.state {
                State::Starting { pid, by } if by <= now && !shutdown => {
                    let seconds = service.spec.ready_timeout_s;
                    let why = format!("was not ready within {seconds} s");
                    service.stop(now, pid, Then::Backoff, &why, actions);
                }
                State::Stopping {
                    pid,
                    kill_at,
                    killed: false,
                    then,
                } if kill_at <= now => {
                    let name = &service.spec.name;
                    let seconds = service.spec.stop_timeout_s;
                    actions.push(Action::Log(format!(
                        "{name} did not stop within {seconds} s and is killed"
                    )));
                    actions.push(Action::Kill(index, pid));
                    service.state = State::Stopping {
                        pid,
                        kill_at: now,
                        killed: true,
                        then,
                    };
                }
                State::Backoff { until } if until <= now => service.state = State::Waiting,
                _ => {}
            }
        }
    }

    fn start_what_may(&mut self, actions: &mut Vec<Action>) {
        for index in 0..self.services.len() {
            if self.services[index].state != State::Waiting {
                continue;
            }
            let missing = self.services[index]
                .after
                .iter()
                .map(|&other| &self.services[other])
                .find(|other| !matches!(other.state, State::Ready { .. }));
            if let Some(other) = missing {
                self.services[index].detail = format!("waits for {}", other.spec.name);
            } else {
                self.services[index].state = State::Launching;
                actions.push(Action::Start(index));
            }
        }
    }

    fn stop_what_may(&mut self, now: Duration, actions: &mut Vec<Action>) {
        // A stop frees the services it came after, so go on until nothing changes.
        loop {
            let mut changed = false;
            for index in 0..self.services.len() {
                let held = self
                    .services
                    .iter()
                    .any(|other| other.state != State::Stopped && other.after.contains(&index));
                if held {
                    continue;
                }
                let service = &mut self.services[index];
                match service.state {
                    State::Starting { pid, .. } | State::Ready { pid, .. } => {
                        service.stop(now, pid, Then::Stop, "the box goes down", actions);
                    }
                    State::Stopping { ref mut then, .. } if *then != Then::Stop => {
                        *then = Then::Stop;
                    }
                    State::Waiting | State::Backoff { .. } | State::Failed => {
                        service.state = State::Stopped;
                        changed = true;
                    }
                    State::Launching | State::Stopping { .. } | State::Stopped => {}
                }
            }
            if !changed {
                return;
            }
        }
    }
}

impl Service {
    fn notified(&mut self, now: Duration, message: Message, actions: &mut Vec<Action>) {
        match (message, &self.state) {
            (Message::Ready, State::Starting { pid, .. }) => {
                self.state = State::Ready {
                    pid: *pid,
                    since: now,
                };
                self.detail = String::new();
                actions.push(Action::Log(format!("{} is ready", self.spec.name)));
            }
            (Message::Status(text), State::Starting { .. } | State::Ready { .. }) => {
                self.detail = text
            }
            _ => {}
        }
    }

    /// When its process was sent SIGKILL because it did not stop.
    fn killed(&self) -> Option<Duration> {
        match self.state {
            State::Stopping {
                kill_at,
                killed: true,
                ..
            } => Some(kill_at),
            _ => None,
        }
    }

    /// Stops it, if it runs, to start again; nobody counts that as a failure.
    fn restart(&mut self, now: Duration, why: &str, actions: &mut Vec<Action>) {
        if let State::Starting { pid, .. } | State::Ready { pid, .. } = self.state {
            self.asked = true;
            self.stop(now, pid, Then::Wait, why, actions);
        }
    }

    fn dead(&mut self, now: Duration, exit: Exit, jitter: &mut Jitter, actions: &mut Vec<Action>) {
        match self.state {
            State::Stopping {
                then: Then::Wait, ..
            } => {
                self.failures = 0;
                self.state = State::Waiting;
            }
            State::Stopping {
                then: Then::Stop, ..
            } => {
                self.state = State::Stopped;
                self.detail = format!("{exit}");
            }
            State::Stopping {
                then: Then::Backoff,
                ..
            } => {
                let why = self.detail.clone();
                self.failed(now, why, jitter, actions);
            }
            State::Ready { since, .. } if now.saturating_sub(since) >= STEADY => {
                self.failures = 0;
                self.failed(now, exit.to_string(), jitter, actions);
            }
            _ => self.failed(now, exit.to_string(), jitter, actions),
        }
    }

    fn failed(
        &mut self,
        now: Duration,
        why: String,
        jitter: &mut Jitter,
        actions: &mut Vec<Action>,
    ) {
        let name = &self.spec.name;
        self.failures = self.failures.saturating_add(1);
        if !self.spec.required && self.failures >= OPTIONAL_ATTEMPTS {
            actions.push(Action::Log(format!(
                "{name} {why}; given up after {} attempts",
                self.failures
            )));
            self.state = State::Failed;
        } else {
            let wait = jitter.shorten(backoff(self.failures));
            actions.push(Action::Log(format!(
                "{name} {why}; next start in {:.2} s",
                wait.as_secs_f64()
            )));
            self.state = State::Backoff { until: now + wait };
        }
        self.detail = why;
    }

    fn stop(&mut self, now: Duration, pid: Pid, then: Then, why: &str, actions: &mut Vec<Action>) {
        if then != Then::Stop {
            actions.push(Action::Log(format!("{} {why}", self.spec.name)));
        }
        self.detail = why.to_owned();
        self.state = State::Stopping {
            pid,
            kill_at: now + Duration::from_secs(self.spec.stop_timeout_s.into()),
            killed: false,
            then,
        };
        actions.push(Action::Terminate(pid));
    }
}

/// Wait before the next start after `failures` in a row (at least one).
fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN
        .saturating_mul(1 << (failures.saturating_sub(1)).min(16))
        .min(BACKOFF_MAX)
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;

#[cfg(test)]
mod simulation;
