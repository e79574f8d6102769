//! Writing answers.
//!
//! An owner's name is compressed against the question's, of which the zone's name is always the end; data
//! are copied as they lie.

use super::wire::{HEADER, Request};
use super::zone::{Node, Set};

/// The largest answer over UDP: what passes everywhere without being split (DNS flag day 2020).
pub const PAYLOAD: u16 = 1232;

/// Bytes of our EDNS record.
const OPT: usize = 11;

/// How an answer ends (RFC 1035, section 4.1.1; RFC 2136, section 2.2; RFC 6891, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    NoError = 0,
    Format = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImplemented = 4,
    Refused = 5,
    YxDomain = 6,
    YxRrset = 7,
    NxRrset = 8,
    NotAuth = 9,
    NotZone = 10,
    BadVersion = 16,
}

/// Whose records are written.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'a> {
    /// The name in the question.
    Question,
    /// A name in the zone.
    Node(&'a Node),
    /// A name in the zone that is not there, but was matched by a wildcard: labels before the zone's name.
    Relative(&'a [u8]),
}

/// The part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// An answer being written.
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
    body: usize,
    /// Where the zone's name is in the question.
    origin: u16,
    counts: [u16; 3],
    full: bool,
    edns: Option<bool>,
}

impl<'o> Reply<'o> {
    /// Begins an answer with header and question. `limit`: the largest size of all, `reserve`: what a
    /// signature will need of it.
    pub fn new(request: &Request, limit: usize, reserve: usize, out: &'o mut Vec<u8>) -> Self {
        out.clear();
        let body = HEADER + request.question.name.len() + 4;
        out.extend_from_slice(&request.bytes[..body]);
        out[2] = 0x80 | (request.opcode << 3) | u8::from(request.recursion);
        out[3..HEADER].copy_from_slice(&[0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let edns = request.edns.map(|edns| edns.dnssec);
        let room = reserve + edns.map_or(0, |_| OPT);
        let limit = limit.saturating_sub(room);
        Self {
            out,
            limit,
            body,
            origin: 0,
            counts: [0; 3],
            full: false,
            edns,
        }
    }

    /// Sets the zone whose names are written from now on. The question's name ends with it.
    pub fn zone(&mut self, origin: &[u8]) {
        self.origin = (self.body - 4 - origin.len()) as u16;
    }

    /// This server answers for the name with authority.
    pub fn authoritative(&mut self) {
        self.out[2] |= 4;
    }

    /// Writes a set, with its signatures if `dnssec`. Once something did not fit, nothing does.
    pub fn set(&mut self, section: Section, owner: Owner<'_>, set: &Set, dnssec: bool) {
        self.records(section, owner, &set.records);
        if dnssec {
            self.records(section, owner, &set.signatures);
        }
    }

    /// Writes records.
    pub fn records(&mut self, section: Section, owner: Owner<'_>, records: &[Box<[u8]>]) {
        for record in records {
            self.record(section, owner, record);
        }
    }

    /// Writes a record; says whether it did fit.
    pub fn record(&mut self, section: Section, owner: Owner<'_>, record: &[u8]) -> bool {
        let relative = match owner {
            Owner::Question => &[][..],
            Owner::Node(node) => &node.relative,
            Owner::Relative(relative) => relative,
        };
        self.full |= self.out.len() + relative.len() + 2 + record.len() > self.limit;
        if self.full {
            return false;
        }
        let end = if matches!(owner, Owner::Question) {
            HEADER as u16
        } else {
            self.origin
        };
        self.out.extend_from_slice(relative);
        self.out.extend_from_slice(&(0xC000 | end).to_be_bytes());
        self.out.extend_from_slice(record);
        self.counts[section as usize] += 1;
        true
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Ends the answer: the rest of the header, EDNS. If not everything did fit, all that is sent is that
    /// (RFC 2181, section 9).
    pub fn finish(mut self, code: Code) {
        if self.full {
            self.out.truncate(self.body);
            self.counts = [0; 3];
            self.out[2] |= 2;
        }
        let code = code as u16;
        self.out[3] = (code & 15) as u8;
        if let Some(dnssec) = self.edns {
            let [high, low] = PAYLOAD.to_be_bytes();
            let flags = if dnssec { 0x80 } else { 0 };
            let extended = (code >> 4) as u8;
            self.out
                .extend_from_slice(&[0, 0, 41, high, low, extended, 0, flags, 0, 0, 0]);
            self.counts[2] += 1;
        }
        for (at, count) in self.counts.iter().enumerate() {
            let at = 6 + 2 * at;
            self.out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
    }
}

/// A header and nothing else, for what cannot be read further.
pub fn header_only(bytes: &[u8], code: Code, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&bytes[..4]);
    out[2] = 0x80 | (out[2] & 0x79);
    out[3] = code as u8;
    out.extend_from_slice(&[0; 8]);
}

/// Cuts a finished answer down to its question and the order to come by TCP. `false`: it has no question.
pub fn slip(answer: &mut Vec<u8>) -> bool {
    if answer.len() <= HEADER || answer[5] != 1 {
        return false;
    }
    let mut at = HEADER;
    while let Some(&length) = answer.get(at).filter(|length| **length != 0) {
        at += 1 + usize::from(length);
    }
    answer.truncate(at + 5);
    answer[2] |= 2;
    answer[6..HEADER].fill(0);
    true
}
