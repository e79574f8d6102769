//! Which protocol answers on which port.

use roost_service::mail::{HTTP_PORT, ports};

/// Protocol of a listener, in Stalwart's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Mail transport and submission (RFC 5321, RFC 6409).
    Smtp,
    /// Reading mail (RFC 9051).
    Imap,
    /// Reading mail (RFC 1939).
    Pop3,
    /// Sieve scripts (RFC 5804).
    ManageSieve,
    /// JMAP, CalDAV, CardDAV, WebDAV.
    Http,
}

impl Protocol {
    /// The name that Stalwart's configuration uses.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::ManageSieve => "managesieve",
            Protocol::Http => "http",
        }
    }
}

/// One port of the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Name in the configuration and in log lines.
    pub id: &'static str,
    /// What is spoken.
    pub protocol: Protocol,
    /// TCP port.
    pub port: u16,
    /// TLS from the first byte (RFC 8314); otherwise STARTTLS is offered.
    pub implicit_tls: bool,
    /// Only for programs of the box.
    pub loopback: bool,
}

impl Listener {
    /// Where it is bound. Elsewhere than on loopback IPv4 arrives on the same socket as a
    /// mapped address (ipv6(7)).
    pub fn bind(&self) -> String {
        let port = self.port;
        if self.loopback {
            format!("127.0.0.1:{port}")
        } else {
            format!("[::]:{port}")
        }
    }
}

const fn listener(id: &'static str, protocol: Protocol, port: u16, implicit_tls: bool) -> Listener {
    Listener {
        id,
        protocol,
        port,
        implicit_tls,
        loopback: false,
    }
}

/// Every port that the mail service serves.
pub const ALL: [Listener; 9] = [
    listener("smtp", Protocol::Smtp, ports::SMTP, false),
    listener("submissions", Protocol::Smtp, ports::SUBMISSIONS, true),
    listener("submission", Protocol::Smtp, ports::SUBMISSION, false),
    listener("imaptls", Protocol::Imap, ports::IMAPS, true),
    listener("imap", Protocol::Imap, ports::IMAP, false),
    listener("pop3s", Protocol::Pop3, ports::POP3S, true),
    listener("pop3", Protocol::Pop3, ports::POP3, false),
    listener("sieve", Protocol::ManageSieve, ports::SIEVE, false),
    Listener {
        id: "http",
        protocol: Protocol::Http,
        port: HTTP_PORT,
        implicit_tls: false,
        loopback: true,
    },
];
