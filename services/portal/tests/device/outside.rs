//! What programs are told about blocklists and about port 25. The lists' zones, the receivers and their
//! ports are the test's; the name server and the mail servers listen on loopback.

use super::*;
use crate::played_dns::{self, Says};
use domain::base::iana::Rtype;
use roost_portal::outside::blocklists::List;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// More than the calls promise, because a machine that runs other tests is slow.
const PROMISED: Duration = Duration::from_secs(20);

const POLICY: &[Ipv4Addr] = &[Ipv4Addr::new(127, 0, 0, 10)];

const fn list(zone: &'static str) -> List {
    List {
        name: zone,
        zone,
        policy: POLICY,
        removal: "https://example.org/remove",
    }
}

const LISTS: &[List] = &[
    list("clear.test"),
    list("listed.test"),
    list("policy.test"),
    list("refuses.test"),
    list("parked.test"),
    list("no.test"),
    list("yes.test"),
    list("broken.test"),
    list("silent.test"),
    list("forgetful.test"),
];

/// What the lists say of addresses, written as they are asked.
fn of_lists(name: &str, kind: Rtype, before: usize) -> Says {
    assert_eq!(kind, Rtype::A);
    let code = |last| Says::Addresses(vec![Ipv4Addr::new(127, 0, 0, last)]);
    let dot = name.match_indices('.').nth(3).unwrap().0;
    match (&name[..dot], &name[dot + 1..]) {
        (_, "refuses.test") => Says::Addresses(vec![Ipv4Addr::new(127, 255, 255, 254)]),
        (_, "parked.test") => Says::Addresses(vec![Ipv4Addr::new(203, 0, 113, 80)]),
        (_, "no.test") => Says::NoName,
        (_, "yes.test") => code(2),
        (_, "broken.test") => Says::Broken,
        (_, "silent.test") => Says::Silence,
        // The first packet of each question is lost.
        (_, "forgetful.test") if before == 0 => Says::Silence,
        ("2.0.0.127", _) => code(2),
        ("1.0.0.127", _) => Says::NoName,
        ("7.2.0.192", "listed.test") => Says::Addresses(vec![
            Ipv4Addr::new(127, 0, 0, 4),
            Ipv4Addr::new(127, 0, 0, 2),
        ]),
        ("7.2.0.192", "policy.test") => code(10),
        ("7.2.0.192", "forgetful.test") => Says::Empty,
        ("7.2.0.192", "clear.test") => Says::NoName,
        other => panic!("nobody asks for {other:?}"),
    }
}

/// A box with a laptop whose resolver is at this port, and that asks these.
async fn played(desk: &Laptop, dns: u16, outside: Outside) -> Played {
    let played = Played::with(|places| {
        places.dns_port = dns;
        places.outside = outside;
    });
    let played = played.await;
    let answer = played.pair(CODE, PASSWORD, desk).await;
    assert_eq!(answer.0, 201, "{answer:?}");
    has_resolver(&played);
    played
}

fn has_resolver(played: &Played) {
    // As init writes it.
    let text = "nameserver 127.0.0.1\noptions timeout:2 attempts:2 edns0\n";
    std::fs::write(&played.app.places.resolv_conf, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_lists_say() {
    let dns = played_dns::listen(of_lists).await.port();
    let desk = laptop("desk");
    let outside = Outside {
        lists: LISTS,
        ..Outside::STANDARD
    };
    let played = played(&desk, dns, outside).await;
    let mut conn = played.by(&desk).await;
    let began = Instant::now();
    let path = "/api/v1/blocklists/192.0.2.7";
    let answer = conn.ask("GET", path, &[], None).await.unwrap();
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
    assert_eq!(answer.0, 200, "{answer:?}");
    let mut shown = format!("{:#}\n", answer.1);
    // A box that has no resolver any more.
    std::fs::remove_file(&played.app.places.resolv_conf).unwrap();
    let answer = conn.ask("GET", path, &[], None).await.unwrap();
    let first = &answer.1["lists"][0];
    shown += &format!("{} {first:#}\n", answer.0);
    for wrong in [
        "192.168.0.1",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "192.0.2",
        "192.0.2.007",
        "2001:db8::1",
        "example.org",
        "%FF",
    ] {
        let path = format!("/api/v1/blocklists/{wrong}");
        let answer = conn.ask("GET", &path, &[], None).await.unwrap();
        shown += &format!("{wrong}\n{}", told(&answer));
    }
    insta::assert_snapshot!(shown);
}

/// Receivers whose mail servers have addresses of their own, and all the same port.
const RECEIVERS: &[&str] = &[
    "greets.test",
    "refuses.test",
    "nobody.test",
    "homeless.test",
    "nameless.test",
    "unwilling.test",
    "mute.test",
];
const GREETS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 21);
const REFUSES: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 22);
const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 23);

fn of_receivers(name: &str, kind: Rtype, _: usize) -> Says {
    match (name, kind) {
        ("greets.test", Rtype::MX) => Says::Mail(vec![
            (20, "nobody.test"),
            (5, "MX.greets.test"),
            (10, "mx.refuses.test"),
        ]),
        ("refuses.test", Rtype::MX) => Says::Mail(vec![(10, "mx.refuses.test")]),
        ("nobody.test", Rtype::MX) => Says::Mail(vec![(10, "mx.nobody.test")]),
        ("homeless.test", Rtype::MX) => Says::Mail(vec![(10, "mx.homeless.test")]),
        ("unwilling.test", Rtype::MX) => Says::Mail(vec![(0, ".")]),
        ("mute.test", Rtype::MX) => Says::Silence,
        ("MX.greets.test", Rtype::A) => Says::Addresses(vec![GREETS, NOBODY]),
        ("mx.refuses.test", Rtype::A) => Says::Addresses(vec![REFUSES]),
        ("mx.nobody.test", Rtype::A) => Says::Addresses(vec![NOBODY]),
        ("mx.homeless.test", Rtype::A) => Says::Empty,
        ("nameless.test", Rtype::MX) => Says::NoName,
        other => panic!("nobody asks for {other:?}"),
    }
}

/// A mail server that says this first, and counts in `most` how many visitors it has at most at a time.
async fn mail_server(at: Ipv4Addr, port: u16, first: &'static str, most: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind((at, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let visitors = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (visitors, most) = (visitors.clone(), most.clone());
            tokio::spawn(async move {
                let now = visitors.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.write_all(first.as_bytes()).await.unwrap();
                let mut line = [0; 6];
                stream.read_exact(&mut line).await.unwrap();
                assert_eq!(&line, b"QUIT\r\n");
                visitors.fetch_sub(1, Ordering::SeqCst);
                stream.write_all(b"221 bye\r\n").await.unwrap();
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_mail_gets_out() {
    let most: Arc<AtomicUsize> = Arc::default();
    let smtp = mail_server(GREETS, 0, "220 mx ready\r\n", most.clone()).await;
    mail_server(REFUSES, smtp, "554 not you\r\n", Arc::default()).await;
    let dns = played_dns::listen(of_receivers).await.port();
    let desk = laptop("desk");
    let outside = Outside {
        receivers: RECEIVERS,
        smtp_port: smtp,
        ..Outside::STANDARD
    };
    let played = played(&desk, dns, outside).await;
    let began = Instant::now();
    let ask = || played.call(&desk, "GET", "/api/v1/port25", None);
    // Both are answered, one after the other.
    let (first, second) = tokio::join!(ask(), ask());
    assert!(began.elapsed() < 2 * PROMISED, "{:?}", began.elapsed());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first, second);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    let mut shown = format!("{} {:#}\n", first.0, first.1);
    std::fs::remove_file(&played.app.places.resolv_conf).unwrap();
    let answer = ask().await.unwrap();
    shown += &format!(
        "{:#}\n",
        json!([answer.1["state"], answer.1["why"], answer.1["tried"][0]])
    );
    insta::assert_snapshot!(shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port() {
    let dns = played_dns::listen(of_receivers).await.port();
    let desk = laptop("desk");
    let listener = TcpListener::bind((NOBODY, 0)).await.unwrap();
    let outside = Outside {
        receivers: &["nobody.test"],
        smtp_port: listener.local_addr().unwrap().port(),
        patience: Duration::from_secs(5),
        ..Outside::STANDARD
    };
    let played = played(&desk, dns, outside).await;
    let closed = async || {
        let answer = played.call(&desk, "GET", "/api/v1/port25", None).await;
        let answer = answer.unwrap();
        assert_eq!(answer.0, 200);
        assert_eq!(answer.1["state"], "closed", "{answer:?}");
        let tried = &answer.1["tried"][0];
        assert_eq!(tried["address"], "127.0.0.23");
        tried["why"].clone()
    };
    // A firewall on the way may take the connection itself, or refuse it.
    assert_eq!(
        closed().await,
        "mx.nobody.test takes the connection, but no greeting came in time."
    );
    drop(listener);
    assert_eq!(closed().await, "mx.nobody.test refused the connection.");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_the_box_ask_nobody() {
    let dns = played_dns::listen(|name, _, _| panic!("asked for {name}")).await;
    let desk = laptop("desk");
    let played = played(&desk, dns.port(), Outside::STANDARD).await;
    for path in ["/api/v1/port25", "/api/v1/blocklists/192.0.2.7"] {
        let answer = played.anybody("GET", path, None).await;
        assert_eq!(answer.0, 401, "{answer:?}");
    }
}
