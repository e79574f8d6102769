//! What a cache may hold of a signed zone, and whether it fits to what others hold.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::dnssec::Verifier;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use roost_dns::records::Signed;
use roost_dns::sign::clock;

/// A signed zone as it went out.
pub struct Version {
    pub signed: Signed,
    pub keys: BTreeMap<u16, DNSKEY>,
    /// The first of the versions before it without another key set in between; or itself.
    pub key_set: usize,
    pub ds: Vec<DS>,
    pub begins: u64,
    pub last_served: u64,
}

fn rrsigs(signed: &Signed) -> impl Iterator<Item = (&Record, &RRSIG)> {
    signed
        .records
        .iter()
        .filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some((record, rrsig)),
            _ => None,
        })
}

impl Version {
    pub fn new(signed: Signed, ds: Vec<DS>, now: u64, before: &[Self]) -> Self {
        let keys = signed
            .records
            .iter()
            .filter_map(|record| match &record.data {
                RData::DNSSEC(DNSSECRData::DNSKEY(key)) => {
                    Some((key.calculate_key_tag().unwrap(), key.clone()))
                }
                _ => None,
            });
        let keys: BTreeMap<u16, DNSKEY> = keys.collect();
        let same = before.last().filter(|last| last.keys == keys);
        let key_set = same.map_or(before.len(), |last| last.key_set);
        let begins = rrsigs(&signed)
            .map(|(_, sig)| clock::widen(sig.input().sig_inception.get(), now))
            .max();
        Self {
            keys,
            key_set,
            ds,
            begins: begins.unwrap(),
            last_served: now,
            signed,
        }
    }

    /// A cache has this version's key set: the DS set leads to it.
    pub fn follows(&self, parent: &[DS]) -> bool {
        let signers: BTreeSet<u16> = rrsigs(&self.signed)
            .filter(|(_, sig)| sig.input().type_covered == RecordType::DNSKEY)
            .map(|(_, sig)| sig.input().key_tag)
            .collect();
        let leads = |ds: &DS| {
            let key = self
                .keys
                .get(&ds.key_tag())
                .filter(|_| signers.contains(&ds.key_tag()));
            key.is_some_and(|key| ds.covers(&self.signed.origin, key).unwrap())
        };
        parent.is_empty() || parent.iter().any(leads)
    }

    /// A cache has this version's key set: every RRset of `other` but the key set has a signature that validates
    /// with it (one is enough: RFC 4035, section 5.3.3; CDS has one by each KSK).
    pub fn validates(&self, other: &Version) -> bool {
        let mut sets: BTreeMap<_, bool> = BTreeMap::new();
        for (record, sig) in rrsigs(&other.signed) {
            let kind = sig.input().type_covered;
            let set = other
                .signed
                .records
                .iter()
                .filter(|one| one.name == record.name && one.record_type() == kind);
            let key = self.keys.get(&sig.input().key_tag);
            let valid = key.is_some_and(|key| {
                key.verify_rrsig(&record.name, DNSClass::IN, sig, set)
                    .is_ok()
            });
            *sets.entry((&record.name, kind)).or_default() |= valid;
        }
        sets.into_iter()
            .all(|((_, kind), valid)| valid || kind == RecordType::DNSKEY)
    }
}
