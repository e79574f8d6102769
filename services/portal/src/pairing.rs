//! Pairing: from the code on the card to an owner, once.
//!
//! # State table
//!
//! Every event first settles what time alone has changed (the two rows "time").
//! *Not let through* means: the code is not even compared.
//!
//! | State    | Event                                   | Next                    | Answer |
//! |----------|-----------------------------------------|-------------------------|--------|
//! | –        | first start, with the card's code       | waiting                 | |
//! | waiting  | time: [`CODE_LIFE`] is over             | expired, code forgotten | |
//! | waiting  | a text that cannot be a code            | unchanged               | what a code looks like |
//! | waiting  | a code, not let through                 | unchanged               | how long to wait |
//! | waiting  | a wrong code, fewer than [`TRIES`] so far | waiting, one more failure | tries left |
//! | waiting  | a wrong code                            | waiting, longer delay   | how long to wait |
//! | waiting  | the code                                | waiting, a grant is on its way | the grant, for this browser |
//! | waiting  | a request with the grant                | granted, code forgotten | the form |
//! | waiting  | a form without that grant               | unchanged               | enter the code |
//! | expired  | a code                                  | unchanged               | where the new code is |
//! | expired  | a new code was made                     | waiting, failures kept  | |
//! | granted  | time: [`GRANT_LIFE`] is over            | expired                 | |
//! | granted  | a request of the browser with the grant | unchanged               | the form |
//! | granted  | the form is complete, from that browser | finished, with an owner | signed in |
//! | granted  | anything from another browser           | unchanged               | another browser is at it |
//! | finished | anything                                | unchanged               | there is an owner |
//!
//! # Decisions
//!
//! **Time is powered-on time** ([`crate::time`]). A new box has no clock, and the network
//! it would get one from is the attacker's. The code's week does not run while the
//! card lies in a drawer. All times are kept with the state, so pulling the plug
//! prolongs a delay and never ends it.
//!
//! **The delay is for everybody.** Addresses cost nothing on a home network: one IPv6
//! network has 2⁶⁴, and a machine can take its neighbours' IPv4 addresses. An address
//! never buys a try; [`most_guesses`] holds for all of them together.
//!
//! **A stranger cannot lock the owner out for good.** The delay ends after an hour at
//! most, and then addresses that have entered a wrong code wait a quarter of the delay
//! longer than those that have not. A stranger who guesses at every chance thus leaves
//! the owner 15 minutes of each hour. It is single addresses that count here, not IPv6
//! networks: a home is one such network, and the owner is in it too. A stranger who takes a fresh
//! address for each try, or is behind the same one as the owner, spoils the head start
//! (never the delay): then whoever is first gets the try. The way out is the one of
//! whoever holds the card: connect the box elsewhere, or write the card again.
//!
//! **Nothing is forgiven,** neither by time nor by a new code: else waiting would buy tries.
//!
//! **The code is used up when the grant has arrived,** not by the end of the pairing. Who
//! read it over the owner's shoulder has nothing once the owner sees the form, and who was faster
//! than the owner is noticed by them at once. It is not used up before: were the answer
//! that carries the grant lost on a bad line, a box without a screen could not be paired any more.
//! The next right code makes a new grant, and only the latest counts.

use crate::code::{CODES, Code};
use crate::decided::Decided;
use crate::owner::{Authenticated, Owner, SignedInBy};
use crate::password::PasswordHash;
use crate::throttle::Ladder;
use crate::time::{Now, PoweredOn};
use crate::token::{SecretToken, TokenHash};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

mod answer;
pub use answer::{Refusal, View};

/// How long a code can be used, in powered-on time: a box that arrives before the
/// weekend is set up at the weekend after, and a photograph of the code is
/// worthless some day.
pub const CODE_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// How long a browser may take to finish, in powered-on time: whoever has to look for the
/// name of a domain may sleep over it.
pub const GRANT_LIFE: Duration = Duration::from_secs(86_400);
/// Tries before the first delay: the number. People mistype once or twice.
pub const TRIES: u32 = 5;
/// The delays after that: the first is about as long as reading the code again, the
/// last long enough for 24 guesses a day and short enough to be waited for.
pub const DELAYS: Ladder = Ladder {
    free: TRIES,
    first: Duration::from_secs(30),
    longest: Duration::from_secs(3_600),
};
/// The part of a delay that addresses with a wrong code behind them wait in addition: 1/4.
const HEAD_START: u32 = 4;
/// Such addresses that are remembered; a home has fewer.
const MAX_ADDRESSES: usize = 64;

/// Where the pairing of this box stands; kept by the store.
///
/// Not `Clone`: a state that was used is gone, so that no code path goes on with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Pairing {
    /// For somebody who enters the code.
    Waiting(Open),
    /// For a new code.
    Expired {
        /// Wrong codes so far.
        failures: Failures,
    },
    /// For the browser that has entered the code and got its grant.
    Granted {
        /// Hash of what that browser holds.
        token: TokenHash,
        /// When it loses the right to finish.
        until: PoweredOn,
        /// Wrong codes so far.
        failures: Failures,
    },
    /// There is an owner.
    Finished {
        /// Since when.
        at: Now,
    },
}

/// A box whose code can be entered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    code: Code,
    /// When the code expires.
    until: PoweredOn,
    /// Hash of the grant that is on its way to the browser that has entered the code.
    sent: Option<TokenHash>,
    failures: Failures,
}

/// Wrong codes so far.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// How many.
    count: u32,
    /// When the next try is let through, from an address without a failure.
    open: PoweredOn,
    /// Addresses that they came from, oldest first.
    addresses: Vec<IpAddr>,
}

/// What [`Pairing::finish`] leaves: both are to be kept in one transaction, together
/// with what the form said. A box that is finished without an owner could not be used.
#[derive(Debug)]
pub struct Outcome {
    /// Where the pairing stands.
    pub pairing: Pairing,
    /// The owner, if there is one now.
    pub owner: Option<Owner>,
}

impl Failures {
    fn left(&self) -> u32 {
        TRIES.saturating_sub(self.count)
    }

    /// How long until a try from this address is let through.
    fn wait(&self, from: IpAddr, now: PoweredOn) -> Duration {
        let mut open = self.open;
        if self.addresses.contains(&from.to_canonical()) {
            open = open.after(DELAYS.delay(self.count) / HEAD_START);
        }
        open.since(now)
    }

    fn add(&mut self, from: IpAddr, now: PoweredOn) {
        self.count = self.count.saturating_add(1);
        self.open = now.after(DELAYS.delay(self.count));
        let from = from.to_canonical();
        self.addresses.retain(|known| *known != from);
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.remove(0);
        }
        self.addresses.push(from);
    }

    /// Bounds the delay from now on, should the box have lost count of its time.
    fn settle(&mut self, now: PoweredOn) {
        self.open = self.open.min(now.after(DELAYS.delay(self.count)));
    }
}

impl Open {
    fn new(code: Code, failures: Failures, now: PoweredOn) -> Self {
        Self {
            code,
            until: now.after(CODE_LIFE),
            sent: None,
            failures,
        }
    }

    fn enter(
        mut self,
        typed: &str,
        from: IpAddr,
        random: [u8; 32],
        now: PoweredOn,
    ) -> Decided<Self, Result<SecretToken, Refusal>> {
        let wait = self.failures.wait(from, now);
        let typed = match Code::parse(typed) {
            Err(no) => return Decided::unchanged(self, Err(Refusal::NotACode(no))),
            Ok(_) if !wait.is_zero() => {
                return Decided::unchanged(self, Err(Refusal::Wait { wait }));
            }
            Ok(typed) => typed,
        };
        if self.code.is(&typed) {
            let grant = SecretToken::from_random(random);
            self.sent = Some(grant.hash());
            return Decided::new(self, Ok(grant));
        }
        self.failures.add(from, now);
        let refusal = match self.failures.left() {
            0 => Refusal::WrongThenWait {
                wait: self.failures.wait(from, now),
            },
            left => Refusal::Wrong { left },
        };
        Decided::new(self, Err(refusal))
    }
}

impl Pairing {
    /// A new box, whose card has this code.
    pub fn begin(code: Code, now: PoweredOn) -> Self {
        Self::Waiting(Open::new(code, Failures::default(), now))
    }

    /// What time alone has changed. Every other function begins with it; by itself it
    /// tells whether a new code is due.
    #[must_use]
    pub fn settle(mut self, now: PoweredOn) -> Self {
        // Should the box have lost count of its time, nothing lasts longer than from now on.
        let over = match &mut self {
            Self::Waiting(Open { until, .. }) => {
                *until = (*until).min(now.after(CODE_LIFE));
                *until <= now
            }
            Self::Granted { until, .. } => {
                *until = (*until).min(now.after(GRANT_LIFE));
                *until <= now
            }
            Self::Expired { .. } | Self::Finished { .. } => false,
        };
        match self {
            Self::Waiting(Open { mut failures, .. }) | Self::Granted { mut failures, .. }
                if over =>
            {
                failures.settle(now);
                Self::Expired { failures }
            }
            Self::Waiting(mut open) => {
                open.failures.settle(now);
                Self::Waiting(open)
            }
            Self::Expired { mut failures } => {
                failures.settle(now);
                Self::Expired { failures }
            }
            Self::Granted { .. } | Self::Finished { .. } => self,
        }
    }

    /// Takes a new code after the old one has expired; the box makes it, and shows it on its
    /// screen. `false` and unchanged in every other state.
    pub fn renew(self, code: Code, now: PoweredOn) -> Decided<Self, bool> {
        match self.settle(now) {
            Self::Expired { failures } => {
                Decided::new(Self::Waiting(Open::new(code, failures, now)), true)
            }
            other => Decided::unchanged(other, false),
        }
    }

    /// What to show to a browser that comes from `from` and holds `token`. One that holds a
    /// token is to [`Pairing::claim`] first.
    pub fn view(&self, token: Option<&SecretToken>, from: IpAddr, now: PoweredOn) -> View {
        match self {
            Self::Waiting(Open { until, .. }) | Self::Granted { until, .. } if *until <= now => {
                View::Closed(Refusal::Expired)
            }
            Self::Waiting(Open { failures, .. }) => View::AskCode {
                left: failures.left(),
                wait: failures.wait(from, now),
            },
            Self::Expired { .. } => View::Closed(Refusal::Expired),
            Self::Granted { token: kept, .. } => match token {
                Some(token) if token.hash() == *kept => View::Form,
                _ => View::Closed(Refusal::Elsewhere),
            },
            Self::Finished { .. } => View::Closed(Refusal::Finished),
        }
    }

    /// Somebody enters a code. `random` becomes the grant, if it is the right one; the
    /// next request of that browser is to [`Pairing::claim`] it.
    pub fn enter(
        self,
        typed: &str,
        from: IpAddr,
        random: [u8; 32],
        now: PoweredOn,
    ) -> Decided<Self, Result<SecretToken, Refusal>> {
        match self.settle(now) {
            Self::Waiting(open) => open
                .enter(typed, from, random, now)
                .map(Self::Waiting, |answer| answer),
            other => {
                let refusal = other.refusal();
                Decided::unchanged(other, Err(refusal))
            }
        }
    }

    /// A browser shows a grant: if it is the latest, the code is forgotten and only this
    /// browser goes on. Doing it again changes nothing.
    pub fn claim(self, token: &SecretToken, now: PoweredOn) -> Decided<Self, Result<(), Refusal>> {
        let hash = token.hash();
        match self.settle(now) {
            Self::Waiting(open) if open.sent == Some(hash) => {
                let state = Self::Granted {
                    token: hash,
                    until: now.after(GRANT_LIFE),
                    failures: open.failures,
                };
                Decided::new(state, Ok(()))
            }
            Self::Granted {
                token,
                until,
                failures,
            } if token == hash => {
                let state = Self::Granted {
                    token,
                    until,
                    failures,
                };
                Decided::unchanged(state, Ok(()))
            }
            other => {
                let refusal = other.refusal();
                Decided::unchanged(other, Err(refusal))
            }
        }
    }

    /// The browser with the grant has sent a form that is complete: the box gets an
    /// owner with this password. The answer lets a session be opened for that browser.
    pub fn finish(
        self,
        token: Option<&SecretToken>,
        password: PasswordHash,
        now: Now,
    ) -> Decided<Outcome, Result<Authenticated, Refusal>> {
        match self.settle(now.powered_on) {
            Self::Granted { token: kept, .. } if token.is_some_and(|t| t.hash() == kept) => {
                let outcome = Outcome {
                    pairing: Self::Finished { at: now },
                    owner: Some(Owner::new(password)),
                };
                Decided::new(outcome, Ok(Authenticated::new(SignedInBy::Pairing)))
            }
            pairing => {
                let refusal = pairing.refusal();
                let outcome = Outcome {
                    pairing,
                    owner: None,
                };
                Decided::unchanged(outcome, Err(refusal))
            }
        }
    }

    /// The code that can be entered, for the box's own screen.
    pub fn code(&self) -> Option<&Code> {
        match self {
            Self::Waiting(open) => Some(&open.code),
            Self::Expired { .. } | Self::Granted { .. } | Self::Finished { .. } => None,
        }
    }

    /// What is said to a browser that has no business here.
    fn refusal(&self) -> Refusal {
        match self {
            Self::Waiting(_) => Refusal::NoGrant,
            Self::Expired { .. } => Refusal::Expired,
            Self::Granted { .. } => Refusal::Elsewhere,
            Self::Finished { .. } => Refusal::Finished,
        }
    }
}

/// The most codes that can be compared within `time` of powered-on time, whoever enters
/// them, from wherever, with the plug pulled as often as they like.
pub fn most_guesses(time: Duration) -> u64 {
    let mut guesses = u64::from(TRIES);
    let mut left = time;
    let mut count = TRIES;
    loop {
        let delay = DELAYS.delay(count);
        match left.checked_sub(delay) {
            None => return guesses,
            Some(rest) if delay == DELAYS.longest => {
                return guesses + 1 + rest.as_secs() / delay.as_secs();
            }
            Some(rest) => left = rest,
        }
        guesses += 1;
        count += 1;
    }
}

/// The chance to hit the code with that many guesses.
pub fn chance(guesses: u64) -> f64 {
    guesses as f64 / CODES as f64
}

#[cfg(test)]
#[path = "pairing_tests.rs"]
mod tests;
