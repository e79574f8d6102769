//! The limit on answers over UDP: a spoofed request makes this server send to somebody who did not ask.
//!
//! A bucket of tokens for each network and kind of answer, as BIND and NSD have it. Memory is fixed: buckets
//! lie in groups of four; where all four are taken the one longest unused makes way.

use super::Limits;
use super::lookup::Kind;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Buckets of a group.
const GROUP: usize = 4;

/// A token in thousandths, so that a rate in seconds counts in milliseconds.
const TOKEN: u64 = 1000;

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Hash of whom it is for; 0: nobody.
    tag: u64,
    tokens: u64,
    /// Milliseconds since the start.
    last: u64,
    over: u32,
}

/// What happens to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Pass,
    /// Only its beginning is sent, with the order to come by TCP.
    Slip,
    /// It is not sent.
    Drop,
}

/// All buckets.
pub struct Rates {
    rate: u64,
    burst: u64,
    slip: u32,
    exempt: Vec<IpAddr>,
    // Random, so that nobody can choose networks that fall into another's bucket.
    hash: RandomState,
    start: Instant,
    buckets: Mutex<Vec<[Bucket; GROUP]>>,
}

impl Rates {
    pub fn new(limits: &Limits) -> Self {
        Self {
            rate: u64::from(limits.rate),
            burst: u64::from(limits.burst.max(1)) * TOKEN,
            slip: limits.slip,
            exempt: limits.exempt.clone(),
            hash: RandomState::new(),
            start: Instant::now(),
            buckets: Mutex::new(vec![
                Default::default();
                limits.buckets.div_ceil(GROUP).max(1)
            ]),
        }
    }

    /// Takes an answer into account, and says what happens to it.
    pub fn check(&self, to: IpAddr, zone: u64, kind: Kind) -> Verdict {
        if self.rate == 0 || to.is_loopback() || self.exempt.contains(&to) {
            return Verdict::Pass;
        }
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.check_at(now, to, zone, kind)
    }

    fn check_at(&self, now: u64, to: IpAddr, zone: u64, kind: Kind) -> Verdict {
        let of = match kind {
            Kind::There(node) => (zone, u64::from(node) + 2),
            Kind::NotThere => (zone, 1),
            Kind::Error => (0, 0),
        };
        let tag = self.hash.hash_one((network(to), of)).max(1);
        let mut groups = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let count = groups.len() as u64;
        let group = &mut groups[(tag % count) as usize];
        let at = group
            .iter()
            .position(|bucket| bucket.tag == tag)
            .unwrap_or_else(|| {
                let oldest = (0..GROUP).min_by_key(|at| group[*at].last).unwrap_or(0);
                group[oldest] = Bucket {
                    tag,
                    tokens: self.burst,
                    last: now,
                    over: 0,
                };
                oldest
            });
        let bucket = &mut group[at];
        let earned = now.saturating_sub(bucket.last).saturating_mul(self.rate);
        bucket.tokens = bucket.tokens.saturating_add(earned).min(self.burst);
        bucket.last = now;
        if bucket.tokens >= TOKEN {
            bucket.tokens -= TOKEN;
            return Verdict::Pass;
        }
        bucket.over = bucket.over.wrapping_add(1);
        match self.slip != 0 && bucket.over.is_multiple_of(self.slip) {
            true => Verdict::Slip,
            false => Verdict::Drop,
        }
    }
}

/// What is taken for one client: a /24 of IPv4, a /56 of IPv6, which is what a home gets.
pub fn network(address: IpAddr) -> [u8; 8] {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [a, b, c, 0, 0, 0, 0, 4]
        }
        IpAddr::V6(address) => {
            let mut network = [0; 8];
            network[..7].copy_from_slice(&address.octets()[..7]);
            network[7] = 6;
            network
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates(buckets: usize) -> Rates {
        Rates::new(&Limits {
            rate: 10,
            burst: 20,
            slip: 2,
            buckets,
            ..Limits::default()
        })
    }

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_burst_passes_then_every_second_one_slips_then_the_rate_holds() {
        let rates = rates(64);
        let ask = |now| rates.check_at(now, ONE, 1, Kind::NotThere);
        for _ in 0..20 {
            assert_eq!(ask(0), Verdict::Pass);
        }
        assert_eq!(
            [ask(0), ask(0), ask(0)],
            [Verdict::Drop, Verdict::Slip, Verdict::Drop]
        );
        let passed = (1..=1000).filter(|now| ask(*now) == Verdict::Pass).count();
        assert_eq!(passed, 10, "ten a second");
    }

    #[test]
    fn networks_names_and_kinds_do_not_count_together() {
        let rates = rates(1024);
        for _ in 0..25 {
            rates.check_at(0, ONE, 1, Kind::There(5));
        }
        let neighbour = IpAddr::from([192, 0, 2, 77]);
        assert_ne!(
            rates.check_at(0, neighbour, 1, Kind::There(5)),
            Verdict::Pass
        );
        let other = IpAddr::from([192, 0, 3, 1]);
        assert_eq!(rates.check_at(0, other, 1, Kind::There(5)), Verdict::Pass);
        assert_eq!(rates.check_at(0, ONE, 1, Kind::There(6)), Verdict::Pass);
        assert_eq!(rates.check_at(0, ONE, 2, Kind::There(5)), Verdict::Pass);
        assert_eq!(rates.check_at(0, ONE, 1, Kind::NotThere), Verdict::Pass);
        assert_eq!(rates.check_at(0, ONE, 1, Kind::Error), Verdict::Pass);
    }

    #[test]
    fn who_is_exempt_is_never_limited() {
        let exempt = vec![ONE];
        let rates = Rates::new(&Limits {
            rate: 1,
            burst: 1,
            exempt,
            ..Limits::default()
        });
        for address in [ONE, IpAddr::from([127, 0, 0, 1])] {
            assert!((0..100).all(|_| rates.check(address, 1, Kind::Error) == Verdict::Pass));
        }
        let other = IpAddr::from([198, 51, 100, 1]);
        assert!(!(0..100).all(|_| rates.check(other, 1, Kind::Error) == Verdict::Pass));
    }

    proptest! {
        /// Whatever networks come, one that is asked without a pause gets no more than its share.
        #[test]
        fn never_more_than_burst_and_rate(steps in prop::collection::vec((0u64..50, any::<u8>()), 1..400)) {
            let rates = rates(1 << 16);
            let (mut now, mut passed) = (0, 0u64);
            for (wait, other) in steps {
                now += wait;
                rates.check_at(now, IpAddr::from([10, 0, other, 1]), 1, Kind::NotThere);
                passed += u64::from(rates.check_at(now, ONE, 1, Kind::NotThere) == Verdict::Pass);
            }
            prop_assert!(passed <= 20 + now * 10 / 1000 + 1);
        }
    }
}
