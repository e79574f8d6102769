use super::*;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, NSEC3PARAM};
use hickory_proto::rr::rdata::{A, NS, SOA};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn soa() -> Record {
    let soa = SOA::new(name("ns.z."), name("h.z."), 1, 3600, 600, 86400, 60);
    Record::from_rdata(name("z."), 300, RData::SOA(soa))
}

fn compile(records: Vec<Record>) -> Result<Compiled, Unfit> {
    Compiled::new(Arc::new(Signed {
        origin: name("z."),
        serial: 1,
        records,
        expires: None,
    }))
}

#[test]
fn what_cannot_be_served_is_told() {
    let outside = Record::from_rdata(name("a.y."), 60, RData::A(A::new(192, 0, 2, 1)));
    let outside = compile(vec![soa(), outside]).unwrap_err();
    insta::assert_snapshot!(outside, @"a.y. is not in zone z.");
    insta::assert_snapshot!(compile(vec![]).unwrap_err(), @"zone z. has 0 SOA records; it needs one");
    let param = NSEC3PARAM::new(
        hickory_proto::dnssec::Nsec3HashAlgorithm::SHA1,
        false,
        0,
        vec![],
    );
    let param = RData::DNSSEC(DNSSECRData::NSEC3PARAM(param));
    let hashed = compile(vec![soa(), Record::from_rdata(name("z."), 0, param)]).unwrap_err();
    insta::assert_snapshot!(hashed, @"zone z. has NSEC3 records; only NSEC is served");
}

#[test]
fn no_is_remembered_for_the_shorter_time() {
    let zone = compile(vec![soa()]).unwrap();
    assert_eq!(zone.negative.records[0][4..8], 60u32.to_be_bytes());
    assert_eq!(
        zone.apex().set(TYPE_SOA).unwrap().records[0][4..8],
        300u32.to_be_bytes()
    );
}

/// Names below the zone as labels from the top down.
fn below() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["*", "a", "b", "c"]), 1..5)
}

fn full(labels: &[&str]) -> Name {
    let reversed: Vec<_> = labels.iter().rev().copied().collect();
    name(format!("{}.z.", reversed.join(".")).trim_start_matches('.'))
}

fn show(node: &Node) -> Vec<u8> {
    node.key.to_vec()
}

proptest! {
    /// Where names are found, by the definitions in so many words (RFC 4592, section 3.3.1; RFC 4034, section 4).
    #[test]
    fn places_are_as_defined(
        hosts in prop::collection::btree_set(below(), 0..8),
        cuts in prop::collection::btree_set(below(), 0..2),
        wanted in below(),
    ) {
        let mut owners: BTreeMap<Vec<&str>, bool> = hosts.into_iter().map(|host| (host, false)).collect();
        owners.extend(cuts.iter().cloned().map(|cut| (cut, true)));
        owners.insert(vec![], false);
        let cut_of = |labels: &[&str]| {
            (1..=labels.len()).find(|depth| owners.get(&labels[..*depth]) == Some(&true))
        };
        let mut records = vec![soa()];
        for (labels, cut) in &owners {
            let data = if *cut { RData::NS(NS(name("n.y."))) } else { RData::A(A::new(192, 0, 2, 1)) };
            records.push(Record::from_rdata(full(labels), 60, data));
            if cut_of(labels).is_none_or(|depth| depth == labels.len()) {
                let nsec = NSEC::new_cover_self(name("z."), [RecordType::A]);
                records.push(Record::from_rdata(full(labels), 60, RData::DNSSEC(DNSSECRData::NSEC(nsec))));
            }
        }
        let zone = compile(records).unwrap();
        let exist: BTreeSet<Vec<&str>> =
            owners.keys().flat_map(|labels| (0..=labels.len()).map(|depth| labels[..depth].to_vec())).collect();
        let of = |labels: &[&str]| key(&wire(&full(labels)));
        // Labels of one letter sort as their names do.
        let covering = |labels: &[&str]| {
            let before = owners.keys().rfind(|own| {
                own.as_slice() <= labels && cut_of(own).is_none_or(|depth| depth == own.len())
            });
            of(before.unwrap())
        };
        let enclosers = (0..=wanted.len()).rev().map(|depth| wanted[..depth].to_vec());
        let encloser = enclosers.clone().find(|labels| exist.contains(labels)).unwrap();
        let wildcard = [&encloser[..], &["*"]].concat();
        match zone.place(&of(&wanted), TYPE_A) {
            Place::Cut(cut) => prop_assert_eq!(Some(show(cut)), cut_of(&wanted).map(|depth| of(&wanted[..depth]))),
            _ if cut_of(&wanted).is_some() => prop_assert!(false, "below a delegation"),
            Place::Exact(node) => {
                prop_assert!(exist.contains(&wanted));
                prop_assert_eq!(show(node), of(&wanted));
                prop_assert_eq!(show(zone.covers(node)), covering(&wanted));
            }
            Place::Wildcard(node, covers) => {
                prop_assert!(!exist.contains(&wanted) && exist.contains(&wildcard));
                prop_assert_eq!((show(node), show(covers)), (of(&wildcard), covering(&wanted)));
            }
            Place::Nowhere(covers, no_wildcard) => {
                prop_assert!(!exist.contains(&wanted) && !exist.contains(&wildcard));
                prop_assert_eq!((show(covers), show(no_wildcard)), (covering(&wanted), covering(&wildcard)));
            }
        }
    }
}
