//! The zone of a domain, made from what the box knows of itself.
//!
//! [`zone`] reads nothing and keeps nothing: the same [`Facts`] always give the same [`Zone`]. A record is
//! there only while what it says is true: nothing points to the box before it has an address, and nothing
//! promises a certificate before there is one.
//!
//! Left out on purpose:
//! - aliases (CNAME), because a name with one can say nothing else, not even that it takes no mail;
//! - `issuemail` in CAA (RFC 9495), because the box does not know where its users get theirs from;
//! - `sp=` and `pct=` in DMARC: names without mail have a policy of their own, and the owner may send from
//!   other names below the domain.

mod facts;
mod find;
mod hosts;
mod mail;
mod names;
mod trust;

#[cfg(test)]
pub(crate) mod tests;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record};

use crate::records::{Entry, Source, Zone};

pub use facts::{
    Acme, DkimKey, Dmarc, Facts, FactsError, Mode, MtaSts, NameServer, Offer, Service, Stage,
    TlsKey,
};
pub use mail::{is_certified, mta_sts_policy};
pub(crate) use names::{is_account, is_address, is_digest, is_host};

/// How long others may keep a record, in seconds. An hour: the relay's address changes when it is made anew,
/// and nobody should wait for a day then. Longer would save queries that a home box does not notice.
pub const TTL: u32 = 3600;

/// The same for what changes with a key or a policy (TLSA, MTA-STS, CAA). Five minutes: the next key is taken
/// into use only after the record from before it was published has left every cache, and a repair of a wrong
/// one must work at once.
pub const TTL_CHANGING: u32 = 300;

/// Makes the zone, without SOA and DNSSEC. The first records are the most needed.
///
/// Without addresses it has no NS records if the name servers' own names lie in it: such a zone can be shown
/// but not be delegated.
///
/// # Errors
/// If the facts hold something that cannot stand in a record.
pub fn zone(facts: &Facts) -> Result<Zone, FactsError> {
    let mut draft = Draft::new(facts)?;
    hosts::name_servers(&mut draft)?;
    mail::delivery(&mut draft)?;
    hosts::addresses(&mut draft)?;
    mail::proof(&mut draft)?;
    mail::transport(&mut draft)?;
    find::services(&mut draft)?;
    trust::keys(&mut draft)?;
    trust::authorities(&mut draft)?;
    hosts::without_mail(&mut draft)?;
    Ok(Zone {
        origin: draft.domain,
        entries: draft.entries,
    })
}

/// A zone in the making.
struct Draft<'a> {
    facts: &'a Facts,
    domain: Name,
    /// The mail server, here or in another zone.
    host: Name,
    entries: Vec<Entry>,
}

impl<'a> Draft<'a> {
    fn new(facts: &'a Facts) -> Result<Self, FactsError> {
        Ok(Self {
            facts,
            domain: names::host("the domain", &facts.domain)?,
            host: names::host("the mail host", &facts.mail_host)?,
            entries: Vec::new(),
        })
    }

    /// Whether the world can reach the box.
    fn reachable(&self) -> bool {
        !self.facts.ipv4.is_empty() || !self.facts.ipv6.is_empty()
    }

    /// Whether the mail server's name is in this zone.
    fn host_is_here(&self) -> bool {
        self.domain.zone_of(&self.host)
    }

    /// A name below the domain.
    fn below(&self, labels: &str) -> Result<Name, FactsError> {
        names::below(labels, &self.domain)
    }

    /// Adds a record unless it is there already: two roles can have one name.
    fn add(&mut self, name: &Name, ttl: u32, data: RData, why: impl Into<String>) {
        let twice = |entry: &Entry| entry.record.name == *name && entry.record.data == data;
        if self.entries.iter().any(twice) {
            return;
        }
        self.entries.push(Entry {
            record: Record::from_rdata(name.clone(), ttl, data),
            source: Source::Generated,
            why: why.into(),
        });
    }
}

/// Text in strings of at most 255 bytes, which readers put together again (RFC 7208, section 3.3; RFC 6376,
/// section 3.6.2.2). The text is ASCII, so a cut is never inside of a letter.
fn text(text: &str) -> RData {
    RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect()))
}
