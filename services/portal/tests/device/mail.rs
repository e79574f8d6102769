//! What programs are told about mail, what they may do there, and what the log says of it.

use super::*;
use roost_service::mail::Call;

/// One call; what the box says to a change is written down in `told`.
async fn order(
    conn: &mut Conn,
    told_all: &mut String,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Value {
    let path = format!("/api/v1/mail/{path}");
    let answer = conn.ask(method, &path, &[], body).await.unwrap();
    *told_all += &format!("{method} {}\n", &path["/api/v1/mail/".len()..]);
    match answer.0 {
        200..300 => *told_all += &format!("{} {}\n", answer.0, answer.1),
        _ => *told_all += &told(&answer),
    }
    answer.1
}

/// Without what chance has made.
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(
        r"([0-9a-hjkmnp-tv-z]{5}-){3}[0-9a-hjkmnp-tv-z]{5}",
        "[mail password]",
    );
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_about_mail_is_told() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let mut shown = String::new();
    for path in [
        "accounts",
        "accounts/bob",
        "accounts/zoe",
        "accounts/bob/app-passwords",
        "accounts/zoe/app-passwords",
        "domains",
        "queue",
        "queue?after=7",
        "queue?before=7",
        "accounts/%ff",
        "nothing",
    ] {
        let path = format!("/api/v1/mail/{path}");
        let answer = conn.ask("GET", &path, &[], None).await.unwrap();
        shown += &format!("GET {path}\n");
        match answer.0 {
            200 => shown += &format!("{:#}\n", answer.1),
            _ => shown += &told(&answer),
        }
    }
    insta::assert_snapshot!(shown);
    assert_eq!(played.mail.lock().orders, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_made_changed_and_deleted() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let mut all = String::new();
    let carol = json!({ "name": "carol", "domain": "example.net", "quota": 500_000_000 });
    let made = order(&mut conn, &mut all, "POST", "accounts", Some(carol.clone())).await;
    assert_eq!(made["password"].as_str().unwrap().len(), 23);
    for (method, path, body) in [
        ("POST", "accounts", Some(carol)),
        ("POST", "accounts", Some(json!({ "name": "dave" }))),
        (
            "POST",
            "accounts",
            Some(json!({ "name": "dave", "domain": "example.com" })),
        ),
        (
            "PUT",
            "accounts/carol/display-name",
            Some(json!({ "display_name": "Carol C." })),
        ),
        // As it is already.
        (
            "PUT",
            "accounts/carol/display-name",
            Some(json!({ "display_name": "Carol C." })),
        ),
        (
            "PUT",
            "accounts/carol/quota",
            Some(json!({ "quota": null })),
        ),
        ("PUT", "accounts/carol/quota", Some(json!({}))),
        ("PUT", "accounts/carol/quota", Some(json!({ "quota": -1 }))),
        ("PUT", "accounts/zoe/quota", Some(json!({ "quota": null }))),
        ("POST", "accounts/zoe/password", None),
        (
            "POST",
            "accounts/carol/aliases",
            Some(json!({ "address": "c@example.org" })),
        ),
        ("DELETE", "accounts/carol/aliases/c%40example.org", None),
        ("DELETE", "accounts/carol/aliases/c@example.org", None),
        ("DELETE", "accounts/zoe/aliases/c@example.org", None),
        ("DELETE", "accounts/zoe", None),
        ("DELETE", "accounts/alice", None),
    ] {
        order(&mut conn, &mut all, method, path, body).await;
    }
    let again = order(&mut conn, &mut all, "POST", "accounts/carol/password", None).await;
    assert_ne!(again["password"], made["password"]);
    order(&mut conn, &mut all, "DELETE", "accounts/carol", None).await;
    snapshot("accounts", &all);
    let hashes: Vec<_> = (played.mail.lock().orders.iter())
        .filter_map(|call| match call {
            Call::AddAccount {
                name,
                password_hash,
                ..
            }
            | Call::SetPassword {
                name,
                password_hash,
            } if name == "carol" => Some(password_hash.0.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(hashes.len(), 3);
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    snapshot("accounts_log", &said(&mut conn).await.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn app_passwords_are_shown_once_and_revoked() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let mut all = String::new();
    let path = "accounts/bob/app-passwords";
    let label = Some(json!({ "label": " laptop " }));
    let made = order(&mut conn, &mut all, "POST", path, label.clone()).await;
    let (id, password) = (
        made["id"].as_str().unwrap(),
        made["password"].as_str().unwrap(),
    );
    let listed = order(&mut conn, &mut all, "GET", path, None).await;
    assert!(listed.to_string().contains(id) && !listed.to_string().contains(password));
    for (method, path, body) in [
        ("DELETE", format!("{path}/{id}"), None),
        ("DELETE", format!("{path}/{id}"), None),
        ("DELETE", format!("{path}/0a1b"), None),
        ("DELETE", "accounts/zoe/app-passwords/0a1b".into(), None),
        ("POST", "accounts/zoe/app-passwords".into(), label),
        ("GET", path.into(), None),
    ] {
        order(&mut conn, &mut all, method, &path, body).await;
    }
    insta::assert_snapshot!("app_passwords", all);
    let log = said(&mut conn).await.join("\n");
    assert!(!log.contains(password), "{log}");
    insta::assert_snapshot!("app_passwords_log", log);
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_and_the_queue_change() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let mut all = String::new();
    for (method, path, body) in [
        ("POST", "domains", Some(json!({ "domain": "example.com" }))),
        (
            "PUT",
            "domains/example.com/catch-all",
            Some(json!({ "account": "bob" })),
        ),
        (
            "PUT",
            "domains/example.com/catch-all",
            Some(json!({ "account": "bob" })),
        ),
        (
            "PUT",
            "domains/example.com/catch-all",
            Some(json!({ "account": "zoe" })),
        ),
        ("PUT", "domains/example.com/catch-all", Some(json!({}))),
        (
            "PUT",
            "domains/example.com/catch-all",
            Some(json!({ "account": null })),
        ),
        (
            "PUT",
            "domains/example.edu/catch-all",
            Some(json!({ "account": null })),
        ),
        ("DELETE", "domains/example.com", None),
        ("DELETE", "domains/example.com", None),
        // There, but written in another way than the mail service does.
        ("DELETE", "domains/EXAMPLE.ORG", None),
        ("DELETE", "domains/example.org", None),
        ("POST", "queue/7/retry", None),
        ("POST", "queue/8/retry", None),
        ("DELETE", "queue/7", None),
        ("DELETE", "queue/7", None),
    ] {
        order(&mut conn, &mut all, method, path, body).await;
    }
    insta::assert_snapshot!("domains", all);
    insta::assert_snapshot!("domains_log", said(&mut conn).await.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_the_log_even_if_nobody_waits_for_it() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    played.mail.lock().silent = true;
    let mut conn = played.by(&desk).await;
    let body = Some(json!({ "label": "thief" }));
    let path = "/api/v1/mail/accounts/bob/app-passwords";
    conn.send("POST", path, &[], body).await.unwrap();
    while played.mail.lock().orders.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(conn);
    // For the box to notice; should it take longer, then nothing is proved, and nothing fails.
    tokio::time::sleep(Duration::from_millis(500)).await;
    played.mail.lock().silent = false;
    let mut conn = played.by(&desk).await;
    let what = "The owner's laptop made the app password \"thief\" for the mail account bob.";
    let written = async {
        while said(&mut conn).await[0] != what {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let patience = Duration::from_secs(20);
    let written = tokio::time::timeout(patience, written).await;
    written.expect("the change is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_knows_what_a_mail_service_did_that_breaks_off() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    played.mail.lock().breaks_off = true;
    let mut all = String::new();
    order(&mut conn, &mut all, "DELETE", "accounts/bob", None).await;
    order(&mut conn, &mut all, "GET", "accounts", None).await;
    // Its socket is gone: it has certainly not heard of this.
    std::fs::remove_file(&played.app.places.mail).unwrap();
    order(&mut conn, &mut all, "DELETE", "queue/9", None).await;
    let long = "a".repeat(20_000);
    order(
        &mut conn,
        &mut all,
        "POST",
        "domains",
        Some(json!({ "domain": long })),
    )
    .await;
    insta::assert_snapshot!("broken_off", all);
    assert_eq!(
        said(&mut conn).await[0],
        "The owner's laptop deleted the mail account bob with all its mail, or tried to: the mail \
         service broke off before it said whether that is done."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_the_owners_alone() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let document: Value = serde_json::from_str(&roost_portal::device::openapi()).unwrap();
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/v1/mail/") {
            continue;
        }
        let path = path
            .replace("{name}", "bob")
            .replace("{domain}", "example.net");
        let path = path
            .replace("{id}", "7")
            .replace("{address}", "sales@example.net");
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let answer = played.anybody(&method, &path, Some(json!({}))).await;
            let got = (answer.0, answer.1["code"].as_str());
            let want = match method.as_str() {
                // By its cookie a browser is known; without one, it has not even said whose page sent it.
                "GET" => (401, Some("sign_in")),
                _ => (403, Some("foreign")),
            };
            assert_eq!(got, want, "{method} {path}");
            tried += 1;
        }
    }
    assert_eq!(tried, 20);
    assert_eq!(played.mail.lock().orders, []);
}

/// Whoever has port 993 on the box is shown with its own certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_learns_by_which_certificate_it_knows_the_mail_server() {
    let desk = laptop("desk");
    let made = rcgen::generate_simple_self_signed(["mail.example.org".to_owned()]).unwrap();
    let der = made.serialize_der().unwrap();
    let key = made.serialize_private_key_der();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![der.clone().into()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key).into(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let played = Played::with(|places| places.mail_imaps = at).await;
    assert_eq!(played.pair(CODE, PASSWORD, &desk).await.0, 201);
    let path = "/api/v1/mail/certificate";
    let answer = played.call(&desk, "GET", path, None).await.unwrap();
    let expected = roost_service::fingerprint::Fingerprint::of(&der).hex();
    assert_eq!(answer, (200, json!({ "sha256": expected })));
    // A mail service that is not there is said, and nobody else may ask.
    let played = Played::owned(&desk).await;
    let answer = played.call(&desk, "GET", path, None).await.unwrap();
    assert_eq!((answer.0, &answer.1["code"]), (503, &json!("no_answer")));
    assert_eq!(played.anybody("GET", path, None).await.0, 401);
}
