//! Puts an owner's records into a zone.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::rules::is_spf;
use super::{Given, MAX_SET, Problem, Verdict, judge};
use crate::records::{Entry, Zone};
use crate::zonefile::wire;

/// A zone with an owner's records in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The zone.
    pub zone: Zone,
    /// What is no longer in it.
    pub replaced: Vec<Replaced>,
}

/// A record of the box's that an owner's one stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The record as the box makes it.
    pub was: Entry,
    /// The line, from 1, that it gave way to.
    pub line: usize,
}

/// Puts records into a zone. What the box makes as well is not there twice.
///
/// # Errors
/// All records that do not fit into the zone or beside each other.
pub fn merge(zone: &Zone, given: &[Given]) -> Result<Merged, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut gone: BTreeMap<usize, usize> = BTreeMap::new();
    let mut added: Vec<&Given> = Vec::new();
    let mut same: Vec<(usize, &Given)> = Vec::new();
    let mut seen = BTreeSet::new();
    for one in given {
        match judge(zone, &one.entry.record) {
            Verdict::Same(entry) => {
                same.push((entry, one));
                continue;
            }
            Verdict::Refused(refusal) => {
                problems.push(problem(one, refusal.reason.into(), refusal.hint));
                continue;
            }
            Verdict::Replaces(entries) => {
                for entry in entries {
                    gone.entry(entry).or_insert(one.line);
                }
            }
            Verdict::Beside => {}
        }
        if seen.insert(identity(&one.entry.record)) {
            added.push(one);
        }
    }
    // What the box makes too goes with the rest when another line takes its place: then this line is needed.
    for (entry, one) in same {
        if gone.contains_key(&entry) && seen.insert(identity(&one.entry.record)) {
            added.push(one);
        }
    }
    let mut merged = Merged {
        zone: Zone {
            origin: zone.origin.clone(),
            entries: Vec::new(),
        },
        replaced: Vec::new(),
    };
    for (index, entry) in zone.entries.iter().enumerate() {
        match gone.get(&index) {
            None => merged.zone.entries.push(entry.clone()),
            Some(line) => merged.replaced.push(Replaced {
                was: entry.clone(),
                line: *line,
            }),
        }
    }
    merged
        .zone
        .entries
        .extend(added.iter().map(|one| one.entry.clone()));
    problems.extend(together(&merged.zone, &added));
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.line);
        return Err(problems);
    }
    same_ttl(&mut merged.zone);
    Ok(merged)
}

/// What two records have in common that say the same: all but the TTL.
fn identity(record: &Record) -> Vec<u8> {
    let mut record = record.clone();
    record.ttl = 0;
    wire(&record)
}

fn problem(given: &Given, reason: String, hint: &str) -> Problem {
    Problem {
        line: given.line,
        text: given.text.clone(),
        reason,
        hint: hint.into(),
    }
}

/// A zone's records by name.
type ByName<'a> = BTreeMap<&'a Name, Vec<&'a Record>>;

/// What is wrong with the owner's records beside all others.
fn together(zone: &Zone, added: &[&Given]) -> Vec<Problem> {
    let mut names: ByName = BTreeMap::new();
    let mut bytes: BTreeMap<(&Name, u16), usize> = BTreeMap::new();
    for Entry { record, .. } in &zone.entries {
        names.entry(&record.name).or_default().push(record);
        *bytes
            .entry((&record.name, record.record_type().into()))
            .or_default() += wire(record).len();
    }
    let problem_of = |one: &&Given| {
        let record = &one.entry.record;
        let beside = names.get(&record.name)?;
        let size = bytes.get(&(&record.name, record.record_type().into()))?;
        let (reason, hint) = beside_others(record, beside)
            .or_else(|| too_much(*size))
            .or_else(|| below_cut(zone, record, &names))
            .or_else(|| to_alias(record, &names))?;
        Some(problem(one, reason.into(), hint))
    };
    added.iter().filter_map(problem_of).collect()
}

type Fault = Option<(&'static str, &'static str)>;

/// Faults among the records of one name.
fn beside_others(record: &Record, beside: &[&Record]) -> Fault {
    let kind = record.record_type();
    let of_kind = || beside.iter().filter(|other| other.record_type() == kind);
    let hint = "Keep one of them.";
    if beside.len() > 1 && kind == RecordType::CNAME {
        return Some((
            "an alias (CNAME) has to be the only record of its name",
            hint,
        ));
    }
    if is_spf(record) && beside.iter().filter(|other| is_spf(other)).count() > 1 {
        return Some((
            "with two SPF records at one name none of them is valid",
            "Put both into one.",
        ));
    }
    let is_null = |other: &&&Record| matches!(&other.data, RData::MX(mx) if mx.exchange.is_root());
    if kind == RecordType::MX && of_kind().count() > 1 && of_kind().any(|other| is_null(&other)) {
        return Some((
            "MX 0 . says that the name takes no mail, another MX that it does",
            hint,
        ));
    }
    if kind == RecordType::DS
        && !beside
            .iter()
            .any(|other| other.record_type() == RecordType::NS)
    {
        return Some((
            "a DS record belongs beside the NS records of the part it is for",
            "Add the NS records of this name.",
        ));
    }
    None
}

fn too_much(bytes: usize) -> Fault {
    let fault = (
        "there is too much of this name and type for one answer",
        "Use several names.",
    );
    (bytes > MAX_SET).then_some(fault)
}

/// Records at or below a name that other servers answer for, of which only addresses have a use.
fn below_cut(zone: &Zone, record: &Record, names: &ByName) -> Fault {
    let mut name = record.name.clone();
    while name != zone.origin && !name.is_root() {
        let handed_over = names.get(&name).is_some_and(|records| {
            records
                .iter()
                .any(|other| other.record_type() == RecordType::NS)
        });
        let fits = match record.record_type() {
            RecordType::A | RecordType::AAAA => true,
            RecordType::NS | RecordType::DS => name == record.name,
            _ => false,
        };
        if handed_over && !fits {
            return Some((
                "other name servers answer for this name, because of an NS record at it or above it",
                "Add the record there, or take the NS record away.",
            ));
        }
        name = name.base_name();
    }
    None
}

/// Records that must not point to an alias (RFC 2181, section 10.3; RFC 2782).
fn to_alias(record: &Record, names: &ByName) -> Fault {
    let target = match &record.data {
        RData::MX(mx) => &mx.exchange,
        RData::NS(server) => &server.0,
        RData::SRV(srv) => &srv.target,
        _ => return None,
    };
    let alias = names.get(target).is_some_and(|records| {
        records
            .iter()
            .any(|other| other.record_type() == RecordType::CNAME)
    });
    alias.then_some((
        "it points to an alias (CNAME), which is not allowed for this type",
        "Point it to the name that the alias leads to.",
    ))
}

/// Gives all records of a name and type the lowest TTL among them (RFC 2181, section 5.2).
fn same_ttl(zone: &mut Zone) {
    let mut lowest: BTreeMap<(Name, u16), u32> = BTreeMap::new();
    let key = |record: &Record| (record.name.clone(), u16::from(record.record_type()));
    for Entry { record, .. } in &zone.entries {
        let ttl = lowest.entry(key(record)).or_insert(record.ttl);
        *ttl = record.ttl.min(*ttl);
    }
    for Entry { record, .. } in &mut zone.entries {
        record.ttl = lowest[&key(record)];
    }
}
