//! What can go wrong between us and a mail server, and how it is told.

use super::socket::Stopped;
use super::wire::Said;
use crate::device::address::ConnectError;
use crate::device::words::plain;
use crate::error::Failure;
use roost_service::fingerprint::Fingerprint;
use rustls::CertificateError;
use std::io;

/// Why a server did not do what it was asked, or is not known to have done it.
#[derive(Debug, thiserror::Error)]
pub enum ImapError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended.
    #[error("the connection was cut: {0}")]
    Lost(String),
    /// Ctrl-C.
    #[error("ended by Ctrl-C")]
    Interrupted,
    /// No encryption, so nothing was sent.
    #[error("the server does not encrypt: {0}")]
    NoEncryption(String),
    /// No encryption that both sides can do.
    #[error("the encryption (TLS) did not come about: {0}")]
    Tls(String),
    /// A certificate that nobody vouches for, or another one than the known.
    #[error("{why}")]
    Untrusted {
        /// What was shown.
        shown: Fingerprint,
        /// What is wrong with it.
        why: String,
    },
    /// Neither of the two ways of signing in that every server has.
    #[error("the server takes no password (it wants OAuth, or a certificate)")]
    NoSignIn,
    /// Name or password are wrong, or not enough.
    #[error("the server says: {}", words(.0))]
    SignIn(Said),
    /// No, with the server's reason.
    #[error("{}", words(.0))]
    Refused(Said),
    /// What it says is no IMAP.
    #[error("the server's answer cannot be understood: {0}")]
    NotUnderstood(String),
    /// The disk of this computer.
    #[error("a temporary file: {0}")]
    Here(#[source] io::Error),
}

fn words(said: &Said) -> String {
    let text = plain(&said.text);
    match &said.code {
        Some(code) => format!("{text} [{}]", plain(code)),
        None => text,
    }
}

/// A certificate's fault in words for people.
pub fn in_words(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "nobody whom this computer trusts vouches for the server's certificate".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name".to_owned()
        }
        CertificateError::ApplicationVerificationFailure => {
            "the server shows another certificate than the one that was given".to_owned()
        }
        other => format!("the server's certificate is not good: {other}"),
    }
}

impl From<io::Error> for ImapError {
    fn from(e: io::Error) -> Self {
        if e.get_ref().is_some_and(|inner| inner.is::<Stopped>()) {
            return Self::Interrupted;
        }
        match e.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Lost("the server has closed it".to_owned()),
            io::ErrorKind::TimedOut => Self::Lost("nothing came for five minutes".to_owned()),
            io::ErrorKind::InvalidData => Self::NotUnderstood(e.to_string()),
            _ => Self::Lost(e.to_string()),
        }
    }
}

impl ImapError {
    /// Whether the same may work in a moment, over a new connection.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Connect(_) | Self::Lost(_) | Self::NotUnderstood(_)
        )
    }

    /// Whether the account has no room left (RFC 5530).
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Refused(said) if said.code.as_deref().is_some_and(|code| code.eq_ignore_ascii_case("OVERQUOTA")))
    }

    /// Whether the server only wants to be asked later (RFC 5530, RFC 9051): too much was asked of it.
    pub fn is_busy(&self) -> bool {
        let Self::Refused(said) = self else {
            return false;
        };
        let code = said.code.as_deref().unwrap_or_default();
        let codes = ["LIMIT", "INUSE", "UNAVAILABLE"];
        codes.iter().any(|own| own.eq_ignore_ascii_case(code))
            || said.text.to_ascii_lowercase().contains("too many requests")
    }

    /// The failure of a command that wanted `what` of the server `whose`, e.g. `cannot read the mail of`
    /// `alice at mail.example.org`. `option` is the one that takes a certificate for good.
    pub fn failure(self, what: &str, whose: &str, option: Option<&str>) -> Failure {
        let failure = Failure::new(format!("{what} {whose}"));
        let hint = match &self {
            Self::Interrupted => {
                return Failure::interrupted(format!("{what} {whose}")).because(self);
            }
            Self::Untrusted { shown, why } => {
                let [first, second] = shown.lines();
                let failure = failure.because(format!(
                    "{why}\nshown  {first}:\n       {second}\nNo password was sent."
                ));
                return match option {
                    Some(option) => failure.hint(format!(
                        "if you know that this is your server's certificate (it is yours, or its owner tells you the same SHA-256), add {option} {}",
                        shown.hex()
                    )),
                    None => failure.hint("run the command again: the box may just have got a new certificate"),
                };
            }
            Self::Connect(ConnectError::NotFound { .. }) => "check the server's name",
            Self::Connect(_) => {
                "check name and port: imaps:// is port 993, imap:// is port 143. A firewall may be in between"
            }
            Self::Lost(_) => "run the command again: it goes on where it ended",
            Self::NoEncryption(_) => {
                "a password is never sent in the clear. Try imaps://, which is encrypted from the start"
            }
            Self::Tls(_) => {
                "check the port: imaps:// is 993, imap:// (with STARTTLS) is 143. Servers that can do no TLS 1.2 are too old"
            }
            Self::NoSignIn => {
                "some providers have passwords for single programs (\"app passwords\"): make one in their web pages. If there are none, let a mail program copy your mail into a folder of this computer, and import that"
            }
            Self::SignIn(_) => {
                "check name and password. Large providers want a password for this program alone (\"app password\"), and some want IMAP to be switched on first, both in their web pages"
            }
            Self::Refused(_) => "the reason is the server's own",
            Self::NotUnderstood(_) => {
                "is it an IMAP server? imaps:// is port 993, imap:// is port 143"
            }
            Self::Here(_) => {
                "make room in the folder for temporary files, or name another one in TMPDIR"
            }
        };
        failure.because(self).hint(hint)
    }
}
