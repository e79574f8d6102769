//! The DHCP client: when to ask what, and what an answer changes (RFC 2131 section 4.4).
//!
//! | State     | Event                  | Next      | Actions |
//! |-----------|------------------------|-----------|---------|
//! | searching | time is up             | searching | broadcast DISCOVER, wait longer next time |
//! | searching | offer                  | choosing  | broadcast REQUEST for it |
//! | choosing  | time is up, [`CHOOSE_TRIES`] not used up | choosing | broadcast REQUEST again |
//! | choosing  | time is up, used up    | searching | |
//! | choosing  | ack                    | bound     | set the address |
//! | choosing  | nak                    | searching | remove the address |
//! | bound     | T1 passed              | bound     | REQUEST to the server, again after half of what is left to T2 |
//! | bound     | T2 passed              | bound     | broadcast REQUEST, again after half of what is left to the end |
//! | bound     | nak while asking       | searching | remove the address |
//! | bound     | ack while asking       | bound     | set the address, new times |
//! | verifying | time is up, [`VERIFY_TRIES`] not used up | verifying | broadcast REQUEST for the address, wait longer next time |
//! | verifying | time is up, used up    | searching | |
//! | verifying | ack                    | bound     | set the address, new times |
//! | verifying | nak                    | searching | remove the address |
//! | any, with an address | link is back | verifying | |
//! | any, with an address | lease over | searching if bound or verifying | remove the address |
//!
//! The address stays while it is verified, and after that in searching and
//! choosing to its lease's end, as RFC 2131 section 4.4.2 permits: after a
//! power cut of the whole home the router is back minutes after the switch.

use crate::dhcp::{self, Answer, Ask, Client, Grant};
use std::net::Ipv4Addr;
use std::time::Duration;

/// First wait for an answer (RFC 2131 section 4.1 says 4 s; home routers
/// answer at once, and links often need 2 s after their first packet).
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Longest wait for an answer.
const LAST_WAIT: Duration = Duration::from_secs(32);
/// Requests for one offer before it is given up.
pub const CHOOSE_TRIES: u32 = 3;
/// Requests to keep an address on a link that came back, before it is searched for anew.
pub const VERIFY_TRIES: u32 = 4;
/// Repeated renewals are at least this far apart (RFC 2131 section 4.4.5).
const RENEW_WAIT: Duration = Duration::from_secs(60);
/// Longest lease taken at its word; T1 of more would be no check at all.
const LONGEST: u32 = 7 * 24 * 3600;
/// Shortest lease taken at its word, so that a broken server causes no storm.
const SHORTEST: u32 = 60;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes to port 67 of this address.
    Send(Ipv4Addr, Vec<u8>),
    /// Use this address and what comes with it, instead of the one before.
    Bind(Grant),
    /// The address is lost.
    Unbind(Grant),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Searching {
        next: Duration,
        wait: Duration,
    },
    Choosing {
        offer: Grant,
        next: Duration,
        tries: u32,
    },
    Bound {
        next: Duration,
        asking: bool,
        rebind: Duration,
    },
    Verifying {
        next: Duration,
        wait: Duration,
        tries: u32,
    },
}

/// An address that is ours until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    grant: Grant,
    end: Duration,
}

/// A DHCP client for one interface.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    state: State,
    /// Always there in `Bound` and `Verifying`.
    held: Option<Held>,
    begun: Duration,
}

impl Lease {
    /// A client that starts at `now` (time since boot). `random` becomes its
    /// transaction id.
    pub fn new(mac: [u8; 6], name: &str, random: u32, now: Duration) -> Self {
        let client = Client {
            id: random,
            mac,
            name: name.to_owned(),
            seconds: 0,
        };
        Self {
            client,
            state: State::Searching {
                next: now,
                wait: FIRST_WAIT,
            },
            held: None,
            begun: now,
        }
    }

    /// When [`Lease::tick`] is due next.
    pub fn deadline(&self) -> Duration {
        let end = self.held.as_ref().map(|held| held.end);
        match &self.state {
            State::Searching { next, .. }
            | State::Choosing { next, .. }
            | State::Bound { next, .. }
            | State::Verifying { next, .. } => end.map_or(*next, |end| end.min(*next)),
        }
    }

    /// The address in use.
    pub fn grant(&self) -> Option<&Grant> {
        self.held.as_ref().map(|held| &held.grant)
    }

    /// The link came back: ask at once whether all is as before. It may lead
    /// to another network now.
    pub fn link_is_back(&mut self, now: Duration) {
        self.restart(now);
        if self.held.is_some() {
            self.state = State::Verifying {
                next: now,
                wait: FIRST_WAIT,
                tries: 0,
            };
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if now < self.deadline() {
            return Vec::new();
        }
        let mut actions = Vec::new();
        if self.held.as_ref().is_some_and(|held| held.end <= now) {
            actions.extend(self.let_go());
            if matches!(self.state, State::Bound { .. } | State::Verifying { .. }) {
                self.restart(now);
            }
        }
        actions.extend(self.ask(now));
        actions
    }

    /// The message that is due.
    fn ask(&mut self, now: Duration) -> Option<Action> {
        let seconds = now.saturating_sub(self.begun).as_secs();
        self.client.seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
        let held = self.held.as_ref();
        let (to, ask) = match (&mut self.state, held) {
            (
                State::Searching { next, .. }
                | State::Choosing { next, .. }
                | State::Bound { next, .. }
                | State::Verifying { next, .. },
                _,
            ) if now < *next => return None,
            (State::Searching { next, wait }, _) => {
                *next = now + *wait;
                *wait = (*wait * 2).min(LAST_WAIT);
                (Ipv4Addr::BROADCAST, Ask::Discover)
            }
            (State::Choosing { offer, next, tries }, _) if *tries < CHOOSE_TRIES => {
                *tries += 1;
                *next = now + FIRST_WAIT;
                let ask = Ask::Select {
                    address: offer.address,
                    server: offer.server,
                };
                (Ipv4Addr::BROADCAST, ask)
            }
            (State::Verifying { next, wait, tries }, Some(held)) if *tries < VERIFY_TRIES => {
                *tries += 1;
                *next = now + *wait;
                *wait = (*wait * 2).min(LAST_WAIT);
                let address = held.grant.address;
                (Ipv4Addr::BROADCAST, Ask::Verify { address })
            }
            (
                State::Bound {
                    next,
                    asking,
                    rebind,
                },
                Some(held),
            ) => {
                *asking = true;
                let (to, until) = if now < *rebind {
                    (held.grant.server, *rebind)
                } else {
                    (Ipv4Addr::BROADCAST, held.end)
                };
                *next = now + (until.saturating_sub(now) / 2).max(RENEW_WAIT);
                if now < *rebind {
                    *next = (*next).min(*rebind);
                }
                let address = held.grant.address;
                (to, Ask::Extend { address })
            }
            _ => {
                self.restart(now);
                return self.ask(now);
            }
        };
        Some(Action::Send(to, dhcp::write(&self.client, ask)))
    }

    /// Takes a datagram from port 67; what is no answer to us is ignored.
    pub fn receive(&mut self, now: Duration, bytes: &[u8]) -> Vec<Action> {
        let Some(answer) = dhcp::read(&self.client, bytes) else {
            return Vec::new();
        };
        match (&mut self.state, answer) {
            (State::Searching { .. }, Answer::Offer(offer)) => {
                self.state = State::Choosing {
                    offer,
                    next: now,
                    tries: 0,
                };
                self.tick(now)
            }
            (State::Choosing { offer, .. }, Answer::Ack(grant)) if grant.server == offer.server => {
                self.bind(now, grant)
            }
            (State::Choosing { .. }, Answer::Nak) => {
                self.restart(now);
                // Not at once: the same server would make the same offer.
                if let State::Searching { next, .. } = &mut self.state {
                    *next = now + FIRST_WAIT;
                }
                self.let_go().into_iter().collect()
            }
            // Verifying has asked if it takes an answer at all: its id is new.
            (State::Bound { asking: true, .. } | State::Verifying { .. }, Answer::Ack(grant)) => {
                self.bind(now, grant)
            }
            (State::Bound { asking: true, .. } | State::Verifying { .. }, Answer::Nak) => {
                self.restart(now);
                let lost = self.let_go();
                lost.into_iter().chain(self.ask(now)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn let_go(&mut self) -> Option<Action> {
        self.held.take().map(|held| Action::Unbind(held.grant))
    }

    /// Searches from the beginning.
    fn restart(&mut self, now: Duration) {
        // A new id: answers to the old exchange are of no use any more.
        self.client.id = self.client.id.wrapping_mul(0x9e37_79b1).wrapping_add(1);
        self.begun = now;
        self.state = State::Searching {
            next: now,
            wait: FIRST_WAIT,
        };
    }

    fn bind(&mut self, now: Duration, grant: Grant) -> Vec<Action> {
        let lease = grant.lease_s.clamp(SHORTEST, LONGEST);
        let rebind = grant
            .rebind_s
            .unwrap_or(lease / 8 * 7)
            .clamp(SHORTEST / 2, lease);
        let renew = grant
            .renew_s
            .unwrap_or(lease / 2)
            .clamp(SHORTEST / 4, rebind);
        let at = |seconds: u32| now + Duration::from_secs(seconds.into());
        let held = Held {
            grant: grant.clone(),
            end: at(lease),
        };
        let before = self.held.replace(held);
        self.state = State::Bound {
            next: at(renew),
            asking: false,
            rebind: at(rebind),
        };
        let moved = before.filter(|before| before.grant.address != grant.address);
        moved
            .map(|before| Action::Unbind(before.grant))
            .into_iter()
            .chain([Action::Bind(grant)])
            .collect()
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
