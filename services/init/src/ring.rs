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

/// A bounded log.
#[derive(Debug)]
pub struct Ring {
    lines: VecDeque<String>,
    bytes: usize,
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
            tokens: BURST,
            refilled: now,
            dropped: 0,
        }
    }

    /// Keeps a line and returns the lines to spill: none if the rate is
    /// exceeded, and a report first when lines were dropped before it.
    pub fn push(&mut self, now: Duration, text: String) -> impl Iterator<Item = String> + use<> {
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
            return None.into_iter().chain(None);
        }
        self.tokens -= 1;
        let report = (self.dropped > 0)
            .then(|| format!("[{} lines were dropped: too many at once]", self.dropped));
        self.dropped = 0;
        if let Some(report) = &report {
            self.keep(report.clone());
        }
        self.keep(text.clone());
        report.into_iter().chain(Some(text))
    }

    fn keep(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        // The count is bounded as well: empty lines have no bytes but take memory.
        while self.bytes > CAPACITY || self.lines.len() > CAPACITY / 16 {
            self.bytes -= self.lines.pop_front().map_or(0, |l| l.len());
        }
    }

    /// The last `count` lines, oldest first.
    pub fn last(&self, count: usize) -> Vec<String> {
        let skip = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skip).cloned().collect()
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

    #[test]
    fn a_flood_is_reported_once_it_ends() {
        let mut ring = Ring::new(S);
        for i in 0..BURST + 7 {
            let _ = ring.push(S, format!("line {i}"));
        }
        assert_eq!(ring.push(2 * S, "too early".into()).count(), 0);
        let spilled: Vec<_> = ring.push(4 * S, "calm".into()).collect();
        assert_eq!(
            spilled,
            ["[8 lines were dropped: too many at once]", "calm"]
        );
        assert_eq!(ring.last(2), spilled);
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
                let _ = ring.push(S * i as u32, "x".repeat(length));
            }
            prop_assert!(ring.lines.iter().map(String::len).sum::<usize>() <= CAPACITY);
            prop_assert_eq!(ring.lines.iter().map(String::len).sum::<usize>(), ring.bytes);
        }

        #[test]
        fn cleaned_text_is_printable(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(clean(&bytes).chars().all(|c| c == '\t' || !c.is_control()));
        }
    }
}
