//! Requests as bytes.
//!
//! A name server's whole work is here per packet, so a query is read in place: hickory's `Message` takes some
//! twenty allocations for it. Whatever has more in it than a question, EDNS and a signature (an update, a
//! transfer's serial number) is read with hickory.

/// Longest name, in bytes as sent.
const MAX_NAME: usize = 255;

/// Length of a header.
pub const HEADER: usize = 12;

pub const TYPE_OPT: u16 = 41;
pub const TYPE_TSIG: u16 = 250;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The name as sent: labels with their lengths, in the asker's case, the root's zero last.
    pub name: &'a [u8],
    /// Its type.
    pub kind: u16,
    /// Its class.
    pub class: u16,
}

/// The asker's EDNS (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest answer over UDP that it takes, in bytes.
    pub payload: u16,
    /// Version; only 0 exists.
    pub version: u8,
    /// It wants DNSSEC's records (RFC 3225).
    pub dnssec: bool,
}

/// A request, as far as every request is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Number of the message.
    pub id: u16,
    /// What is wanted: 0 a query, 4 NOTIFY, 5 UPDATE.
    pub opcode: u8,
    /// Recursion is desired; only echoed.
    pub recursion: bool,
    /// The first question.
    pub question: Question<'a>,
    /// EDNS.
    pub edns: Option<Edns>,
    /// Where the signature's record begins.
    pub tsig: Option<usize>,
    /// How many records the sections between question and additional have.
    pub records: [u16; 2],
}

/// Why a request is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Nothing may be sent for it: too short for a header, or itself an answer, which could begin a loop.
    Silent,
    /// FORMERR, with nothing but a header.
    Format,
    /// NOTIMP, with nothing but a header: no such operation here.
    Opcode,
}

impl<'a> Request<'a> {
    /// Reads a request. Never looks at a byte more than once, whatever pointers it holds.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < HEADER || bytes[2] & 0x80 != 0 {
            return Err(Malformed::Silent);
        }
        let opcode = (bytes[2] >> 3) & 15;
        if !matches!(opcode, 0 | 5) {
            return Err(Malformed::Opcode);
        }
        let count = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        if count(4) != 1 {
            return Err(Malformed::Format);
        }
        let (question, mut at) = question(bytes).ok_or(Malformed::Format)?;
        let records = [count(6), count(8)];
        for _ in 0..u32::from(records[0]) + u32::from(records[1]) {
            at = Raw::read(bytes, at).ok_or(Malformed::Format)?.end;
        }
        let (mut edns, mut tsig) = (None, None);
        for _ in 0..count(10) {
            let record = Raw::read(bytes, at).ok_or(Malformed::Format)?;
            // A signature is the last record (RFC 8945, section 5.1), EDNS is there once (RFC 6891).
            let last = tsig.is_none();
            let once = record.kind != TYPE_OPT || (edns.is_none() && bytes[at] == 0);
            if !last || !once {
                return Err(Malformed::Format);
            }
            match record.kind {
                TYPE_OPT => edns = Some(record.edns(bytes).ok_or(Malformed::Format)?),
                TYPE_TSIG => tsig = Some(at),
                _ => {}
            }
            at = record.end;
        }
        if at != bytes.len() {
            return Err(Malformed::Format);
        }
        let id = count(0);
        let recursion = bytes[2] & 1 != 0;
        Ok(Self {
            bytes,
            id,
            opcode,
            recursion,
            question,
            edns,
            tsig,
            records,
        })
    }
}

/// Where the signature of an answer begins, if its last record is one.
pub fn signature_at(bytes: &[u8]) -> Option<usize> {
    let count = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let mut at = HEADER;
    for _ in 0..count(4)? {
        at = skip_name(bytes, at)? + 4;
    }
    let mut last = None;
    for _ in 0..u32::from(count(6)?) + u32::from(count(8)?) + u32::from(count(10)?) {
        let record = Raw::read(bytes, at)?;
        last = Some((at, record.kind));
        at = record.end;
    }
    let (start, kind) = last?;
    (kind == TYPE_TSIG && at == bytes.len()).then_some(start)
}

fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            // A pointer ends a name; where it leads is not followed.
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

fn question(bytes: &[u8]) -> Option<(Question<'_>, usize)> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*bytes.get(at)?);
        // The first name has nothing before it to point at.
        if length > 63 {
            return None;
        }
        at += 1 + length;
        if length == 0 {
            break;
        }
    }
    let name = bytes.get(HEADER..at)?;
    let rest = bytes.get(at..at + 4)?;
    let kind = u16::from_be_bytes([rest[0], rest[1]]);
    let class = u16::from_be_bytes([rest[2], rest[3]]);
    (name.len() <= MAX_NAME).then_some((Question { name, kind, class }, at + 4))
}

/// A record, without a look at what is in it.
struct Raw {
    kind: u16,
    class: u16,
    ttl: [u8; 4],
    data: usize,
    end: usize,
}

impl Raw {
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let at = skip_name(bytes, at)?;
        let fixed = bytes.get(at..at + 10)?;
        let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let data = at + 10;
        let end = data + usize::from(number(8));
        let ttl = [fixed[4], fixed[5], fixed[6], fixed[7]];
        (end <= bytes.len()).then_some(Self {
            kind: number(0),
            class: number(2),
            ttl,
            data,
            end,
        })
    }

    fn edns(&self, bytes: &[u8]) -> Option<Edns> {
        let mut options = bytes.get(self.data..self.end)?;
        while !options.is_empty() {
            let length = usize::from(u16::from_be_bytes([*options.get(2)?, *options.get(3)?]));
            options = options.get(4 + length..)?;
        }
        let [_, version, flags, _] = self.ttl;
        Some(Edns {
            payload: self.class,
            version,
            dnssec: flags & 0x80 != 0,
        })
    }
}

/// A name's key: sorts as RFC 4034, section 6.1, wants, and an ancestor's key is the beginning of those of
/// all below it. Labels from the root down, in lower case, each ended by a zero; what is zero or one within
/// a label is escaped by a one, which keeps the order.
pub fn key(name: &[u8]) -> Vec<u8> {
    let mut labels = [0u8; 128];
    let (mut count, mut at) = (0, 0);
    while let Some(&length) = name.get(at).filter(|length| **length != 0) {
        labels[count] = at as u8;
        count += 1;
        at += 1 + usize::from(length);
    }
    let mut key = Vec::with_capacity(name.len() + 8);
    for &label in labels[..count].iter().rev() {
        let from = usize::from(label);
        let length = usize::from(name[from]);
        for byte in &name[from + 1..from + 1 + length] {
            match byte.to_ascii_lowercase() {
                low @ (0 | 1) => key.extend_from_slice(&[1, low + 1]),
                byte => key.push(byte),
            }
        }
        key.push(0);
    }
    key
}

/// The key of the name's parent; the root's is empty.
pub fn parent(key: &[u8]) -> &[u8] {
    let within = &key[..key.len().saturating_sub(1)];
    let end = within.iter().rposition(|byte| *byte == 0);
    &key[..end.map_or(0, |end| end + 1)]
}

#[cfg(test)]
mod tests;
