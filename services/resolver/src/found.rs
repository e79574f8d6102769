//! What somebody answered to a question, before and after it was checked.

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A whole answer: every alias on the way, and what is at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How it ends: `NoError` or `NXDomain`.
    pub code: ResponseCode,
    /// Answer section, with signatures.
    pub answers: Vec<Record>,
    /// Authority section: who says that there is nothing, and the proofs.
    pub authorities: Vec<Record>,
}

/// Why there is no answer at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody answered in time, or nobody can be reached.
    #[error("nobody answered in time")]
    Silent,
    /// Somebody answered, and it was of no use.
    #[error("{0}")]
    Useless(String),
}

impl Found {
    /// An answer without records.
    pub fn empty(code: ResponseCode) -> Self {
        Self {
            code,
            answers: vec![],
            authorities: vec![],
        }
    }

    /// What is in a message of somebody's.
    pub fn of(message: Message) -> Self {
        Self {
            code: message.metadata.response_code,
            answers: message.answers,
            authorities: message.authorities,
        }
    }

    /// Leaves in the authority section who says that there is nothing, and the proofs: servers put their own
    /// names there too, which nobody needs, and which may be unsigned.
    pub fn tidy(&mut self) {
        self.authorities
            .retain(|record| is_denial(record) || is(record) == RecordType::SOA);
    }

    /// It as a message with its question, as it goes to validation.
    pub fn message(&self, name: &Name, kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(name.clone(), kind));
        let mut message = message.into_response();
        message.metadata.response_code = self.code;
        message.answers = self.answers.clone();
        message.authorities = self.authorities.clone();
        message
    }

    /// Where the aliases of the answer section lead from `name`: to a name that has records of this kind,
    /// or about which nothing is said. `None`: in a circle.
    pub fn end_of_aliases(&self, name: &Name, kind: RecordType) -> Option<Name> {
        let mut at = name.clone();
        if kind == RecordType::CNAME {
            return Some(at);
        }
        // Each record is used once at most in a chain that is none in a circle.
        for _ in 0..=self.answers.len() {
            match self.answers.iter().find_map(|record| alias(record, &at)) {
                Some(target) => at = target.clone(),
                None => return Some(at),
            }
        }
        None
    }

    /// Whether the records that were asked for are there.
    pub fn has(&self, name: &Name, kind: RecordType) -> bool {
        let mut records = self.answers.iter();
        records.any(|record| record.record_type() == kind && record.name == *name)
    }

    /// Seconds for which it may be kept (RFC 2308, section 5: what is not there, as long as the SOA says).
    pub fn lifetime(&self) -> u32 {
        let ttls = self.answers.iter().chain(&self.authorities);
        let least = ttls.map(|record| record.ttl).min().unwrap_or(0);
        let soa = self
            .authorities
            .iter()
            .find_map(|record| match &record.data {
                RData::SOA(soa) => Some(soa.minimum),
                _ => None,
            });
        least.min(soa.unwrap_or(u32::MAX))
    }
}

/// What a signature is about.
pub fn covered(record: &Record) -> Option<RecordType> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig.input().type_covered),
        _ => None,
    }
}

/// What kind of record this is; a signature is of the kind that it signs.
pub fn is(record: &Record) -> RecordType {
    covered(record).unwrap_or(record.record_type())
}

/// Whether a record proves that something is not there, or is such a proof's signature.
pub fn is_denial(record: &Record) -> bool {
    matches!(is(record), RecordType::NSEC | RecordType::NSEC3)
}

/// Whether a record makes `name` an alias, or proves that: CNAME, DNAME (RFC 6672) and their signatures.
pub fn is_alias_part(record: &Record, name: &Name) -> bool {
    match is(record) {
        RecordType::CNAME => record.name == *name,
        RecordType::DNAME => record.name != *name && record.name.zone_of(name),
        _ => false,
    }
}

/// The target, if this record makes `name` an alias.
pub fn alias<'a>(record: &'a Record, name: &Name) -> Option<&'a Name> {
    match &record.data {
        RData::CNAME(target) if record.name == *name => Some(&target.0),
        _ => None,
    }
}
