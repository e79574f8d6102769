//! When to order a certificate. No clock in here: the time is an argument, in seconds since 1970.
//!
//! | There is                     | and                              | so                              |
//! |------------------------------|----------------------------------|---------------------------------|
//! | no clock                     |                                  | wait                            |
//! | a certificate                | the authority's advice is old    | ask for it (RFC 9773)           |
//! | none, or a wish              |                                  | due now                         |
//! | a certificate and advice     | fewer than 4 of the last week    | due at a moment of its window   |
//! | a certificate                |                                  | due when a third of it is left  |
//! | what is due                  | it came just now                 | wait as after many failures     |
//! | what is due                  | a try failed                     | wait, longer each time          |
//! | what is due                  | the authority said when          | wait until then                 |
//! | what is due                  | 40 orders within a week          | wait until one of them is older |
//! | what is due                  | none of these                    | order                           |

use serde::{Deserialize, Serialize};

/// Seconds of a day.
pub const DAY: u64 = 86_400;
const HOUR: u64 = 3600;
const WEEK: u64 = 7 * DAY;

/// Most orders of one certificate within a week, failed ones included. Let's Encrypt takes 300 in three
/// hours from an account; with 50 domains this stays far below.
pub const ORDERS_A_WEEK: usize = 40;
/// From so many certificates within a week on, advice to renew early is not followed: five of the same
/// names is what Let's Encrypt gives in a week, and an authority that always says "now" would never end.
const EARLY_A_WEEK: usize = 4;
/// First pause after a failure.
const FIRST_PAUSE: u64 = 300;
/// Longest pause after failures, however long certificates live.
const LONGEST_PAUSE: u64 = 12 * HOUR;
/// Nobody's rate limit is longer than a week; a longer ban is a fault, or the clock was wrong.
const LONGEST_BAN: u64 = 8 * DAY;
/// Advice is asked for again after at least and at most this (RFC 9773, section 4.3.3: a client should
/// bound it, e.g. between a minute and a day).
const ADVICE_AGE: (u64, u64) = (HOUR, DAY);

/// First and last second in which a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// First.
    pub from: u64,
    /// Last.
    pub until: u64,
}

impl Lifetime {
    fn long(self) -> u64 {
        self.until.saturating_sub(self.from)
    }
}

/// Why a certificate is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There is none, or none for these names from this authority.
    Missing,
    /// It is to have another key.
    Key,
    /// The owner wants it.
    Asked,
    /// It is in the last part of its life.
    Due,
    /// The authority advises it.
    Advised,
}

/// Why nothing is done for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The clock is not set.
    NoClock,
    /// Nothing is due.
    NotDue,
    /// The last try failed.
    Failed,
    /// The certificate authority named a time.
    Banned,
    /// There were [`ORDERS_A_WEEK`].
    Budget,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask when the authority would have the certificate renewed.
    AskAdvice,
    /// Order a certificate.
    Order(Why),
    /// Nothing until then; the end of time where only a clock can help.
    Wait {
        /// Until when.
        until: u64,
        /// Why.
        pause: Pause,
    },
}

/// A window in which the authority would have a certificate renewed (RFC 9773, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First second.
    pub start: u64,
    /// Last second.
    pub end: u64,
}

/// What was heard when advice was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Advice {
    asked_at: u64,
    ask_again: u64,
    window: Option<Window>,
}

/// What is remembered of one certificate's orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    failures: u32,
    failed_at: u64,
    banned_until: u64,
    /// When orders of the last week were made.
    orders: Vec<u64>,
    /// When certificates of the last week came.
    issued: Vec<u64>,
    advice: Option<Advice>,
}

impl Renewal {
    /// What to do now. `now`: `None` while the clock is not set. `life`: that of the certificate that
    /// there is. `wish`: a reason to have another at once. `seed`: this box's own, so that boxes do not
    /// come all together.
    pub fn next(
        &self,
        now: Option<u64>,
        life: Option<Lifetime>,
        wish: Option<Why>,
        seed: u64,
    ) -> Next {
        let wait = |until, pause| Next::Wait { until, pause };
        let Some(now) = now else {
            return wait(u64::MAX, Pause::NoClock);
        };
        if let (Some(_), None) = (life, wish)
            && self.advice_is_old(now)
        {
            return Next::AskAdvice;
        }
        let (due, why) = match (wish, life) {
            (Some(why), _) => (now, why),
            (None, None) => (now, Why::Missing),
            (None, Some(life)) => self.due(now, life, seed),
        };
        if due > now {
            let again = self.advice.map_or(due, |advice| advice.ask_again);
            return wait(due.min(again), Pause::NotDue);
        }
        match self.held_until(now, life, why, seed) {
            Some((until, pause)) => wait(until, pause),
            None => Next::Order(why),
        }
    }

    /// When a certificate is to be renewed, and by whose word.
    pub fn due(&self, now: u64, life: Lifetime, seed: u64) -> (u64, Why) {
        let (third, quarter) = (life.long() / 3, life.long() / 4);
        let early = recent(&self.issued, now).count() < EARLY_A_WEEK;
        let window = self.advice.and_then(|advice| advice.window);
        let Some(window) = window.filter(|_| early) else {
            let own = life.until - third - part(third / 10, seed, life.from);
            return (own, Why::Due);
        };
        let wide = window.end.saturating_sub(window.start);
        let moment = window.start.saturating_add(part(wide, seed, life.from));
        // Advice that leaves no time for failures is not followed to the letter.
        (moment.min(life.until - quarter), Why::Advised)
    }

    fn advice_is_old(&self, now: u64) -> bool {
        // Asked for in the future: the clock was wrong then.
        (self.advice).is_none_or(|advice| advice.ask_again <= now || advice.asked_at > now)
    }

    /// Until when what is due has to wait.
    fn held_until(
        &self,
        now: u64,
        life: Option<Lifetime>,
        why: Why,
        seed: u64,
    ) -> Option<(u64, Pause)> {
        let mut holds = Vec::new();
        // A failure in the future was by a wrong clock.
        if self.failures > 0 && self.failed_at <= now {
            let until = self.failed_at + pause(self.failures, life, seed);
            holds.push((until, Pause::Failed));
        }
        if self.banned_until <= now.saturating_add(LONGEST_BAN) {
            holds.push((self.banned_until, Pause::Banned));
        }
        // One that is due again as soon as it came: the box's clock is ahead, or the authority's behind.
        if let (Why::Due, Some(last)) = (why, recent(&self.issued, now).max()) {
            holds.push((last + longest_pause(life), Pause::NotDue));
        }
        let orders: Vec<u64> = recent(&self.orders, now).collect();
        if let Some(last) = orders.len().checked_sub(ORDERS_A_WEEK) {
            holds.push((orders[last] + WEEK, Pause::Budget));
        }
        (holds.into_iter())
            .filter(|(until, _)| *until > now)
            .max_by_key(|(until, _)| *until)
    }

    /// An order is about to be made.
    pub fn ordered(&mut self, now: u64) {
        self.orders = recent(&self.orders, now).chain([now]).collect();
    }

    /// A certificate came.
    pub fn issued(&mut self, now: u64) {
        self.issued = recent(&self.issued, now).chain([now]).collect();
        (self.failures, self.banned_until, self.advice) = (0, 0, None);
    }

    /// A try failed. `retry_after`: seconds that the authority wants to be left alone.
    pub fn failed(&mut self, now: u64, retry_after: Option<u64>) {
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
        if let Some(seconds) = retry_after {
            self.banned_until = now + seconds.min(LONGEST_BAN);
        }
    }

    /// Failures are forgotten: the owner has mended something. The authority's word is not.
    pub fn asked(&mut self) {
        self.failures = 0;
    }

    /// How often it failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Advice came; `None`: this authority gives none. `again`: seconds until it is to be asked again.
    pub fn advised(&mut self, now: u64, window: Option<Window>, again: u64) {
        self.advice = Some(Advice {
            asked_at: now,
            ask_again: now + again.clamp(ADVICE_AGE.0, ADVICE_AGE.1),
            window,
        });
    }

    /// Advice could not be had: what was heard last holds on.
    pub fn not_advised(&mut self, now: u64) {
        let window = self.advice.and_then(|advice| advice.window);
        self.advised(now, window, 6 * HOUR);
    }
}

/// Those of the week before `now`; what lies in the future was by a wrong clock.
fn recent(times: &[u64], now: u64) -> impl Iterator<Item = u64> {
    (times.iter().copied()).filter(move |time| *time <= now && time + WEEK > now)
}

/// Longest pause between tries: a twenty-fourth of the certificate's life, so that there are at least
/// five in its last quarter, at most [`LONGEST_PAUSE`].
pub fn longest_pause(life: Option<Lifetime>) -> u64 {
    life.map_or(6 * HOUR, |life| {
        (life.long() / 24).clamp(HOUR, LONGEST_PAUSE)
    })
}

fn pause(failures: u32, life: Option<Lifetime>, seed: u64) -> u64 {
    let doubled = FIRST_PAUSE << (failures - 1).min(16);
    let base = doubled.min(longest_pause(life));
    base + part(base / 10, seed, u64::from(failures))
}

/// Some number below `whole` (0 for 0), always the same for the same seed and salt.
fn part(whole: u64, seed: u64, salt: u64) -> u64 {
    // The mixing step of SplitMix64: neighbouring salts lead to numbers far apart.
    let mut z = seed.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).checked_rem(whole).unwrap_or(0)
}

#[cfg(test)]
#[path = "renew_tests.rs"]
mod tests;
