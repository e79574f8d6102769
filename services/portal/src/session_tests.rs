use super::*;
use proptest::prelude::*;

fn at(seconds: u64) -> Now {
    Now {
        powered_on: PoweredOn(seconds),
        wall: None,
    }
}

fn place() -> Place {
    Place {
        from: "192.168.1.20".parse().unwrap(),
        browser: Browser::recognise("(X11; Linux) Firefox/140.0"),
    }
}

fn sign_in(sessions: &mut Sessions, old: Option<&SecretToken>, n: u8, now: u64) -> SecretToken {
    let by = Authenticated::new(SignedInBy::Password);
    sessions.open(by, old, [n; 32], place(), at(now))
}

fn is_in(sessions: &Sessions, token: &SecretToken, now: u64) -> bool {
    sessions.find(token, PoweredOn(now)).is_some()
}

#[test]
fn a_session_begins_with_a_sign_in_and_ends_with_a_sign_out() {
    let mut sessions = Sessions::default();
    let token = sign_in(&mut sessions, None, 1, 0);
    assert!(is_in(&sessions, &token, 1));
    assert!(!is_in(&sessions, &SecretToken::from_random([2; 32]), 1));
    assert!(sessions.close(&token) && !sessions.close(&token));
    assert!(!is_in(&sessions, &token, 1));
}

#[test]
fn a_planted_token_never_becomes_the_owners() {
    let mut sessions = Sessions::default();
    // The attacker is signed in (a former flatmate) and plants the own cookie in the owner's browser.
    let planted = sign_in(&mut sessions, None, 1, 0);
    let token = sign_in(&mut sessions, Some(&planted), 2, 10);
    assert!(!is_in(&sessions, &planted, 11), "ended");
    assert!(is_in(&sessions, &token, 11));
    // So is one that never was a session.
    let made_up = SecretToken::from_random([9; 32]);
    let token = sign_in(&mut sessions, Some(&made_up), 3, 12);
    assert!(!is_in(&sessions, &made_up, 13) && is_in(&sessions, &token, 13));
}

#[test]
fn sessions_end_when_idle_and_after_a_day() {
    let mut sessions = Sessions::default();
    let token = sign_in(&mut sessions, None, 1, 0);
    assert!(is_in(&sessions, &token, IDLE.as_secs() - 1));
    assert!(!is_in(&sessions, &token, IDLE.as_secs()));
    assert!(
        !sessions.used(&token, at(IDLE.as_secs())),
        "a click does not wake it"
    );
    let token = sign_in(&mut sessions, None, 2, 0);
    for now in (0..LIFE.as_secs()).step_by(1_800) {
        assert!(is_in(&sessions, &token, now));
        sessions.used(&token, at(now));
    }
    assert!(!is_in(&sessions, &token, LIFE.as_secs()));
    assert_eq!(sessions.list(PoweredOn(LIFE.as_secs())).count(), 0);
}

#[test]
fn clicks_are_written_down_sparingly() {
    let mut sessions = Sessions::default();
    let token = sign_in(&mut sessions, None, 1, 0);
    let written = (0..3_600)
        .filter(|now| sessions.used(&token, at(*now)))
        .count();
    assert_eq!(written, 11);
}

#[test]
fn the_list_shows_them_and_ends_one_or_all_others() {
    let mut sessions = Sessions::default();
    let one = sign_in(&mut sessions, None, 1, 0);
    let two = sign_in(&mut sessions, None, 2, 1);
    let three = sign_in(&mut sessions, None, 3, 2);
    let ids: Vec<u64> = sessions
        .list(PoweredOn(3))
        .map(|session| session.id.0)
        .collect();
    assert_eq!(ids, [2, 1, 0]);
    assert!(sessions.revoke(SessionId(1)) && !sessions.revoke(SessionId(1)));
    assert!(!is_in(&sessions, &two, 3));
    assert!(sessions.revoke_others(Some(&three)));
    assert!(!is_in(&sessions, &one, 3) && is_in(&sessions, &three, 3));
    assert!(sessions.revoke_others(None));
    assert_eq!(sessions.list(PoweredOn(3)).count(), 0);
    let four = sign_in(&mut sessions, None, 4, 4);
    let list: Vec<_> = sessions.list(PoweredOn(5)).collect();
    assert_eq!(list[0].id, SessionId(3), "a name is not used again");
    assert_eq!(list[0].browser.to_string(), "Firefox on Linux");
    assert!(is_in(&sessions, &four, 5));
}

#[test]
fn sessions_outlive_a_restart_and_the_store_holds_no_token() {
    let mut sessions = Sessions::default();
    let token = sign_in(&mut sessions, None, 1, 1_000);
    let json = serde_json::to_string(&sessions).unwrap();
    assert!(!json.contains(token.to_text().as_str()));
    let sessions: Sessions = serde_json::from_str(&json).unwrap();
    // The power cut took some minutes back.
    assert!(is_in(&sessions, &token, 500));
}

proptest! {
    #[test]
    fn their_number_is_bounded_and_only_the_idlest_goes(steps in prop::collection::vec((any::<u8>(), 0..600_u64), 1..80)) {
        let mut sessions = Sessions::default();
        let mut now = 0;
        for (n, later) in steps {
            now += later;
            let token = sign_in(&mut sessions, None, n, now);
            prop_assert!(is_in(&sessions, &token, now));
            prop_assert!(sessions.list.len() <= MAX_SESSIONS);
        }
    }
}
