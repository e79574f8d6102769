//! Measuring the line by pings to the relay within the tunnel: how long they take, how many are
//! lost, and how long a packet may be. No clock and no socket: [`Prober::tick`] says what to send.
//!
//! **The longest packet.** The UDP socket forbids fragments, so a packet that is too long for the
//! line is lost without a word, or with one that many routers never send (RFC 2923, section 2.1).
//! So the sizes in [`SIZES`] are tried, each [`ROUNDS`] times because pings may be lost for other
//! reasons; the largest that came back is the MTU. As nothing but a lost ping depends on it, this is
//! done each time that the relay answers from somewhere, and every [`SEARCH_EVERY`] besides.

use crate::config::{CAREFUL_MTU, MAX_MTU, MIN_MTU};
use crate::packet;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Time between two pings that measure.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A ping that came back later counts as lost.
const LATE: Duration = Duration::from_secs(3);
/// Pings that [`Prober::loss`] tells about.
const REMEMBERED: usize = 30;
/// Bytes of a ping that measures, as those of ping(8).
const PING: u16 = 84;
/// Sizes of packets that are tried. Between the ends are those of PPPoE (1,492 bytes outside), of
/// DS-Lite (1,460) and of tunnels below that, each over IPv4 and IPv6.
const SIZES: [u16; 8] = [MIN_MTU, 1300, 1340, 1360, CAREFUL_MTU, 1400, 1412, MAX_MTU];
/// How often each is tried.
const ROUNDS: u8 = 3;
/// Time between two rounds; all of a round are sent at once.
const ROUND_EVERY: Duration = Duration::from_millis(400);
/// Time between two searches on the same line: lines change, e.g. from cable to a mobile network.
const SEARCH_EVERY: Duration = Duration::from_secs(15 * 60);

/// A ping on its way.
#[derive(Debug, Clone, Copy)]
struct Ping {
    sequence: u16,
    sent: Instant,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Measure,
    Size(u16),
}

/// A search for the longest packet.
#[derive(Debug, Clone, Copy)]
enum Search {
    Resting {
        next: Instant,
    },
    Round {
        number: u8,
        at: Instant,
        best: Option<u16>,
    },
}

/// Pings the relay.
#[derive(Debug)]
pub struct Prober {
    own: Ipv4Addr,
    relay: Ipv4Addr,
    id: u16,
    sequence: u16,
    waiting: VecDeque<Ping>,
    answered: VecDeque<bool>,
    next: Option<Instant>,
    rtt: Option<Duration>,
    mtu: u16,
    /// `None`: the MTU is fixed.
    search: Option<Search>,
}

impl Prober {
    /// From `own` to `relay`; `id` tells its pings from other programs'. A fixed `mtu` is kept.
    pub fn new(own: Ipv4Addr, relay: Ipv4Addr, id: u16, mtu: Option<u16>, now: Instant) -> Self {
        Self {
            own,
            relay,
            id,
            sequence: 0,
            waiting: VecDeque::new(),
            answered: VecDeque::new(),
            next: None,
            rtt: None,
            mtu: mtu.unwrap_or(CAREFUL_MTU),
            search: mtu.is_none().then_some(Search::Resting { next: now }),
        }
    }

    /// The relay answers, from an address where it did not before.
    pub fn moved(&mut self, now: Instant) {
        self.next = Some(now);
        if let Some(search) = &mut self.search {
            *search = Search::Resting { next: now };
        }
    }

    /// The packets to send now. `up`: the relay answers; else nothing is sent.
    pub fn tick(&mut self, now: Instant, up: bool) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some(ping) = self.waiting.front().copied()
            && now.saturating_duration_since(ping.sent) >= LATE
        {
            self.waiting.pop_front();
            self.count(ping.kind, false);
        }
        if !up {
            return packets;
        }
        if self.next.is_none_or(|next| now >= next) {
            self.next = Some(now + PING_EVERY);
            packets.push(self.ping(now, Kind::Measure, PING));
        }
        match self.search {
            Some(Search::Resting { next }) if now >= next => {
                packets.append(&mut self.round(now, 1, None));
            }
            Some(Search::Round { number, at, best }) if now >= at + ROUND_EVERY => {
                if number < ROUNDS {
                    packets.append(&mut self.round(now, number + 1, best));
                } else if now >= at + LATE {
                    let next = now + SEARCH_EVERY;
                    self.search = Some(Search::Resting { next });
                    // No answer at all says nothing about sizes.
                    self.mtu = best.unwrap_or(self.mtu);
                }
            }
            _ => {}
        }
        packets
    }

    fn round(&mut self, now: Instant, number: u8, best: Option<u16>) -> Vec<Vec<u8>> {
        self.search = Some(Search::Round {
            number,
            at: now,
            best,
        });
        SIZES
            .into_iter()
            .filter(|size| best.is_none_or(|best| *size > best))
            .map(|size| self.ping(now, Kind::Size(size), size))
            .collect()
    }

    fn ping(&mut self, sent: Instant, kind: Kind, length: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.waiting.push_back(Ping {
            sequence,
            sent,
            kind,
        });
        packet::echo(self.own, self.relay, self.id, sequence, length)
    }

    /// Looks at a packet out of the tunnel. `true`: it was an answer, and is for nobody else.
    pub fn received(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let Some(reply) = packet::reply(bytes) else {
            return false;
        };
        if reply.from != self.relay || reply.id != self.id {
            return false;
        }
        let found = self
            .waiting
            .iter()
            .position(|ping| ping.sequence == reply.sequence);
        let Some(ping) = found.and_then(|at| self.waiting.remove(at)) else {
            return true;
        };
        self.rtt = Some(now.saturating_duration_since(ping.sent));
        self.count(ping.kind, true);
        if let (Kind::Size(size), Some(Search::Round { best, .. })) = (ping.kind, &mut self.search)
            && reply.length == usize::from(size)
        {
            *best = (*best).max(Some(size));
        }
        true
    }

    fn count(&mut self, kind: Kind, answered: bool) {
        if kind != Kind::Measure {
            return;
        }
        if self.answered.len() == REMEMBERED {
            self.answered.pop_front();
        }
        self.answered.push_back(answered);
    }

    /// How long a packet may be, in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// To the relay and back, as measured last.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Share of the last pings that were lost, 0 to 1.
    pub fn loss(&self) -> Option<f64> {
        let lost = self.answered.iter().filter(|answered| !**answered).count();
        (!self.answered.is_empty()).then(|| lost as f64 / self.answered.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 82, 0, 2);
    const RELAY: Ipv4Addr = Ipv4Addr::new(10, 82, 0, 1);

    fn answered(ping: &[u8]) -> Vec<u8> {
        let mut reply = ping.to_vec();
        reply[12..16].copy_from_slice(&ping[16..20]);
        reply[16..20].copy_from_slice(&ping[12..16]);
        reply[20] = 0;
        reply
    }

    /// Lets `seconds` pass on a line that carries packets of up to `line` bytes; `lost` decides
    /// about each ping besides. Answers come after 20 ms.
    fn pass(
        prober: &mut Prober,
        now: &mut Instant,
        seconds: u64,
        line: usize,
        mut lost: impl FnMut() -> bool,
    ) {
        let end = *now + Duration::from_secs(seconds);
        while *now < end {
            let back: Vec<_> = prober
                .tick(*now, true)
                .into_iter()
                .filter(|ping| ping.len() <= line && !lost())
                .map(|ping| answered(&ping))
                .collect();
            *now += Duration::from_millis(20);
            for reply in back {
                assert!(prober.received(*now, &reply));
            }
            *now += Duration::from_millis(230);
        }
    }

    #[test]
    fn the_longest_packet_is_found() {
        for (line, mtu) in [
            (9000, MAX_MTU),
            (1420, MAX_MTU),
            (1419, 1412),
            (1399, 1380),
            (1280, 1280),
        ] {
            let mut now = Instant::now();
            let mut prober = Prober::new(OWN, RELAY, 1, None, now);
            assert_eq!(prober.mtu(), CAREFUL_MTU);
            pass(&mut prober, &mut now, 10, line, || false);
            assert_eq!(prober.mtu(), mtu, "a line of {line} bytes");
        }
    }

    #[test]
    fn a_line_that_changes_is_measured_again() {
        let mut now = Instant::now();
        let mut prober = Prober::new(OWN, RELAY, 1, None, now);
        pass(&mut prober, &mut now, 10, 1420, || false);
        prober.moved(now);
        pass(&mut prober, &mut now, 10, 1300, || false);
        assert_eq!(prober.mtu(), 1300);
        pass(&mut prober, &mut now, 16 * 60, 1420, || false);
        assert_eq!(prober.mtu(), MAX_MTU);
    }

    #[test]
    fn silence_says_nothing_about_sizes_and_all_about_loss() {
        let mut now = Instant::now();
        let mut prober = Prober::new(OWN, RELAY, 1, None, now);
        pass(&mut prober, &mut now, 60, 1420, || true);
        assert_eq!(prober.mtu(), CAREFUL_MTU);
        assert_eq!((prober.loss(), prober.rtt()), (Some(1.0), None));
        pass(&mut prober, &mut now, 600, 1420, || false);
        assert_eq!(prober.loss(), Some(0.0));
        assert_eq!(prober.rtt(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn a_fixed_size_stays_and_nothing_is_sent_to_nobody() {
        let mut now = Instant::now();
        let mut prober = Prober::new(OWN, RELAY, 1, Some(1300), now);
        assert_eq!(prober.tick(now, false), Vec::<Vec<u8>>::new());
        pass(&mut prober, &mut now, 60, 1420, || false);
        assert_eq!(prober.mtu(), 1300);
    }

    #[test]
    fn answers_to_others_are_left_to_them() {
        let now = Instant::now();
        let mut prober = Prober::new(OWN, RELAY, 1, None, now);
        let other = answered(&packet::echo(OWN, RELAY, 2, 1, 84));
        assert!(!prober.received(now, &other));
        let stranger = answered(&packet::echo(OWN, OWN, 1, 1, 84));
        assert!(!prober.received(now, &stranger));
        assert!(!prober.received(now, &[]));
        let unasked = answered(&packet::echo(OWN, RELAY, 1, 999, 84));
        assert!(prober.received(now, &unasked));
        assert_eq!(prober.rtt(), None);
    }

    proptest! {
        /// Whichever pings are lost, what is found is never too long.
        #[test]
        fn a_bad_line_never_gives_too_long_a_packet(line in 1280usize..1500, losses in proptest::collection::vec(0u8..3, 400)) {
            let mut now = Instant::now();
            let mut prober = Prober::new(OWN, RELAY, 1, None, now);
            let mut losses = losses.into_iter().cycle();
            pass(&mut prober, &mut now, 10, line, || losses.next() == Some(0));
            prop_assert!(prober.mtu() == CAREFUL_MTU || usize::from(prober.mtu()) <= line);
        }
    }
}
