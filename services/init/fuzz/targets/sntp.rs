//! Answers of time servers: never a panic, the vote is the word of one of the
//! servers, and the clock is never set behind the floor that counts.
//!
//! Four bytes of time, then answers: two bytes of delay in milliseconds and 48
//! of packet, which gets the cookie of the question.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_init::clock::{Floors, Verdict, judge};
use roost_init::sntp::{PACKET, Vote, choose, offset};
use std::time::Duration;

const COOKIE: u64 = 0x0123_4567_89ab_cdef;

fuzz_target!(|bytes: &[u8]| {
    let Some((seconds, mut rest)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let sent = Duration::from_secs(u32::from_le_bytes(*seconds).into());
    let mut offsets = Vec::new();
    while let Some((delay, more)) = rest.split_first_chunk::<2>() {
        let (packet, more) = more.split_at(more.len().min(PACKET));
        let elapsed = Duration::from_millis(u16::from_le_bytes(*delay).into());
        let mut packet = packet.to_vec();
        let _ = offset(&packet, COOKIE, sent, elapsed);
        if let Some(cookie) = packet.get_mut(24..32) {
            cookie.copy_from_slice(&COOKIE.to_be_bytes());
        }
        offsets.extend(offset(&packet, COOKIE, sent, elapsed));
        rest = more;
    }
    let servers = offsets.len();
    let Some(vote) = choose(offsets.clone()) else {
        return assert_eq!(servers, 0);
    };
    assert!(offsets.contains(&vote.offset) && (1..=servers).contains(&vote.agreeing));
    assert_eq!(Vote::parse(&vote.to_string()), Some(vote));
    let floors = Floors {
        built: Duration::from_secs(1_700_000_000),
        saved: Duration::from_secs(1_800_000_000),
    };
    // The clock itself was raised to the floor before anybody is asked.
    let now = sent.max(floors.highest());
    if let Verdict::Set(time, _) = judge(now, now, floors, servers, vote) {
        assert!(time >= floors.built);
        assert!(vote.agreeing > 1 || time >= floors.highest());
    }
});
