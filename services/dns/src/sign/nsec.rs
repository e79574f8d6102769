//! Proof of what is not there (RFC 4034, section 4).
//!
//! NSEC, not NSEC3: NSEC lets anyone list the zone's names, which NSEC3 only makes laborious. All names of a
//! generated mail zone can be guessed or are in certificate logs, so there is nothing to hide; and NSEC answers
//! are shorter and cost resolvers no hashing (RFC 9276).

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::policy;
use super::rrsets::{Place, RrSets};

/// The NSEC records of a zone, one for each name that has authoritative records or is a delegation. An empty
/// non-terminal has none (RFC 4035, section 2.3), nor has a name with glue alone.
pub fn chain(origin: &Name, sets: &RrSets) -> Vec<Record> {
    let mut names: BTreeMap<&Name, BTreeSet<RecordType>> = BTreeMap::new();
    for ((name, kind), set) in sets {
        if set.place != Place::Glue {
            names.entry(name).or_default().insert(*kind);
        }
    }
    // The apex sorts first, so the name after the last one is the apex again.
    let next = names
        .keys()
        .skip(1)
        .map(|name| (*name).clone())
        .chain([origin.clone()])
        .collect::<Vec<_>>();
    let records = names.into_iter().zip(next).map(|((name, kinds), next)| {
        let data = RData::DNSSEC(DNSSECRData::NSEC(NSEC::new_cover_self(next, kinds)));
        // RFC 9077: no longer than a negative answer is remembered.
        Record::from_rdata(
            name.clone(),
            policy::NEGATIVE_TTL.min(policy::APEX_TTL),
            data,
        )
    });
    records.collect()
}
