//! A message on its way, and how it is told from others.

use super::date::Date;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{self, Read, Seek, Write};
use tempfile::SpooledTempFile;

/// Longer messages wait in a temporary file, in bytes: few of them fill the memory of a small laptop.
const IN_MEMORY: usize = 4 << 20;
/// Bytes of a header in which its Message-ID is looked for.
const MAX_HEADER: usize = 1 << 20;

/// What servers and programs have marked a message with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags(BTreeSet<String>);

/// The system flags (RFC 3501, section 2.3.2), without `\Recent`, which nobody can set.
pub const SYSTEM: [&str; 5] = ["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"];

impl Flags {
    /// Adds one. What IMAP has no flag for is left out: unknown system flags, and words that no server
    /// would take.
    pub fn add(&mut self, flag: &str) {
        let known = SYSTEM.iter().find(|known| known.eq_ignore_ascii_case(flag));
        let word = |b: u8| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b);
        if let Some(known) = known {
            self.0.insert((*known).to_owned());
        } else if !flag.is_empty() && flag.bytes().all(word) {
            self.0.insert(flag.to_owned());
        }
    }

    /// Whether it has this one.
    pub fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|own| own.eq_ignore_ascii_case(flag))
    }

    /// Those that are a user's or a program's own words, e.g. `$Forwarded`.
    pub fn keywords(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .map(String::as_str)
            .filter(|flag| !flag.starts_with('\\'))
    }

    /// The system flags alone.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|flag| flag.starts_with('\\'))
                .cloned()
                .collect(),
        )
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<&'a str> for Flags {
    fn from_iter<T: IntoIterator<Item = &'a str>>(flags: T) -> Self {
        let mut all = Self::default();
        for flag in flags {
            all.add(flag);
        }
        all
    }
}

/// By what two messages may be the same: the Message-ID, as a hash, and the size in bytes with line ends
/// as IMAP has them. Cheap to ask a server for; whether they are the same, their [`Print`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    id: u128,
    size: u64,
}

impl Key {
    /// Of a message with this header, or a part of it.
    pub fn new(header: &[u8], size: u64) -> Self {
        Self {
            id: id(header),
            size,
        }
    }

    /// The size in it.
    pub fn size(self) -> u64 {
        self.size
    }
}

/// Hash of a whole message. Servers that cannot keep a NUL write 0x80 for it, and some give every line the
/// end that mail has: such differences do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Print([u8; 32]);

impl Print {
    /// As text of 32 digits: 128 bits are enough to tell messages of a mailbox apart.
    pub fn short(self) -> String {
        hex::encode(&self.0[..16])
    }
}

/// A message with all that is kept of it.
pub struct Message {
    /// Marks.
    pub flags: Flags,
    /// When it arrived, if that is known.
    pub date: Option<Date>,
    /// Its bytes.
    pub content: Content,
}

/// The bytes of a message: in memory, or in a file without a name if they are many.
pub struct Content {
    file: SpooledTempFile,
    key: Key,
    print: Print,
    crlf: u64,
    bare_lf: u64,
}

impl Content {
    /// By what it may be the same as another.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The same where a server gives every line its end.
    pub fn key_with_line_ends(&self) -> Key {
        Key {
            size: self.key.size + self.bare_lf,
            ..self.key
        }
    }

    /// Whether it is.
    pub fn print(&self) -> Print {
        self.print
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.key.size
    }

    /// Lines that end as mail's lines do.
    pub fn crlf(&self) -> u64 {
        self.crlf
    }

    /// Whether a line in it ends otherwise than mail's lines do.
    pub fn has_bare_lf(&self) -> bool {
        self.bare_lf > 0
    }

    /// From its beginning.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn reader(&mut self) -> io::Result<&mut impl Read> {
        self.file.rewind()?;
        Ok(&mut self.file)
    }
}

/// Takes the bytes of a message and keeps only what tells it from others.
#[derive(Debug, Default)]
pub struct Measure {
    len: u64,
    header: Vec<u8>,
    header_ended: bool,
    last: u8,
    crlf: u64,
    bare_lf: u64,
}

impl Measure {
    /// By which it may be the same as another.
    pub fn key(&self) -> Key {
        Key::new(&self.header, self.len)
    }

    fn look_at_header(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.header.len() >= MAX_HEADER {
                self.header_ended = true;
            }
            if self.header_ended {
                return;
            }
            self.header.push(*byte);
            self.header_ended = self.header.ends_with(b"\n\r\n") || self.header.ends_with(b"\n\n");
        }
    }
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.look_at_header(bytes);
        for byte in bytes {
            match (*byte, self.last) {
                (b'\n', b'\r') => self.crlf += 1,
                (b'\n', _) => self.bare_lf += 1,
                _ => {}
            }
            self.last = *byte;
        }
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the bytes of a message.
pub struct Writer {
    file: SpooledTempFile,
    hash: Sha256,
    measure: Measure,
}

impl Writer {
    /// Empty.
    pub fn new() -> Self {
        Self {
            file: SpooledTempFile::new(IN_MEMORY),
            hash: Sha256::new(),
            measure: Measure::default(),
        }
    }

    /// That is all.
    pub fn finish(self) -> Content {
        Content {
            key: self.measure.key(),
            print: Print(self.hash.finalize().into()),
            file: self.file,
            crlf: self.measure.crlf,
            bare_lf: self.measure.bare_lf,
        }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        let mut kept = Vec::with_capacity(bytes.len());
        let mut last = self.measure.last;
        for byte in bytes {
            match (*byte, last) {
                (0, _) => kept.push(0x80),
                (b'\n', before) if before != b'\r' => kept.extend(b"\r\n"),
                (other, _) => kept.push(other),
            }
            last = *byte;
        }
        self.hash.update(&kept);
        self.measure.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives lines the ends that mail has: a line feed gets its carriage return, if it has none.
pub struct ToCrlf<W> {
    out: W,
    last: u8,
}

impl<W: Write> ToCrlf<W> {
    /// In front of `out`.
    pub fn new(out: W) -> Self {
        Self { out, last: 0 }
    }

    /// Past it, for what has the right ends already.
    pub fn as_is(&mut self) -> &mut W {
        &mut self.out
    }

    /// What is behind it.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for ToCrlf<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' && self.last != b'\r' {
                self.out.write_all(&bytes[from..at])?;
                self.out.write_all(b"\r\n")?;
                from = at + 1;
            }
            self.last = *byte;
        }
        self.out.write_all(&bytes[from..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A hash of the Message-ID in a header; of nothing if it has none.
fn id(header: &[u8]) -> u128 {
    const FIELD: &[u8] = b"message-id:";
    let mut lines = header.split(|b| *b == b'\n');
    let mut value: Vec<u8> = Vec::new();
    while let Some(line) = lines.next() {
        if line.len() >= FIELD.len() && line[..FIELD.len()].eq_ignore_ascii_case(FIELD) {
            value.extend(&line[FIELD.len()..]);
            // A field goes on in lines that begin with a blank (RFC 5322, section 2.2.3).
            let more =
                lines.take_while(|line| line.first().is_some_and(|b| matches!(b, b' ' | b'\t')));
            more.for_each(|line| value.extend(line));
            break;
        }
        if line.is_empty() || line == b"\r" {
            break;
        }
    }
    value.retain(|b| !b.is_ascii_whitespace() && *b != 0);
    let hash = Sha256::digest(&value);
    hash.iter()
        .take(16)
        .fold(0, |id, byte| id << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(bytes: &[u8]) -> Content {
        let mut writer = Writer::new();
        writer.write_all(bytes).unwrap();
        writer.finish()
    }

    #[test]
    fn messages_are_told_apart_by_their_id_whatever_its_spelling() {
        let one =
            id(b"From: a\r\nMessage-ID: <1@example.org>\r\n\r\nMessage-ID: <2@example.org>\r\n");
        assert_eq!(one, id(b"message-id:<1@example.org>\r\n\r\n"));
        assert_eq!(one, id(b"Message-Id:\r\n <1@example.org>\r\nTo: b\r\n\r\n"));
        assert_ne!(one, id(b"Message-ID: <2@example.org>\r\n\r\n"));
        // Not from the body.
        assert_eq!(
            id(b"From: a\r\n\r\nMessage-ID: <2@example.org>\r\n"),
            id(b"")
        );
    }

    #[test]
    fn a_nul_and_what_servers_keep_of_it_are_the_same() {
        assert_eq!(content(b"a\0b").print(), content(b"a\x80b").print());
        assert_ne!(content(b"a\0b").print(), content(b"a b").print());
        let (bare, whole) = (content(b"a\nb\r\n"), content(b"a\r\nb\r\n"));
        assert_eq!(bare.print(), whole.print());
        assert_ne!(bare.key(), whole.key());
        assert_eq!(bare.key_with_line_ends(), whole.key());
    }

    #[test]
    fn flags_are_those_that_imap_has() {
        let flags: Flags = [
            "\\seen",
            "\\Recent",
            "\\Seen",
            "$Forwarded",
            "a b",
            "",
            "x(",
            "NonJunk",
        ]
        .into_iter()
        .collect();
        assert_eq!(
            flags.iter().collect::<Vec<_>>(),
            ["$Forwarded", "NonJunk", "\\Seen"]
        );
        assert_eq!(
            flags.keywords().collect::<Vec<_>>(),
            ["$Forwarded", "NonJunk"]
        );
        assert!(flags.has("$forwarded") && !flags.has("\\Draft"));
    }

    proptest! {
        /// However the bytes come in pieces, the same message comes out, with the ends that mail has.
        #[test]
        fn lines_get_their_ends(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..60),
            cut in 0usize..60,
        ) {
            let cut = cut.min(text.len());
            let mut parts = ToCrlf::new(Vec::new());
            parts.write_all(&text[..cut]).unwrap();
            parts.write_all(&text[cut..]).unwrap();
            let out = parts.into_inner();
            let bare = |bytes: &[u8]| (0..bytes.len()).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r'));
            prop_assert!(!bare(&out));
            prop_assert_eq!(content(&text).has_bare_lf(), bare(&text));
            let without = |bytes: &[u8]| bytes.iter().copied().filter(|b| *b != b'\r').collect::<Vec<_>>();
            prop_assert_eq!(without(&out), without(&text));
        }

        #[test]
        fn a_message_comes_back_as_it_was_put_in(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let mut writer = Writer::new();
            let cut = cut.min(bytes.len());
            writer.write_all(&bytes[..cut]).unwrap();
            writer.write_all(&bytes[cut..]).unwrap();
            let mut one = writer.finish();
            let mut back = Vec::new();
            one.reader().unwrap().read_to_end(&mut back).unwrap();
            let two = content(&bytes);
            prop_assert_eq!(back, bytes);
            prop_assert_eq!((one.key(), one.print()), (two.key(), two.print()));
        }
    }
}
