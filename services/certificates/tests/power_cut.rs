//! Power is cut at every write of a certificate's life: chosen, names told, account, order, issued,
//! renewed, another key, chosen otherwise, more names told, and once more.
//!
//! A folder below the store records every write, rename and sync. Then the service's book is opened from
//! what a cut may leave behind at each point: of names that were not synced, any prefix; of a file whose
//! write had not returned, any part. What was there must be whole, and what was acknowledged must be
//! there.

mod medium;

use medium::{Medium, NOW, Op, Recorder, URL, choice, issue, more_zones, open, zones};
use roost_certificates::book::Desk;
use roost_certificates::keys::Published;
use roost_certificates::secret;
use roost_certificates::store::{Account, Pending};
use roost_certificates::zone::Challenge;
use roost_service::certificates::{Choice, MAIL, Zones};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What the owner, the authority and other services know at some point.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    choice: Option<Choice>,
    zones: Option<Zones>,
    wanted: usize,
    account: Option<String>,
    order: Option<String>,
    challenges: usize,
    serial: Option<String>,
    tls_keys: Vec<String>,
}

fn known(desk: &Desk) -> Known {
    let kept = desk.kept(MAIL);
    let hashes = |kept: &roost_certificates::store::Kept| {
        let keys = kept.keys.tls_keys(NOW).into_iter();
        keys.map(|key| key.sha256).collect()
    };
    Known {
        choice: desk.choice(),
        zones: desk.zones(),
        wanted: desk.wanted().len(),
        account: desk.account(URL).and_then(|account| account.uri),
        order: kept.as_ref().and_then(|k| k.order.clone()).map(|o| o.url),
        challenges: kept.as_ref().map_or(0, |k| k.challenges.len()),
        serial: desk.certificate(MAIL).map(|c| c.serial),
        tls_keys: kept.as_ref().map(hashes).unwrap_or_default(),
    }
}

fn account(uri: Option<&str>) -> Account {
    Account {
        directory: URL.into(),
        key: "a key".to_owned().into(),
        uri: uri.map(str::to_owned),
        contact: None,
        caa: vec!["ca.example".into()],
    }
}

/// A whole life; after each step, how many operations there were and what is known.
fn live(folder: &Recorder) -> Vec<(usize, Known)> {
    let desk = open(folder.clone());
    let order = |url: &str| {
        desk.change(MAIL, |kept| {
            let (url, key_sha256) = (url.into(), kept.keys.current.sha256.clone());
            kept.order = Some(Pending { url, key_sha256 });
        })
        .unwrap();
    };
    let challenge = || {
        let (name, zone) = ("mail.roost-lab.org".into(), "roost-lab.org".into());
        let value = "x".into();
        desk.change(MAIL, |k| k.challenges.push(Challenge { name, zone, value }))
            .unwrap();
    };
    let clean = || desk.change(MAIL, |kept| kept.challenges.clear()).unwrap();
    let published = || {
        let next = desk.kept(MAIL).unwrap().keys.next.sha256;
        let published = Published {
            since: NOW,
            ttl_s: 60,
        };
        desk.published(&next, published).unwrap();
        desk.ask(MAIL, |kept| kept.keys.ask(false)).unwrap();
    };
    let steps: Vec<Box<dyn Fn() + '_>> = vec![
        Box::new(|| desk.set(choice()).unwrap()),
        Box::new(|| desk.serve(zones()).unwrap()),
        Box::new(|| desk.keep_account(account(None)).unwrap()),
        Box::new(|| {
            desk.keep_account(account(Some("https://ca.example/1")))
                .unwrap()
        }),
        Box::new(|| order("https://ca.example/order/1")),
        Box::new(challenge),
        Box::new(|| issue(&desk, MAIL, false)),
        Box::new(clean),
        Box::new(|| order("https://ca.example/order/2")),
        Box::new(|| issue(&desk, MAIL, false)),
        Box::new(published),
        Box::new(|| issue(&desk, MAIL, true)),
        Box::new(|| {
            let contact = Some("owner@roost-lab.org".into());
            desk.set(Choice {
                contact,
                ..choice()
            })
            .unwrap();
        }),
        Box::new(|| desk.serve(more_zones()).unwrap()),
        Box::new(|| issue(&desk, MAIL, false)),
    ];
    let mut points = vec![(0, Known::default())];
    for step in steps {
        step();
        points.push((folder.steps(), known(&desk)));
    }
    points
}

/// What may be on the medium when the power was cut after `done` operations, of which `named` changes
/// of names were made for good, and the last write, if it was under way, has `torn` of its bytes.
fn left(log: &[Op], done: usize, named: usize, torn: Option<usize>) -> Recorder {
    let mut files = BTreeMap::new();
    // A file that was written has its bytes from `write_synced` on; its name may be lost.
    for op in &log[..named] {
        apply(&mut files, op);
    }
    if let (Some(torn), Some(Op::Write(name, bytes))) = (torn, log.get(done)) {
        files.insert(name.clone(), bytes[..torn.min(bytes.len())].to_vec());
    }
    Recorder(Arc::new(Mutex::new(Medium { files, log: vec![] })))
}

fn apply(files: &mut BTreeMap<String, Vec<u8>>, op: &Op) {
    match op {
        Op::Write(name, bytes) => {
            files.insert(name.clone(), bytes.clone());
        }
        Op::Rename(from, to) => {
            let bytes = files.remove(from).unwrap();
            files.insert(to.clone(), bytes);
        }
        Op::Sync => {}
    }
}

#[test]
fn whatever_was_acknowledged_is_there_after_a_cut() {
    let folder = Recorder::default();
    let points = live(&folder);
    let log = folder.0.lock().unwrap().log.clone();
    let mut cuts = 0;
    for done in 0..=log.len() {
        // Names are for good up to the last sync at least; beyond it, any prefix may be.
        let synced = log[..done]
            .iter()
            .rposition(|op| matches!(op, Op::Sync))
            .map_or(0, |at| at + 1);
        let before = points.iter().rposition(|(at, _)| *at <= done).unwrap();
        for named in synced..=done {
            for torn in [None, Some(0), Some(1), Some(100), Some(usize::MAX)] {
                cuts += 1;
                let desk = open(left(&log, done, named, torn));
                let found = known(&desk);
                // Within a step the parts of it may be there one by one.
                let (old, new) = (
                    &points[before].1,
                    &points[(before + 1).min(points.len() - 1)].1,
                );
                check(&found, old, new, (done, named, torn));
                if let Some(certificate) = desk.certificate(MAIL) {
                    belongs(&certificate);
                }
            }
        }
    }
    assert!(cuts > 300, "{cuts} cuts");
}

/// Each thing is as it was before the step or after it.
fn check(found: &Known, old: &Known, new: &Known, at: (usize, usize, Option<usize>)) {
    let either =
        |is: bool, what: &str| assert!(is, "{what} at {at:?}: {found:?}, {old:?}, {new:?}");
    either(
        found.choice == old.choice || found.choice == new.choice,
        "choice",
    );
    either(
        found.zones == old.zones || found.zones == new.zones,
        "zones",
    );
    either([old.wanted, new.wanted].contains(&found.wanted), "wanted");
    either(
        found.account == old.account || found.account == new.account,
        "account",
    );
    either(
        found.order == old.order || found.order == new.order,
        "order",
    );
    either(
        [old.challenges, new.challenges].contains(&found.challenges),
        "challenges",
    );
    either(
        found.serial == old.serial || found.serial == new.serial,
        "serial",
    );
    // Before names were told, nobody knows the keys.
    let unknown = old.tls_keys.is_empty();
    either(
        unknown || [&old.tls_keys, &new.tls_keys].contains(&&found.tls_keys),
        "keys",
    );
}

fn belongs(certificate: &roost_service::certificates::Certificate) {
    let leaf = roost_certificates::leaf::Leaf::parse(&certificate.chain_pem).unwrap();
    let key = rcgen::KeyPair::from_pem(&certificate.key_pem).unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    assert_eq!(leaf.key_sha256, roost_certificates::keys::hash(&spki));
}

#[test]
fn the_secret_of_updates_outlives_a_cut() {
    let mut folder = Recorder::default();
    let secret = secret::load_or_make(&mut [&mut folder]).unwrap();
    let log = folder.0.lock().unwrap().log.clone();
    for done in 0..=log.len() {
        for torn in [None, Some(0), Some(10)] {
            let mut cut = left(&log, done, done, torn);
            let found = secret::load_or_make(&mut [&mut cut]).unwrap();
            assert_eq!(found.len(), 32);
            assert_eq!(*found == *secret, done >= 2, "at {done}, {torn:?}");
        }
    }
}

#[test]
fn what_is_damaged_is_begun_anew_and_the_rest_stays() {
    let folder = Recorder::default();
    live(&folder);
    let before = known(&open(folder.clone()));
    let damage = |name: &str| {
        let mut medium = folder.0.lock().unwrap();
        medium.files.insert(name.into(), b"{\"keys\": ".to_vec());
    };
    damage("certificate-mail.json");
    let found = known(&open(folder.clone()));
    assert_eq!(
        (&found.choice, &found.zones, &found.account),
        (&before.choice, &before.zones, &before.account)
    );
    assert_eq!((found.serial, found.tls_keys.len()), (None, 2));
    damage("accounts.json");
    assert_eq!(known(&open(folder.clone())).account, None);
    for (name, rest) in [
        ("zones.json", (true, false)),
        ("choice.json", (false, false)),
    ] {
        damage(name);
        let found = known(&open(folder.clone()));
        assert_eq!((found.choice.is_some(), found.zones.is_some()), rest);
        assert_eq!(found.wanted, 0);
    }
}
