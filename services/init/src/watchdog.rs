//! The hardware watchdog: it restarts the machine when it is not fed.
//!
//! It is fed by init's loop as long as that turns. What the services do does not
//! count here: a service that fails is restarted, and one that nothing but a
//! restart of the machine can help leads to one in order ([`crate::machine`],
//! which also says why not sooner). On the way down it is fed for as long as the
//! limits of [`crate::halt`] allow, so a machine that cannot go down is restarted
//! as well.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

/// Time between two feedings: a third of the shortest limit among the boards
/// (15 s, bcm2835).
pub const EVERY: Duration = Duration::from_secs(5);

/// An open watchdog. It is never closed properly: from now on the machine
/// lives as long as init's loop turns.
#[derive(Debug)]
pub struct Watchdog(File);

impl Watchdog {
    /// Opens `/dev/watchdog`, which starts it; `None` if the machine has none.
    pub fn open() -> Option<Self> {
        OpenOptions::new()
            .write(true)
            .open("/dev/watchdog")
            .ok()
            .map(Self)
    }

    /// Puts off the restart.
    pub fn feed(&mut self) {
        // Any byte but 'V', which would allow switching it off. Should the
        // write fail, the watchdog does what it is there for.
        let _ = self.0.write_all(b"\n");
    }
}
