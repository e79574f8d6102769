//! How often somebody may try to sign in.
//!
//! | Who tries | Limit | Stops | Does not stop |
//! |---|---|---|---|
//! | a browser in which the owner has signed in before | its own [`PASSWORD`] ladder | a thief of that browser's cookie | |
//! | any other, by [`Network`] | [`PASSWORD`] ladder of its network | one machine | many networks |
//! | all others together | [`BURST`] tries, then one every [`REFILL`] | many networks | a denial of service |
//! | all others together, with the right password | [`SECOND`] ladder | guessing six digits | a denial of service |
//!
//! The last two mean that a stranger can keep *new* browsers from signing in, as
//! every global limit does. The owner's own browsers hold a device cookie (OWASP, "Slow
//! Down Online Guessing Attacks with Device Cookies") and have lanes of their own
//! that nobody else can fill. That is also what the household needs whose
//! machines share one IPv6 network: a child who mistypes does not lock the parent out.
//!
//! A try is counted when it begins and taken back if it succeeds. So a thousand at
//! the same time are no way around the limits, and it is they that bound the
//! memory that password hashes take.
//!
//! The state is small and may be kept with the rest. A restart that forgets the lanes
//! costs [`BURST`] tries, and needs somebody at the plug.

use crate::time::{PoweredOn, words};
use crate::token::{SecretToken, TokenHash};
use crate::visitor::Network;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// Free tries, then delays that double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ladder {
    /// Failures that cost no delay yet, plus one: the one with this number does.
    pub free: u32,
    /// The first delay.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Ladder {
    /// The delay after so many failures.
    pub fn delay(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(self.free) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// For passwords. Five tries are for people with two passwords and a Caps Lock key; a quarter
/// of an hour is 96 guesses a day, of a password that is not easy to guess.
pub const PASSWORD: Ladder = Ladder {
    free: 5,
    first: Duration::from_secs(10),
    longest: Duration::from_secs(15 * 60),
};
/// For six digits, three of which are right at a time: 24 guesses a day hit with a chance of
/// 2.6 % in a year, and each is in the audit log with the remark that the password was right.
pub const SECOND: Ladder = Ladder {
    free: 5,
    first: Duration::from_secs(30),
    longest: Duration::from_secs(3_600),
};
/// Tries of all unknown browsers together that are free: a family on its first evening.
pub const BURST: u32 = 30;
/// Time until another one is: 1,440 a day, whatever addresses the attacker has.
pub const REFILL: Duration = Duration::from_secs(60);
/// A lane that saw no failure for so long counts as new.
const FORGET: Duration = Duration::from_secs(86_400);
/// Networks that are remembered; the one that failed longest ago goes. Filling the list
/// takes hours at the rate that [`REFILL`] leaves, and gains no try beyond that rate.
pub const MAX_NETWORKS: usize = 256;
/// Browsers that are remembered; the one that signed in longest ago goes.
pub const MAX_DEVICES: usize = 32;

/// Who tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A browser in which the owner has signed in before.
    Device(TokenHash),
    /// Any other.
    Network(Network),
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// The password.
    Password,
    /// A one-time code, after the right password.
    Second,
}

/// A try that was let through and counted. Dropping it leaves it counted as a failure.
#[derive(Debug)]
#[must_use = "the try stays counted as a failure unless it is told to be right"]
pub struct Attempt {
    who: Who,
    factor: Factor,
}

/// Not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts to sign in failed; you can try again in {}", words(*wait))]
pub struct Wait {
    /// How long.
    pub wait: Duration,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lane {
    failures: u32,
    last: PoweredOn,
}

impl Lane {
    fn wait(&self, ladder: Ladder, now: PoweredOn) -> Duration {
        self.last.after(ladder.delay(self.failures)).since(now)
    }

    fn add(&mut self, now: PoweredOn) {
        if now.since(self.last) > FORGET {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = now;
    }
}

/// A browser in which the owner has signed in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    token: TokenHash,
    password: Lane,
    second: Lane,
    /// When the owner last signed in there.
    used: PoweredOn,
}

/// All limits of sign-in.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    networks: Vec<(Network, Lane)>,
    devices: Vec<Device>,
    /// Tries of unknown browsers that the bucket has not got back yet.
    spent: u32,
    /// Since when the next one is on its way.
    refilled: PoweredOn,
    /// Second factor, unknown browsers.
    second: Lane,
}

impl Throttle {
    /// Which limits apply to a browser that shows `device` and comes from `from`.
    pub fn who(&self, device: Option<&SecretToken>, from: IpAddr) -> Who {
        let hash = device.map(SecretToken::hash);
        match hash.filter(|hash| self.devices.iter().any(|known| known.token == *hash)) {
            Some(hash) => Who::Device(hash),
            None => Who::Network(from.into()),
        }
    }

    /// Lets a try through and counts it, or says how long to wait.
    ///
    /// # Errors
    /// [`Wait`]; nothing was counted then.
    pub fn begin(&mut self, who: Who, factor: Factor, now: PoweredOn) -> Result<Attempt, Wait> {
        self.settle(now);
        let ladder = match factor {
            Factor::Password => PASSWORD,
            Factor::Second => SECOND,
        };
        let shared = matches!((who, factor), (Who::Network(_), Factor::Password));
        let mut wait = self
            .lane(who, factor)
            .map_or(Duration::ZERO, |lane| lane.wait(ladder, now));
        if shared && self.spent >= BURST {
            wait = wait.max(self.refilled.after(REFILL).since(now));
        }
        if !wait.is_zero() {
            return Err(Wait { wait });
        }
        if shared {
            self.spent += 1;
            self.make_room(who);
        }
        if let Some(lane) = self.lane(who, factor) {
            lane.add(now);
        }
        Ok(Attempt { who, factor })
    }

    /// The try was right: it and the failures before it are forgotten.
    pub fn right(&mut self, attempt: Attempt) {
        if let Some(lane) = self.lane(attempt.who, attempt.factor) {
            *lane = Lane::default();
        }
        if matches!(
            (attempt.who, attempt.factor),
            (Who::Network(_), Factor::Password)
        ) {
            self.spent = self.spent.saturating_sub(1);
        }
    }

    /// The owner has signed in in a browser that holds `token` from now on.
    pub fn remember(&mut self, token: TokenHash, now: PoweredOn) {
        self.devices.retain(|device| device.token != token);
        if self.devices.len() >= MAX_DEVICES {
            let oldest = (0..self.devices.len()).min_by_key(|&i| self.devices[i].used);
            oldest.map(|i| self.devices.swap_remove(i));
        }
        self.devices.push(Device {
            token,
            password: Lane::default(),
            second: Lane::default(),
            used: now,
        });
    }

    /// Knows no browser any more: the password was changed, or all sessions were ended.
    pub fn forget_devices(&mut self) {
        self.devices.clear();
    }

    fn lane(&mut self, who: Who, factor: Factor) -> Option<&mut Lane> {
        match (who, factor) {
            (Who::Network(_), Factor::Second) => Some(&mut self.second),
            (Who::Network(network), Factor::Password) => {
                let mut lanes = self.networks.iter_mut();
                lanes
                    .find(|(known, _)| *known == network)
                    .map(|(_, lane)| lane)
            }
            (Who::Device(token), _) => {
                let device = self.devices.iter_mut().find(|known| known.token == token)?;
                Some(match factor {
                    Factor::Password => &mut device.password,
                    Factor::Second => &mut device.second,
                })
            }
        }
    }

    /// Sees to it that a network has a lane.
    fn make_room(&mut self, who: Who) {
        let Who::Network(network) = who else {
            return;
        };
        if self.networks.iter().any(|(known, _)| *known == network) {
            return;
        }
        if self.networks.len() >= MAX_NETWORKS {
            let oldest = (0..self.networks.len()).min_by_key(|&i| self.networks[i].1.last);
            oldest.map(|i| self.networks.swap_remove(i));
        }
        self.networks.push((network, Lane::default()));
    }

    /// What time alone has changed.
    fn settle(&mut self, now: PoweredOn) {
        // Should the box have lost count of its time, delays begin now: none of them lasts for ever.
        let networks = self.networks.iter_mut().map(|(_, lane)| lane);
        let devices = self.devices.iter_mut();
        let devices = devices.flat_map(|device| [&mut device.password, &mut device.second]);
        for lane in networks.chain(devices).chain([&mut self.second]) {
            lane.last = lane.last.min(now);
        }
        self.refilled = self.refilled.min(now);
        let back = now.since(self.refilled).as_secs() / REFILL.as_secs();
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_sub(back);
        self.refilled = match self.spent {
            0 => now,
            _ => self.refilled.after(REFILL * back),
        };
    }
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
