//! Lines that break, programs that are killed: nothing is lost, and nothing comes twice.

use super::dovecot::{Dovecot, Mail, Setup};
use super::proxy::Proxy;
use super::{Place, assert_same, import, new_server, sum, told};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const MESSAGES: usize = 120;

/// Many messages, some of which look like others.
fn many() -> Dovecot {
    let old = Dovecot::start(Setup::default());
    old.folders("alice", &["INBOX", "Work", "Work/Old"]);
    for number in 0..MESSAGES {
        let folder = ["INBOX", "Work", "Work/Old"][number % 3];
        let body = "x".repeat(500 + number * 37 % 4000);
        // Every fourth has the id and the size of another one.
        let id = if number % 4 == 3 { number - 3 } else { number };
        let text = format!("Message-ID: <{id}@x>\nX-Number: {number:05}\n\n{body}\n");
        old.put(
            "alice",
            folder,
            (1_500_000_000 + number as i64, "Sb"),
            text.as_bytes(),
        );
    }
    old
}

fn all(mail: &Mail) -> usize {
    mail.values().map(Vec::len).sum()
}

/// Only the folders that there were.
fn without_own(mut mail: Mail) -> Mail {
    mail.retain(|_, kept| !kept.is_empty());
    mail
}

#[test]
fn a_line_to_the_old_server_that_breaks_is_made_again() {
    let old = many();
    for bytes in [9_000, 40_000, 77_777] {
        let (new, place) = (new_server(), Place::new());
        // The second import of three has no memory of the first.
        let proxy = Proxy::start(old.imaps, &[bytes, bytes + 3_000, 60_000, 30_000]);
        let (from, to) = (
            format!("imaps://alice@127.0.0.1:{}", proxy.port),
            new.url("bob"),
        );
        let args = import(&from, &old, &to, &new);
        let done = place.run(&args);
        assert!(done.status.success(), "{}", told(&done));
        assert!(
            proxy.connections.load(Ordering::Relaxed) >= 3,
            "it was never cut"
        );
        assert_same(
            &without_own(old.mail("alice")),
            &without_own(new.mail("bob")),
        );
    }
}

#[test]
fn a_line_to_the_new_server_that_breaks_is_made_again() {
    let old = many();
    for bytes in [7_000, 31_234, 55_555] {
        let (new, place) = (new_server(), Place::new());
        let proxy = Proxy::start(new.imaps, &[bytes, bytes + 20_000, 90_000, 45_000]);
        let (from, to) = (
            old.url("alice"),
            format!("imaps://bob@127.0.0.1:{}", proxy.port),
        );
        let args = import(&from, &old, &to, &new);
        let done = place.run(&args);
        assert!(done.status.success(), "{}", told(&done));
        assert!(
            proxy.connections.load(Ordering::Relaxed) >= 3,
            "it was never cut"
        );
        assert_same(
            &without_own(old.mail("alice")),
            &without_own(new.mail("bob")),
        );
    }
}

/// However often it is killed or stopped, with its memory or without.
#[test]
fn an_import_that_is_killed_goes_on_where_it_ended() {
    let (old, new, place) = (many(), new_server(), Place::new());
    let (from, to) = (old.url("alice"), new.url("bob"));
    let args = import(&from, &old, &to, &new);
    let mut cut = 0;
    for round in 0..12 {
        let mut child = place.start(&args);
        let before = all(&new.mail("bob"));
        // Until some more are there.
        let began = Instant::now();
        while child.try_wait().unwrap().is_none()
            && all(&new.mail("bob")) < before + 5
            && began.elapsed() < Duration::from_secs(60)
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        if child.try_wait().unwrap().is_none() {
            cut += 1;
            let signal = if round % 2 == 0 { "-KILL" } else { "-INT" };
            Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status()
                .unwrap();
        }
        let ended = child.wait_with_output().unwrap();
        if round % 2 == 1 && ended.status.code() == Some(130) {
            assert!(
                told(&ended).contains("goes on where it ended"),
                "{}",
                told(&ended)
            );
        }
        if round % 4 == 0 {
            place.forget();
        }
    }
    assert!(cut >= 3, "it was hardly ever cut ({cut})");
    let (result, ok) = place.json(&args);
    assert!(ok, "{result:#}");
    assert_eq!(
        sum(&result, "moved") + sum(&result, "there"),
        MESSAGES as u64
    );
    assert_same(
        &without_own(old.mail("alice")),
        &without_own(new.mail("bob")),
    );
}

/// What a server cannot give, or does not survive, is passed over and said.
#[test]
fn a_message_that_ends_every_connection_is_passed_over() {
    let old = Dovecot::start(Setup::default());
    old.folders("alice", &["INBOX"]);
    for number in 0..3 {
        let body = if number == 1 {
            "y".repeat(200_000)
        } else {
            "x".to_owned()
        };
        let text = format!("Message-ID: <{number}@x>\n\n{body}\n");
        old.put(
            "alice",
            "INBOX",
            (1_500_000_000 + number, ""),
            text.as_bytes(),
        );
    }
    let (new, place) = (new_server(), Place::new());
    // No connection has enough bytes for it.
    let proxy = Proxy::start(old.imaps, &[100_000; 50]);
    let (from, to) = (
        format!("imaps://alice@127.0.0.1:{}", proxy.port),
        new.url("bob"),
    );
    let (result, ok) = place.json(&import(&from, &old, &to, &new));
    assert!(!ok);
    assert_eq!(
        (sum(&result, "moved"), sum(&result, "refused")),
        (2, 1),
        "{result:#}"
    );
    assert!(
        result["troubles"][0]["why"]
            .as_str()
            .unwrap()
            .contains("the connection ended 3 times"),
        "{result:#}"
    );
}
