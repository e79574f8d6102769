//! What a port shows whoever connects: the greeting, the version of TLS, the key in the certificate. Nothing is
//! sent but what begins a conversation, and its end.
//!
//! Whom to trust is not asked here: the key is compared with the one that there should be. Certificates, which
//! have names and dates, are looked after by the certificate service.

use crate::any_certificate;
use crate::health::facts::Shown;
use roost_service::mail::ports;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where the box's own ports are, by their number: on loopback, but in tests.
pub type Doors = fn(u16) -> SocketAddr;

/// Longest line of a server, in bytes: replies have 512 at most (RFC 5321, section 4.5.3.1.5).
const MAX_LINE: u64 = 2048;
/// Most lines of one reply.
const MAX_LINES: usize = 64;
/// Characters of a greeting that are kept.
const KEPT: usize = 200;

/// Looks at what stands at `at`, which plays the part of `port`, and is asked for by the name `host`.
///
/// # Errors
/// Why it shows nothing, for people.
pub async fn look_at(at: SocketAddr, port: u16, host: &str) -> Result<Shown, String> {
    look(at, port, host)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => "nobody answers".to_owned(),
            io::ErrorKind::UnexpectedEof => "it hung up".to_owned(),
            _ => error.to_string(),
        })
}

async fn look(at: SocketAddr, port: u16, host: &str) -> io::Result<Shown> {
    let stream = TcpStream::connect(at).await?;
    match port {
        ports::SMTP | ports::SUBMISSION => begin_tls(stream, host).await,
        _ => {
            let (mut shown, stream) = shake_hands(stream, host).await?;
            // A web server waits to be asked.
            if port != ports::HTTPS {
                shown.greeting = greeting(&mut BufReader::new(stream)).await?;
            }
            Ok(shown)
        }
    }
}

/// SMTP with STARTTLS (RFC 3207).
async fn begin_tls(stream: TcpStream, host: &str) -> io::Result<Shown> {
    let mut stream = BufReader::new(stream);
    let greeting = reply(&mut stream).await?;
    let first = kept(greeting.first().map_or("", String::as_str));
    if !first.starts_with("220") {
        return Err(io::Error::other(format!("it says {first:?}")));
    }
    stream
        .write_all(format!("EHLO {host}\r\n").as_bytes())
        .await?;
    let offers = reply(&mut stream).await?;
    let offered = offers.iter().any(|line| {
        line.get(4..)
            .is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS"))
    });
    let plain = Shown {
        greeting: first,
        ..Shown::default()
    };
    if !offered {
        let _ = stream.write_all(b"QUIT\r\n").await;
        return Ok(plain);
    }
    stream.write_all(b"STARTTLS\r\n").await?;
    if !(reply(&mut stream).await?)
        .first()
        .is_some_and(|line| line.starts_with("220"))
    {
        return Ok(plain);
    }
    let (shown, mut stream) = shake_hands(stream.into_inner(), host).await?;
    let _ = stream.write_all(b"QUIT\r\n").await;
    let _ = stream.shutdown().await;
    Ok(Shown {
        greeting: plain.greeting,
        ..shown
    })
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn shake_hands(stream: TcpStream, host: &str) -> io::Result<(Shown, Tls)> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(any_certificate::settings()?))
        .connect(name, stream)
        .await?;
    let (_, session) = stream.get_ref();
    let protocol = session
        .protocol_version()
        .and_then(|version| version.as_str());
    let key = session
        .peer_certificates()
        .and_then(|chain| key_hash(chain.first()?));
    let shown = Shown {
        greeting: String::new(),
        protocol: protocol.map(str::to_owned),
        key_sha256: key,
    };
    Ok((shown, stream))
}

/// SHA-256 of the SubjectPublicKeyInfo, as TLSA records have it (RFC 6698, section 2.1.2).
fn key_hash(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(hex::encode(Sha256::digest(
        parsed.subject_public_key_info(),
    )))
}

/// The first line.
async fn greeting(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    Ok(kept(&line(stream).await?))
}

/// What of a line is kept: a server may say anything.
fn kept(line: &str) -> String {
    let clean = line
        .trim_end()
        .chars()
        .filter(|letter| !letter.is_control());
    clean.take(KEPT).collect()
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(MAX_LINE);
    if limited.read_until(b'\n', &mut bytes).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All lines of a reply (RFC 5321, section 4.2.1).
async fn reply(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    while lines.len() < MAX_LINES {
        let line = line(stream).await?;
        let more = line.as_bytes().get(3) == Some(&b'-');
        lines.push(line);
        if !more {
            return Ok(lines);
        }
    }
    Err(io::Error::other("it does not stop talking"))
}

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
