//! Policies on encrypted delivery, as senders ask for them (RFC 8461, section 3.3).

use crate::browser::{Browser, Page};
use crate::the_box::TheBox;
use roost_service::dns::{Answer, Call, StsPolicy};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const POLICY: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 604800\r\n";

/// A name server that answers once, and then is silent.
fn name_server(path: &Path) -> Receiver<Call> {
    let listener = UnixListener::bind(path).unwrap();
    let (heard, hear) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        reader.read_line(&mut line).unwrap();
        let answer = Answer::Policies {
            policies: vec![StsPolicy {
                domain: "example.org".into(),
                text: POLICY.into(),
            }],
        };
        let answer = serde_json::to_string(&answer).unwrap() + "\n";
        stream.write_all(answer.as_bytes()).unwrap();
        heard.send(serde_json::from_str(&line).unwrap()).unwrap();
    });
    hear
}

async fn get(browser: &mut Browser, host: &str, path: &str) -> Page {
    browser.host = host.into();
    browser.get(path).await
}

#[tokio::test]
async fn a_policy_is_served_at_its_own_host_alone() {
    let the_box = TheBox::start().await;
    let mut sender = Browser::new(&the_box);
    sender.fetch_site = None;
    let path = "/.well-known/mta-sts.txt";
    let host = "mta-sts.example.org";
    assert_eq!(get(&mut sender, host, path).await.status, 503);
    let hear = name_server(&the_box.app.places.dns);
    tokio::spawn(the_box.app.clone().tick());
    let wait = async { while get(&mut sender, host, path).await.status == 503 {} };
    tokio::time::timeout(PATIENCE, wait).await.expect("it asks");
    assert_eq!(hear.recv().unwrap(), Call::Policies);
    // The name server is away by now.
    std::fs::remove_file(&the_box.app.places.dns).unwrap();
    for asked in [host, "MTA-STS.Example.ORG", "mta-sts.example.org:443"] {
        let page = get(&mut sender, asked, path).await;
        assert_eq!(
            (page.status.as_u16(), page.html.as_str()),
            (200, POLICY),
            "{asked}"
        );
        assert_eq!(page.headers["content-type"], "text/plain");
    }
    for (asked, path, status) in [
        (host, "/", 404),
        (host, "/pair", 404),
        (host, "/api/v1/hello", 404),
        (host, "/assets/portal.css", 404),
        (host, "/.well-known/jmap", 404),
        ("mta-sts.example.net", path, 404),
        ("mta-sts.mta-sts.example.org", path, 404),
        ("example.org", path, 421),
        ("roost.local", path, 404),
    ] {
        let page = get(&mut sender, asked, path).await;
        assert_eq!(page.status.as_u16(), status, "{asked}{path}");
        assert!(!page.html.contains("STSv1"), "{asked}{path}");
    }
    sender.host = host.into();
    assert_eq!(sender.post(path, &[]).await.status.as_u16(), 405);
}
