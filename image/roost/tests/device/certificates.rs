//! `roost certificates`, against a box that answers single requests.

use crate::laptop::{BOX, LAPTOP, Laptop, screen};
use crate::server::Server;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What was asked: method, path, body.
type Heard = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A box with this choice; it takes what it is told, unless that is about `example.net`.
fn with_choice(choice: Value) -> (Server, Heard) {
    let heard = Heard::default();
    let kept = heard.clone();
    let server = Server::http(BOX, Some(LAPTOP), move |method, path, body| {
        kept.lock()
            .unwrap()
            .push((method.to_owned(), path.to_owned(), body));
        match (method, path) {
            ("GET", "/api/v1/certificates") => (
                200,
                json!({
                    "summary": "It is not chosen yet how to get certificates.", "choice": choice,
                    "mail_host": "mail.example.org", "domains": ["example.org"],
                    "directory": null, "account": null, "certificates": [],
                }),
            ),
            (_, path) if path.contains("example.net") => (
                422,
                json!({
                    "code": "certificates_refused", "what": "the certificate service refuses",
                    "because": "there is no certificate \"example.net\"",
                }),
            ),
            _ => (204, Value::Null),
        }
    });
    (server, heard)
}

fn told(heard: &Heard) -> Vec<(String, String, Value)> {
    let mut heard = heard.lock().unwrap();
    heard.retain(|(method, ..)| method != "GET");
    std::mem::take(&mut *heard)
}

fn put(body: Value) -> (String, String, Value) {
    ("PUT".into(), "/api/v1/certificates".into(), body)
}

#[test]
fn consent_is_asked_for_and_nothing_happens_without() {
    let laptop = Laptop::new();
    let (server, heard) = with_choice(Value::Null);
    let out = laptop.roost(server.port, &["certificates", "agree"]);
    insta::assert_snapshot!("certificates_unasked", screen(&laptop, server.port, &out));
    let args = ["certificates", "agree"];
    let (code, text) = laptop.on_a_terminal(server.port, &args, "n");
    assert_eq!(code, Some(130), "{text}");
    assert!(
        text.contains("https://letsencrypt.org/repository/"),
        "{text}"
    );
    assert_eq!(told(&heard), []);
    let (code, text) = laptop.on_a_terminal(server.port, &args, "y");
    assert_eq!(code, Some(0), "{text}");
    let agreed = json!({
        "directory": "lets_encrypt", "terms_agreed": true, "portal": null, "contact": null,
        "profile": null, "roots_pem": null,
    });
    assert_eq!(told(&heard), [put(agreed)]);
}

#[test]
fn what_is_not_said_stays() {
    let laptop = Laptop::new();
    let before = json!({
        "directory": "lets_encrypt", "terms_agreed": true, "portal": "box.example.org",
        "contact": "me@example.net", "profile": "shortlived", "roots_pem": null,
    });
    let (server, heard) = with_choice(before.clone());
    let pem = laptop.dir().join("ca.pem");
    std::fs::write(&pem, "PEM").unwrap();
    let with = |changes: Value| {
        let mut choice = before.clone();
        let fields = choice.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        put(choice)
    };
    let pem = pem.display().to_string();
    let other = ["--directory", "https://ca.example", "--roots", &pem];
    let other = [&["certificates", "agree", "--yes"], &other[..]].concat();
    for (args, expected) in [
        (
            &["certificates", "agree", "--yes", "--staging"][..],
            with(json!({ "directory": "lets_encrypt_staging", "profile": null })),
        ),
        (
            &other,
            with(
                json!({ "directory": { "url": "https://ca.example" }, "profile": null, "roots_pem": "PEM" }),
            ),
        ),
        (
            &["certificates", "set", "--portal", "Web.example.org"],
            with(json!({ "portal": "web.example.org" })),
        ),
        (
            &["certificates", "set", "--no-contact", "--no-profile"],
            with(json!({ "contact": null, "profile": null })),
        ),
    ] {
        let out = laptop.roost(server.port, args);
        assert!(
            out.status.success(),
            "{}",
            screen(&laptop, server.port, &out)
        );
        assert_eq!(told(&heard), [expected]);
    }
}

#[test]
fn orders_reach_the_box_and_refusals_are_told() {
    let laptop = Laptop::new();
    let (server, heard) = with_choice(Value::Null);
    let mut shown = String::new();
    for args in [
        &["show"][..],
        &["renew"],
        &["switch-key", "example.org"],
        &["revoke", "mail"],
        &["revoke", "mail", "--key-compromised", "--yes"],
        &["renew", "example.net"],
        &["renew", "../reset"],
        &["set"],
        &["agree", "--roots", "ca.pem"],
        &[
            "agree",
            "--directory",
            "https://ca.example",
            "--roots",
            "ca.pem",
        ],
    ] {
        let args = [&["certificates"], args].concat();
        let out = laptop.roost(server.port, &args);
        let screen = screen(&laptop, server.port, &out);
        shown += &format!("$ roost {}\n{screen}\n", args.join(" "));
    }
    insta::assert_snapshot!("certificates_orders", shown);
    let order = |what: &str, body| {
        let path = format!("/api/v1/certificates/{what}");
        ("POST".to_owned(), path, body)
    };
    assert_eq!(
        told(&heard),
        [
            order("mail/renew", Value::Null),
            order("example.org/switch-key", Value::Null),
            order("mail/revoke", json!({ "key_compromised": true })),
            order("example.net/renew", Value::Null),
        ]
    );
}

#[test]
fn show_as_json_is_what_the_box_says() {
    let laptop = Laptop::new();
    let (server, _) = with_choice(json!({ "terms_agreed": true }));
    let out = laptop.roost(server.port, &["certificates", "show", "--json"]);
    let last = std::str::from_utf8(&out.stdout).unwrap().lines().last();
    let event: Value = serde_json::from_str(last.unwrap()).unwrap();
    assert_eq!(event["event"], "result");
    assert_eq!(event["choice"]["terms_agreed"], true);
    assert_eq!(event["mail_host"], "mail.example.org");
}
