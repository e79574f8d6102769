//! What stops an import before it begins, and what stops single messages.

use super::dovecot::{Dovecot, Setup};
use super::{Place, import, snapshot, sum, told};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

#[test]
fn nobody_gets_a_password_without_being_known() {
    let (old, place) = (Dovecot::start(Setup::default()), Place::new());
    old.folders("alice", &["INBOX"]);
    let from = old.url("alice");
    let plain = Dovecot::start(Setup {
        plain: true,
        ..Setup::default()
    });
    let starttls = format!("imap://alice@127.0.0.1:{}", old.imap);
    let downgraded = format!("imap://alice@127.0.0.1:{}", plain.imap);
    let wrong = place.path().join("wrong").display().to_string();
    let other = "00".repeat(32);
    let known = [
        "--to",
        &from,
        "--to-fingerprint",
        &old.fingerprint,
        "--dry-run",
    ];
    let tries: [(&str, Vec<&str>); 7] = [
        ("untrusted", vec!["import", &from]),
        ("untrusted_starttls", vec!["import", &starttls]),
        (
            "another_certificate",
            vec!["import", &from, "--fingerprint", &other],
        ),
        (
            "wrong_password",
            vec![
                "import",
                &from,
                "--fingerprint",
                &old.fingerprint,
                "--password-file",
                &wrong,
            ],
        ),
        (
            "no_starttls",
            vec!["import", &downgraded, "--fingerprint", &plain.fingerprint],
        ),
        (
            "password_in_the_url",
            vec!["import", "imaps://alice:secret@mail.old.example"],
        ),
        ("no_server", vec!["import", "imaps://alice@127.0.0.1:1"]),
    ];
    for (name, args) in tries {
        let done = place.run(&[args, known.to_vec()].concat());
        assert!(!done.status.success());
        let told = told(&done);
        assert!(!told.contains("secret"), "{told}");
        snapshot(name, &told);
    }
    // The very same server over STARTTLS, once its certificate is known.
    let done = place.run(
        &[
            vec!["import", &starttls, "--fingerprint", &old.fingerprint],
            known.to_vec(),
        ]
        .concat(),
    );
    assert!(done.status.success(), "{}", told(&done));
    let log = old.log();
    assert!(
        !log.contains("secret") && log.matches("auth failed").count() == 1,
        "{log}"
    );
}

/// A server, or somebody in between, that wants to be told the password in the clear.
fn liar(says: &'static [u8]) -> (u16, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(says).unwrap();
        let mut heard = Vec::new();
        let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(10)));
        let mut buffer = [0; 1000];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            heard.extend(&buffer[..n]);
        }
        heard
    });
    (port, heard)
}

#[test]
fn encryption_is_not_talked_away() {
    let place = Place::new();
    for (name, says) in [
        ("preauth", b"* PREAUTH welcome\r\n".as_slice()),
        ("refused", b"* OK hello\r\nr1 NO not today\r\n"),
        // What is slipped in before the encryption would be taken for the server's own word (CVE-2011-0411).
        (
            "injected",
            b"* OK hello\r\nr1 OK begin\r\n* CAPABILITY IMAP4rev1\r\n",
        ),
        ("no_imap", b"220 mail.example.org ESMTP\r\n"),
    ] {
        let (port, heard) = liar(says);
        let url = format!("imap://alice@127.0.0.1:{port}");
        let done = place.run(&["import", &url, "--to", "imaps://a@127.0.0.1:1", "--dry-run"]);
        assert!(!done.status.success());
        snapshot(&format!("liar_{name}"), &told(&done));
        let heard = String::from_utf8_lossy(&heard.join().unwrap()).into_owned();
        assert!(heard == "r1 STARTTLS\r\n" || heard.is_empty(), "{heard:?}");
    }
}

#[test]
fn a_full_mailbox_is_said_and_the_rest_goes_on_later() {
    let old = Dovecot::start(Setup::default());
    let (place, small) = (
        Place::new(),
        Dovecot::start(Setup {
            like_the_box: true,
            quota_kb: Some(200),
            ..Setup::default()
        }),
    );
    old.folders("alice", &["INBOX"]);
    let message = |number: usize, bytes: usize| {
        format!("Message-ID: <{number}@x>\n\n{}\n", "x".repeat(bytes)).into_bytes()
    };
    // One that is larger than all room, among those that fit.
    for (number, bytes) in [1000, 500_000, 2000, 3000].into_iter().enumerate() {
        old.put(
            "alice",
            "INBOX",
            (1_500_000_000 + number as i64, "S"),
            &message(number, bytes),
        );
    }
    let (from, to) = (old.url("alice"), small.url("bob"));
    let args = import(&from, &old, &to, &small);
    let done = place.run(&args);
    assert_eq!(done.status.code(), Some(1));
    snapshot("one_too_large", &told(&done));
    assert_eq!(small.mail("bob")["INBOX"].len(), 3);

    // Then many that are too large.
    for number in 10..30 {
        old.put(
            "alice",
            "INBOX",
            (1_500_000_000 + number as i64, "S"),
            &message(number, 300_000),
        );
    }
    let done = place.run(&args);
    assert_eq!(done.status.code(), Some(1));
    snapshot("full", &told(&done));
    let (result, _) = place.json(&args);
    assert_eq!(
        (
            sum(&result, "there"),
            sum(&result, "refused"),
            sum(&result, "untried")
        ),
        (3, 10, 11),
        "{result:#}"
    );

    // With room, the rest goes, and nothing twice.
    let large = Dovecot::start(Setup {
        like_the_box: true,
        ..Setup::default()
    });
    let to = large.url("bob");
    let (result, ok) = place.json(&import(&from, &old, &to, &large));
    assert!(ok);
    assert_eq!(
        (sum(&result, "moved"), sum(&result, "refused")),
        (24, 0),
        "{result:#}"
    );
}
