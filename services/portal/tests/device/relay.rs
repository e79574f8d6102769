//! What programs are told about the relay, and how they choose it.

use super::*;
use crate::played_tunnel::{PlayedTunnel, TEXT, UNFIT, replaced, up};
use roost_service::tunnel::{Call, parse};

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_shown_set_and_removed() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let mut shown = String::new();
    let text: Value = serde_json::from_str(TEXT).unwrap();
    let unfit: Value = serde_json::from_str(UNFIT).unwrap();
    let silent = conn.ask("PUT", "/api/v1/relay", &[], Some(text.clone()));
    shown += &told(&silent.await.unwrap());
    let tunnel = PlayedTunnel::listen(&played.app.places.tunnel);
    for (method, path, body) in [
        ("GET", "tunnel", None),
        ("PUT", "relay", Some(json!("hello"))),
        ("PUT", "relay", Some(json!({ "relay": 7 }))),
        ("PUT", "relay", Some(unfit)),
        ("PUT", "relay", Some(json!("x".repeat(5000)))),
        ("PUT", "relay", None),
        ("PUT", "relay", Some(text)),
        ("GET", "tunnel", None),
        ("DELETE", "relay", None),
        ("DELETE", "relay", None),
    ] {
        let to = format!("/api/v1/{path}");
        let answer = conn.ask(method, &to, &[], body).await.unwrap();
        shown += &format!("{method} {path}\n");
        match answer.0 {
            200..300 => shown += &format!("{} {:#}\n", answer.0, answer.1),
            _ => shown += &told(&answer),
        }
    }
    for status in [up(), replaced()] {
        tunnel.lock().status = status;
        for (method, path) in [("POST", "relay/takeover"), ("GET", "tunnel")] {
            let to = format!("/api/v1/{path}");
            let answer = conn.ask(method, &to, &[], None).await.unwrap();
            shown += &format!("{method} {path}\n");
            match answer.0 {
                200..300 => shown += &format!("{} {:#}\n", answer.0, answer.1),
                _ => shown += &told(&answer),
            }
        }
    }
    tunnel.lock().status = up();
    let answer = conn.ask("GET", "/api/v1/tunnel", &[], None).await.unwrap();
    shown += &format!("{:#}\n", answer.1);
    insta::assert_snapshot!(shown);
    assert_eq!(tunnel.lock().orders.len(), 6);
    assert_eq!(
        said(&mut conn).await[..4],
        [
            "The owner's laptop had this card serve in place of another with the same keys.",
            "The owner's laptop removed the relay.",
            "The owner's laptop removed the relay.",
            "The owner's laptop set the relay.",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing_of_the_relay_and_change_nothing() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let tunnel = PlayedTunnel::listen(&played.app.places.tunnel);
    let text: Value = serde_json::from_str(TEXT).unwrap();
    for (method, path, body) in [
        ("GET", "/api/v1/tunnel", None),
        ("PUT", "/api/v1/relay", Some(text)),
        ("DELETE", "/api/v1/relay", None),
        ("POST", "/api/v1/relay/takeover", None),
    ] {
        let answer = played.anybody(method, path, body).await;
        // Without a browser's words about where it comes from, what changes something is foreign.
        assert!(matches!(answer.0, 401 | 403), "{answer:?}");
        assert!(!answer.1.to_string().contains("hSDw"), "{answer:?}");
    }
    assert_eq!(tunnel.lock().orders, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn pairing_may_bring_the_relay() {
    let played = Played::new().await;
    tokio::spawn(played.app.clone().tick());
    let desk = laptop("desk");
    let mut body = json!({
        "code": CODE,
        "password": PASSWORD,
        "domain": "example.org",
        "account": "alice",
        "relay": { "relay": {} },
        "laptop": { "name": desk.name, "key": desk.public },
    });
    let refused = played.anybody("POST", "/api/v1/pair", Some(body.clone()));
    insta::assert_snapshot!(told(&refused.await));
    body["relay"] = serde_json::from_str(TEXT).unwrap();
    let paired = played.anybody("POST", "/api/v1/pair", Some(body)).await;
    assert_eq!(paired.0, 201, "{paired:?}");
    let tunnel = PlayedTunnel::listen(&played.app.places.tunnel);
    let wait = async {
        while tunnel.lock().orders.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, wait)
        .await
        .expect("it is told");
    let set = Call::Set {
        tunnel: Box::new(parse(TEXT).unwrap()),
    };
    assert_eq!(tunnel.lock().orders, [set]);
}
