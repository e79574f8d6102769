//! Figures and times as people say them.

use crate::time::Now;
use std::time::Duration;

/// `1.4 GB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    let units = ["bytes", "kB", "MB", "GB", "TB"];
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 1 && value < 10.0);
    format!("{value:.digits$} {}", units[unit])
}

/// `once`, `3 times`.
pub fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// `3 hours ago`, by powered-on time, with the date where it is known.
pub fn ago(then: Now, now: Now) -> String {
    let passed = now.powered_on.since(then.powered_on);
    if passed < Duration::from_secs(60) {
        return "just now".to_owned();
    }
    format!("{} ago", rounded(passed))
}

/// A duration, rounded to the nearest that people would say.
pub fn rounded(time: Duration) -> String {
    let seconds = time.as_secs();
    let (unit, name) = match seconds {
        0..=90 => (1, "second"),
        91..=5_400 => (60, "minute"),
        5_401..=172_800 => (3_600, "hour"),
        _ => (86_400, "day"),
    };
    let count = seconds.saturating_add(unit / 2) / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_as_many_digits_as_one_reads() {
        let all = [
            0,
            999,
            1000,
            61_000,
            1_440_000,
            31_900_000_000,
            2_000_000_000_000,
        ];
        let all = all.map(bytes).join(", ");
        assert_eq!(
            all,
            "0 bytes, 999 bytes, 1 kB, 61 kB, 1.4 MB, 32 GB, 2.0 TB"
        );
    }

    #[test]
    fn counts_read_well() {
        assert_eq!([1, 2, 30].map(times).join(", "), "once, 2 times, 30 times");
    }

    #[test]
    fn times_are_rounded() {
        let all = [5, 90, 100, 3_600, 5_400, 86_400, 10 * 86_400 + 5];
        let all = all.map(|s| rounded(Duration::from_secs(s))).join(", ");
        assert_eq!(
            all,
            "5 seconds, 90 seconds, 2 minutes, 60 minutes, 90 minutes, 24 hours, 10 days"
        );
    }
}
