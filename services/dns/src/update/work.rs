//! What an update does to a zone (RFC 2136, section 3).

use super::Replaced;
use crate::records::Signed;
use crate::serve::Code;
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordData, RecordType};
use std::collections::BTreeMap;

/// A name's sets by type, in lower case.
type Sets = BTreeMap<(Name, RecordType), Vec<Record>>;

/// Checks the prerequisites, then every part of the update, then works out what changes. Nothing of it is
/// done before all of it may be.
pub fn work_out(
    zone: &Signed,
    message: &Message,
    may: impl Fn(&Name, RecordType) -> bool,
) -> Result<Vec<Replaced>, Code> {
    let before = sets(zone);
    prerequisites(zone, &before, &message.answers)?;
    for record in &message.authorities {
        scan(zone, record)?;
        permit(&before, record, &may)?;
    }
    let mut after = before.clone();
    for record in &message.authorities {
        change(zone, &mut after, record);
    }
    let mut changed: Vec<_> = after.keys().chain(before.keys()).cloned().collect();
    changed.sort();
    changed.dedup();
    changed.retain(|key| before.get(key) != after.get(key));
    let replaced = changed.into_iter().map(|(name, kind)| {
        let records = after.remove(&(name.clone(), kind)).unwrap_or_default();
        Replaced {
            name,
            kind,
            records,
        }
    });
    Ok(replaced.collect())
}

/// The zone without what signing adds: nobody may change that, and a name that has nothing else is not in use.
fn sets(zone: &Signed) -> Sets {
    let mut sets = Sets::new();
    for record in &zone.records {
        let kind = record.record_type();
        if !matches!(kind, RecordType::RRSIG | RecordType::NSEC) {
            sets.entry((record.name.to_lowercase(), kind))
                .or_default()
                .push(record.clone());
        }
    }
    sets
}

/// RFC 2136, section 3.2.
fn prerequisites(zone: &Signed, sets: &Sets, wanted: &[Record]) -> Result<(), Code> {
    let mut exact = Sets::new();
    for record in wanted {
        let (name, kind) = (record.name.to_lowercase(), record.record_type());
        if record.ttl != 0 {
            return Err(Code::Format);
        }
        if !zone.origin.zone_of(&name) {
            return Err(Code::NotZone);
        }
        let empty = record.data.is_update();
        let any = kind == RecordType::ANY;
        let used = in_use(sets, &name);
        let has = sets.contains_key(&(name.clone(), kind));
        match record.dns_class {
            DNSClass::ANY if empty && any && !used => return Err(Code::NxDomain),
            DNSClass::ANY if empty && !any && !has => return Err(Code::NxRrset),
            DNSClass::NONE if empty && any && used => return Err(Code::YxDomain),
            DNSClass::NONE if empty && !any && has => return Err(Code::YxRrset),
            DNSClass::ANY | DNSClass::NONE if empty => {}
            DNSClass::IN if !empty => exact.entry((name, kind)).or_default().push(record.clone()),
            _ => return Err(Code::Format),
        }
    }
    for (key, wanted) in &exact {
        let own = sets.get(key).map_or(&[][..], Vec::as_slice);
        let same = |one: &[Record], other: &[Record]| {
            one.iter()
                .all(|record| other.iter().any(|other| other.data == record.data))
        };
        if !same(own, wanted) || !same(wanted, own) {
            return Err(Code::NxRrset);
        }
    }
    Ok(())
}

fn in_use(sets: &Sets, name: &Name) -> bool {
    sets.keys().any(|(own, _)| own == name)
}

/// RFC 2136, section 3.4.1.
fn scan(zone: &Signed, record: &Record) -> Result<(), Code> {
    if !zone.origin.zone_of(&record.name) {
        return Err(Code::NotZone);
    }
    let kind = record.record_type();
    let number = u16::from(kind);
    // ANY, transfers, mail agents, OPT, TSIG and the like are no types of records that a zone has.
    let meta = (128..=255).contains(&number) || kind == RecordType::OPT;
    let empty = record.data.is_update();
    let good = match record.dns_class {
        DNSClass::IN => !meta && !empty,
        DNSClass::ANY => record.ttl == 0 && empty && (!meta || kind == RecordType::ANY),
        DNSClass::NONE => record.ttl == 0 && !meta && !empty,
        _ => false,
    };
    good.then_some(()).ok_or(Code::Format)
}

/// Deleting a name touches all that it has.
fn permit(
    sets: &Sets,
    record: &Record,
    may: &impl Fn(&Name, RecordType) -> bool,
) -> Result<(), Code> {
    let (name, kind) = (record.name.to_lowercase(), record.record_type());
    let allowed = match kind {
        RecordType::ANY => {
            let mut own = sets.keys().filter(|(own, _)| *own == name).peekable();
            own.peek().is_some() && own.all(|(_, kind)| may(&name, *kind))
        }
        kind => may(&name, kind),
    };
    allowed.then_some(()).ok_or(Code::Refused)
}

/// RFC 2136, section 3.4.2.
fn change(zone: &Signed, sets: &mut Sets, record: &Record) {
    let (name, kind) = (record.name.to_lowercase(), record.record_type());
    // The SOA is the box's own, and a zone without name servers would be none.
    let kept = |kind| kind == RecordType::SOA || (kind == RecordType::NS && name == zone.origin);
    match (record.dns_class, kind) {
        (DNSClass::IN, RecordType::SOA) => {}
        (DNSClass::IN, _) => add(sets, name, kind, record),
        (DNSClass::ANY, RecordType::ANY) => {
            sets.retain(|(own, kind), _| *own != name || kept(*kind));
        }
        (DNSClass::ANY, _) if !kept(kind) => drop(sets.remove(&(name, kind))),
        (DNSClass::NONE, _) if kind != RecordType::SOA => {
            let last = kept(kind)
                && sets
                    .get(&(name.clone(), kind))
                    .is_some_and(|own| own.len() == 1);
            if !last {
                delete(sets, (name, kind), &record.data);
            }
        }
        _ => {}
    }
}

fn add(sets: &mut Sets, name: Name, kind: RecordType, record: &Record) {
    // An alias stands alone at its name; what breaks that is passed over, not refused.
    let mut others = sets
        .keys()
        .filter(|(own, _)| *own == name)
        .map(|(_, kind)| *kind);
    let alias = kind == RecordType::CNAME;
    if others.any(|other| alias != (other == RecordType::CNAME)) {
        return;
    }
    let mut record = record.clone();
    record.name = name.clone();
    let set = sets.entry((name, kind)).or_default();
    if alias {
        set.clear();
    }
    set.retain(|own| own.data != record.data);
    // All of a set have one TTL (RFC 2181, section 5.2).
    set.iter_mut().for_each(|own| own.ttl = record.ttl);
    set.push(record);
}

fn delete(sets: &mut Sets, key: (Name, RecordType), data: &RData) {
    if let Some(set) = sets.get_mut(&key) {
        set.retain(|own| own.data != *data);
        if set.is_empty() {
            sets.remove(&key);
        }
    }
}
