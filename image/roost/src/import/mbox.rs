//! Messages in mbox files: as Unix mailers, Thunderbird, Apple's Mail and Google's Takeout write them (RFC 4155).
//!
//! A message begins with a line `From … date`. Whatever begins with `From ` in a message should have got a
//! `>`, but not everybody writes it; so a line counts only if it ends with a date, and stands
//! behind an empty line or is to the letter of ctime(3). No library: mail-parser (0.11) begins a message at every `From `, knows no dates before
//! 1970 and no marks, and holds each message in memory.

use crate::mail::date::Date;
use crate::mail::message::Flags;
use std::io::{self, BufRead, Read, Write};

/// Bytes of a line that are looked at together; what is longer is passed on in pieces.
const MAX_PIECE: u64 = 64 << 10;
/// What mailers put in the header for themselves. The first three say how a message is marked.
const STATUS: &[u8] = b"status";
const X_STATUS: &[u8] = b"x-status";
const X_KEYWORDS: &[u8] = b"x-keywords";
const MOZILLA_STATUS: &[u8] = b"x-mozilla-status";
const MOZILLA_KEYS: &[u8] = b"x-mozilla-keys";
const OWN: [&[u8]; 10] = [
    STATUS,
    X_STATUS,
    X_KEYWORDS,
    MOZILLA_STATUS,
    MOZILLA_KEYS,
    b"x-mozilla-status2",
    b"x-uid",
    b"x-imap",
    b"x-imapbase",
    b"content-length",
];
/// Bits of `X-Mozilla-Status`.
const READ: u16 = 0x0001;
const REPLIED: u16 = 0x0002;
const MARKED: u16 = 0x0004;
const EXPUNGED: u16 = 0x0008;
const FORWARDED: u16 = 0x1000;

/// What a file says of a message beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Marks.
    pub flags: Flags,
    /// From its first line.
    pub date: Option<Date>,
    /// Deleted in Thunderbird, and still in the file until that compacts it; or no message at all, but
    /// what a mailer keeps there for itself.
    pub gone: bool,
}

/// A file that is read from its beginning, or from where a message begins.
pub struct Mbox<R> {
    reader: R,
    /// The line that was read and belongs to the next message.
    next: Option<Vec<u8>>,
    /// Bytes read, up to the end of `next`.
    read: u64,
}

impl<R: BufRead> Mbox<R> {
    /// Over this, which begins at byte `at` of its file.
    pub fn new(reader: R, at: u64) -> Self {
        Self {
            reader,
            next: None,
            read: at,
        }
    }

    /// Where the next message begins.
    ///
    /// # Errors
    ///
    /// What the disk says; [`io::ErrorKind::InvalidData`] if no message begins where one should.
    pub fn place(&mut self) -> io::Result<Option<u64>> {
        while self.next.is_none() {
            let line = self.piece()?;
            if line.is_empty() {
                return Ok(None);
            }
            // Some files begin with empty lines.
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if !begins(&line) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it does not begin like an mbox file",
                ));
            }
            self.next = Some(line);
        }
        Ok(self.next.as_ref().map(|line| self.read - line.len() as u64))
    }

    /// Writes the next message to `out`, with the line ends that the file has. `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::place`], and what `out` says.
    pub fn message(&mut self, out: &mut impl Write) -> io::Result<Option<Head>> {
        if self.place()?.is_none() {
            return Ok(None);
        }
        let first = self.next.take().unwrap_or_default();
        let mut head = Head {
            date: Date::from_mbox(&String::from_utf8_lossy(&first[b"From ".len()..])),
            ..Head::default()
        };
        let mut field = Field::default();
        let (mut in_header, mut empty) = (true, true);
        let (mut at_start, mut after_blank) = (true, false);
        // An empty line is written once it is known that it does not only part two messages.
        let mut held: Vec<u8> = Vec::new();
        loop {
            let line = self.piece()?;
            if line.is_empty() {
                return Ok(Some(head));
            }
            let starts = std::mem::replace(&mut at_start, line.ends_with(b"\n"));
            if starts && begins(&line) && (after_blank || empty || to_the_letter(&line)) {
                self.next = Some(line);
                return Ok(Some(head));
            }
            empty = false;
            after_blank = starts && matches!(line.as_slice(), b"\n" | b"\r\n");
            if in_header && !after_blank {
                if !field.is_own(&line, starts, &mut head) {
                    out.write_all(&line)?;
                }
                continue;
            }
            in_header = false;
            out.write_all(&held)?;
            held.clear();
            if after_blank {
                held = line;
                continue;
            }
            let quoted = starts && line.first() == Some(&b'>') && is_from_behind_quotes(&line);
            out.write_all(if quoted { &line[1..] } else { &line })?;
        }
    }

    /// A line, or a piece of a long one; empty at the end.
    fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.reader)
            .take(MAX_PIECE)
            .read_until(b'\n', &mut line)?;
        self.read += line.len() as u64;
        Ok(line)
    }
}

/// Whether a message begins with this line.
fn begins(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"From ").map(String::from_utf8_lossy);
    rest.is_some_and(|rest| Date::from_mbox(&rest).is_some())
}

/// Some mailers put no empty line before it.
fn to_the_letter(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"From ").map(String::from_utf8_lossy);
    rest.is_some_and(|rest| Date::is_ctime(&rest))
}

fn is_from_behind_quotes(line: &[u8]) -> bool {
    let letters = line.iter().position(|b| *b != b'>');
    letters.is_some_and(|at| line[at..].starts_with(b"From "))
}

/// The field of a header that the last line belonged to, if it is a mailer's own.
#[derive(Default)]
struct Field(Option<&'static [u8]>);

impl Field {
    /// Whether this line of a header is a mailer's own and no part of the message; what it says goes to `head`.
    fn is_own(&mut self, line: &[u8], starts: bool, head: &mut Head) -> bool {
        let mut value = line;
        let continues = !starts || matches!(line.first(), Some(b' ' | b'\t'));
        if !continues {
            let end = line.iter().position(|b| *b == b':').unwrap_or(line.len());
            let name = line[..end].trim_ascii_end();
            self.0 = OWN.into_iter().find(|own| own.eq_ignore_ascii_case(name));
            value = line.get(end + 1..).unwrap_or_default();
        }
        let Some(own) = self.0 else { return false };
        let text = String::from_utf8_lossy(value);
        match own {
            STATUS if text.contains('R') => head.flags.add("\\Seen"),
            X_STATUS => {
                let known = [
                    ('A', "\\Answered"),
                    ('F', "\\Flagged"),
                    ('T', "\\Draft"),
                    ('D', "\\Deleted"),
                ];
                let has = known.iter().filter(|(letter, _)| text.contains(*letter));
                has.for_each(|(_, flag)| head.flags.add(flag));
            }
            X_KEYWORDS | MOZILLA_KEYS => text
                .split_ascii_whitespace()
                .for_each(|word| head.flags.add(word)),
            MOZILLA_STATUS => {
                let bits = u16::from_str_radix(text.trim(), 16).unwrap_or(0);
                head.gone |= bits & EXPUNGED != 0;
                let known = [
                    (READ, "\\Seen"),
                    (REPLIED, "\\Answered"),
                    (MARKED, "\\Flagged"),
                    (FORWARDED, "$Forwarded"),
                ];
                let has = known.iter().filter(|(bit, _)| bits & bit != 0);
                has.for_each(|(_, flag)| head.flags.add(flag));
            }
            // Only the message that UW's mailers keep their own notes in has it.
            b"x-imap" => head.gone = true,
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All messages and where each begins; from each place the same message must come again.
    fn all(file: &[u8]) -> io::Result<Vec<(Head, Vec<u8>)>> {
        let mut mbox = Mbox::new(file, 0);
        let mut all = Vec::new();
        while let Some(place) = mbox.place()? {
            let mut bytes = Vec::new();
            let head = mbox.message(&mut bytes)?.expect("there is one");
            let mut again = Vec::new();
            let at = usize::try_from(place).unwrap();
            let second = Mbox::new(&file[at..], place)
                .message(&mut again)?
                .expect("there is one");
            assert_eq!((&head, &bytes), (&second, &again));
            all.push((head, bytes));
        }
        Ok(all)
    }

    fn shown(file: &str) -> String {
        let shown = |(head, bytes): &(Head, Vec<u8>)| {
            let flags: Vec<&str> = head.flags.iter().collect();
            let date = head.date.and_then(Date::to_imap).unwrap_or_default();
            let gone = if head.gone { " gone" } else { "" };
            format!(
                "== {date} {flags:?}{gone}\n{}",
                String::from_utf8_lossy(bytes)
            )
        };
        all(file.as_bytes()).unwrap().iter().map(shown).collect()
    }

    #[test]
    fn files_of_many_mailers_are_read() {
        insta::assert_snapshot!(shown(
            "\
\nFrom alice@example.org Thu Jan  1 00:00:01 1970
Subject: dovecot
X-IMAPbase: 1 2 $Forwarded
X-UID: 1
Status: RO
X-Status: AF
X-Keywords: $Forwarded
 NonJunk
Content-Length: 17

>From the start
>>From twice
> From here
From my point of view, no date.

From nobody with a date 10:00 2020

From - Fri Nov 27 08:50:09 2026
X-Mozilla-Status: 1003
X-Mozilla-Status2: 00800000
X-Mozilla-Keys: $label1                                                         
Subject: thunderbird
 folded

body

with an empty line at its end


From - Fri Nov 27 08:50:09 2026
X-Mozilla-Status: 0009
Subject: deleted

From MAILER-DAEMON Fri Nov 27 08:50:09 2026
X-IMAP: 1234 5
Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA

notes
From behind no empty line Fri Nov 27 08:50:09 2026
From the Wed Dec 31 23:59:59 1969 on
From x Wed Dec 31 23:59:59 1969
From y Tue Jan 19 03:14:08 2038
no header here"
        ));
    }

    #[test]
    fn what_is_no_mbox_file_is_said() {
        for file in [
            "Subject: a message\n\nbody\n",
            "From here to there\n",
            "\u{1f}\u{8b}",
        ] {
            assert_eq!(
                all(file.as_bytes()).unwrap_err().kind(),
                io::ErrorKind::InvalidData,
                "{file}"
            );
        }
        assert_eq!(all(b"").unwrap(), []);
        assert_eq!(all(b"\n\n").unwrap(), []);
    }

    proptest! {
        /// Whatever the messages are, written as `roost export` does, they come back.
        #[test]
        fn what_is_written_is_read_again(
            bodies in prop::collection::vec(
                prop::collection::vec(prop_oneof![
                    Just("From x Thu Jan  1 00:00:01 1970".to_owned()), Just(String::new()), Just(">From y".to_owned()),
                    "[ -~]{0,20}",
                ], 0..6),
                0..5,
            ),
        ) {
            let mut file = Vec::new();
            let mut expected = Vec::new();
            for lines in &bodies {
                let body = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
                let message = format!("Subject: x\n\n{body}");
                crate::export::mbox::write(&mut file, Some(Date::utc(7)), &Flags::default(), message.as_bytes()).unwrap();
                expected.push(message.into_bytes());
            }
            let read: Vec<Vec<u8>> = all(&file).unwrap().into_iter().map(|(_, bytes)| bytes).collect();
            prop_assert_eq!(read, expected);
        }

        /// No bytes panic, and no byte of a body is lost: but for what the format itself adds.
        #[test]
        fn nothing_is_lost_of_any_bytes(
            junk in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..20), Just(b"\nFrom x Thu Jan  1 00:00:01 1970\n".to_vec()), Just(b"\n\n".to_vec()),
                Just(b">From ".to_vec()), Just(b"Status: R".to_vec()),
            ], 0..20).prop_map(|parts| parts.concat()),
        ) {
            let file = [b"From x Thu Jan  1 00:00:01 1970\n\n".as_slice(), &junk].concat();
            let read = all(&file).unwrap();
            let letters = |bytes: &[u8]| bytes.iter().filter(|b| !matches!(b, b'\n' | b'\r' | b'>')).count();
            // Where a message begins and where a mailer keeps its marks, a line is taken away.
            let whole = read.iter().map(|(_, bytes)| letters(bytes)).sum::<usize>();
            let mut taken = 0;
            let mut mbox = Mbox::new(file.as_slice(), 0);
            while mbox.place().unwrap().is_some() {
                taken += letters(mbox.next.as_ref().unwrap());
                mbox.message(&mut Vec::new()).unwrap();
            }
            let marks = letters(b"Status: R");
            prop_assert!(whole + taken <= letters(&file));
            if !junk.windows(marks).any(|w| w == b"Status: R") {
                prop_assert_eq!(whole + taken, letters(&file));
            }
        }
    }
}
