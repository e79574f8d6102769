//! `roost pair` and `roost reset`, against a box made of real TLS and HTTP with scripted answers.

use crate::laptop::{BOX, LAPTOP, Laptop, screen, words};
use crate::made_up::report;
use crate::server::Server;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const PASSWORD: &str = "wobbly lantern orbits quietly";

type Seen = Arc<Mutex<Vec<(String, Value)>>>;

/// What a box without or with an owner says of itself.
fn hello(paired: bool) -> Value {
    json!({ "name": "attic", "version": "0.1.0+14", "api": 1, "paired": paired, "needs_mailbox": false })
}

/// A box's door for everybody, and what it was asked.
fn attic(
    seed: u8,
    paired: bool,
    mut other: impl FnMut(&str, &Value) -> (u16, Value) + Send + 'static,
) -> (Server, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let server = Server::http(seed, None, move |method, path, body| {
        let asked = format!("{method} {path}");
        let answer = match asked.as_str() {
            "GET /api/v1/hello" => (200, hello(paired)),
            asked => other(asked, &body),
        };
        log.lock().unwrap().push((asked, body));
        answer
    });
    (server, seen)
}

fn stranger() -> Laptop {
    let laptop = Laptop::new();
    laptop.forget_all();
    std::fs::write(laptop.dir().join("pw"), format!("{PASSWORD}\n")).unwrap();
    laptop
}

fn pair(laptop: &Laptop, server: &Server, options: &[&str]) -> std::process::Output {
    let at = format!("127.0.0.1:{}", server.port);
    let mut args = vec!["pair", &at, "--laptop", "desk", "--password-file", "pw"];
    args.extend(options);
    laptop.command(&args).output().unwrap()
}

fn asked(seen: &Seen) -> Vec<String> {
    let seen = seen.lock().unwrap();
    seen.iter().map(|(asked, _)| asked.clone()).collect()
}

#[test]
fn the_card_that_was_flashed_here_is_paired_without_a_question() {
    let laptop = stranger();
    let (server, seen) = attic(BOX, false, |asked, _| {
        assert_eq!(asked, "POST /api/v1/pair");
        let answer = json!({ "name": "attic", "account": "alice@example.org", "mail_password": "pass-word" });
        (201, answer)
    });
    let web = format!("127.0.0.1:{}", server.port);
    laptop.flashed("attic", Some(web), BOX);
    let args = ["pair", "--laptop", "desk", "--password-file", "pw"];
    let out = laptop.command(&args).output().unwrap();
    insta::assert_snapshot!(screen(&laptop, server.port, &out));
    let kept = laptop.kept("boxes");
    assert_eq!(
        (&kept[0]["name"], &kept[0]["laptop"]),
        (&json!("attic"), &json!("desk"))
    );
    assert_eq!(kept[0].get("pending"), None);
    assert!(laptop.kept("cards").is_empty(), "the code is used up");
    let seen = seen.lock().unwrap();
    let (_, body) = seen.last().unwrap();
    assert_eq!(
        (&body["code"], &body["password"]),
        (&json!("A0B1C2D3"), &json!(PASSWORD))
    );
    assert_eq!(body["laptop"]["name"], "desk");
    assert_eq!(body["laptop"]["key"].as_str().unwrap().len(), 64);
    assert_ne!(
        body["laptop"]["key"], kept[0]["key"],
        "the secret half stays here"
    );
}

/// The API of a box that knows this laptop, or not.
fn api(seed: u8, knows: u8) -> Server {
    Server::http(seed, Some(knows), |_, path, _| match path {
        "/api/v1/hello" => (200, hello(true)),
        _ => {
            let desk = json!({ "name": "desk", "key": "d4".repeat(32), "paired": null, "seen": null, "this": true });
            (200, json!({ "laptops": [desk] }))
        }
    })
}

/// What a command without any option does with the box of the one card that was flashed here.
fn list(laptop: &Laptop) -> std::process::Output {
    laptop.command(&["pair", "--list"]).output().unwrap()
}

#[test]
fn the_box_of_the_card_that_was_flashed_here_knows_this_laptop_by_itself() {
    let laptop = stranger();
    let knows = api(BOX, LAPTOP);
    let port = knows.port;
    // Nobody is its owner yet: nothing is tried, and nothing written down.
    let (pages, seen) = attic(BOX, false, |asked, _| panic!("{asked}"));
    laptop.flashed_for_itself("attic", pages.port, port, BOX);
    let out = list(&laptop);
    let text = screen(&laptop, port, &out).replace(&pages.port.to_string(), "PAGES");
    insta::assert_snapshot!("no_owner_yet", text);
    assert_eq!(asked(&seen), ["GET /api/v1/hello"]);
    assert!(laptop.kept("boxes").is_empty());
    drop(pages);
    // Somebody became the owner, in a browser.
    let (pages, _) = attic(BOX, true, |asked, _| panic!("{asked}"));
    laptop.flashed_for_itself("attic", pages.port, port, BOX);
    let out = list(&laptop);
    insta::assert_snapshot!("owned_meanwhile", screen(&laptop, port, &out));
    let kept = laptop.kept("boxes");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["address"], format!("127.0.0.1:{port}"));
    assert_eq!(kept[0].get("pending"), None);
    assert!(laptop.kept("cards").is_empty());
    // From then on as any other: the pages are not needed.
    drop(pages);
    let out = list(&laptop);
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
}

#[test]
fn a_box_that_threw_this_laptop_out_or_is_another_is_not_remembered() {
    let laptop = stranger();
    // It takes another key.
    let knows = api(BOX, LAPTOP + 1);
    let (pages, _) = attic(BOX, true, |asked, _| panic!("{asked}"));
    laptop.flashed_for_itself("attic", pages.port, knows.port, BOX);
    let out = list(&laptop);
    insta::assert_snapshot!("thrown_out", screen(&laptop, knows.port, &out));
    // Another certificate: not even the pages are asked.
    let (other, seen) = attic(BOX + 1, true, |asked, _| panic!("{asked}"));
    laptop.flashed_for_itself("attic", other.port, knows.port, BOX);
    let out = list(&laptop);
    insta::assert_snapshot!("not_that_box", screen(&laptop, knows.port, &out));
    assert!(asked(&seen).is_empty());
    assert!(laptop.kept("boxes").is_empty());
    assert_eq!(laptop.kept("cards").len(), 1);
}

/// A card that was flashed again is the box of that name from then on.
#[test]
fn a_box_whose_card_was_written_anew_is_known_by_the_new_one() {
    let laptop = stranger();
    let knows = api(BOX + 1, LAPTOP);
    let (pages, _) = attic(BOX + 1, true, |asked, _| panic!("{asked}"));
    laptop.know("attic", &format!("127.0.0.1:{}", knows.port), BOX);
    laptop.flashed_for_itself("attic", pages.port, knows.port, BOX + 1);
    let out = list(&laptop);
    assert!(out.status.success(), "{out:?}");
    let kept: Vec<_> = laptop.kept("boxes");
    assert!(
        kept.iter()
            .any(|kept| kept.get("pending").is_none()
                && kept["certificate"] != kept_certificate(BOX)),
        "{kept:?}"
    );
}

fn kept_certificate(seed: u8) -> Value {
    pem::encode(&pem::Pem::new(
        "CERTIFICATE",
        crate::server::identity(seed).0,
    ))
    .into()
}

#[test]
fn pairing_uses_the_key_on_the_card_and_asks_nothing_of_a_box_that_has_it() {
    use crate::server::public;
    let laptop = stranger();
    let nobody = api(BOX, LAPTOP + 1);
    let (pages, seen) = attic(BOX, false, |_, _| {
        (
            201,
            json!({ "name": "attic", "account": "alice@example.org" }),
        )
    });
    laptop.flashed_for_itself("attic", pages.port, nobody.port, BOX);
    let args = ["pair", "--laptop", "desk", "--password-file", "pw"];
    let out = laptop.command(&args).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let sent = seen.lock().unwrap().last().unwrap().1.clone();
    assert_eq!(sent["laptop"]["key"], hex::encode(public(LAPTOP)));
    // The owner was made in a browser.
    let laptop = stranger();
    let knows = api(BOX, LAPTOP);
    let (pages, _) = attic(BOX, true, |asked, _| panic!("{asked}"));
    laptop.flashed_for_itself("attic", pages.port, knows.port, BOX);
    let out = laptop.command(&["pair"]).output().unwrap();
    insta::assert_snapshot!("paired_by_the_card", screen(&laptop, knows.port, &out));
    assert_eq!(
        (laptop.kept("boxes").len(), laptop.kept("cards").len()),
        (1, 0)
    );
}

#[test]
fn a_strange_box_must_be_vouched_for() {
    let laptop = stranger();
    let (server, seen) = attic(BOX, false, |_, _| {
        (201, json!({ "name": "attic", "account": "a@b.example" }))
    });
    let out = pair(&laptop, &server, &["--code", "A0B1-C2D3"]);
    insta::assert_snapshot!("nobody_vouches", screen(&laptop, server.port, &out));
    let other = words(BOX + 1);
    let out = pair(
        &laptop,
        &server,
        &["--code", "A0B1-C2D3", "--fingerprint", &other],
    );
    insta::assert_snapshot!("other_words", screen(&laptop, server.port, &out));
    let out = pair(
        &laptop,
        &server,
        &["--code", "A0B1-C2D3", "--fingerprint", "abc"],
    );
    insta::assert_snapshot!("no_words", screen(&laptop, server.port, &out));
    assert_eq!(
        asked(&seen),
        ["GET /api/v1/hello"; 3],
        "neither code nor password was sent"
    );
    let mine = words(BOX);
    let out = pair(
        &laptop,
        &server,
        &["--code", "A0B1-C2D3", "--fingerprint", &mine],
    );
    assert!(out.status.success(), "{out:?}");
}

#[test]
fn a_changed_certificate_gets_neither_code_nor_password() {
    let laptop = stranger();
    laptop.know("attic", "attic.local", BOX);
    let (server, seen) = attic(BOX + 1, true, |asked, _| panic!("{asked}"));
    let out = pair(&laptop, &server, &[]);
    insta::assert_snapshot!(
        "changed_since_the_pairing",
        screen(&laptop, server.port, &out)
    );
    laptop.forget_all();
    laptop.flashed("attic", None, BOX);
    let out = pair(&laptop, &server, &["--code", "A0B1C2D3"]);
    insta::assert_snapshot!("not_the_flashed_card", screen(&laptop, server.port, &out));
    assert_eq!(asked(&seen), ["GET /api/v1/hello"; 2]);
}

#[test]
fn what_the_box_refuses_is_told_in_its_words() {
    let laptop = stranger();
    let mut refusals = vec![
        (403, json!({ "code": "wrong_code", "what": "the box was not paired", "because": "this is not the code of this box; 4 tries are left before you have to wait", "hint": "`roost flash` showed the code when it wrote the card; a screen on the box shows it too" })),
        (429, json!({ "code": "wait", "what": "the box was not paired", "because": "too many wrong codes were entered, here or in another browser; you can try again in 30 seconds", "wait_s": 30 })),
        (410, json!({ "code": "expired", "what": "the box was not paired", "because": "the pairing code has expired", "hint": "a screen on the box shows a new one" })),
        (500, json!("no error of ours")),
    ]
    .into_iter();
    let (server, _) = attic(BOX, false, move |_, _| refusals.next().unwrap());
    let words = words(BOX);
    for name in [
        "wrong_code",
        "too_many_codes",
        "expired",
        "no_error_of_ours",
    ] {
        let out = pair(
            &laptop,
            &server,
            &["--code", "A0B1-C2D3", "--fingerprint", &words],
        );
        insta::assert_snapshot!(name, screen(&laptop, server.port, &out));
    }
    let left: Vec<_> = laptop
        .kept("boxes")
        .into_iter()
        .filter(|b| b["pending"] != true)
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_box_with_an_owner_wants_the_password_and_no_code() {
    let laptop = stranger();
    let (server, seen) = attic(BOX, true, |asked, body| {
        assert_eq!(asked, "POST /api/v1/laptops");
        match body["second"].as_str() {
            None => (
                401,
                json!({ "code": "second_needed", "what": "the box does not take your word for it", "because": "enter the code that the app shows, or a recovery code", "hint": "add the code: --second DIGITS" }),
            ),
            Some(_) => (201, json!({ "name": "attic" })),
        }
    });
    let words = words(BOX);
    let out = pair(
        &laptop,
        &server,
        &["--fingerprint", &words, "--code", "A0B1-C2D3"],
    );
    insta::assert_snapshot!("the_code_is_used_up", screen(&laptop, server.port, &out));
    let out = pair(&laptop, &server, &["--fingerprint", &words]);
    insta::assert_snapshot!("second_needed", screen(&laptop, server.port, &out));
    let out = pair(
        &laptop,
        &server,
        &["--fingerprint", &words, "--second", "123456"],
    );
    insta::assert_snapshot!("joined", screen(&laptop, server.port, &out));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.last().unwrap().1["password"], PASSWORD);
}

#[test]
fn computers_are_listed_and_revoked() {
    let laptop = Laptop::new();
    let seen = Seen::default();
    let log = seen.clone();
    let server = Server::http(BOX, Some(LAPTOP), move |method, path, body| {
        log.lock().unwrap().push((format!("{method} {path}"), body));
        match method {
            "GET" => {
                let one = |name: &str, key: &str, this| json!({ "name": name, "key": key.repeat(32), "paired": "2026-11-26 00:00:00 UTC", "seen": null, "this": this });
                (
                    200,
                    json!({ "laptops": [one("couch\u{1b}[2J", "c3", false), one("desk", "d4", true)] }),
                )
            }
            _ => (204, Value::Null),
        }
    });
    let list = laptop.roost(server.port, &["pair", "--list"]);
    insta::assert_snapshot!("listed", screen(&laptop, server.port, &list));
    let unasked = laptop.roost(server.port, &["pair", "--revoke", "desk"]);
    insta::assert_snapshot!("revoke_unasked", screen(&laptop, server.port, &unasked));
    let unknown = laptop.roost(server.port, &["pair", "--revoke", "sofa", "--yes"]);
    insta::assert_snapshot!("revoke_unknown", screen(&laptop, server.port, &unknown));
    let other = laptop.roost(server.port, &["pair", "--revoke", "c3c3c3c3", "--yes"]);
    insta::assert_snapshot!("revoked", screen(&laptop, server.port, &other));
    assert_eq!(laptop.kept("boxes").len(), 1);
    let own = laptop.roost(server.port, &["pair", "--revoke", "desk", "--yes"]);
    assert!(own.status.success());
    assert!(laptop.kept("boxes").is_empty(), "it knows that it is out");
    let deleted: Vec<String> = asked(&seen)
        .into_iter()
        .filter(|a| a.starts_with('D'))
        .collect();
    let path = |key: &str| format!("DELETE /api/v1/laptops/{}", key.repeat(32));
    assert_eq!(deleted, [path("c3"), path("d4")]);
}

/// The status comes over the upgrade; only then is anything asked of anybody.
#[test]
fn a_reset_wants_the_boxs_name() {
    let laptop = Laptop::new();
    let server = crate::quiet_box(report());
    let out = laptop.roost(server.port, &["reset"]);
    insta::assert_snapshot!("reset_unasked", screen(&laptop, server.port, &out));
    let out = laptop.roost(server.port, &["reset", "--confirm", "cellar"]);
    insta::assert_snapshot!("reset_of_another", screen(&laptop, server.port, &out));
}
