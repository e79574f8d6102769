//! Answers to clients, as bytes.

use crate::found::{Failure, Found, covered};
use crate::validate::Verdict;
use crate::wire::{PAYLOAD, Question};
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Record, RecordType};

/// The number of the option with a reason (RFC 8914).
const REASON: u16 = 15;
/// RFC 8914, section 4.23: nobody of those who should know could be reached.
const UNREACHABLE: u16 = 22;
/// RFC 8914, section 4.24: something was wrong with the network on the way.
const NETWORK: u16 = 23;
/// Longest text of a reason, in bytes; answers are small.
const MAX_REASON: usize = 120;

/// What a client is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// An answer; `secure`: it was checked, and is what the owner signed.
    Found {
        /// The answer.
        found: Found,
        /// Whether AD may be set.
        secure: bool,
    },
    /// It did not pass the check.
    Bogus(u16, String),
    /// There is none.
    Failed(Failure),
    /// The client wants nobody to be asked, and nothing is known.
    Refused,
}

impl Told {
    /// What is told of an answer, to a client that checks by itself (`cd`) or does not.
    pub fn of(found: Result<Found, Failure>, verdict: Option<&Verdict>, cd: bool) -> Self {
        match (found, verdict) {
            (Err(failure), _) => Self::Failed(failure),
            (Ok(_), Some(Verdict::Bogus(code, why))) if !cd => Self::Bogus(*code, why.clone()),
            (Ok(found), verdict) => Self::Found {
                found,
                secure: verdict == Some(&Verdict::Secure),
            },
        }
    }
}

/// Our EDNS record (RFC 6891).
pub fn edns(dnssec: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD)
        .set_version(0)
        .set_dnssec_ok(dnssec);
    edns
}

/// The answer as a message. `udp`: it has to fit into a datagram.
pub fn write(question: &Question, told: Told, udp: bool) -> Vec<u8> {
    let mut message = Message::response(question.id, OpCode::Query);
    let mut query = Query::query(question.name.clone(), question.kind);
    query.set_query_class(hickory_proto::rr::DNSClass::IN);
    message.add_query(query);
    let head = &mut message.metadata;
    head.recursion_desired = question.recursion;
    head.recursion_available = true;
    head.checking_disabled = question.cd;
    let dnssec = question.edns == Some(true);
    let mut reason = None;
    match told {
        Told::Found { found, secure } => {
            head.response_code = found.code;
            head.authentic_data = secure && (dnssec || question.ad);
            let keep = |record: &Record| dnssec || is_plain(record, question.kind);
            message.answers = found.answers.into_iter().filter(keep).collect();
            message.authorities = found.authorities.into_iter().filter(keep).collect();
        }
        Told::Bogus(code, why) => {
            head.response_code = ResponseCode::ServFail;
            reason = Some((code, why));
        }
        Told::Failed(failure) => {
            head.response_code = ResponseCode::ServFail;
            let code = match failure {
                Failure::Silent => NETWORK,
                Failure::Useless(_) => UNREACHABLE,
            };
            reason = Some((code, failure.to_string()));
        }
        Told::Refused => head.response_code = ResponseCode::Refused,
    }
    if question.edns.is_some() {
        let mut edns = edns(dnssec);
        if let Some((code, text)) = reason {
            let mut option = code.to_be_bytes().to_vec();
            let text: String = text
                .chars()
                .filter(char::is_ascii)
                .take(MAX_REASON)
                .collect();
            option.extend_from_slice(text.as_bytes());
            edns.options_mut()
                .insert(EdnsOption::Unknown(REASON, option));
        }
        message.set_edns(edns);
    }
    let bytes = message.to_vec().unwrap_or_default();
    let limit = if udp { question.payload } else { u16::MAX };
    if !bytes.is_empty() && bytes.len() <= usize::from(limit) {
        return bytes;
    }
    // All or nothing (RFC 2181, section 9): the client comes again by TCP, where only what is no message
    // at all does not fit.
    message.answers.clear();
    message.authorities.clear();
    message.metadata.authentic_data = false;
    if udp {
        message.metadata.truncation = true;
    } else {
        message.metadata.response_code = ResponseCode::ServFail;
    }
    message.to_vec().unwrap_or_default()
}

/// Whether a record is for a client that knows nothing of signatures (RFC 4035, section 3.2.1).
fn is_plain(record: &Record, kind: RecordType) -> bool {
    let is = record.record_type();
    covered(record).is_none() && (is == kind || !matches!(is, RecordType::NSEC | RecordType::NSEC3))
}
