//! What the relay says of itself: one request of HTTP within the tunnel
//! (`terraform/relay/modules/userdata/files/health`).

use crate::health::checks::relay::NOT_UNDERSTOOD;
use crate::health::facts::RelaySays;
use axum::body::Body;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::header::{CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// Where it answers, within the tunnel alone.
const PORT: u16 = 8077;
/// Longest answer, in bytes: a line for each of some domains.
const MAX_ANSWER: usize = 64 << 10;

/// Asks, from the box's address within the tunnel: only what is sent from there goes to the relay.
///
/// # Errors
/// Why there is no answer, for people.
pub async fn ask(from: IpAddr, relay: Ipv4Addr) -> Result<RelaySays, String> {
    ask_at(from, SocketAddr::from((relay, PORT))).await
}

async fn ask_at(from: IpAddr, at: SocketAddr) -> Result<RelaySays, String> {
    let connect = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(at).await
    };
    let stream = connect
        .await
        .map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::ConnectionRefused => "nobody answers at its port 8077".to_owned(),
            _ => error.to_string(),
        })?;
    let odd = |why: &dyn std::fmt::Display| format!("{NOT_UNDERSTOOD}: {why}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|why| odd(&why))?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/")
        .header(HOST, "relay")
        .header(CONNECTION, "close")
        .body(Body::empty())
        .map_err(|why| odd(&why))?;
    let answer = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|why| odd(&why))?;
        let body = Limited::new(answer.into_body(), MAX_ANSWER);
        let body = body.collect().await.map_err(|why| odd(&why))?.to_bytes();
        serde_json::from_slice(&body).map_err(|why| odd(&why))
    }
    .await;
    connection.abort();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Somebody who says this to whoever connects.
    async fn saying(text: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 1024];
            let read = stream.read(&mut question).await.unwrap();
            assert!(question[..read].starts_with(b"GET / HTTP/1.1\r\n"));
            stream.write_all(text.as_bytes()).await.unwrap();
        });
        at
    }

    #[tokio::test]
    async fn what_the_relays_script_prints_is_read() {
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        // As the script has it, but for its headers on caches.
        let body = r#"{"uptime":7200,"dns":"box","zones":{"example.org":7,"example.net":null},"reboot_required":true,"conntrack":12,"conntrack_max":null}"#;
        let length = body.len() + 1;
        let at = saying(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}\n"
        ));
        let at = at.await;
        let said = ask_at(home, at).await.unwrap();
        assert_eq!((said.uptime, said.dns.as_str()), (7200, "box"));
        assert_eq!(said.zones["example.net"], None);
        assert_eq!((said.conntrack, said.conntrack_max), (Some(12), None));
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "SSH-2.0-x\r\n",
        ] {
            let why = ask_at(home, saying(text.to_owned()).await)
                .await
                .unwrap_err();
            assert!(why.starts_with(NOT_UNDERSTOOD), "{why}");
        }
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = nobody.local_addr().unwrap();
        drop(nobody);
        let why = ask_at(home, at).await.unwrap_err();
        assert_eq!(why, "nobody answers at its port 8077");
    }
}
