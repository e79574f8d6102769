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
//! | starting  | `ready_timeout_s` over            | stopping, then backoff  | SIGTERM, log |
//! | starting, ready | dead                        | backoff or failed       | sweep, log |
//! | starting, ready | request kill                | unchanged; death follows | SIGKILL |
//! | starting, ready | request restart             | stopping, then waiting  | SIGTERM |
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
//! Being ready for [`STEADY`] forgets earlier failures.
//!
//! A service that goes down does not take its dependents with it: `after`
//! orders starts and, reversed, stops; everything else is the dependents' to
//! bear (reconnecting is part of being a service).

use roost_service::notify::Message;
use roost_service::spec::ServiceSpec;
use std::fmt;
use std::time::Duration;

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

/// Place of a service in the table.
pub type Index = usize;
/// A process id.
pub type Pid = u32;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// [`Action::Start`] was carried out.
    Started(Index, Pid),
    /// [`Action::Start`] failed.
    NotStarted(Index, String),
    /// A child process ended (any: unknown ones are orphans and of no interest).
    Dead(Pid, Exit),
    /// A service wrote a line to its notification pipe.
    Notified(Index, Message),
    /// Somebody asked for a SIGKILL.
    Kill(Index),
    /// Somebody asked for a restart.
    Restart(Index),
    /// Services may start: their data is there.
    Release,
    /// The machine goes down.
    Shutdown,
    /// Time has passed.
    Tick,
}

/// What to do about it, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start the service's program and answer with `Started` or `NotStarted`.
    Start(Index),
    /// Send SIGTERM to this process.
    Terminate(Pid),
    /// Send SIGKILL to everything in its container.
    Kill(Index, Pid),
    /// Its process is gone: kill what it left and close its pipes.
    Sweep(Index),
    /// Tell the log.
    Log(String),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The kernel ended it for using more than its limit, in MiB.
    MemoryLimit(u32),
    /// The kernel ended it because the services together had used up the memory.
    NoMemory,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with status {code}"),
            // SIGSYS, on every architecture of ours (`asm-generic/signal.h`).
            Self::Signal(31) => write!(
                f,
                "was ended: it made a system call that no service has a use for"
            ),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::MemoryLimit(mib) => {
                write!(f, "was ended: it used more than {mib} MiB of memory")
            }
            Self::NoMemory => write!(f, "was ended: the box had no memory left"),
        }
    }
}

/// Where a service is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// For the release or for services named in `after`.
    Waiting,
    /// [`Action::Start`] is on its way.
    Launching,
    /// Runs, but has not said that it is ready.
    Starting {
        /// Its process.
        pid: Pid,
        /// When it must have said so.
        by: Duration,
    },
    /// Answers requests.
    Ready {
        /// Its process.
        pid: Pid,
        /// Since when.
        since: Duration,
    },
    /// Was asked to end.
    Stopping {
        /// Its process.
        pid: Pid,
        /// When it is killed; `None` once it was.
        kill_at: Option<Duration>,
        /// What comes after its death.
        then: Then,
    },
    /// Waits before the next attempt.
    Backoff {
        /// Until when.
        until: Duration,
    },
    /// Given up (optional services only).
    Failed,
    /// Ended for the shutdown.
    Stopped,
}

/// What follows [`State::Stopping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It failed: back off.
    Backoff,
    /// It was asked to restart.
    Wait,
    /// The machine goes down.
    Stop,
}

impl State {
    /// The process, while there is one.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Starting { pid, .. } | Self::Ready { pid, .. } | Self::Stopping { pid, .. } => {
                Some(*pid)
            }
            _ => None,
        }
    }

    /// The word used in `roost status`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Launching | Self::Starting { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Stopping { .. } => "stopping",
            Self::Backoff { .. } => "backoff",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// One supervised service.
#[derive(Debug)]
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
    /// Failed attempts in a row.
    failures: u32,
    after: Vec<Index>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Held,
    Released,
    Shutdown,
}

/// All services of the box.
#[derive(Debug)]
pub struct Supervisor {
    services: Vec<Service>,
    phase: Phase,
}

impl Supervisor {
    /// Takes a table that [`roost_service::spec::validate`] has passed.
    pub fn new(table: Vec<ServiceSpec>) -> Self {
        let after: Vec<Vec<Index>> = table
            .iter()
            .map(|spec| {
                spec.after
                    .iter()
                    .filter_map(|name| table.iter().position(|other| &other.name == name))
                    .collect()
            })
            .collect();
        let services = table
            .into_iter()
            .zip(after)
            .map(|(spec, after)| Service {
                spec,
                state: State::Waiting,
                detail: "the box is starting".to_owned(),
                restarts: 0,
                started: false,
                asked: false,
                failures: 0,
                after,
            })
            .collect();
        Self {
            services,
            phase: Phase::Held,
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

    /// When [`Event::Tick`] is due next.
    pub fn deadline(&self) -> Option<Duration> {
        self.services
            .iter()
            .filter_map(|service| match service.state {
                State::Starting { by, .. } => Some(by),
                State::Stopping { kill_at, .. } => kill_at,
                State::Backoff { until } => Some(until),
                _ => None,
            })
            .min()
    }

    /// Takes an event and says what to do.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Started(index, pid) => self.started(now, index, pid),
            Event::NotStarted(index, reason) => {
                if let Some(service) = self.services.get_mut(index) {
                    service.failed(now, format!("cannot be started: {reason}"), &mut actions);
                }
            }
            Event::Dead(pid, exit) => {
                if let Some(index) = self
                    .services
                    .iter()
                    .position(|s| s.state.pid() == Some(pid))
                {
                    actions.push(Action::Sweep(index));
                    self.services[index].dead(now, exit, &mut actions);
                }
            }
            Event::Notified(index, message) => {
                if let Some(service) = self.services.get_mut(index) {
                    service.notified(now, message, &mut actions);
                }
            }
            Event::Kill(index) => {
                if let Some((pid, _)) = self.running(index) {
                    actions.push(Action::Kill(index, pid));
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

    fn running(&self, index: Index) -> Option<(Pid, u32)> {
        let service = self.services.get(index)?;
        match service.state {
            State::Starting { pid, .. } | State::Ready { pid, .. } => {
                Some((pid, service.spec.stop_timeout_s))
            }
            _ => None,
        }
    }

    fn started(&mut self, now: Duration, index: Index, pid: Pid) {
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
    }

    fn restart(&mut self, now: Duration, index: Index, actions: &mut Vec<Action>) {
        if self.phase == Phase::Shutdown {
            return;
        }
        let running = self.running(index);
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if let Some((pid, timeout)) = running {
            service.asked = true;
            service.stop(
                now,
                pid,
                timeout,
                Then::Wait,
                "is restarted on request",
                actions,
            );
        } else if matches!(service.state, State::Backoff { .. } | State::Failed) {
            service.asked = true;
            service.failures = 0;
            service.state = State::Waiting;
        }
    }

    fn pass_time(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for (index, service) in self.services.iter_mut().enumerate() {
            match service.state {
                State::Starting { pid, by } if by <= now => {
                    let seconds = service.spec.ready_timeout_s;
                    let why = format!("was not ready within {seconds} s");
                    let timeout = service.spec.stop_timeout_s;
                    service.stop(now, pid, timeout, Then::Backoff, &why, actions);
                }
                State::Stopping {
                    pid,
                    kill_at: Some(at),
                    then,
                } if at <= now => {
                    let name = &service.spec.name;
                    let seconds = service.spec.stop_timeout_s;
                    actions.push(Action::Log(format!(
                        "{name} did not stop within {seconds} s and is killed"
                    )));
                    actions.push(Action::Kill(index, pid));
                    service.state = State::Stopping {
                        pid,
                        kill_at: None,
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
                        let timeout = service.spec.stop_timeout_s;
                        service.stop(now, pid, timeout, Then::Stop, "the box goes down", actions);
                    }
                    State::Stopping { pid, kill_at, then } if then != Then::Stop => {
                        service.state = State::Stopping {
                            pid,
                            kill_at,
                            then: Then::Stop,
                        };
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

    fn dead(&mut self, now: Duration, exit: Exit, actions: &mut Vec<Action>) {
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
                self.failed(now, why, actions);
            }
            State::Ready { since, .. } if now.saturating_sub(since) >= STEADY => {
                self.failures = 0;
                self.failed(now, exit.to_string(), actions);
            }
            _ => self.failed(now, exit.to_string(), actions),
        }
    }

    fn failed(&mut self, now: Duration, why: String, actions: &mut Vec<Action>) {
        let name = &self.spec.name;
        self.failures = self.failures.saturating_add(1);
        if !self.spec.required && self.failures >= OPTIONAL_ATTEMPTS {
            actions.push(Action::Log(format!(
                "{name} {why}; given up after {} attempts",
                self.failures
            )));
            self.state = State::Failed;
        } else {
            let wait = backoff(self.failures);
            actions.push(Action::Log(format!(
                "{name} {why}; next start in {:.2} s",
                wait.as_secs_f64()
            )));
            self.state = State::Backoff { until: now + wait };
        }
        self.detail = why;
    }

    fn stop(
        &mut self,
        now: Duration,
        pid: Pid,
        timeout_s: u32,
        then: Then,
        why: &str,
        actions: &mut Vec<Action>,
    ) {
        if then != Then::Stop {
            actions.push(Action::Log(format!("{} {why}", self.spec.name)));
        }
        self.detail = why.to_owned();
        self.state = State::Stopping {
            pid,
            kill_at: Some(now + Duration::from_secs(timeout_s.into())),
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
