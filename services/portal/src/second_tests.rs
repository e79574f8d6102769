use super::*;
use crate::decided::Decided;
use proptest::prelude::*;

/// The secret of RFC 6238's test vectors (appendix B).
const SECRET: [u8; 20] = *b"12345678901234567890";
const NOW: Option<Wall> = Some(Wall(1_798_761_540));

fn random() -> [u8; RECOVERY_BYTES] {
    std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap())
}

fn code_at(seconds: u64) -> String {
    let secret = Secret(Zeroizing::new(SECRET));
    secret.totp(None, String::new()).generate(seconds)
}

fn set_up(now: Option<Wall>) -> (SecondFactor, [RecoveryCode; RECOVERY_CODES]) {
    let pending = Pending::begin(SECRET, now).unwrap();
    let code = code_at(now.unwrap().0);
    pending.confirm(&code, random(), now).unwrap()
}

fn later(seconds: u64) -> Option<Wall> {
    NOW.map(|now| Wall(now.0 + seconds))
}

#[test]
fn codes_are_those_of_rfc_6238() {
    // Appendix B has eight digits; six are their end.
    for (seconds, code) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_234_567_890, "005924"),
        (20_000_000_000, "353130"),
    ] {
        assert_eq!(code_at(seconds), code);
        let (factor, _) = {
            let pending = Pending::begin(SECRET, Some(Wall(seconds))).unwrap();
            pending
                .confirm(code, random(), Some(Wall(seconds)))
                .unwrap()
        };
        assert_eq!(factor.last, seconds / STEP);
    }
}

#[test]
fn the_url_is_what_apps_read() {
    let pending = Pending::begin(SECRET, NOW).unwrap();
    insta::assert_snapshot!(
        *pending.url("roost", "example.org"),
        @"otpauth://totp/Roost%20roost:example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Roost%20roost"
    );
    assert_eq!(*pending.text(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert!(
        !pending
            .url("a:b", "c:d")
            .trim_start_matches("otpauth:")
            .contains("a:b")
    );
    let json = serde_json::to_string(&pending).unwrap();
    let back: Pending = serde_json::from_str(&json).unwrap();
    assert_eq!(back.text(), pending.text());
    assert_eq!(format!("{pending:?}"), "Pending(…)");
}

#[test]
fn a_code_is_taken_one_step_early_or_late_and_only_once() {
    for (seconds, taken) in [
        (-60, false),
        (-30, true),
        (0, true),
        (30, true),
        (60, false),
    ] {
        let (factor, _) = set_up(NOW);
        // Long after the code that set it up.
        let now = later(3_000);
        let typed = code_at(now.unwrap().0.saturating_add_signed(seconds));
        let (factor, answer) = factor
            .check(&format!("{} {}", &typed[..3], &typed[3..]), now)
            .kept();
        assert_eq!(answer.is_ok(), taken, "{seconds}");
        if taken {
            assert_eq!(answer, Ok(Proof::App));
            let (_, again) = factor.check(&typed, now).kept();
            assert_eq!(again, Err(Refused::Replayed));
        }
    }
}

#[test]
fn older_codes_are_dead_after_a_newer_one() {
    let (factor, _) = set_up(NOW);
    let now = later(3_000).unwrap();
    let (factor, answer) = factor.check(&code_at(now.0 + 30), Some(now)).kept();
    assert!(answer.is_ok());
    for seconds in [0, 30] {
        let (_, answer) = {
            let json = serde_json::to_string(&factor).unwrap();
            let factor: SecondFactor = serde_json::from_str(&json).unwrap();
            factor.check(&code_at(now.0 + seconds), Some(now)).kept()
        };
        assert_eq!(answer, Err(Refused::Replayed));
    }
    // A clock that was turned back revives nothing.
    let (_, answer) = factor.check(&code_at(NOW.unwrap().0), NOW).kept();
    assert_eq!(answer, Err(Refused::Replayed));
}

#[test]
fn the_code_that_sets_the_app_up_signs_nobody_in() {
    let (factor, _) = set_up(NOW);
    let (_, answer) = factor.check(&code_at(NOW.unwrap().0), NOW).kept();
    assert_eq!(answer, Err(Refused::Replayed));
}

#[test]
fn without_a_clock_recovery_codes_work_and_the_app_does_not() {
    assert_eq!(Pending::begin(SECRET, None).unwrap_err(), NotSetUp::NoClock);
    let pending = Pending::begin(SECRET, NOW).unwrap();
    let code = code_at(NOW.unwrap().0);
    assert_eq!(
        pending.clone().confirm(&code, random(), None).unwrap_err(),
        NotSetUp::NoClock
    );
    assert_eq!(
        pending.confirm("12345", random(), NOW).unwrap_err(),
        NotSetUp::WrongCode
    );
    let (factor, codes) = set_up(NOW);
    let (factor, answer) = factor.check(&code, None).kept();
    assert_eq!(answer, Err(Refused::NoClock));
    let (_, answer) = factor.check(&codes[0].reveal(), None).kept();
    assert_eq!(answer, Ok(Proof::Recovery { left: 7 }));
}

#[test]
fn each_recovery_code_works_once_as_people_type_it() {
    let (mut factor, codes) = set_up(NOW);
    let kept = serde_json::to_string(&factor).unwrap();
    for (i, code) in codes.iter().enumerate() {
        let code = code.reveal();
        assert!(!kept.contains(code.as_str()) && !kept.contains(&code.replace('-', "")));
        let typed = code.to_lowercase().replace('-', " ").replace('1', "l");
        let (next, answer) = factor.check(&typed, NOW).kept();
        assert_eq!(answer, Ok(Proof::Recovery { left: 7 - i }));
        let (next, again) = next.check(&code, NOW).kept();
        assert_eq!(again, Err(Refused::Wrong));
        factor = next;
    }
    assert_eq!(factor.recovery_left(), 0);
}

#[test]
fn a_code_is_used_up_before_it_opens_anything() {
    let (factor, codes) = set_up(NOW);
    let decided: Decided<_, _> = factor.check(&codes[0].reveal(), None);
    assert_eq!(decided.keep(|_| Err("disk full")).unwrap_err(), "disk full");
    let (factor, _) = set_up(NOW);
    // A wrong one changes nothing, so nothing is written.
    let (_, answer) = factor
        .check("000000", NOW)
        .keep(|_| Err("disk full"))
        .unwrap();
    assert_eq!(answer, Err(Refused::Wrong));
}

#[test]
fn refusals_are_sentences() {
    let mut text = [NotSetUp::NoClock, NotSetUp::WrongCode]
        .map(|why| why.to_string())
        .join("\n");
    for why in [
        Refused::Missing,
        Refused::Wrong,
        Refused::Replayed,
        Refused::NoClock,
    ] {
        text += &format!("\n{why}");
    }
    insta::assert_snapshot!(text);
}

proptest! {
    #[test]
    fn nothing_typed_breaks_the_check_or_gets_in(typed: String, clock in any::<Option<u32>>()) {
        let (factor, codes) = set_up(NOW);
        let clock = clock.map(|seconds| Wall(seconds.into()));
        let (_, answer) = factor.check(&typed, clock).kept();
        prop_assert!(answer.is_err());
        prop_assert_eq!(codes[0].reveal().len(), 11);
    }

    #[test]
    fn no_code_is_taken_twice_whatever_the_clock_does(clocks in prop::collection::vec(0..400_u64, 1..40)) {
        let (mut factor, _) = set_up(NOW);
        let mut taken = std::collections::BTreeSet::new();
        for seconds in clocks {
            let now = later(seconds).unwrap();
            let (next, answer) = factor.check(&code_at(now.0), Some(now)).kept();
            factor = next;
            if answer.is_ok() {
                prop_assert!(taken.insert(now.0 / STEP));
            }
        }
    }
}
