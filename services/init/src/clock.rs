//! The clock of a box without a battery: a floor that survives power cuts, and
//! steps that never go below it.

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
pub fn saved_floor() -> Option<Duration> {
    parse(&fs::read_to_string(PATH).ok()?)
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

/// Moves the clock by `offset` nanoseconds, but not below `floor`; says by how
/// many it was moved (0 if it was near enough).
///
/// # Errors
/// Those of clock_settime(2).
pub fn step(offset: i64, floor: Duration) -> io::Result<i64> {
    if offset.unsigned_abs() < WORTH_A_STEP.as_nanos() as u64 {
        return Ok(0);
    }
    let now = now();
    let by = Duration::from_nanos(offset.unsigned_abs());
    let target = if offset < 0 {
        now.saturating_sub(by)
    } else {
        now.saturating_add(by)
    };
    let target = target.max(floor);
    set(target)?;
    let moved = target
        .abs_diff(now)
        .as_nanos()
        .try_into()
        .unwrap_or(i64::MAX);
    Ok(if target < now { -moved } else { moved })
}

fn set(time: Duration) -> io::Result<()> {
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
