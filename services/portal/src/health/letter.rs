//! What the owner is written when something has become worse or better.

use super::kept::{Change, Due};
use super::verdict::count;
use crate::time::Wall;
use roost_service::letter::Letter;
use roost_service::mail::Overview;

/// Longest line of the text, in letters.
const WIDTH: usize = 76;

/// The message. `None`: the box has no account that it could be for.
pub fn letter(due: &Due, name: &str, now: Wall, mail: &Overview) -> Option<Letter> {
    let owner = mail.accounts.iter().find(|account| account.first)?;
    let domain = mail.domains.iter().find(|domain| domain.main)?;
    Some(Letter {
        domain: domain.name.clone(),
        host: mail.host.clone(),
        to: owner.addresses.first()?.clone(),
        name: name.to_owned(),
        at: now.0,
        id: format!("health-{}", due.number),
        subject: subject(due),
        text: text(due, name),
    })
}

fn parts(due: &Due) -> (Vec<&Change>, Vec<&Change>) {
    due.changes.iter().partition(|change| change.is_worse())
}

fn subject(due: &Due) -> String {
    let (worse, better) = parts(due);
    // One is worth its own words.
    if let ([change], []) | ([], [change]) = (worse.as_slice(), better.as_slice()) {
        let how = if change.is_worse() { "Worse" } else { "Better" };
        return format!("{how}: {}: {}", change.now.what, change.now.level.word());
    }
    let mut parts = Vec::new();
    if !worse.is_empty() {
        parts.push(format!("{} worse", count(worse.len(), "check")));
    }
    if !better.is_empty() {
        parts.push(match parts.is_empty() {
            true => format!("{} better", count(better.len(), "check")),
            false => format!("{} better", better.len()),
        });
    }
    parts.join(", ")
}

fn text(due: &Due, name: &str) -> String {
    let (worse, better) = parts(due);
    let mut text = wrapped(
        &format!(
            "Your box {name} has looked at itself, as it does every day, and twice to be sure."
        ),
        "",
    );
    for (title, changes) in [("Worse than before", worse), ("Better than before", better)] {
        if changes.is_empty() {
            continue;
        }
        text += &format!("\n{title}:\n");
        for change in changes {
            let now = &change.now;
            let head = format!(
                "{} ({}): {}, before: {}",
                now.what,
                now.id,
                now.level.word(),
                change.before.word()
            );
            text += &format!("\n{}", wrapped(&head, "  "));
            text += &wrapped(&now.found, "    ");
            if !now.to_do.is_empty() {
                text += &wrapped(&format!("What to do: {}", now.to_do), "    ");
            }
        }
    }
    text += &format!("\n{}", wrapped(&due.summary, ""));
    text += &wrapped(
        "The page Health of the box shows all of them, and so does `roost doctor`. The next message \
         comes when something changes again.",
        "",
    );
    text
}

/// A paragraph in lines, each set in.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let length = indent.len() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > WIDTH {
            lines += &format!("{indent}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines += &format!("{indent}{line}\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::health::{Checked, Level};
    use roost_service::mail::{Account, Domain};

    fn mail() -> Overview {
        let account = |name: &str, first| Account {
            name: name.into(),
            display_name: String::new(),
            first,
            addresses: vec![format!("{name}@example.org")],
            quota: None,
            used: 0,
            app_passwords: 0,
        };
        Overview {
            host: "mail.example.org".into(),
            domains: vec![Domain {
                name: "example.org".into(),
                main: true,
                catch_all: None,
            }],
            accounts: vec![account("bob", false), account("alice", true)],
            queued: 0,
        }
    }

    fn change(
        id: &str,
        what: &str,
        before: Level,
        level: Level,
        found: &str,
        to_do: &str,
    ) -> Change {
        Change {
            before,
            now: Checked {
                id: id.into(),
                group: "Box".into(),
                what: what.into(),
                level,
                found: found.into(),
                to_do: to_do.into(),
                docs: String::new(),
            },
        }
    }

    fn due() -> Due {
        Due {
            number: 86_400,
            changes: vec![
                change(
                    "card-room",
                    "The card has room",
                    Level::Ok,
                    Level::Warning,
                    "2.4 GB of 31 GB are free.",
                    "Delete mail that is not needed any more, empty trash and junk, or move to a larger card.",
                ),
                change(
                    "tunnel-up",
                    "The box reaches its relay",
                    Level::Warning,
                    Level::Failed,
                    "The relay does not answer since 3 hours. No handshake.",
                    "See whether the internet works at home, and whether the relay runs: `roost relay status`.",
                ),
                change(
                    "mail-queue-age",
                    "Nothing waits for long",
                    Level::Failed,
                    Level::Ok,
                    "Nothing waits.",
                    "",
                ),
            ],
            summary: "60 of 64 checks are well; 1 failed, 1 warning, 2 could not be checked."
                .into(),
        }
    }

    #[test]
    fn the_message_as_the_mail_service_gets_it() {
        let letter = letter(&due(), "attic", Wall(1_798_761_540), &mail()).unwrap();
        let message = letter.message().unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        insta::assert_snapshot!(text.replace("\r\n", "\n"));
    }

    #[test]
    fn subjects_say_what_matters() {
        let of = |changes: &[usize]| {
            let all = due().changes;
            let changes = changes.iter().map(|at| all[*at].clone()).collect();
            subject(&Due { changes, ..due() })
        };
        insta::assert_snapshot!(
            [of(&[0]), of(&[2]), of(&[0, 1]), of(&[0, 1, 2]), of(&[2, 2])].join("\n")
        );
    }

    #[test]
    fn without_an_account_there_is_no_message() {
        let mut mail = mail();
        mail.accounts.retain(|account| !account.first);
        assert_eq!(letter(&due(), "attic", Wall(0), &mail), None);
    }
}
