//! Keeps the zones: what is known becomes records, records become a signed zone, which is stored and served.
//!
//! | What happens | What is done |
//! |---|---|
//! | other facts, other records of the owner's or of a program's | the zone is made, signed, checked, stored, served |
//! | a policy is to become stricter ([`crate::stages`]) | the same |
//! | signatures come to their end, a key is due | the same |
//! | nothing has changed | nothing |
//! | the clock cannot be right | what is served stays; nothing is signed |
//! | the zone cannot be made or signed | what is served stays, and [`Status`] says why |
//! | the owner's records do not fit any more | they are left out, and [`Status`] says which |
//! | a domain is gone | its zone is withdrawn; its keys stay on the card |
//!
//! A new serial number, and what a program or the owner set, is on the card before it is served or
//! acknowledged. What is served has passed [`sign::verify`], which shares no code with the signing.

mod parents;
mod pins;
mod policies;

pub use pins::Pinned;

use crate::extra::{self, Given, Problem};
use crate::generate::{self, Facts, NameServer};
use crate::records::{Entry, Source, Zone};
use crate::serve::Zones;
use crate::sign::rollover::{self, Ksk, Observed, Served, Stage, Timing, Zsk};
use crate::sign::{self, Policy, clock, serial, verify};
use crate::state::{Kept, StateError, States};
use crate::update::{ApplyError, Changes};
use crate::zonefile::{self, Commented};
use hickory_proto::rr::{Name, Record};
use parents::Parents;
use roost_service::dns;
use std::sync::Arc;

/// No box has an earlier time: this is when this program was written, in seconds since 1970 (2026-11-26).
const WRITTEN: u64 = 1_795_651_200;
/// A zone needs a name server that others can reach.
const NOWHERE: &str = "the box has no address on the internet yet: make a relay first";
/// The reason of a record that a program set.
const BY_PROGRAM: &str = "Set by a program on the box, and removed by it.";

/// One zone.
struct OneZone {
    facts: Facts,
    kept: Kept,
    /// What it consists of, without SOA and DNSSEC.
    entries: Vec<Entry>,
    /// What was served last, before it was signed.
    served: Vec<Record>,
    /// The facts that it was made from, with policies as strict as they are by now.
    made_from: Option<Facts>,
    /// Keys of the mail host that it pins.
    pins: Vec<pins::Pin>,
    /// Why the last attempt came to nothing.
    fault: Option<String>,
    /// Which of the owner's records are left out.
    left_out: Option<String>,
    /// The serial number that the secondary told last, and when.
    seen: Option<Served>,
}

impl OneZone {
    /// The box's own records, as they are served if they are.
    fn made(&self) -> Result<Zone, Refused> {
        let facts = self.made_from.as_ref().unwrap_or(&self.facts);
        generate::zone(facts).map_err(|e| Refused(e.to_string()))
    }
}

/// The zones and all that is known of them.
pub struct Keeper {
    states: States,
    zones: Zones,
    all: Vec<OneZone>,
    /// Domains of which no zone can be kept, and why.
    broken: Vec<(String, String)>,
    /// Whether somebody else serves the zones too.
    secondary: bool,
    policy: Policy,
    timing: Timing,
    parents: Parents,
}

/// Why something was refused, in whole sentences.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Keeper {
    /// Keeps in `states`, serves by `zones`.
    pub fn new(states: States, zones: Zones) -> Self {
        Self {
            states,
            zones,
            all: Vec::new(),
            broken: Vec::new(),
            secondary: false,
            policy: Policy::default(),
            timing: Timing::default(),
            parents: Parents::default(),
        }
    }

    /// These domains from now on. What fails is told in [`Keeper::status`].
    pub fn set_facts(&mut self, all: Vec<Facts>, now: u64) {
        let mut before = std::mem::take(&mut self.all);
        self.broken.clear();
        for facts in all {
            let same = |zone: &OneZone| zone.facts.domain == facts.domain;
            match before.iter().position(same) {
                Some(at) => {
                    let mut zone = before.swap_remove(at);
                    zone.facts = facts;
                    self.all.push(zone);
                }
                None => match self.begin(facts.clone(), now) {
                    Ok(zone) => self.all.push(zone),
                    Err(why) => self.broken.push((facts.domain, why)),
                },
            }
        }
        for gone in before {
            self.zones.withdraw(gone.kept.keys.origin());
            println!("dns: {} is served no longer", gone.facts.domain);
        }
        self.look(now);
    }

    fn begin(&self, facts: Facts, now: u64) -> Result<OneZone, String> {
        let origin = name(&facts.domain)?;
        // Keys are named with the time of their making.
        clock::is_plausible(now, WRITTEN, None).map_err(|e| e.to_string())?;
        let kept = self.states.load(&origin, now).map_err(|e| e.to_string())?;
        Ok(OneZone {
            facts,
            kept,
            entries: Vec::new(),
            served: Vec::new(),
            made_from: None,
            pins: Vec::new(),
            fault: None,
            left_out: None,
            seen: None,
        })
    }

    /// Whether there is a secondary, of which [`Keeper::seen`] will tell.
    pub fn set_secondary(&mut self, there: bool) {
        self.secondary = there;
        for zone in &mut self.all {
            zone.seen = None;
            zone.pins.clear();
        }
    }

    /// The secondary has this serial number of a zone at `now`.
    pub fn seen(&mut self, origin: &Name, serial: u32, now: u64) {
        if let Some(zone) = self.all.iter_mut().find(|z| z.kept.keys.origin() == origin) {
            zone.seen = Some(Served { serial, at: now });
        }
    }

    /// What all servers of the zone have: keys wait for that.
    fn observed(&self, zone: &OneZone, now: u64) -> Observed {
        let ours = self.zones.current(zone.kept.keys.origin());
        let ours = ours.map(|signed| Served {
            serial: signed.serial,
            at: now,
        });
        Observed {
            served: match (ours, zone.seen) {
                (Some(ours), Some(theirs)) if serial::is_newer(ours.serial, theirs.serial) => {
                    Some(theirs)
                }
                (Some(ours), Some(theirs)) => Some(Served {
                    at: theirs.at,
                    ..ours
                }),
                (ours, None) if !self.secondary => ours,
                _ => None,
            },
            parent: self.parents.fact(zone),
        }
    }

    /// Does for each zone what is due.
    pub fn look(&mut self, now: u64) {
        for at in 0..self.all.len() {
            let kept = self.all[at].kept.clone();
            let done = self.publish(at, kept, now);
            let zone = &mut self.all[at];
            let fault = done.err();
            if fault.is_some() && fault != zone.fault {
                let why = fault.as_deref().unwrap_or_default();
                eprintln!("dns: {}: {why}", zone.facts.domain);
            }
            zone.fault = fault;
        }
    }

    /// Makes, signs, stores and serves the zone with this kept of it, if anything is different or due. On an
    /// error all is as before.
    fn publish(&mut self, at: usize, mut kept: Kept, now: u64) -> Result<(), String> {
        let zone = &self.all[at];
        clock::is_plausible(now, WRITTEN, kept.signed_at).map_err(|e| e.to_string())?;
        let facts = (kept.stages.advance(&zone.facts, now)).map_err(|e| e.to_string())?;
        let nowhere = |server: &NameServer| server.ipv4.is_empty() && server.ipv6.is_empty();
        if facts.name_servers.iter().all(nowhere) {
            return Err(NOWHERE.into());
        }
        let (entries, left_out) = entries(&facts, &kept)?;
        let records: Vec<Record> = entries.iter().map(|entry| entry.record.clone()).collect();
        let observed = self.observed(zone, now);
        let events = rollover::step(&mut kept.keys, now, &observed, &self.timing)
            .map_err(|e| e.to_string())?;
        let origin = kept.keys.origin().clone();
        let previous = self.zones.current(&origin);
        let current = previous.as_deref().filter(|_| events.is_empty());
        let due = current.is_none_or(|signed| {
            // The secondary takes nothing before ours is the higher number.
            let behind = |seen: Served| serial::is_newer(seen.serial, signed.serial);
            zone.served != records
                || zone.seen.is_some_and(behind)
                || sign::is_due(signed, &kept.keys, now, &self.policy)
        });
        let number = serial::next(
            kept.serial,
            zone.seen.map(|seen| seen.serial).as_slice(),
            now,
        );
        if due {
            let previous = previous.as_deref();
            let signed = sign::zone(&records, &kept.keys, now, &self.policy, number, previous)
                .map_err(|e| e.to_string())?;
            verify::check(&signed, now).map_err(|e| format!("it was signed wrongly: {e}"))?;
            kept.keys.signed(number);
            kept.serial = Some(number);
            kept.signed_at = Some(now);
            self.save(&kept)?;
            let signed = Arc::new(signed);
            self.zones.publish(signed).map_err(|e| e.to_string())?;
            println!("dns: {origin} is served with serial {number}");
        } else if (&kept.own, &kept.set, &kept.stages)
            != (&zone.kept.own, &zone.kept.set, &zone.kept.stages)
        {
            // Other words for the same records: nothing to sign, yet to be kept.
            self.save(&kept)?;
        }
        for event in events {
            println!("dns: {origin} {event}");
        }
        let zone = &mut self.all[at];
        zone.kept = kept;
        zone.entries = entries;
        zone.served = records;
        zone.made_from = Some(facts);
        zone.left_out = left_out;
        Ok(())
    }

    fn save(&self, kept: &Kept) -> Result<(), String> {
        let said = |e: StateError| format!("it cannot be kept on the card: {e}");
        self.states.save(kept).map_err(said)
    }

    fn find(&self, domain: &str) -> Result<usize, Refused> {
        let found = self.all.iter().position(|z| z.facts.domain == domain);
        found.ok_or_else(|| {
            let broken = self.broken.iter().find(|(name, _)| name == domain);
            Refused(match broken {
                Some((_, why)) => format!("there is no zone of {domain}: {why}"),
                None => format!("{domain} is no domain of this box"),
            })
        })
    }

    /// The owner's records, as they were given.
    ///
    /// # Errors
    /// [`Refused`] if the domain is none of this box.
    pub fn own(&self, domain: &str) -> Result<&str, Refused> {
        Ok(&self.all[self.find(domain)?].kept.own)
    }

    /// Other records of the owner's in place of those before. When this returns, they are on the card and
    /// served.
    ///
    /// # Errors
    /// [`Refused`] with every line that cannot be taken; nothing was changed then.
    pub fn set_own(&mut self, domain: &str, text: &str, now: u64) -> Result<(), Refused> {
        let at = self.find(domain)?;
        let zone = &self.all[at];
        let made = zone.made()?;
        let given = read(&made.origin, text).map_err(|problems| told(&problems))?;
        extra::merge(&made, &given).map_err(|problems| told(&problems))?;
        let mut kept = zone.kept.clone();
        kept.own = text.to_owned();
        self.publish(at, kept, now).map_err(Refused)
    }

    /// Which records of another server's zone file can be kept as the owner's own.
    ///
    /// # Errors
    /// [`Refused`] if the file cannot be read at all.
    pub fn import(&self, domain: &str, text: &str) -> Result<dns::Answer, Refused> {
        let zone = &self.all[self.find(domain)?];
        let made = zone.made()?;
        let imported = zonefile::import(text, &made).map_err(|e| Refused(e.to_string()))?;
        let keep: String = imported
            .keep
            .iter()
            .map(|given| given.text.clone() + "\n")
            .collect();
        let left = |left: zonefile::Left| dns::LeftOut {
            record: left.text,
            why: left.reason,
        };
        Ok(dns::Answer::Import {
            keep,
            left_out: imported.left.into_iter().map(left).collect(),
        })
    }

    /// The zone as a file for other name servers.
    ///
    /// # Errors
    /// [`Refused`] if there is no such zone, or it is not served yet.
    pub fn export(&self, domain: &str, signed: bool) -> Result<String, Refused> {
        let zone = &self.all[self.find(domain)?];
        let origin = zone.kept.keys.origin();
        let served = self.zones.current(origin).ok_or_else(|| {
            Refused(format!(
                "{domain} is not served yet: {}",
                zone.fault.as_deref().unwrap_or("it is being signed")
            ))
        })?;
        if signed {
            let plain = |record| Commented { record, why: None };
            return Ok(zonefile::export(origin, served.records.iter().map(plain)));
        }
        let soa = served.records.iter().take(1);
        let soa = soa.map(|record| Commented { record, why: None });
        let others = zone.entries.iter().map(|entry| Commented {
            record: &entry.record,
            why: Some(&entry.why),
        });
        Ok(zonefile::export(origin, soa.chain(others)))
    }

    /// The records, each with its reason; of a zone that is not served, those that it would have.
    ///
    /// # Errors
    /// [`Refused`] if the domain is none of this box.
    pub fn records(&self, domain: &str) -> Result<Vec<dns::Record>, Refused> {
        let zone = &self.all[self.find(domain)?];
        if !zone.entries.is_empty() {
            return Ok(zone.entries.iter().map(shown).collect());
        }
        // Not served yet: whoever has the domain at another name server can enter them there.
        let (entries, _) = entries(&zone.facts, &zone.kept).map_err(Refused)?;
        Ok(entries.iter().map(shown).collect())
    }

    /// Begins to replace the key that the registrar knows.
    ///
    /// # Errors
    /// [`Refused`] with the reason; nothing was changed then.
    pub fn replace_key(&mut self, domain: &str, now: u64) -> Result<(), Refused> {
        let at = self.find(domain)?;
        let mut kept = self.all[at].kept.clone();
        rollover::roll_ksk(&mut kept.keys, now).map_err(|e| Refused(format!("{e}.")))?;
        self.publish(at, kept, now).map_err(Refused)
    }

    /// Applies what a program changes: on the card and served when this returns.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing was changed then.
    pub fn apply(&mut self, zone: &Name, changes: &Changes, now: u64) -> Result<(), ApplyError> {
        let fail = |why: String| ApplyError {
            zone: zone.clone(),
            why,
        };
        let at = self
            .all
            .iter()
            .position(|kept| kept.kept.keys.origin() == zone)
            .ok_or_else(|| fail("there is no such zone".into()))?;
        let mut kept = self.all[at].kept.clone();
        let there = read(zone, &kept.set.join("\n")).map_err(|p| fail(told(&p).0))?;
        let touched = |record: &Record| {
            let mut sets = changes.sets.iter();
            sets.any(|set| set.name == record.name && set.kind == record.record_type())
        };
        let stay = there
            .into_iter()
            .map(|given| given.entry.record)
            .filter(|record| !touched(record));
        let new = changes.sets.iter().flat_map(|set| set.records.clone());
        kept.set = stay
            .chain(new)
            .map(|record| zonefile::line(zone, &record))
            .collect();
        self.publish(at, kept, now).map_err(fail)
    }

    /// How the zones stand; addresses and secondaries are for others to add.
    pub fn status(&self) -> Vec<dns::Zone> {
        let broken = self.broken.iter().map(|(domain, why)| dns::Zone {
            domain: domain.clone(),
            serial: None,
            fault: Some(why.clone()),
            signed_until: None,
            ds: Vec::new(),
            keys: Vec::new(),
            secondary: None,
            delegation: None,
            dmarc: None,
        });
        let zones = self.all.iter().map(|zone| {
            let keys = &zone.kept.keys;
            let served = self.zones.current(keys.origin());
            let signed_once = zone.kept.serial.is_some();
            dns::Zone {
                domain: zone.facts.domain.clone(),
                serial: served.as_ref().map(|signed| signed.serial),
                fault: zone.fault.clone().or_else(|| zone.left_out.clone()),
                signed_until: served.and_then(|signed| signed.expires),
                // Keys that never signed are not on the card: the next start makes others.
                ds: match signed_once {
                    true => sign::keys::ds(keys),
                    false => Vec::new(),
                },
                keys: (keys.keys().iter())
                    .filter(|_| signed_once)
                    .map(|one| key(keys, one))
                    .collect(),
                secondary: None,
                delegation: self.parents.delegation(keys.origin()),
                dmarc: zone.dmarc(),
            }
        });
        zones.chain(broken).collect()
    }
}

/// What the zone consists of; and which of the owner's records do not fit any more.
fn entries(facts: &Facts, kept: &Kept) -> Result<(Vec<Entry>, Option<String>), String> {
    let made = generate::zone(facts).map_err(|e| e.to_string())?;
    let origin = made.origin.clone();
    let (given, mut left_out) = match read(&origin, &kept.own) {
        Ok(given) => (given, None),
        Err(problems) => (Vec::new(), Some(problems)),
    };
    let merged = extra::merge(&made, &given).or_else(|problems| {
        // The box's own records have changed since they were taken. The others are not to suffer.
        let fits = |given: &&Given| problems.iter().all(|problem| problem.line != given.line);
        let fitting: Vec<Given> = given.iter().filter(fits).cloned().collect();
        left_out = Some(problems);
        extra::merge(&made, &fitting)
    });
    let zone = merged.map_or(made, |merged| merged.zone);
    let Zone { mut entries, .. } = zone;
    let set = read(&origin, &kept.set.join("\n")).map_err(|problems| told(&problems).0)?;
    entries.extend(set.into_iter().map(|given| Entry {
        source: Source::Update,
        why: BY_PROGRAM.into(),
        ..given.entry
    }));
    let left_out = left_out.map(|problems| {
        format!(
            "some of your own records are left out, because they do not fit any more: {}",
            told(&problems)
        )
    });
    Ok((entries, left_out))
}

fn read(origin: &Name, text: &str) -> Result<Vec<Given>, Vec<Problem>> {
    let lines: Vec<&str> = text.lines().collect();
    extra::read(origin, &lines)
}

fn told(problems: &[Problem]) -> Refused {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("{problem}. {}", problem.hint))
        .collect();
    Refused(lines.join("\n"))
}

fn name(domain: &str) -> Result<Name, String> {
    Name::from_ascii(format!("{domain}.")).map_err(|e| format!("{domain} is no name: {e}"))
}

fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn shown(entry: &Entry) -> dns::Record {
    let record = &entry.record;
    dns::Record {
        name: plain(&record.name),
        ttl: record.ttl,
        kind: record.record_type().to_string(),
        value: zonefile::value(record),
        source: match entry.source {
            Source::Generated => "box",
            Source::Owner => "owner",
            Source::Update => "program",
        }
        .into(),
        why: entry.why.clone(),
    }
}

fn key(keys: &sign::keys::KeySet, key: &sign::keys::Key) -> dns::ZoneKey {
    // Keys stand in the order in which they were made.
    let later = keys.ksks().skip_while(|other| other.tag() != key.tag());
    let replaced = later
        .skip(1)
        .any(|other| matches!(other.stage(), Stage::Ksk(Ksk::Trusted { .. })));
    let state = match key.stage() {
        Stage::Ksk(Ksk::Announced { .. }) if replaced => {
            "replaced: waits until every cache knows the next one"
        }
        Stage::Ksk(Ksk::Published(_)) => "new: waits until every cache knows it",
        Stage::Ksk(Ksk::Announced { .. }) => "ready: the registrar can be given its DS record",
        Stage::Ksk(Ksk::Trusted { .. }) => "in use",
        Stage::Ksk(Ksk::Leaving { .. }) => "replaced: the registrar can forget it",
        Stage::Zsk(Zsk::Published(_)) => "new: waits until every cache knows it",
        Stage::Zsk(Zsk::Active { .. }) => "in use",
        Stage::Zsk(Zsk::Retired(_)) => "replaced: waits until every cache has forgotten it",
    };
    dns::ZoneKey {
        tag: key.tag(),
        role: key.role().to_string(),
        state: state.into(),
    }
}

#[cfg(test)]
mod tests;
