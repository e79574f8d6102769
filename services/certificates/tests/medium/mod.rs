//! A medium that records every write, rename and sync of the store, and what is told to a service on it.

#![allow(dead_code, reason = "each file of tests has its own need of it")]

use rcgen::CertificateParams;
use roost_certificates::book::Desk;
use roost_certificates::store::{Folder, Store};
use roost_service::certificates::{Choice, Directory, Zones};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// What was done to the medium.
#[derive(Debug, Clone)]
pub enum Op {
    Write(String, Vec<u8>),
    Rename(String, String),
    Sync,
}

/// What is on it, and all that was done to it.
#[derive(Default)]
pub struct Medium {
    pub files: BTreeMap<String, Vec<u8>>,
    pub log: Vec<Op>,
}

/// A folder on it.
#[derive(Clone, Default)]
pub struct Recorder(pub Arc<Mutex<Medium>>);

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
    pub fn steps(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }
}

pub const NOW: u64 = 1_800_000_000;
pub const URL: &str = "https://ca.example/dir";
const DOMAIN: &str = "roost-lab.org";

pub fn choice() -> Choice {
    Choice {
        directory: Directory::Url(URL.into()),
        terms_agreed: true,
        ..Choice::default()
    }
}

pub fn zones() -> Zones {
    Zones {
        mail_host: format!("mail.{DOMAIN}"),
        domains: vec![DOMAIN.into()],
        secondaries: vec![],
    }
}

/// One domain more.
pub fn more_zones() -> Zones {
    let mut zones = zones();
    zones.domains.push("other.org".into());
    zones
}

pub fn open(folder: Recorder) -> Desk {
    Desk::open(Store::new(folder), 1).unwrap()
}

/// A certificate as an authority would give it; for the next key or the current one.
pub fn issue(desk: &Desk, id: &str, next: bool) {
    let kept = desk.kept(id).unwrap();
    let key = if next {
        &kept.keys.next
    } else {
        &kept.keys.current
    };
    let params = CertificateParams::new(desk.find(id).unwrap().names()).unwrap();
    let chain = params.self_signed(&key.pair().unwrap()).unwrap().pem();
    let mut keys = kept.keys.clone();
    keys.used(&key.sha256, NOW).unwrap();
    desk.change(id, |kept| {
        kept.keys = keys;
        kept.chain = Some(chain);
        kept.order = None;
        kept.renewal.issued(NOW);
    })
    .unwrap();
}
