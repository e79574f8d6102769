//! Limits of the listener: heads, bodies, slow clients, a thousand connections.

use crate::browser::{Browser, tls};
use crate::the_box::TheBox;
use hyper::StatusCode;
use roost_portal::listen::Limits;
use roost_portal::time::PoweredOn;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Short enough for a test.
const QUICK: Limits = Limits {
    handshake: Duration::from_millis(300),
    head: Duration::from_millis(300),
    body: Duration::from_millis(300),
    ..Limits::STANDARD
};
const SOON: Duration = Duration::from_secs(5);

async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut all = Vec::new();
    // A connection that is cut ends with an error, which is an end as well.
    let _ = timeout(SOON, stream.read_to_end(&mut all))
        .await
        .expect("the box closes it");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn long_heads_and_bodies_are_refused() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    let long = browser
        .request("GET", "/pair")
        .header("x-long", "a".repeat(20_000));
    let page = browser.send(long.body(Default::default()).unwrap()).await;
    assert_eq!(page.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let mut many = browser.request("GET", "/pair");
    for i in 0..80 {
        many = many.header(format!("x-{i}"), "a");
    }
    let page = browser.send(many.body(Default::default()).unwrap()).await;
    assert_eq!(page.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let page = browser.get(&format!("/pair?{}", "a".repeat(20_000))).await;
    assert!(page.status.is_client_error(), "{}", page.status);
    let page = browser
        .post("/pair", &[("code", &"A".repeat(100_000))])
        .await;
    assert_eq!(page.status, StatusCode::PAYLOAD_TOO_LARGE);
    let fields: String = (0..20_000).map(|i| format!("{i}&")).collect();
    assert_eq!(
        browser.post_text("/pair", fields).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(browser.get("/pair").await.status, StatusCode::OK);
}

#[tokio::test]
async fn slow_clients_are_left() {
    let the_box = TheBox::with(QUICK, PoweredOn(0), None).await;
    // No handshake.
    let mut silent = TcpStream::connect(the_box.address).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    // A letter now and then.
    let stream = TcpStream::connect(the_box.address).await.unwrap();
    let mut slow = tls(&the_box, stream).await;
    let begun = Instant::now();
    for letter in "GET /pair HTTP/1.1\r\nhost: roost.local\r\nx-slow: aaaaaaaaaaaaaa".bytes() {
        if slow.write_all(&[letter]).await.is_err() || slow.flush().await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
        if begun.elapsed() > SOON {
            break;
        }
    }
    assert!(begun.elapsed() < SOON, "the head was waited for");
    // A form that does not end.
    let stream = TcpStream::connect(the_box.address).await.unwrap();
    let mut slow = tls(&the_box, stream).await;
    let head = "POST /pair HTTP/1.1\r\nhost: roost.local\r\norigin: https://roost.local\r\n\
                content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\ncode=";
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Nothing after a first answer.
    let stream = TcpStream::connect(the_box.address).await.unwrap();
    let mut idle = tls(&the_box, stream).await;
    idle.write_all(b"GET /pair HTTP/1.1\r\nhost: roost.local\r\n\r\n")
        .await
        .unwrap();
    let answer = rest(&mut idle).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn plain_http_on_the_port_of_tls_gets_nothing() {
    let the_box = TheBox::with(QUICK, PoweredOn(0), None).await;
    let mut plain = TcpStream::connect(the_box.address).await.unwrap();
    plain
        .write_all(b"GET /pair HTTP/1.1\r\nhost: roost.local\r\n\r\n")
        .await
        .unwrap();
    assert!(!rest(&mut plain).await.contains("200 OK"));
}

#[tokio::test]
async fn a_thousand_connections_keep_nobody_out() {
    let limit = rustix::process::Resource::Nofile;
    let mut files = rustix::process::getrlimit(limit);
    files.current = files.maximum;
    rustix::process::setrlimit(limit, files).unwrap();

    let the_box = TheBox::start().await;
    let mut held = Vec::new();
    // Some of one machine, the rest of forty; some finish TLS, most say nothing.
    for i in 0..1_000_u32 {
        let from = if i < 300 { 9 } else { 10 + (i % 40) as u8 };
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, from], 0).into()).unwrap();
        let connected = timeout(SOON, socket.connect(the_box.address)).await;
        held.push(connected.expect("the box accepts").unwrap());
    }
    // A new visitor, one from an address that holds many, and again.
    for from in [200, 9, 10, 201] {
        let begun = Instant::now();
        let mut visitor = Browser::from(&the_box, from);
        let page = timeout(SOON, visitor.get("/pair"))
            .await
            .expect("an answer");
        assert_eq!(page.status, StatusCode::OK);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
    // No more of them are kept than the limit says.
    let mut open = 0;
    for stream in &mut held {
        let mut byte = [0];
        match timeout(Duration::from_millis(1), stream.read(&mut byte)).await {
            Err(_) => open += 1,
            Ok(_closed) => {}
        }
    }
    assert!(open <= Limits::STANDARD.connections, "{open}");
    assert!(open > Limits::STANDARD.connections / 2, "{open}");
}
