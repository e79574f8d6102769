//! Ctrl-C while a box is at work: noticed between two steps, so that the user can be told
//! in what state the box is.

use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a wait looks whether it should end.
pub const TICK: Duration = Duration::from_millis(100);
/// Code of a program that Ctrl-C ended at once (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// Whether the user has asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Set by the first Ctrl-C (or SIGTERM); the second ends the program at once.
    ///
    /// # Errors
    ///
    /// What the system says if the handlers cannot be set.
    pub fn on_ctrl_c() -> std::io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the flag is not set yet when the first signal looks at it.
            signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, stop.0.clone())?;
            signal_hook::flag::register(signal, stop.0.clone())?;
        }
        Ok(stop)
    }

    /// Whether it is time to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits; `false` if it was cut short.
    pub fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            if self.is_set() {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(TICK));
        }
    }
}
