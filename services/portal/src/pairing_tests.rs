use super::*;
use crate::code::NotACode;
use crate::time::Wall;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const CODE: &str = "K7Q2-M9XP";
const WRONG: &str = "AAAA-AAAA";
const DAY: u64 = 86_400;

fn at(seconds: u64) -> PoweredOn {
    PoweredOn(seconds)
}

fn from(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from(n).into()
}

fn owner() -> IpAddr {
    from("192.168.1.20")
}

fn new_box() -> Pairing {
    Pairing::begin(Code::parse(CODE).unwrap(), at(0))
}

/// Through the store and back, as after a power cut.
fn reboot(pairing: &Pairing) -> Pairing {
    serde_json::from_str(&serde_json::to_string(pairing).unwrap()).unwrap()
}

fn enter(
    pairing: Pairing,
    typed: &str,
    from: IpAddr,
    now: u64,
) -> (Pairing, Result<SecretToken, Refusal>) {
    pairing.enter(typed, from, [9; 32], at(now)).kept()
}

/// Enters the code and comes back with the grant.
fn grant(pairing: Pairing, now: u64) -> (Pairing, SecretToken) {
    let (pairing, grant) = enter(pairing, CODE, owner(), now);
    let grant = grant.unwrap();
    let (pairing, claimed) = pairing.claim(&grant, at(now)).kept();
    assert_eq!(claimed, Ok(()));
    (pairing, grant)
}

fn password() -> PasswordHash {
    // A hash like another: computing one takes a second without optimisation.
    let text = "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
    PasswordHash::try_from(text.to_owned()).unwrap()
}

fn finish(
    pairing: Pairing,
    token: Option<&SecretToken>,
    now: u64,
) -> (Outcome, Result<Authenticated, Refusal>) {
    let now = Now {
        powered_on: at(now),
        wall: None,
    };
    pairing.finish(token, password(), now).kept()
}

#[test]
fn a_browser_pairs_from_code_to_owner() {
    let pairing = new_box();
    assert_eq!(
        pairing.view(None, owner(), at(0)),
        View::AskCode {
            left: 5,
            wait: Duration::ZERO
        }
    );
    let (pairing, grant) = enter(pairing, "k7q2 m9xp", owner(), 60);
    let grant = grant.unwrap();
    let (pairing, claimed) = pairing.claim(&grant, at(61)).kept();
    assert_eq!(claimed, Ok(()));
    assert_eq!(pairing.view(Some(&grant), owner(), at(61)), View::Form);
    // Left half-way, from another address, after a power cut, hours later.
    let pairing = reboot(&pairing);
    assert_eq!(
        pairing.view(Some(&grant), from("10.0.0.1"), at(DAY)),
        View::Form
    );
    let (outcome, signed_in) = finish(pairing, Some(&grant), DAY);
    assert_eq!(signed_in.unwrap().by(), SignedInBy::Pairing);
    assert!(outcome.owner.is_some());
    assert_eq!(
        outcome.pairing.view(Some(&grant), owner(), at(DAY)),
        View::Closed(Refusal::Finished)
    );
}

#[test]
fn the_code_and_the_grant_work_once() {
    let (pairing, grant) = grant(new_box(), 1);
    let (pairing, again) = enter(pairing, CODE, owner(), 2);
    assert_eq!(again.unwrap_err(), Refusal::Elsewhere);
    let kept = serde_json::to_string(&pairing).unwrap();
    assert!(!kept.contains(CODE), "the code is forgotten");
    assert!(
        !kept.contains(grant.to_text().as_str()),
        "the grant is kept as a hash"
    );
    let (outcome, first) = finish(pairing, Some(&grant), 3);
    assert!(first.is_ok());
    let (outcome, second) = finish(outcome.pairing, Some(&grant), 4);
    assert_eq!(second.unwrap_err(), Refusal::Finished);
    assert!(outcome.owner.is_none());
    let (_, code) = enter(reboot(&outcome.pairing), CODE, owner(), 5);
    assert_eq!(code.unwrap_err(), Refusal::Finished);
}

#[test]
fn an_answer_that_was_lost_costs_nothing() {
    let (pairing, lost) = enter(new_box(), CODE, owner(), 1);
    let lost = lost.unwrap();
    assert!(matches!(
        pairing.view(Some(&lost), owner(), at(2)),
        View::AskCode { left: 5, .. }
    ));
    // A form that was never shown cannot be sent.
    let (outcome, early) = finish(reboot(&pairing), Some(&lost), 2);
    assert_eq!(early.unwrap_err(), Refusal::NoGrant);
    let (pairing, grant) = outcome.pairing.enter(CODE, owner(), [7; 32], at(3)).kept();
    let grant = grant.unwrap();
    let (pairing, late) = pairing.claim(&lost, at(4)).kept();
    assert_eq!(late, Err(Refusal::NoGrant), "only the latest counts");
    let (pairing, claimed) = pairing.claim(&grant, at(4)).kept();
    assert_eq!(claimed, Ok(()));
    let (pairing, again) = pairing.claim(&grant, at(5)).keep(|_| Err("saved")).unwrap();
    assert_eq!(again, Ok(()), "loading the page again changes nothing");
    let (_, code) = enter(pairing, CODE, owner(), 6);
    assert_eq!(code.unwrap_err(), Refusal::Elsewhere);
}

#[test]
fn nobody_but_the_holder_finishes() {
    let other = SecretToken::from_random([8; 32]);
    let (outcome, early) = finish(new_box(), Some(&other), 0);
    assert!(early.is_err() && outcome.owner.is_none());
    let (pairing, grant) = grant(outcome.pairing, 1);
    for token in [None, Some(&other)] {
        assert_eq!(
            pairing.view(token, owner(), at(2)),
            View::Closed(Refusal::Elsewhere)
        );
        let (outcome, refused) = finish(reboot(&pairing), token, 2);
        assert_eq!(refused.unwrap_err(), Refusal::Elsewhere);
        assert!(outcome.owner.is_none());
    }
    assert!(finish(pairing, Some(&grant), 2).1.is_ok());
}

#[test]
fn code_and_grant_expire() {
    let last = 7 * DAY - 1;
    assert!(enter(new_box(), CODE, owner(), last).1.is_ok());
    let (pairing, late) = enter(new_box(), CODE, owner(), last + 1);
    assert_eq!(late.unwrap_err(), Refusal::Expired);
    // Turning the time back does not revive it, once that was kept.
    let (pairing, old) = enter(reboot(&pairing), CODE, owner(), 0);
    assert_eq!(old.unwrap_err(), Refusal::Expired);
    let (pairing, renewed) = pairing
        .renew(Code::parse("WWWW-2222").unwrap(), at(8 * DAY))
        .kept();
    assert!(renewed);
    assert!(enter(reboot(&pairing), CODE, owner(), 8 * DAY).1.is_err());
    let (pairing, grant) = enter(pairing, "wwww2222", owner(), 8 * DAY);
    let grant = grant.unwrap();
    let (pairing, _) = pairing.claim(&grant, at(8 * DAY)).kept();
    assert_eq!(
        pairing.view(Some(&grant), owner(), at(9 * DAY)),
        View::Closed(Refusal::Expired)
    );
    let (outcome, late) = finish(pairing, Some(&grant), 9 * DAY);
    assert_eq!(late.unwrap_err(), Refusal::Expired);
    let pairing = outcome.pairing;
    assert!(matches!(pairing, Pairing::Expired { .. }));
}

#[test]
fn a_code_is_renewed_only_after_it_has_expired() {
    let new = || Code::parse("WWWW-2222").unwrap();
    let (pairing, renewed) = new_box().renew(new(), at(1)).kept();
    assert!(!renewed);
    let (pairing, grant) = grant(pairing, 2);
    let (pairing, renewed) = pairing.renew(new(), at(3)).kept();
    assert!(!renewed);
    let (outcome, _) = finish(pairing, Some(&grant), 4);
    let (_, renewed) = outcome.pairing.renew(new(), at(99 * DAY)).kept();
    assert!(!renewed);
}

/// Enters wrong codes as fast as they are let through until `end`; tells how many were.
fn guess_until(mut pairing: Pairing, end: u64, address: impl Fn(u64) -> IpAddr) -> (Pairing, u64) {
    let (mut now, mut guesses) = (0, 0);
    loop {
        let from = address(guesses);
        if let View::AskCode { wait, .. } = pairing.view(None, from, at(now)) {
            now += wait.as_secs();
        }
        if now > end {
            return (pairing, guesses);
        }
        let (next, answer) = enter(pairing, WRONG, from, now);
        pairing = next;
        match answer.unwrap_err() {
            Refusal::Wrong { .. } | Refusal::WrongThenWait { .. } => guesses += 1,
            other => panic!("{other}"),
        }
    }
}

#[test]
fn brute_force_is_hopeless() {
    let fresh = |n: u64| v4(u32::try_from(n).unwrap());
    let mut text = String::new();
    for (name, hours) in [
        ("an hour", 1),
        ("a day", 24),
        ("a code's life", 7 * 24),
        ("a year", 365 * 24),
    ] {
        let bound = most_guesses(Duration::from_secs(hours * 3_600));
        if hours < 7 * 24 {
            // The bound is reached by whoever has an address for every guess.
            assert_eq!(guess_until(new_box(), hours * 3_600, fresh).1, bound);
            assert!(guess_until(new_box(), hours * 3_600, |_| owner()).1 <= bound);
        }
        text += &format!("{name}: {bound} guesses, chance {:.1e}\n", chance(bound));
    }
    let even = (CODES / 2) as f64 / most_guesses(Duration::from_secs(DAY * 365)) as f64;
    text += &format!("an even chance after {even:.0} years\n");
    insta::assert_snapshot!(text);
}

#[test]
fn a_stranger_does_not_lock_the_owner_out() {
    let stranger = from("192.168.1.66");
    // Weeks of guessing at every chance, then the owner comes home.
    let (pairing, guesses) = guess_until(new_box(), 6 * DAY, |_| stranger);
    assert!(guesses > 100);
    let now = 6 * DAY;
    let View::AskCode { wait, .. } = pairing.view(None, owner(), at(now)) else {
        panic!("{pairing:?}");
    };
    assert!(wait <= DELAYS.longest);
    let open = now + wait.as_secs();
    // The stranger tries at every second until then, and through the owner's head start.
    let mut pairing = pairing;
    for second in now..open + 10 * 60 {
        let (next, answer) = enter(pairing, WRONG, stranger, second);
        assert!(matches!(answer, Err(Refusal::Wait { .. })), "{second}");
        pairing = next;
    }
    assert!(enter(pairing, CODE, owner(), open + 10 * 60).1.is_ok());
}

#[test]
fn pulling_the_plug_is_no_way_around_the_delay() {
    let mut pairing = new_box();
    for _ in 0..12 {
        let wait = match pairing.view(None, owner(), at(1000)) {
            View::AskCode { wait, .. } => wait.as_secs(),
            other => panic!("{other:?}"),
        };
        pairing = enter(pairing, WRONG, owner(), 1000 + wait).0;
        pairing = reboot(&pairing).settle(at(1000));
    }
    // The time was lost altogether: the delay is bounded all the same.
    let lost = reboot(&pairing).settle(at(0));
    let View::AskCode { wait, .. } = lost.view(None, from("10.0.0.1"), at(0)) else {
        panic!("{lost:?}");
    };
    assert_eq!(wait, DELAYS.longest);
    assert!(enter(lost, CODE, from("10.0.0.1"), 0).1.is_err());
}

#[test]
fn a_text_that_is_no_code_costs_nothing_and_is_not_kept() {
    let mut pairing = new_box();
    for _ in 0..20 {
        let decided = pairing.enter("hello", owner(), [0; 32], at(1));
        let kept = decided.keep(|_| Err("saved")).expect("nothing to save");
        assert_eq!(kept.1.unwrap_err(), Refusal::NotACode(NotACode));
        pairing = kept.0;
    }
    assert!(enter(pairing, CODE, owner(), 2).1.is_ok());
}

#[test]
fn a_wrong_code_is_answered_only_once_it_was_counted() {
    let decided = new_box().enter(WRONG, owner(), [0; 32], at(1));
    assert_eq!(decided.keep(|_| Err("disk full")).unwrap_err(), "disk full");
}

#[test]
fn what_is_kept_looks_like_this() {
    let (waiting, _) = enter(new_box(), WRONG, from("2001:db8::7"), 60);
    let (sent, token) = enter(reboot(&waiting), CODE, owner(), 80);
    let (granted, _) = reboot(&sent).claim(&token.unwrap(), at(90)).kept();
    let token = SecretToken::from_random([9; 32]);
    let now = Now {
        powered_on: at(120),
        wall: Some(Wall(1_798_761_540)),
    };
    let (finished, _) = reboot(&granted)
        .finish(Some(&token), password(), now)
        .kept();
    let expired = reboot(&granted).settle(at(2 * DAY));
    let all = [&waiting, &sent, &granted, &expired, &finished.pairing];
    insta::assert_snapshot!(
        all.map(|state| serde_json::to_string(state).unwrap())
            .join("\n")
    );
}

#[test]
fn every_refusal_is_a_sentence_with_a_way_out() {
    let wait = Duration::from_secs;
    let all = [
        Refusal::NotACode(NotACode),
        Refusal::Wrong { left: 4 },
        Refusal::Wrong { left: 1 },
        Refusal::WrongThenWait { wait: wait(37) },
        Refusal::Wait { wait: wait(4_500) },
        Refusal::NoGrant,
        Refusal::Expired,
        Refusal::Elsewhere,
        Refusal::Finished,
    ];
    let mut text = String::new();
    for refusal in all {
        text += &format!("{refusal}\n    {}\n", refusal.hint());
    }
    insta::assert_snapshot!(text);
}

/// What an attacker may do.
#[derive(Debug, Clone)]
enum Move {
    Guess(u8),
    Gibberish,
    Finish,
    Wait(u64),
    /// Pull the plug: the time goes back to the last save, at most ten minutes.
    Plug(u64),
    /// A new code, which the box makes by itself after the old one has expired.
    Renew,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => any::<u8>().prop_map(Move::Guess),
        1 => Just(Move::Gibberish),
        1 => Just(Move::Finish),
        6 => prop_oneof![0..40_u64, 0..4_000_u64, 0..700_000_u64].prop_map(Move::Wait),
        2 => (0..600_u64).prop_map(Move::Plug),
        1 => Just(Move::Renew),
    ];
    prop::collection::vec(one, 0..200)
}

proptest! {
    #[test]
    fn no_sequence_of_moves_gets_more_guesses_than_the_bound(moves in moves()) {
        let mut pairing = new_box();
        // What the box believes, and how long power has really been on.
        let (mut now, mut real) = (0_u64, 0_u64);
        let (mut guesses, mut saved) = (0_u64, 0_u64);
        for step in moves {
            match step {
                Move::Guess(network) => {
                    let address = v4(network.into());
                    let (next, answer) = enter(pairing, WRONG, address, now);
                    pairing = next;
                    match answer {
                        Err(Refusal::Wrong { .. } | Refusal::WrongThenWait { .. }) => {
                            guesses += 1;
                            // The time is kept with the state.
                            saved = now;
                        }
                        Err(Refusal::Wait { wait }) => prop_assert!(wait <= DELAYS.longest * 5 / 4),
                        Err(_) => {}
                        Ok(_) => prop_assert!(false, "paired without the code"),
                    }
                }
                Move::Gibberish => pairing = enter(pairing, "?", owner(), now).0,
                Move::Finish => {
                    let token = SecretToken::from_random([3; 32]);
                    let (next, answer) = pairing.claim(&token, at(now)).kept();
                    prop_assert!(answer.is_err());
                    let (outcome, answer) = finish(next, Some(&token), now);
                    prop_assert!(answer.is_err() && outcome.owner.is_none());
                    pairing = outcome.pairing;
                }
                Move::Wait(seconds) => {
                    now += seconds;
                    real += seconds;
                }
                Move::Plug(lost) => {
                    now = now.saturating_sub(lost).max(saved);
                    pairing = reboot(&pairing);
                }
                Move::Renew => {
                    let code = Code::from_random([7; 5]);
                    let (next, renewed) = pairing.renew(code, at(now)).kept();
                    pairing = next;
                    if renewed {
                        saved = now;
                    }
                }
            }
            let bound = most_guesses(Duration::from_secs(real));
            prop_assert!(guesses <= bound, "{guesses} guesses in {real} s, bound {bound}");
            let kept = serde_json::to_string(&pairing).unwrap();
            prop_assert!(kept.len() < 4096, "{} bytes", kept.len());
        }
    }

    #[test]
    fn a_grant_is_of_no_use_to_who_does_not_hold_it(token: [u8; 32], seconds in 0..2 * DAY) {
        prop_assume!(token != [9; 32]);
        let (pairing, _) = grant(new_box(), 0);
        let (outcome, answer) = finish(pairing, Some(&SecretToken::from_random(token)), seconds);
        prop_assert!(answer.is_err() && outcome.owner.is_none());
    }
}
