//! Zones to sign: a fixed one, random ones, and their text for other people's tools.

use std::fmt::Write;

use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{
    BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict,
};
use proptest::prelude::*;
use roost_dns::sign::{self, keys::KeySet};

pub const DAY: u64 = 86_400;
/// 26 November 2026.
pub const NOW: u64 = 1_795_680_000;

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub fn origin() -> Name {
    name("example.org.")
}

pub fn keys() -> KeySet {
    KeySet::generate(&origin(), NOW - DAY).unwrap()
}

/// A record from presentation form, as far as hickory reads the type.
pub fn record(owner: &str, ttl: u32, kind: RecordType, text: &str) -> Record {
    let data = RData::try_from_str(kind, text).unwrap();
    Record::from_rdata(name(owner), ttl, data)
}

/// A record from the octets of its data.
pub fn raw(owner: Name, ttl: u32, kind: RecordType, octets: &[u8]) -> Record {
    let mut decoder = BinDecoder::new(octets);
    let data = RData::read(&mut decoder, kind, Restrict::new(octets.len() as u16)).unwrap();
    Record::from_rdata(owner, ttl, data)
}

/// A mail domain with all that is special in it: wildcard, empty non-terminals, delegations with and without DS.
pub fn mail() -> Vec<Record> {
    let ds = format!("12345 13 2 {}", "AB".repeat(32));
    vec![
        record("example.org.", 3600, RecordType::NS, "ns1.example.org."),
        record("example.org.", 3600, RecordType::NS, "NS2.Example.NET."),
        record("example.org.", 3600, RecordType::MX, "10 Mail.example.org."),
        record("example.org.", 300, RecordType::TXT, "\"v=spf1 mx -all\""),
        record("ns1.example.org.", 3600, RecordType::A, "192.0.2.1"),
        record("mail.example.org.", 600, RecordType::A, "192.0.2.1"),
        record("Mail.example.org.", 900, RecordType::AAAA, "2001:db8::1"),
        record(
            "_25._tcp.mail.example.org.",
            900,
            RecordType::TXT,
            "\"below an empty non-terminal\"",
        ),
        record("*.example.org.", 900, RecordType::MX, "0 ."),
        record(
            "www.example.org.",
            900,
            RecordType::CNAME,
            "Mail.example.org.",
        ),
        record(
            "sub.example.org.",
            900,
            RecordType::NS,
            "ns.sub.example.org.",
        ),
        record("ns.sub.example.org.", 900, RecordType::A, "192.0.2.3"),
        record("safe.example.org.", 900, RecordType::NS, "ns1.example.org."),
        record("safe.example.org.", 900, RecordType::DS, &ds),
    ]
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "a",
        "b",
        "A",
        "mail",
        "_25",
        "_tcp",
        "*",
        "z-1",
        "zz",
        "xn--bcher-kva",
        "y\u{1}",
        "w.w",
        "back\\slash",
        "0",
    ]);
    prop_oneof![
        12 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => Just(vec![0xc8]),
        1 => Just(vec![0, b'"']),
        1 => Just(vec![b'l'; 63]),
    ]
}

fn owner() -> impl Strategy<Value = Name> {
    prop::collection::vec(label(), 0..4).prop_map(|labels| {
        // A star that is not first is a plain label, which the tools see differently; it is not our matter.
        let labels = labels
            .into_iter()
            .enumerate()
            .filter(|(i, label)| *i == 0 || label != b"*");
        Name::from_labels(labels.map(|(_, label)| label))
            .unwrap()
            .append_domain(&origin())
            .unwrap()
    })
}

fn octets(target: Name) -> impl Strategy<Value = (RecordType, Vec<u8>)> {
    let target = target.to_bytes().unwrap();
    let with = |prefix: &[u8]| [prefix, target.as_slice()].concat();
    let (mx, srv, rp) = (
        with(&[0, 10]),
        with(&[0, 1, 0, 2, 0, 25]),
        with(b"\x04Host\x00"),
    );
    let (svcb, afsdb) = (with(&[0, 1]), with(&[0, 1]));
    let naptr = with(b"\x00\x01\x00\x02\x01S\x03SIP\x00");
    // Knot wants addresses for name servers within the zone.
    let outside = b"\x02Ns\x07Example\x03net\x00".to_vec();
    let caa = b"\x00\x05issueca.example;x".to_vec();
    let tlsa = [&[3, 1, 1][..], &[7; 32]].concat();
    let ds = [&[1, 2, 13, 2][..], &[9; 32]].concat();
    prop_oneof![
        8 => any::<[u8; 4]>().prop_map(|a| (RecordType::A, a.to_vec())),
        4 => any::<[u8; 16]>().prop_map(|a| (RecordType::AAAA, a.to_vec())),
        2 => prop::collection::vec(any::<u8>(), 0..255)
            .prop_map(|text| (RecordType::TXT, [&[text.len() as u8][..], &text].concat())),
        2 => Just((RecordType::CNAME, target.clone())),
        3 => Just((RecordType::NS, outside)),
        2 => Just((RecordType::PTR, target.clone())),
        2 => Just((RecordType::DS, ds)),
        1 => Just((RecordType::DNAME, target)),
        2 => Just((RecordType::MX, mx)),
        2 => Just((RecordType::SRV, srv)),
        1 => Just((RecordType::from(17), rp)),
        1 => Just((RecordType::from(18), afsdb)),
        1 => Just((RecordType::NAPTR, naptr)),
        1 => Just((RecordType::HTTPS, svcb)),
        1 => Just((RecordType::CAA, caa)),
        1 => Just((RecordType::TLSA, tlsa)),
        1 => prop::collection::vec(any::<u8>(), 1..9).prop_map(|data| (RecordType::from(65_280), data)),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    let ttl = prop::sample::select(vec![0, 60, 900, 3600, 200_000]);
    (owner(), owner(), ttl).prop_flat_map(|(owner, target, ttl)| {
        octets(target).prop_map(move |(kind, data)| raw(owner.clone(), ttl, kind, &data))
    })
}

/// Random zones. A record that can't be in a zone with those before it is left out; some are there twice.
pub fn any_zone() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec((any_record(), any::<bool>()), 0..40).prop_map(|wanted| {
        let mut zone = vec![record(
            "example.org.",
            3600,
            RecordType::NS,
            "ns1.example.net.",
        )];
        for (record, twice) in wanted {
            zone.push(record.clone());
            if sign::check(&origin(), &zone).is_err() {
                zone.pop();
            } else if twice {
                zone.push(record);
            }
        }
        zone
    })
}

/// Records as a zone file, with all data as octets (RFC 3597): nothing of it is interpreted before the tools do.
pub fn text(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        let mut octets = Vec::new();
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        record.data.emit(&mut encoder).unwrap();
        let kind = u16::from(record.record_type());
        write!(
            text,
            "{} {} IN TYPE{kind} \\# {}",
            owner_text(&record.name),
            record.ttl,
            octets.len()
        )
        .unwrap();
        text.push(' ');
        for octet in octets {
            write!(text, "{octet:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn owner_text(name: &Name) -> String {
    let mut text = String::new();
    for octet in name
        .iter()
        .flat_map(|label| label.iter().map(Some).chain([None]))
    {
        match octet {
            Some(octet) if octet.is_ascii_alphanumeric() || b"-_*".contains(octet) => {
                text.push(char::from(*octet))
            }
            Some(octet) => write!(text, "\\{octet:03}").unwrap(),
            None => text.push('.'),
        }
    }
    text
}
