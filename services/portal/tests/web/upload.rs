//! An update from a file in the browser, with a stand-in for the updater on its real socket.

use crate::browser::{Browser, Page};
use crate::the_box::TheBox;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

/// What a bundle begins with, as far as the portal cares.
const HEAD: &[u8] = b"the beginning of a bundle";
/// What the stand-in lacks.
const PAYLOAD: usize = 300_000;

/// What the stand-in does otherwise than an updater that is content.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Content,
    RefusesOffer,
    /// It fails while bytes come.
    RefusesBytes,
    /// It says that it has all before it has.
    Hasty,
    RefusesTrial,
}

struct Updater {
    /// Calls in their order, and bytes that were written.
    heard: Mutex<(Vec<String>, Vec<u8>)>,
    /// It has answered a write.
    writes: Notify,
}

impl Updater {
    fn at(the_box: &TheBox, mood: Mood) -> Arc<Self> {
        let listener = UnixListener::bind(&the_box.app.places.updater).unwrap();
        let updater = Arc::new(Self {
            heard: Mutex::default(),
            writes: Notify::new(),
        });
        let shared = updater.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move { shared.talk(stream, mood).await });
            }
        });
        updater
    }

    async fn talk(&self, stream: UnixStream, mood: Mood) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let call: Value = serde_json::from_str(&line).unwrap();
            let op = call["op"].as_str().unwrap().to_owned();
            self.heard.lock().unwrap().0.push(op.clone());
            let no = json!({"answer": "error", "message": "it is signed by nobody", "hint": "build it anew"});
            let ok = json!({"answer": "ok"});
            let answers = match op.as_str() {
                "offer" => {
                    assert_eq!(call["allow_downgrade"], false);
                    assert_eq!(call["allow_irreversible"], false);
                    let mut head = vec![0; call["head_bytes"].as_u64().unwrap() as usize];
                    stream.read_exact(&mut head).await.ok()?;
                    assert_eq!(head, HEAD);
                    let offer = json!({
                        "answer": "offer", "from": {"number": 1, "name": "1.0"},
                        "to": {"number": 2, "name": "1.1"}, "ranges": [[10, 100_010], [200_000, 400_000]],
                        "send": PAYLOAD, "write": 500_000, "copied": 200_000
                    });
                    let progress = json!({"answer": "progress", "done": 1, "total": 2});
                    match mood {
                        Mood::RefusesOffer => vec![progress, no],
                        _ => vec![progress, offer],
                    }
                }
                "write" => {
                    stream.write_all(format!("{ok}\n").as_bytes()).await.ok()?;
                    self.writes.notify_one();
                    let progress = json!({"answer": "progress", "done": 9, "total": 10});
                    let count = match mood {
                        Mood::RefusesBytes | Mood::Hasty => 1000,
                        _ => PAYLOAD,
                    };
                    let mut bytes = vec![0; count];
                    stream.read_exact(&mut bytes).await.ok()?;
                    self.heard.lock().unwrap().1 = bytes;
                    match mood {
                        Mood::RefusesBytes => vec![progress, no],
                        _ => vec![progress, json!({"answer": "staged"})],
                    }
                }
                "trial" if mood == Mood::RefusesTrial => vec![no],
                _ => vec![ok],
            };
            for answer in answers {
                let line = format!("{answer}\n");
                stream.write_all(line.as_bytes()).await.ok()?;
            }
        }
    }

    /// What was asked, but for the status that the overview shows.
    fn calls(&self) -> String {
        let mut calls = self.heard.lock().unwrap().0.clone();
        calls.retain(|call| call != "status");
        calls.join(" ")
    }
}

fn payload() -> Vec<u8> {
    (0..PAYLOAD).map(|i| (i * 7 % 251) as u8).collect()
}

/// What the page's script sends.
fn body(payload: &[u8]) -> Vec<u8> {
    let length = (HEAD.len() as u32).to_le_bytes();
    [&length, HEAD, payload].concat()
}

fn request(browser: &Browser, path: &str, body: Vec<u8>) -> hyper::Request<Full> {
    let mut request = browser.request("POST", path);
    if let Some(origin) = &browser.origin {
        request = request.header("origin", origin);
    }
    request
        .header("x-roost-form", &browser.form)
        .body(Full::from(body))
        .unwrap()
}
type Full = http_body_util::Full<axum::body::Bytes>;

async fn send(browser: &mut Browser, path: &str, body: Vec<u8>) -> (StatusCode, Value) {
    let request = request(browser, path, body);
    let page: Page = browser.send(request).await;
    let said = serde_json::from_str(&page.html).unwrap_or(Value::Null);
    (page.status, said)
}

async fn owner(the_box: &TheBox) -> Browser {
    let mut browser = Browser::new(the_box);
    browser.become_owner().await;
    browser
}

#[tokio::test]
async fn an_update_is_offered_and_installed() {
    let the_box = TheBox::start().await;
    let updater = Updater::at(&the_box, Mood::Content);
    let _heard = the_box.with_init();
    let mut browser = owner(&the_box).await;
    let (status, offer) = send(&mut browser, "/updates/offer", HEAD.to_vec()).await;
    assert_eq!(status, StatusCode::OK, "{offer}");
    assert_eq!(offer["from"]["name"], "1.0");
    assert_eq!(offer["to"]["name"], "1.1");
    assert_eq!(offer["send"], PAYLOAD);
    assert_eq!(offer["ranges"], json!([[10, 100_010], [200_000, 400_000]]));
    assert_eq!(offer["downtime_s"], 24.0);
    assert_eq!(updater.calls(), "offer", "nothing is written");

    let (status, said) = send(&mut browser, "/updates/install", body(&payload())).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(updater.calls(), "offer offer write trial");
    assert!(updater.heard.lock().unwrap().1 == payload());
    let log = browser.get("/activity").await.text();
    let entry = "The owner asked for the update to 1.1 with a file";
    assert!(log.contains(entry), "{log}");
}

#[tokio::test]
async fn nothing_is_written_that_is_not_as_long_as_the_offer() {
    let the_box = TheBox::start().await;
    let updater = Updater::at(&the_box, Mood::Content);
    let mut browser = owner(&the_box).await;
    for count in [PAYLOAD - 1, PAYLOAD + 1, 0] {
        let mut sent = payload();
        sent.resize(count, 0);
        let (status, said) = send(&mut browser, "/updates/install", body(&sent)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(said["code"], "wrong_length");
    }
    assert_eq!(updater.calls(), "offer offer offer");
    // Lengths of the beginning that cannot be, and bodies that end within it.
    let long = [&u32::MAX.to_le_bytes()[..], b"x"].concat();
    for (sent, code) in [
        (vec![], "length_needed"),
        (vec![1, 0], "broken_off"),
        (vec![9, 0, 0, 0, 1], "broken_off"),
        (vec![0, 0, 0, 0, 1], "too_long"),
        (long, "too_long"),
    ] {
        let (_, said) = send(&mut browser, "/updates/install", sent).await;
        assert_eq!(said["code"], code);
    }
    let (status, _) = send(&mut browser, "/updates/offer", vec![0; (8 << 20) + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(updater.calls(), "offer offer offer");
    let log = browser.get("/activity").await.text();
    assert!(!log.contains("with a file"), "{log}");
}

#[tokio::test]
async fn what_the_updater_refuses_is_told_in_its_words() {
    for (mood, calls) in [
        (Mood::RefusesOffer, "offer"),
        (Mood::RefusesBytes, "offer write"),
        (Mood::RefusesTrial, "offer write trial"),
    ] {
        let the_box = TheBox::start().await;
        let updater = Updater::at(&the_box, mood);
        let mut browser = owner(&the_box).await;
        let (status, said) = send(&mut browser, "/updates/install", body(&payload())).await;
        assert_eq!(status, StatusCode::CONFLICT, "{said}");
        assert_eq!(said["because"], "it is signed by nobody");
        assert_eq!(said["hint"], "build it anew");
        assert_eq!(updater.calls(), calls);
    }
}

#[tokio::test]
async fn an_updater_that_has_it_too_early_is_not_believed() {
    let the_box = TheBox::start().await;
    let updater = Updater::at(&the_box, Mood::Hasty);
    let mut browser = owner(&the_box).await;
    // More than sockets hold, so that not all was passed on when it says so.
    let (status, _) = send(&mut browser, "/updates/install", body(&payload())).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(updater.calls(), "offer write", "no trial");
}

#[tokio::test]
async fn no_updater_is_said() {
    let the_box = TheBox::start().await;
    let mut browser = owner(&the_box).await;
    let (status, said) = send(&mut browser, "/updates/offer", HEAD.to_vec()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{said}");
}

#[tokio::test]
async fn one_at_a_time_and_one_that_breaks_off_makes_room() {
    let the_box = TheBox::start().await;
    let updater = Updater::at(&the_box, Mood::Content);
    let mut browser = owner(&the_box).await;
    // The head of a request, and half of its body.
    let mut stream = crate::browser::tls(
        &the_box,
        tokio::net::TcpStream::connect(the_box.address)
            .await
            .unwrap(),
    )
    .await;
    let whole = body(&payload());
    let cookies: Vec<_> = browser
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let head = format!(
        "POST /updates/install HTTP/1.1\r\nhost: roost.local\r\norigin: https://roost.local\r\n\
         cookie: {}\r\nx-roost-form: {}\r\ncontent-length: {}\r\n\r\n",
        cookies.join("; "),
        browser.form,
        whole.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&whole[..whole.len() / 2]).await.unwrap();
    stream.flush().await.unwrap();
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, updater.writes.notified())
        .await
        .expect("the first is being written");
    for path in ["/updates/install", "/updates/offer"] {
        let (status, said) = send(&mut browser, path, whole.clone()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(said["code"], "busy");
    }
    assert_eq!(updater.calls(), "offer write");
    drop(stream);
    let again = async {
        while send(&mut browser, "/updates/install", whole.clone())
            .await
            .0
            != StatusCode::OK
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, again)
        .await
        .expect("there is room again");
    assert_eq!(updater.calls(), "offer write offer write trial");
}

#[tokio::test]
async fn only_the_owner_on_a_page_of_the_box() {
    let the_box = TheBox::start().await;
    let updater = Updater::at(&the_box, Mood::Content);
    let mut browser = owner(&the_box).await;
    for (path, sent) in [
        ("/updates/offer", HEAD.to_vec()),
        ("/updates/install", body(&payload())),
    ] {
        let form = std::mem::take(&mut browser.form);
        let (status, _) = send(&mut browser, path, sent.clone()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "without the page's token");
        browser.form = form;
        browser.origin = Some("https://evil.example".into());
        let (status, _) = send(&mut browser, path, sent.clone()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "another site");
        browser.origin = Some("https://roost.local".into());
        browser.host = "evil.example".into();
        let (status, _) = send(&mut browser, path, sent.clone()).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "rebinding");
        browser.host = "roost.local".into();
        let cookies = std::mem::take(&mut browser.cookies);
        let (status, _) = send(&mut browser, path, sent.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "signed out");
        browser.cookies = cookies;
    }
    assert_eq!(updater.calls(), "");
}
