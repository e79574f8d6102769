//! The mail service's admin socket: what the portal asks, and what comes back.
//!
//! A Unix socket, [`socket`]; only the portal's user may connect (`SO_PEERCRED`), and the name server's,
//! which may ask [`Call::Published`] and nothing else. Others are hung up on. Both sides write one JSON object a line ([`line`], [`Call::read`], [`Answer::read`]).
//! Each [`Call`] gets exactly one [`Answer`], in order; a connection takes any number of them.
//! A line that is no call gets [`Answer::Error`]; one that is too long ends the connection.
//! A change that was answered with [`Answer::Done`] is on the card.
//!
//! Names are checked by the mail service (`crate::names`), so the portal may pass on what
//! somebody typed and show the refusal.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;
use std::path::PathBuf;

/// The spec's name of the mail service.
pub const SERVICE: &str = "mail";

/// Loopback TCP port of the mail service's HTTP: JMAP, CalDAV, CardDAV and WebDAV, in plain. The
/// portal, which speaks TLS on 443, hands such requests on and says whose they are in
/// `X-Forwarded-For`: one address, put in place of whatever the client sent.
pub const HTTP_PORT: u16 = 8080;

/// TCP ports on which people's mail programs reach the box.
pub mod ports {
    /// Between mail servers.
    pub const SMTP: u16 = 25;
    /// Sending, TLS from the first byte (RFC 8314).
    pub const SUBMISSIONS: u16 = 465;
    /// Sending, with STARTTLS (RFC 6409).
    pub const SUBMISSION: u16 = 587;
    /// IMAP, TLS from the first byte (RFC 8314).
    pub const IMAPS: u16 = 993;
    /// IMAP, with STARTTLS (RFC 9051).
    pub const IMAP: u16 = 143;
    /// POP3, TLS from the first byte (RFC 8314).
    pub const POP3S: u16 = 995;
    /// POP3, with STARTTLS (RFC 2595).
    pub const POP3: u16 = 110;
    /// ManageSieve, with STARTTLS (RFC 5804).
    pub const SIEVE: u16 = 4190;
    /// JMAP, CalDAV, CardDAV and WebDAV, by way of the portal.
    pub const HTTPS: u16 = 443;
}

/// Longest call, in bytes, its line feed included.
pub const MAX_CALL: usize = 16 << 10;
/// Longest answer, in bytes, its line feed included.
pub const MAX_ANSWER: usize = 4 << 20;
/// Most connections at once; more wait.
pub const MAX_CONNECTIONS: usize = 8;

/// Most mail accounts.
pub const MAX_ACCOUNTS: usize = 100;
/// Most domains.
pub const MAX_DOMAINS: usize = 20;
/// Most addresses of one account.
pub const MAX_ADDRESSES: usize = 50;
/// Most app passwords of one account: each is tried in turn when somebody logs in.
pub const MAX_APP_PASSWORDS: usize = 20;
/// Longest name of a person, or of a device that has an app password, in letters.
pub const MAX_LABEL: usize = 60;
/// Most messages in one [`Answer::Queue`].
pub const QUEUE_PAGE: usize = 50;
/// Most receivers that are shown of one queued message.
pub const QUEUE_RECEIVERS: usize = 20;
/// Longest of a mail server's replies that is shown, in bytes.
pub const MAX_REPLY: usize = 400;

/// The socket.
pub fn socket() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("admin.sock")
}

/// What must not be shown in a log: `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What the portal may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Everything that the mail pages show but the queue: [`Answer::Overview`].
    Overview,
    /// Makes a mail account with the address `name@domain`: [`Answer::Done`].
    AddAccount {
        /// Log-in name, the only one of its kind on the box, whatever the domain.
        name: String,
        /// One of the box's domains.
        domain: String,
        /// The person's name; may be empty.
        display_name: String,
        /// Hash of the password: `$argon2id$…` (at most 64 MiB and 10 rounds) or `$6$…`.
        password_hash: Secret,
        /// Most bytes that the account may hold; `None`: as many as the card.
        quota: Option<u64>,
    },
    /// Deletes an account and all of its mail, calendars and contacts: [`Answer::Done`]. The
    /// box's first account stays. `postmaster@` and `abuse@` go to the first account.
    RemoveAccount {
        /// Log-in name.
        name: String,
    },
    /// [`Answer::Done`].
    SetDisplayName {
        /// Log-in name.
        name: String,
        /// The person's name; may be empty.
        display_name: String,
    },
    /// Another password; app passwords stay. [`Answer::Done`].
    SetPassword {
        /// Log-in name.
        name: String,
        /// As in [`Call::AddAccount`].
        password_hash: Secret,
    },
    /// [`Answer::Done`].
    SetQuota {
        /// Log-in name.
        name: String,
        /// Most bytes that the account may hold; `None`: as many as the card.
        quota: Option<u64>,
    },
    /// One more address for an account: [`Answer::Done`]. `postmaster@` and `abuse@`, which each
    /// domain must have (RFC 2142), are taken from the account that has them.
    AddAlias {
        /// Log-in name.
        name: String,
        /// The address, whose domain is one of the box's.
        address: String,
    },
    /// Takes an address from an account, but not its own, nor `postmaster@` and `abuse@`, which can
    /// only be given to another. [`Answer::Done`].
    RemoveAlias {
        /// Log-in name.
        name: String,
        /// The address.
        address: String,
    },
    /// [`Answer::AppPasswords`].
    AppPasswords {
        /// Log-in name.
        name: String,
    },
    /// A new password for one device or program: [`Answer::AppPassword`].
    MakeAppPassword {
        /// Log-in name of the account.
        name: String,
        /// What it is for, e.g. `phone`.
        label: String,
    },
    /// [`Answer::Done`].
    RevokeAppPassword {
        /// Log-in name of the account.
        name: String,
        /// [`AppPassword::id`].
        id: String,
    },
    /// Who gets mail to addresses of a domain that nobody has: [`Answer::Done`].
    SetCatchAll {
        /// The domain.
        domain: String,
        /// Log-in name; `None`: such mail is refused.
        account: Option<String>,
    },
    /// One more domain: [`Answer::Done`]. It is signed with the box's keys.
    AddDomain {
        /// The domain.
        domain: String,
        /// Log-in name of the account that gets `postmaster@` and `abuse@`; `None`: the first.
        account: Option<String>,
    },
    /// No more mail for a domain, whose addresses all accounts lose: [`Answer::Done`]. Refused for
    /// the box's own domain, and while an account's own address is in it.
    RemoveDomain {
        /// The domain.
        domain: String,
    },
    /// What the name server tells the world: [`Answer::Published`].
    Published,
    /// Messages that wait for delivery: [`Answer::Queue`].
    Queue {
        /// The page begins behind this message ([`QueuedMessage::id`]); `None`: with the first.
        after: Option<String>,
    },
    /// Try delivery now: [`Answer::Done`].
    RetryQueued {
        /// [`QueuedMessage::id`].
        id: String,
    },
    /// Forget a message; nobody is told. [`Answer::Done`].
    DeleteQueued {
        /// [`QueuedMessage::id`].
        id: String,
    },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// To [`Call::Overview`].
    Overview(Overview),
    /// To [`Call::AppPasswords`], oldest first.
    AppPasswords {
        /// Those of the account.
        passwords: Vec<AppPassword>,
    },
    /// To [`Call::MakeAppPassword`].
    AppPassword {
        /// [`AppPassword::id`].
        id: String,
        /// The password, in groups that can be typed. Nobody can ask for it again.
        password: Secret,
    },
    /// To [`Call::Published`].
    Published(Published),
    /// To [`Call::Queue`].
    Queue {
        /// Up to [`QUEUE_PAGE`] messages, oldest first.
        messages: Vec<QueuedMessage>,
        /// Whether more follow.
        more: bool,
    },
    /// It is done, and on the card.
    Done,
    /// Refused or failed; nothing was changed unless `because` says so.
    Error {
        /// What did not happen, e.g. `bob was not added`.
        what: String,
        /// Why.
        because: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// What of the mail server stands in the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Name of the mail server, e.g. `mail.example.org`.
    pub host: String,
    /// Its domains, the box's own first.
    pub domains: Vec<String>,
    /// Public keys that sign for all of them.
    pub dkim: Vec<Dkim>,
}

/// A public key that signs mail (RFC 6376).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dkim {
    /// Its name below `_domainkey`.
    pub selector: String,
    /// The text of its record, in one piece.
    pub record: String,
}

/// Accounts and domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overview {
    /// Name of the mail server, e.g. `mail.example.org`.
    pub host: String,
    /// By name, the box's own domain first.
    pub domains: Vec<Domain>,
    /// By log-in name, the box's first account first.
    pub accounts: Vec<Account>,
    /// Messages that wait for delivery.
    pub queued: u64,
}

/// A mail domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Whether it is the one in the box's settings, which cannot be removed.
    pub main: bool,
    /// Log-in name of the account that gets mail to addresses that nobody has.
    pub catch_all: Option<String>,
}

/// A mail account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Log-in name.
    pub name: String,
    /// The person's name; may be empty.
    pub display_name: String,
    /// Whether it is the one in the box's settings, which cannot be removed.
    pub first: bool,
    /// Addresses, the account's own first. A catch-all is not among them.
    pub addresses: Vec<String>,
    /// Most bytes that it may hold; none: as many as the card.
    pub quota: Option<u64>,
    /// Bytes that it holds.
    pub used: u64,
    /// How many app passwords it has.
    pub app_passwords: u64,
}

/// A password of one device or program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AppPassword {
    /// Names it when it is revoked.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// When it was made, in seconds since 1970 by the box's clock.
    pub made: u64,
}

/// A message that waits for delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct QueuedMessage {
    /// Names it in calls.
    pub id: String,
    /// The sender's address; empty for a message about a message.
    pub from: String,
    /// Bytes.
    pub size: u64,
    /// When it came, in seconds since 1970.
    pub came: u64,
    /// The first of those who have not got it.
    pub receivers: Vec<QueuedReceiver>,
    /// How many have not got it: more than are shown, if there are many.
    pub waiting: u64,
}

/// One receiver of a queued message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct QueuedReceiver {
    /// The address.
    pub address: String,
    /// How often delivery was tried.
    pub tries: u32,
    /// When it is tried next, in seconds since 1970; none: no more.
    pub next: Option<u64>,
    /// When it is given up, in seconds since 1970, if that is known.
    pub until: Option<u64>,
    /// What went wrong last; a long reply is cut off.
    pub fault: Option<String>,
}

impl Call {
    /// A line, its line feed or not included.
    ///
    /// # Errors
    /// Says in words what is wrong with it.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        read(line, MAX_CALL)
    }
}

impl Answer {
    /// A line, its line feed or not included.
    ///
    /// # Errors
    /// Says in words what is wrong with it.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        read(line, MAX_ANSWER)
    }
}

fn read<T: DeserializeOwned>(line: &[u8], most: usize) -> Result<T, String> {
    if line.len() > most {
        return Err(format!("the line is longer than {most} bytes"));
    }
    serde_json::from_slice(line).map_err(|error| format!("not understood: {error}"))
}

/// A call or an answer as it is sent, its line feed included.
///
/// # Errors
/// None in practice: every call and answer can be written as JSON.
pub fn line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_answers_are_one_line_and_come_back() {
        let call = Call::AddAccount {
            name: "bob".into(),
            domain: "example.org".into(),
            display_name: "Bob\nExample".into(),
            password_hash: Secret("$6$a$b".into()),
            quota: None,
        };
        let sent = line(&call).unwrap();
        assert_eq!(sent.find('\n'), Some(sent.len() - 1));
        assert_eq!(Call::read(sent.as_bytes()).unwrap(), call);

        let answer = Answer::Overview(Overview {
            host: "mail.example.org".into(),
            domains: vec![],
            accounts: vec![],
            queued: 3,
        });
        let sent = line(&answer).unwrap();
        assert_eq!(
            sent,
            "{\"answer\":\"overview\",\"host\":\"mail.example.org\",\"domains\":[],\"accounts\":[],\"queued\":3}\n"
        );
        assert_eq!(Answer::read(sent.as_bytes()).unwrap(), answer);
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for bad in [
            "",
            "{}",
            "{\"op\":\"format_card\"}",
            "{\"op\":\"overview\"} {}",
            "{\"op\":\"remove_account\"}",
            "{\"op\":\"remove_account\",\"name\":\"bob\",\"force\":true}",
        ] {
            assert!(Call::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = format!("{{\"op\":\"{}\"}}", "a".repeat(MAX_CALL));
        assert!(Call::read(long.as_bytes()).unwrap_err().contains("longer"));
    }

    #[test]
    fn secrets_do_not_show_in_logs() {
        let call = Call::SetPassword {
            name: "bob".into(),
            password_hash: Secret("$6$salt$hash".into()),
        };
        assert!(!format!("{call:?}").contains("salt"));
    }
}
