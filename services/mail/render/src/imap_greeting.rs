//! What IMAP's clear-text port says before TLS.
//!
//! The library's session refuses `LOGIN` there but takes `AUTHENTICATE PLAIN`,
//! and does not say `LOGINDISABLED`. So nothing of it is reached before TLS:
//! these few commands are answered here, and a password is never looked at
//! (RFC 9051 §6.2.1 and §6.2.3, RFC 8314 §3).

/// Longest line that is read; the commands answered here are short.
pub const MAX_LINE: usize = 1024;

/// Commands before a connection without STARTTLS is closed.
pub const MAX_COMMANDS: usize = 20;

const CAPABILITIES: &str = "IMAP4rev2 IMAP4rev1 ID STARTTLS LOGINDISABLED";

/// The first line of a connection.
pub const GREETING: &str =
    "* OK [CAPABILITY IMAP4rev2 IMAP4rev1 ID STARTTLS LOGINDISABLED] IMAP4 ready\r\n";

/// The line to send, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Lines with their line ends.
    pub text: String,
    /// What comes after them.
    pub then: Then,
}

/// What comes after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next command.
    Next,
    /// The TLS handshake.
    Tls,
    /// Nothing: the connection is closed.
    Close,
}

/// Answers one command line (without its line end).
pub fn answer(line: &[u8]) -> Reply {
    let Some((tag, command)) = parse(line) else {
        return Reply {
            text: "* BAD Not a command\r\n".into(),
            then: Then::Next,
        };
    };
    let (untagged, status, then) = match command.as_str() {
        "STARTTLS" => (String::new(), "OK Begin TLS now", Then::Tls),
        "CAPABILITY" => (
            format!("* CAPABILITY {CAPABILITIES}\r\n"),
            "OK Done",
            Then::Next,
        ),
        "NOOP" => (String::new(), "OK Done", Then::Next),
        "ID" => ("* ID NIL\r\n".into(), "OK Done", Then::Next),
        "LOGOUT" => ("* BYE Good bye\r\n".into(), "OK Done", Then::Close),
        "LOGIN" | "AUTHENTICATE" => (
            String::new(),
            "NO [PRIVACYREQUIRED] Use STARTTLS first",
            Then::Next,
        ),
        _ => (String::new(), "BAD Use STARTTLS first", Then::Next),
    };
    Reply {
        text: format!("{untagged}{tag} {status}\r\n"),
        then,
    }
}

/// The tag and the command in capitals, if the line has both.
fn parse(line: &[u8]) -> Option<(&str, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let tag = words.next()?;
    let good_tag = !tag.is_empty()
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let command = words.next()?.trim_end_matches('\r').to_ascii_uppercase();
    good_tag.then_some((tag, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_that_log_in_needs_tls() {
        assert!(GREETING.contains(&format!("[CAPABILITY {CAPABILITIES}]")));
        insta::assert_snapshot!(answer(b"a1 capability").text);
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for line in [
            "a LOGIN alice secret",
            "a authenticate PLAIN c2VjcmV0",
            "a Login alice {6}",
        ] {
            let reply = answer(line.as_bytes());
            assert_eq!(reply.text, "a NO [PRIVACYREQUIRED] Use STARTTLS first\r\n");
            assert_eq!(reply.then, Then::Next);
        }
    }

    #[test]
    fn starttls_and_logout_end_it() {
        assert_eq!(answer(b"x.1 STARTTLS").then, Then::Tls);
        assert_eq!(answer(b"x LOGOUT").then, Then::Close);
    }

    #[test]
    fn junk_is_refused() {
        for line in [
            &b""[..],
            b"a",
            b"\xff\xfe x",
            b"* LOGIN",
            b"<a> NOOP",
            b"a ",
            b"a SELECT x",
        ] {
            let reply = answer(line);
            assert!(reply.text.contains("BAD"), "{reply:?}");
            assert_eq!(reply.then, Then::Next);
        }
    }
}
