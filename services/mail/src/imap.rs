//! IMAP's clear-text port up to STARTTLS (see `roost_mail_config::imap_greeting`).

use roost_mail_config::imap_greeting::{self, MAX_COMMANDS, MAX_LINE, Then};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// From the connection to the STARTTLS command.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Whether the client asked for TLS; otherwise the connection is over.
pub fn until_starttls(stream: &mut TcpStream) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
    Box::pin(async {
        let conversation = tokio::time::timeout(TIMEOUT, converse(stream)).await;
        matches!(conversation, Ok(Ok(true)))
    })
}

async fn converse(stream: &mut TcpStream) -> std::io::Result<bool> {
    stream.write_all(imap_greeting::GREETING.as_bytes()).await?;
    for _ in 0..MAX_COMMANDS {
        let Some(line) = read_line(stream).await? else {
            return Ok(false);
        };
        let reply = imap_greeting::answer(&line);
        stream.write_all(reply.text.as_bytes()).await?;
        match reply.then {
            Then::Next => {}
            Then::Tls => return Ok(true),
            Then::Close => return Ok(false),
        }
    }
    Ok(false)
}

/// Reads byte by byte, so that nothing after the line is taken: what a stranger
/// smuggles in behind STARTTLS breaks the handshake instead of being obeyed.
async fn read_line(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(Some(line)),
            _ if line.len() == MAX_LINE => return Ok(None),
            byte => line.push(byte),
        }
    }
}
