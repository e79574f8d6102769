//! How the box is: what the owner sees, and what the owner is written. Init, mail and a mail server's port are
//! played; nobody else answers, and the checks say so.

use crate::browser::Browser;
use crate::pages::snapshot;
use crate::played_certificates::{PlayedCertificates, failing};
use crate::played_dns::{self, Says};
use crate::played_mail::PlayedMail;
use crate::played_tunnel::{PlayedTunnel, up};
use crate::played_zones::PlayedZones;
use crate::the_box::TheBox;
use domain::base::iana::Rtype;
use hyper::StatusCode;
use roost_portal::health::kept::{FILE, Kept};
use roost_portal::health::look;
use roost_portal::health::watch::{Pace, watch};
use roost_service::health::Level;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// For conditions that come true soon.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_owner_sees_what_was_found_and_what_to_do() {
    let the_box = TheBox::start().await;
    let mut stranger = Browser::from(&the_box, 2);
    assert_eq!(stranger.get("/health").await.location(), "/pair");
    the_box.with_init();
    let _mail = PlayedMail::listen(&the_box.app.places.mail);
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    snapshot(
        "health_before_the_first_look",
        &browser.get("/health").await,
    );

    // Without the form's token nothing is looked at.
    let refused = browser.request("POST", "/health");
    let refused = refused.header("content-type", "application/x-www-form-urlencoded");
    let refused = refused.body(http_body_util::Full::from("form=x")).unwrap();
    assert_eq!(browser.send(refused).await.status, StatusCode::FORBIDDEN);
    assert!(the_box.app.health.last().is_none());

    let page = browser.post("/health", &[]).await;
    assert_eq!(page.location(), "/health");
    let page = browser.get("/health").await;
    for words in [
        "What wants you",
        "box-services",
        "mail is in the state starting",
    ] {
        assert!(page.html.contains(words), "{words}");
    }
    let last = the_box.app.health.last().unwrap().health;
    assert!(last.count(Level::Unknown) > 10, "most do not answer");
    let overview = browser.get("/").await;
    assert!(overview.html.contains(&last.summary()), "{}", overview.html);
}

/// A mail server at one port of loopback; it keeps what it is sent.
async fn smtp(refuses: Arc<Mutex<bool>>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let letters = Arc::new(Mutex::new(Vec::new()));
    let kept = letters.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (kept, refuses) = (kept.clone(), refuses.clone());
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let _ = stream.write_all(b"220 mail.example.org\r\n").await;
                let (mut line, mut letter) = (String::new(), None::<String>);
                // Others begin with TLS, which are no lines.
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    let no = *refuses.lock().unwrap();
                    let answer = match (&mut letter, line.trim_end()) {
                        (Some(text), ".") => {
                            let text = std::mem::take(text);
                            letter = None;
                            if no {
                                "452 4.3.1 the card is full\r\n"
                            } else {
                                kept.lock().unwrap().push(text);
                                "250 2.0.0 queued\r\n"
                            }
                        }
                        (Some(text), _) => {
                            text.push_str(&line);
                            ""
                        }
                        (None, "DATA") => {
                            letter = Some(String::new());
                            "354 go on\r\n"
                        }
                        (None, "QUIT") => return,
                        (None, _) => "250 fine\r\n",
                    };
                    let _ = stream.write_all(answer.as_bytes()).await;
                    line.clear();
                }
            });
        }
    });
    (at, letters)
}

async fn wait(what: &str, is_so: impl Fn() -> bool) {
    let look = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let looked = tokio::time::timeout(PATIENCE, look).await;
    looked.unwrap_or_else(|_| panic!("{what} does not come"));
}

#[tokio::test]
async fn the_owner_is_written_once_about_each_change() {
    static AT: OnceLock<SocketAddr> = OnceLock::new();
    let refuses = Arc::new(Mutex::new(true));
    let (at, letters) = smtp(refuses.clone()).await;
    AT.set(at).unwrap();
    let the_box = TheBox::with_doors(|_| *AT.get().unwrap()).await;
    the_box.with_init();
    let _mail = PlayedMail::listen(&the_box.app.places.mail);
    let app = &the_box.app;
    wait("the time", || app.now().wall.is_some()).await;
    let quick = Duration::from_millis(50);
    let pace = Pace {
        first: Duration::ZERO,
        every: Duration::from_secs(1),
        jitter: Duration::ZERO,
        doubt: quick,
        again: quick,
    };
    let watching = tokio::spawn(watch(app.clone(), pace));
    let data = app.places.data.clone();
    // Mail does not take it: it is kept, and tried again.
    wait("something to tell", || Kept::load(&data).due.is_some()).await;
    assert!(letters.lock().unwrap().is_empty());
    *refuses.lock().unwrap() = false;
    wait("a letter", || !letters.lock().unwrap().is_empty()).await;
    wait("peace", || Kept::load(&data).due.is_none()).await;
    let told = Kept::load(&data).told;
    assert_eq!(told["box-services"], Level::Warning);
    let text = letters.lock().unwrap()[0].clone();
    for words in [
        "To: alice@example.org\r\n",
        "From: \"Your box roost\" <postmaster@example.org>\r\n",
        "Message-ID: <health-",
        "mail is in the state starting: opens its store.",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // Looked at again and again: nothing has changed, so nothing is written.
    let seen = Kept::load(&data).last.unwrap().at;
    wait("two more looks", || {
        Kept::load(&data).last.unwrap().at.powered_on.0 > seen.powered_on.0 + 2
    })
    .await;
    assert_eq!(letters.lock().unwrap().len(), 1);
    watching.abort();

    // A damaged file is no reason not to look: it is begun anew.
    std::fs::write(data.join(FILE), "{").unwrap();
    assert_eq!(Kept::load(&data), Kept::default());
}

/// With everybody there: what each says reaches the checks that are about it.
#[tokio::test]
async fn what_services_and_the_dns_say_reaches_the_checks() {
    let dns = played_dns::listen(|name, kind, _| match (name, kind) {
        ("example.org", Rtype::MX) => Says::Mail(vec![(10, "mail.example.org")]),
        ("mail.example.org", Rtype::A) => Says::Addresses(vec![[192, 0, 2, 9].into()]),
        ("example.net", _) => Says::Broken,
        _ => Says::Empty,
    });
    let the_box = TheBox::with_resolver(dns.await.port()).await;
    let places = &the_box.app.places;
    std::fs::write(&places.resolv_conf, "nameserver 127.0.0.1\n").unwrap();
    the_box.with_init();
    let _mail = PlayedMail::listen(&places.mail);
    let _zones = PlayedZones::listen(&places.dns);
    let tunnel = PlayedTunnel::listen(&places.tunnel);
    tunnel.lock().status = up();
    let certificates = PlayedCertificates::listen(&places.certificates);
    certificates.lock().status = failing();
    wait("the time", || the_box.app.now().wall.is_some()).await;
    let health = look(&the_box.app).await;
    let mut text = String::new();
    for id in [
        "box-services",
        "tunnel-up",
        "tunnel-delay",
        "net-lookups",
        "dns-served",
        "dns-here",
        "dns-copy",
        "dns-world",
        "dnssec-chain",
        "cert-agreed",
        "cert-renewal",
        "mail-queue",
        "mail-dkim",
        "out-name",
        "tls-imap",
        "ports-programs",
        "access-owner",
    ] {
        let checked = health
            .checks
            .iter()
            .find(|checked| checked.id == id)
            .unwrap();
        text += &format!("{id} [{}] {}\n", checked.level.word(), checked.found);
    }
    insta::assert_snapshot!(text);
    // Two who ask at the same time get the same look, and each asker one that began after the question.
    let (one, other) = tokio::join!(look(&the_box.app), look(&the_box.app));
    assert_eq!(one, other);
}
