//! The clock of a box without a battery: a floor that survives power cuts, and
//! whom to believe when the clock is to be moved.
//!
//! Time servers answer without a signature, so one of them can be wrong, or
//! somebody else. What one alone says may be used until the next start, but
//! must not spoil the floor, which every later start would trust:
//!
//! | The time that servers say | Two agree          | The only one there is | One of several |
//! |---------------------------|--------------------|-----------------------|----------------|
//! | before the kernel was made | refused           | refused               | refused |
//! | before the saved floor    | set, floor lowered | refused               | refused |
//! | not [`FAR`] off           | set, saved         | set, saved            | set, saved |
//! | farther off               | set, saved         | set, saved            | set, not saved |
//!
//! A time that is set and not saved is a doubtful one: nothing is signed or ordered by it
//! (`BoxStatus::clock_synced`), and once a better one was heard it is not followed at all
//! ([`is_followed`]).
//!
//! "Off" is counted from the clock that this start began with (the floor at
//! least) or the last time that two agreed on, carried on by the machine's own
//! counter: many small lies are one big one. An owner who names one server only
//! has said whom to believe; asking for a second opinion would mean a box that
//! never saves its time. But even that one cannot turn the clock back behind the
//! floor, which honest time never needs: whoever got a wrong floor from it is helped by naming a
//! second server.

use crate::sntp::Vote;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Where the floor is kept, as Unix seconds in decimal.
const PATH: &str = "/data/init/clock";
/// Differences below this are left alone: a step costs every program more
/// than it gains.
const WORTH_A_STEP: Duration = Duration::from_millis(100);

/// Farther than this from what is trusted, one server's word is not saved:
/// boards drift by seconds a day.
const FAR: Duration = Duration::from_secs(3600);

/// Times that the clock is not to be behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floors {
    /// When the kernel was made, which is certain.
    pub built: Duration,
    /// What an earlier run has saved, which may have been wrong.
    pub saved: Duration,
}

impl Floors {
    /// The one to set the clock to before a server was heard.
    pub fn highest(&self) -> Duration {
        self.built.max(self.saved)
    }
}

/// How much a time is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Others are measured by it.
    Full,
    /// Near enough to what is trusted in full.
    Near,
    /// Good enough to go on, but not to be saved.
    Doubtful,
}

/// What to do about an answer of the time servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Set the clock to this time, or leave it if it is the present one.
    Set(Duration, Trust),
    /// Leave the clock alone: it would go behind a floor.
    TooEarly,
}

/// Judges the vote of `configured` servers at the time `now`, when it should be
/// `expected`; the table is at the top of this file.
pub fn judge(
    now: Duration,
    expected: Duration,
    floors: Floors,
    configured: usize,
    vote: Vote,
) -> Verdict {
    let by = Duration::from_nanos(vote.offset.unsigned_abs());
    let said = if vote.offset < 0 {
        now.saturating_sub(by)
    } else {
        now.saturating_add(by)
    };
    let agreed = vote.agreeing >= 2;
    let floor = if agreed {
        floors.built
    } else {
        floors.highest()
    };
    if said < floor {
        return Verdict::TooEarly;
    }
    let trust = if agreed || configured == 1 {
        Trust::Full
    } else if said.abs_diff(expected) <= FAR {
        Trust::Near
    } else {
        Trust::Doubtful
    };
    Verdict::Set(if by < WORTH_A_STEP { now } else { said }, trust)
}

/// Whether a time of this trust is followed, if the one before in this start had `before`.
pub fn is_followed(before: Option<Trust>, trust: Trust) -> bool {
    trust != Trust::Doubtful || matches!(before, None | Some(Trust::Doubtful))
}

/// Time since 1970 by the machine's clock.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Realtime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Time since the kernel started.
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// A time before which the running kernel cannot have been started: the date
/// in its version string, e.g. `#1 SMP Debian 7.3.4-1 (2026-11-05)`.
pub fn kernel_floor() -> Option<Duration> {
    parse_kernel_date(rustix::system::uname().version().to_str().ok()?)
}

fn parse_kernel_date(version: &str) -> Option<Duration> {
    let date = version.rsplit_once('(')?.1.split_once(')')?.0;
    let mut parts = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let in_range =
        (2020..2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || parts.next().is_some() {
        return None;
    }
    // Counted from March, a leap day is the last of its year.
    let (years, months) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day;
    // 719,469 is what 1 January 1970 gives.
    Some(Duration::from_secs((days - 719_469) * 86_400))
}

/// The saved floor, if there is a sound one.
///
/// # Errors
/// Those of reading it.
pub fn saved_floor() -> io::Result<Option<Duration>> {
    match fs::read_to_string(PATH) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().ok()?;
    // Beyond the year 2200 the file is damaged, and taking it would lock the
    // clock there for ever.
    (seconds < 7_258_118_400).then(|| Duration::from_secs(seconds))
}

/// Sets the clock to `floor` if it is behind; says whether it was.
///
/// # Errors
/// Those of clock_settime(2).
pub fn raise_to(floor: Duration) -> io::Result<bool> {
    if now() >= floor {
        return Ok(false);
    }
    set(floor)?;
    Ok(true)
}

/// Sets the clock.
///
/// # Errors
/// Those of clock_settime(2).
pub fn set(time: Duration) -> io::Result<()> {
    let seconds = time.as_secs().try_into().map_err(io::Error::other)?;
    let timespec = Timespec {
        tv_sec: seconds,
        tv_nsec: time.subsec_nanos().into(),
    };
    Ok(clock_settime(ClockId::Realtime, timespec)?)
}

/// Saves the present time as floor, whole or not at all.
///
/// # Errors
/// Those of writing the file.
pub fn save_floor() -> io::Result<()> {
    let path = Path::new(PATH);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, format!("{}\n", now().as_secs()))?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000_000_000;
    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const FLOORS: Floors = Floors {
        built: Duration::from_secs(1_700_000_000),
        saved: Duration::from_secs(1_799_999_000),
    };

    fn verdict(hours: i64, agreeing: usize, configured: usize) -> Verdict {
        let offset = hours * HOUR;
        judge(NOW, NOW, FLOORS, configured, Vote { offset, agreeing })
    }

    fn set(hours: i64, trust: Trust) -> Verdict {
        let time = NOW.as_nanos() as i64 + hours * HOUR;
        Verdict::Set(Duration::from_nanos(time as u64), trust)
    }

    #[test]
    fn one_of_several_may_set_the_clock_but_not_the_floor() {
        assert_eq!(verdict(5, 1, 3), set(5, Trust::Doubtful));
        assert_eq!(verdict(1, 1, 3), set(1, Trust::Near));
        assert_eq!(verdict(5, 2, 3), set(5, Trust::Full));
        assert_eq!(verdict(5, 1, 1), set(5, Trust::Full), "the only one");
        let again = Vote {
            offset: 1,
            agreeing: 1,
        };
        let expected = NOW - Duration::from_secs(5 * 3600);
        assert_eq!(
            judge(NOW, expected, FLOORS, 3, again),
            set(0, Trust::Doubtful),
            "saying it twice makes it no truer"
        );
    }

    #[test]
    fn only_two_together_go_behind_a_saved_floor() {
        for configured in [1, 3] {
            assert_eq!(verdict(-5, 1, configured), Verdict::TooEarly);
        }
        assert_eq!(verdict(-5, 2, 3), set(-5, Trust::Full));
        assert_eq!(verdict(-50_000, 3, 3), Verdict::TooEarly);
    }

    proptest! {
        /// However often one server of several lies, what is saved stays near the truth.
        #[test]
        fn a_liar_never_moves_the_floor_far(
            hours in proptest::collection::vec(-100i64..100, 1..20),
            big: i64
        ) {
            let mut now = NOW;
            for offset in hours.into_iter().map(|hours| hours * HOUR / 50).chain([big]) {
                let vote = Vote { offset, agreeing: 1 };
                if let Verdict::Set(to, trust) = judge(now, NOW, FLOORS, 2, vote) {
                    prop_assert!(to >= FLOORS.highest());
                    prop_assert!(trust == Trust::Doubtful || to.abs_diff(NOW) <= FAR + WORTH_A_STEP);
                    prop_assert!(trust != Trust::Full);
                    now = to;
                }
            }
        }
    }

    #[test]
    fn a_doubtful_time_is_better_than_none_only() {
        for before in [None, Some(Trust::Doubtful)] {
            assert!(is_followed(before, Trust::Doubtful));
        }
        for before in [Trust::Full, Trust::Near] {
            assert!(!is_followed(Some(before), Trust::Doubtful));
            assert!(is_followed(Some(before), Trust::Near));
        }
        assert!(is_followed(Some(Trust::Doubtful), Trust::Full));
    }

    #[test]
    fn kernel_dates() {
        let seconds = |version: &str| parse_kernel_date(version).map(|time| time.as_secs());
        assert_eq!(
            seconds("#1 SMP PREEMPTLAZY Debian 7.3.4-1~bpo13+1 (2026-11-05)"),
            Some(1_793_836_800)
        );
        assert_eq!(seconds("#1 (2024-02-29)"), Some(1_709_164_800));
        assert_eq!(seconds("#1 (2024-03-01)"), Some(1_709_251_200));
        assert_eq!(seconds("#1 (2100-01-01)"), Some(4_102_444_800));
        for none in [
            "#1 SMP Thu Nov 5 12:00:00 UTC 2026",
            "#1 (2026-13-05)",
            "#1 (2026-11-05-1)",
            "(",
        ] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    #[test]
    fn damaged_floors_are_refused() {
        assert_eq!(
            parse("1800000000\n"),
            Some(Duration::from_secs(1_800_000_000))
        );
        for bad in ["", "\0\0\0", "-1", "9999999999999", "abc"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
