//! Every answer beside BIND's from the same signed zone.

mod serve_support;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use roost_dns::serve::{Limits, Options};
use serve_support::*;
use std::collections::BTreeSet;
use std::net::TcpStream;

/// Names that are there, that are not, that are there in part, in every relation to what is.
const NAMES: &[&str] = &[
    "",
    "ns1",
    "NS1",
    "mail",
    "x.mail",
    "_25._tcp.mail",
    "_tcp.mail",
    "_26._tcp.mail",
    "ent",
    "deep.ent",
    "a.deep.ent",
    "b.deep.ent",
    "x.a.deep.ent",
    "wild",
    "*.wild",
    "x.wild",
    "x.y.wild",
    "host.wild",
    "x.host.wild",
    "ent.wild",
    "x.ent.wild",
    "sub.ent.wild",
    "x.*.wild",
    "alias",
    "x.alias",
    "chain",
    "outside",
    "dangling",
    "towild",
    "tocut",
    "signed",
    "ns1.signed",
    "www.signed",
    "a.b.signed",
    "unsigned",
    "ns2.unsigned",
    "www.unsigned",
    "mixed",
    "MIXED",
    "\\000zero",
    "\\000",
    "\\001one",
    "\\001",
    "\\255",
    "odd\\.dot",
    "odd.dot",
    "dot",
    "unknown",
    "_imaps._tcp",
    "svc",
    "big",
    "aaa",
    "zzzz",
    "nope",
    "0",
    "_",
    "*",
    "x.*",
    "a.very.long.name.that.is.not.there",
];

const TYPES: &[RecordType] = &[
    RecordType::A,
    RecordType::AAAA,
    RecordType::NS,
    RecordType::SOA,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::TXT,
    RecordType::TLSA,
    RecordType::SRV,
    RecordType::DS,
    RecordType::DNSKEY,
    RecordType::NSEC,
    RecordType::HTTPS,
    RecordType::Unknown(65400),
    RecordType::Unknown(65401),
];

/// What must be the same: code, flags, and all records with their TTL and section. Additional records are
/// compared apart: BIND has its own mind about them.
fn normal(message: &Message) -> String {
    let records = |records: &[Record]| {
        let lines = records.iter().map(|record| {
            format!(
                "  {} {} {:?}",
                record.name.to_lowercase(),
                record.ttl,
                record.data
            )
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        lines.join("\n")
    };
    let head = &message.metadata;
    let edns = message
        .edns
        .as_ref()
        .map(|edns| (edns.version(), edns.flags().dnssec_ok));
    format!(
        "{:?} aa {} tc {} ra {} edns {edns:?}\nanswer\n{}\nauthority\n{}",
        head.response_code,
        head.authoritative,
        head.truncation,
        head.recursion_available,
        records(&message.answers),
        records(&message.authorities),
    )
}

fn glue(message: &Message) -> BTreeSet<String> {
    let records = message.additionals.iter();
    records
        .map(|record| format!("{} {:?}", record.name.to_lowercase(), record.data))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_binds() {
    let fixture = Fixture::new();
    let signed = fixture.signed(1, "");
    let limits = Limits {
        rate: 0,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    options.zones.publish(signed).unwrap();
    let (_server, own) = ours(options).await;
    let zone = "zone \"example.org\" { type primary; file \"zone.signed\"; };";
    let bind = named(fixture.folder.path(), zone, free_port());
    let mut streams = [own, bind.address].map(|address| TcpStream::connect(address).unwrap());
    let (mut compared, mut differences) = (0, Vec::new());
    for name in NAMES {
        let name = if name.is_empty() {
            ORIGIN.to_owned()
        } else {
            format!("{name}.{ORIGIN}")
        };
        for kind in TYPES {
            for edns in [None, Some((1232, false)), Some((4096, true))] {
                let query = query(&name, *kind, edns);
                let [mine, theirs] = [0, 1].map(|at| ask_tcp(&mut streams[at], &query).unwrap());
                assert_eq!(mine.queries, theirs.queries);
                // BIND adds addresses where it likes; to a referral they belong.
                let same_glue = theirs.metadata.authoritative || glue(&mine) == glue(&theirs);
                let [mine, theirs] = [&mine, &theirs].map(normal);
                if mine != theirs || !same_glue {
                    let question = format!("{name} {kind} {edns:?}");
                    differences.push(format!("{question}\nOURS {mine}\nBIND {theirs}\n"));
                }
                compared += 1;
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {compared}:\n{}",
        differences.len(),
        differences.join("\n")
    );
    println!("{compared} answers are the same");
}

/// Where ours is not BIND's, and meant to be so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_is_answered_with_one_signed_set() {
    let fixture = Fixture::new();
    let options = Options::default();
    options.zones.publish(fixture.signed(1, "")).unwrap();
    let (_server, own) = ours(options).await;
    for (name, count) in [
        ("example.org.", 3),
        ("alias.example.org.", 2),
        ("x.wild.example.org.", 2),
    ] {
        let answer = ask(own, &query(name, RecordType::ANY, Some((1232, true)))).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        let kinds: BTreeSet<_> = answer.answers.iter().map(Record::record_type).collect();
        assert_eq!(answer.answers.len(), count, "{name}: {kinds:?}");
        assert_eq!(kinds.len(), 2, "one type and its signature: {kinds:?}");
        assert!(kinds.contains(&RecordType::RRSIG));
    }
}
