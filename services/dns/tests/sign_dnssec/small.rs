//! Clock, serial number, policy.

use proptest::prelude::*;
use roost_dns::sign::Policy;
use roost_dns::sign::clock::{self, ClockError, LIFE, SET_BACK};
use roost_dns::sign::policy::{EXPIRE, MAX_TTL, PolicyError};
use roost_dns::sign::serial;

use crate::zones::{DAY, NOW};

#[test]
fn a_clock_is_believed_between_the_build_and_fifteen_years_later() {
    clock::is_plausible(NOW, NOW, None).unwrap();
    clock::is_plausible(NOW + LIFE, NOW, None).unwrap();
    assert_eq!(
        clock::is_plausible(0, NOW, None),
        Err(ClockError::BeforeBuild {
            now: 0,
            built_at: NOW
        })
    );
    let now = NOW + LIFE + 1;
    assert_eq!(
        clock::is_plausible(now, NOW, None),
        Err(ClockError::FarAhead { now, built_at: NOW })
    );
}

#[test]
fn a_clock_may_go_back_an_hour_behind_the_last_signing() {
    let last = NOW + DAY;
    clock::is_plausible(last - SET_BACK, NOW, Some(last)).unwrap();
    let now = last - SET_BACK - 1;
    assert_eq!(
        clock::is_plausible(now, NOW, Some(last)),
        Err(ClockError::BeforeLastSigning { now, last })
    );
}

#[test]
fn clock_errors_in_words() {
    let errors = [
        ClockError::BeforeBuild {
            now: 12,
            built_at: NOW,
        },
        ClockError::BeforeLastSigning {
            now: NOW,
            last: NOW + DAY,
        },
        ClockError::FarAhead {
            now: NOW * 2,
            built_at: NOW,
        },
    ];
    let text: Vec<String> = errors
        .iter()
        .map(|error| format!("{error}\n{}", error.hint()))
        .collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn serial_follows_the_clock_unless_that_goes_back() {
    assert_eq!(serial::next(None, &[], NOW), NOW as u32);
    assert_eq!(serial::next(Some(NOW as u32), &[], NOW), NOW as u32 + 1);
    assert_eq!(serial::next(Some(NOW as u32), &[], 12), NOW as u32 + 1);
    // Restored from a backup; the secondary knows better.
    assert_eq!(
        serial::next(Some(5), &[2_026_112_601, 7], NOW),
        2_026_112_602
    );
    assert_eq!(serial::next(Some(u32::MAX), &[], 1 << 31), 1);
}

#[test]
fn the_default_policy_outlives_the_secondary() {
    let policy = Policy::default();
    assert!(policy.resign_left() > u64::from(EXPIRE) + u64::from(MAX_TTL));
    let left = u64::from(EXPIRE);
    let needed = u64::from(EXPIRE) + u64::from(MAX_TTL) + DAY;
    assert_eq!(
        Policy::new(30 * DAY, DAY, left, 0),
        Err(PolicyError::TooShort { left, needed })
    );
    let twenty = 20 * DAY;
    let error = PolicyError::RenewedAtOnce {
        shortest: twenty,
        left: twenty,
    };
    assert_eq!(Policy::new(21 * DAY, DAY, twenty, 0), Err(error));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Over reboots (the clock jumps by up to 19 years, between times that the guard lets through), restores (the
    /// previous number is old, or lost) and another server's numbers
    /// (which are counters, dates or times: all in the lower half).
    #[test]
    fn serial_grows_for_whoever_sees_it(
        start in 0..1_u32 << 31,
        steps in prop::collection::vec((1_500_000_000..2_100_000_000_u32, any::<prop::sample::Index>(), 0..4_u8), 1..60),
    ) {
        let mut history = vec![start];
        for (clock, restored, kind) in steps {
            let last = *history.last().unwrap();
            // The secondary has the last one. The box may have forgotten it, or have an older one.
            let previous = match kind {
                0 => None,
                1 => Some(history[history.len() - 1 - restored.index(history.len().min(3))]),
                _ => Some(last),
            };
            let seen: &[u32] = if kind < 2 { &[last] } else { &[] };
            let next = serial::next(previous, seen, u64::from(clock));
            prop_assert!(serial::is_newer(next, last), "{next} after {last}");
            prop_assert_ne!(next, 0);
            history.push(next);
        }
    }

    #[test]
    fn a_stamp_means_the_moment_nearest_to_now(now in 0..1_u64 << 40, off in -(1_i64 << 31) + 1..1_i64 << 31) {
        prop_assume!(now.checked_add_signed(off).is_some());
        let moment = now.saturating_add_signed(off);
        prop_assert_eq!(clock::widen(moment as u32, now), moment);
    }
}
