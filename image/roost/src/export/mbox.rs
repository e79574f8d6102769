//! Messages into mbox files, as `mboxrd` has them (RFC 4155, appendix A): whatever begins with `From ` gets a `>`.

use crate::mail::date::Date;
use crate::mail::message::Flags;
use std::io::{self, BufRead, BufReader, Read, Write};

/// Bytes of a line that are looked at together.
const MAX_PIECE: u64 = 64 << 10;

/// Writes one message. Marks go into the header fields that Dovecot, mutt and Thunderbird's import know.
///
/// # Errors
///
/// What either side says.
pub fn write(
    out: &mut impl Write,
    date: Option<Date>,
    flags: &Flags,
    message: impl Read,
) -> io::Result<()> {
    let date = date
        .and_then(Date::to_mbox)
        .unwrap_or_else(|| "Thu Jan  1 00:00:00 1970".to_owned());
    writeln!(out, "From MAILER-DAEMON {date}")?;
    if flags.has("\\Seen") {
        writeln!(out, "Status: RO")?;
    }
    let letters = [
        ("\\Answered", 'A'),
        ("\\Flagged", 'F'),
        ("\\Draft", 'T'),
        ("\\Deleted", 'D'),
    ];
    let status: String = letters
        .iter()
        .filter(|(flag, _)| flags.has(flag))
        .map(|(_, letter)| *letter)
        .collect();
    if !status.is_empty() {
        writeln!(out, "X-Status: {status}")?;
    }
    let words: Vec<&str> = flags.keywords().collect();
    if !words.is_empty() {
        writeln!(out, "X-Keywords: {}", words.join(" "))?;
    }
    let mut message = BufReader::new(message);
    let mut line = Vec::new();
    let mut at_start = true;
    loop {
        line.clear();
        // A piece that ends between CR and LF would keep the CR.
        (&mut message)
            .take(MAX_PIECE)
            .read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\r') {
            (&mut message).take(1).read_to_end(&mut line)?;
        }
        if line.is_empty() {
            break;
        }
        let letters = line.iter().position(|b| *b != b'>');
        if at_start && letters.is_some_and(|at| line[at..].starts_with(b"From ")) {
            out.write_all(b">")?;
        }
        at_start = line.ends_with(b"\n");
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                out.write_all(text)?;
                out.write_all(b"\n")?;
            }
            None => out.write_all(&line)?,
        }
    }
    if !at_start {
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
}
