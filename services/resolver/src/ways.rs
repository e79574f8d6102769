//! Which way answers come, decided from what was tried. No clock and no network here.
//!
//! | Clock | Roots | Network's resolvers, checked | Network's resolvers | Way |
//! |---|---|---|---|---|
//! | set | answer | | | recursive |
//! | set | silent | answer | | forwarded |
//! | set | silent | fail | answer | unchecked, unless something better worked here within [`HOLD`] |
//! | not set | | | answer | unchecked |
//! | | | | silent | offline |

use roost_service::resolver::Way;
use std::time::Duration;

/// How long a network in which answers could be checked is not used without checks.
///
/// Whoever is on the line can make every check fail, so that a domain's DANE records count for nothing. For an
/// hour mail rather waits, which senders and our queue do for days; who wants to harm must keep at it that long,
/// while the portal shows that something is wrong. Longer would let a change at the provider, or a router's
/// update, stop mail for a day.
pub const HOLD: Duration = Duration::from_secs(3600);
/// How soon a better way is tried again, when there is one that works: an hour if answers are checked.
const BETTER_CHECKED: Duration = Duration::from_secs(3600);
/// The same if they are not.
const BETTER: Duration = Duration::from_secs(300);
/// First and longest wait after which a way is looked for again, when there is none: a line that comes back is
/// soon of use.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// What was tried, and how it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tried {
    /// The root servers answer, and their answers pass the check.
    pub recursive: bool,
    /// So do the network's resolvers.
    pub forwarded: bool,
    /// The network's resolvers answer.
    pub unchecked: bool,
}

/// The way, and what has to be remembered to choose the next.
#[derive(Debug)]
pub struct Ways {
    /// The way at present.
    pub now: Way,
    /// When checked answers came last in this network.
    checked_at: Option<Duration>,
    /// Tries in a row that found none.
    failed: u32,
    /// Whether it is offline only because of [`HOLD`].
    pub held: bool,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            now: Way::Unknown,
            checked_at: None,
            failed: 0,
            held: false,
        }
    }
}

impl Ways {
    /// The network is another: what was known of the old one does not count.
    pub fn network_changed(&mut self) {
        *self = Self::default();
    }

    /// Chooses, at `now` (any clock that only goes forward).
    pub fn choose(&mut self, tried: Tried, now: Duration) -> Way {
        self.held = false;
        let way = if tried.recursive {
            Way::Recursive
        } else if tried.forwarded {
            Way::Forwarded
        } else if tried.unchecked {
            let since = self.checked_at.map(|at| now.saturating_sub(at));
            self.held = since.is_some_and(|since| since < HOLD);
            if self.held {
                Way::Offline
            } else {
                Way::Unchecked
            }
        } else {
            Way::Offline
        };
        if matches!(way, Way::Recursive | Way::Forwarded) {
            self.checked_at = Some(now);
        }
        self.failed = match way {
            Way::Offline => self.failed.saturating_add(1),
            _ => 0,
        };
        self.now = way;
        way
    }

    /// When the way is to be looked for again, though nothing happens.
    pub fn again(&self) -> Option<Duration> {
        match self.now {
            Way::Recursive => None,
            Way::Forwarded => Some(BETTER_CHECKED),
            Way::Unchecked => Some(BETTER),
            Way::Unknown | Way::Offline => {
                let doubled = RETRY
                    .0
                    .saturating_mul(1 << self.failed.saturating_sub(1).min(10));
                Some(doubled.min(RETRY.1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Tried = Tried {
        recursive: false,
        forwarded: false,
        unchecked: false,
    };
    const UNCHECKED: Tried = Tried {
        unchecked: true,
        ..NOTHING
    };
    const FORWARDED: Tried = Tried {
        forwarded: true,
        ..UNCHECKED
    };
    const ALL: Tried = Tried {
        recursive: true,
        ..FORWARDED
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_best_that_works_is_taken() {
        for (tried, way) in [
            (NOTHING, Way::Offline),
            (UNCHECKED, Way::Unchecked),
            (FORWARDED, Way::Forwarded),
            (ALL, Way::Recursive),
        ] {
            assert_eq!(Ways::default().choose(tried, at(5)), way);
        }
    }

    #[test]
    fn checks_are_not_given_up_at_once() {
        let mut ways = Ways::default();
        ways.choose(FORWARDED, at(100));
        assert_eq!(ways.choose(UNCHECKED, at(101)), Way::Offline);
        assert!(ways.held);
        assert_eq!(ways.choose(UNCHECKED, at(100 + 3599)), Way::Offline);
        assert_eq!(ways.choose(UNCHECKED, at(100 + 3600)), Way::Unchecked);
        assert!(!ways.held);
        ways.choose(ALL, at(4000));
        ways.network_changed();
        assert_eq!(ways.now, Way::Unknown);
        assert_eq!(ways.choose(UNCHECKED, at(4001)), Way::Unchecked);
    }

    #[test]
    fn without_a_way_one_is_looked_for_less_and_less_often() {
        let mut ways = Ways::default();
        let waits: Vec<u64> = (0..8)
            .map(|second| {
                ways.choose(NOTHING, at(second));
                ways.again().unwrap().as_secs()
            })
            .collect();
        assert_eq!(waits, [2, 4, 8, 10, 10, 10, 10, 10]);
        ways.choose(ALL, at(9));
        assert_eq!(ways.again(), None);
        ways.choose(NOTHING, at(10));
        assert_eq!(ways.again(), Some(at(2)));
    }
}
