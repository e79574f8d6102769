//! Which server, which user, and where the password comes from.

use super::imap::tls::Trust;
use crate::ask::{can_ask, no_answer};
use crate::device::address::Address;
use crate::error::Failure;
use crate::password::first_line;
use crate::ui::Ui;
use roost_service::fingerprint::Fingerprint;
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// Ports of IMAP (RFC 8314, RFC 3501).
const IMAPS: u16 = 993;
const IMAP: u16 = 143;

/// How a connection is encrypted. In the clear is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// From the first byte.
    Tls,
    /// After a greeting.
    StartTls,
}

/// An account on a mail server, without its password: `imaps://alice@mail.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImapUrl {
    /// Who.
    pub user: String,
    /// Where.
    pub address: Address,
    /// How.
    pub security: Security,
}

impl ImapUrl {
    /// Whether somebody means one.
    pub fn is_meant(text: &str) -> bool {
        text.contains("://")
    }
}

impl fmt::Display for ImapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.user, self.address.host())
    }
}

impl std::str::FromStr for ImapUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "e.g. imaps://alice@mail.example.org, or imap:// for STARTTLS";
        let (scheme, rest) = text.split_once("://").ok_or(expected)?;
        let (security, usual) = match scheme.to_ascii_lowercase().as_str() {
            "imaps" => (Security::Tls, IMAPS),
            "imap" => (Security::StartTls, IMAP),
            other => return Err(format!("{other}:// is no mail server: {expected}")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // Names of accounts often are addresses.
        let (user, host) = rest
            .rsplit_once('@')
            .ok_or_else(|| format!("it names no user: {expected}"))?;
        if user.contains(':') {
            return Err("a password does not belong there: everybody on this computer can see it, and your shell keeps it. You are asked for it, or give --password-file".to_owned());
        }
        if host.contains(['/', '?', '#']) {
            return Err(format!("folders are chosen by --folder: {expected}"));
        }
        let user = percent_decoded(user)
            .filter(|user| !user.is_empty() && !user.contains(['\0', '\r', '\n']));
        let user = user.ok_or_else(|| format!("the user's name is damaged: {expected}"))?;
        let has_port = match host.strip_prefix('[') {
            Some(v6) => v6.contains("]:"),
            None => host.matches(':').count() == 1,
        };
        let address: Address = host.parse()?;
        let address = if has_port {
            address
        } else {
            address.with_port(usual)
        };
        Ok(Self {
            user,
            address,
            security,
        })
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok()?;
                byte[0]
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// All that is needed to sign in.
#[derive(Clone)]
pub struct Account {
    /// Where.
    pub address: Address,
    /// How.
    pub security: Security,
    /// Whom to believe that it is the server.
    pub trust: Trust,
    /// Who.
    pub user: String,
    /// In clear; it reaches no file and no log.
    pub password: Zeroizing<String>,
}

impl Account {
    /// Of a URL, a certificate that is known, and a password.
    pub fn new(
        url: &ImapUrl,
        certificate: Option<Fingerprint>,
        password: Zeroizing<String>,
    ) -> Self {
        Self {
            address: url.address.clone(),
            security: url.security,
            trust: certificate.map_or(Trust::Authorities, Trust::Certificate),
            user: url.user.clone(),
            password,
        }
    }
}

/// SHA-256 of a certificate as people copy it: with colons and blanks, or without.
///
/// # Errors
///
/// Why it is none.
pub fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
    Fingerprint::from_hex(&digits.to_ascii_lowercase())
        .ok_or_else(|| "a SHA-256 has 64 hexadecimal digits".to_owned())
}

/// The password of `url`: from a file, from the environment, or from the terminal.
///
/// # Errors
///
/// A [`Failure`] if it is nowhere.
pub fn password(
    url: &ImapUrl,
    (option, file): (&str, Option<&Path>),
    variable: &str,
    ui: &Ui,
) -> Result<Zeroizing<String>, Failure> {
    let password = if let Some(file) = file {
        Zeroizing::new(first_line(file)?)
    } else if let Some(text) = std::env::var_os(variable).filter(|text| !text.is_empty()) {
        let text = text.into_string();
        Zeroizing::new(text.map_err(|_| Failure::usage(format!("{variable} is no text")))?)
    } else if can_ask(ui) {
        let typed = dialoguer::Password::new()
            .with_prompt(format!("Password of {url}"))
            .interact();
        Zeroizing::new(typed.map_err(no_answer)?)
    } else {
        return Err(Failure::usage(format!(
            "there is no password for {url}, and no terminal to ask for it"
        ))
        .hint(format!("add {option} FILE, or set {variable}")));
    };
    if password.is_empty() || password.contains(['\0', '\r', '\n']) {
        return Err(Failure::usage(format!(
            "the password for {url} is empty, or has more than one line"
        )));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accounts_are_named_by_addresses_of_the_web() {
        for (text, user, host, port, security) in [
            (
                "imaps://alice@mail.example.org",
                "alice",
                "mail.example.org",
                993,
                Security::Tls,
            ),
            (
                "imaps://alice@example.org@mail.example.org/",
                "alice@example.org",
                "mail.example.org",
                993,
                Security::Tls,
            ),
            (
                "imap://alice%40example.org@127.0.0.1:1143",
                "alice@example.org",
                "127.0.0.1",
                1143,
                Security::StartTls,
            ),
            (
                "imaps://a%20b@[::1]:1993",
                "a b",
                "::1",
                1993,
                Security::Tls,
            ),
            ("imap://a@[::1]", "a", "::1", 143, Security::StartTls),
            // As it was written, though that is the port of something else.
            ("imaps://a@mail:7625", "a", "mail", 7625, Security::Tls),
        ] {
            let url: ImapUrl = text.parse().unwrap();
            assert_eq!(url.user, user);
            assert_eq!(
                (url.address.host(), url.address.port(), url.security),
                (host, port, security),
                "{text}"
            );
        }
        let bad = [
            "mail.example.org",
            "http://alice@mail.example.org",
            "imaps://mail.example.org",
            "imaps://alice:secret@mail.example.org",
            "imaps://alice@mail.example.org/INBOX",
            "imaps://@mail.example.org",
            "imaps://a%0@b",
            "imaps://a%0ab@c",
            "imaps://a@",
        ];
        let told: Vec<String> = bad
            .iter()
            .map(|text| format!("{text}\n  {}", text.parse::<ImapUrl>().unwrap_err()))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(imaps?://)?[a-z%0-9@:/\\[\\]]{0,30}|\\PC{0,20}") {
            let _ = (text.parse::<ImapUrl>(), fingerprint(&text));
        }
    }
}
