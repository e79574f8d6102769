//! The box as a whole: boot, rescue, shutdown. Decides; [`crate::pid1`] acts.
//!
//! # State table
//!
//! | Phase    | Event                          | Next     | Actions |
//! |----------|--------------------------------|----------|---------|
//! | checking | data mounted                   | running  | set the clock to its floor, release services |
//! | checking | data cannot be mounted         | rescue   | say so; services stay held |
//! | running  | all required ready, first time | running  | say so |
//! | checking, running, rescue | go down       | stopping | stop services in order |
//! | stopping | data mounted                   | stopping | set the clock to its floor |
//! | stopping | all services stopped, no check of the data running | down | halt in the given way |
//! | stopping | [`STOP_LIMIT`] over            | down     | halt in the given way |
//! | stopping, down | go down                  | unchanged | |
//!
//! There is no way out of rescue but a restart: what made the data unusable
//! does not heal by itself, and services that start on half the data do harm.

use crate::supervisor::{self, Supervisor};
use roost_service::spec::ServiceSpec;
use std::time::Duration;

/// All services together, or the check of the data, may take this long to come
/// to an end. Each service has its own limit; this one bounds chains of them,
/// well below what an owner waits before pulling the plug.
pub const STOP_LIMIT: Duration = Duration::from_secs(90);

/// How the machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Restart.
    Reboot,
    /// Power off.
    PowerOff,
}

/// Where the box is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The data partition is being checked and mounted.
    Checking,
    /// Services run.
    Running,
    /// The data cannot be used; nothing is started.
    Rescue {
        /// Why, in plain words.
        reason: String,
    },
    /// Services are being stopped.
    Stopping {
        /// What follows.
        halt: Halt,
        /// When it follows at the latest.
        by: Duration,
        /// The data partition is still being checked: killing a repair half
        /// way would leave it worse than before.
        checking: bool,
    },
    /// The last action was given out.
    Down,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `/data` is mounted and writable.
    DataMounted,
    /// It cannot be, for this reason.
    DataUnusable(String),
    /// The machine shall go down.
    GoDown(Halt),
    /// Something about services or processes.
    Service(supervisor::Event),
}

/// What to do about it, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Set the clock to the saved floor if it is behind.
    RestoreClock,
    /// Show a line on every console.
    Announce(String),
    /// Something about services.
    Service(supervisor::Action),
    /// End every process, save the clock, unmount and halt.
    Halt(Halt),
}

/// The box.
#[derive(Debug)]
pub struct Machine {
    phase: Phase,
    supervisor: Supervisor,
    ready_after: Option<Duration>,
}

impl Machine {
    /// A box that has just started.
    pub fn new(table: Vec<ServiceSpec>) -> Self {
        Self {
            phase: Phase::Checking,
            supervisor: Supervisor::new(table),
            ready_after: None,
        }
    }

    /// Where the box is.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Its services.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// When every required service was first ready, since kernel start.
    pub fn ready_after(&self) -> Option<Duration> {
        self.ready_after
    }

    /// Whether every required service is ready now.
    pub fn ready(&self) -> bool {
        self.phase == Phase::Running && self.supervisor.ready()
    }

    /// When a `Tick` is due next.
    pub fn deadline(&self) -> Option<Duration> {
        let own = match self.phase {
            Phase::Stopping { by, .. } => Some(by),
            _ => None,
        };
        self.supervisor.deadline().into_iter().chain(own).min()
    }

    /// Takes an event and says what to do. `now` counts from kernel start.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let event = match event {
            Event::DataMounted if self.phase == Phase::Checking => {
                self.phase = Phase::Running;
                actions.push(Action::RestoreClock);
                supervisor::Event::Release
            }
            Event::DataMounted | Event::DataUnusable(_)
                if let Phase::Stopping { checking, .. } = &mut self.phase =>
            {
                *checking = false;
                if event == Event::DataMounted {
                    // Going down saves the clock, which must not set the floor back.
                    actions.push(Action::RestoreClock);
                }
                supervisor::Event::Tick
            }
            Event::DataUnusable(reason) if self.phase == Phase::Checking => {
                actions.push(Action::Announce(format!("rescue: {reason}")));
                self.phase = Phase::Rescue { reason };
                supervisor::Event::Tick
            }
            Event::GoDown(halt) if !matches!(self.phase, Phase::Stopping { .. } | Phase::Down) => {
                self.phase = Phase::Stopping {
                    halt,
                    by: now + STOP_LIMIT,
                    checking: self.phase == Phase::Checking,
                };
                supervisor::Event::Shutdown
            }
            Event::Service(event) => event,
            Event::DataMounted | Event::DataUnusable(_) | Event::GoDown(_) => {
                supervisor::Event::Tick
            }
        };
        actions.extend(
            self.supervisor
                .handle(now, event)
                .into_iter()
                .map(Action::Service),
        );
        if self.ready_after.is_none() && self.ready() {
            self.ready_after = Some(now);
            actions.push(Action::Announce(format!(
                "services ready after {:.2} s",
                now.as_secs_f64()
            )));
        }
        if let Phase::Stopping { halt, by, checking } = self.phase
            && (self.supervisor.all_stopped() && !checking || by <= now)
        {
            self.phase = Phase::Down;
            actions.push(Action::Halt(halt));
        }
        actions
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
