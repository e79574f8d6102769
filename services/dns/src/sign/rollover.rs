//! Replacing keys.
//!
//! Every change here is one that a cache somewhere has not heard of yet. So each step waits until no cache can
//! hold what would contradict it, counted from a *fact*: "every server of the zone answered with this serial
//! number at that time", "the parent gave these DS records at that time". A box that was off for months has no
//! new facts, so nothing has moved meanwhile, and it goes on from where it was.
//!
//! # Zone-signing key: pre-publication, by itself (RFC 6781, section 4.1.1.1; RFC 7583, section 3.2.1)
//!
//! | Stage | In DNSKEY | Signs | Becomes | When |
//! |---|---|---|---|---|
//! | – | no | – | Published | the active key is `zsk_lifetime` old, no other replacement is under way |
//! | Published | yes | nothing | Active | its zone has been everywhere for the TTL of DNSKEY and a margin |
//! | Active | yes | the zone | Retired | in the step in which the next one becomes active |
//! | Retired | yes | nothing | gone | the zone signed without it has been everywhere for the largest TTL and a margin |
//!
//! # Key-signing key: double signature, by command (RFC 6781, section 4.1.2; RFC 7583, section 3.3.1; RFC 7344)
//!
//! | Stage | In DNSKEY, signs it | In CDS, CDNSKEY, `ds()` | Becomes | When |
//! |---|---|---|---|---|
//! | – | no | no | Published | [`roll_ksk`] |
//! | Published | yes | no | Announced | its zone has been everywhere for the TTL of DNSKEY and a margin |
//! | Announced | yes | yes | Trusted | the parent gives its DS |
//! | Trusted | yes | yes | Announced | the parent gives its DS no more |
//! | Announced, Trusted | yes | yes | Leaving | a later key has been Trusted for the TTL of DS and the parent's delay |
//! | Leaving | yes | no | gone | the parent has given its DS no more for as long, and gives that of a Trusted key |
//! | Leaving | yes | no | Trusted | the parent gives its DS, and that of no Trusted key |
//!
//! A new key is announced only after every cache has it. So the way stays safe with a registrar whose form holds
//! one DS, where the owner replaces the old by the new at any moment.

mod facts;

use super::keys::{Key, KeyError, KeySet, Role};
use super::serial;
pub use facts::{
    Chain, Event, Ksk, Observed, Parent, RollError, Served, Sighting, Stage, Timing, Zsk,
};

/// Begins to replace the KSK, at `now` (seconds since 1970). [`step`] does the rest.
///
/// # Errors
/// [`RollError`], when the parent has no DS yet or another replacement is not finished.
pub fn roll_ksk(set: &mut KeySet, now: u64) -> Result<Event, RollError> {
    let busy = set.ksks().find(|key| {
        !matches!(
            key.stage(),
            Stage::Ksk(Ksk::Trusted { .. } | Ksk::Announced { .. })
        )
    });
    if let Some(busy) = busy.or_else(|| set.announced().nth(1)) {
        return Err(RollError::UnderWay(busy.tag()));
    }
    if !set.ksks().any(|key| trusted_since(key).is_some()) {
        return Err(RollError::NotTrusted);
    }
    let tag = set.add(now, Stage::Ksk(Ksk::Published(Sighting::new(now))))?;
    Ok(Event::Published(Role::Ksk, tag))
}

/// Does what is due at `now` (seconds since 1970) and returns it, in order. The clock must have been found
/// plausible ([`super::clock`]). If anything is returned: store the set, sign the zone with it, tell it so
/// ([`KeySet::signed`]), store it again, serve the zone.
///
/// # Errors
/// [`KeyError`], when a new key could not be made. What was done before is in the set and stays valid.
pub fn step(
    set: &mut KeySet,
    now: u64,
    seen: &Observed,
    timing: &Timing,
) -> Result<Vec<Event>, KeyError> {
    let mut events = Vec::new();
    if let Some(served) = &seen.served {
        note_served(set, served, now);
    }
    remove_zsks(set, now, timing, &mut events);
    activate_zsk(set, now, timing, &mut events);
    announce_ksk(set, now, timing, &mut events);
    if let Some(parent) = &seen.parent {
        let parent = Parent {
            at: parent.at.min(now),
            ..parent.clone()
        };
        note_parent(set, &parent, &mut events);
        leave_ksks(set, &parent, now, timing, &mut events);
        remove_ksks(set, &parent, timing, &mut events);
    }
    publish_zsk(set, now, timing, &mut events)?;
    Ok(events)
}

/// When [`step`] should be called next, in seconds since 1970; never before `now`.
pub fn next_at(set: &KeySet, now: u64, timing: &Timing) -> u64 {
    let rolling = set.ksks().count() > 1;
    let zsk_busy = set
        .keys()
        .iter()
        .filter(|key| key.role() == Role::Zsk)
        .count()
        > 1;
    let look = now.saturating_add(timing.poll);
    let due = set.keys().iter().map(|key| match key.stage() {
        Stage::Ksk(Ksk::Published(sighting)) | Stage::Zsk(Zsk::Published(sighting)) => sighting
            .everywhere
            .map_or(look, |at| at.saturating_add(timing.keys_cached())),
        Stage::Zsk(Zsk::Retired(sighting)) => sighting
            .everywhere
            .map_or(look, |at| at.saturating_add(timing.signatures_cached())),
        Stage::Zsk(Zsk::Active { .. }) if zsk_busy => u64::MAX,
        Stage::Zsk(Zsk::Active { since }) => since.saturating_add(timing.zsk_lifetime),
        Stage::Ksk(Ksk::Trusted { .. }) if !rolling => u64::MAX,
        Stage::Ksk(_) => look,
    });
    due.min().unwrap_or(look).max(now)
}

fn note_served(set: &mut KeySet, served: &Served, now: u64) {
    for sighting in set
        .keys_mut()
        .iter_mut()
        .filter_map(|key| key.stage_mut().sighting_mut())
    {
        let has_it = sighting
            .serial
            .is_some_and(|first| !serial::is_newer(first, served.serial));
        if has_it && sighting.everywhere.is_none() {
            sighting.everywhere = Some(served.at.min(now));
        }
    }
}

fn waited(sighting: &Sighting, now: u64, wait: u64) -> bool {
    sighting
        .everywhere
        .is_some_and(|at| at.saturating_add(wait) <= now)
}

fn remove_zsks(set: &mut KeySet, now: u64, timing: &Timing, events: &mut Vec<Event>) {
    let wait = timing.signatures_cached();
    remove(
        set,
        events,
        |key| matches!(key.stage(), Stage::Zsk(Zsk::Retired(s)) if waited(&s, now, wait)),
    );
}

fn remove(set: &mut KeySet, events: &mut Vec<Event>, gone: impl Fn(&Key) -> bool) {
    set.keys_mut().retain(|key| {
        let gone = gone(key);
        if gone {
            events.push(Event::Removed(key.role(), key.tag()));
        }
        !gone
    });
}

fn activate_zsk(set: &mut KeySet, now: u64, timing: &Timing, events: &mut Vec<Event>) {
    let wait = timing.keys_cached();
    let ready =
        |key: &Key| matches!(key.stage(), Stage::Zsk(Zsk::Published(s)) if waited(&s, now, wait));
    let Some(next) = set.keys().iter().find(|key| ready(key)).map(Key::tag) else {
        return;
    };
    for key in set.keys_mut() {
        let tag = key.tag();
        match key.stage_mut() {
            Stage::Zsk(zsk @ Zsk::Active { .. }) => {
                *zsk = Zsk::Retired(Sighting::new(now));
                events.push(Event::Retired(tag));
            }
            Stage::Zsk(zsk) if tag == next => {
                *zsk = Zsk::Active { since: now };
                events.push(Event::Activated(tag));
            }
            _ => {}
        }
    }
}

fn publish_zsk(
    set: &mut KeySet,
    now: u64,
    timing: &Timing,
    events: &mut Vec<Event>,
) -> Result<(), KeyError> {
    let mut zsks = set.keys().iter().filter(|key| key.role() == Role::Zsk);
    // A retired key that still waits holds the next replacement up: keys can't pile up while facts are missing.
    let (Some(only), None) = (zsks.next(), zsks.next()) else {
        return Ok(());
    };
    let Stage::Zsk(Zsk::Active { since }) = only.stage() else {
        return Ok(());
    };
    if since.saturating_add(timing.zsk_lifetime) <= now {
        let tag = set.add(now, Stage::Zsk(Zsk::Published(Sighting::new(now))))?;
        events.push(Event::Published(Role::Zsk, tag));
    }
    Ok(())
}

fn announce_ksk(set: &mut KeySet, now: u64, timing: &Timing, events: &mut Vec<Event>) {
    for key in set.keys_mut() {
        let tag = key.tag();
        if let Stage::Ksk(ksk @ Ksk::Published(_)) = key.stage_mut()
            && let Ksk::Published(sighting) = ksk
            && waited(sighting, now, timing.keys_cached())
        {
            *ksk = Ksk::Announced { since: now };
            events.push(Event::Announced(tag));
        }
    }
}

/// What the parent says, key by key.
fn note_parent(set: &mut KeySet, parent: &Parent, events: &mut Vec<Event>) {
    let at = parent.at;
    let origin = set.origin().clone();
    let names = |key: &Key| key.ds(&origin).is_some_and(|ds| parent.ds.contains(&ds));
    // In a form for one DS, the new one takes the old one's place: nothing to be told of.
    let replaced = set.announced().any(names);
    for key in set.keys_mut() {
        let named = names(key);
        let tag = key.tag();
        let Stage::Ksk(ksk) = key.stage_mut() else {
            continue;
        };
        match ksk {
            Ksk::Announced { .. } if named => {
                *ksk = Ksk::Trusted { since: at };
                events.push(Event::Trusted(tag));
            }
            // An answer from before it was seen there tells nothing.
            Ksk::Trusted { since } if !named && at > *since => {
                *ksk = Ksk::Announced { since: at };
                if !replaced {
                    events.push(Event::Forgotten(tag));
                }
            }
            Ksk::Leaving { gone, .. } if named => *gone = None,
            Ksk::Leaving { since, gone } if at >= *since => {
                gone.get_or_insert(at);
            }
            _ => {}
        }
    }
    take_back(set, parent, &origin, events);
}

/// A leaving key is the only one that the parent names: it stays.
fn take_back(
    set: &mut KeySet,
    parent: &Parent,
    origin: &hickory_proto::rr::Name,
    events: &mut Vec<Event>,
) {
    if set.ksks().any(|key| trusted_since(key).is_some()) {
        return;
    }
    for key in set.keys_mut() {
        let named = key.ds(origin).is_some_and(|ds| parent.ds.contains(&ds));
        let tag = key.tag();
        if let Stage::Ksk(ksk @ Ksk::Leaving { .. }) = key.stage_mut()
            && named
        {
            *ksk = Ksk::Trusted { since: parent.at };
            events.push(Event::Trusted(tag));
        }
    }
}

fn trusted_since(key: &Key) -> Option<u64> {
    match key.stage() {
        Stage::Ksk(Ksk::Trusted { since }) => Some(since),
        _ => None,
    }
}

fn leave_ksks(
    set: &mut KeySet,
    parent: &Parent,
    now: u64,
    timing: &Timing,
    events: &mut Vec<Event>,
) {
    let wait = timing.ds_cached(parent);
    let known =
        |key: &Key| trusted_since(key).is_some_and(|since| since.saturating_add(wait) <= parent.at);
    // Keys stand in the order in which they were made.
    let Some(newest) = set.keys().iter().rposition(known) else {
        return;
    };
    for key in &mut set.keys_mut()[..newest] {
        let tag = key.tag();
        if let Stage::Ksk(ksk @ (Ksk::Announced { .. } | Ksk::Trusted { .. })) = key.stage_mut() {
            *ksk = Ksk::Leaving {
                since: now,
                gone: None,
            };
            events.push(Event::Leaving(tag));
        }
    }
}

fn remove_ksks(set: &mut KeySet, parent: &Parent, timing: &Timing, events: &mut Vec<Event>) {
    let wait = timing.ds_cached(parent);
    // Caches must know the DS of one that stays.
    if !set
        .ksks()
        .any(|key| trusted_since(key).is_some_and(|since| since.saturating_add(wait) <= parent.at))
    {
        return;
    }
    let gone = |key: &Key| matches!(key.stage(), Stage::Ksk(Ksk::Leaving { gone: Some(at), .. }) if at.saturating_add(wait) <= parent.at);
    remove(set, events, gone);
}
