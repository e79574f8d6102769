//! Replacing the key that the registrar knows, from the command to the end, with time travel.

use super::*;
use crate::parent::{Asked, Heard, Said, Waiting};
use crate::sign::rollover::{Chain, Parent};
use hickory_proto::dnssec::rdata::DS;
use roost_service::dns::{Delegation, DelegationState};

const HOUR: u64 = 3600;

/// The parent zone and its three name servers.
struct Registry {
    ds: Vec<DS>,
    /// What caches hold: each set of DS records since it was replaced.
    cached: Vec<(Vec<DS>, u64)>,
}

impl Registry {
    fn enter(&mut self, ds: Vec<DS>, now: u64) {
        let before = std::mem::replace(&mut self.ds, ds);
        self.cached.push((before, now));
    }

    fn says(&self, world: &World) -> Heard {
        let served = world.zones.current(&origin()).unwrap();
        let keys = &world.keeper.all[0].kept.keys;
        let ours = crate::parent::Ours::of(&served, keys);
        let said = Said {
            name_servers: ours.name_servers,
            glue: ours.addresses,
            ds: self.ds.clone(),
            ttl: 3600,
        };
        let one = |label: &str| Asked {
            name: Name::from_ascii(format!("{label}.nic.org.")).unwrap(),
            address: "198.51.100.1".parse().unwrap(),
            said: Ok(said.clone()),
        };
        Heard {
            parent: Some(Name::from_ascii("org.").unwrap()),
            servers: 3,
            asked: ["a", "b", "c"].map(one).to_vec(),
            ..Heard::default()
        }
    }
}

impl World {
    /// Half an hour after half an hour: the parent is asked, and what is due is done. Each time everybody who
    /// validates with what the parent has, or had within a day, sees the zone.
    fn live(&mut self, registry: &Registry, from: u64, hours: u64) -> u64 {
        let mut verified = 0;
        for minutes in (0..hours * 60).step_by(30) {
            let now = from + minutes * 60;
            let heard = registry.says(self);
            self.keeper.parent_says(&origin(), &heard, now).unwrap();
            self.keeper.set_facts(known(&["example.org"]), now);
            let signed = self.zones.current(&origin()).unwrap();
            if signed.serial != verified {
                verify::check(&signed, now).unwrap();
                verified = signed.serial;
            }
            let cached = registry.cached.iter();
            let cached = cached.filter(|(_, until)| until + DAY > now);
            for ds in cached.map(|(ds, _)| ds).chain([&registry.ds]) {
                let parent = Parent {
                    ds: ds.clone(),
                    ttl: 3600,
                    at: now,
                };
                let chain = Chain::of(&self.keeper.all[0].kept.keys, &parent);
                assert_ne!(chain, Chain::Broken, "after {minutes} minutes");
            }
        }
        from + hours * HOUR
    }

    fn announced(&self) -> Vec<DS> {
        let keys = &self.keeper.all[0].kept.keys;
        let ds = keys.announced().map(|key| key.ds(keys.origin()).unwrap());
        ds.collect()
    }

    fn delegation(&self) -> Delegation {
        self.status().delegation.unwrap()
    }

    /// States of the key-signing keys, and the advice, with tags made the same.
    fn told(&self, tags: &[u16]) -> String {
        let status = self.status();
        let keys = status
            .keys
            .iter()
            .filter(|k| k.role.contains("key-signing"));
        let mut text: String = keys
            .map(|key| format!("{}: {}\n", key.tag, key.state))
            .collect();
        let delegation = self.delegation();
        text += &format!("{:?} {}\n", delegation.state, delegation.advice);
        for ds in &self.announced() {
            text = text.replace(&ds.to_string(), &format!("{} …", ds.key_tag()));
        }
        for (number, tag) in tags.iter().enumerate() {
            text = text.replace(&tag.to_string(), &format!("KEY{number}"));
        }
        text
    }
}

#[test]
fn a_key_is_replaced_once_the_registry_has_the_new_one() {
    let mut world = World::new();
    let mut registry = Registry {
        ds: Vec::new(),
        cached: Vec::new(),
    };
    let mut now = world.live(&registry, NOW, 3);
    let mut text = vec![];
    let old = world.ksk();
    text.push(world.told(&[old]));
    registry.enter(world.announced(), now);
    now = world.live(&registry, now, 3);
    assert_eq!(world.delegation().state, DelegationState::Secure);
    text.push(world.told(&[old]));
    assert_eq!(
        world.keeper.parents_to_ask(),
        [(origin(), Waiting::Nothing)]
    );

    world.keeper.replace_key("example.org", now).unwrap();
    assert_eq!(world.keeper.parents_to_ask(), [(origin(), Waiting::Change)]);
    now = world.live(&registry, now, 3);
    let keys = world.status().keys;
    let new = keys.iter().map(|key| key.tag);
    let new = new
        .filter(|tag| *tag != old)
        .find(|tag| world.announced().iter().any(|ds| ds.key_tag() == *tag))
        .expect("it is announced");
    let tags = [old, new];
    text.push(world.told(&tags));
    // The owner takes a week. The box is restarted meanwhile.
    now = world.live(&registry, now, 7 * 24);
    world = world.restart(now);
    now = world.live(&registry, now, 3);
    text.push(world.told(&tags));
    // A form for one DS record.
    let ds = world.announced();
    registry.enter(
        ds.into_iter().filter(|ds| ds.key_tag() == new).collect(),
        now,
    );
    now = world.live(&registry, now, 2);
    text.push(world.told(&tags));
    now = world.live(&registry, now, 3 * 24);
    text.push(world.told(&tags));
    world.live(&registry, now, 3 * 24);
    text.push(world.told(&tags));
    let keys = world.status().keys;
    assert!(keys.iter().all(|key| key.tag != old), "{keys:?}");
    assert_eq!(keys.len(), 2);
    insta::assert_snapshot!(text.join("\n"));
}

/// What is heard once moves no key, whatever it is.
#[test]
fn one_answer_moves_nothing() {
    let mut world = World::new();
    let registry = Registry {
        ds: world.announced(),
        cached: Vec::new(),
    };
    let heard = registry.says(&world);
    world.keeper.parent_says(&origin(), &heard, NOW).unwrap();
    world.keeper.set_facts(known(&["example.org"]), NOW + DAY);
    assert_eq!(world.delegation().state, DelegationState::Secure);
    insta::assert_snapshot!(
        world.keeper.replace_key("example.org", NOW + DAY).unwrap_err(),
        @"the registry has no DS record of this zone yet, so there is no key to replace."
    );
}
