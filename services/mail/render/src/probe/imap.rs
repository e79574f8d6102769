//! Reading and emptying a folder (RFC 9051).

use super::wire::{Trouble, Wire, shown};
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of each message that are fetched; the probe's own is a tenth of it.
const FETCHED: u64 = 16 << 10;

/// A session. It begins with the server's greeting, which [`Imap::log_in`] reads.
pub(super) struct Imap<S> {
    wire: Wire<S>,
    tag: u32,
}

/// What came before the tagged line of a good reply.
#[derive(Default)]
struct Reply {
    lines: Vec<String>,
    literals: Vec<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Imap<S> {
    pub(super) fn new(stream: S) -> Self {
        Imap {
            wire: Wire::new(stream),
            tag: 0,
        }
    }

    pub(super) async fn log_in(&mut self, name: &str, password: &str) -> Result<(), Trouble> {
        let greeting = self.wire.line().await?;
        if !greeting.starts_with("* OK") {
            return Err(Trouble::Strange {
                command: "the connection",
                reply: shown(&greeting),
            });
        }
        let text = format!("LOGIN \"{name}\" \"{password}\"");
        self.command("LOGIN", &text).await?;
        Ok(())
    }

    /// Opens a folder; gives the number of messages in it.
    pub(super) async fn select(&mut self, folder: &str) -> Result<u32, Trouble> {
        let reply = self
            .command("SELECT", &format!("SELECT \"{folder}\""))
            .await?;
        let exists = reply.lines.iter().find_map(|line| {
            let number = line.strip_prefix("* ")?.strip_suffix(" EXISTS")?;
            number.parse().ok()
        });
        exists.ok_or_else(|| Trouble::Strange {
            command: "SELECT",
            reply: shown(&reply.lines.join(" ")),
        })
    }

    /// The messages of the open folder, which must not be empty.
    pub(super) async fn messages(&mut self) -> Result<Vec<Vec<u8>>, Trouble> {
        let text = format!("FETCH 1:* (BODY.PEEK[]<0.{FETCHED}>)");
        Ok(self.command("FETCH", &text).await?.literals)
    }

    /// Deletes the messages of the open folder, which must not be empty.
    pub(super) async fn delete_all(&mut self) -> Result<(), Trouble> {
        self.command("STORE", r"STORE 1:* +FLAGS.SILENT (\Deleted)")
            .await?;
        self.command("EXPUNGE", "EXPUNGE").await?;
        Ok(())
    }

    /// Says good-bye; the work is done, so how that goes does not matter.
    pub(super) async fn log_out(mut self) {
        let _ = self.wire.send("bye LOGOUT\r\n").await;
    }

    /// Sends a command and reads up to its tagged line, which must say OK.
    async fn command(&mut self, name: &'static str, text: &str) -> Result<Reply, Trouble> {
        self.tag += 1;
        let tag = format!("p{} ", self.tag);
        self.wire.send(&format!("{tag}{text}\r\n")).await?;
        let mut reply = Reply::default();
        loop {
            let line = self.whole_line(&mut reply.literals).await?;
            if let Some(status) = line.strip_prefix(&tag) {
                if status == "OK" || status.starts_with("OK ") {
                    return Ok(reply);
                }
                return Err(Trouble::Refused {
                    command: name,
                    reply: shown(status),
                });
            }
            if let Some(why) = line.strip_prefix("* BYE") {
                return Err(Trouble::Bye(shown(why)));
            }
            if !line.starts_with("* ") {
                return Err(Trouble::Strange {
                    command: name,
                    reply: shown(&line),
                });
            }
            reply.lines.push(line);
        }
    }

    /// A line with the literals in it taken out (RFC 9051 §4.3).
    async fn whole_line(&mut self, literals: &mut Vec<Vec<u8>>) -> Result<String, Trouble> {
        let mut whole = String::new();
        loop {
            let line = self.wire.line().await?;
            let length = literal(&line);
            whole.push_str(&line);
            match length {
                Some(length) => literals.push(self.wire.bytes(length).await?),
                None => return Ok(whole),
            }
        }
    }
}

/// The length of the literal that follows a line.
fn literal(line: &str) -> Option<u64> {
    let (_, length) = line.strip_suffix('}')?.rsplit_once('{')?;
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    // A length beyond all bounds is bounded where it is read.
    digits.then(|| length.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_at_the_end_of_a_line() {
        assert_eq!(literal("* 1 FETCH (BODY[]<0> {12}"), Some(12));
        assert_eq!(literal("{99999999999999999999999}"), Some(u64::MAX));
        for line in [
            "",
            "}",
            "{}",
            "{12",
            "12}",
            "{+1}",
            "{-1}",
            "{1} ",
            "* OK {1} x",
        ] {
            assert_eq!(literal(line), None, "{line:?}");
        }
    }
}
