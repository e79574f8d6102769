//! Signals as a readable descriptor and flags.

use crate::machine::Halt;
use rustix::process::Signal;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the signals that arrived ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Children may have ended.
    pub child: bool,
    /// The machine shall go down.
    pub halt: Option<Halt>,
}

/// Handlers for the signals that init knows. PID 1 ignores all others by itself.
#[derive(Debug)]
pub struct Signals {
    readable: UnixStream,
    child: Arc<AtomicBool>,
    reboot: Arc<AtomicBool>,
    power_off: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// Those of sigaction(2) and socketpair(2).
    pub fn install() -> io::Result<Self> {
        let (readable, writable) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        let signals = Self {
            readable,
            child: Arc::default(),
            reboot: Arc::default(),
            power_off: Arc::default(),
        };
        // SIGINT is ctrl-alt-del, SIGPWR a power supply that fails.
        for (signal, flag) in [
            (Signal::CHILD, &signals.child),
            (Signal::TERM, &signals.reboot),
            (Signal::INT, &signals.reboot),
            (Signal::POWER, &signals.power_off),
        ] {
            let signal = signal.as_raw();
            // The flag first: whoever reads the byte must find it set.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, writable.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Takes what has arrived.
    pub fn take(&self) -> Arrived {
        let mut buffer = [0; 64];
        while (&self.readable)
            .read(&mut buffer)
            .is_ok_and(|length| length > 0)
        {}
        let halt = if self.power_off.swap(false, Ordering::SeqCst) {
            Some(Halt::PowerOff)
        } else {
            self.reboot
                .swap(false, Ordering::SeqCst)
                .then_some(Halt::Reboot)
        };
        Arrived {
            child: self.child.swap(false, Ordering::SeqCst),
            halt,
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_arrive_once() {
        let signals = Signals::install().unwrap();
        assert_eq!(signals.take(), Arrived::default());
        for signal in [Signal::CHILD, Signal::TERM] {
            signal_hook::low_level::raise(signal.as_raw()).unwrap();
        }
        assert_eq!(
            signals.take(),
            Arrived {
                child: true,
                halt: Some(Halt::Reboot)
            }
        );
        signal_hook::low_level::raise(Signal::POWER.as_raw()).unwrap();
        assert_eq!(
            signals.take(),
            Arrived {
                child: false,
                halt: Some(Halt::PowerOff)
            }
        );
        assert_eq!(signals.take(), Arrived::default());
    }
}
