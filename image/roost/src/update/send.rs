//! Sending the parts that the box lacks, over as many connections as it takes.

use super::source::Bundle;
use crate::device::error::DeviceError;
use crate::device::link::Link;
use crate::device::stop::TICK;
use crate::device::{ANSWER_LIMIT, Device, ask, unexpected};
use crate::ui::{Step, Ui, seconds, size};
use roost_service::update::{Answer, Call, Offer, Version};
use std::time::{Duration, Instant};

/// Nothing moves for so long while bytes are sent, or the box reads its slots: the connection is taken for dead.
const STALL_LIMIT: Duration = Duration::from_secs(90);
/// After the last byte the box reads the whole slot back, and says nothing meanwhile.
const READ_BACK_LIMIT: Duration = Duration::from_secs(240);
/// Before each new try: a router that restarts is back after the last.
const DELAYS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
    Duration::from_secs(20),
    Duration::from_secs(45),
];
/// Bytes read from the bundle at a time.
const BLOCK: usize = 64 << 10;

/// What the owner allows.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// An older version.
    pub downgrade: bool,
    /// A version without a way back.
    pub irreversible: bool,
}

/// What was sent in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of payloads, over all connections.
    pub bytes: u64,
    /// New connections that were needed.
    pub again: u32,
}

/// Asks the box what it lacks. Nothing is written there.
///
/// # Errors
///
/// [`DeviceError`]; [`DeviceError::Refused`] if the box may not have this bundle.
pub fn offer(
    link: &mut Link,
    bundle: &Bundle,
    allowed: Allowed,
    ui: &Ui,
) -> Result<Offer, DeviceError> {
    let call = Call::Offer {
        head_bytes: bundle.head().len() as u64,
        allow_downgrade: allowed.downgrade,
        allow_irreversible: allowed.irreversible,
    };
    let step = ui.step("compare with the box");
    let mut answer = ask(link, &call, bundle.head(), STALL_LIMIT)?;
    let mut known = 0;
    loop {
        match answer {
            Answer::Progress { done, total } => {
                if total != known {
                    step.total_bytes(total);
                    known = total;
                }
                step.position(done);
            }
            Answer::Offer(offer) if bundle.has(&offer.ranges) => {
                step.done("");
                return Ok(offer);
            }
            Answer::Offer(_) => {
                return Err(DeviceError::NotUnderstood(
                    "it asks for bytes that the bundle does not have".to_owned(),
                ));
            }
            other => return Err(unexpected(&other)),
        }
        answer = link.answer(STALL_LIMIT)?;
    }
}

/// How often it is tried again. A transfer that gets on may be cut any number of times.
#[derive(Debug, Default)]
struct Patience {
    /// New tries since anything new was written.
    tries: usize,
    /// Most bytes of the slot that were ever right.
    furthest: u64,
}

impl Patience {
    /// The slot has so many right bytes.
    fn reached(&mut self, done: u64) {
        if done > self.furthest {
            self.furthest = done;
            self.tries = 0;
        }
    }

    /// The time to wait before the next try; none if there were enough.
    fn again(&mut self) -> Option<Duration> {
        let delay = DELAYS.get(self.tries).copied()?;
        self.tries += 1;
        Some(delay)
    }
}

/// A transfer, from the accepted offer to the written slot.
pub struct Transfer<'a, 'u> {
    /// The box.
    pub device: &'a mut Device<'u>,
    /// What is installed.
    pub bundle: &'a Bundle,
    /// What the owner allows.
    pub allowed: Allowed,
    /// What the owner has agreed to: from, to.
    pub agreed: (Version, Version),
    /// Bytes of the slot that were to be written at the first offer.
    pub write: u64,
    /// Where it is told.
    pub ui: &'a Ui,
}

impl Transfer<'_, '_> {
    /// Sends until the slot is written, and gives the connection that heard so. A connection
    /// that is cut is made anew; tries without any progress are counted.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], when the box refuses, the tries are used up or Ctrl-C was pressed.
    pub fn stage(
        &mut self,
        link: Link,
        offer: Offer,
        step: &Step<'_>,
    ) -> Result<(Link, Sent), DeviceError> {
        let mut sent = Sent::default();
        let mut patience = Patience::default();
        let mut ready = Some((link, offer));
        loop {
            let again = ready.is_none();
            let reached = match ready.take() {
                Some(ready) => Ok(ready),
                None => self.again(),
            };
            let error = match reached {
                Ok((mut link, offer)) => {
                    match self.send(&mut link, &offer, &mut sent.bytes, &mut patience, step) {
                        Ok(()) => return Ok((link, sent)),
                        Err(e) if e.may_pass() => e,
                        Err(e) => return Err(e),
                    }
                }
                // A box that has not noticed yet that the old connection is gone is busy.
                Err(e @ DeviceError::Refused { .. }) if again => e,
                Err(e) if e.may_pass() => e,
                Err(e) => return Err(e),
            };
            let Some(delay) = patience.again() else {
                return Err(error);
            };
            sent.again += 1;
            self.ui.warn(format!(
                "{error}; trying again in {} ({} of {})",
                seconds(delay),
                patience.tries,
                DELAYS.len()
            ));
            if !self.device.stop.wait(delay) {
                return Err(DeviceError::Interrupted);
            }
        }
    }

    /// A new connection and a new offer, which asks only for the rest.
    fn again(&mut self) -> Result<(Link, Offer), DeviceError> {
        let (mut link, _) = self.device.open()?;
        let offer = offer(&mut link, self.bundle, self.allowed, self.ui)?;
        if (&offer.from, &offer.to) != (&self.agreed.0, &self.agreed.1) {
            return Err(DeviceError::NotUnderstood(format!(
                "it now wants to go from {} to {}",
                offer.from.name, offer.to.name
            )));
        }
        Ok((link, offer))
    }

    fn send(
        &self,
        link: &mut Link,
        offer: &Offer,
        sent: &mut u64,
        patience: &mut Patience,
        step: &Step<'_>,
    ) -> Result<(), DeviceError> {
        match ask(link, &Call::Write, &[], ANSWER_LIMIT)? {
            Answer::Ok => {}
            other => return Err(unexpected(&other)),
        }
        let mut payloads = self.bundle.payloads(&offer.ranges);
        let mut block = vec![0; BLOCK];
        let (mut from, mut to, mut end) = (0, 0, false);
        let mut moved = Instant::now();
        loop {
            if from == to && !end {
                (from, to) = (0, payloads.next(&mut block)?);
                end = to == 0;
            }
            let taken = match &block[from..to] {
                [] => 0,
                bytes => link.push(bytes),
            };
            from += taken;
            *sent += taken as u64;
            while let Some(answer) = link.heard()? {
                match answer {
                    Answer::Progress { done, total } => {
                        // What was right before the first byte is no part of the bar.
                        step.position(done.saturating_sub(total.saturating_sub(self.write)));
                        patience.reached(done);
                    }
                    Answer::Staged if end && from == to => return Ok(()),
                    other => return Err(unexpected(&other)),
                }
            }
            let limit = if end && link.all_sent() {
                READ_BACK_LIMIT
            } else {
                STALL_LIMIT
            };
            if link.turn(TICK)? || taken > 0 {
                moved = Instant::now();
            } else if moved.elapsed() > limit {
                return Err(DeviceError::Silent(limit));
            }
        }
    }
}

/// What was done, for the step's line.
pub fn summary(sent: &Sent, offer: &Offer) -> String {
    let again = match sent.again {
        0 => String::new(),
        1 => ", 1 new connection".to_owned(),
        n => format!(", {n} new connections"),
    };
    format!(
        "{} sent, {} written{again}",
        size(sent.bytes),
        size(offer.write)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_tries_without_progress_are_enough() {
        let mut patience = Patience::default();
        patience.reached(100);
        assert_eq!(patience.again(), Some(Duration::from_secs(1)));
        assert_eq!(patience.again(), Some(Duration::from_secs(3)));
        // The box is where it was: that is no progress.
        patience.reached(100);
        patience.reached(50);
        for _ in 0..3 {
            assert!(patience.again().is_some());
        }
        assert_eq!(patience.again(), None);
        patience.reached(101);
        assert_eq!(patience.again(), Some(Duration::from_secs(1)));
    }
}
