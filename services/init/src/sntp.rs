//! Asking time servers (SNTP, RFC 4330; packet of RFC 5905 section 7.3).
//!
//! Runs in a short-lived child (`init --sntp SERVER…`), because resolving
//! names blocks. Its last output line is the [`Vote`].

use crate::lookup;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a packet without extensions.
pub const PACKET: usize = 48;
/// Servers asked in one round: enough to outvote one that is wrong.
pub const MAX_SERVERS: usize = 4;
const PORT: u16 = 123;
/// How long one server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Servers agree that are no farther apart than this: a slow answer's error is
/// half of [`ANSWER_LIMIT`] at most, a smeared leap second adds half a second.
const AGREEMENT: Duration = Duration::from_secs(2);
/// Seconds from 1900 (NTP) to 1970 (Unix).
const EPOCH: u64 = 2_208_988_800;

/// NTP time: seconds since 1900 modulo 2^32, and fractions in the lower half.
type NtpTime = u64;

/// A client packet. `cookie` stands where our time would be: the server sends
/// it back, which proves that it saw the question, and our time stays ours.
pub fn question(cookie: u64) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    // No leap warning, version 4, mode 3 (client).
    packet[0] = 4 << 3 | 3;
    packet[40..].copy_from_slice(&cookie.to_be_bytes());
    packet
}

/// Why an answer is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Shorter than a packet.
    #[error("the answer is too short")]
    Short,
    /// Not an answer to our question.
    #[error("the answer belongs to another question")]
    Foreign,
    /// Leap indicator 3 or no transmit time.
    #[error("the server's own clock is not set")]
    Unsynchronised,
    /// Stratum 0 (kiss-o'-death) or above 15.
    #[error("the server refuses to be asked")]
    Refused,
    /// The round trip took longer than the answer is worth.
    #[error("the answer took too long")]
    Late,
}

/// What our clock lacks to the server's, in nanoseconds, from an answer that
/// came back `elapsed` after we sent `question(cookie)` at `sent` (since 1970).
///
/// Differences are taken modulo 2^64, so the 2036 rollover of NTP's seconds
/// does not matter as long as our clock is right within 68 years; the floor
/// sees to that.
///
/// # Errors
/// Says what is wrong with the answer (checks of RFC 4330 section 5).
pub fn offset(
    answer: &[u8],
    cookie: u64,
    sent: Duration,
    elapsed: Duration,
) -> Result<i64, Rejected> {
    let packet: &[u8; PACKET] = answer.first_chunk().ok_or(Rejected::Short)?;
    let time_at =
        |at: usize| -> NtpTime { u64::from_be_bytes(std::array::from_fn(|i| packet[at + i])) };
    // Mode 4 (server), and our cookie as originate time.
    if packet[0] & 7 != 4 || time_at(24) != cookie {
        return Err(Rejected::Foreign);
    }
    if !(1..=15).contains(&packet[1]) {
        return Err(Rejected::Refused);
    }
    let (received, transmitted) = (time_at(32), time_at(40));
    if packet[0] >> 6 == 3 || transmitted == 0 {
        return Err(Rejected::Unsynchronised);
    }
    if elapsed > ANSWER_LIMIT {
        return Err(Rejected::Late);
    }
    // ((T2 − T1) + (T3 − T4)) / 2, each halved first so that the sum fits.
    let there = received.wrapping_sub(ntp(sent)) as i64 / 2;
    let back = transmitted.wrapping_sub(ntp(sent + elapsed)) as i64 / 2;
    let fractions = i128::from(there) + i128::from(back);
    Ok(((fractions * 1_000_000_000) >> 32) as i64)
}

fn ntp(since_1970: Duration) -> NtpTime {
    let seconds = since_1970.as_secs().wrapping_add(EPOCH) << 32;
    seconds | ((u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000)
}

/// What the servers say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// What our clock lacks, in nanoseconds.
    pub offset: i64,
    /// How many servers say so.
    pub agreeing: usize,
}

impl Vote {
    /// Reads the last line of the child.
    pub fn parse(line: &str) -> Option<Self> {
        let (offset, agreeing) = line.split_once(' ')?;
        Some(Self {
            offset: offset.parse().ok()?,
            agreeing: agreeing.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Vote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.offset, self.agreeing)
    }
}

/// The middle of the largest group of servers that agree, so that a minority
/// of wrong ones cannot move it; where none agree, the middle of all, as one
/// server's word. `None` without an answer.
pub fn choose(mut offsets: Vec<i64>) -> Option<Vote> {
    offsets.sort_unstable();
    let group_from = |first: usize| {
        let rest = &offsets[first..];
        let near = |other: &&i64| rest[0].abs_diff(**other) <= AGREEMENT.as_nanos() as u64;
        &rest[..rest.iter().take_while(near).count()]
    };
    let middle = |of: &[i64]| of.get(of.len().checked_sub(1)? / 2).copied();
    // Of groups of one size the first: `max_by_key` takes the last.
    let group = (0..offsets.len())
        .rev()
        .map(group_from)
        .max_by_key(|group| group.len())?;
    Some(Vote {
        offset: middle(if group.len() < 2 { &offsets } else { group })?,
        agreeing: group.len(),
    })
}

/// The child program: asks every server once, prints what happened, and the
/// vote as the last line. Returns the exit status.
pub fn main(servers: &[String]) -> i32 {
    // By address: one server under two names is one witness.
    let mut offsets = BTreeMap::new();
    for server in servers.iter().take(MAX_SERVERS) {
        match ask(server) {
            Ok((address, offset)) => {
                println!(
                    "time server {server}: our clock lacks {:.3} s",
                    offset as f64 / 1e9
                );
                offsets.insert(address, offset);
            }
            Err(error) => println!("time server {server}: {error}"),
        }
    }
    let Some(vote) = choose(offsets.into_values().collect()) else {
        return 1;
    };
    println!("{vote}");
    0
}

fn ask(server: &str) -> Result<(IpAddr, i64), Box<dyn std::error::Error>> {
    let mut last = "has no address".into();
    // The first of each family: its resolvers give them in a different order each time.
    let all = lookup::addresses(server)?;
    let v4 = all.iter().find(|address| address.is_ipv4());
    let v6 = all.iter().find(|address| address.is_ipv6());
    for address in v4.into_iter().chain(v6) {
        match ask_address(SocketAddr::new(*address, PORT)) {
            Ok(offset) => return Ok((*address, offset)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask_address(server: SocketAddr) -> Result<i64, Box<dyn std::error::Error>> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut cookie = [0; 8];
    rustix::rand::getrandom(&mut cookie, rustix::rand::GetRandomFlags::empty())?;
    let cookie = u64::from_ne_bytes(cookie);
    let sent = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let begun = Instant::now();
    socket.send(&question(cookie))?;
    let mut answer = [0; 512];
    let length = socket
        .recv(&mut answer)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => {
                format!("no answer within {} s", ANSWER_LIMIT.as_secs()).into()
            }
            _ => Box::<dyn std::error::Error>::from(error),
        })?;
    Ok(offset(&answer[..length], cookie, sent, begun.elapsed())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(cookie: u64, received: Duration, transmitted: Duration) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[0] = 4 << 3 | 4;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&cookie.to_be_bytes());
        packet[32..40].copy_from_slice(&ntp(received).to_be_bytes());
        packet[40..].copy_from_slice(&ntp(transmitted).to_be_bytes());
        packet
    }

    const SENT: Duration = Duration::from_secs(1_800_000_000);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn bad_answers_are_rejected() {
        let good = answer(7, SENT, SENT);
        let with = |at: usize, byte: u8| {
            let mut bad = good;
            bad[at] = byte;
            offset(&bad, 7, SENT, MS)
        };
        assert!(offset(&good, 7, SENT, MS).is_ok());
        assert_eq!(offset(&good[..47], 7, SENT, MS), Err(Rejected::Short));
        assert_eq!(offset(&good, 8, SENT, MS), Err(Rejected::Foreign));
        assert_eq!(with(0, 4 << 3 | 5), Err(Rejected::Foreign));
        assert_eq!(with(0, 3 << 6 | 4 << 3 | 4), Err(Rejected::Unsynchronised));
        assert_eq!(with(1, 0), Err(Rejected::Refused));
        assert_eq!(with(1, 16), Err(Rejected::Refused));
        assert_eq!(
            offset(&good, 7, SENT, ANSWER_LIMIT + MS),
            Err(Rejected::Late)
        );
    }

    #[test]
    fn one_wrong_server_is_outvoted() {
        let vote = |offsets: &[i64]| choose(offsets.to_vec()).map(|v| (v.offset, v.agreeing));
        const FAR: i64 = 900_000_000_000;
        assert_eq!(vote(&[]), None);
        assert_eq!(vote(&[5]), Some((5, 1)));
        assert_eq!(vote(&[FAR, 5, 6]), Some((5, 2)));
        assert_eq!(vote(&[7, -FAR, 5, 6]), Some((6, 3)));
        assert_eq!(vote(&[-FAR, 0, FAR, FAR + 1]), Some((FAR, 2)));
        assert_eq!(vote(&[FAR, 0]), Some((0, 1)), "nobody knows");
        assert_eq!(vote(&[-FAR, 0, FAR]), Some((0, 1)));
        assert_eq!(vote(&[i64::MIN, i64::MAX]), Some((i64::MIN, 1)));
    }

    #[test]
    fn a_vote_survives_the_pipe() {
        let vote = Vote {
            offset: -5,
            agreeing: 2,
        };
        assert_eq!(Vote::parse(&vote.to_string()), Some(vote));
        for bad in ["", "5", "5 x", "time server x: no answer"] {
            assert_eq!(Vote::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn seconds_roll_over_in_2036() {
        let sent = Duration::from_secs((1 << 32) - EPOCH - 10);
        let there = sent + Duration::from_secs(100);
        let got = offset(&answer(1, there, there), 1, sent, Duration::ZERO).unwrap();
        assert!((got - 100_000_000_000).abs() < 10, "{got}");
    }

    proptest! {
        #[test]
        fn the_offset_is_found(lack_ms in -10_000_000_000i64..10_000_000_000, trip_ms in 0u64..2000) {
            let (sent, trip) = (2 * SENT, Duration::from_millis(trip_ms));
            let there = Duration::from_millis((sent.as_millis() as i64 + lack_ms) as u64) + trip / 2;
            let got = offset(&answer(1, there, there), 1, sent, trip).unwrap();
            prop_assert!((got - lack_ms * 1_000_000).abs() < 1000, "{} {}", got, lack_ms);
        }

        #[test]
        fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), cookie: u64) {
            let _ = offset(&bytes, cookie, SENT, MS);
        }
    }
}
