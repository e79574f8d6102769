//! A message to the owner when a trial was given up: nobody looks at `roost
//! status` every day, and a box that follows a URL is updated while its owner
//! sleeps.
//!
//! The state remembers that the message is due until the mail service has
//! taken it, over restarts too. Its Message-ID is the same each time, so one
//! that was taken just before a power cut is not shown twice.

use crate::control::words;
use crate::updater::Updater;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message, SmtpTransport, Transport};
use roost_service::settings::Settings;
use roost_service::update::{Outcome, Reason};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::sleep;

/// First time between two attempts. The mail service of a small board needs a
/// minute or two from the start of the box.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Longest time between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// For each answer of the mail service.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends the message that is due, if one is; returns when the mail service has taken it.
/// `port`: where that service takes mail on loopback.
pub async fn run(updater: Arc<Updater>, settings: Settings, port: u16) {
    let mut wait = FIRST_WAIT;
    loop {
        let state = updater.ledger.state();
        let (true, Some(last)) = (state.untold, state.last) else {
            return;
        };
        // Init starts this program again when somebody has chosen whose box it is.
        let Some(letter) = Letter::of(&last, &settings) else {
            return;
        };
        let sent = tokio::task::spawn_blocking(move || letter.send(port)).await;
        match sent {
            Ok(Ok(())) => {
                println!("updater: the owner has been told by mail");
                if let Err(error) = updater.ledger.change(|state| state.untold = false) {
                    println!("updater: {}", words(&error));
                }
                return;
            }
            Ok(Err(error)) => println!(
                "updater: the message to the owner waits {} s: {error}",
                wait.as_secs()
            ),
            Err(_) => println!("updater: the message to the owner waits: writing it failed"),
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// What the owner is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Letter {
    domain: String,
    /// Name of the mail server, for the greeting.
    host: String,
    /// Local part of the owner's address.
    account: String,
    /// Name of the box.
    name: String,
    /// Seconds since 1970.
    at: u64,
    id: String,
    subject: String,
    text: String,
}

impl Letter {
    /// `None`: the box has no owner's address yet.
    fn of(outcome: &Outcome, settings: &Settings) -> Option<Self> {
        let (to, from) = (&outcome.to, &outcome.from);
        let mailbox = settings.mailbox.as_ref()?;
        Some(Self {
            domain: mailbox.domain.clone(),
            host: settings.mail_host()?,
            account: mailbox.account.name.clone(),
            name: settings.name.clone(),
            at: outcome.at,
            id: format!("<update-{}-{}@{}>", to.number, outcome.at, mailbox.domain),
            subject: format!("Version {} did not work; {} runs again", to.name, from.name),
            text: text(outcome, &settings.name),
        })
    }

    /// Hands it to the mail service, without a log-in: only programs of the box reach loopback.
    fn send(&self, port: u16) -> Result<(), String> {
        let message = self.message()?;
        SmtpTransport::builder_dangerous("127.0.0.1")
            .port(port)
            .hello_name(ClientId::Domain(self.host.clone()))
            .timeout(Some(PATIENCE))
            .build()
            .send(&message)
            .map(drop)
            .map_err(|error| words(&error))
    }

    fn message(&self) -> Result<Message, String> {
        let mailbox = |name: Option<String>, user: &str| {
            let address = Address::new(user, &self.domain).map_err(|error| words(&error))?;
            Ok::<_, String>(Mailbox::new(name, address))
        };
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".into(),
        );
        Message::builder()
            .from(mailbox(
                Some(format!("Your box {}", self.name)),
                "postmaster",
            )?)
            .to(mailbox(None, &self.account)?)
            .subject(&self.subject)
            .date(UNIX_EPOCH + Duration::from_secs(self.at))
            .message_id(Some(self.id.clone()))
            .raw_header(automatic)
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(self.text.clone())
            .map_err(|error| words(&error))
    }
}

fn text(outcome: &Outcome, name: &str) -> String {
    let mut text = format!(
        "Your box {name} tried version {} and returned to version {} by itself.\n",
        outcome.to.name, outcome.from.name
    );
    let Some(Reason {
        summary,
        checks,
        log,
    }) = &outcome.rolled_back
    else {
        return text;
    };
    text += &format!("\nWhy: {summary}\n");
    if !checks.is_empty() {
        text += "\nWhat was checked:\n";
        for check in checks {
            let result = match check.passed {
                Some(true) => "passed",
                Some(false) => "failed",
                None => "not yet",
            };
            text += &format!("  {result:<9}{}: {}\n", check.name, check.detail);
        }
    }
    if !log.is_empty() {
        text += "\nThe last lines of its log:\n";
        for line in log {
            text += &format!("  {line}\n");
        }
    }
    text += &format!(
        "\nVersion {} is not tried again by itself. `roost status` shows this text too,\n\
         `roost update` installs another version.\n",
        outcome.to.name
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::settings::{self, Account, Mail, Network, Update};
    use roost_service::update::{Check, Version};

    fn settings() -> Settings {
        Settings {
            name: "nest".into(),
            mailbox: Some(settings::Mailbox {
                domain: "example.org".into(),
                account: Account {
                    name: "alice".into(),
                    display_name: "Alice Ægir".into(),
                    password_hash: String::new(),
                },
            }),
            network: Network::Dhcp,
            time_servers: Vec::new(),
            mail: Mail {
                host: None,
                max_message_size: 1,
                spam_filter: true,
            },
            update: Update::default(),
            resolver: None,
        }
    }

    fn outcome() -> Outcome {
        let version = |number| Version {
            number,
            name: format!("0.1.0+{number}"),
        };
        let check = |name: &str, passed, detail: &str| Check {
            name: name.into(),
            passed,
            detail: detail.into(),
        };
        Outcome {
            from: version(13),
            to: version(14),
            at: 1_798_761_540,
            took_s: 480,
            rolled_back: Some(Reason {
                summary: "mail did not work within 8 minutes: no answer".into(),
                checks: vec![
                    check(
                        "required services are ready",
                        Some(true),
                        "ready since second 9",
                    ),
                    check("mail works", Some(false), "no answer"),
                ],
                log: vec![
                    "mail: cannot open the store".into(),
                    ".a line that begins with a dot".into(),
                ],
            }),
        }
    }

    #[test]
    fn the_message_as_the_mail_service_gets_it() {
        let message = Letter::of(&outcome(), &settings())
            .unwrap()
            .message()
            .unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        insta::assert_snapshot!(text.replace("\r\n", "\n"));
    }

    /// A peer that speaks as a mail server does, and keeps what it was sent.
    #[test]
    fn a_refusal_is_told_and_an_acceptance_is_not_an_error() {
        use std::io::{BufRead, BufReader, Write};
        for (reply, accepted) in [("250 2.0.0 queued", true), ("452 4.3.1 full", false)] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
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
            let sent = Letter::of(&outcome(), &settings()).unwrap().send(port);
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
}
