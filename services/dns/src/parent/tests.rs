use super::*;
use crate::ask::Question;
use crate::sign::keys::KeySet;
use crate::sign::rollover::{self, Observed, Parent, Served, Timing};
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::dnssec::{Algorithm, DigestType};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, NS, SOA};
use hickory_proto::rr::{RData, Record, RecordType};
use proptest::prelude::*;
use roost_service::dns::DelegationState;

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn keys() -> KeySet {
    KeySet::generate(&name("example.org."), NOW).unwrap()
}

fn address(server: &str, address: &str) -> (Name, IpAddr) {
    (name(server), address.parse().unwrap())
}

fn ours(keys: &KeySet) -> Ours<'_> {
    Ours {
        name_servers: [name("ns1.example.org."), name("ns2.example.org.")].into(),
        addresses: [
            address("ns1.example.org.", "192.0.2.1"),
            address("ns1.example.org.", "2001:db8::1"),
            address("ns2.example.org.", "192.0.2.1"),
            address("ns2.example.org.", "2001:db8::2"),
        ]
        .into(),
        keys,
    }
}

/// What a parent says that has all of it right, but no DS record.
fn right(keys: &KeySet) -> Said {
    let ours = ours(keys);
    Said {
        name_servers: ours.name_servers,
        glue: ours.addresses,
        ..Said::default()
    }
}

fn own(keys: &KeySet) -> Vec<DS> {
    let ds = keys.announced().map(|key| key.ds(keys.origin()).unwrap());
    ds.collect()
}

fn strange(tag: u16) -> DS {
    DS::new(
        tag,
        Algorithm::ECDSAP256SHA256,
        DigestType::SHA256,
        vec![7; 32],
    )
}

fn heard(all: &[Said]) -> Heard {
    let asked = all.iter().enumerate().map(|(number, said)| Asked {
        name: name(&format!("{}.nic.org.", ["a", "b", "c"][number])),
        address: format!("198.51.100.{}", number + 1).parse().unwrap(),
        said: Ok(said.clone()),
    });
    Heard {
        parent: Some(name("org.")),
        servers: all.len(),
        asked: asked.collect(),
        ..Heard::default()
    }
}

/// The advice, with what differs from run to run made the same.
fn advice(keys: &KeySet, heard: &Heard) -> String {
    let judged = judge(&ours(keys), heard, NOW);
    let mut text = format!(
        "{:?}: {}",
        judged.delegation.state, judged.delegation.advice
    );
    for (number, key) in keys.ksks().enumerate() {
        let ds = key.ds(keys.origin()).unwrap().to_string();
        text = text.replace(&ds, &format!("KEY{number}"));
        text = text.replace(&format!("tag {}", key.tag()), &format!("tag TAG{number}"));
    }
    text
}

#[test]
fn advice_in_plain_words() {
    let keys = keys();
    let right = right(&keys);
    let with = |change: &dyn Fn(&mut Said)| {
        let mut said = right.clone();
        change(&mut said);
        advice(&keys, &heard(&[said]))
    };
    let elsewhere = |said: &mut Said| {
        said.name_servers = [name("ns.other.example.")].into();
        said.glue.clear();
    };
    let own = own(&keys);
    let mut text = Vec::new();
    let mut tell = |what: &str, said: String| text.push(format!("{what}\n    {said}"));
    tell("nothing there", with(&|said| *said = Said::default()));
    tell("another's", with(&elsewhere));
    tell(
        "another's, which signs",
        with(&|said| {
            elsewhere(said);
            (said.ds, said.ttl) = (vec![strange(12345)], 86_400);
        }),
    );
    tell(
        "another's, with our DS already",
        with(&|said| {
            elsewhere(said);
            said.ds = own.clone();
        }),
    );
    tell(
        "another's too",
        with(&|said| {
            said.name_servers.insert(name("ns.other.example."));
        }),
    );
    tell(
        "one of ours",
        with(&|said| {
            said.name_servers.remove(&name("ns2.example.org."));
        }),
    );
    tell(
        "wrong addresses",
        with(&|said| {
            said.ds = own.clone();
            said.glue = [address("ns1.example.org.", "198.51.100.77")].into();
        }),
    );
    tell("no DS", with(&|_| {}));
    tell("all is well", with(&|said| said.ds = own.clone()));
    tell(
        "a DS too many",
        with(&|said| said.ds = [vec![strange(12345)], own.clone()].concat()),
    );
    tell("another's DS", with(&|said| said.ds = vec![strange(12345)]));
    tell(
        "two of them",
        with(&|said| said.ds = vec![strange(12345), strange(99)]),
    );
    let mut other = right.clone();
    other.ds = own.clone();
    tell(
        "not all the same",
        advice(&keys, &heard(&[other, right.clone()])),
    );
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn who_cannot_be_asked_is_told() {
    let keys = keys();
    let mut text = Vec::new();
    text.push(advice(
        &keys,
        &Heard {
            fault: Some("the box has got no resolver from its network yet".into()),
            ..Heard::default()
        },
    ));
    let mut blocked = heard(&[Said::default()]);
    blocked.asked[0].said = Err("no answer came in time".into());
    text.push(advice(&keys, &blocked));
    blocked.second = Some(Second {
        proven: false,
        said: Said {
            glue: Default::default(),
            ..right(&keys)
        },
    });
    text.push(advice(&keys, &blocked));
    insta::assert_snapshot!(text.join("\n\n"));
}

/// A registrar that makes the DS record from the key chooses the digest.
#[test]
fn another_digest_of_our_key_is_our_key() {
    let keys = keys();
    let key = keys.ksks().next().unwrap();
    let ds = |kind| {
        let digest = key.dnskey().to_digest(keys.origin(), kind).unwrap();
        DS::new(
            key.tag(),
            Algorithm::ECDSAP256SHA256,
            kind,
            digest.as_ref().to_vec(),
        )
    };
    let state = |ds| {
        let said = Said {
            ds: vec![ds],
            ..right(&keys)
        };
        judge(&ours(&keys), &heard(&[said]), NOW).delegation.state
    };
    assert_eq!(state(ds(DigestType::SHA384)), DelegationState::Secure);
    let mut belief = Belief::default();
    for now in [NOW, NOW + HOUR] {
        belief.hear(Word::Given(vec![ds(DigestType::SHA384)], 60), now);
    }
    assert_eq!(belief.fact(&keys).unwrap().ds, own(&keys));
}

#[test]
fn words_of_those_who_contradict_each_other_or_are_too_few_do_not_count() {
    let keys = keys();
    let secure = Said {
        ds: own(&keys),
        ttl: 300,
        ..right(&keys)
    };
    let open = right(&keys);
    let given = |said: &Said| Word::Given(said.ds.clone(), said.ttl);
    let all = heard(&[secure.clone(), secure.clone(), secure.clone()]);
    assert_eq!(Word::of(&all), given(&secure));
    let two = heard(&[secure.clone(), open.clone()]);
    assert_eq!(Word::of(&two), Word::Doubtful);
    assert_eq!(Word::of(&heard(&[])), Word::None);
    let mut few = all.clone();
    few.asked.truncate(1);
    assert_eq!(Word::of(&few), Word::None, "one of three");

    // What a resolver has checked counts more, what it has not counts nothing.
    let second = |said: &Said, proven| {
        Some(Second {
            proven,
            said: said.clone(),
        })
    };
    for (own_resolver, second, word) in [
        (false, second(&open, false), given(&secure)),
        (false, second(&secure, true), given(&secure)),
        (false, second(&open, true), Word::Doubtful),
        (true, second(&secure, true), given(&secure)),
        (true, second(&secure, false), Word::Unproven),
        (true, None, Word::Unproven),
    ] {
        let heard = Heard {
            own_resolver,
            second,
            ..all.clone()
        };
        assert_eq!(Word::of(&heard), word, "{heard:?}");
    }
    let none = Heard {
        own_resolver: true,
        ..heard(&[open.clone(), open.clone()])
    };
    assert_eq!(
        Word::of(&none),
        given(&open),
        "most parents prove no absence"
    );
}

#[test]
fn nothing_is_believed_before_it_was_heard_for_an_hour() {
    let keys = keys();
    let ours = || Word::Given(own(&keys), 300);
    let lie = || Word::Given(vec![strange(1)], 300);
    let mut belief = Belief::default();
    belief.hear(ours(), NOW);
    belief.hear(ours(), NOW + HOUR - 1);
    assert_eq!(belief.fact(&keys), None);
    belief.hear(Word::None, NOW + HOUR);
    assert_eq!(belief.fact(&keys), None, "nobody has said it again");
    belief.hear(ours(), NOW + 2 * HOUR);
    let fact = belief.fact(&keys).unwrap();
    assert_eq!((fact.at, fact.ttl), (NOW + 2 * HOUR, 300));
    // What was not asked changes nothing; another word begins anew.
    belief.hear(Word::Unproven, NOW + 3 * HOUR);
    assert_eq!(belief.fact(&keys).unwrap().at, NOW + 2 * HOUR);
    belief.hear(lie(), NOW + 4 * HOUR);
    belief.hear(ours(), NOW + 5 * HOUR);
    assert_eq!(belief.fact(&keys), None);
    belief.hear(ours(), NOW + 6 * HOUR);
    belief.hear(Word::Doubtful, NOW + 7 * HOUR);
    assert_eq!(belief.fact(&keys), None);
    // The clock was set.
    belief.hear(ours(), NOW + 9 * HOUR);
    belief.hear(ours(), NOW);
    assert_eq!(belief.fact(&keys), None);
}

/// A liar who has all of the parent's name servers for two hours of four, for a month, while a key is being
/// replaced: the key that the parent really has stays.
#[test]
fn a_liar_who_is_there_half_of_the_time_takes_no_key_away() {
    let mut keys = keys();
    let timing = Timing::default();
    let truth = own(&keys);
    let mut belief = Belief::default();
    let mut serial = 1;
    let mut run = |keys: &mut KeySet, from: u64, hours: u64, lies: bool| {
        for minutes in (0..hours * 60).step_by(10) {
            let now = from + minutes * 60;
            let announced = own(keys);
            let ds = match announced.last() {
                Some(lie) if lies && minutes % 240 < 120 => vec![lie.clone()],
                _ => truth.clone(),
            };
            belief.hear(Word::Given(ds, 3600), now);
            let seen = Observed {
                served: Some(Served { serial, at: now }),
                parent: belief.fact(keys),
            };
            if !rollover::step(keys, now, &seen, &timing)
                .unwrap()
                .is_empty()
            {
                serial += 1;
                keys.signed(serial);
            }
        }
        from + hours * HOUR
    };
    let now = run(&mut keys, NOW, 72, false);
    rollover::roll_ksk(&mut keys, now).unwrap();
    keys.signed(1);
    let now = run(&mut keys, now, 30 * 24, true);
    assert_eq!(keys.ksks().count(), 2);
    let parent = Parent {
        ds: truth.clone(),
        ttl: 3600,
        at: now,
    };
    assert_eq!(rollover::Chain::of(&keys, &parent), rollover::Chain::Proven);
    assert!(
        own(&keys).contains(&truth[0]),
        "nor is the owner told to remove it"
    );
}

fn answer(code: ResponseCode, authoritative: bool) -> Message {
    let mut message = Message::response(1, OpCode::Query);
    message.metadata.response_code = code;
    message.metadata.authoritative = authoritative;
    message
}

fn ns(owner: &str, server: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::NS(NS(name(server))))
}

#[test]
fn a_referral_is_read_and_what_is_none_is_told() {
    let zone = name("example.org.");
    let mut message = answer(ResponseCode::NoError, false);
    message.add_authority(ns("Example.Org.", "NS1.example.org."));
    message.add_authority(ns("example.com.", "ns.example.com."));
    let glue = |owner: &str| Record::from_rdata(name(owner), 60, RData::A(A::new(192, 0, 2, 1)));
    message.add_additional(glue("ns1.EXAMPLE.org."));
    message.add_additional(glue("ns.example.com."));
    let said = referral(&message, &zone).unwrap();
    assert_eq!(said.name_servers, [name("ns1.example.org.")].into());
    assert_eq!(said.glue, [address("ns1.example.org.", "192.0.2.1")].into());
    // There is no such domain.
    let soa = SOA::new(name("a."), name("b."), 1, 2, 3, 4, 5);
    let mut message = answer(ResponseCode::NXDomain, true);
    message.add_authority(Record::from_rdata(name("org."), 60, RData::SOA(soa)));
    assert_eq!(referral(&message, &zone), Ok(Said::default()));
    assert_eq!(ds_records(&message, &zone), Ok((Vec::new(), 0)));
    // Refers to the root, or refuses.
    let mut message = answer(ResponseCode::NoError, false);
    message.add_authority(ns(".", "a.root-servers.net."));
    insta::assert_snapshot!(referral(&message, &zone).unwrap_err(), @"it does not answer for the zone above");
    let message = answer(ResponseCode::Refused, false);
    insta::assert_snapshot!(referral(&message, &zone).unwrap_err(), @"it answers: Query Refused");
    insta::assert_snapshot!(ds_records(&message, &zone).unwrap_err(), @"it answers: Query Refused");
}

#[test]
fn resolvers_are_read() {
    let text = "# made by init\nnameserver 127.0.0.53\nsearch home\nnameserver\nnameserver x\nnameserver fe80::1%eth0\n\
                nameserver 2001:db8::53 # second\n";
    let read: Vec<String> = resolvers(text).iter().map(ToString::to_string).collect();
    assert_eq!(read, ["127.0.0.53", "2001:db8::53"]);
}

proptest! {
    /// A referral in which some bytes are others: what is taken from it is about the zone and its name servers.
    #[test]
    fn what_is_damaged_is_refused_or_about_the_zone(changes in proptest::collection::vec((0usize..200, any::<u8>()), 0..8)) {
        let zone = name("example.org.");
        let mut message = answer(ResponseCode::NoError, false);
        message.add_query(hickory_proto::op::Query::query(zone.clone(), RecordType::NS));
        message.add_authority(ns("example.org.", "ns1.example.org."));
        message.add_additional(Record::from_rdata(name("ns1.example.org."), 60, RData::A(A::new(192, 0, 2, 1))));
        let ds = RData::DNSSEC(DNSSECRData::DS(strange(7)));
        message.add_answer(Record::from_rdata(zone.clone(), 60, ds));
        let mut bytes = message.to_vec().unwrap();
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        if let Some(message) = crate::ask::answer(&bytes, id, &Question::of(&zone, RecordType::NS)) {
            if let Ok(said) = referral(&message, &zone) {
                prop_assert!(said.glue.iter().all(|(name, _)| said.name_servers.contains(name)));
                prop_assert!(said.name_servers.iter().all(|name| *name == name.to_lowercase()));
            }
            if let Ok((ds, ttl)) = ds_records(&message, &zone) {
                prop_assert!(!ds.is_empty() || ttl == 0);
            }
        }
    }
}
