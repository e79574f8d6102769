//! Log lines of init, the services and the kernel: rings in memory, and what of
//! them goes to the card.
//!
//! Nothing here waits for the card: [`Logs::batch`] says what is to be written,
//! a child writes it (`spill`), and [`Logs::spilled`] is told how that ended. What
//! could not be written stays in the ring and is tried again; what the ring
//! has lost by then is reported in its place.

use crate::ring::{Line, Ring};
use crate::spill::{Batch, Boot, Record};
use roost_service::stamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Lines are collected this long before they are written, to spare the card:
/// each time costs about 20 kB, however few they are.
pub const SPILL_EVERY: Duration = Duration::from_secs(60);
/// The kernel's errors are written sooner, because they may be its last words,
pub const URGENT_AFTER: Duration = Duration::from_secs(1);
/// but not more often than this.
pub const URGENT_EVERY: Duration = Duration::from_secs(10);
/// Text of one batch: in JSON it has to fit into a pipe (64 KiB).
const BATCH: usize = 24 * 1024;
/// Text of one answer to a follower; the next goes out when it was taken.
const PIECE: usize = 32 * 1024;

#[derive(Debug)]
struct Log {
    ring: Ring,
    /// Number of the first line that is not on the card.
    unspilled: u64,
}

/// All logs, by service name.
#[derive(Debug, Default)]
pub struct Logs {
    logs: BTreeMap<String, Log>,
    /// What is being written: up to which line of which log.
    writing: Option<BTreeMap<String, u64>>,
    /// The last batch could not be written.
    failing: bool,
}

impl Logs {
    /// Keeps one line of `name` that was written `at` a time since boot.
    pub fn push(&mut self, now: Duration, at: Duration, spills: bool, name: &str, text: String) {
        let log = self.logs.entry(name.to_owned()).or_insert_with(|| Log {
            ring: Ring::new(now),
            unspilled: 0,
        });
        log.ring.push(now, at, spills, text);
    }

    /// The last `count` lines of `name`; none if it never wrote any.
    pub fn last(&self, name: &str, count: usize) -> Vec<&Line> {
        let log = self.logs.get(name);
        log.map_or_else(Vec::new, |log| log.ring.last(count).collect())
    }

    /// The number that the next line of `name` will have.
    pub fn next(&self, name: &str) -> u64 {
        self.logs.get(name).map_or(0, |log| log.ring.next())
    }

    /// For a follower of `name`: lines from the number `from` on, at most as many as make a
    /// piece, and where the next piece begins. If the ring has lost some, that is said first.
    pub fn piece(&self, name: &str, from: u64, boot: &Boot) -> (Vec<String>, u64) {
        let Some(log) = self.logs.get(name) else {
            return (Vec::new(), from);
        };
        let (lost, lines) = log.ring.since(from);
        let mut told = Vec::new();
        if lost > 0 {
            told.push(format!(
                "[{lost} lines were lost: they came faster than they were taken]"
            ));
        }
        let (mut next, mut bytes) = (from + lost, 0);
        for line in lines {
            if bytes > PIECE {
                break;
            }
            bytes += line.text.len();
            next = line.number + 1;
            told.push(boot.show(line.at, &line.text));
        }
        (told, next)
    }

    /// What to write to the card next; `None` if there is nothing, or if it is being written.
    pub fn batch(&mut self, boot: Boot) -> Option<Batch> {
        if self.writing.is_some() {
            return None;
        }
        let (mut logs, mut ends, mut bytes) = (BTreeMap::new(), BTreeMap::new(), 0);
        for (name, log) in &self.logs {
            let (lost, lines) = log.ring.since(log.unspilled);
            let mut records: Vec<Record> = Vec::new();
            let mut end = log.unspilled + lost;
            for line in lines {
                if bytes > BATCH {
                    break;
                }
                end = line.number + 1;
                // Of a log that does not go to the card as a whole nothing is missing there.
                if line.spills && lost > 0 && records.is_empty() && name != "kernel" {
                    records.push(Record {
                        number: line.number - 1,
                        at_ms: millis(line.at),
                        text: format!("[{lost} lines were lost before they were on the card]"),
                    });
                }
                if line.spills {
                    bytes += 40 + line.text.len();
                    records.push(Record {
                        number: line.number,
                        at_ms: millis(line.at),
                        text: line.text.clone(),
                    });
                }
            }
            ends.insert(name.clone(), end);
            if !records.is_empty() {
                logs.insert(name.clone(), records);
            }
        }
        if logs.is_empty() {
            self.advance(ends);
            return None;
        }
        self.writing = Some(ends);
        Some(Batch { boot, logs })
    }

    /// The last batch was written, or not. Says whether that is worth a line: a card that stays
    /// full would have one each minute.
    pub fn spilled(&mut self, written: bool) -> bool {
        if let Some(ends) = self.writing.take()
            && written
        {
            self.advance(ends);
        }
        let failed_before = std::mem::replace(&mut self.failing, !written);
        !written && !failed_before
    }

    /// Whether more waits than fitted into the batch before.
    pub fn is_behind(&self) -> bool {
        let lines = self
            .logs
            .values()
            .flat_map(|log| log.ring.since(log.unspilled).1);
        lines.map(|line| line.text.len()).sum::<usize>() > BATCH
    }

    fn advance(&mut self, ends: BTreeMap<String, u64>) {
        for (name, end) in ends {
            if let Some(log) = self.logs.get_mut(&name) {
                log.unspilled = end;
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Boot {
    /// A line as it is shown: behind the time it was written, or, in a boot whose clock was never
    /// set, behind the seconds since its start, as the kernel does.
    pub fn show(&self, at: Duration, text: &str) -> String {
        if self.set {
            let time = Duration::from_millis(self.began_ms) + at;
            format!("{} {text}", stamp::utc(time))
        } else {
            format!("[{:5}.{:03}] {text}", at.as_secs(), at.subsec_millis())
        }
    }
}

/// One record of `/dev/kmsg`: `priority,sequence,microseconds,flags;text`, then
/// lines of details (kernel document ABI/testing/dev-kmsg).
#[derive(Debug, PartialEq, Eq)]
pub struct KernelLine {
    /// Severity, 0 the worst; see syslog(2).
    pub level: u8,
    /// Whether the kernel itself wrote it, not a program.
    pub own: bool,
    /// Time since boot.
    pub at: Duration,
    /// The text.
    pub text: String,
}

impl KernelLine {
    /// Reads one record.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let first = record.split(|&b| b == b'\n').next()?;
        let line = crate::ring::clean(first);
        let (head, text) = line.split_once(';')?;
        let mut fields = head.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        Some(Self {
            level: (priority & 7) as u8,
            own: priority < 8,
            at: Duration::from_micros(fields.nth(1)?.parse().ok()?),
            text: text.to_owned(),
        })
    }

    /// Warnings and worse are kept on the card: they tell why a box died.
    pub fn spills(&self) -> bool {
        self.own && self.level <= 4
    }

    /// Errors and worse do not wait for their turn.
    pub fn is_urgent(&self) -> bool {
        self.own && self.level <= 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    fn boot(set: bool) -> Boot {
        Boot {
            id: "b1".into(),
            began_ms: 1_793_836_800_000,
            set,
        }
    }

    #[test]
    fn kernel_records() {
        let line = KernelLine::parse(b"6,339,5140900,-;NET: Registered\n SUBSYSTEM=x\n").unwrap();
        assert_eq!(line.text, "NET: Registered");
        assert_eq!(
            (line.level, line.at.as_micros(), line.spills()),
            (6, 5_140_900, false)
        );
        let warning = KernelLine::parse(b"4,340,1,-;mmc0: error").unwrap();
        assert!(warning.spills() && !warning.is_urgent());
        assert!(
            KernelLine::parse(b"3,341,1,-;EXT4-fs error")
                .unwrap()
                .is_urgent()
        );
        let ours = KernelLine::parse(b"11,341,1,-;roost: no network").unwrap();
        assert!(!ours.spills(), "init's log has it");
    }

    #[test]
    fn the_right_time_comes_with_the_clock() {
        let at = Duration::from_millis(12_345);
        assert_eq!(boot(false).show(at, "early"), "[   12.345] early");
        assert_eq!(
            boot(true).show(at, "early"),
            "2026-11-05T00:00:12.345Z early"
        );
    }

    #[test]
    fn what_was_not_written_is_tried_again() {
        let mut logs = Logs::default();
        logs.push(S, S, true, "mail", "one".into());
        let first = logs.batch(boot(true)).unwrap();
        assert_eq!(logs.batch(boot(true)), None, "one at a time");
        logs.push(S, S, true, "mail", "two".into());
        assert!(logs.spilled(false));
        let again = logs.batch(boot(true)).unwrap();
        assert_eq!(again.logs["mail"][0], first.logs["mail"][0]);
        assert_eq!(again.logs["mail"].len(), 2);
        assert!(!logs.spilled(false), "said once");
        logs.batch(boot(true)).unwrap();
        assert!(!logs.spilled(true));
        assert_eq!(logs.batch(boot(true)), None);
    }

    #[test]
    fn what_is_lost_on_the_way_to_the_card_is_said() {
        let mut logs = Logs::default();
        for i in 0..300 {
            logs.push(
                S * i,
                S * i,
                true,
                "mail",
                "x".repeat(crate::ring::MAX_LINE),
            );
        }
        let batch = logs.batch(boot(true)).unwrap();
        let told = &batch.logs["mail"][0].text;
        assert_eq!(told, "[236 lines were lost before they were on the card]");
        assert!(serde_json::to_vec(&batch).unwrap().len() < 64 * 1024);
    }

    proptest! {
        #[test]
        fn junk_never_panics(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = KernelLine::parse(&record);
        }

        /// However a follower and the log take turns, lines come once, in order, and what is
        /// missing was said.
        #[test]
        fn a_follower_loses_nothing_silently(turns in proptest::collection::vec((0u64..200, 0usize..2000), 1..20)) {
            let (mut logs, mut next, mut seen, mut written, mut now) = (Logs::default(), 0, 0u64, 0u64, S);
            for (count, length) in turns {
                for _ in 0..count {
                    now += S;
                    logs.push(now, now, false, "mail", format!("{written} {}", "x".repeat(length)));
                    written += 1;
                }
                let (lines, after) = logs.piece("mail", next, &boot(true));
                for line in lines {
                    match line.strip_prefix('[').and_then(|rest| rest.split_once(' ')) {
                        Some((lost, _)) => seen += lost.parse::<u64>().unwrap(),
                        None => {
                            let number: u64 = line.split(' ').nth(1).unwrap().parse().unwrap();
                            prop_assert_eq!(number, seen);
                            seen += 1;
                        }
                    }
                }
                next = after;
                prop_assert_eq!(seen, next);
            }
        }
    }
}
