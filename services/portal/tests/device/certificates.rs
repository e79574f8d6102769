//! What programs are told about certificates, and what they change there.

use super::*;
use crate::played_certificates::{PlayedCertificates, failing, zones};
use roost_service::certificates::{Call, Choice, Directory};

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_shown_chosen_renewed_and_revoked() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let mut shown = String::new();
    let silent = conn.ask("GET", "/api/v1/certificates", &[], None);
    shown += &told(&silent.await.unwrap());
    let service = PlayedCertificates::listen(&played.app.places.certificates);
    let choice = json!({ "terms_agreed": true, "directory": "lets_encrypt_staging", "contact": "me@example.net" });
    for (method, path, body) in [
        ("GET", "certificates", None),
        (
            "PUT",
            "certificates",
            Some(json!({ "directory": "lets_encrypt" })),
        ),
        (
            "PUT",
            "certificates",
            Some(json!({ "terms_agreed": true, "contact": "me" })),
        ),
        ("PUT", "certificates", Some(choice)),
        ("GET", "certificates", None),
        ("POST", "certificates/mail/renew", None),
        ("POST", "certificates/Example.ORG/switch-key", None),
        ("POST", "certificates/mail/revoke", Some(json!({}))),
        (
            "POST",
            "certificates/mail/revoke",
            Some(json!({ "key_compromised": true })),
        ),
        ("POST", "certificates/example.net/renew", None),
    ] {
        let to = format!("/api/v1/{path}");
        let answer = conn.ask(method, &to, &[], body).await.unwrap();
        shown += &format!("{method} {path}\n");
        match answer.0 {
            200..300 => shown += &format!("{} {:#}\n", answer.0, answer.1),
            _ => shown += &told(&answer),
        }
    }
    service.lock().status = failing();
    let answer = conn.ask("GET", "/api/v1/certificates", &[], None).await;
    shown += &format!("{:#}\n", answer.unwrap().1);
    insta::assert_snapshot!(shown);
    let id = |id: &str| id.to_owned();
    let choice = Box::new(Choice {
        directory: Directory::LetsEncryptStaging,
        terms_agreed: true,
        contact: Some("me@example.net".into()),
        ..Choice::default()
    });
    let expected = [
        Call::Set { choice },
        Call::Renew { id: id("mail") },
        Call::SwitchKey {
            id: id("example.org"),
        },
        Call::Revoke {
            id: id("mail"),
            key_compromised: true,
        },
    ];
    assert_eq!(service.lock().orders, expected);
    service.lock().breaks_off = true;
    let answer = conn.ask("POST", "/api/v1/certificates/mail/renew", &[], None);
    assert_eq!(answer.await.unwrap().0, 503);
    insta::assert_snapshot!("certificates_log", said(&mut conn).await[..5].join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing_of_certificates_and_change_nothing() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let service = PlayedCertificates::listen(&played.app.places.certificates);
    for (method, path, body) in [
        ("GET", "certificates", None),
        ("PUT", "certificates", Some(json!({ "terms_agreed": true }))),
        ("POST", "certificates/mail/renew", None),
        ("POST", "certificates/mail/switch-key", None),
        (
            "POST",
            "certificates/mail/revoke",
            Some(json!({ "key_compromised": false })),
        ),
    ] {
        let answer = played
            .anybody(method, &format!("/api/v1/{path}"), body)
            .await;
        assert!(matches!(answer.0, 401 | 403), "{path}: {answer:?}");
        assert!(
            !answer.1.to_string().contains(&zones().mail_host),
            "{answer:?}"
        );
    }
    assert_eq!(service.lock().orders, []);
}
