//! The DHCP client: when to ask what, and what an answer changes (RFC 2131 section 4.4).
//!
//! | State     | Event                  | Next      | Actions |
//! |-----------|------------------------|-----------|---------|
//! | searching | time is up             | searching | broadcast DISCOVER, wait longer next time |
//! | searching | offer                  | choosing  | broadcast REQUEST for it |
//! | choosing  | time is up, [`CHOOSE_TRIES`] not used up | choosing | broadcast REQUEST again |
//! | choosing  | time is up, used up    | searching | |
//! | choosing  | ack                    | bound     | set the address |
//! | choosing  | nak                    | searching | |
//! | bound     | T1 passed              | bound     | REQUEST to the server, again after half of what is left to T2 |
//! | bound     | T2 passed              | bound     | broadcast REQUEST, again after half of what is left to the end |
//! | bound     | lease over, or nak while asking | searching | remove the address |
//! | bound     | ack while asking       | bound     | set the address, new times |

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
        grant: Grant,
        next: Duration,
        asking: bool,
        rebind: Duration,
        end: Duration,
    },
}

/// A DHCP client for one interface.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    state: State,
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
            begun: now,
        }
    }

    /// When [`Lease::tick`] is due next.
    pub fn deadline(&self) -> Duration {
        match &self.state {
            State::Searching { next, .. } | State::Choosing { next, .. } => *next,
            State::Bound { next, end, .. } => *next.min(end),
        }
    }

    /// The address in use.
    pub fn grant(&self) -> Option<&Grant> {
        match &self.state {
            State::Bound { grant, .. } => Some(grant),
            _ => None,
        }
    }

    /// The link came back: ask at once whether all is as before.
    pub fn link_is_back(&mut self, now: Duration) {
        match &mut self.state {
            State::Searching { next, wait } => (*next, *wait) = (now, FIRST_WAIT),
            State::Choosing { next, .. } => *next = now,
            // The network may be another one: everybody may answer (as in REBINDING).
            State::Bound { next, rebind, .. } => (*next, *rebind) = (now, now),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if now < self.deadline() {
            return Vec::new();
        }
        let seconds = now.saturating_sub(self.begun).as_secs();
        self.client.seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
        match &mut self.state {
            State::Searching { next, wait } => {
                *next = now + *wait;
                *wait = (*wait * 2).min(LAST_WAIT);
                vec![Action::Send(
                    Ipv4Addr::BROADCAST,
                    dhcp::write(&self.client, Ask::Discover),
                )]
            }
            State::Choosing { offer, next, tries } => {
                if *tries >= CHOOSE_TRIES {
                    self.search(now);
                    return self.tick(now);
                }
                *tries += 1;
                *next = now + FIRST_WAIT;
                let ask = Ask::Select {
                    address: offer.address,
                    server: offer.server,
                };
                vec![Action::Send(
                    Ipv4Addr::BROADCAST,
                    dhcp::write(&self.client, ask),
                )]
            }
            State::Bound { grant, end, .. } if *end <= now => {
                let lost = Action::Unbind(grant.clone());
                self.search(now);
                let mut actions = vec![lost];
                actions.extend(self.tick(now));
                actions
            }
            State::Bound {
                grant,
                next,
                asking,
                rebind,
                end,
            } => {
                *asking = true;
                let (to, until) = if now < *rebind {
                    (grant.server, *rebind)
                } else {
                    (Ipv4Addr::BROADCAST, *end)
                };
                *next = now + (until.saturating_sub(now) / 2).max(RENEW_WAIT);
                if now < *rebind {
                    *next = (*next).min(*rebind);
                }
                let ask = Ask::Extend {
                    address: grant.address,
                };
                vec![Action::Send(to, dhcp::write(&self.client, ask))]
            }
        }
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
                self.search(now);
                // Not at once: the same server would make the same offer.
                if let State::Searching { next, .. } = &mut self.state {
                    *next = now + FIRST_WAIT;
                }
                Vec::new()
            }
            (State::Bound { asking: true, .. }, Answer::Ack(grant)) => self.bind(now, grant),
            (
                State::Bound {
                    asking: true,
                    grant,
                    ..
                },
                Answer::Nak,
            ) => {
                let lost = Action::Unbind(grant.clone());
                self.search(now);
                let mut actions = vec![lost];
                actions.extend(self.tick(now));
                actions
            }
            _ => Vec::new(),
        }
    }

    fn search(&mut self, now: Duration) {
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
        let before = self.grant().cloned();
        self.state = State::Bound {
            grant: grant.clone(),
            next: at(renew),
            asking: false,
            rebind: at(rebind),
            end: at(lease),
        };
        let moved = before.filter(|before| before.address != grant.address);
        moved
            .map(Action::Unbind)
            .into_iter()
            .chain([Action::Bind(grant)])
            .collect()
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
