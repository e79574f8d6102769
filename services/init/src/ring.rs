//! The last log lines of one service, in bounded memory and at a bounded rate.

use std::collections::VecDeque;
use std::time::Duration;

/// Bytes of text kept for one service: a few screens for `roost logs`, and 5
/// services together stay below 1 MiB.
const CAPACITY: usize = 128 * 1024;
/// Longest line kept; Stalwart's longest ordinary lines are about 600 bytes.
pub const MAX_LINE: usize = 2048;
/// Lines that may come at once before the rate counts.
const BURST: u32 = 2000;
/// Lines a second for longer: above it a service is in a loop, and spilling
/// that to the card would wear it out.
const RATE: u32 = 100;
/// Once lines were dropped, none is kept before this many may come again, so
/// that a flood leaves pieces of log and not single lines between reports.
const RESUME: u32 = 200;

/// One line as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place in the log: the first of a boot is 0, and none is left out.
    pub number: u64,
    /// When it came: time since boot.
    pub at: Duration,
    /// Whether it is worth a place on the card.
    pub spills: bool,
    /// The text.
    pub text: String,
}

/// A bounded log.
#[derive(Debug)]
pub struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    next: u64,
    tokens: u32,
    refilled: Duration,
    /// Lines dropped since the last one that was kept.
    dropped: u64,
}

impl Ring {
    /// An empty ring; `now` is the time since boot.
    pub fn new(now: Duration) -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            next: 0,
            tokens: BURST,
            refilled: now,
            dropped: 0,
        }
    }

    /// Keeps a line that was written `at` a time since boot, unless the rate is exceeded; a report
    /// goes before it when lines were dropped.
    pub fn push(&mut self, now: Duration, at: Duration, spills: bool, text: String) {
        let gained = (now.saturating_sub(self.refilled)).as_millis() * u128::from(RATE) / 1000;
        if gained > 0 {
            self.tokens = BURST.min(
                self.tokens
                    .saturating_add(u32::try_from(gained).unwrap_or(BURST)),
            );
            self.refilled = now;
        }
        if self.tokens < if self.dropped > 0 { RESUME } else { 1 } {
            self.dropped += 1;
            return;
        }
        self.tokens -= 1;
        if self.dropped > 0 {
            let report = format!("[{} lines were dropped: too many at once]", self.dropped);
            self.dropped = 0;
            self.keep(at, true, report);
        }
        self.keep(at, spills, text);
    }

    fn keep(&mut self, at: Duration, spills: bool, text: String) {
        self.bytes += text.len();
        self.lines.push_back(Line {
            number: self.next,
            at,
            spills,
            text,
        });
        self.next += 1;
        // The count is bounded as well: empty lines have no bytes but take memory.
        while self.bytes > CAPACITY || self.lines.len() > CAPACITY / 16 {
            self.bytes -= self.lines.pop_front().map_or(0, |l| l.text.len());
        }
    }

    /// The number that the next line will have.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The last `count` lines, oldest first.
    pub fn last(&self, count: usize) -> impl ExactSizeIterator<Item = &Line> {
        self.lines.range(self.lines.len().saturating_sub(count)..)
    }

    /// How many of the lines from this number on are gone, and those that are there.
    pub fn since(&self, number: u64) -> (u64, impl Iterator<Item = &Line>) {
        let first = self.next - self.lines.len() as u64;
        let skip = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        let lost = first.saturating_sub(number);
        (lost, self.lines.range(skip.min(self.lines.len())..))
    }
}

/// A log line as text that is safe to show: UTF-8, without control characters
/// but tabs. Colour codes (ESC …m) are taken out.
pub fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.trim_end().chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.peek() == Some(&'[') {
            chars.next();
            while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
        } else if c == '\t' || !c.is_control() {
            out.push(c);
        } else {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    fn texts<'a>(lines: impl Iterator<Item = &'a Line>) -> Vec<&'a str> {
        lines.map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_flood_is_reported_once_it_ends() {
        let mut ring = Ring::new(S);
        for i in 0..BURST + 7 {
            ring.push(S, S, false, format!("line {i}"));
        }
        let kept = ring.next();
        ring.push(2 * S, 2 * S, false, "too early".into());
        assert_eq!(ring.next(), kept);
        ring.push(4 * S, 4 * S, false, "calm".into());
        let told = ["[8 lines were dropped: too many at once]", "calm"];
        assert_eq!(texts(ring.since(kept).1), told);
        assert_eq!(texts(ring.last(2)), told);
        assert!(
            ring.last(2).next().unwrap().spills,
            "a report is kept for good"
        );
    }

    #[test]
    fn who_is_too_slow_learns_how_much_is_gone() {
        let mut ring = Ring::new(S);
        let long = "x".repeat(MAX_LINE);
        for second in 0..200 {
            ring.push(S * second, S * second, true, long.clone());
        }
        let there = CAPACITY / MAX_LINE;
        let (lost, lines) = ring.since(10);
        assert_eq!((lost, lines.count()), (190 - there as u64, there));
        let (lost, lines) = ring.since(198);
        assert_eq!(
            (lost, lines.map(|line| line.number).collect()),
            (0, vec![198, 199])
        );
        assert_eq!(ring.since(200).1.count(), 0);
    }

    #[test]
    fn colours_and_bells_are_taken_out() {
        assert_eq!(
            clean(b"\x1b[2m12:00\x1b[0m \x07INFO\tok\r\n"),
            "12:00 \u{fffd}INFO\tok"
        );
    }

    proptest! {
        #[test]
        fn memory_is_bounded(lengths in proptest::collection::vec(0usize..MAX_LINE, 0..400)) {
            let mut ring = Ring::new(S);
            for (i, length) in lengths.into_iter().enumerate() {
                ring.push(S * i as u32, S, false, "x".repeat(length));
            }
            prop_assert!(ring.lines.iter().map(|line| line.text.len()).sum::<usize>() <= CAPACITY);
            prop_assert_eq!(ring.lines.iter().map(|line| line.text.len()).sum::<usize>(), ring.bytes);
        }

        #[test]
        fn cleaned_text_is_printable(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(clean(&bytes).chars().all(|c| c == '\t' || !c.is_control()));
        }
    }
}
