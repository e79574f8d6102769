//! Whether a mail server's key is pinned (DANE, RFC 7672), as the box's own resolver has proven.
//!
//! The rules of delivery ask for TXT at the server's name below [`SUFFIX`] before every connection;
//! this is where the answer comes from. Pure: it makes questions and reads answers.
//!
//! | The server's address | Its TLSA records | Answer |
//! |---|---|---|
//! | no answer, forged | - | [`UNKNOWN`]: the message waits (RFC 7672 §2.1.2) |
//! | not proven | not asked for: many servers of such zones drop the question (§2.2.2) | [`NONE`] |
//! | proven | no answer, forged | [`UNKNOWN`] |
//! | proven | not proven, not there, none that can be used | [`NONE`] |
//! | proven | proven | [`PINNED`], and the mail server knows the keys |

/// Names below it are answered here.
pub const SUFFIX: &str = "dane.roost.internal";
/// [`SUFFIX`] as it stands in a question (RFC 1035 §3.1).
const SUFFIX_LABELS: &[u8] = b"\x04dane\x05roost\x08internal\x00";

/// Only a server with one of these keys gets the message.
pub const PINNED: &str = "pinned";
/// DANE says nothing about this server.
pub const NONE: &str = "none";
/// Nobody can say at the moment.
pub const UNKNOWN: &str = "unknown";

const A: u16 = 1;
const TXT: u16 = 16;
pub(super) const TLSA: u16 = 52;
const HEADER_BYTES: usize = 12;
/// Bytes of a pointer to an earlier name (RFC 1035 §4.1.4), and how to know one.
const POINTER: u8 = 0xc0;

/// A key or certificate that a server may show (RFC 6698 §2.1), usage DANE-EE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The hash is of the key, not of the whole certificate.
    pub key: bool,
    /// SHA-256; otherwise SHA-512.
    pub sha256: bool,
    /// The hash.
    pub hash: Vec<u8>,
}

/// What an answer from the box's own resolver says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Signed by its owner, from the root on (AD, RFC 4035 §3.2.3).
    Proven(Vec<Pin>),
    /// There is no such proof.
    Unproven,
}

/// A mail server whose name stands below [`SUFFIX`] in a question for TXT.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Labels with their lengths, without the root's, in lower case.
    labels: Vec<u8>,
}

impl Server {
    /// `None`: another question.
    pub(super) fn asked(question: &[u8]) -> Option<Self> {
        let end = name_end(question, HEADER_BYTES)?;
        let name = question.get(HEADER_BYTES..end)?.to_ascii_lowercase();
        let labels = name.strip_suffix(SUFFIX_LABELS)?;
        // Ends between labels, and not within one that happens to look so.
        let mut at = 0;
        while at < labels.len() {
            at += 1 + usize::from(labels[at]);
        }
        let whole = at == labels.len() && at > 0 && kind(question, end) == Some(TXT);
        whole.then(|| Self {
            labels: labels.to_vec(),
        })
    }

    /// Its name, with a dot at the end.
    pub(super) fn name(&self) -> String {
        let mut name = String::new();
        let mut rest = self.labels.as_slice();
        while let Some((&length, after)) = rest.split_first() {
            let (label, after) = after.split_at(usize::from(length).min(after.len()));
            name.push_str(&String::from_utf8_lossy(label));
            name.push('.');
            rest = after;
        }
        name
    }

    /// The question for its address.
    pub(super) fn address(&self, id: u16) -> Vec<u8> {
        self.question(id, b"", A)
    }

    /// The question for its keys.
    pub(super) fn keys(&self, id: u16) -> Vec<u8> {
        self.question(id, b"\x03_25\x04_tcp", TLSA)
    }

    fn question(&self, id: u16, below: &[u8], kind: u16) -> Vec<u8> {
        // RD, and AD: whether it is proven is to be said (RFC 6840 §5.7).
        let mut message = id.to_be_bytes().to_vec();
        message.extend(b"\x01\x20\0\x01\0\0\0\0\0\0");
        message.extend(below);
        message.extend(&self.labels);
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend(b"\0\x01");
        message
    }
}

/// Whether this is a question for TLSA records.
pub(super) fn asks_for_keys(question: &[u8]) -> bool {
    name_end(question, HEADER_BYTES).and_then(|end| kind(question, end)) == Some(TLSA)
}

/// `None`: no message that can be read.
pub(super) fn proof(answer: &[u8]) -> Option<Proof> {
    const AD: u8 = 0x20;

    if answer.get(3)? & AD == 0 {
        return Some(Proof::Unproven);
    }
    let mut at = HEADER_BYTES;
    for _ in 0..number(answer, 4)? {
        at = name_end(answer, at)? + 4;
    }
    let mut pins = Vec::new();
    for _ in 0..number(answer, 6)? {
        // Type, class, TTL, length.
        let fixed = name_end(answer, at)?;
        let data = fixed + 10;
        at = data + usize::from(number(answer, fixed + 8)?);
        let data = answer.get(data..at)?;
        if number(answer, fixed)? == TLSA {
            pins.extend(pin(data));
        }
    }
    Some(Proof::Proven(pins))
}

/// A record that can be used: DANE-EE, of a key or a certificate, hashed (RFC 6698 §2.1).
fn pin(data: &[u8]) -> Option<Pin> {
    let (&[usage, selector, matching], hash) = data.split_first_chunk::<3>()?;
    let sha256 = match (matching, hash.len()) {
        (1, 32) => true,
        (2, 64) => false,
        _ => return None,
    };
    (usage == 3 && selector <= 1).then(|| Pin {
        key: selector == 1,
        sha256,
        hash: hash.to_vec(),
    })
}

/// The answer to a question that [`Server::asked`] took.
pub(super) fn answer(question: &[u8], text: &str) -> Option<Vec<u8>> {
    let end = name_end(question, HEADER_BYTES)? + 4;
    let length = u8::try_from(text.len()).ok()?;
    let mut message = question.get(..2)?.to_vec();
    // QR, RD, RA; one question, one answer.
    message.extend(b"\x81\x80\0\x01\0\x01\0\0\0\0");
    message.extend(question.get(HEADER_BYTES..end)?);
    // The name of the question, TXT, IN, for no time.
    message.extend(b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0");
    message.extend([length + 1, length]);
    message.extend(text.as_bytes());
    Some(message)
}

/// Where the name that begins at `at` ends.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & POINTER == POINTER => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// The type of a question whose name ends there.
fn kind(question: &[u8], end: usize) -> Option<u16> {
    number(question, end)
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AD: [u8; 2] = [0x81, 0xa0];
    const PLAIN: [u8; 2] = [0x81, 0x80];

    fn asked(name: &[u8]) -> Vec<u8> {
        let mut message = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        message.extend(name);
        message.extend(b"\x04DANE\x05roost\x08internal\0\0\x10\0\x01");
        message
    }

    /// The answer to `question` with these records: type and data.
    fn answered(question: &[u8], flags: [u8; 2], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&flags);
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            message.extend(b"\xc0\x0c");
            message.extend(kind.to_be_bytes());
            message.extend(b"\0\x01\0\0\0\x05");
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(*data);
        }
        message
    }

    fn server() -> Server {
        Server::asked(&asked(b"\x02MX\x07example\x03org")).unwrap()
    }

    #[test]
    fn a_server_is_known_by_its_name_below_the_suffix() {
        assert_eq!(server().name(), "mx.example.org.");
        assert_eq!(Server::asked(&asked(b"")), None);
        // One label that ends like the suffix.
        let mut odd = asked(b"")[..HEADER_BYTES].to_vec();
        odd.extend(b"\x1ax\x04dane\x05roost\x08internal");
        odd.extend(b"\x01a\0\0\x10\0\x01");
        assert_eq!(Server::asked(&odd), None);
        let mut address = asked(b"\x02mx");
        let kind = address.len() - 3;
        address[kind] = 1;
        assert_eq!(Server::asked(&address), None);
    }

    #[test]
    fn questions_ask_for_the_proof() {
        let keys = server().keys(0x1234);
        assert_eq!(keys[..4], *b"\x12\x34\x01\x20");
        assert!(keys.ends_with(b"\x03_25\x04_tcp\x02mx\x07example\x03org\0\0\x34\0\x01"));
        assert!(asks_for_keys(&keys));
        assert!(!asks_for_keys(&server().address(1)));
    }

    #[test]
    fn only_records_that_can_be_used_count_and_only_with_the_proof() {
        let question = server().keys(1);
        let good = [&[3, 1, 1][..], &[7; 32]].concat();
        let certificate = [&[3, 0, 2][..], &[8; 64]].concat();
        let authority = [&[2, 0, 1][..], &[9; 32]].concat();
        let short = [&[3, 1, 1][..], &[7; 31]].concat();
        let records = [
            (5, &b"\xc0\x0c"[..]),
            (TLSA, &good),
            (TLSA, &certificate),
            (TLSA, &authority),
            (TLSA, &short),
            (TLSA, &[]),
        ];
        let expected = [(true, true, vec![7; 32]), (false, false, vec![8; 64])];
        let expected = expected.map(|(key, sha256, hash)| Pin { key, sha256, hash });
        let proven = answered(&question, AD, &records);
        assert_eq!(proof(&proven), Some(Proof::Proven(expected.to_vec())));
        let unproven = answered(&question, PLAIN, &records);
        assert_eq!(proof(&unproven), Some(Proof::Unproven));
        assert_eq!(proof(&proven[..proven.len() - 1]), None);
    }

    #[test]
    fn the_answer_is_the_text() {
        let said = answer(&asked(b"\x02mx"), PINNED).unwrap();
        assert_eq!(said[..8], *b"\0\x07\x81\x80\0\x01\0\x01");
        assert!(said.ends_with(b"\x00\x07\x06pinned"));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(message: Vec<u8>) {
            let _ = proof(&message);
            let _ = asks_for_keys(&message);
            if let Some(server) = Server::asked(&message) {
                let _ = (server.name(), answer(&message, UNKNOWN));
            }
        }
    }
}
