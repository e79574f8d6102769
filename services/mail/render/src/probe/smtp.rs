//! Handing over one message (RFC 5321).

use super::wire::{Trouble, Wire, shown};
use tokio::io::{AsyncRead, AsyncWrite};

/// Hands `message` to the server for one recipient.
///
/// The sender is empty (RFC 5321 §4.5.5): should the message fail later, nobody
/// is told, and nothing is left behind.
pub(super) async fn deliver<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    own_name: &str,
    recipient: &str,
    message: &str,
) -> Result<(), Trouble> {
    let mut wire = Wire::new(stream);
    expect(&mut wire, "the connection", 220).await?;
    for (name, command, code) in [
        ("EHLO", format!("EHLO {own_name}"), 250),
        ("MAIL FROM", "MAIL FROM:<>".to_owned(), 250),
        ("RCPT TO", format!("RCPT TO:<{recipient}>"), 250),
        ("DATA", "DATA".to_owned(), 354),
    ] {
        wire.send(&format!("{command}\r\n")).await?;
        expect(&mut wire, name, code).await?;
    }
    wire.send(&format!("{}.\r\n", stuffed(message))).await?;
    expect(&mut wire, "the message", 250).await?;
    // It is accepted; how the good-bye goes does not matter.
    let _ = wire.send("QUIT\r\n").await;
    Ok(())
}

/// A line that begins with a dot gets another (RFC 5321 §4.5.2).
fn stuffed(message: &str) -> String {
    message
        .split_inclusive("\r\n")
        .map(|line| match line.strip_prefix('.') {
            Some(rest) => format!("..{rest}"),
            None => line.to_owned(),
        })
        .collect()
}

/// Reads a reply, all its lines, and wants it to have this code.
async fn expect<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    command: &'static str,
    code: u16,
) -> Result<(), Trouble> {
    let mut reply = String::new();
    loop {
        let line = wire.line().await?;
        let strange = || Trouble::Strange {
            command,
            reply: shown(&line),
        };
        let digits = line.get(..3).ok_or_else(strange)?;
        let found: u16 = digits.parse().map_err(|_| strange())?;
        if reply.is_empty() || found != code {
            // The first line of a good reply, the last of a bad one.
            reply = shown(&line);
        }
        match line.as_bytes().get(3) {
            Some(b'-') => {}
            None | Some(b' ') if found == code => return Ok(()),
            None | Some(b' ') => return Err(Trouble::Refused { command, reply }),
            Some(_) => return Err(strange()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_at_the_beginning_of_a_line_is_doubled() {
        assert_eq!(
            stuffed("a\r\n.b\r\n.\r\nc.\r\n"),
            "a\r\n..b\r\n..\r\nc.\r\n"
        );
    }
}
