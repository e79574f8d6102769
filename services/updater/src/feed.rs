//! Payloads that come as a stream, in the order that an offer has announced.

use roost_bundle::{Plan, ReadPayload};
use std::io::{self, Read};
use tokio::sync::mpsc::Receiver;

/// Ranges in one offer: each takes at most 24 bytes of its line
/// ([`roost_service::update::MAX_LINE`]), which has other fields too.
const MAX_RANGES: usize = 2000;
/// The first gap that is sent along rather than told, in bytes.
const GAP: u64 = 256;

/// The ranges that a plan needs, in its order, first byte and byte behind the
/// last. If they are too many for one line, those with small gaps between them
/// are joined, and the gaps are sent along; `None` if even that does not help.
pub fn ranges(plan: &Plan) -> Option<Vec<(u64, u64)>> {
    let mut gap = 0;
    loop {
        let joined = join(plan, gap);
        if joined.len() <= MAX_RANGES {
            return Some(joined);
        }
        if gap >= roost_bundle::limits::MAX_PAYLOAD {
            return None;
        }
        gap = if gap == 0 { GAP } else { gap * 2 };
    }
}

fn join(plan: &Plan, gap: u64) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for next in plan.actions.iter().filter_map(|action| action.payload()) {
        match joined.last_mut() {
            Some(last) if next.start >= last.1 && next.start - last.1 <= gap => last.1 = next.end,
            _ => joined.push((next.start, next.end)),
        }
    }
    joined
}

/// Finds payloads in a stream of ranges. Holds nothing.
#[derive(Debug)]
pub struct Feed<'a, R> {
    stream: R,
    /// The range that is read now, from where it is read, and those behind it.
    left: &'a [(u64, u64)],
    at: u64,
}

impl<'a, R: Read> Feed<'a, R> {
    /// A stream that consists of these ranges, one behind the other.
    pub fn new(stream: R, ranges: &'a [(u64, u64)]) -> Self {
        Self {
            stream,
            left: ranges,
            at: ranges.first().map_or(0, |range| range.0),
        }
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.stream.by_ref().take(bytes), &mut io::sink())?;
        self.at += skipped;
        if skipped < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl<R: Read> ReadPayload for Feed<'_, R> {
    fn read_payload(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        loop {
            let Some(range) = self.left.first() else {
                return Err(io::Error::other(
                    "the plan asks for bytes that its offer did not announce",
                ));
            };
            if self.at <= offset && end <= range.1 {
                self.skip(offset - self.at)?;
                self.stream.read_exact(buffer)?;
                self.at = end;
                return Ok(());
            }
            self.skip(range.1 - self.at)?;
            self.left = &self.left[1..];
            self.at = self.left.first().map_or(0, |range| range.0);
        }
    }
}

/// Bytes that another thread sends; the end of the channel is the end of the stream.
#[derive(Debug)]
pub struct FromChannel {
    channel: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl FromChannel {
    /// The channel's bound times the length of a piece is what is held in memory.
    pub fn new(channel: Receiver<Vec<u8>>) -> Self {
        Self {
            channel,
            piece: Vec::new(),
            at: 0,
        }
    }
}

impl Read for FromChannel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.channel.blocking_recv() {
                Some(piece) => {
                    self.piece = piece;
                    self.at = 0;
                }
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roost_bundle::Action;

    fn plan_of(payloads: &[std::ops::Range<u64>]) -> Plan {
        let mut plan = Plan::default();
        for (row, payload) in payloads.iter().enumerate() {
            plan.actions.push(Action::Fetch {
                chunks: row..row + 1,
                payload: payload.clone(),
            });
        }
        plan
    }

    /// A byte that tells its own offset.
    fn byte(offset: u64) -> u8 {
        (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }

    #[test]
    fn few_ranges_are_told_as_they_are() {
        let plan = plan_of(&[0..10, 10..20, 50..60, 30..40]);
        assert_eq!(ranges(&plan), Some(vec![(0, 20), (50, 60), (30, 40)]));
    }

    #[test]
    fn a_plan_that_jumps_back_and_forth_too_often_has_no_ranges() {
        let back_and_forth: Vec<_> = (0..5000)
            .map(|i| if i % 2 == 0 { 0..1 } else { 5..6 })
            .collect();
        assert!(ranges(&plan_of(&back_and_forth)).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever was joined: each payload is found in the stream, and no line is too long.
        #[test]
        fn every_payload_is_found(steps in prop::collection::vec((0u64..5000, 1u64..40), 0..4000), start in 0u64..100) {
            let mut at = start;
            let mut payloads = Vec::new();
            for (gap, len) in steps {
                at += gap;
                payloads.push(at..at + len);
                at += len;
            }
            let told = ranges(&plan_of(&payloads)).expect("ascending ranges can be joined");
            prop_assert!(told.len() <= MAX_RANGES);
            let stream: Vec<u8> = told.iter().flat_map(|(from, to)| (*from..*to).map(byte)).collect();
            let mut feed = Feed::new(&stream[..], &told);
            for payload in &payloads {
                let mut buffer = vec![0; (payload.end - payload.start) as usize];
                feed.read_payload(payload.start, &mut buffer).expect("it is there");
                prop_assert!(buffer.iter().zip(payload.clone()).all(|(found, offset)| *found == byte(offset)));
            }
        }
    }
}
