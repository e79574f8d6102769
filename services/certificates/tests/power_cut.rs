//! Power is cut at every write of a certificate's life: chosen, account, order, issued, renewed, another
//! key, and once more.
//!
//! A folder below the store records every write, rename and sync. Then the service's book is opened from
//! what a cut may leave behind at each point: of names that were not synced, any prefix; of a file whose
//! write had not returned, any part. What was there must be whole, and what was acknowledged must be
//! there.

use rcgen::CertificateParams;
use roost_certificates::book::Desk;
use roost_certificates::keys::Published;
use roost_certificates::secret;
use roost_certificates::store::{Account, Folder, Pending, Store};
use roost_certificates::zone::Challenge;
use roost_service::certificates::{Directory, MAIL, Setup};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

const NOW: u64 = 1_800_000_000;
const URL: &str = "https://ca.example/dir";

#[derive(Debug, Clone)]
enum Op {
    Write(String, Vec<u8>),
    Rename(String, String),
    Sync,
}

#[derive(Default)]
struct Medium {
    files: BTreeMap<String, Vec<u8>>,
    log: Vec<Op>,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Medium>>);

impl Folder for Recorder {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().files.get(name).cloned())
    }

    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut medium = self.0.lock().unwrap();
        medium.files.insert(name.into(), bytes.into());
        medium.log.push(Op::Write(name.into(), bytes.into()));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut medium = self.0.lock().unwrap();
        let bytes = medium.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        medium.files.insert(to.into(), bytes);
        medium.log.push(Op::Rename(from.into(), to.into()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().log.push(Op::Sync);
        Ok(())
    }
}

impl Recorder {
    fn steps(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }
}

fn setup() -> Setup {
    Setup {
        mail_host: "mail.roost-lab.org".into(),
        domains: vec!["roost-lab.org".into()],
        portal: None,
        directory: Directory::Url(URL.into()),
        terms_agreed: true,
        contact: None,
        profile: None,
        roots: None,
        secondaries: vec![],
    }
}

/// What the owner, the authority and other services know at some point.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    chosen: bool,
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
        chosen: desk.setup().is_some(),
        account: desk.account(URL).and_then(|account| account.uri),
        order: kept.as_ref().and_then(|k| k.order.clone()).map(|o| o.url),
        challenges: kept.as_ref().map_or(0, |k| k.challenges.len()),
        serial: desk.certificate(MAIL).map(|c| c.serial),
        tls_keys: kept.as_ref().map(hashes).unwrap_or_default(),
    }
}

fn open(folder: Recorder) -> Desk {
    Desk::open(Store::new(folder), 1).unwrap()
}

/// A certificate for this key, as an authority would give it.
fn issue(desk: &Desk, next: bool) {
    let kept = desk.kept(MAIL).unwrap();
    let key = if next {
        &kept.keys.next
    } else {
        &kept.keys.current
    };
    let params = CertificateParams::new(vec!["mail.roost-lab.org".to_owned()]).unwrap();
    let chain = params.self_signed(&key.pair().unwrap()).unwrap().pem();
    let mut keys = kept.keys.clone();
    keys.used(&key.sha256, NOW).unwrap();
    desk.change(MAIL, |kept| {
        kept.keys = keys;
        kept.chain = Some(chain);
        kept.order = None;
        kept.renewal.issued(NOW);
    })
    .unwrap();
}

fn account(uri: Option<&str>) -> Account {
    Account {
        directory: URL.into(),
        key: "a key".to_owned().into(),
        uri: uri.map(str::to_owned),
        contact: None,
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
        Box::new(|| desk.set(setup()).unwrap()),
        Box::new(|| desk.keep_account(account(None)).unwrap()),
        Box::new(|| {
            desk.keep_account(account(Some("https://ca.example/1")))
                .unwrap()
        }),
        Box::new(|| order("https://ca.example/order/1")),
        Box::new(challenge),
        Box::new(|| issue(&desk, false)),
        Box::new(clean),
        Box::new(|| order("https://ca.example/order/2")),
        Box::new(|| issue(&desk, false)),
        Box::new(published),
        Box::new(|| issue(&desk, true)),
        Box::new(|| desk.set(setup()).unwrap()),
        Box::new(|| issue(&desk, false)),
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
        found.chosen == old.chosen || found.chosen == new.chosen,
        "chosen",
    );
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
    // Before the first step returned, nobody knows the keys.
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
    assert_eq!((found.chosen, &found.account), (true, &before.account));
    assert_eq!((found.serial, found.tls_keys.len()), (None, 2));
    damage("accounts.json");
    assert_eq!(known(&open(folder.clone())).account, None);
    damage("setup.json");
    assert!(!known(&open(folder.clone())).chosen);
}
