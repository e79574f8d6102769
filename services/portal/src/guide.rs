//! How mail programs are set up: what people read, and what programs ask for by themselves.
//!
//! From the box's names and an account to documents; no storage, no network. [`Guide::answer`]
//! serves what a program fetches before it has a password; it tells everyone the same and says
//! nothing about which accounts exist.
//!
//! | What | For |
//! |---|---|
//! | [`Guide::settings`], [`Guide::links`] | people, to type in |
//! | `autoconfig` | Thunderbird, K-9, KMail, Evolution |
//! | `autodiscover` | Outlook |
//! | [`Guide::apple_profile`] | iPhone, iPad, Mac |
//! | [`Guide::phone_code`] | Thunderbird on Android, as a QR code |
//!
//! Log-in names are the first half of an account's own address, which all of this relies on.

mod apple;
mod autoconfig;
mod autodiscover;
mod phone;

use roost_service::mail::ports;
use roost_service::names::{Address, Domain};

pub use autodiscover::{MAX_REQUEST, Wish, read as read_autodiscover};

/// The box as mail programs see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guide {
    /// Name by which programs reach the box.
    host: String,
    /// Mail domains, the box's own first.
    domains: Vec<Domain>,
}

/// Whose program it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Log-in name.
    pub login: String,
    /// The account's own address.
    pub address: String,
    /// The person's name; may be empty.
    pub display_name: String,
}

/// A document and how it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// Name under which it is saved; `None`: it is for a program.
    pub file_name: Option<String>,
    /// The document.
    pub body: Vec<u8>,
}

/// What a program of a certain kind of server needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What it is for, in plain words, with the protocol's name.
    pub service: &'static str,
    /// The server's name.
    pub server: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected, in programs' words.
    pub security: Security,
    /// Whether most programs want this one, or it is another way.
    pub first_choice: bool,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// From the first byte.
    Tls,
    /// After a greeting.
    StartTls,
}

impl Security {
    /// As programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Security::Tls => "SSL/TLS",
            Security::StartTls => "STARTTLS",
        }
    }
}

/// An address that a program of another kind needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it is for, in plain words, with the protocol's name.
    pub service: &'static str,
    /// The address.
    pub url: String,
}

impl Guide {
    /// Of a box that is reached as `host` and has these domains, its own first. `None` without a
    /// domain, or if something is no name.
    pub fn new<'n>(host: &str, domains: impl IntoIterator<Item = &'n str>) -> Option<Self> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if host.is_empty() || !host.bytes().all(fine) {
            return None;
        }
        let domains: Option<Vec<Domain>> = domains
            .into_iter()
            .map(|name| Domain::parse(name).ok())
            .collect();
        Some(Guide {
            host: host.to_owned(),
            domains: domains.filter(|domains| !domains.is_empty())?,
        })
    }

    /// What somebody types into a mail program.
    pub fn settings(&self) -> Vec<Setting> {
        use Security::{StartTls, Tls};
        [
            ("Receiving mail (IMAP)", ports::IMAPS, Tls, true),
            ("Sending mail (SMTP)", ports::SUBMISSIONS, Tls, true),
            ("Receiving mail (IMAP)", ports::IMAP, StartTls, false),
            ("Sending mail (SMTP)", ports::SUBMISSION, StartTls, false),
            ("Receiving mail (POP3)", ports::POP3S, Tls, false),
            ("Receiving mail (POP3)", ports::POP3, StartTls, false),
            ("Filters (ManageSieve)", ports::SIEVE, StartTls, false),
        ]
        .map(|(service, port, security, first_choice)| Setting {
            service,
            server: self.host.clone(),
            port,
            security,
            first_choice,
        })
        .into()
    }

    /// Addresses for programs that speak HTTPS.
    pub fn links(&self) -> Vec<Link> {
        [
            ("Calendars (CalDAV)", CALENDARS),
            ("Contacts (CardDAV)", CONTACTS),
            ("Files (WebDAV)", "/dav/file/"),
            ("Mail (JMAP)", "/.well-known/jmap"),
        ]
        .map(|(service, path)| Link {
            service,
            url: self.url(path),
        })
        .into()
    }

    /// What a program fetches by itself, if this is such a request: status and document. Any
    /// method but `GET`, `HEAD` and `POST` is none. At most [`MAX_REQUEST`] bytes of the body
    /// are looked at.
    pub fn answer(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Document)> {
        match (method, path) {
            (
                "GET" | "HEAD",
                "/.well-known/autoconfig/mail/config-v1.1.xml" | "/mail/config-v1.1.xml",
            ) => Some((200, self.autoconfig())),
            // Outlook writes this path in several ways.
            (_, path) if path.eq_ignore_ascii_case("/autodiscover/autodiscover.xml") => {
                match method {
                    "POST" => Some((200, self.autodiscover(body))),
                    _ => Some((405, Document::text("This address is for mail programs.\n"))),
                }
            }
            _ => None,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.host)
    }

    /// Whether mail to this address comes here.
    fn serves(&self, address: &Address) -> bool {
        self.domains.contains(address.domain())
    }
}

/// Where the mail service has calendars.
const CALENDARS: &str = "/dav/cal/";
/// Where the mail service has contacts.
const CONTACTS: &str = "/dav/card/";

impl Document {
    fn xml(body: Vec<u8>) -> Self {
        Document {
            content_type: "text/xml; charset=utf-8",
            file_name: None,
            body,
        }
    }

    fn text(body: &str) -> Self {
        Document {
            content_type: "text/plain; charset=utf-8",
            file_name: None,
            body: body.into(),
        }
    }
}

/// A text without the signs that no XML document may have (XML 1.0 §2.2).
fn xml_text(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}'))
        .collect()
}

#[cfg(test)]
mod tests;
