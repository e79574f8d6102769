//! A small zone with everything that answers differ by, and a server of it without a network.

use hickory_proto::rr::rdata::{A, CNAME, MX, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use roost_dns::records::Signed;
use roost_dns::serve::{Access, Core, Options, Zones};
use roost_dns::tsig::Key;
use roost_dns::update::{Applier, Apply, ApplyError, Changes, Rule, Writer};
use std::sync::Arc;

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub fn zone(serial: u32) -> Signed {
    let soa = SOA::new(name("ns.z."), name("h.z."), serial, 3600, 600, 86400, 60);
    let a = || RData::A(A::new(192, 0, 2, 1));
    let records = [
        ("z.", RData::SOA(soa)),
        ("z.", RData::NS(NS(name("ns.z.")))),
        ("ns.z.", a()),
        ("a.b.c.z.", a()),
        ("*.w.z.", RData::TXT(TXT::new(vec!["x".into()]))),
        ("m.z.", RData::MX(MX::new(1, name("ns.z.")))),
        ("l.z.", RData::CNAME(CNAME(name("ll.z.")))),
        ("ll.z.", RData::CNAME(CNAME(name("l.z.")))),
        ("o.z.", RData::CNAME(CNAME(name("x.y.")))),
        ("wc.z.", RData::CNAME(CNAME(name("q.w.z.")))),
        ("cut.z.", RData::NS(NS(name("ns.cut.z.")))),
        ("ns.cut.z.", a()),
    ];
    let records = records.map(|(owner, data)| Record::from_rdata(name(owner), 60, data));
    Signed {
        origin: name("z."),
        serial,
        records: records.to_vec(),
        expires: None,
    }
}

/// Whatever was worked out must be a zone still.
struct Publish(Zones);

impl Apply for Publish {
    async fn apply(&self, zone: &Name, changes: Changes) -> Result<(), ApplyError> {
        let mut new = Signed::clone(&self.0.current(zone).unwrap());
        for set in changes.sets {
            let of_set =
                |record: &Record| record.name == set.name && record.record_type() == set.kind;
            new.records.retain(|record| !of_set(record));
            assert!(set.records.iter().all(of_set), "all of a set are of it");
            new.records.extend(set.records);
        }
        self.0
            .publish(Arc::new(new))
            .expect("an update never breaks a zone");
        Ok(())
    }
}

pub fn world(key: &Arc<Key>) -> (Core, Zones) {
    let zones = Zones::new();
    zones.publish(Arc::new(zone(7))).unwrap();
    let types = (1..300).map(RecordType::from).collect();
    let writer = Writer {
        key: Arc::clone(key),
        rules: vec![Rule {
            names: "**".parse().unwrap(),
            types,
        }],
    };
    let options = Options {
        zones: zones.clone(),
        access: Access {
            secondaries: vec![Arc::clone(key)],
            writers: vec![writer],
        },
        updates: Some(Applier::new(Publish(zones.clone()))),
        ..Options::default()
    };
    (Core::new(options), zones)
}

pub fn key() -> Arc<Key> {
    Arc::new(Key::new(name("k."), vec![1; 32]).unwrap())
}

/// What every answer must be like.
pub fn check(request: &[u8], answer: &[u8], limit: usize) {
    assert!(answer.len() <= limit, "{} bytes", answer.len());
    assert_eq!(answer[..2], request[..2], "the request's number");
    assert_eq!(answer[2] & 0x80, 0x80, "an answer");
    assert_eq!(answer[3] & 0x80, 0, "no recursion");
    hickory_proto::op::Message::from_vec(answer).expect("others can read it");
}
