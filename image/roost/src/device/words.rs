//! How things that a box reports are put on a terminal.

use anstyle::{AnsiColor, Style};
use roost_service::update::{Check, Outcome, Reason, Version};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const DIM: Style = Style::new().dimmed();
/// 2025-01-01: a box whose clock says less has not set it.
const CLOCK_FLOOR: u64 = 1_735_689_600;

/// Text of the box without what would act on a terminal: a log may hold what strangers sent.
pub fn plain(text: &str) -> String {
    let acts =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if acts(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// A version's name.
pub fn version(version: &Version) -> String {
    let name = plain(&version.name);
    if name.is_empty() {
        return format!("version {}", version.number);
    }
    name
}

/// A length of time in two units at most: `21 s`, `5 min 03 s`, `2 h 05 min`, `3 days 4 h`.
pub fn span(seconds: f64) -> String {
    // A box may say anything.
    let s = if seconds.is_finite() {
        seconds.clamp(0.0, 1e12).round() as u64
    } else {
        0
    };
    let (minutes, hours, days) = (s / 60, s / 3600, s / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, m) => format!("{m} min {:02} s", s % 60),
        (0, h, m) => format!("{h} h {:02} min", m % 60),
        (1, h, _) => format!("1 day {} h", h % 24),
        (d, h, _) => format!("{d} days {} h", h % 24),
    }
}

/// One check of a trial that has ended, as a line.
pub fn check(check: &Check) -> String {
    let mark = match check.passed {
        Some(true) => (GREEN, "✓"),
        Some(false) => (RED, "✗"),
        None => (DIM, "·"),
    };
    marked(check, mark)
}

/// One check of a trial that goes on, as a line: what has not passed yet may still do so.
pub fn check_so_far(check: &Check) -> String {
    let mark = match check.passed {
        Some(true) => (GREEN, "✓"),
        Some(false) | None => (DIM, "…"),
    };
    marked(check, mark)
}

fn marked(check: &Check, (style, mark): (Style, &str)) -> String {
    let (on, off) = (style.render(), style.render_reset());
    let (name, detail) = (plain(&check.name), plain(&check.detail));
    let detail = match (detail.as_str(), check.passed) {
        ("", None) => ": not answered",
        ("", Some(_)) => "",
        (_, _) => &format!(": {detail}"),
    };
    format!("{on}{mark}{off} {name}{detail}")
}

/// Why a trial was rolled back, in full: the checks and the last lines of its log.
pub fn reason(reason: &Reason, indent: &str) -> String {
    let mut text = String::new();
    for line in reason.checks.iter().map(check) {
        let _ = writeln!(text, "{indent}{line}");
    }
    if !reason.log.is_empty() {
        let _ = writeln!(text, "{indent}the last lines that it logged:");
        for line in &reason.log {
            let _ = writeln!(text, "{indent}  {}", plain(line));
        }
    }
    text
}

/// How the last update ended, as of `now` by this machine's clock.
pub fn outcome(outcome: &Outcome, now: SystemTime) -> String {
    let now = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let when = if (CLOCK_FLOOR..=now).contains(&outcome.at) {
        format!(", {} ago", span((now - outcome.at) as f64))
    } else {
        String::new()
    };
    let (from, to) = (version(&outcome.from), version(&outcome.to));
    let took = span(outcome.took_s as f64);
    match &outcome.rolled_back {
        None => format!("from {from} to {to}: kept after {took}{when}\n"),
        Some(why) => format!(
            "from {from} to {to}: rolled back after {took}{when}\n  {}\n{}",
            plain(&why.summary),
            reason(why, "  ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_read_well() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (303.0, "5 min 03 s"),
            (7500.0, "2 h 05 min"),
            (90_000.0, "1 day 1 h"),
            (273_600.0, "3 days 4 h"),
            (f64::NAN, "0 s"),
            (-5.0, "0 s"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_acts_on_a_terminal_passes(
            text in prop::collection::vec(prop_oneof![any::<char>(), Just('\u{1b}'), Just('\u{202e}')], 0..40),
        ) {
            let text: String = text.into_iter().collect();
            let shown = plain(&text);
            let acting = shown.chars().filter(|c| c.is_control() || *c == '\u{202e}').count();
            prop_assert_eq!(acting, 0);
            prop_assert_eq!(shown.chars().count(), text.chars().count());
        }
    }

    #[test]
    fn an_age_is_told_only_if_both_clocks_make_sense() {
        let version = |number| Version {
            number,
            name: format!("0.1.0+{number}"),
        };
        let mut last = Outcome {
            from: version(14),
            to: version(15),
            at: CLOCK_FLOOR + 1000,
            took_s: 75,
            rolled_back: None,
        };
        let at = |s| UNIX_EPOCH + Duration::from_secs(s);
        assert_eq!(
            outcome(&last, at(CLOCK_FLOOR + 8500)),
            "from 0.1.0+14 to 0.1.0+15: kept after 1 min 15 s, 2 h 05 min ago\n"
        );
        // This machine's clock is behind, or the box has none.
        let without = "from 0.1.0+14 to 0.1.0+15: kept after 1 min 15 s\n";
        assert_eq!(outcome(&last, at(CLOCK_FLOOR)), without);
        last.at = 12;
        assert_eq!(outcome(&last, at(CLOCK_FLOOR + 8500)), without);
    }
}
