//! Chance in the waits before a restart.

use std::time::Duration;

/// Shortens waits by up to a quarter. Not for secrets: the numbers are those of xorshift64
/// (Marsaglia, "Xorshift RNGs", 2003), which a test can foretell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Jitter(u64);

impl Jitter {
    /// Begins with some number; from 0 every wait stays as it is.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Between three quarters of `wait` and all of it.
    pub fn shorten(&mut self, wait: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The upper bits are the better ones; 2^18 is a quarter of 2^20.
        let part = u32::try_from(self.0 >> 46).unwrap_or(0);
        wait - wait * part / (1 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_loses_at_most_a_quarter(seed: u64, ms in 0u64..60_001) {
            let wait = Duration::from_millis(ms);
            let mut jitter = Jitter::new(seed);
            for _ in 0..10 {
                let short = jitter.shorten(wait);
                prop_assert!(short <= wait && short >= wait * 3 / 4, "{short:?}");
            }
        }
    }

    #[test]
    fn two_boxes_wait_differently_and_a_test_not_at_all() {
        let minute = Duration::from_secs(60);
        let waits = |seed| {
            let mut jitter = Jitter::new(seed);
            [(); 100].map(|()| jitter.shorten(minute))
        };
        assert_ne!(waits(1)[5..], waits(2)[5..]);
        assert_eq!(waits(0), [minute; 100]);
        // All of the quarter is used.
        let spread = waits(7);
        let (least, most) = (spread.iter().min(), spread.iter().max());
        assert!(least < Some(&Duration::from_secs(47)) && most > Some(&Duration::from_secs(58)));
    }
}
