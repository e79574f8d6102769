//! What mail programs ask for is handed to the mail service.

use crate::browser::{Browser, tls};
use crate::the_box::TheBox;
use hyper::StatusCode;
use roost_portal::listen::Limits;
use roost_portal::time::PoweredOn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Somebody at mail's port who keeps the head of each request and answers with `answer`; with
/// `echo`, what comes after the head is sent back as it comes.
async fn mail(answer: &'static str, echo: bool) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut all = Vec::new();
                while !all.windows(4).any(|w| w == b"\r\n\r\n") {
                    let mut some = [0; 4096];
                    match stream.read(&mut some).await {
                        Ok(count) if count > 0 => all.extend(&some[..count]),
                        _ => return,
                    }
                }
                let head = String::from_utf8_lossy(&all).into_owned();
                kept.lock().unwrap().push(head);
                let _ = stream.write_all(answer.as_bytes()).await;
                if echo {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                }
            });
        }
    });
    (address, heads)
}

async fn box_with(mail: SocketAddr) -> TheBox {
    TheBox::with(Limits::STANDARD, PoweredOn(0), Some(mail)).await
}

#[tokio::test]
async fn mail_programs_reach_mail_and_their_address_is_said_anew() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let (address, heads) = mail(answer, false).await;
    let the_box = box_with(address).await;
    let mut program = Browser::from(&the_box, 7);
    program
        .cookies
        .insert("__Host-roost".into(), "ab".repeat(32));
    // Whatever the box is called outside.
    program.host = "mail.example.org".into();
    for path in [
        "/jmap/session?a=b",
        "/jmap",
        "/jmap/",
        "/dav/",
        "/dav/cal/alice/",
        "/auth/token",
        "/.well-known/jmap",
        "/.well-known/caldav",
        "/.well-known/carddav",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let request = program
            .request("PROPFIND", path)
            .header("authorization", "Basic YTpi")
            .header("x-forwarded-for", "203.0.113.9")
            .header("forwarded", "for=203.0.113.9")
            .header("connection", "x-secret")
            .header("x-secret", "1");
        let page = program.send(request.body("body".into()).unwrap()).await;
        assert_eq!(
            (page.status, page.html.as_str()),
            (StatusCode::OK, "{}"),
            "{path}"
        );
        let head = heads.lock().unwrap().pop().unwrap().to_lowercase();
        assert!(
            head.starts_with(&format!("propfind {path} http/1.1\r\n")),
            "{head}"
        );
        assert!(head.contains("x-forwarded-for: 127.0.0.7\r\n"), "{head}");
        assert!(head.contains("host: mail.example.org\r\n"), "{head}");
        assert!(
            head.contains("authorization: basic ywi6yg==\r\n")
                || head.contains("authorization: basic "),
            "{head}"
        );
        for gone in ["203.0.113.9", "cookie", "x-secret"] {
            assert!(!head.contains(gone), "{gone}: {head}");
        }
    }
}

#[tokio::test]
async fn nothing_else_of_mail_is_reached() {
    let (address, heads) = mail("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false).await;
    let the_box = box_with(address).await;
    let mut browser = Browser::new(&the_box);
    for path in [
        "/api/principal",
        "/admin",
        "/metrics",
        "/healthz",
        "/login",
        "/dav/../api/principal",
        "/dav/%2e%2e/api/principal",
        "/dav/..%2fapi/principal",
        "/jmap/./../api",
        "/.well-known/acme-challenge/x",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(heads.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn without_mail_there_is_a_sentence() {
    let the_box = TheBox::start().await;
    let page = Browser::new(&the_box).get("/jmap/session").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.html.contains("The mail service does not answer"));
}

#[tokio::test]
async fn answers_come_as_they_are_made() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let (address, _) = mail(begun, true).await;
    let the_box = box_with(address).await;
    let stream = TcpStream::connect(the_box.address).await.unwrap();
    let mut program = tls(&the_box, stream).await;
    let request = "GET /jmap/eventsource/ HTTP/1.1\r\nhost: mail.example.org\r\n\r\n";
    program.write_all(request.as_bytes()).await.unwrap();
    let mut all = String::new();
    while !all.contains("first") {
        let mut some = [0; 1024];
        let read = timeout(Duration::from_secs(5), program.read(&mut some));
        let count = read
            .await
            .expect("the first part comes before the end")
            .unwrap();
        assert!(count > 0, "{all}");
        all += &String::from_utf8_lossy(&some[..count]);
    }
}

#[tokio::test]
async fn a_web_socket_becomes_a_pipe() {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-accept: x\r\n\r\n";
    let (address, heads) = mail(switched, true).await;
    let the_box = box_with(address).await;
    let stream = TcpStream::connect(the_box.address).await.unwrap();
    let mut program = tls(&the_box, stream).await;
    let request = "GET /jmap/ws HTTP/1.1\r\nhost: mail.example.org\r\nconnection: Upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n";
    program.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    while !all.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut byte = [0];
        timeout(Duration::from_secs(5), program.read_exact(&mut byte))
            .await
            .unwrap()
            .unwrap();
        all.push(byte[0]);
    }
    let head = String::from_utf8(all).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    for word in ["hello", "again"] {
        program.write_all(word.as_bytes()).await.unwrap();
        program.flush().await.unwrap();
        let mut back = [0; 5];
        timeout(Duration::from_secs(5), program.read_exact(&mut back))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(back, word.as_bytes());
    }
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(
        head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
        "{head}"
    );
}
