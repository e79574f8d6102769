//! The question to the relay who may serve: one request of HTTP within the tunnel, to the script that also
//! tells the portal how the relay is (`terraform/relay/modules/userdata/files/health`).
//!
//! Two boxes with one key take the tunnel from each other: whoever spoke last is answered. So the answer
//! counts as soon as it is whole, though the connection's end may never come; and a connection that breaks
//! says nothing, as the other box's kernel refuses what it gets of ours.

use crate::holder::{Holder, Said};
use serde::Deserialize;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// Where it answers.
pub const PORT: u16 = 8077;
/// Longest that it may take. An older relay asks its name server for each zone first.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes; an older relay tells of each zone.
const MAX_ANSWER: usize = 64 << 10;

/// Asks, from the box's address within the tunnel: only what is sent from there goes to the relay.
pub async fn ask(from: Ipv4Addr, relay: Ipv4Addr, path: &str) -> Said {
    ask_at(from, SocketAddr::from((relay, PORT)), path).await
}

async fn ask_at(from: Ipv4Addr, at: SocketAddr, path: &str) -> Said {
    let mut answer = Vec::new();
    match timeout(PATIENCE, talk(from, at, path, &mut answer)).await {
        // Whoever hangs up has said what there was to say.
        Ok(Ok(())) => read(&answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Said::Else,
        Ok(Err(_)) | Err(_) => Said::Nothing,
    }
}

async fn talk(from: Ipv4Addr, at: SocketAddr, path: &str, answer: &mut Vec<u8>) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    while answer.len() < MAX_ANSWER && stream.read_buf(answer).await? > 0 {
        if matches!(read(answer), Said::Holder(_)) {
            break;
        }
    }
    Ok(())
}

fn read(answer: &[u8]) -> Said {
    #[derive(Deserialize)]
    struct Body {
        holder: Holder,
    }
    let end = answer.windows(4).position(|piece| piece == b"\r\n\r\n");
    let body = end.and_then(|end| answer.get(end + 4..));
    match body.map(serde_json::from_slice::<Body>) {
        Some(Ok(body)) => Said::Holder(body.holder),
        _ => Said::Else,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// Somebody who says this to whoever connects, and hangs up, or does not.
    async fn saying(text: &'static str, stays: bool) -> SocketAddr {
        let listener = TcpListener::bind((HOME, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; 1024];
            let length = stream.read(&mut question).await.unwrap();
            assert!(question[..length].starts_with(b"GET /holder/k HTTP/1.1\r\n"));
            for piece in text.as_bytes().chunks(40) {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            if stays {
                std::future::pending::<()>().await;
            }
        });
        at
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_relay_may_say() {
        let holder = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"holder\":{\"generation\":7,\"instance\":\"ab\",\"run\":\"cd\",\"quiet\":-3}}\n";
        let said = Said::Holder(Holder {
            generation: 7,
            instance: "ab".into(),
            run: "cd".into(),
            quiet: -3,
        });
        for stays in [false, true] {
            let at = saying(holder, stays).await;
            assert_eq!(ask_at(HOME, at, "/holder/k").await, said);
        }
        let older = "HTTP/1.1 200 OK\r\n\r\n{\"uptime\":7200,\"dns\":\"box\",\"zones\":{}}\n";
        for text in [older, "SSH-2.0-x\r\n", ""] {
            let at = saying(text, false).await;
            assert_eq!(ask_at(HOME, at, "/holder/k").await, Said::Else, "{text}");
        }
        let at = saying("HTTP/1.1 200 OK\r\n\r\n{\"holder\":", true).await;
        assert_eq!(ask_at(HOME, at, "/holder/k").await, Said::Nothing);
        let nobody = TcpListener::bind((HOME, 0)).await.unwrap();
        let at = nobody.local_addr().unwrap();
        drop(nobody);
        assert_eq!(ask_at(HOME, at, "/holder/k").await, Said::Else);
        // An address that this machine has not: as while the interface is gone.
        let from = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(ask_at(from, at, "/holder/k").await, Said::Nothing);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[b"\r\n\r\n", bytes.as_slice()].concat());
        }
    }
}
