//! Two clocks: one that always runs, and one that a box may not have.
//!
//! A Raspberry Pi forgets the time with its power. Whatever guards the box (delays,
//! expiries, sessions) counts **powered-on time**, which needs no time server and
//! which nobody on the network can move. Wall-clock time is for people, and
//! for one-time passwords.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How long the box has been powered on in its life, in whole seconds.
///
/// Whoever runs this crate keeps it: the time that was saved last, carried on by
/// the machine's own counter, saved with every state and at least every
/// [`SAVE_EVERY`]. A power cut takes it back to the last save, never
/// forward: so pulling the plug can prolong a delay, never shorten it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PoweredOn(pub u64);

/// How often powered-on time is saved when nothing else is: a power cut costs
/// the expiries this much, and the card 144 small writes a day.
pub const SAVE_EVERY: Duration = Duration::from_secs(10 * 60);

impl PoweredOn {
    /// The moment `later` than this one; a fraction of a second counts as a whole one.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        let whole = later
            .as_secs()
            .saturating_add(u64::from(later.subsec_nanos() > 0));
        Self(self.0.saturating_add(whole))
    }

    /// How long it is from `earlier` until this moment; nothing if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// Seconds since 1970 (UTC) by a clock that a time server has set in this start.
///
/// Only made where that is known: holding one says that the clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

/// The present moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Now {
    /// By the clock that always runs.
    pub powered_on: PoweredOn,
    /// By the clock on the wall; `None` while it is not set.
    pub wall: Option<Wall>,
}

impl fmt::Display for Wall {
    /// Date and time in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days:
        // years begin in March, so that the leap day is their last.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second % 3_600 / 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// A wait as people say it, rounded up: who comes back then is not too early.
pub fn words(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let (count, unit) = match seconds {
        0..=90 => (seconds, "second"),
        91..=5_400 => (seconds.div_ceil(60), "minute"),
        5_401..=172_800 => (seconds.div_ceil(3_600), "hour"),
        _ => (seconds.div_ceil(86_400), "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_798_761_540, "2026-12-31 23:59:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(Wall(seconds).to_string(), text);
        }
    }

    #[test]
    fn waits_are_rounded_up() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (90, "90 seconds"),
            (91, "2 minutes"),
            (3_600, "60 minutes"),
            (5_401, "2 hours"),
            (172_801, "3 days"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
        assert_eq!(words(Duration::from_millis(1)), "1 second");
    }

    #[test]
    fn powered_on_time_never_overflows() {
        let end = PoweredOn(u64::MAX);
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(PoweredOn(1).since(end), Duration::ZERO);
        assert_eq!(PoweredOn(1).after(Duration::from_nanos(1)), PoweredOn(2));
    }
}
