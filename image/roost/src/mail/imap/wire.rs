//! What a server says, taken from a stream of bytes (RFC 3501, section 9; RFC 9051).
//!
//! Tolerant where nothing is lost by it: servers that have been on the internet for decades say odd things.
//! What cannot be understood is a word nobody asks for. No library reads answers for us: imap-proto (0.17)
//! panics at `INTERNALDATE NIL`, loses the bytes of odd folder names, and wants each message in memory;
//! imap-codec is an alpha and refuses what is not to the letter.

use crate::mail::message::{Content, Writer};
use std::io::{self, Read, Write};

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;
/// Longest line of a status, in bytes.
const MAX_LINE: usize = 64 << 10;
/// Most bytes of one answer that are kept in memory: a list of a million numbers has ten million.
const MAX_ANSWER: usize = 64 << 20;
/// Longest message, in bytes. The box takes far less; somebody's server must not fill this disk.
pub const MAX_MESSAGE: u64 = 2 << 30;
/// Lists in lists; real answers have four at most.
const MAX_DEPTH: usize = 32;

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<C> {
    /// A word, `NIL` included; what stands in brackets belongs to it: `BODY[HEADER.FIELDS (DATE)]`.
    Atom(Vec<u8>),
    /// A string.
    Text(Vec<u8>),
    /// In parentheses.
    List(Vec<Value<C>>),
    /// A whole message.
    Message(C),
}

impl<C> Value<C> {
    /// A word, in capitals.
    pub fn word(&self) -> Option<String> {
        match self {
            Self::Atom(bytes) => Some(String::from_utf8_lossy(bytes).to_ascii_uppercase()),
            _ => None,
        }
    }

    /// A word or a string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(bytes) | Self::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A number.
    pub fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.bytes()?).ok()?.parse().ok()
    }

    /// In parentheses.
    pub fn list(&self) -> Option<&[Value<C>]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// `NIL`, which stands for nothing.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Atom(bytes) if bytes.eq_ignore_ascii_case(b"NIL"))
    }
}

/// How something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
    /// The server hangs up.
    Bye,
    /// Signed in already.
    Preauth,
}

/// How something went, and in which words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How.
    pub status: Status,
    /// In brackets, for programs, e.g. `OVERQUOTA`.
    pub code: Option<String>,
    /// For people.
    pub text: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<C> {
    /// `+`: go on.
    Continue(String),
    /// The end of a command.
    Done(Vec<u8>, Said),
    /// By the way.
    Said(Said),
    /// Data.
    Data(Vec<Value<C>>),
}

/// A connection, and what came and was not taken yet.
pub struct Wire<S> {
    stream: S,
    inbox: Vec<u8>,
    at: usize,
    /// Bytes of the answer so far that are in memory.
    kept: usize,
}

fn odd(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<S: Read + Write> Wire<S> {
    /// Over this.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            inbox: Vec::new(),
            at: 0,
            kept: 0,
        }
    }

    /// The stream, if nothing waits that was not taken: whatever came before TLS may be anybody's.
    pub fn into_stream(self) -> Option<S> {
        (self.at == self.inbox.len()).then_some(self.stream)
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// What the stream says.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends all that comes from there.
    ///
    /// # Errors
    ///
    /// What the stream says, or the disk.
    pub fn send_all(&mut self, from: &mut impl Read, mut moved: impl FnMut(u64)) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match from.read(&mut chunk)? {
                0 => return self.stream.flush(),
                n => {
                    self.stream.write_all(&chunk[..n])?;
                    moved(n as u64);
                }
            }
        }
    }

    /// The next answer.
    ///
    /// # Errors
    ///
    /// What the stream says; [`io::ErrorKind::UnexpectedEof`] at its end, [`io::ErrorKind::InvalidData`]
    /// for what is no IMAP.
    pub fn answer(&mut self) -> io::Result<Answer<Content>> {
        self.kept = 0;
        let mut first = self.word()?;
        // Some send an empty line too many.
        while first.is_empty() {
            first = self.word()?;
        }
        match first.as_slice() {
            b"+" => Ok(Answer::Continue(self.line()?)),
            b"*" => {
                let word = self.word()?;
                match status(&word) {
                    Some(status) => Ok(Answer::Said(self.said(status)?)),
                    None => Ok(Answer::Data(self.values(word)?)),
                }
            }
            _ => {
                let word = self.word()?;
                let status = status(&word).ok_or_else(|| odd("it speaks no IMAP"))?;
                Ok(Answer::Done(first, self.said(status)?))
            }
        }
    }

    fn peek(&mut self) -> io::Result<u8> {
        if self.at == self.inbox.len() {
            self.inbox.resize(CHUNK, 0);
            self.at = 0;
            let n = self.stream.read(&mut self.inbox);
            self.inbox.truncate(*n.as_ref().unwrap_or(&0));
            if n? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.inbox[self.at])
    }

    fn next(&mut self) -> io::Result<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn keep(&mut self, n: usize) -> io::Result<()> {
        self.kept += n;
        if self.kept > MAX_ANSWER {
            return Err(odd("an answer is too long"));
        }
        Ok(())
    }

    /// Up to the next blank, which is taken, or the end of the line, which is not.
    fn word(&mut self) -> io::Result<Vec<u8>> {
        let mut word = Vec::new();
        loop {
            match self.peek()? {
                b' ' => {
                    self.at += 1;
                    return Ok(word);
                }
                b'\r' | b'\n' if word.is_empty() => {
                    self.at += 1;
                    return Ok(word);
                }
                b'\r' | b'\n' => return Ok(word),
                _ if word.len() > MAX_LINE => return Err(odd("a word is too long")),
                byte => word.push(byte),
            }
            self.at += 1;
        }
    }

    /// The rest of the line.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        loop {
            match self.next()? {
                b'\n' => break,
                _ if line.len() > MAX_LINE => return Err(odd("a line is too long")),
                byte => line.push(byte),
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn said(&mut self, status: Status) -> io::Result<Said> {
        let line = self.line()?;
        let code = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        Ok(match code {
            Some((code, text)) => Said {
                status,
                code: Some(code.to_owned()),
                text: text.trim_start().to_owned(),
            },
            None => Said {
                status,
                code: None,
                text: line,
            },
        })
    }

    /// The rest of an answer that begins with this word.
    fn values(&mut self, first: Vec<u8>) -> io::Result<Vec<Value<Content>>> {
        let mut open: Vec<Vec<Value<Content>>> = Vec::new();
        let mut all = vec![Value::Atom(first)];
        loop {
            match self.peek()? {
                b' ' | b'\r' | 0 => self.at += 1,
                b'\n' => {
                    self.at += 1;
                    // Somebody forgot to close them.
                    while let Some(outer) = open.pop() {
                        let inner = std::mem::replace(&mut all, outer);
                        all.push(Value::List(inner));
                    }
                    return Ok(all);
                }
                b'(' => {
                    self.at += 1;
                    self.keep(64)?;
                    if open.len() >= MAX_DEPTH {
                        return Err(odd("lists in lists in lists"));
                    }
                    open.push(std::mem::take(&mut all));
                }
                b')' => {
                    self.at += 1;
                    if let Some(outer) = open.pop() {
                        let inner = std::mem::replace(&mut all, outer);
                        all.push(Value::List(inner));
                    }
                }
                b'"' => {
                    let text = self.quoted()?;
                    all.push(Value::Text(text));
                }
                _ => {
                    let atom = self.atom()?;
                    match literal(&atom) {
                        Some(length) if matches!(self.peek()?, b'\r' | b'\n') => {
                            if self.next()? == b'\r' && self.peek()? == b'\n' {
                                self.at += 1;
                            }
                            let whole = all.last().is_some_and(is_whole_message);
                            all.push(self.literal(length, whole)?);
                        }
                        _ => all.push(Value::Atom(atom)),
                    }
                }
            }
        }
    }

    fn quoted(&mut self) -> io::Result<Vec<u8>> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    break;
                }
                b'\\' => {
                    self.at += 1;
                    if !matches!(self.peek()?, b'\r' | b'\n') {
                        text.push(self.next()?);
                    }
                }
                // Not closed.
                b'\r' | b'\n' => break,
                byte => {
                    self.at += 1;
                    text.push(byte);
                }
            }
            self.keep(1)?;
        }
        self.keep(64)?;
        Ok(text)
    }

    fn atom(&mut self) -> io::Result<Vec<u8>> {
        let mut atom = Vec::new();
        let mut bracket = false;
        loop {
            match (self.peek()?, bracket) {
                (b'\r' | b'\n', _) | (b' ' | b'(' | b')' | b'"', false) => break,
                (byte, _) => {
                    bracket = match byte {
                        b'[' => true,
                        b']' => false,
                        _ => bracket,
                    };
                    self.at += 1;
                    atom.push(byte);
                }
            }
            self.keep(1)?;
        }
        self.keep(64)?;
        Ok(atom)
    }

    fn literal(&mut self, length: u64, whole: bool) -> io::Result<Value<Content>> {
        if whole {
            if length > MAX_MESSAGE {
                return Err(odd("a message is too long"));
            }
            let mut writer = Writer::new();
            self.copy(length, &mut writer)?;
            return Ok(Value::Message(writer.finish()));
        }
        // Before it is made room for: what was announced need not come.
        self.keep(
            usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(MAX_ANSWER + 1),
        )?;
        let mut text = Vec::new();
        self.copy(length, &mut text)?;
        Ok(Value::Text(text))
    }

    fn copy(&mut self, length: u64, to: &mut impl Write) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            self.peek()?;
            let ready = &self.inbox[self.at..];
            let n = ready.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            to.write_all(&ready[..n])?;
            self.at += n;
            left -= n as u64;
        }
        Ok(())
    }
}

fn status(word: &[u8]) -> Option<Status> {
    [
        ("OK", Status::Ok),
        ("NO", Status::No),
        ("BAD", Status::Bad),
        ("BYE", Status::Bye),
        ("PREAUTH", Status::Preauth),
    ]
    .into_iter()
    .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
    .map(|(_, status)| status)
}

/// The length in `{12}`, in `{12+}` and in `~{12}` (RFC 3501, RFC 7888, RFC 3516).
fn literal(atom: &[u8]) -> Option<u64> {
    let atom = atom.strip_prefix(b"~").unwrap_or(atom);
    let number = atom.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let number = number.strip_suffix(b"+").unwrap_or(number);
    let digits = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(number).ok()?.parse().ok())?
}

/// What stands before a message's bytes.
pub fn is_whole_message<C>(value: &Value<C>) -> bool {
    matches!(value, Value::Atom(word) if word.eq_ignore_ascii_case(b"BODY[]") || word.eq_ignore_ascii_case(b"RFC822"))
}

/// In quotes, for a command; `None` if it has bytes that cannot stand there.
pub fn quote(text: &[u8]) -> Option<Vec<u8>> {
    if !text.iter().all(|b| matches!(b, b' '..=b'~')) {
        return None;
    }
    let mut out = vec![b'"'];
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives its bytes in pieces.
    struct Pieces(Vec<u8>, usize);

    impl Read for Pieces {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let n = self.1.max(1).min(self.0.len()).min(to.len());
            to[..n].copy_from_slice(&self.0[..n]);
            self.0.drain(..n);
            Ok(n)
        }
    }

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// All answers, messages as their bytes.
    fn answers(bytes: &[u8], piece: usize) -> (Vec<Answer<Vec<u8>>>, io::Error) {
        let mut wire = Wire::new(Pieces(bytes.to_vec(), piece));
        let mut all = Vec::new();
        loop {
            match wire.answer() {
                Ok(answer) => all.push(match answer {
                    Answer::Continue(text) => Answer::Continue(text),
                    Answer::Done(tag, said) => Answer::Done(tag, said),
                    Answer::Said(said) => Answer::Said(said),
                    Answer::Data(values) => Answer::Data(values.into_iter().map(plain).collect()),
                }),
                Err(end) => return (all, end),
            }
        }
    }

    fn plain(value: Value<Content>) -> Value<Vec<u8>> {
        match value {
            Value::Atom(a) => Value::Atom(a),
            Value::Text(a) => Value::Text(a),
            Value::List(all) => Value::List(all.into_iter().map(plain).collect()),
            Value::Message(mut content) => {
                let mut bytes = Vec::new();
                content.reader().unwrap().read_to_end(&mut bytes).unwrap();
                Value::Message(bytes)
            }
        }
    }

    fn shown(bytes: &[u8], piece: usize) -> String {
        let (all, end) = answers(bytes, piece);
        let lines: Vec<String> = all.iter().map(show).collect();
        format!("{}\nend: {end}", lines.join("\n"))
    }

    fn show(answer: &Answer<Vec<u8>>) -> String {
        match answer {
            Answer::Data(values) => values.iter().map(show_value).collect::<Vec<_>>().join(" "),
            other => format!("{other:?}"),
        }
    }

    fn show_value(value: &Value<Vec<u8>>) -> String {
        match value {
            Value::Atom(a) => a.escape_ascii().to_string(),
            Value::Text(a) => format!("{:?}", a.escape_ascii().to_string()),
            Value::List(all) => format!(
                "({})",
                all.iter().map(show_value).collect::<Vec<_>>().join(" ")
            ),
            Value::Message(a) => format!("message {:?}", a.escape_ascii().to_string()),
        }
    }

    #[test]
    fn answers_are_understood_also_odd_ones() {
        let said = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n\
            + go\r\n\
            * FLAGS (\\Answered OIB-Seen-[Gmail]/All \\*)\r\n\
            * LIST (\\HasNoChildren \\Sent) \"/\" \"a \\\"b\\\\c\"\r\n\
            * LIST () NIL {7}\r\nr\xe4tsel\n\r\n\
            * LIST (\\HasChildren) \".\" INBOX\r\n\
            * 12 FETCH (UID 7 FLAGS (\\Seen) INTERNALDATE NIL BODY[] {8}\r\na\r\n)\0\"\r\n)\r\n\
            * 13 FETCH (BODY[HEADER.FIELDS (MESSAGE-ID)] {4}\r\nM: 1 UID 8)\r\n\
            * 14 FETCH (RFC822.SIZE 3 BODY[] \"x y\" UID 9\r\n\
            * 15 FETCH (UID 10 BODY[] ~{2}\r\n\0\0))\r\n\
            * SEARCH\r\n\
            r1 NO [OVERQUOTA] full\r\n\
            * BYE\r\n";
        let all = shown(said, 1000);
        insta::assert_snapshot!(all);
        for piece in 1..20 {
            assert_eq!(shown(said, piece), all, "in pieces of {piece}");
        }
    }

    #[test]
    fn too_much_is_an_error_before_it_is_in_memory() {
        for bytes in [
            b"* LIST () NIL {99999999999}\r\nx".as_slice(),
            b"* 1 FETCH (BODY[] {99999999999}\r\nx",
            &[b"* X ".as_slice(), &[b'('; 100]].concat(),
            &[b"* OK ".as_slice(), &[b'x'; 100_000]].concat(),
            &[b'x'; 100_000],
        ] {
            let (_, end) = answers(bytes, 1 << 20);
            assert_eq!(end.kind(), io::ErrorKind::InvalidData);
        }
    }

    /// An answer, and how it may be written.
    fn value() -> impl Strategy<Value = (Value<Vec<u8>>, Vec<u8>)> {
        let atom =
            "[A-Za-z0-9$._/-]{1,8}".prop_map(|a| (Value::Atom(a.clone().into()), a.into_bytes()));
        let text = prop::collection::vec(any::<u8>(), 0..20).prop_map(|text| {
            let written = quote(&text)
                .unwrap_or_else(|| [format!("{{{}}}\r\n", text.len()).as_bytes(), &text].concat());
            (Value::Text(text), written)
        });
        prop_oneof![atom, text].prop_recursive(3, 20, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(|all| {
                let (values, written): (Vec<_>, Vec<_>) = all.into_iter().unzip();
                (
                    Value::List(values),
                    [b"(".as_slice(), &written.join(&b' '), b")"].concat(),
                )
            })
        })
    }

    proptest! {
        #[test]
        fn what_a_server_writes_is_what_is_read(all in prop::collection::vec(value(), 0..5), piece in 1usize..50) {
            let (values, written): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            let mut line = b"* DATA ".to_vec();
            line.extend(written.join(&b' '));
            line.extend(b"\r\nr1 OK\r\n");
            let (read, _) = answers(&line, piece);
            let expected: Vec<_> = [Value::Atom(b"DATA".to_vec())].into_iter().chain(values).collect();
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!(&read[0], &Answer::Data(expected));
        }

        #[test]
        fn no_bytes_panic(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"*+ \r\n(){}[]\"\\0123~NILBODY".to_vec())], 0..200),
            piece in 1usize..50,
        ) {
            let (all, _) = answers(&bytes, piece);
            prop_assert!(all.len() <= bytes.len());
        }
    }
}
