//! What the supervisor hears, what it says, and the states of a service.

use roost_service::notify::Message;
use std::fmt;
use std::time::Duration;

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
        /// When it is killed, or when it was.
        kill_at: Duration,
        /// Whether it was.
        killed: bool,
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
