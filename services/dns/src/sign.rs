//! Signing of zones (DNSSEC: RFC 4033 to 4035, 6840, 9364).
//!
//! Pure: the time is an argument, in seconds since 1970; nothing is read or written. The only thing taken from
//! outside is randomness, for keys and signatures. In the order of use:
//!
//! 1. [`clock::is_plausible`]: may anything be signed now?
//! 2. [`rollover::step`]: what is due with the keys; store them.
//! 3. [`is_due`]: does the zone need signing at all?
//! 4. [`serial::next`], [`zone`], [`keys::KeySet::signed`].
//! 5. [`verify::check`]: an independent look before the zone is served, and now and then at what is served.

pub mod clock;
pub mod keys;
pub mod policy;
pub mod rollover;
pub mod serial;
pub mod verify;

mod apex;
mod canonical;
mod nsec;
mod rrsets;

use std::collections::{BTreeSet, HashMap};

use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG, SigInput};
use hickory_proto::dnssec::{DnssecSigner, TBS};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use ring::digest;

use crate::records::Signed;
use keys::KeySet;
pub use policy::Policy;
use rrsets::{Place, RrSet};

/// Why a zone could not be signed. Each but the last names what in the zone is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The zone has no NS record at its apex.
    #[error("{0} has no NS record")]
    NoNameServer(Name),
    /// A record belongs to another zone.
    #[error("{name} is not in the zone {origin}")]
    OutOfZone {
        /// Its name.
        name: Name,
        /// The zone.
        origin: Box<Name>,
    },
    /// A record of a type that the box makes.
    #[error("{name} {kind} can't be given: the box makes such records itself")]
    Ours {
        /// Its name.
        name: Name,
        /// Its type.
        kind: RecordType,
    },
    /// A record of a class or type that holds no data.
    #[error("{name} {kind} is not a record that a zone can hold")]
    NotData {
        /// Its name.
        name: Name,
        /// Its type.
        kind: RecordType,
    },
    /// A record whose data can't be written.
    #[error("the data of {name} {kind} can't be encoded: {error}")]
    Data {
        /// Its name.
        name: Name,
        /// Its type.
        kind: RecordType,
        /// What hickory says.
        error: String,
    },
    /// A record that nobody would see.
    #[error("{name} {kind} is hidden by the delegation or redirection at {by}")]
    Hidden {
        /// Its name.
        name: Name,
        /// Its type.
        kind: RecordType,
        /// Where the delegation or DNAME is.
        by: Box<Name>,
    },
    /// NS at a wildcard, which RFC 4592 (section 4.2) leaves without a meaning.
    #[error("{0} can't be delegated to other name servers: it is a wildcard")]
    Wildcard(Name),
    /// DS without NS.
    #[error("{0} has a DS record but no NS record")]
    LoneDs(Name),
    /// CNAME or DNAME with others.
    #[error("{name} has {kind} beside other records; it must be the only one")]
    NotAlone {
        /// Its name.
        name: Name,
        /// CNAME or DNAME.
        kind: RecordType,
    },
    /// `hostmaster.` does not fit before the zone's name.
    #[error("the name {0} is too long for a zone")]
    LongOrigin(Name),
    /// The private keys can't sign.
    #[error("the keys of {0} can't sign")]
    Keys(Name),
}

/// Whether the unsigned `records` could be signed as the zone `origin`. For whoever takes records in: what
/// this refuses would stop the whole zone from being signed.
///
/// # Errors
/// What [`zone`] would return.
pub fn check(origin: &Name, records: &[Record]) -> Result<(), SignError> {
    let origin = keys::absolute(origin);
    let sets = rrsets::group(&origin, records)?;
    let ns = apex::first_ns(&origin, records, &sets)?;
    apex::soa(&origin, ns, 0).map(drop)
}

/// Signs a zone, at `now` (seconds since 1970), with the serial number `serial`.
///
/// `records` is the zone without SOA and without anything of DNSSEC. Added are SOA, DNSKEY, CDS, CDNSKEY, the NSEC
/// chain and signatures. Duplicates are dropped, the TTLs of an RRset made equal (the smallest), TTLs over
/// [`policy::MAX_TTL`] lowered; names are written in lower case, in data too where it is signed so.
///
/// Signatures of `previous` are used again for RRsets that have not changed, as long as `policy` allows.
/// They are not looked at cryptographically: give what [`verify::check`] accepted.
///
/// # Errors
/// [`SignError`], when the records are not a zone.
pub fn zone(
    records: &[Record],
    keys: &KeySet,
    now: u64,
    policy: &Policy,
    serial: u32,
    previous: Option<&Signed>,
) -> Result<Signed, SignError> {
    let origin = keys.origin();
    let mut sets = rrsets::group(origin, records)?;
    let soa = apex::soa(origin, apex::first_ns(origin, records, &sets)?, serial)?;
    let own = apex::keys(keys).into_iter().chain([soa.clone()]);
    rrsets::add(&mut sets, own)?;
    let chain = nsec::chain(origin, &sets);
    rrsets::add(&mut sets, chain)?;

    let pen = Pen::new(keys, now, policy, previous)?;
    let mut signed = vec![soa];
    let mut expires = u64::MAX;
    for ((_, kind), set) in &sets {
        if *kind != RecordType::SOA {
            signed.extend(set.records.iter().cloned());
        }
        if set.place == Place::Authoritative {
            for rrsig in pen.signatures(set)? {
                expires = expires.min(clock::widen(rrsig.input().sig_expiration.get(), now));
                let ttl = set.records[0].ttl;
                let data = RData::DNSSEC(DNSSECRData::RRSIG(rrsig));
                signed.push(Record::from_rdata(set.records[0].name.clone(), ttl, data));
            }
        }
    }
    canonical::sort(&mut signed[1..]);
    Ok(Signed {
        origin: origin.clone(),
        serial,
        records: signed,
        expires: Some(expires),
    })
}

/// Whether `signed` must be signed again at `now` (seconds since 1970) though no record of the owner changed: its
/// signatures come to their end or are not valid yet, or `keys` have changed since.
pub fn is_due(signed: &Signed, keys: &KeySet, now: u64, policy: &Policy) -> bool {
    let Some(expires) = signed.expires else {
        return true;
    };
    if policy.resign_at(expires) <= now || signed.origin != *keys.origin() {
        return true;
    }
    let theirs = |record: &&Record| {
        matches!(
            record.record_type(),
            RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY
        )
    };
    let ours: HashMap<_, _> = apex::keys(keys)
        .into_iter()
        .map(|record| (record.data, ()))
        .collect();
    let served: Vec<&Record> = signed.records.iter().filter(theirs).collect();
    if served.len() != ours.len() || served.iter().any(|record| !ours.contains_key(&record.data)) {
        return true;
    }
    let signers: BTreeSet<u16> = keys
        .ksks()
        .chain(keys.active_zsk())
        .map(keys::Key::tag)
        .collect();
    let mut rrsigs = signed.records.iter().filter_map(rrsig_of);
    rrsigs.any(|rrsig| {
        let begins = clock::widen(rrsig.input().sig_inception.get(), now);
        begins > now || !signers.contains(&rrsig.input().key_tag)
    })
}

fn rrsig_of(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}

/// What signs the RRsets of one zone at one moment.
struct Pen<'a> {
    ksks: Vec<(u16, DnssecSigner)>,
    zsk: (u16, DnssecSigner),
    now: u64,
    policy: &'a Policy,
    old_sets: HashMap<(&'a Name, RecordType), Vec<&'a Record>>,
    old_rrsigs: HashMap<(&'a Name, RecordType, u16), &'a RRSIG>,
}

impl<'a> Pen<'a> {
    fn new(
        keys: &KeySet,
        now: u64,
        policy: &'a Policy,
        previous: Option<&'a Signed>,
    ) -> Result<Self, SignError> {
        let origin = keys.origin();
        let broken = || SignError::Keys(origin.clone());
        let signer = |key: &keys::Key| Some((key.tag(), key.signer(origin)?));
        let ksks = keys
            .ksks()
            .map(|key| signer(key).ok_or_else(broken))
            .collect::<Result<_, _>>()?;
        let zsk = keys.active_zsk().and_then(signer).ok_or_else(broken)?;
        let mut pen = Self {
            ksks,
            zsk,
            now,
            policy,
            old_sets: HashMap::new(),
            old_rrsigs: HashMap::new(),
        };
        for record in previous.into_iter().flat_map(|signed| &signed.records) {
            if let Some(rrsig) = rrsig_of(record) {
                let input = rrsig.input();
                pen.old_rrsigs
                    .insert((&record.name, input.type_covered, input.key_tag), rrsig);
            } else {
                pen.old_sets
                    .entry((&record.name, record.record_type()))
                    .or_default()
                    .push(record);
            }
        }
        Ok(pen)
    }

    fn signatures(&self, set: &RrSet) -> Result<Vec<RRSIG>, SignError> {
        let signers = match set.records[0].record_type() {
            // CDS and CDNSKEY are signed by what the parent already trusts (RFC 7344, section 4.1).
            RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY => self.ksks.as_slice(),
            _ => std::slice::from_ref(&self.zsk),
        };
        signers
            .iter()
            .map(|(tag, signer)| match self.kept(set, *tag) {
                Some(old) => Ok(old.clone()),
                None => self.sign(set, *tag, signer),
            })
            .collect()
    }

    /// The earlier signature of an RRset, if it still does.
    fn kept(&self, set: &RrSet, tag: u16) -> Option<&'a RRSIG> {
        let first = &set.records[0];
        let old = self.old_sets.get(&(&first.name, first.record_type()))?;
        let same = old.len() == set.records.len()
            && old
                .iter()
                .zip(&set.records)
                .all(|(old, new)| old.ttl == new.ttl && old.data == new.data);
        let rrsig = self
            .old_rrsigs
            .get(&(&first.name, first.record_type(), tag))
            .filter(|_| same)?;
        let begins = clock::widen(rrsig.input().sig_inception.get(), self.now);
        let ends = clock::widen(rrsig.input().sig_expiration.get(), self.now);
        // One that begins later or ends too late was made with a clock that was ahead.
        let plausible =
            begins <= self.now && ends <= self.now.saturating_add(self.policy.validity());
        (plausible && self.policy.resign_at(ends) > self.now).then_some(*rrsig)
    }

    fn sign(&self, set: &RrSet, tag: u16, signer: &DnssecSigner) -> Result<RRSIG, SignError> {
        let first = &set.records[0];
        let ends = self.now + self.policy.validity() - self.spread(first);
        let input = SigInput {
            type_covered: first.record_type(),
            algorithm: keys::ALGORITHM,
            // Neither the root nor a leading `*` counts (RFC 4034, section 3.1.3); hickory does the same.
            num_labels: first.name.num_labels(),
            original_ttl: first.ttl,
            // Times are modulo 2^32 (RFC 4034, section 3.1.5).
            sig_expiration: SerialNumber::new(ends as u32),
            sig_inception: SerialNumber::new(self.now.saturating_sub(self.policy.back()) as u32),
            key_tag: tag,
            signer_name: signer.signer_name().clone(),
        };
        let data = TBS::from_input(&first.name, DNSClass::IN, &input, set.records.iter());
        let signature = data.and_then(|data| signer.sign(&data));
        let signature = signature.map_err(|_| SignError::Keys(signer.signer_name().clone()))?;
        Ok(RRSIG::from_sig(input, signature))
    }

    /// How much earlier than others' this RRset's signature ends, in seconds: so that after the first month they
    /// are not all made at once. From a hash, so that signing twice at one moment gives the same times.
    fn spread(&self, first: &Record) -> u64 {
        let seed = format!(
            "{} {} {}",
            first.name,
            u16::from(first.record_type()),
            self.now
        );
        let hash = digest::digest(&digest::SHA256, seed.as_bytes());
        let mut number = [0; 8];
        number.copy_from_slice(&hash.as_ref()[..8]);
        u64::from_be_bytes(number) % (self.policy.jitter() + 1)
    }
}
