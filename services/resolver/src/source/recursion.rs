//! Answers from the domains' own name servers, by hickory's recursion.
//!
//! hickory follows aliases, but loses the proofs of what it passes, and the alias itself if there is nothing at
//! its end. So each name is asked for here by itself; what hickory found on the way is in its cache by then.

use super::servers::Servers;
use crate::anchors::Root;
use crate::found::{Failure, Found, alias, is, is_alias_part, is_denial};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::net::NetError;
use hickory_resolver::recursor::{
    AuthorityData, DnssecPolicy, QNameMinimization, Recursor, RecursorError, RecursorOptions,
};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

/// Aliases in a chain. Eleven is what others allow, and what is checked.
pub const MAX_ALIASES: usize = 11;
/// Answers that hickory keeps; each has some hundred bytes to two kilobytes.
const ANSWERS: u64 = 1024;
/// Zones whose servers hickory knows, and servers.
const ZONES: usize = 512;
/// Labels that are gone through one by one: a reverse name of IPv6 has 34, and as much again for the names of
/// name servers.
const DEPTH: u8 = 72;

/// Labels of a name that is asked for; those of IPv6 have 34. hickory asks for one after the other, where RFC 9156
/// (section 2.3) has ten steps at most, and would find out only after [`DEPTH`] questions that it cannot go on.
const MAX_LABELS: usize = 64;

/// hickory's recursion.
pub struct Recursion(Recursor<Servers>);

impl Recursion {
    /// From this root on.
    ///
    /// # Errors
    /// When hickory does not like something about it.
    pub fn new(root: &Root) -> Result<Self, String> {
        let mut options = RecursorOptions {
            ns_cache_size: ZONES,
            response_cache_size: ANSWERS,
            ns_recursion_limit: DEPTH,
            edns_payload_len: crate::wire::PAYLOAD,
            // Some servers say that a name is not there when there is only something below it.
            qname_minimization: QNameMinimization::Relaxed,
            ..RecursorOptions::default()
        };
        if !root.public {
            // A network with a root of its own may have its servers anywhere, but not on this box.
            options.deny_server = own();
        }
        Recursor::new(
            &root.servers,
            DnssecPolicy::ValidationDisabled,
            None,
            options,
            Servers::default(),
        )
        .map(Self)
        .map_err(|error| error.to_string())
    }

    /// See [`super::Source::ask`].
    ///
    /// # Errors
    /// When no server gave an answer.
    pub async fn ask(&self, name: &Name, kind: RecordType) -> Result<Found, Failure> {
        let mut whole = Found::empty(ResponseCode::NoError);
        let mut at = name.clone();
        for _ in 0..=MAX_ALIASES {
            let part = self.part(&at, kind).await?;
            whole.answers.extend(part.answers);
            whole.authorities.extend(part.authorities);
            let target = whole.answers.iter().find_map(|record| alias(record, &at));
            match target.filter(|_| kind != RecordType::CNAME) {
                Some(target) => at = target.clone(),
                None => {
                    whole.code = part.code;
                    return Ok(whole);
                }
            }
        }
        Err(Failure::Useless(format!(
            "{name} has more than {MAX_ALIASES} aliases, or they go in a circle"
        )))
    }

    /// What there is at this name: an alias, records, or nothing.
    async fn part(&self, name: &Name, kind: RecordType) -> Result<Found, Failure> {
        let labels = name.iter().count();
        if labels > MAX_LABELS {
            return Err(Failure::Useless(format!(
                "a name of {labels} labels is not looked for: {MAX_LABELS} are more than any in use"
            )));
        }
        let asked = self
            .0
            .resolve(Query::query(name.clone(), kind), Instant::now(), true);
        match asked.await {
            Ok(message) => tidy(Found::of(message), name, kind),
            // What it says may be about the end of a chain of aliases.
            Err(RecursorError::Negative(nothing))
                if kind != RecordType::CNAME && nothing.query.name() != name =>
            {
                let query = Query::query(name.clone(), RecordType::CNAME);
                let message = self
                    .0
                    .resolve(query, Instant::now(), true)
                    .await
                    .map_err(failure)?;
                tidy(Found::of(message), name, RecordType::CNAME)
            }
            Err(RecursorError::Negative(nothing)) => negative(nothing),
            Err(error) => Err(failure(error)),
        }
    }
}

/// Leaves an alias with its proofs, or the records that were asked for with theirs.
fn tidy(mut found: Found, name: &Name, kind: RecordType) -> Result<Found, Failure> {
    let aliased = found
        .answers
        .iter()
        .any(|record| alias(record, name).is_some());
    if aliased {
        found.code = ResponseCode::NoError;
        found.answers.retain(|record| is_alias_part(record, name));
    } else {
        found
            .answers
            .retain(|record| record.name == *name && is(record) == kind);
    }
    if !found.answers.is_empty() {
        found.authorities.retain(is_denial);
        return Ok(found);
    }
    // hickory takes the SOA of what is not there for an answer to who asks for a SOA.
    found.tidy();
    if found
        .authorities
        .iter()
        .any(|record| is(record) == RecordType::SOA)
    {
        return Ok(found);
    }
    Err(Failure::Useless("a server answers something else".into()))
}

/// Nothing is there, as a server said.
fn negative(nothing: AuthorityData) -> Result<Found, Failure> {
    // hickory takes an answer that is about another zone for none.
    if !nothing.is_no_records_found() {
        return Err(Failure::Useless(
            "a server answers for a zone that it does not have".into(),
        ));
    }
    let code = match nothing.is_nx_domain() {
        true => ResponseCode::NXDomain,
        false => ResponseCode::NoError,
    };
    let mut found = Found::empty(code);
    let others = nothing
        .authorities
        .iter()
        .flat_map(|records| records.iter());
    found.authorities.extend(others.cloned());
    found.tidy();
    if let Some(soa) = nothing.soa {
        let soa = soa.into_record_of_rdata();
        if !found.authorities.contains(&soa) {
            found.authorities.push(soa);
        }
    }
    Ok(found)
}

fn failure(error: RecursorError) -> Failure {
    match error {
        RecursorError::Net(NetError::Timeout | NetError::NoConnections | NetError::Io(_))
        | RecursorError::Timeout
        | RecursorError::Io(_) => Failure::Silent,
        other => Failure::Useless(other.to_string()),
    }
}

/// Addresses that are this box's own, or nobody's.
fn own() -> Vec<IpNet> {
    let nets: [(IpAddr, u8); 6] = [
        (Ipv4Addr::LOCALHOST.into(), 8),
        (Ipv4Addr::UNSPECIFIED.into(), 8),
        (Ipv4Addr::new(224, 0, 0, 0).into(), 3),
        (Ipv6Addr::LOCALHOST.into(), 128),
        (Ipv6Addr::UNSPECIFIED.into(), 128),
        (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
    ];
    nets.into_iter()
        .filter_map(|(ip, length)| IpNet::new(ip, length).ok())
        .collect()
}
