//! A message to the owner when a trial was given up: nobody looks at `roost
//! status` every day, and a box that follows a URL is updated while its owner
//! sleeps.
//!
//! The state remembers that the message is due until the mail service has
//! taken it, over restarts too. Its Message-ID is the same each time, so one
//! that was taken just before a power cut is not shown twice.

use crate::control::words;
use crate::updater::Updater;
use roost_service::letter::Letter;
use roost_service::settings::Settings;
use roost_service::update::{Outcome, Reason};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// First time between two attempts. The mail service of a small board needs a
/// minute or two from the start of the box.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Longest time between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

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
        let Some(letter) = letter(&last, &settings) else {
            return;
        };
        let smtp = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let sent = tokio::task::spawn_blocking(move || letter.send(smtp)).await;
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

/// What the owner is to be told. `None`: the box has no owner's address yet.
fn letter(outcome: &Outcome, settings: &Settings) -> Option<Letter> {
    let (to, from) = (&outcome.to, &outcome.from);
    let mailbox = settings.mailbox.as_ref()?;
    Some(Letter {
        domain: mailbox.domain.clone(),
        host: settings.mail_host()?,
        to: format!("{}@{}", mailbox.account.name, mailbox.domain),
        name: settings.name.clone(),
        at: outcome.at,
        id: format!("update-{}-{}", to.number, outcome.at),
        subject: format!("Version {} did not work; {} runs again", to.name, from.name),
        text: text(outcome, &settings.name),
    })
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
        let message = letter(&outcome(), &settings()).unwrap().message().unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        insta::assert_snapshot!(text.replace("\r\n", "\n"));
    }
}
