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
//! | waiting  | the code                                | granted, code forgotten | a grant for this browser |
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
//! most, and then networks that have entered a wrong code since the code was made wait a
//! quarter of the delay longer than those that have not. A stranger who
//! guesses at every chance thus leaves the owner 15 minutes of each hour. That fails
//! where both share a network (behind one router's address, in one IPv6 network): then
//! whoever is first gets the try. The way out is then the one of whoever holds the
//! card: connect the box elsewhere, or write the card again.
//!
//! **Nothing is forgiven,** neither by time nor by a new code: else waiting would buy tries.
//!
//! **The code is used up by its first success,** not by the end of the pairing. Who
//! read it over the owner's shoulder has nothing once the owner has entered it, and who was faster
//! than the owner is noticed by them at once.

use crate::code::{CODES, Code, NotACode};
use crate::decided::Decided;
use crate::owner::{Authenticated, Owner, SignedInBy};
use crate::password::PasswordHash;
use crate::throttle::Ladder;
use crate::time::{Now, PoweredOn, words};
use crate::token::{SecretToken, TokenHash};
use crate::visitor::Network;
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
/// The part of a delay that networks with a wrong code behind them wait in addition: 1/4.
const HEAD_START: u32 = 4;
/// Such networks that are remembered. A home has one IPv6 network and a dozen IPv4
/// addresses; who has more of them than this to burn can spoil the head start, not the delay.
const MAX_NETWORKS: usize = 64;

/// Where the pairing of this box stands; kept by the store.
///
/// Not `Clone`: a state that was used is gone, so that no code path goes on with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Pairing {
    /// For somebody who enters the code.
    Waiting {
        /// The code.
        code: Code,
        /// When it expires.
        until: PoweredOn,
        /// Wrong codes so far.
        failures: Failures,
    },
    /// For a new code.
    Expired {
        /// Wrong codes so far.
        failures: Failures,
    },
    /// For the browser that has entered the code.
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

/// Wrong codes so far.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// How many.
    count: u32,
    /// When the next try is let through, from a network without a failure.
    open: PoweredOn,
    /// Networks that they came from, oldest first.
    networks: Vec<Network>,
}

/// What a visitor may see of the pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The page that asks for the code.
    AskCode {
        /// Tries left before the next delay.
        left: u32,
        /// How long until a try is let through.
        wait: Duration,
    },
    /// The form: this browser has entered the code.
    Form,
    /// Nothing but a sentence.
    Closed(Refusal),
}

/// Why a visitor gets no further. Its text is for the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was typed cannot be a code.
    #[error("{0}")]
    NotACode(NotACode),
    /// A wrong code; another try is free.
    #[error("this is not the code of this box; {} left before you have to wait", tries(*left))]
    Wrong {
        /// How many more are.
        left: u32,
    },
    /// A wrong code, and a delay from now on.
    #[error("this is not the code of this box; you can try again in {}", words(*wait))]
    WrongThenWait {
        /// How long, for this network.
        wait: Duration,
    },
    /// Not let through.
    #[error(
        "too many wrong codes were entered, here or in another browser; you can try again in {}",
        words(*wait)
    )]
    Wait {
        /// How long, for this network.
        wait: Duration,
    },
    /// The code has expired.
    #[error("the pairing code has expired")]
    Expired,
    /// Another browser has entered the code.
    #[error("another browser has entered the code; go on in that one")]
    Elsewhere,
    /// There is an owner.
    #[error("this box has an owner already")]
    Finished,
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotACode(_) | Self::Wrong { .. } | Self::WrongThenWait { .. } => Some(
                "`roost flash` showed the code when it wrote the card; a screen on the box shows it too",
            ),
            Self::Wait { .. } => Some(
                "if you entered none, somebody else on your network did; connect the box to a network of your own, or write its card again",
            ),
            Self::Expired => Some(
                "a screen on the box shows a new one; without a screen, write the card again with `roost flash`",
            ),
            Self::Elsewhere => Some(
                "if that was not you, somebody knows the code: switch the box off and write its card again with `roost flash`",
            ),
            Self::Finished => Some("sign in"),
        }
    }
}

fn tries(left: u32) -> String {
    match left {
        1 => "1 try is".to_owned(),
        n => format!("{n} tries are"),
    }
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

    /// How long until a try from this network is let through.
    fn wait(&self, from: Network, now: PoweredOn) -> Duration {
        let mut open = self.open;
        if self.networks.contains(&from) {
            open = open.after(DELAYS.delay(self.count) / HEAD_START);
        }
        open.since(now)
    }

    fn add(&mut self, from: Network, now: PoweredOn) {
        self.count = self.count.saturating_add(1);
        self.open = now.after(DELAYS.delay(self.count));
        self.networks.retain(|network| *network != from);
        if self.networks.len() >= MAX_NETWORKS {
            self.networks.remove(0);
        }
        self.networks.push(from);
    }

    /// Bounds the delay from now on, should the box have lost count of its time.
    fn settle(&mut self, now: PoweredOn) {
        self.open = self.open.min(now.after(DELAYS.delay(self.count)));
    }
}

impl Pairing {
    /// A new box, whose card has this code.
    pub fn begin(code: Code, now: PoweredOn) -> Self {
        Self::Waiting {
            code,
            until: now.after(CODE_LIFE),
            failures: Failures::default(),
        }
    }

    /// What time alone has changed. Every other function begins with it; by itself it
    /// tells whether a new code is due.
    #[must_use]
    pub fn settle(self, now: PoweredOn) -> Self {
        match self {
            Self::Waiting {
                until,
                mut failures,
                ..
            }
            | Self::Granted {
                until,
                mut failures,
                ..
            } if until <= now => {
                failures.settle(now);
                Self::Expired { failures }
            }
            Self::Waiting {
                code,
                until,
                mut failures,
            } => {
                failures.settle(now);
                let until = until.min(now.after(CODE_LIFE));
                Self::Waiting {
                    code,
                    until,
                    failures,
                }
            }
            Self::Granted {
                token,
                until,
                failures,
            } => {
                let until = until.min(now.after(GRANT_LIFE));
                Self::Granted {
                    token,
                    until,
                    failures,
                }
            }
            Self::Expired { mut failures } => {
                failures.settle(now);
                Self::Expired { failures }
            }
            Self::Finished { .. } => self,
        }
    }

    /// Takes a new code after the old one has expired; the box makes it, and shows it on its
    /// screen. `false` and unchanged in every other state.
    pub fn renew(self, code: Code, now: PoweredOn) -> Decided<Self, bool> {
        match self.settle(now) {
            Self::Expired { failures } => Decided::new(
                Self::Waiting {
                    code,
                    until: now.after(CODE_LIFE),
                    failures,
                },
                true,
            ),
            other => Decided::unchanged(other, false),
        }
    }

    /// What to show to a browser that comes from `from` and holds `token`.
    pub fn view(&self, token: Option<&SecretToken>, from: Network, now: PoweredOn) -> View {
        match self {
            Self::Waiting { until, .. } | Self::Granted { until, .. } if *until <= now => {
                View::Closed(Refusal::Expired)
            }
            Self::Waiting { failures, .. } => View::AskCode {
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

    /// Somebody enters a code. `random` becomes the grant, if it is the right one.
    pub fn enter(
        self,
        typed: &str,
        from: Network,
        random: [u8; 32],
        now: PoweredOn,
    ) -> Decided<Self, Result<SecretToken, Refusal>> {
        let (code, until, mut failures) = match self.settle(now) {
            Self::Waiting {
                code,
                until,
                failures,
            } => (code, until, failures),
            other => {
                let refusal = match other {
                    Self::Granted { .. } => Refusal::Elsewhere,
                    Self::Finished { .. } => Refusal::Finished,
                    Self::Expired { .. } | Self::Waiting { .. } => Refusal::Expired,
                };
                return Decided::unchanged(other, Err(refusal));
            }
        };
        let wait = failures.wait(from, now);
        let typed = match Code::parse(typed) {
            Ok(typed) if wait.is_zero() => typed,
            refused => {
                let refusal = match refused {
                    Ok(_) => Refusal::Wait { wait },
                    Err(reason) => Refusal::NotACode(reason),
                };
                let state = Self::Waiting {
                    code,
                    until,
                    failures,
                };
                return Decided::unchanged(state, Err(refusal));
            }
        };
        if code.is(&typed) {
            let grant = SecretToken::from_random(random);
            let state = Self::Granted {
                token: grant.hash(),
                until: now.after(GRANT_LIFE),
                failures,
            };
            return Decided::new(state, Ok(grant));
        }
        failures.add(from, now);
        let refusal = match failures.left() {
            0 => Refusal::WrongThenWait {
                wait: failures.wait(from, now),
            },
            left => Refusal::Wrong { left },
        };
        Decided::new(
            Self::Waiting {
                code,
                until,
                failures,
            },
            Err(refusal),
        )
    }

    /// The browser with the grant has sent a form that is complete: the box gets an
    /// owner with this password. The answer lets a session be opened for that browser.
    pub fn finish(
        self,
        token: Option<&SecretToken>,
        password: PasswordHash,
        now: Now,
    ) -> Decided<Outcome, Result<Authenticated, Refusal>> {
        let outcome = match self.settle(now.powered_on) {
            Self::Granted { token: kept, .. } if token.is_some_and(|t| t.hash() == kept) => {
                let outcome = Outcome {
                    pairing: Self::Finished { at: now },
                    owner: Some(Owner::new(password)),
                };
                return Decided::new(outcome, Ok(Authenticated::new(SignedInBy::Pairing)));
            }
            pairing => Outcome {
                pairing,
                owner: None,
            },
        };
        let refusal = match &outcome.pairing {
            Self::Granted { .. } => Refusal::Elsewhere,
            Self::Finished { .. } => Refusal::Finished,
            // Without a grant there is nothing to finish, and whoever sent a form had one.
            Self::Expired { .. } | Self::Waiting { .. } => Refusal::Expired,
        };
        Decided::unchanged(outcome, Err(refusal))
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
