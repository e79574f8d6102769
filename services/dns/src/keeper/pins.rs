//! Since when all name servers have the hashes of the mail host's keys (TLSA): a key may be taken into use
//! only when nobody can still get an answer without it.
//!
//! Kept in memory alone: after a restart, the first serial number counts as the one that brought a hash. That
//! is later than the truth, which harms nobody.

use super::{Keeper, OneZone};
use crate::generate::TlsKey;
use crate::sign::serial;
use hickory_proto::rr::{Name, RData};

/// A hash that all name servers have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// SHA-256 of the key, in hex.
    pub sha256: String,
    /// When that was first so, in seconds since 1970.
    pub since: u64,
    /// TTL of its records, in seconds.
    pub ttl_s: u32,
}

/// A hash in the zone.
pub(super) struct Pin {
    sha256: String,
    ttl_s: u32,
    /// The first serial number of the zone with it.
    serial: u32,
    /// Since when all name servers have that.
    everywhere: Option<u64>,
}

impl OneZone {
    /// The TTL with which the zone has this hash at each of the key's ports. `None`: not at all of them.
    fn ttl_of(&self, key: &TlsKey, sha256: &str) -> Option<u32> {
        let host = Name::from_ascii(format!("{}.", self.facts.mail_host)).ok()?;
        let at_port = |port: &u16| {
            let name = host.prepend_label("_tcp").ok()?;
            let name = name.prepend_label(format!("_{port}")).ok()?;
            let found = self.entries.iter().find(|entry| {
                let same = |data: &[u8]| hex(data).eq_ignore_ascii_case(sha256);
                entry.record.name == name
                    && matches!(&entry.record.data, RData::TLSA(tlsa) if same(&tlsa.cert_data))
            });
            Some(found?.record.ttl)
        };
        let ttls: Option<Vec<u32>> = key.ports.iter().map(at_port).collect();
        ttls?.into_iter().max()
    }

    /// Brings the pins up to what the zone has, now that it is served with this serial number.
    fn follow_pins(&mut self, serial: u32) {
        let hashes = self.facts.tls_keys.iter().flat_map(|key| {
            let all = [Some(&key.current), key.next.as_ref(), key.previous.as_ref()];
            all.into_iter().flatten().map(move |sha256| (key, sha256))
        });
        let mut pins = Vec::new();
        for (key, sha256) in hashes {
            let Some(ttl_s) = self.ttl_of(key, sha256) else {
                continue;
            };
            let before = self.pins.iter().find(|pin| pin.sha256 == *sha256);
            pins.push(Pin {
                sha256: sha256.clone(),
                ttl_s,
                serial: before.map_or(serial, |pin| pin.serial),
                everywhere: before.and_then(|pin| pin.everywhere),
            });
        }
        self.pins = pins;
    }
}

impl Keeper {
    /// Hashes of the mail host's keys that all name servers have at `now`.
    pub fn pinned(&mut self, now: u64) -> Vec<Pinned> {
        let mut pinned = Vec::new();
        for zone in &mut self.all {
            let Some(served) = self.zones.current(zone.kept.keys.origin()) else {
                zone.pins.clear();
                continue;
            };
            zone.follow_pins(served.serial);
            for pin in &mut zone.pins {
                // A number above ours is of another zone than ours.
                let has = |theirs| {
                    !serial::is_newer(pin.serial, theirs)
                        && !serial::is_newer(theirs, served.serial)
                };
                let reached = match zone.seen {
                    Some(seen) if has(seen.serial) => Some(seen.at),
                    None if !self.secondary => Some(now),
                    _ => None,
                };
                pin.everywhere = pin.everywhere.or(reached);
                pinned.extend(pin.everywhere.map(|since| Pinned {
                    sha256: pin.sha256.clone(),
                    since,
                    ttl_s: pin.ttl_s,
                }));
            }
        }
        pinned
    }

    /// Zones with a hash that the secondary was not seen to have yet, and the first serial number with it.
    pub fn awaited(&self) -> Vec<(Name, u32)> {
        let waits = |zone: &OneZone| {
            let pin = zone.pins.iter().rfind(|pin| pin.everywhere.is_none())?;
            Some((zone.kept.keys.origin().clone(), pin.serial))
        };
        match self.secondary {
            true => self.all.iter().filter_map(waits).collect(),
            false => Vec::new(),
        }
    }

    /// Names of all zones.
    pub fn origins(&self) -> Vec<Name> {
        let zones = self.all.iter();
        zones.map(|zone| zone.kept.keys.origin().clone()).collect()
    }

    /// Domains whose zone is served, the box's own first.
    pub fn served(&self) -> Vec<String> {
        let served = |zone: &&OneZone| self.zones.current(zone.kept.keys.origin()).is_some();
        let zones = self.all.iter().filter(served);
        zones.map(|zone| zone.facts.domain.clone()).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
