//! An independent look at a signed zone, before it is served and at what is served.
//!
//! Shares no code with the signing but the types: what a zone is, which names NSEC must list and what must be
//! signed is worked out again here from the records, and signatures are checked by hickory's verifier.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_proto::dnssec::{PublicKey, Verifier};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::clock;
use crate::records::Signed;

/// With less than this left, in seconds, the owner is alarmed: 7 days. A zone is renewed with 22 days left, so by
/// then it has failed for two weeks.
pub const ALARM_LEFT: u64 = 7 * 86_400;

/// What was found in a zone that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Signed RRsets.
    pub rrsets: usize,
    /// Signatures, each of them checked.
    pub signatures: usize,
    /// When the first signature ends, in seconds since 1970.
    pub expires: u64,
    /// How long that is, in seconds.
    pub left: u64,
}

impl Report {
    /// Whether signing has failed for so long that the owner must know.
    pub fn is_alarm(&self) -> bool {
        self.left < ALARM_LEFT
    }
}

/// What is wrong with a signed zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No, or several, SOA, or not the one that the zone says.
    #[error(
        "the SOA record is missing, doubled, not first, or does not have the serial number {0}"
    )]
    Soa(u32),
    /// The zone says it ends at another time than it does.
    #[error("the first signature ends at {found}, not at {said:?}")]
    Expires {
        /// In seconds since 1970.
        found: u64,
        /// What the zone says.
        said: Option<u64>,
    },
    /// A record outside of the zone.
    #[error("{0} is not in the zone")]
    OutOfZone(Name),
    /// TTLs in an RRset differ, or a record is there twice.
    #[error("the records of {0} {1} differ in TTL or are doubled")]
    Uneven(Name, RecordType),
    /// An RRset has no valid signature.
    #[error("{0} {1} is not signed by a key that may")]
    Unsigned(Name, RecordType),
    /// A signature is not right.
    #[error("a signature of {name} {kind} by key {tag} {what}")]
    Signature {
        /// Name of the RRset.
        name: Name,
        /// Its type.
        kind: RecordType,
        /// Tag of the key.
        tag: u16,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The NSEC chain is broken.
    #[error("the NSEC record of {0} {1}")]
    Nsec(Name, &'static str),
    /// CDS or CDNSKEY names a key that does not sign the key set.
    #[error("{0} names a key that does not sign DNSKEY")]
    Announced(RecordType),
}

/// Checks that a validating resolver would accept everything in `signed` at `now` (seconds since 1970): every
/// authoritative RRset has a signature by a published key, the key set one by each key with the SEP flag, each
/// signature there is valid, the NSEC chain is complete and closed.
///
/// # Errors
/// The first [`Fault`].
pub fn check(signed: &Signed, now: u64) -> Result<Report, Fault> {
    let view = View::new(signed)?;
    let mut report = Report {
        rrsets: 0,
        signatures: 0,
        expires: u64::MAX,
        left: 0,
    };
    for (name, kind) in view.rrsigs.keys() {
        if !view.sets.contains_key(&(*name, *kind)) {
            return Err(Fault::Unsigned((*name).clone(), *kind));
        }
    }
    for ((name, kind), records) in &view.sets {
        even(name, *kind, records)?;
        let rrsigs = view
            .rrsigs
            .get(&(*name, *kind))
            .map_or(&[][..], Vec::as_slice);
        if view.is_authoritative(name, *kind) {
            report.rrsets += 1;
            view.signed_by(name, *kind, rrsigs)?;
        } else if let Some((_, rrsig)) = rrsigs.first() {
            return Err(view.fault(name, rrsig, "is for records of another zone"));
        }
        for (record, rrsig) in rrsigs {
            let ends = view.valid(record, rrsig, records, now)?;
            report.expires = report.expires.min(ends);
            report.signatures += 1;
        }
    }
    view.chain()?;
    view.announced()?;
    if signed.expires != Some(report.expires) {
        return Err(Fault::Expires {
            found: report.expires,
            said: signed.expires,
        });
    }
    report.left = report.expires.saturating_sub(now);
    Ok(report)
}

/// RFC 2181, section 5: one TTL, no doubles.
fn even(name: &Name, kind: RecordType, records: &[&Record]) -> Result<(), Fault> {
    let ttl = records[0].ttl;
    let doubled = records
        .iter()
        .enumerate()
        .any(|(i, a)| records[..i].iter().any(|b| a.data == b.data));
    if doubled || records.iter().any(|record| record.ttl != ttl) {
        return Err(Fault::Uneven(name.clone(), kind));
    }
    Ok(())
}

/// A zone as a resolver sees it.
struct View<'a> {
    origin: &'a Name,
    sets: BTreeMap<(&'a Name, RecordType), Vec<&'a Record>>,
    rrsigs: BTreeMap<(&'a Name, RecordType), Vec<(&'a Record, &'a RRSIG)>>,
    keys: Vec<(u16, &'a DNSKEY)>,
    cuts: BTreeSet<&'a Name>,
}

impl<'a> View<'a> {
    fn new(signed: &'a Signed) -> Result<Self, Fault> {
        let origin = &signed.origin;
        let mut view = View {
            origin,
            sets: BTreeMap::new(),
            rrsigs: BTreeMap::new(),
            keys: Vec::new(),
            cuts: BTreeSet::new(),
        };
        for record in &signed.records {
            view.take(record)?;
        }
        let first = signed
            .records
            .first()
            .map(|record| (&record.name, &record.data));
        let soa_fits = matches!(first, Some((name, RData::SOA(soa))) if name == origin && soa.serial == signed.serial);
        let soas = signed
            .records
            .iter()
            .filter(|record| record.record_type() == RecordType::SOA)
            .count();
        if soa_fits && soas == 1 {
            Ok(view)
        } else {
            Err(Fault::Soa(signed.serial))
        }
    }

    fn take(&mut self, record: &'a Record) -> Result<(), Fault> {
        if !self.origin.zone_of(&record.name) || record.dns_class != DNSClass::IN {
            return Err(Fault::OutOfZone(record.name.clone()));
        }
        match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => {
                let covered = (&record.name, rrsig.input().type_covered);
                self.rrsigs
                    .entry(covered)
                    .or_default()
                    .push((record, rrsig));
                return Ok(());
            }
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) if record.name == *self.origin => {
                // A key whose tag can't be computed signs nothing.
                self.keys
                    .extend(key.calculate_key_tag().ok().map(|tag| (tag, key)));
            }
            RData::NS(_) if record.name != *self.origin => {
                self.cuts.insert(&record.name);
            }
            _ => {}
        }
        self.sets
            .entry((&record.name, record.record_type()))
            .or_default()
            .push(record);
        Ok(())
    }

    fn is_authoritative(&self, name: &Name, kind: RecordType) -> bool {
        let below = self
            .cuts
            .iter()
            .any(|cut| cut.zone_of(name) && **cut != *name);
        let at = self.cuts.contains(name);
        !below && (!at || matches!(kind, RecordType::DS | RecordType::NSEC))
    }

    /// There is a signature by each key that must.
    fn signed_by(
        &self,
        name: &Name,
        kind: RecordType,
        rrsigs: &[(&Record, &RRSIG)],
    ) -> Result<(), Fault> {
        let has = |tag: u16| rrsigs.iter().any(|(_, rrsig)| rrsig.input().key_tag == tag);
        let mut ksks = self
            .keys
            .iter()
            .filter(|(_, key)| key.secure_entry_point())
            .peekable();
        let enough = match kind {
            RecordType::DNSKEY => ksks.peek().is_some() && ksks.all(|(tag, _)| has(*tag)),
            RecordType::CDS | RecordType::CDNSKEY => ksks.any(|(tag, _)| has(*tag)),
            _ => !rrsigs.is_empty(),
        };
        if enough {
            Ok(())
        } else {
            Err(Fault::Unsigned(name.clone(), kind))
        }
    }

    /// When a signature ends, if it is valid (RFC 4035, section 5.3.1).
    fn valid(
        &self,
        record: &Record,
        rrsig: &RRSIG,
        set: &[&Record],
        now: u64,
    ) -> Result<u64, Fault> {
        let input = rrsig.input();
        let begins = clock::widen(input.sig_inception.get(), now);
        let ends = clock::widen(input.sig_expiration.get(), now);
        let key = self
            .keys
            .iter()
            .find(|(tag, _)| *tag == input.key_tag)
            .map(|(_, key)| key);
        let fault = |what| Err(self.fault(&record.name, rrsig, what));
        let Some(key) = key else {
            return fault("is by a key that is not published");
        };
        if ends <= now {
            return fault("has ended");
        }
        if begins > now {
            return fault("has not begun");
        }
        if input.signer_name != *self.origin
            || input.algorithm != key.public_key().algorithm()
            || !key.zone_key()
        {
            return fault("is by a key that may not");
        }
        if input.num_labels != record.name.num_labels()
            || input.original_ttl != set[0].ttl
            || record.ttl != set[0].ttl
        {
            return fault("is for another name or TTL");
        }
        let records = set.iter().copied();
        match key.verify_rrsig(&record.name, DNSClass::IN, rrsig, records) {
            Ok(()) => Ok(ends),
            Err(_) => fault("does not fit the records"),
        }
    }

    /// RFC 4034, section 4; RFC 4035, section 2.3.
    fn chain(&self) -> Result<(), Fault> {
        let mut names: BTreeMap<&Name, BTreeSet<RecordType>> = BTreeMap::new();
        for (name, kind) in self.sets.keys() {
            let delegation = *kind == RecordType::NS && self.cuts.contains(name);
            let above = !self.cuts.iter().any(|cut| cut.zone_of(name) && cut != name);
            if self.is_authoritative(name, *kind) || (delegation && above) {
                names
                    .entry(name)
                    .or_default()
                    .extend([*kind, RecordType::RRSIG]);
            }
        }
        let mut expected = self.origin;
        for (name, kinds) in &names {
            let nsec = self.nsec(name)?;
            if *name != expected {
                return Err(Fault::Nsec(
                    (*name).clone(),
                    "is not the one that the record before names as next",
                ));
            }
            if nsec.type_bit_maps().collect::<BTreeSet<_>>() != *kinds {
                return Err(Fault::Nsec(
                    (*name).clone(),
                    "does not list the types that are there",
                ));
            }
            expected = nsec.next_domain_name();
        }
        if expected == self.origin {
            Ok(())
        } else {
            Err(Fault::Nsec(expected.clone(), "is named but not there"))
        }
    }

    fn nsec(&self, name: &Name) -> Result<&'a NSEC, Fault> {
        let records = self
            .sets
            .get(&(name, RecordType::NSEC))
            .map_or(&[][..], Vec::as_slice);
        match records {
            [
                Record {
                    data: RData::DNSSEC(DNSSECRData::NSEC(nsec)),
                    ..
                },
            ] => Ok(nsec),
            _ => Err(Fault::Nsec(name.clone(), "is missing or doubled")),
        }
    }

    /// CDS and CDNSKEY name keys that sign the key set: a parent that follows them keeps a working chain.
    fn announced(&self) -> Result<(), Fault> {
        let ksks = || self.keys.iter().filter(|(_, key)| key.secure_entry_point());
        for record in self.sets.values().flatten() {
            let known = match &record.data {
                RData::DNSSEC(DNSSECRData::CDS(cds)) => ksks().any(|(tag, key)| {
                    let digest = key.to_digest(self.origin, cds.digest_type());
                    *tag == cds.key_tag()
                        && digest.is_ok_and(|digest| digest.as_ref() == cds.digest())
                }),
                RData::DNSSEC(DNSSECRData::CDNSKEY(cdnskey)) => ksks().any(|(_, key)| {
                    cdnskey
                        .public_key()
                        .is_some_and(|public| public == *key.public_key())
                }),
                _ => true,
            };
            if !known {
                return Err(Fault::Announced(record.record_type()));
            }
        }
        Ok(())
    }

    fn fault(&self, name: &Name, rrsig: &RRSIG, what: &'static str) -> Fault {
        let input = rrsig.input();
        Fault::Signature {
            name: name.clone(),
            kind: input.type_covered,
            tag: input.key_tag,
            what,
        }
    }
}
