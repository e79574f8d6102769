use super::*;
use proptest::prelude::*;

const HOUR: u64 = 3_600;

fn at(seconds: u64) -> PoweredOn {
    PoweredOn(seconds)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn network(n: u32) -> Who {
    Who::Network(Network::V4(n.into()))
}

/// A wrong password: tells whether it was let through.
fn wrong(throttle: &mut Throttle, who: Who, now: u64) -> bool {
    throttle.begin(who, Factor::Password, at(now)).is_ok()
}

#[test]
fn delays_double_up_to_a_bound() {
    let delays: Vec<u64> = (0..14).map(|n| PASSWORD.delay(n).as_secs()).collect();
    assert_eq!(
        delays,
        [0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    );
    assert_eq!(PASSWORD.delay(u32::MAX), PASSWORD.longest);
    assert_eq!(SECOND.delay(5 + 7), SECOND.longest);
}

#[test]
fn five_tries_are_free_even_all_at_once() {
    let mut throttle = Throttle::default();
    let attempts: Vec<_> = (0..1000)
        .map(|_| throttle.begin(network(1), Factor::Password, at(100)))
        .collect();
    assert_eq!(attempts.iter().filter(|attempt| attempt.is_ok()).count(), 5);
    let refused = attempts.into_iter().find_map(Result::err).unwrap();
    insta::assert_snapshot!(refused, @"too many attempts to sign in failed; you can try again in 10 seconds");
    assert!(
        wrong(&mut throttle, network(2), 100),
        "a neighbour is not concerned"
    );
}

#[test]
fn the_right_password_forgets_the_wrong_ones() {
    let mut throttle = Throttle::default();
    for round in 0..20 {
        for _ in 0..4 {
            assert!(wrong(&mut throttle, network(1), round * 4 * 60));
        }
        let attempt = throttle
            .begin(network(1), Factor::Password, at(round * 4 * 60))
            .unwrap();
        throttle.right(attempt);
    }
}

#[test]
fn many_networks_share_one_limit_and_the_owners_browser_does_not() {
    let mut throttle = Throttle::default();
    let token = SecretToken::from_random([1; 32]);
    throttle.remember(token.hash(), at(0));
    let mut passed = 0;
    for second in 0..HOUR {
        for n in 0..10 {
            let who = network(u32::try_from(second * 10 + n).unwrap());
            passed += u64::from(wrong(&mut throttle, who, second));
        }
    }
    assert_eq!(passed, 30 + 59);
    // A new browser has to wait its turn; the owner's own has not.
    let known = throttle.who(Some(&token), ip("2001:db8::1"));
    assert_eq!(known, Who::Device(token.hash()));
    assert!(
        throttle
            .begin(known, Factor::Password, at(HOUR - 1))
            .is_ok()
    );
    let other = SecretToken::from_random([2; 32]);
    assert!(matches!(
        throttle.who(Some(&other), ip("2001:db8::1")),
        Who::Network(_)
    ));
    assert!(matches!(
        throttle.who(None, ip("2001:db8::1")),
        Who::Network(_)
    ));
}

#[test]
fn a_stolen_device_cookie_has_limits_too() {
    let mut throttle = Throttle::default();
    let token = SecretToken::from_random([1; 32]);
    throttle.remember(token.hash(), at(0));
    let who = Who::Device(token.hash());
    let passed = (0..24 * HOUR)
        .filter(|second| wrong(&mut throttle, who, *second))
        .count();
    assert!(passed < 120, "{passed}");
    throttle.forget_devices();
    assert!(matches!(
        throttle.who(Some(&token), ip("10.0.0.1")),
        Who::Network(_)
    ));
}

#[test]
fn six_digits_hold_out_for_a_year() {
    let mut throttle = Throttle::default();
    let mut passed = 0;
    // Somebody with the password and any number of addresses, each minute of a day.
    for minute in 0..24 * 60 {
        let who = network(minute);
        passed += u32::from(
            throttle
                .begin(who, Factor::Second, at(u64::from(minute) * 60))
                .is_ok(),
        );
    }
    assert!(passed <= 5 + 7 + 24, "{passed}");
}

#[test]
fn a_lane_is_forgotten_after_a_day() {
    let mut throttle = Throttle::default();
    for n in 0..40 {
        wrong(&mut throttle, network(1), n * 1_000);
    }
    assert!(!wrong(&mut throttle, network(1), 39_500));
    for _ in 0..5 {
        assert!(wrong(&mut throttle, network(1), 40_000 + 25 * HOUR));
    }
    assert!(!wrong(&mut throttle, network(1), 40_000 + 25 * HOUR));
}

#[test]
fn a_box_that_lost_its_time_locks_nobody_out() {
    let mut throttle = Throttle::default();
    for n in 0..60 {
        wrong(
            &mut throttle,
            network(n % 3),
            1_000_000 + u64::from(n) * 900,
        );
    }
    let mut now = 0;
    while let Err(refused) = throttle.begin(network(1), Factor::Password, at(now)) {
        now += refused.wait.as_secs();
        assert!(now <= 2 * 900, "still locked at {now}");
    }
}

proptest! {
    #[test]
    fn memory_and_rate_are_bounded(
        tries in prop::collection::vec((any::<u16>(), 0..200_u64, any::<bool>()), 0..600),
        devices in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut throttle = Throttle::default();
        for (i, device) in devices.iter().enumerate() {
            let token = SecretToken::from_random([*device; 32]);
            throttle.remember(token.hash(), at(i as u64));
        }
        prop_assert!(throttle.devices.len() <= MAX_DEVICES);
        let (mut now, mut failed) = (0, 0);
        for (n, later, right) in tries {
            now += later;
            if let Ok(attempt) = throttle.begin(network(n.into()), Factor::Password, at(now)) {
                if right {
                    throttle.right(attempt);
                } else {
                    failed += 1;
                }
            }
            prop_assert!(failed <= u64::from(BURST) + now / REFILL.as_secs());
            prop_assert!(throttle.networks.len() <= MAX_NETWORKS);
        }
        let json = serde_json::to_string(&throttle).unwrap();
        prop_assert!(json.len() < 64 << 10);
        prop_assert!(serde_json::from_str::<Throttle>(&json).is_ok());
    }
}
