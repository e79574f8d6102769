//! Three years of a box, its secondary, its registrar and the caches of the world, hour by hour: with power cuts
//! between any two writes, days and months without the box, an owner who replaces keys and forgets the registrar.
//!
//! In every hour, whatever a cache may hold of the key set, of signed records and of the parent's DS must fit
//! together, and nothing expired or not yet valid is served.

mod version;

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::dnssec::rdata::DS;
use hickory_proto::rr::RecordType;
use roost_dns::records::Signed;
use roost_dns::sign::keys::KeySet;
use roost_dns::sign::policy::{APEX_TTL, EXPIRE, MAX_TTL, REFRESH};
use roost_dns::sign::rollover::{self, Event, Observed, Parent, Served, Timing};
use roost_dns::sign::{self, Policy, clock, serial, verify};

use crate::zones::{self, DAY, NOW, record};
use version::Version;

const HOUR: u64 = 3600;
const YEARS: u64 = 3 * 365 * DAY;
/// TTL of the parent's DS, and how far behind some of its servers are.
const DS_TTL: u64 = DAY;
const PARENT_LAG: u64 = 12 * HOUR;

/// SplitMix64: the run is the seed's alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll().is_multiple_of(n)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }
}

/// What is on the box's disk.
struct Disk {
    keys: String,
    zone: Option<usize>,
}

struct World {
    dice: Dice,
    now: u64,
    disk: Disk,
    /// In memory: `None` while the box is off. The second is the version that it serves.
    running: Option<(KeySet, Option<usize>)>,
    off_until: u64,
    address: u64,
    versions: Vec<Version>,
    secondary: Option<(usize, u64)>,
    parent: Vec<(u64, Vec<DS>)>,
    registrar_at: Option<u64>,
    one_ds_form: bool,
    checked: BTreeSet<(usize, usize)>,
    led: BTreeSet<(usize, usize)>,
    counts: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64, one_ds_form: bool) -> Self {
        let keys = KeySet::generate(&zones::origin(), NOW).unwrap();
        let disk = Disk {
            keys: serde_json::to_string(&keys).unwrap(),
            zone: None,
        };
        Self {
            dice: Dice(seed),
            now: NOW,
            disk,
            running: None,
            off_until: 0,
            address: 1,
            versions: Vec::new(),
            secondary: None,
            parent: vec![(NOW, Vec::new())],
            registrar_at: None,
            one_ds_form,
            checked: BTreeSet::new(),
            led: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    fn hour(&mut self) {
        self.power();
        // What was served until now, and below what is from now on.
        self.check_served();
        self.box_works();
        self.secondary_works();
        self.registrar_works();
        self.check_served();
        self.check_caches();
        self.now += HOUR;
    }

    fn power(&mut self) {
        if self.dice.one_in(150) {
            self.cut();
            let days = match self.dice.below(20) {
                0 => 30 + self.dice.below(200),
                1..=3 => self.dice.below(20),
                _ => 0,
            };
            self.off_until = self.now + days * DAY + self.dice.below(20) * HOUR;
        }
        if self.running.is_none() && self.now >= self.off_until {
            // The clock is not set yet in the first minutes: then nothing is signed or served.
            clock::is_plausible(600, NOW, self.last_signed()).unwrap_err();
            let keys = serde_json::from_str(&self.disk.keys).unwrap();
            // What is due is signed before anything is served.
            let good = |signed: &Signed| {
                verify::check(signed, self.now).is_ok()
                    && !sign::is_due(signed, &keys, self.now, &Policy::default())
            };
            let zone = self
                .disk
                .zone
                .filter(|zone| good(&self.versions[*zone].signed));
            self.running = Some((keys, zone));
        }
    }

    fn cut(&mut self) {
        self.running = None;
    }

    fn last_signed(&self) -> Option<u64> {
        self.disk
            .zone
            .map(|zone| self.versions[zone].begins + clock::SET_BACK)
    }

    /// One round of the name server's own loop, with a power cut between any two writes.
    fn box_works(&mut self) {
        let Some((mut keys, served)) = self.running.take() else {
            return;
        };
        clock::is_plausible(self.now, NOW, self.last_signed()).unwrap();
        let seen = self.look(served);
        let events = rollover::step(&mut keys, self.now, &seen, &Timing::default()).unwrap();
        let mut changed = !events.is_empty();
        for event in events {
            *self.counts.entry(kind(&event)).or_default() += 1;
        }
        if self.dice.one_in(4000) && rollover::roll_ksk(&mut keys, self.now).is_ok() {
            changed = true;
        }
        if changed {
            self.disk.keys = serde_json::to_string(&keys).unwrap();
        }
        if self.dice.one_in(100) {
            self.address = self.dice.below(200);
            changed = true;
        }
        let old = self.disk.zone.map(|zone| &self.versions[zone].signed);
        let due = changed
            || served.is_none()
            || old.is_none_or(|old| sign::is_due(old, &keys, self.now, &Policy::default()));
        if !due {
            self.running = Some((keys, served));
            return;
        }
        if self.dice.one_in(10) {
            return self.off_until = self.now;
        }
        self.sign_and_serve(keys);
    }

    fn sign_and_serve(&mut self, mut keys: KeySet) {
        let records = [
            record("example.org.", 3600, RecordType::NS, "ns1.example.net."),
            record(
                "*.example.org.",
                MAX_TTL,
                RecordType::A,
                &format!("192.0.2.{}", self.address),
            ),
        ];
        let previous = self.disk.zone.map(|zone| &self.versions[zone].signed);
        let seen: Vec<u32> = self
            .secondary
            .iter()
            .map(|(zone, _)| self.versions[*zone].signed.serial)
            .collect();
        let number = serial::next(previous.map(|old| old.serial), &seen, self.now);
        let signed = sign::zone(
            &records,
            &keys,
            self.now,
            &Policy::default(),
            number,
            previous,
        )
        .unwrap();
        let report = verify::check(&signed, self.now).unwrap();
        assert!(report.left > u64::from(EXPIRE + MAX_TTL));
        let ds = keys
            .announced()
            .map(|key| key.ds(keys.origin()).unwrap())
            .collect();
        keys.signed(number);
        self.disk.keys = serde_json::to_string(&keys).unwrap();
        if self.dice.one_in(10) {
            return self.off_until = self.now;
        }
        self.versions
            .push(Version::new(signed, ds, self.now, &self.versions));
        let zone = self.versions.len() - 1;
        self.disk.zone = Some(zone);
        self.running = Some((keys, Some(zone)));
    }

    /// What the box learns, if the network lets it.
    fn look(&mut self, served: Option<usize>) -> Observed {
        let secondary = self.secondary_serves();
        let served = served
            .zip(secondary)
            .filter(|_| !self.dice.one_in(5))
            .map(|(own, other)| Served {
                serial: self.versions[own.min(other)].signed.serial,
                at: self.now,
            });
        let parent = (!self.dice.one_in(5)).then(|| {
            // From a server that may be behind the others.
            let lag = self.dice.below(2) * PARENT_LAG;
            let known = self
                .parent
                .iter()
                .rev()
                .find(|(from, _)| from + lag <= self.now);
            Parent {
                ds: known.map(|(_, ds)| ds.clone()).unwrap_or_default(),
                ttl: DS_TTL as u32,
                at: self.now,
            }
        });
        Observed { served, parent }
    }

    fn secondary_serves(&self) -> Option<usize> {
        let (zone, refreshed) = self.secondary?;
        (self.now < refreshed + u64::from(EXPIRE)).then_some(zone)
    }

    fn secondary_works(&mut self) {
        let Some((_, Some(zone))) = self.running else {
            return;
        };
        let asks = match self.secondary {
            Some((_, refreshed)) => {
                self.now - refreshed >= u64::from(REFRESH) || self.dice.one_in(2)
            }
            None => true,
        };
        if !asks || self.dice.one_in(10) {
            return;
        }
        if let Some((old, _)) = self.secondary.filter(|(old, _)| *old != zone) {
            let (old, new) = (
                self.versions[old].signed.serial,
                self.versions[zone].signed.serial,
            );
            assert!(
                serial::is_newer(new, old),
                "the secondary would not take {new} after {old}"
            );
        }
        self.secondary = Some((zone, self.now));
    }

    /// The registrar's form is filled in, some time after the box asks for it.
    fn registrar_works(&mut self) {
        let Some((_, Some(zone))) = self.running else {
            return;
        };
        let wanted = &self.versions[zone].ds;
        let wanted = if self.one_ds_form {
            wanted[wanted.len() - 1..].to_vec()
        } else {
            wanted.clone()
        };
        if self.parent.last().is_some_and(|(_, ds)| *ds == wanted) {
            self.registrar_at = None;
            return;
        }
        let soon = self.now + self.dice.below(20 * 24) * HOUR;
        if *self.registrar_at.get_or_insert(soon) <= self.now {
            self.parent.push((self.now, wanted));
            self.registrar_at = None;
        }
    }

    fn check_served(&mut self) {
        let own = self.running.as_ref().and_then(|(_, zone)| *zone);
        if let Some(own) = own {
            let expires = self.versions[own].signed.expires.unwrap();
            assert!(
                expires > self.now + u64::from(EXPIRE + MAX_TTL),
                "a secondary could outlive it"
            );
        }
        for zone in [own, self.secondary_serves()].into_iter().flatten() {
            let version = &mut self.versions[zone];
            version.last_served = self.now;
            assert!(version.begins <= self.now, "not valid yet");
            assert!(
                version.signed.expires.unwrap() > self.now + u64::from(MAX_TTL),
                "ends in a cache"
            );
        }
    }

    /// Versions that a cache may hold something of.
    fn cached(&self, ttl: u32) -> Vec<usize> {
        let from = self.now.saturating_sub(u64::from(ttl));
        let recent = |zone: &usize| self.versions[*zone].last_served >= from;
        (0..self.versions.len()).filter(recent).collect()
    }

    fn check_caches(&mut self) {
        let key_sets = self.cached(APEX_TTL);
        let records = self.cached(MAX_TTL);
        let since = self.now.saturating_sub(DS_TTL + PARENT_LAG);
        let ended = |at: usize| self.parent.get(at + 1).map_or(u64::MAX, |(from, _)| *from);
        let parents: Vec<usize> = (0..self.parent.len())
            .filter(|at| ended(*at) >= since)
            .collect();
        for keys in &key_sets {
            for parent in &parents {
                if self.led.insert((*keys, *parent)) {
                    assert!(
                        self.versions[*keys].follows(&self.parent[*parent].1),
                        "DS leads nowhere"
                    );
                }
            }
        }
        let different: BTreeSet<usize> = key_sets
            .iter()
            .map(|zone| self.versions[*zone].key_set)
            .collect();
        for keys in different {
            for other in &records {
                if self.checked.insert((keys, *other)) {
                    assert!(
                        self.versions[keys].validates(&self.versions[*other]),
                        "signature without its key"
                    );
                }
            }
        }
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Activated(_) => "zsk",
        Event::Removed(sign::keys::Role::Ksk, _) => "ksk",
        _ => "other",
    }
}

fn three_years(seeds: [u64; 2], one_ds_form: bool) {
    let mut total: BTreeMap<&str, usize> = BTreeMap::new();
    let mut versions = 0;
    for seed in seeds {
        let mut world = World::new(seed, one_ds_form);
        while world.now < NOW + YEARS {
            world.hour();
        }
        for (what, count) in &world.counts {
            *total.entry(what).or_default() += count;
        }
        versions += world.versions.len();
    }
    // The years were not uneventful: in 24 quarters many a new ZSK, in 6 years some new KSKs.
    assert!(total["zsk"] >= 8, "{total:?}");
    assert!(total["ksk"] >= 2, "{total:?}");
    assert!(versions > 300, "{versions}");
}

#[test]
fn every_moment_validates_with_a_registry_that_follows_cds() {
    three_years([1, 2], false);
}

#[test]
fn every_moment_validates_with_a_form_for_one_ds() {
    three_years([3, 4], true);
}
