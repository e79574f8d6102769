//! What programs are told about the zones, and what they change there.

use super::*;
use roost_service::dns;

/// A name server that takes what it is asked for, unless that is about `example.net`.
fn name_server(path: &Path) -> Arc<Mutex<Vec<dns::Call>>> {
    let heard: Arc<Mutex<Vec<dns::Call>>> = Arc::default();
    let kept = heard.clone();
    play(path, move |line| {
        let call: dns::Call = serde_json::from_str(line).unwrap();
        kept.lock().unwrap().push(call.clone());
        let answer = match call {
            dns::Call::Status => dns::Answer::Status(dns::Status {
                summary: "one zone is served on 3 addresses".into(),
                addresses: vec!["192.0.2.1".parse().unwrap()],
                zones: vec![dns::Zone {
                    domain: "example.org".into(),
                    serial: Some(7),
                    fault: None,
                    signed_until: Some(1_800_000_000),
                    ds: vec!["example.org. IN DS 1 13 2 AB".into()],
                    keys: Vec::new(),
                    secondary: None,
                    delegation: None,
                    dmarc: None,
                }],
            }),
            dns::Call::Records { domain } if domain == "example.org" => dns::Answer::Records {
                records: vec![dns::Record {
                    name: "example.org".into(),
                    ttl: 3600,
                    kind: "MX".into(),
                    value: "10 mail.example.org.".into(),
                    source: "box".into(),
                    why: "Where mail for this domain goes.".into(),
                }],
            },
            dns::Call::Export { .. } | dns::Call::OwnRecords { .. } => dns::Answer::Text {
                text: "www A 192.0.2.1\n".into(),
            },
            dns::Call::Import { .. } => dns::Answer::Import {
                keep: "www A 192.0.2.1\n".into(),
                left_out: vec![dns::LeftOut {
                    record: "@ NS ns.old.example.".into(),
                    why: "the box itself says which name servers the domain has".into(),
                }],
            },
            dns::Call::SetOwnRecords { domain, .. } | dns::Call::ReplaceKey { domain }
                if domain == "example.org" =>
            {
                dns::Answer::Done
            }
            _ => dns::Answer::Refused {
                why: "example.net is no domain of this box".into(),
            },
        };
        vec![answer]
    });
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_are_shown_changed_and_given_out() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let mut shown = String::new();
    let silent = conn.ask("GET", "/api/v1/dns", &[], None);
    shown += &told(&silent.await.unwrap());
    let heard = name_server(&played.app.places.dns);
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
    ] {
        let to = format!("/api/v1/{path}");
        let answer = conn.ask(method, &to, &[], body).await.unwrap();
        shown += &format!("{method} {path}\n");
        match answer.0 {
            200..300 => shown += &format!("{} {:#}\n", answer.0, answer.1),
            _ => shown += &told(&answer),
        }
    }
    insta::assert_snapshot!(shown);
    let exports: Vec<bool> = (heard.lock().unwrap().iter())
        .filter_map(|call| match call {
            dns::Call::Export { signed, .. } => Some(*signed),
            _ => None,
        })
        .collect();
    assert_eq!(exports, [false, true]);
    assert_eq!(
        said(&mut conn).await[..2],
        [
            "The owner's laptop began to replace the DNSSEC key of \"example.org\".",
            "The owner's laptop set DNS records of \"example.org\".",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing_of_the_zones_and_change_nothing() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let heard = name_server(&played.app.places.dns);
    let text = Some(json!({ "text": "www A 192.0.2.1\n" }));
    for (method, path, body) in [
        ("GET", "dns", None),
        ("GET", "dns/example.org/records", None),
        ("GET", "dns/example.org/zone", None),
        ("GET", "dns/example.org/own", None),
        ("PUT", "dns/example.org/own", text.clone()),
        ("POST", "dns/example.org/import", text),
        ("POST", "dns/example.org/replace-key", None),
    ] {
        let answer = played
            .anybody(method, &format!("/api/v1/{path}"), body)
            .await;
        assert!(matches!(answer.0, 401 | 403), "{path}: {answer:?}");
    }
    assert_eq!(*heard.lock().unwrap(), []);
}
