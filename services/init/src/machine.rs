//! The box as a whole: boot, rescue, shutdown. Decides; [`crate::pid1`] acts.
//!
//! # State table
//!
//! | Phase    | Event                          | Next     | Actions |
//! |----------|--------------------------------|----------|---------|
//! | checking | data mounted                   | running  | set the clock to its floor, release services |
//! | checking | data cannot be mounted         | rescue   | say so; services stay held |
//! | running  | all required ready, first time | running  | say so |
//! | running  | the card fails                 | failing  | say so; services go on with what can be read |
//! | checking, running, failing, rescue | go down       | stopping | stop services in order |
//! | checking, running, failing | [`TRIAL_LIMIT`] over, on trial | stopping | say so, stop services in order, to restart |
//! | failing, rescue (entered on trial) |               | stopping | the same, at once |
//! | running  | a required service outlives SIGKILL by [`UNKILLABLE`], [`STUCK_AFTER`] over | stopping | say so, stop services in order, to restart |
//! | any      | trial ended                    | unchanged, no longer on trial | |
//! | stopping | data mounted                   | stopping | set the clock to its floor |
//! | stopping | all services stopped, no check of the data running | down | halt in the given way |
//! | stopping | [`STOP_LIMIT`] over            | down     | halt in the given way |
//! | stopping, down | go down                  | unchanged | |
//!
//! *On trial*: the firmware booted this slot once. Whatever ends the boot, the
//! next one is from the committed slot; a restart is the way back.
//!
//! *A required service that fails* is no reason to restart the machine, however
//! often: it is tried again for ever, and meanwhile the portal can be reached,
//! which tells why. Only one that not even SIGKILL ends is beyond init: it waits
//! in the kernel, for a dead disk or a driver's fault, and nothing but a restart
//! can help. That is tried at most every [`STUCK_AFTER`], so that a box on which
//! it does not help is there for its owner most of the time.
//!
//! There is no way out of rescue or failing but a restart: what made the data unusable
//! does not heal by itself, and services that start on half the data do harm.

use crate::supervisor::{self, Jitter, Supervisor};
use roost_service::spec::ServiceSpec;
use std::time::Duration;

/// All services together, or the check of the data, may take this long to come
/// to an end. Each service has its own limit; this one bounds chains of them,
/// well below what an owner waits before pulling the plug.
pub const STOP_LIMIT: Duration = Duration::from_secs(90);

/// A trial that is not ended this long after kernel start has failed. The
/// health gate decides sooner; this is for a system in which even that does
/// not work. The first start of a mail server takes minutes on a small board.
pub const TRIAL_LIMIT: Duration = Duration::from_secs(600);

/// A killed process is gone within milliseconds, or within some seconds when it
/// has much to give back on a slow board. A disk's own time-outs are below this.
pub const UNKILLABLE: Duration = Duration::from_secs(60);

/// The box does not restart for a stuck service before this: see above.
pub const STUCK_AFTER: Duration = Duration::from_secs(30 * 60);

/// How the machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Restart.
    Reboot,
    /// Restart into the other slot, once.
    Trial,
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
    /// Services run, and nothing can be written: mail can be read, and no new mail is taken.
    /// A restart checks the card; init does not decide on it, because a card may not come up again.
    Failing {
        /// Why, in plain words.
        reason: String,
    },
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
    /// It was, and the kernel has met errors on it.
    DataFailing(String),
    /// The machine shall go down.
    GoDown(Halt),
    /// The slot on trial was committed.
    TrialEnded,
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
    on_trial: bool,
}

impl Machine {
    /// A box that has just started, from its committed slot or on trial.
    pub fn new(table: Vec<ServiceSpec>, on_trial: bool, jitter: Jitter) -> Self {
        Self {
            phase: Phase::Checking,
            supervisor: Supervisor::new(table, jitter),
            ready_after: None,
            on_trial,
        }
    }

    /// How long the trial may still take; `None` if this is none.
    pub fn trial_left(&self, now: Duration) -> Option<Duration> {
        self.on_trial.then(|| TRIAL_LIMIT.saturating_sub(now))
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
            Phase::Checking | Phase::Running | Phase::Failing { .. } | Phase::Rescue { .. }
                if self.on_trial =>
            {
                Some(TRIAL_LIMIT)
            }
            _ => None,
        };
        let stuck = self
            .supervisor
            .unkillable_from(UNKILLABLE)
            .filter(|_| self.phase == Phase::Running)
            .map(|due| due.max(STUCK_AFTER));
        let dates = [self.supervisor.deadline(), own, stuck];
        dates.into_iter().flatten().min()
    }

    /// Takes an event and says what to do. `now` counts from kernel start.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = self.take(now, event);
        if let Some(reason) = self.trial_failed(now) {
            let line = format!("trial: {reason}; restarting into the committed slot");
            actions.push(Action::Announce(line));
            actions.extend(self.take(now, Event::GoDown(Halt::Reboot)));
        }
        if let Some(name) = self.stuck(now) {
            let line = format!("{name} does not end even when it is killed; restarting");
            actions.push(Action::Announce(line));
            actions.extend(self.take(now, Event::GoDown(Halt::Reboot)));
        }
        actions
    }

    /// The required service that only a restart of the machine can end.
    fn stuck(&self, now: Duration) -> Option<String> {
        if self.phase != Phase::Running || now < STUCK_AFTER {
            return None;
        }
        let service = self.supervisor.unkillable(now, UNKILLABLE)?;
        Some(service.spec.name.clone())
    }

    /// Why the box has to leave the slot on trial, if it has to.
    fn trial_failed(&self, now: Duration) -> Option<String> {
        match &self.phase {
            Phase::Rescue { reason } | Phase::Failing { reason } if self.on_trial => {
                Some(reason.clone())
            }
            Phase::Checking | Phase::Running if self.on_trial && now >= TRIAL_LIMIT => {
                Some(format!(
                    "nothing has confirmed this version in {} s",
                    TRIAL_LIMIT.as_secs()
                ))
            }
            _ => None,
        }
    }

    fn take(&mut self, now: Duration, event: Event) -> Vec<Action> {
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
            Event::DataFailing(reason) if self.phase == Phase::Running => {
                actions.push(Action::Announce(format!("rescue: {reason}")));
                self.phase = Phase::Failing { reason };
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
            Event::TrialEnded => {
                self.on_trial = false;
                supervisor::Event::Tick
            }
            Event::Service(event) => event,
            Event::DataMounted
            | Event::DataUnusable(_)
            | Event::DataFailing(_)
            | Event::GoDown(_) => supervisor::Event::Tick,
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
