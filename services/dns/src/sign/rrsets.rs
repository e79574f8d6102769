//! From loose records to RRsets in canonical form, each with its place in the zone.

use std::collections::BTreeMap;

use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use super::keys::absolute;
use super::{SignError, canonical, policy};

/// What a signer does with an RRset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Ours to answer with authority: signed, in NSEC.
    Authoritative,
    /// NS records of a delegation: in NSEC, not signed.
    Delegation,
    /// Addresses for a delegation: neither.
    Glue,
}

/// Records of one name and type, sorted, without duplicates, of one TTL.
#[derive(Debug, Clone)]
pub struct RrSet {
    /// The records.
    pub records: Vec<Record>,
    /// What they are in this zone.
    pub place: Place,
}

/// RRsets by name and type, in canonical order (RFC 4034, section 6.1).
pub type RrSets = BTreeMap<(Name, RecordType), RrSet>;

/// Types that only the signer makes.
const OURS: [RecordType; 8] = [
    RecordType::SOA,
    RecordType::DNSKEY,
    RecordType::CDS,
    RecordType::CDNSKEY,
    RecordType::NSEC,
    RecordType::NSEC3,
    RecordType::NSEC3PARAM,
    RecordType::RRSIG,
];

/// The RRsets of an unsigned zone.
pub fn group(origin: &Name, records: &[Record]) -> Result<RrSets, SignError> {
    let mut sets: BTreeMap<(Name, RecordType), BTreeMap<Vec<u8>, Record>> = BTreeMap::new();
    for record in records {
        let (record, wire) = normal(origin, record)?;
        let set = sets
            .entry((record.name.clone(), record.record_type()))
            .or_default();
        // Of two copies, the shorter TTL is kept.
        let kept = set.entry(wire).or_insert_with(|| record.clone());
        kept.ttl = kept.ttl.min(record.ttl);
    }
    let sets: RrSets = sets
        .into_iter()
        .map(|(key, set)| (key, one_ttl(set)))
        .collect();
    place(origin, sets)
}

fn normal(origin: &Name, record: &Record) -> Result<(Record, Vec<u8>), SignError> {
    let name = absolute(&record.name);
    let kind = record.record_type();
    // RFC 6895, section 3.1: of these, 41 is OPT, the others are for questions and transactions.
    if record.dns_class != DNSClass::IN || matches!(u16::from(kind), 0 | 41 | 128..=255) {
        return Err(SignError::NotData { name, kind });
    }
    if !origin.zone_of(&name) {
        return Err(SignError::OutOfZone {
            name,
            origin: Box::new(origin.clone()),
        });
    }
    if OURS.contains(&kind) {
        return Err(SignError::Ours { name, kind });
    }
    let (data, wire) = canonical::normal(&record.data).map_err(|error| SignError::Data {
        name: name.clone(),
        kind,
        error: error.to_string(),
    })?;
    Ok((
        Record::from_rdata(name, record.ttl.min(policy::MAX_TTL), data),
        wire,
    ))
}

/// RFC 2181, section 5.2: the TTLs of an RRset are equal. The smallest is the one that breaks no promise.
fn one_ttl(set: BTreeMap<Vec<u8>, Record>) -> RrSet {
    let ttl = set
        .values()
        .map(|record| record.ttl)
        .min()
        .unwrap_or_default();
    let mut records: Vec<Record> = set.into_values().collect();
    for record in &mut records {
        record.ttl = ttl;
    }
    RrSet {
        records,
        place: Place::Authoritative,
    }
}

fn place(origin: &Name, mut sets: RrSets) -> Result<RrSets, SignError> {
    let owners = |kind| {
        sets.keys()
            .filter(move |(_, k)| *k == kind)
            .map(|(name, _)| name)
    };
    let cuts: Vec<Name> = owners(RecordType::NS)
        .filter(|name| *name != origin)
        .cloned()
        .collect();
    let dnames: Vec<Name> = owners(RecordType::DNAME).cloned().collect();
    for (name, kind) in sets.keys() {
        let hidden = dnames
            .iter()
            .find(|dname| dname.zone_of(name) && *dname != name);
        if let Some(by) = hidden {
            return Err(SignError::Hidden {
                name: name.clone(),
                kind: *kind,
                by: Box::new(by.clone()),
            });
        }
    }
    lone_names(&sets)?;
    for ((name, kind), set) in &mut sets {
        // The topmost: a delegation below a delegation is the other zone's.
        let cut = cuts
            .iter()
            .filter(|cut| cut.zone_of(name))
            .min_by_key(|cut| cut.num_labels());
        set.place = within(name, *kind, cut)?;
    }
    Ok(sets)
}

fn within(name: &Name, kind: RecordType, cut: Option<&Name>) -> Result<Place, SignError> {
    let Some(cut) = cut else {
        return match kind {
            RecordType::DS => Err(SignError::LoneDs(name.clone())),
            _ => Ok(Place::Authoritative),
        };
    };
    match kind {
        RecordType::NS if name == cut && name.is_wildcard() => {
            Err(SignError::Wildcard(name.clone()))
        }
        RecordType::NS if name == cut => Ok(Place::Delegation),
        RecordType::DS if name == cut => Ok(Place::Authoritative),
        RecordType::A | RecordType::AAAA => Ok(Place::Glue),
        _ => Err(SignError::Hidden {
            name: name.clone(),
            kind,
            by: Box::new(cut.clone()),
        }),
    }
}

/// An alias is alone at its name, and single (RFC 1034, section 3.6.2; RFC 6672, section 2.4).
fn lone_names(sets: &RrSets) -> Result<(), SignError> {
    for ((name, kind), set) in sets {
        if !matches!(kind, RecordType::CNAME | RecordType::DNAME) {
            continue;
        }
        let others = sets
            .range((name.clone(), RecordType::ZERO)..)
            .take_while(|((n, _), _)| n == name)
            .count()
            > 1;
        if set.records.len() > 1 || (others && *kind == RecordType::CNAME) {
            return Err(SignError::NotAlone {
                name: name.clone(),
                kind: *kind,
            });
        }
    }
    Ok(())
}

/// Adds records that the signer made, which are authoritative.
pub fn add(sets: &mut RrSets, records: impl IntoIterator<Item = Record>) -> Result<(), SignError> {
    let mut touched = Vec::new();
    for record in records {
        let key = (record.name.clone(), record.record_type());
        let empty = || RrSet {
            records: Vec::new(),
            place: Place::Authoritative,
        };
        sets.entry(key.clone())
            .or_insert_with(empty)
            .records
            .push(record);
        touched.push(key);
    }
    for key in touched {
        if let Some(set) = sets.get_mut(&key) {
            canonical::sort(&mut set.records);
        }
    }
    Ok(())
}
