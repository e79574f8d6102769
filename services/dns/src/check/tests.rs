use super::*;
use crate::parent::{Asked, Heard, Judged, Ours, Said, judge};
use crate::records::Source;
use crate::serve::{Core, Limits, Options, Transport, Zones};
use crate::sign::keys::KeySet;
use hickory_proto::rr::rdata::{A, AAAA, MX, NS, SOA, TXT};
use std::fmt::Write as _;

const NOW: u64 = 1_800_000_000;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn zone(serial: u32, text: &str) -> Signed {
    let of = |owner: &str, data| Record::from_rdata(name(owner), 3600, data);
    let apex = "example.org.";
    let soa = SOA::new(name("ns1.example.org."), name(apex), serial, 1, 1, 1, 1);
    let records = vec![
        of(apex, RData::SOA(soa)),
        of(apex, RData::NS(NS(name("ns1.example.org.")))),
        of(apex, RData::NS(NS(name("ns2.example.org.")))),
        of(apex, RData::MX(MX::new(10, name("mail.example.org.")))),
        of("ns1.example.org.", RData::A(A::new(192, 0, 2, 1))),
        of(
            "ns2.example.org.",
            RData::AAAA(AAAA("2001:db8::2".parse().unwrap())),
        ),
        of(
            "_dmarc.example.org.",
            RData::TXT(TXT::new(vec![text.to_owned()])),
        ),
        // What lies behind a delegation of the owner's.
        of(
            "away.example.org.",
            RData::NS(NS(name("ns.away.example.org."))),
        ),
        of("ns.away.example.org.", RData::A(A::new(198, 51, 100, 9))),
    ];
    Signed {
        origin: name(apex),
        serial,
        records,
        expires: None,
    }
}

/// The same records in the order in which they were made.
fn entries(zone: &Signed) -> Vec<Entry> {
    let made = zone.records[1..].iter().rev();
    made.map(|record| Entry {
        record: record.clone(),
        source: Source::Generated,
        why: String::new(),
    })
    .collect()
}

fn expected(keys: &KeySet) -> Expected {
    let zone = zone(7, "v=DMARC1; p=none");
    let mut entries = entries(&zone);
    entries.reverse();
    Expected {
        wanted: wanted(&zone, &entries),
        places: name_servers(&zone, &entries),
        ds: keys
            .announced()
            .filter_map(|key| key.ds(keys.origin()))
            .collect(),
        zone: Arc::new(zone),
    }
}

/// What a server answers that has this zone, or none.
async fn server(zone: Option<Signed>, expected: &Expected) -> Told {
    let zones = Zones::new();
    if let Some(zone) = zone {
        zones.publish(Arc::new(zone)).unwrap();
    }
    let core = Core::new(Options {
        zones,
        limits: Limits::default(),
        ..Options::default()
    });
    let origin = &expected.zone.origin;
    let mut questions = vec![Question::of(origin, RecordType::SOA)];
    questions.extend(
        expected
            .wanted
            .iter()
            .map(|set| Question::of(&set.name, set.kind)),
    );
    let mut answers = Vec::new();
    for question in &questions {
        let mut message = Message::query();
        message.add_query(hickory_proto::op::Query::query(
            question.name.clone(),
            question.kind,
        ));
        let bytes = message.to_vec().unwrap();
        let from = "127.0.0.1:5300".parse().unwrap();
        let answer = core.answers(&bytes, from, Transport::Tcp).await.remove(0);
        answers.push(crate::ask::answer(&answer, message.metadata.id, question));
    }
    let mut told = Told {
        address: Some("192.0.2.9".parse().unwrap()),
        ..Told::default()
    };
    told.take(answers, origin);
    told
}

fn place(name: &str) -> Place {
    Place {
        name: name.into(),
        servers: Vec::new(),
        port: PORT,
        outside: name.starts_with("ns"),
    }
}

fn heard(said: Said) -> Heard {
    Heard {
        parent: Some(name("org.")),
        servers: 1,
        asked: vec![Asked {
            name: name("a.nic.org."),
            address: "198.51.100.1".parse().unwrap(),
            said: Ok(said),
        }],
        ..Heard::default()
    }
}

fn judged(expected: &Expected, keys: &KeySet, heard: &Heard) -> Judged {
    judge(&Ours::of(&expected.zone, keys), heard, NOW)
}

/// As a table to look at.
fn shown(check: &Check, keys: &KeySet) -> String {
    let mut text = format!("{} at {}\n", check.domain, check.at);
    for place in &check.places {
        let serial = place.serial.map_or("-".into(), |serial| serial.to_string());
        let address = place.address.as_deref().unwrap_or("-");
        let fault = place.fault.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{} {address} {serial} {fault}", place.name);
    }
    for row in &check.rows {
        let sign = if row.right { ' ' } else { '!' };
        let _ = writeln!(text, "{sign} {} {} {:?}", row.name, row.kind, row.expected);
        for (place, found) in check.places.iter().zip(&row.found) {
            if found.as_ref() != Some(&row.expected) && found.is_some() {
                let found = found.as_deref().unwrap_or_default();
                let _ = writeln!(text, "      {}: {found:?}", place.name);
            }
        }
        let asked = row
            .found
            .iter()
            .map(|f| if f.is_some() { 'x' } else { '.' });
        let _ = writeln!(text, "      asked {}", asked.collect::<String>());
        if !row.advice.is_empty() {
            let _ = writeln!(text, "      {}", row.advice);
        }
    }
    for key in keys.ksks() {
        let ds = key.ds(keys.origin()).unwrap().to_string();
        text = text.replace(&ds, "KEY");
    }
    text
}

#[tokio::test]
async fn a_table_in_which_all_is_right() {
    let keys = KeySet::generate(&name("example.org."), NOW).unwrap();
    let expected = expected(&keys);
    let ours = Ours::of(&expected.zone, &keys);
    let heard = heard(Said {
        name_servers: ours.name_servers,
        glue: ours.addresses,
        ds: expected.ds.clone(),
        ttl: 3600,
    });
    let right = server(Some(Signed::clone(&expected.zone)), &expected).await;
    let places = ["box", "secondary", "ns1", "ns2"].map(place);
    // A router that lets nobody out and in again.
    let hairpin = Told {
        fault: Some("it cannot be asked from here: no answer came in time".into()),
        ..Told::default()
    };
    let told = [right.clone(), right.clone(), hairpin.clone(), hairpin];
    let judged = judged(&expected, &keys, &heard);
    let check = table(&expected, &places, &told, &heard, Some(&judged), NOW);
    assert!(
        check
            .rows
            .iter()
            .all(|row| row.right && row.advice.is_empty())
    );
    assert!(check.rows.iter().all(|row| row.found.len() == 5));
    insta::assert_snapshot!(shown(&check, &keys));
}

#[tokio::test]
async fn a_table_of_all_that_can_be_wrong() {
    let keys = KeySet::generate(&name("example.org."), NOW).unwrap();
    let expected = expected(&keys);
    let heard = heard(Said {
        name_servers: [name("ns1.example.org.")].into(),
        glue: [(name("ns1.example.org."), "198.51.100.77".parse().unwrap())].into(),
        ..Said::default()
    });
    let places = ["box", "secondary", "ns1", "ns2"].map(place);
    let told = [
        server(Some(Signed::clone(&expected.zone)), &expected).await,
        // Behind: one advice, though its text is another.
        server(Some(zone(6, "v=DMARC1; p=reject")), &expected).await,
        // Somebody in between.
        server(Some(zone(7, "v=DMARC1; p=reject")), &expected).await,
        server(None, &expected).await,
    ];
    let judged = judged(&expected, &keys, &heard);
    let check = table(&expected, &places, &told, &heard, Some(&judged), NOW);
    insta::assert_snapshot!(shown(&check, &keys));
    let wrong: Vec<&str> = (check.rows.iter())
        .filter(|row| !row.right)
        .map(|row| row.kind.as_str())
        .collect();
    assert_eq!(wrong, ["SOA", "NS", "A", "TXT", "DS"]);
}

#[tokio::test]
async fn a_zone_that_others_answer_for_gets_no_ds_record_yet() {
    let keys = KeySet::generate(&name("example.org."), NOW).unwrap();
    let expected = expected(&keys);
    let heard = heard(Said {
        name_servers: [name("ns.other.example.")].into(),
        ..Said::default()
    });
    let places = [place("box")];
    let mut told = [server(Some(zone(9, "v=DMARC1; p=none")), &expected).await];
    let judged = judged(&expected, &keys, &heard);
    let check = table(&expected, &places, &told, &heard, Some(&judged), NOW);
    insta::assert_snapshot!(shown(&check, &keys));
    // Nobody was found at all.
    told[0] = Told {
        fault: Some("no answer came in time".into()),
        ..Told::default()
    };
    let nobody = Heard {
        fault: Some("the box has got no resolver from its network yet".into()),
        ..Heard::default()
    };
    let check = table(&expected, &places, &told, &nobody, None, NOW);
    assert!(check.rows.iter().all(|row| row.right));
    assert_eq!(
        check.places[1].fault.as_deref(),
        Some("the box has got no resolver from its network yet")
    );
}
