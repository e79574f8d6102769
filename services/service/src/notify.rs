//! Readiness: init gives each service a pipe and the service writes lines to it.
//!
//! The descriptor's number is in the environment variable [`ENV`]. `READY`
//! means "my sockets answer"; `STATUS <text>` explains a wait. Lines end with
//! a line feed; a line longer than [`MAX_LINE`] is cut off there, and a line
//! that is neither is ignored, so that a newer service may say more than an
//! older init understands.

use std::fmt;

/// Environment variable with the number of the notification descriptor.
pub const ENV: &str = "ROOST_NOTIFY_FD";
/// Longest line that init reads, in bytes, without the line feed.
pub const MAX_LINE: usize = 256;
/// Longest [`Message::Status`] text that is kept, in bytes.
pub const MAX_STATUS: usize = 200;

/// One line that a service may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The service answers requests now.
    Ready,
    /// A sentence for `roost status` (at most [`MAX_STATUS`] bytes are kept).
    Status(String),
}

impl Message {
    /// Reads one line, without its line feed.
    ///
    /// Returns `None` for a line that is no message. Bytes that are no UTF-8
    /// and control characters become `U+FFFD`, so that a status can be shown
    /// on a terminal as it is.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line == b"READY" {
            return Some(Self::Ready);
        }
        let text = String::from_utf8_lossy(line.strip_prefix(b"STATUS ")?);
        let mut kept = String::new();
        for c in text.trim().chars() {
            let c = if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            };
            if kept.len() + c.len_utf8() > MAX_STATUS {
                break;
            }
            kept.push(c);
        }
        (!kept.is_empty()).then_some(Self::Status(kept))
    }
}

/// The line as a service writes it, without the line feed.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("READY"),
            Self::Status(text) => write!(f, "STATUS {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_two_messages() {
        assert_eq!(Message::parse(b"READY"), Some(Message::Ready));
        assert_eq!(Message::parse(b"READY\r"), Some(Message::Ready));
        assert_eq!(
            Message::parse(b"STATUS opening the store"),
            Some(Message::Status("opening the store".into()))
        );
    }

    #[test]
    fn other_lines_are_ignored() {
        for line in [
            &b""[..],
            b"ready",
            b"READY now",
            b"STATUS",
            b"STATUS  ",
            b"\0\xff",
        ] {
            assert_eq!(Message::parse(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_short_printable_status(line in proptest::collection::vec(any::<u8>(), 0..400)) {
            let line = [b"STATUS ".to_vec(), line].concat();
            if let Some(Message::Status(text)) = Message::parse(&line) {
                prop_assert!(text.len() <= MAX_STATUS);
                prop_assert!(!text.is_empty() && !text.chars().any(char::is_control));
            }
        }

        #[test]
        fn what_is_written_is_read(text in "[a-z]([ -~äß]{0,80}[a-z])?") {
            let message = Message::Status(text);
            prop_assert_eq!(Message::parse(message.to_string().as_bytes()), Some(message.clone()));
        }

        #[test]
        fn junk_never_panics(line in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Message::parse(&line);
        }
    }
}
