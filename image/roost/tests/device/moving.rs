//! `roost import` into a box: its API is played, its mail server is Dovecot.

use crate::dovecot::{Dovecot, PASSWORD, Setup};
use crate::laptop::{BOX, LAPTOP, Laptop, screen};
use crate::server::Server;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What was asked for and changes something: method and path.
type Heard = Arc<Mutex<Vec<String>>>;

/// A box whose mail server is this one, or pretends to be it.
fn with_mail(certificate: String) -> (Server, Heard) {
    let heard = Heard::default();
    let kept = heard.clone();
    let passwords = "/api/v1/mail/accounts/bob/app-passwords";
    let server = Server::http(BOX, Some(LAPTOP), move |method, path, body: Value| {
        if method != "GET" {
            kept.lock().unwrap().push(format!("{method} {path} {body}"));
        }
        match (method, path) {
            ("GET", "/api/v1/mail/accounts") => (
                200,
                json!({
                    "host": "mail.example.org",
                    "accounts": [
                        {"name": "alice", "display_name": "", "first": true, "addresses": ["alice@example.org"], "quota": null, "used": 0, "app_passwords": 0},
                        {"name": "bob", "display_name": "", "first": false, "addresses": ["bob@example.org"], "quota": null, "used": 0, "app_passwords": 2},
                    ],
                }),
            ),
            ("GET", "/api/v1/mail/certificate") => (200, json!({ "sha256": certificate })),
            ("GET", path) if path == passwords => (
                200,
                json!({"app_passwords": [
                    {"id": "1", "label": "phone", "made": 0},
                    {"id": "2", "label": "roost import on desk", "made": 0},
                ]}),
            ),
            ("POST", path) if path == passwords => (201, json!({"id": "3", "password": PASSWORD})),
            ("DELETE", path) if path.starts_with(passwords) => (204, Value::Null),
            other => panic!("{other:?} was not expected"),
        }
    });
    (server, heard)
}

fn told(heard: &Heard) -> String {
    std::mem::take(&mut *heard.lock().unwrap()).join("\n")
}

#[test]
fn mail_moves_into_an_account_of_the_box_without_its_password() {
    let (laptop, dovecot) = (
        Laptop::new(),
        Dovecot::start(Setup {
            like_the_box: true,
            ..Setup::default()
        }),
    );
    let (server, heard) = with_mail(dovecot.fingerprint.clone());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.mbox");
    std::fs::write(
        &file,
        "From - Fri Nov 27 08:50:09 2026\nMessage-ID: <1@x>\n\nHello\n",
    )
    .unwrap();
    let (file, port) = (file.display().to_string(), dovecot.imaps.to_string());
    let args = [
        "import",
        &file,
        "--account",
        "bob@example.org",
        "--imap-port",
        &port,
    ];
    let out = laptop.roost(server.port, &args);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(dovecot.mail("bob")["letters"].len(), 1);
    // What a killed command has left is taken back too, and nothing else.
    insta::assert_snapshot!(told(&heard), @r#"
    DELETE /api/v1/mail/accounts/bob/app-passwords/2 null
    POST /api/v1/mail/accounts/bob/app-passwords {"label":"roost import on desk"}
    DELETE /api/v1/mail/accounts/bob/app-passwords/3 null
    "#);
    let out = laptop.roost(
        server.port,
        &["import", &file, "--account", "zoe", "--imap-port", &port],
    );
    insta::assert_snapshot!("import_no_such_account", screen(&laptop, server.port, &out));
    assert_eq!(told(&heard), "");
}

#[test]
fn another_mail_server_in_the_boxs_place_gets_no_password() {
    let (laptop, dovecot) = (Laptop::new(), Dovecot::start(Setup::default()));
    let (server, heard) = with_mail("00".repeat(32));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("a"),
        "From - Fri Nov 27 08:50:09 2026\n\nHello\n",
    )
    .unwrap();
    let (from, port) = (
        folder.path().display().to_string(),
        dovecot.imaps.to_string(),
    );
    let out = laptop.roost(
        server.port,
        &["import", &from, "--account", "bob", "--imap-port", &port],
    );
    assert_eq!(out.status.code(), Some(1));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"([0-9A-F]{2}:){15}[0-9A-F]{2}", "[16 bytes]");
    settings
        .bind(|| insta::assert_snapshot!("import_impostor", screen(&laptop, server.port, &out)));
    assert!(
        told(&heard).ends_with("DELETE /api/v1/mail/accounts/bob/app-passwords/3 null"),
        "it is taken back all the same"
    );
    assert!(!dovecot.log().contains("Login:"));
}
