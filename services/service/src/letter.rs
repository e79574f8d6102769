//! A message of the box to its owner, who does not look at a status every day. The mail service
//! takes it on loopback, without a log-in: only programs of the box reach that.
//!
//! Whoever writes one keeps in mind, over restarts too, that it is due until [`Letter::send`] has
//! succeeded, and gives it the same [`Letter::id`] each time, so that one that was taken just before a
//! power cut is not shown twice.

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message, SmtpTransport, Transport};
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

/// For each answer of the mail service.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the owner is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The box's domain, which the message comes from.
    pub domain: String,
    /// Name of the mail server, for the greeting.
    pub host: String,
    /// The owner's address.
    pub to: String,
    /// Name of the box.
    pub name: String,
    /// When it happened, in seconds since 1970.
    pub at: u64,
    /// Its Message-ID without brackets and domain, e.g. `update-14-1798761540`.
    pub id: String,
    /// The subject.
    pub subject: String,
    /// The text, in lines.
    pub text: String,
}

impl Letter {
    /// Hands it to the mail service that answers there; this blocks.
    ///
    /// # Errors
    /// Why it was not taken, for people.
    pub fn send(&self, smtp: SocketAddr) -> Result<(), String> {
        let message = self.message()?;
        SmtpTransport::builder_dangerous(smtp.ip().to_string())
            .port(smtp.port())
            .hello_name(ClientId::Domain(self.host.clone()))
            .timeout(Some(PATIENCE))
            .build()
            .send(&message)
            .map(drop)
            .map_err(|error| words(&error))
    }

    /// As it is sent.
    ///
    /// # Errors
    /// When an address cannot be one.
    pub fn message(&self) -> Result<Message, String> {
        let to: Address = self.to.parse().map_err(|error| words(&error))?;
        let from = Address::new("postmaster", &self.domain).map_err(|error| words(&error))?;
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".into(),
        );
        Message::builder()
            .from(Mailbox::new(Some(format!("Your box {}", self.name)), from))
            .to(Mailbox::new(None, to))
            .subject(&self.subject)
            .date(UNIX_EPOCH + Duration::from_secs(self.at))
            .message_id(Some(format!("<{}@{}>", self.id, self.domain)))
            .raw_header(automatic)
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(self.text.clone())
            .map_err(|error| words(&error))
    }
}

/// An error with what lies behind it, in one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        Letter {
            domain: "example.org".into(),
            host: "mail.example.org".into(),
            to: "alice@example.org".into(),
            name: "nest".into(),
            at: 1_798_761_540,
            id: "update-14-1798761540".into(),
            subject: "Something".into(),
            text: "One line\n.one that begins with a dot\n".into(),
        }
    }

    /// A peer that speaks as a mail server does, and keeps what it was sent.
    #[test]
    fn a_refusal_is_told_and_an_acceptance_is_not_an_error() {
        use std::io::{BufRead, BufReader, Write};
        for (reply, accepted) in [("250 2.0.0 queued", true), ("452 4.3.1 full", false)] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
                socket.write_all(b"220 here\r\n").unwrap();
                let mut said = Vec::new();
                while let Some(Ok(line)) = lines.next() {
                    let answer = match line.split(' ').next().unwrap() {
                        "DATA" => {
                            socket.write_all(b"354 go on\r\n").unwrap();
                            while lines.next().unwrap().unwrap() != "." {}
                            reply
                        }
                        "EHLO" => "250 here",
                        "QUIT" => break,
                        _ => "250 fine",
                    };
                    said.push(line);
                    socket
                        .write_all(format!("{answer}\r\n").as_bytes())
                        .unwrap();
                }
                said
            });
            let sent = letter().send(address);
            assert_eq!(sent.is_ok(), accepted, "{sent:?}");
            if let Err(error) = sent {
                assert!(error.contains("full"), "{error}");
            }
            let said = server.join().unwrap();
            assert_eq!(said[0], "EHLO mail.example.org");
            assert!(
                said[1].starts_with("MAIL FROM:<postmaster@example.org>"),
                "{said:?}"
            );
            assert_eq!(said[2], "RCPT TO:<alice@example.org>");
        }
    }

    #[test]
    fn an_address_that_is_none_is_an_error_and_no_panic() {
        let to = "no address".to_owned();
        assert!(Letter { to, ..letter() }.message().is_err());
    }
}
