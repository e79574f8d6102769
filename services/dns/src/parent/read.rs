//! Reads what the parent answers.

use super::Said;
use hickory_proto::dnssec::rdata::{DNSSECRData, DS};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// More of one kind than this is nothing that a parent has; the rest is left out.
const MOST: usize = 50;

/// Reads an answer to the question for the zone's NS: a referral, which has them in its authority section
/// (RFC 1034, section 4.3.2), an answer of a server that has the zone too, or that there is no such name.
///
/// # Errors
/// Why it is none of these, in plain words.
pub fn referral(message: &Message, zone: &Name) -> Result<Said, String> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(format!("it answers: {code}"));
    }
    let named = |records: &[Record]| -> BTreeSet<Name> {
        let servers = records.iter().filter_map(|record| match &record.data {
            RData::NS(ns) if record.name == *zone => Some(absolute(&ns.0)),
            _ => None,
        });
        servers.take(MOST).collect()
    };
    let mut name_servers = named(&message.answers);
    if name_servers.is_empty() {
        name_servers = named(&message.authorities);
    }
    // Who is asked in vain refers to the root, or to a parent.
    if name_servers.is_empty() && !message.metadata.authoritative {
        return Err("it does not answer for the zone above".into());
    }
    let all = message.additionals.iter().chain(&message.answers);
    let glue = all.filter_map(|record| {
        let name = absolute(&record.name);
        let address = match &record.data {
            RData::A(a) => IpAddr::V4(a.0),
            RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
            _ => return None,
        };
        name_servers.contains(&name).then_some((name, address))
    });
    let glue = glue.take(MOST).collect();
    Ok(Said {
        glue,
        name_servers,
        ..Said::default()
    })
}

/// Reads an answer to the question for the zone's DS records: these and their TTL in seconds. There may be none.
///
/// # Errors
/// Why it does not say, in plain words.
pub fn ds_records(message: &Message, zone: &Name) -> Result<(Vec<DS>, u32), String> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(format!("it answers: {code}"));
    }
    let mut ttl = 0;
    let mut all = Vec::new();
    for record in &message.answers {
        if let RData::DNSSEC(DNSSECRData::DS(ds)) = &record.data
            && record.name == *zone
            && all.len() < MOST
        {
            ttl = ttl.max(record.ttl);
            all.push(ds.clone());
        }
    }
    all.sort_by_key(DS::to_string);
    all.dedup();
    Ok((all, ttl))
}

/// The zone that begins at this name or does not, by the answer to the question for its SOA.
pub(super) fn begins_zone(message: &Message, name: &Name) -> bool {
    let soa = |record: &Record| record.record_type() == RecordType::SOA && record.name == *name;
    message.answers.iter().any(soa)
}

/// In lower case and with the dot at its end, so that it can be compared.
pub(super) fn absolute(name: &Name) -> Name {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name
}
