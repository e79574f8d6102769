//! Questions of clients, read from bytes. Nothing here waits or asks.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};

/// Largest answer by UDP, and largest that others are asked to send: what passes everywhere without being
/// split (DNS flag day 2020).
pub const PAYLOAD: u16 = 1232;
/// Largest answer by UDP to a client that names no size (RFC 1035, section 4.2.1).
const PLAIN: u16 = 512;
/// Bytes of a header.
const HEADER: usize = 12;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its number, which the answer has too.
    pub id: u16,
    /// Which name, as it is spelt.
    pub name: Name,
    /// Which records.
    pub kind: RecordType,
    /// RD: it wants others to be asked.
    pub recursion: bool,
    /// AD: it understands what AD means in an answer (RFC 6840, section 5.7).
    pub ad: bool,
    /// CD: it checks by itself (RFC 4035, section 3.2.2).
    pub cd: bool,
    /// Whether it knows EDNS; then, whether it wants signatures (DO).
    pub edns: Option<bool>,
    /// Largest answer that it takes by UDP.
    pub payload: u16,
}

/// What is done with bytes that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// They are a question.
    Question(Question),
    /// They are none that is answered, with this code; the bytes are the answer.
    Refused(Vec<u8>),
    /// They are nothing that may be answered: it could be an answer itself.
    Nothing,
}

/// Reads what a client sent.
pub fn read(bytes: &[u8]) -> Request {
    let Some(header) = bytes.get(..HEADER) else {
        return Request::Nothing;
    };
    if header[2] & 0x80 != 0 {
        return Request::Nothing;
    }
    if (header[2] >> 3) & 15 != 0 {
        return Request::Refused(bare(header, ResponseCode::NotImp));
    }
    // One question and no records but EDNS: no more belongs to a question, and each takes time to read.
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if count(4) != 1 || count(6) != 0 || count(8) != 0 || count(10) > 2 {
        return Request::Refused(bare(header, ResponseCode::FormErr));
    }
    match Message::from_vec(bytes) {
        Ok(message) => question(header, message),
        Err(_) => Request::Refused(bare(header, ResponseCode::FormErr)),
    }
}

fn question(header: &[u8], message: Message) -> Request {
    let head = &message.metadata;
    let [query] = message.queries.as_slice() else {
        return Request::Refused(bare(header, ResponseCode::FormErr));
    };
    if head.message_type != MessageType::Query || head.op_code != OpCode::Query {
        return Request::Nothing;
    }
    let refuse = |code| Request::Refused(refusal(&message, query, code));
    if message
        .edns
        .as_ref()
        .is_some_and(|edns| edns.version() != 0)
    {
        return refuse(ResponseCode::BADVERS);
    }
    if query.query_class() != DNSClass::IN {
        return refuse(ResponseCode::Refused);
    }
    let kind = query.query_type();
    if !is_asked_for(kind) {
        return refuse(ResponseCode::NotImp);
    }
    let mut name = query.name().clone();
    name.set_fqdn(true);
    let edns = message.edns.as_ref();
    Request::Question(Question {
        id: head.id,
        name,
        kind,
        recursion: head.recursion_desired,
        ad: head.authentic_data,
        cd: head.checking_disabled,
        edns: edns.map(|edns| edns.flags().dnssec_ok),
        payload: edns.map_or(PLAIN, |edns| edns.max_payload().clamp(PLAIN, PAYLOAD)),
    })
}

/// Whether records of this kind can be asked for: not those that belong to messages, nor whole zones, nor any
/// (RFC 8482), nor signatures without what they are of.
fn is_asked_for(kind: RecordType) -> bool {
    let number = u16::from(kind);
    !matches!(number, 0 | 41 | 46 | 128..=255)
}

/// A header and nothing else, for what cannot be read further.
fn bare(header: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut answer = header.to_vec();
    answer[2] = 0x80 | (header[2] & 0x79);
    answer[3] = 0x80 | (u16::from(code) & 15) as u8;
    answer[4..].fill(0);
    answer
}

/// An answer with the question and a code.
fn refusal(message: &Message, query: &Query, code: ResponseCode) -> Vec<u8> {
    let mut answer = Message::response(message.metadata.id, OpCode::Query);
    answer.metadata.response_code = code;
    answer.metadata.recursion_desired = message.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    if message.edns.is_some() {
        answer.set_edns(crate::reply::edns(false));
    }
    answer.to_vec().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Edns;
    use proptest::prelude::*;

    fn ask(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 7;
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(
            Name::from_ascii("Www.Example.org.").unwrap(),
            RecordType::MX,
        ));
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn refused(bytes: &[u8]) -> (u16, ResponseCode) {
        match read(bytes) {
            Request::Refused(answer) => {
                let answer = Message::from_vec(&answer).unwrap();
                assert_eq!(answer.metadata.message_type, MessageType::Response);
                (answer.metadata.id, answer.metadata.response_code)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_is_read() {
        let Request::Question(plain) = read(&ask(|_| {})) else {
            panic!("it is one");
        };
        assert_eq!(
            (plain.id, plain.kind, plain.payload),
            (7, RecordType::MX, 512)
        );
        assert!(plain.recursion && !plain.cd && plain.edns.is_none());
        assert_eq!(plain.name.to_string(), "Www.Example.org.");
        let Request::Question(edns) = read(&ask(|message| {
            let mut edns = Edns::new();
            edns.set_max_payload(4096).set_dnssec_ok(true);
            message.set_edns(edns);
            message.metadata.checking_disabled = true;
        })) else {
            panic!("it is one");
        };
        assert_eq!(
            (edns.edns, edns.payload, edns.cd),
            (Some(true), PAYLOAD, true)
        );
    }

    #[test]
    fn what_is_no_question_is_refused_or_passed_over() {
        assert_eq!(read(b"short"), Request::Nothing);
        assert_eq!(
            read(&ask(
                |message| message.metadata.message_type = MessageType::Response
            )),
            Request::Nothing
        );
        assert_eq!(
            refused(&ask(|message| message.metadata.op_code = OpCode::Update)),
            (7, ResponseCode::NotImp)
        );
        assert_eq!(
            refused(&ask(|message| message.queries.clear())),
            (7, ResponseCode::FormErr)
        );
        assert_eq!(
            refused(&ask(|message| {
                message.queries[0].set_query_class(DNSClass::CH);
            })),
            (7, ResponseCode::Refused)
        );
        for kind in [
            RecordType::AXFR,
            RecordType::IXFR,
            RecordType::ANY,
            RecordType::RRSIG,
            RecordType::OPT,
        ] {
            let bytes = ask(|message| {
                message.queries[0].set_query_type(kind);
            });
            assert_eq!(refused(&bytes), (7, ResponseCode::NotImp), "{kind}");
        }
        let later = ask(|message| {
            let mut edns = Edns::new();
            edns.set_version(1);
            message.set_edns(edns);
        });
        // The number that BADSIG has in signed messages (RFC 6891, section 9).
        assert_eq!(u16::from(refused(&later).1), 16);
        let mut cut = ask(|_| {});
        cut.truncate(20);
        assert_eq!(refused(&cut), (7, ResponseCode::FormErr));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_answered_with_its_number_or_not_at_all(
            bytes in proptest::collection::vec(any::<u8>(), 0..80)
        ) {
            if let Request::Refused(answer) = read(&bytes) {
                prop_assert_eq!(&answer[..2], &bytes[..2]);
                prop_assert_eq!(answer[2] & 0x80, 0x80);
            }
        }
    }
}
