//! Power is cut at every write of a zone's life: served, owner's records, a challenge, a choice, certificates,
//! another key, signed anew.
//!
//! Each step writes the zone's file once, beside the old one and then over it (`roost_service::files::write`).
//! So a cut leaves the old file, the old one and any part of the new one beside it, or the new one. From each,
//! the next start has to serve the zone with all that was acknowledged and a higher serial number. What could
//! not be written must be neither served nor acknowledged.

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use roost_dns::facts::facts;
use roost_dns::generate::Facts;
use roost_dns::keeper::Keeper;
use roost_dns::serve::Zones;
use roost_dns::sign::rollover::{self, Observed, Parent, Timing};
use roost_dns::sign::serial;
use roost_dns::state::States;
use roost_dns::update::{Changes, Replaced};
use roost_service::dns::{Dmarc, DmarcState};
use roost_service::mail::Published;
use roost_service::tunnel::Outside;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const DOMAIN: &str = "example.org";
const FILE: &str = "zone-example.org.json";
const NEW: &str = "zone-example.org.json.new";

type Files = BTreeMap<String, Vec<u8>>;

fn origin() -> Name {
    Name::from_ascii("example.org.").unwrap()
}

fn known(certified: bool) -> Vec<Facts> {
    let published = Published {
        host: "mail.example.org".into(),
        domains: vec![DOMAIN.into()],
        dkim: Vec::new(),
    };
    let outside = Outside {
        addresses: vec!["192.0.2.1".parse().unwrap()],
        second_name_server: Vec::new(),
        secondary: None,
    };
    let mut all = facts(&published, Some(&outside));
    if certified {
        all[0].certified = ["mail", "mta-sts"]
            .map(|name| format!("{name}.{DOMAIN}"))
            .into();
    }
    all
}

fn challenge() -> Changes {
    let name = Name::from_ascii("_acme-challenge.mail.example.org.").unwrap();
    let data = RData::TXT(TXT::new(vec!["proof".to_owned()]));
    Changes {
        by: Name::from_ascii("acme.").unwrap(),
        sets: vec![Replaced {
            name: name.clone(),
            kind: RecordType::TXT,
            records: vec![Record::from_rdata(name, 60, data)],
        }],
    }
}

/// A step of the zone's life; says whether it was acknowledged.
struct Step {
    what: &'static str,
    at: u64,
    certified: bool,
    act: fn(&mut Keeper, u64) -> bool,
}

fn is_well(keeper: &Keeper) -> bool {
    keeper.status()[0].fault.is_none()
}

fn steps() -> Vec<Step> {
    let step = |what, at, certified, act| Step {
        what,
        at,
        certified,
        act,
    };
    vec![
        step("served", NOW, false, |keeper, now| {
            keeper.set_facts(known(false), now);
            is_well(keeper)
        }),
        step("the owner's records", NOW, false, |keeper, now| {
            keeper.set_own(DOMAIN, "www A 198.51.100.7", now).is_ok()
        }),
        step("a challenge", NOW + 1, false, |keeper, now| {
            keeper.apply(&origin(), &challenge(), now).is_ok()
        }),
        step("other words", NOW + 1, false, |keeper, now| {
            let text = "www A 198.51.100.7 ; my page";
            keeper.set_own(DOMAIN, text, now).is_ok()
        }),
        step("a choice", NOW + 2, false, |keeper, now| {
            let choice = Some(Dmarc::Reject);
            keeper.set_dmarc(DOMAIN, choice, now).is_ok()
        }),
        step("certificates", NOW + DAY, true, |keeper, now| {
            keeper.set_facts(known(true), now);
            is_well(keeper)
        }),
        step("another key", NOW + DAY, true, |keeper, now| {
            keeper.replace_key(DOMAIN, now).is_ok()
        }),
        step("signed anew", NOW + 10 * DAY, true, |keeper, now| {
            keeper.look(now);
            is_well(keeper)
        }),
        step("enforced", NOW + 15 * DAY, true, |keeper, now| {
            keeper.look(now);
            is_well(keeper)
        }),
    ]
}

/// What others were told.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    own: String,
    challenge: bool,
    dmarc: Option<DmarcState>,
    policy: Option<String>,
    keys: Vec<u16>,
}

fn told(keeper: &Keeper) -> Told {
    let zone = keeper.status().remove(0);
    let text = keeper.export(DOMAIN, false).unwrap();
    let mut policies = keeper.policies().into_iter();
    Told {
        own: keeper.own(DOMAIN).unwrap().to_owned(),
        challenge: text.contains("proof"),
        dmarc: zone.dmarc,
        policy: policies.next().map(|policy| policy.text),
        keys: zone.keys.iter().map(|key| key.tag).collect(),
    }
}

fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// What a cut may leave behind, while nothing of the step was acknowledged yet.
fn cuts(before: &Files, after: &Files) -> Vec<Files> {
    let new = &after[FILE];
    let beside = [0, 1, new.len() / 2, new.len() - 1, new.len()].map(|length| {
        let mut files = before.clone();
        files.insert(NEW.into(), new[..length].to_vec());
        files
    });
    [vec![before.clone()], beside.to_vec()].concat()
}

/// Starts from these files at the time of a step.
fn start(from: &Files, step: &Step) -> (Keeper, u32) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in from {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let zones = Zones::new();
    let mut keeper = Keeper::new(States::new(folder.path()), zones.clone());
    keeper.set_facts(known(step.certified), step.at);
    assert_eq!(keeper.status()[0].fault, None, "cut before: {}", step.what);
    let serial = zones.current(&origin()).unwrap().serial;
    (keeper, serial)
}

/// A zone whose key the registrar knows: else it cannot be replaced.
fn trusted(folder: &Path) {
    let states = States::new(folder);
    let mut kept = states.load(&origin(), NOW - DAY).unwrap();
    let ds = kept.keys.ksks().filter_map(|key| key.ds(&origin()));
    let parent = Some(Parent {
        ds: ds.collect(),
        ttl: 3600,
        at: NOW - DAY,
    });
    let seen = Observed {
        served: None,
        parent,
    };
    let events = rollover::step(&mut kept.keys, NOW - DAY, &seen, &Timing::default()).unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    states.save(&kept).unwrap();
}

#[test]
fn whatever_a_cut_leaves_behind_the_zone_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    trusted(folder.path());
    let zones = Zones::new();
    let serial_now = || zones.current(&origin()).map(|zone| zone.serial);
    let mut keeper = Keeper::new(States::new(folder.path()), zones.clone());
    let mut acknowledged: Option<(Told, u32)> = None;
    let mut starts = 0;
    for step in steps() {
        let before = files(folder.path());
        // A folder in the way: nothing can be written.
        let obstacle = folder.path().join(NEW);
        fs::create_dir(&obstacle).unwrap();
        let serial_before = serial_now();
        assert!(!(step.act)(&mut keeper, step.at), "{}", step.what);
        assert_eq!(serial_now(), serial_before, "{}", step.what);
        fs::remove_dir(&obstacle).unwrap();
        assert_eq!(files(folder.path()), before, "{}", step.what);

        assert!((step.act)(&mut keeper, step.at), "{}", step.what);
        let after = files(folder.path());
        assert_eq!(after.len(), 1);
        assert_ne!(after, before, "{}", step.what);
        for cut in cuts(&before, &after) {
            let (keeper, serial) = start(&cut, &step);
            starts += 1;
            if let Some((old, old_serial)) = &acknowledged {
                assert!(serial::is_newer(serial, *old_serial), "{}", step.what);
                let again = told(&keeper);
                let policy = again.policy.clone();
                // What time and facts make of it is no promise of before.
                let old = Told {
                    policy,
                    ..old.clone()
                };
                assert_eq!(again, old, "cut before: {}", step.what);
            }
        }
        let (again, serial) = start(&after, &step);
        let now = (told(&keeper), serial_now().unwrap());
        assert_eq!(told(&again), now.0, "cut after: {}", step.what);
        assert!(serial::is_newer(serial, now.1), "{}", step.what);
        acknowledged = Some(now);
    }
    assert_eq!(starts, 9 * 6);
}
