//! The rows of the state table, one after the other.

use roost_dns::sign::keys::{KeySet, Role};
use roost_dns::sign::rollover::{self, Chain, Event, Observed, Parent, RollError, Served, Timing};

use crate::zones::{self, DAY, NOW};

/// A box whose zone gets everywhere at once, unless told otherwise.
struct Box {
    keys: KeySet,
    now: u64,
    serial: u32,
    served: bool,
    parent: Option<Vec<hickory_proto::dnssec::rdata::DS>>,
}

impl Box {
    fn new() -> Self {
        Self {
            keys: zones::keys(),
            now: NOW,
            serial: 1,
            served: true,
            parent: None,
        }
    }

    fn step(&mut self) -> Vec<Event> {
        let seen = Observed {
            served: self.served.then_some(Served {
                serial: self.serial,
                at: self.now,
            }),
            parent: self.parent.clone().map(|ds| Parent {
                ds,
                ttl: 3600,
                at: self.now,
            }),
        };
        let events = rollover::step(&mut self.keys, self.now, &seen, &Timing::default()).unwrap();
        if !events.is_empty() {
            self.serial += 1;
            self.keys.signed(self.serial);
        }
        events
    }

    /// Runs for some days; returns what happened.
    fn run(&mut self, days: u64) -> Vec<Event> {
        let until = self.now + days * DAY;
        let mut all = Vec::new();
        while self.now < until {
            all.extend(self.step());
            self.now += 1800;
        }
        all
    }

    fn announce_at_parent(&mut self) {
        let origin = self.keys.origin().clone();
        self.parent = Some(
            self.keys
                .announced()
                .map(|key| key.ds(&origin).unwrap())
                .collect(),
        );
    }

    fn tag(&self, at: usize) -> u16 {
        self.keys.keys()[at].tag()
    }
}

#[test]
fn a_zsk_is_replaced_after_ninety_days() {
    let mut a_box = Box::new();
    let old = a_box.tag(1);
    assert_eq!(a_box.run(88), []);
    let events = a_box.run(7);
    let new = a_box.tag(1);
    assert_ne!(new, old);
    let expected = [
        Event::Published(Role::Zsk, new),
        Event::Retired(old),
        Event::Activated(new),
        Event::Removed(Role::Zsk, old),
    ];
    assert_eq!(events, expected);
    assert_eq!(a_box.keys.active_zsk().unwrap().tag(), new);
}

/// The secondary can't be reached: nothing that it might not know is relied upon.
#[test]
fn a_new_zsk_waits_until_it_is_served_everywhere() {
    let mut a_box = Box::new();
    let old = a_box.tag(1);
    a_box.served = false;
    let events = a_box.run(300);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(matches!(events[0], Event::Published(Role::Zsk, _)));
    assert_eq!(a_box.keys.active_zsk().unwrap().tag(), old);
    a_box.served = true;
    assert_eq!(a_box.run(5).len(), 3);
}

/// Off for a year, in each stage of a replacement.
#[test]
fn a_box_that_was_off_goes_on() {
    for days in [80, 90, 91, 92, 93] {
        let mut a_box = Box::new();
        a_box.run(days);
        a_box.now += 365 * DAY;
        a_box.run(10);
        let zsks = a_box
            .keys
            .keys()
            .iter()
            .filter(|key| key.role() == Role::Zsk)
            .count();
        assert_eq!(zsks, 1, "off after day {days}");
    }
}

#[test]
fn a_ksk_is_replaced_by_command() {
    let mut a_box = Box::new();
    assert_eq!(
        rollover::roll_ksk(&mut a_box.keys, NOW),
        Err(RollError::NotTrusted)
    );
    a_box.announce_at_parent();
    let old = a_box.tag(0);
    assert_eq!(a_box.run(1), [Event::Trusted(old)]);

    let now = a_box.now;
    let begun = rollover::roll_ksk(&mut a_box.keys, now).unwrap();
    let Event::Published(Role::Ksk, new) = begun else {
        panic!("{begun:?}")
    };
    assert_eq!(
        rollover::roll_ksk(&mut a_box.keys, now),
        Err(RollError::UnderWay(new))
    );
    a_box.serial += 1;
    a_box.keys.signed(a_box.serial);
    assert_eq!(
        a_box.keys.announced().count(),
        1,
        "not before caches know it"
    );

    // The owner takes three weeks to tell the registrar.
    assert_eq!(a_box.run(21), [Event::Announced(new)]);
    assert_eq!(a_box.keys.announced().count(), 2);
    a_box.announce_at_parent();
    assert_eq!(a_box.run(5), [Event::Trusted(new), Event::Leaving(old)]);
    assert_eq!(a_box.keys.ksks().count(), 2, "the parent still names it");
    a_box.announce_at_parent();
    assert_eq!(a_box.run(5), [Event::Removed(Role::Ksk, old)]);
    assert_eq!(a_box.keys.ksks().count(), 1);
}

/// The registrar went back to the old DS when the old key was already leaving.
#[test]
fn a_leaving_ksk_that_alone_is_named_stays() {
    let mut a_box = Box::new();
    a_box.announce_at_parent();
    a_box.run(1);
    let both_then_old = a_box.parent.clone();
    let old = a_box.tag(0);
    let now = a_box.now;
    rollover::roll_ksk(&mut a_box.keys, now).unwrap();
    a_box.serial += 1;
    a_box.keys.signed(a_box.serial);
    a_box.run(2);
    a_box.announce_at_parent();
    a_box.run(5);
    let new = a_box.keys.announced().next().unwrap().tag();
    a_box.parent = both_then_old;
    assert_eq!(a_box.run(1), [Event::Forgotten(new), Event::Trusted(old)]);
    assert_eq!(a_box.run(30), []);
    assert_eq!(a_box.keys.ksks().count(), 2);
}

#[test]
fn next_at_is_when_something_happens() {
    let mut a_box = Box::new();
    a_box.announce_at_parent();
    a_box.step();
    let timing = Timing::default();
    let mut happened = Vec::new();
    while a_box.now < NOW + 100 * DAY {
        let next = rollover::next_at(&a_box.keys, a_box.now, &timing);
        assert!(next >= a_box.now);
        a_box.now = next.max(a_box.now + 1);
        happened.push(a_box.step().len());
    }
    // Published, active, removed; and the beginning of the second quarter.
    assert_eq!(happened.iter().filter(|count| **count > 0).count(), 4);
    assert!(happened.len() < 12, "{happened:?}");
}

#[test]
fn events_in_words() {
    let events = [
        Event::Published(Role::Zsk, 1),
        Event::Published(Role::Ksk, 2),
        Event::Activated(1),
        Event::Retired(3),
        Event::Announced(2),
        Event::Trusted(2),
        Event::Forgotten(2),
        Event::Leaving(4),
        Event::Removed(Role::Ksk, 4),
    ];
    let words: Vec<String> = events.iter().map(Event::to_string).collect();
    let errors = [
        RollError::UnderWay(5).to_string(),
        RollError::NotTrusted.to_string(),
    ];
    insta::assert_snapshot!([words, errors.to_vec()].concat().join("\n"));
}

#[test]
fn a_chain_is_broken_when_the_parent_names_only_others() {
    let set = zones::keys();
    let ds = |set: &KeySet| {
        set.announced()
            .map(|key| key.ds(set.origin()).unwrap())
            .collect::<Vec<_>>()
    };
    let parent = |ds| Parent {
        ds,
        ttl: 3600,
        at: NOW,
    };
    let (own, other) = (ds(&set), ds(&zones::keys()));
    assert_eq!(Chain::of(&set, &parent(Vec::new())), Chain::Open);
    assert_eq!(Chain::of(&set, &parent(other.clone())), Chain::Broken);
    assert_eq!(
        Chain::of(&set, &parent([other, own].concat())),
        Chain::Proven
    );
}
