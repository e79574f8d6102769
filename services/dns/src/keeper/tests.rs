mod certificates;

use super::*;
use crate::facts;
use crate::update::Replaced;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, RecordType};
use roost_service::mail::Published;
use roost_service::tunnel::Outside;

mod parents;

const NOW: u64 = WRITTEN + 30 * 86_400;
const DAY: u64 = 86_400;

struct World {
    folder: tempfile::TempDir,
    keeper: Keeper,
    zones: Zones,
}

fn known(domains: &[&str]) -> Vec<Facts> {
    let published = Published {
        host: "mail.example.org".into(),
        domains: domains.iter().map(|&domain| domain.into()).collect(),
        dkim: Vec::new(),
    };
    let outside = Outside {
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        second_name_server: Vec::new(),
        secondary: None,
    };
    facts::facts(&published, Some(&outside))
}

fn origin() -> Name {
    Name::from_ascii("example.org.").unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self::over(folder);
        world.keeper.set_facts(known(&["example.org"]), NOW);
        world
    }

    fn over(folder: tempfile::TempDir) -> Self {
        let zones = Zones::new();
        let keeper = Keeper::new(States::new(folder.path()), zones.clone());
        Self {
            folder,
            keeper,
            zones,
        }
    }

    /// Another process on the same card.
    fn restart(self, now: u64) -> Self {
        let mut world = Self::over(self.folder);
        world.keeper.set_facts(known(&["example.org"]), now);
        world
    }

    fn serial(&self) -> u32 {
        self.zones.current(&origin()).expect("it is served").serial
    }

    fn status(&self) -> dns::Zone {
        self.keeper.status().remove(0)
    }

    fn has(&self, line: &str) -> bool {
        let text = self.keeper.export("example.org", false).unwrap();
        text.lines()
            .any(|there| there.split_whitespace().eq(line.split_whitespace()))
    }

    fn ksk(&self) -> u16 {
        let keys = self.status().keys;
        keys.iter()
            .find(|key| key.role.contains("key-signing"))
            .unwrap()
            .tag
    }
}

fn challenge(texts: &[&str]) -> Changes {
    let name = Name::from_ascii("_acme-challenge.mail.example.org.").unwrap();
    let record = |text: &&str| {
        let data = RData::TXT(TXT::new(vec![(*text).to_owned()]));
        Record::from_rdata(name.clone(), 60, data)
    };
    Changes {
        by: Name::from_ascii("acme.").unwrap(),
        sets: vec![Replaced {
            name: name.clone(),
            kind: RecordType::TXT,
            records: texts.iter().map(record).collect(),
        }],
    }
}

#[test]
fn a_zone_is_signed_and_each_record_has_a_reason() {
    let world = World::new();
    let status = world.status();
    assert_eq!(status.fault, None);
    assert!(status.signed_until.unwrap() > NOW + 22 * DAY);
    assert_eq!((status.keys.len(), status.ds.len()), (2, 1));
    let records = world.keeper.records("example.org").unwrap();
    assert!(
        records
            .iter()
            .all(|record| !record.why.is_empty() && !record.value.is_empty())
    );
    let mx = records
        .iter()
        .find(|r| r.kind == "MX" && r.name == "example.org")
        .unwrap();
    assert_eq!(mx.value, "10 mail.example.org.");
}

#[test]
fn nothing_new_is_signed_while_nothing_has_changed() {
    let mut world = World::new();
    let serial = world.serial();
    world.keeper.set_facts(known(&["example.org"]), NOW + DAY);
    assert_eq!(world.serial(), serial);
    world
        .keeper
        .set_facts(known(&["example.org"]), NOW + 9 * DAY);
    assert_ne!(world.serial(), serial, "signatures were renewed");
}

#[test]
fn serial_numbers_only_grow_whatever_the_clock_does() {
    let mut world = World::new();
    let mut last = world.serial();
    for now in [NOW, NOW - 1000, NOW + 5, NOW + 5] {
        world = world.restart(now);
        assert!(serial::is_newer(world.serial(), last));
        last = world.serial();
    }
    world.keeper.set_secondary(true);
    world.keeper.seen(&origin(), last + 5_000_000, NOW + 6);
    world
        .keeper
        .set_own("example.org", "a A 192.0.2.9", NOW + 6)
        .unwrap();
    assert!(serial::is_newer(world.serial(), last + 5_000_000));
}

#[test]
fn with_a_clock_that_cannot_be_right_nothing_is_signed() {
    let world = World::new();
    let signed = world.serial();
    let world = world.restart(1_000_000);
    insta::assert_snapshot!(world.status().fault.unwrap());
    assert!(world.zones.serials().is_empty());
    let mut world = world.restart(NOW);
    assert!(serial::is_newer(world.serial(), signed));
    // Set back while it runs: what is served stays.
    let serial = world.serial();
    world
        .keeper
        .set_facts(known(&["example.org"]), NOW - 40 * DAY);
    assert_eq!(world.serial(), serial);
    insta::assert_snapshot!(world.status().fault.unwrap());
}

#[test]
fn the_owners_records_stay_over_a_restart_and_bad_ones_change_nothing() {
    let mut world = World::new();
    let text = "; my web page\nwww 600 IN A 198.51.100.7\n";
    world.keeper.set_own("example.org", text, NOW).unwrap();
    assert!(
        world.has("www 600 IN A 198.51.100.7"),
        "{}",
        world.keeper.export("example.org", false).unwrap()
    );
    let serial = world.serial();
    let bad = "www A 198.51.100.8\nfoo A nonsense\n@ SOA a b 1 2 3 4 5\nexample.com. A 192.0.2.1";
    insta::assert_snapshot!(world.keeper.set_own("example.org", bad, NOW).unwrap_err());
    assert_eq!(world.serial(), serial);
    let mut world = world.restart(NOW + 1);
    assert_eq!(world.keeper.own("example.org").unwrap(), text);
    assert!(world.has("www 600 IN A 198.51.100.7"));
    // Other words around the same records are kept as well.
    let other = "www 600 IN A 198.51.100.7 ; mine";
    world.keeper.set_own("example.org", other, NOW + 2).unwrap();
    assert_eq!(
        world.restart(NOW + 3).keeper.own("example.org").unwrap(),
        other
    );
}

#[test]
fn what_a_program_set_is_on_the_card_and_goes_again() {
    let mut world = World::new();
    world
        .keeper
        .apply(&origin(), &challenge(&["one", "two"]), NOW)
        .unwrap();
    let mut world = world.restart(NOW + 1);
    for text in ["one", "two"] {
        assert!(world.has(&format!("_acme-challenge.mail 60 IN TXT \"{text}\"")));
    }
    world
        .keeper
        .apply(&origin(), &challenge(&["two"]), NOW + 2)
        .unwrap();
    assert!(!world.has("_acme-challenge.mail 60 IN TXT \"one\""));
    world
        .keeper
        .apply(&origin(), &challenge(&[]), NOW + 3)
        .unwrap();
    let world = world.restart(NOW + 4);
    let text = world.keeper.export("example.org", true).unwrap();
    assert!(!text.contains("_acme-challenge"), "{text}");
}

#[test]
fn a_domain_that_comes_back_has_its_keys() {
    let mut world = World::new();
    let tag = world.ksk();
    world.keeper.set_facts(known(&["example.com"]), NOW);
    assert!(world.zones.current(&origin()).is_none());
    world
        .keeper
        .set_facts(known(&["example.com", "example.org"]), NOW + 1);
    assert_eq!(world.keeper.status()[1].domain, "example.org");
    world.keeper.set_facts(known(&["example.org"]), NOW + 2);
    assert_eq!(world.ksk(), tag);
    let said = world.keeper.own("example.com").unwrap_err().to_string();
    assert_eq!(said, "example.com is no domain of this box");
}

#[test]
fn without_an_address_on_the_internet_there_is_no_zone_until_there_is_one() {
    let mut world = World::over(tempfile::tempdir().unwrap());
    let published = Published {
        host: "mail.example.org".into(),
        domains: vec!["example.org".into()],
        dkim: Vec::new(),
    };
    world.keeper.set_facts(facts::facts(&published, None), NOW);
    let status = world.status();
    assert_eq!(status.fault.as_deref(), Some(NOWHERE));
    assert!(
        status.ds.is_empty() && status.keys.is_empty(),
        "of keys that nobody keeps"
    );
    assert!(world.zones.serials().is_empty());
    world.keeper.set_facts(known(&["example.org"]), NOW);
    assert_eq!(world.status().fault, None);
    // The relay is gone: the world still has the addresses in its caches, and the copies answer.
    world.keeper.set_facts(facts::facts(&published, None), NOW);
    assert!(world.zones.current(&origin()).is_some());
}

#[test]
fn a_damaged_card_is_told_and_other_domains_are_served() {
    let world = World::new();
    let path = world.folder.path().join("zone-example.org.json");
    std::fs::write(&path, "{").unwrap();
    let mut world = World::over(world.folder);
    world
        .keeper
        .set_facts(known(&["example.org", "example.com"]), NOW);
    assert_eq!(world.zones.serials().len(), 1);
    let status = world.keeper.status();
    let fault = status[1].fault.as_ref().unwrap();
    assert!(
        fault.ends_with("zone-example.org.json: it is damaged at line 1, column 1"),
        "{fault}"
    );
    assert_eq!(std::fs::read(path).unwrap(), b"{");
}

/// Three years, a look every four days, with and without a secondary that follows a day later.
#[test]
fn zone_signing_keys_are_replaced_by_themselves_and_nothing_ever_expires() {
    for secondary in [false, true] {
        let mut world = World::new();
        world.keeper.set_secondary(secondary);
        let zsk = |world: &World| {
            let keys = world.status().keys;
            let used = keys
                .iter()
                .find(|k| k.role.contains("zone-signing") && k.state == "in use");
            used.unwrap().tag
        };
        let (first, ksk) = (zsk(&world), world.ksk());
        let mut used = std::collections::BTreeSet::from([first]);
        for day in (1..3 * 365).step_by(4) {
            let now = NOW + day * DAY;
            if day % 97 < 4 {
                world = world.restart(now);
                world.keeper.set_secondary(secondary);
            }
            if secondary {
                let serial = world.serial();
                world.keeper.seen(&origin(), serial, now);
            }
            world.keeper.set_facts(known(&["example.org"]), now);
            let signed = world.zones.current(&origin()).unwrap();
            let report = verify::check(&signed, now).unwrap();
            assert!(report.left > 20 * DAY, "day {day}: {} s left", report.left);
            used.insert(zsk(&world));
        }
        assert!((11..=13).contains(&used.len()), "{used:?}");
        assert_eq!(world.ksk(), ksk);
    }
}

#[test]
fn a_key_that_the_registrar_does_not_know_is_not_replaced() {
    let mut world = World::new();
    insta::assert_snapshot!(world.keeper.replace_key("example.org", NOW).unwrap_err());
    assert_eq!(world.status().keys.len(), 2);
}

#[test]
fn another_servers_zone_file_is_taken_in_and_ours_given_out() {
    let mut world = World::new();
    let file = "$ORIGIN example.org.\n$TTL 1h\n@ SOA ns.old.example. h.old.example. 1 2 3 4 5\n@ NS ns.old.example.\n\
                www A 198.51.100.1\n    AAAA 2001:db8::80\n@ MX 5 mx.old.example.\n";
    let answer = world.keeper.import("example.org", file).unwrap();
    let dns::Answer::Import { keep, left_out } = answer else {
        panic!("{answer:?}");
    };
    world.keeper.set_own("example.org", &keep, NOW).unwrap();
    assert!(world.has("www 3600 IN AAAA 2001:db8::80"), "{keep}");
    insta::assert_debug_snapshot!(left_out);
    let text = world.keeper.export("example.org", false).unwrap();
    let made = generate::zone(&known(&["example.org"])[0]).unwrap();
    let again = zonefile::import(&text, &made).unwrap();
    let kept: Vec<&str> = again.keep.iter().map(|given| given.text.as_str()).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
}
