//! The records that a signed zone has at its apex beside the owner's: SOA, DNSKEY, CDS, CDNSKEY.

use hickory_proto::dnssec::PublicKey;
use hickory_proto::dnssec::rdata::{CDNSKEY, CDS, DNSSECRData};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::keys::{ALGORITHM, Key, KeySet};
use super::rrsets::RrSets;
use super::{SignError, policy};

/// SOA of the zone. Its first field is a name server of the zone that the relay's secondary answers for too
/// (RFC 2136 would send updates there; ours come over loopback only).
pub fn soa(origin: &Name, first_ns: Name, serial: u32) -> Result<Record, SignError> {
    let mailbox = Name::from_ascii("hostmaster").and_then(|name| name.append_domain(origin));
    let mailbox = mailbox.map_err(|_| SignError::LongOrigin(origin.clone()))?;
    let signed = u32::cast_signed;
    let soa = SOA::new(
        first_ns,
        mailbox,
        serial,
        signed(policy::REFRESH),
        signed(policy::RETRY),
        signed(policy::EXPIRE),
        policy::NEGATIVE_TTL,
    );
    Ok(Record::from_rdata(
        origin.clone(),
        policy::APEX_TTL,
        RData::SOA(soa),
    ))
}

/// The first name server in the order that the zone's records were given.
pub fn first_ns(origin: &Name, records: &[Record], sets: &RrSets) -> Result<Name, SignError> {
    if !sets.contains_key(&(origin.clone(), RecordType::NS)) {
        return Err(SignError::NoNameServer(origin.clone()));
    }
    let apex = records
        .iter()
        .filter(|record| super::keys::absolute(&record.name) == *origin);
    let mut servers = apex.filter_map(|record| match &record.data {
        RData::NS(ns) => Some(super::keys::absolute(&ns.0)),
        _ => None,
    });
    servers
        .next()
        .ok_or_else(|| SignError::NoNameServer(origin.clone()))
}

/// DNSKEY of all keys, CDS and CDNSKEY (RFC 7344, RFC 8078) of those that the parent should name.
pub fn keys(set: &KeySet) -> Vec<Record> {
    let record = |data: RData| Record::from_rdata(set.origin().clone(), policy::APEX_TTL, data);
    let dnskeys = set
        .keys()
        .iter()
        .map(|key| record(RData::DNSSEC(DNSSECRData::DNSKEY(key.dnskey().clone()))));
    let cds = set
        .announced()
        .filter_map(|key| cds(set.origin(), key))
        .map(record);
    let cdnskeys = set.announced().map(cdnskey).map(record);
    dnskeys.chain(cds).chain(cdnskeys).collect()
}

fn cds(origin: &Name, key: &Key) -> Option<RData> {
    let ds = key.ds(origin)?;
    let cds = CDS::new(
        ds.key_tag(),
        Some(ds.algorithm()),
        ds.digest_type(),
        ds.digest().to_vec(),
    );
    Some(RData::DNSSEC(DNSSECRData::CDS(cds)))
}

fn cdnskey(key: &Key) -> RData {
    let public = key.dnskey().public_key().public_bytes().to_vec();
    RData::DNSSEC(DNSSECRData::CDNSKEY(CDNSKEY::with_flags(
        key.dnskey().flags(),
        Some(ALGORITHM),
        public,
    )))
}
