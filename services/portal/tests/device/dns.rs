//! What programs are told about the zones, and what they change there.

use super::*;
use crate::played_zones::{PlayedZones, nowhere};
use roost_service::dns::{Call, Dmarc};

#[tokio::test(flavor = "multi_thread")]
async fn zones_are_shown_changed_and_given_out() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let mut shown = String::new();
    let silent = conn.ask("GET", "/api/v1/dns", &[], None);
    shown += &told(&silent.await.unwrap());
    let zones = PlayedZones::listen(&played.app.places.dns);
    let text = json!({ "text": "www A 192.0.2.1\n" });
    for (method, path, body) in [
        ("GET", "dns", None),
        ("GET", "dns/EXAMPLE.org/records", None),
        ("GET", "dns/example.net/records", None),
        ("GET", "dns/example.org/zone", None),
        ("GET", "dns/example.org/zone?signed=true", None),
        ("GET", "dns/example.org/zone?signed=perhaps", None),
        ("GET", "dns/example.org/own", None),
        ("PUT", "dns/example.org/own", Some(text.clone())),
        ("PUT", "dns/example.net/own", Some(text.clone())),
        ("PUT", "dns/example.org/own", Some(json!("www"))),
        (
            "PUT",
            "dns/example.org/own",
            Some(json!({ "text": "x".repeat(70_000) })),
        ),
        ("POST", "dns/example.org/import", Some(text)),
        ("POST", "dns/example.org/replace-key", None),
        ("POST", "dns/example.net/replace-key", None),
        ("GET", "dns/example.org/check", None),
        ("GET", "dns/example.net/check", None),
        (
            "PUT",
            "dns/example.org/dmarc",
            Some(json!({ "stage": "reject" })),
        ),
        (
            "PUT",
            "dns/example.org/dmarc",
            Some(json!({ "stage": null })),
        ),
        (
            "PUT",
            "dns/example.net/dmarc",
            Some(json!({ "stage": null })),
        ),
        (
            "PUT",
            "dns/example.org/dmarc",
            Some(json!({ "stage": "burn" })),
        ),
        ("PUT", "dns/example.org/dmarc", Some(json!({}))),
    ] {
        let to = format!("/api/v1/{path}");
        let answer = conn.ask(method, &to, &[], body).await.unwrap();
        shown += &format!("{method} {path}\n");
        match answer.0 {
            200..300 => shown += &format!("{} {:#}\n", answer.0, answer.1),
            _ => shown += &told(&answer),
        }
    }
    // Nobody can ask a box without an address.
    let before = std::mem::replace(&mut zones.lock().zones, vec![nowhere()]);
    for path in ["dns", "dns/example.org/zone"] {
        let to = format!("/api/v1/{path}");
        let answer = conn.ask("GET", &to, &[], None).await.unwrap();
        shown += &format!("GET {path}\n");
        match answer.0 {
            200 => shown += &format!("{:#}\n", answer.1),
            _ => shown += &told(&answer),
        }
    }
    zones.lock().zones = before;
    insta::assert_snapshot!(shown);
    let (mut exports, mut stages) = (Vec::new(), Vec::new());
    for call in &zones.lock().orders {
        match call {
            Call::Export { signed, .. } => exports.push(*signed),
            Call::SetDmarc { stage, .. } => stages.push(*stage),
            _ => {}
        }
    }
    assert_eq!(exports, [false, true, false]);
    assert_eq!(stages, [Some(Dmarc::Reject), None]);
    assert_eq!(
        said(&mut conn).await[..4],
        [
            "The owner's laptop chose to leave to the box what receivers do with mail that is forged in the name of \"example.org\".",
            "The owner's laptop chose that receivers refuse mail that is forged in the name of \"example.org\".",
            "The owner's laptop began to replace the DNSSEC key of \"example.org\".",
            "The owner's laptop set DNS records of \"example.org\".",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing_of_the_zones_and_change_nothing() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let zones = PlayedZones::listen(&played.app.places.dns);
    let text = Some(json!({ "text": "www A 192.0.2.1\n" }));
    for (method, path, body) in [
        ("GET", "dns", None),
        ("GET", "dns/example.org/records", None),
        ("GET", "dns/example.org/zone", None),
        ("GET", "dns/example.org/own", None),
        ("GET", "dns/example.org/check", None),
        ("PUT", "dns/example.org/own", text.clone()),
        ("POST", "dns/example.org/import", text),
        ("POST", "dns/example.org/replace-key", None),
        (
            "PUT",
            "dns/example.org/dmarc",
            Some(json!({ "stage": "none" })),
        ),
    ] {
        let answer = played
            .anybody(method, &format!("/api/v1/{path}"), body)
            .await;
        assert!(matches!(answer.0, 401 | 403), "{path}: {answer:?}");
    }
    assert_eq!(zones.lock().orders, []);
}
