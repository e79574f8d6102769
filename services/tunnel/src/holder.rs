//! Which of several boxes with the same keys serves: decisions, without a clock or a socket.
//!
//! A card that was restored from a backup has the keys of the one that the backup is from, and both reach
//! the internet through the same relay. The relay remembers one of them, the **holder**
//! (`terraform/relay/modules/userdata/files/health` has its rules), and each box asks it:
//!
//! | What the relay says | What the box does |
//! |---|---|
//! | it is this box | serves until [`LEASE`] after it asked; asks again every [`RENEW`] |
//! | it is this box, and another was until shortly | the same, but not before that one's lease has ended |
//! | it is another box | stands down for good |
//! | it does not know what is asked: an older relay, or somebody else's | serves, as if it were alone |
//! | nothing | serves while its lease lasts; then no longer, and asks every [`RETRY`] |
//! | nothing, [`TRIES`] times, and it never said anything else | serves, as if it were alone |
//!
//! So of two boxes that both can hear the relay, one serves, and if one cannot, it stops before the other
//! begins. It takes no clock that is right, only clocks that run about as fast: the lease begins when the
//! question was sent, which is before the relay notes the time, and both boxes count from there.
//!
//! Copies of one card, byte by byte, say the same of themselves, but for the **run**: a number that each
//! start of the program makes. The relay lets a new start of the same card be the holder at once, so that
//! no restart waits; the copy that runs already is told at its next question, [`RENEW`] later at most.

use roost_service::tunnel::{Generation, Guard};
use std::time::{Duration, Instant};

/// Between two questions while all is well.
pub const RENEW: Duration = Duration::from_secs(20);
/// How long a box serves after it asked the question to which the relay said yes: two more questions may
/// get lost.
pub const LEASE: Duration = Duration::from_secs(60);
/// Seconds that the one before must have been quiet: its [`LEASE`], and what it takes to notice that this
/// has ended, what clocks differ by in a minute, and what is lost by counting whole seconds.
pub const QUIET_S: u64 = 65;
/// Between two questions that got no answer.
pub const RETRY: Duration = Duration::from_secs(2);
/// Between two questions to a relay that did not understand them; it may be set up anew meanwhile.
const LATER: Duration = Duration::from_secs(60);
/// Questions without an answer until a relay that never answered one counts as one that cannot. A
/// foreign relay may drop them. Each takes some seconds, in which another box may be heard in place of this.
const TRIES: u32 = 6;

/// What the relay says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Who the holder is.
    Holder(Holder),
    /// It does not know what is asked.
    Else,
    /// No answer came.
    Nothing,
}

/// The holder, as the relay tells it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Holder {
    /// [`Generation::number`].
    pub generation: u64,
    /// [`Generation::instance`].
    pub instance: String,
    /// Its run.
    pub run: String,
    /// Seconds since the one before it was told that it is the holder. The relay's clock may have been set
    /// back in between.
    pub quiet: i64,
}

/// What comes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to write down.
    Nothing,
    /// For the first time, this relay has said who the holder is.
    Remembers,
    /// Another box is the holder, and has this number.
    Replaced(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Without an answer so many times.
    Asking(u32),
    /// May serve between these.
    Held { from: Instant, until: Instant },
    /// Nobody to ask.
    Alone,
}

/// Where this box stands with one relay.
#[derive(Debug)]
pub struct Stand {
    number: u64,
    instance: String,
    run: String,
    /// The relay has said in this run that it is this box.
    told: bool,
    /// The relay is known to remember.
    remembers: bool,
    state: State,
    next: Instant,
}

impl Stand {
    /// A box that has not asked yet. `relay` is the relay's public key, `run` tells this start of the program
    /// from others (small letters and digits).
    pub fn new(generation: &Generation, relay: &str, run: String, now: Instant) -> Self {
        Self {
            number: generation.number,
            instance: generation.instance.clone(),
            run,
            told: false,
            remembers: generation.relay.as_deref() == Some(relay),
            state: State::Asking(0),
            next: now,
        }
    }

    /// One that cannot ask, because nobody knows the relay's address within the tunnel.
    pub fn alone(&mut self) {
        self.state = State::Alone;
    }

    /// What is asked, as a path. `key` is the box's own, in hexadecimal digits.
    pub fn question(&self, key: &str) -> String {
        let (number, instance, run) = (self.number, &self.instance, &self.run);
        let word = if self.told { "again" } else { "new" };
        format!("/holder/{key}/{number}/{instance}/{run}/{word}")
    }

    /// When to ask next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// The tunnel came up: there is somebody to ask now.
    pub fn came_up(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// Takes the answer, at `now`, to what was asked at `asked`.
    pub fn hear(&mut self, asked: Instant, now: Instant, said: &Said) -> Outcome {
        match said {
            Said::Holder(holder) => return self.told_of(holder, asked, now),
            Said::Else => {
                self.state = State::Alone;
                self.next = now + LATER;
            }
            Said::Nothing => {
                self.next = now + RETRY;
                match self.state {
                    State::Held { until, .. } if now < until => {}
                    State::Held { .. } => self.state = State::Asking(1),
                    State::Asking(times) if times + 1 >= TRIES && !self.remembers => {
                        self.state = State::Alone;
                        self.next = now + LATER;
                    }
                    State::Asking(times) => self.state = State::Asking(times.saturating_add(1)),
                    State::Alone => self.next = now + LATER,
                }
            }
        }
        Outcome::Nothing
    }

    fn told_of(&mut self, holder: &Holder, asked: Instant, now: Instant) -> Outcome {
        let its = (holder.generation, &holder.instance, &holder.run);
        if its != (self.number, &self.instance, &self.run) {
            self.state = State::Asking(0);
            return Outcome::Replaced(holder.generation);
        }
        let quiet = u64::try_from(holder.quiet).unwrap_or(0);
        let from = now + Duration::from_secs(QUIET_S.saturating_sub(quiet));
        let from = match self.state {
            State::Held {
                from: before,
                until,
            } if now < until => from.min(before),
            _ => from,
        };
        self.state = State::Held {
            from,
            until: asked + LEASE,
        };
        self.next = asked + RENEW;
        self.told = true;
        match std::mem::replace(&mut self.remembers, true) {
            false => Outcome::Remembers,
            true => Outcome::Nothing,
        }
    }

    /// Whether this box may serve.
    pub fn serves(&self, now: Instant) -> bool {
        match self.state {
            State::Asking(_) => false,
            State::Held { from, until } => from <= now && now < until,
            State::Alone => true,
        }
    }

    /// For who asks how it stands.
    pub fn guard(&self, now: Instant) -> Guard {
        match self.state {
            State::Held { until, .. } if now >= until => Guard::Asking,
            State::Held { from, .. } if now < from => Guard::Waiting,
            State::Held { .. } => Guard::Held,
            State::Asking(_) => Guard::Asking,
            State::Alone => Guard::Absent,
        }
    }
}

#[cfg(test)]
mod tests;
