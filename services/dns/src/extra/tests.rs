use std::sync::LazyLock;

use proptest::prelude::*;

use hickory_proto::rr::{RData, Record, RecordType};

use super::*;
use crate::generate::{self, Facts};
use crate::records::Zone;
use crate::zonefile::line;

/// A zone with everything. Made once: the property tests want it thousands of times.
fn typical() -> &'static Zone {
    static ZONE: LazyLock<Zone> = LazyLock::new(|| {
        let facts = include_str!("../../tests/facts/typical.json");
        generate::zone(&serde_json::from_str::<Facts>(facts).unwrap()).unwrap()
    });
    &ZONE
}

fn put(lines: &[&str]) -> Result<Merged, Vec<Problem>> {
    let zone = typical();
    merge(zone, &read(&zone.origin, lines)?)
}

/// What becomes of lines that are given together.
fn outcome(lines: &[&str]) -> String {
    let mut shown = String::new();
    for line in lines {
        shown += &format!("> {line}\n");
    }
    match put(lines) {
        Ok(Merged { zone, replaced }) => {
            for entry in zone
                .entries
                .iter()
                .filter(|entry| entry.source == Source::Owner)
            {
                shown += &format!("+ {} ; {}\n", line(&zone.origin, &entry.record), entry.why);
            }
            for Replaced { was, line: number } in replaced {
                shown += &format!("- {} (line {number})\n", line(&zone.origin, &was.record));
            }
        }
        Err(problems) => {
            for problem in problems {
                shown += &format!("{problem}\n  {}\n", problem.hint);
            }
        }
    }
    shown
}

#[test]
fn records_that_are_taken() {
    let cases: [&[&str]; 14] = [
        &["nas 3600 IN A 192.0.2.1 ; my NAS", "", "; nothing"],
        &["@ TXT \"google-site-verification=abc\""],
        &["@ TXT \"v=spf1 mx include:shop.example -all\""],
        &["_dmarc TXT \"v=DMARC1; p=none\""],
        &["www CNAME shops.example.com."],
        &["www A 192.0.2.80"],
        &["www A 192.0.2.25", "www A 192.0.2.80"],
        &["www MX 10 mail"],
        &["_pop3s._tcp SRV 0 0 0 ."],
        &[
            "@ CAA 0 issue \"other.example\"",
            "@ CAA 0 issuewild \"other.example\"",
            "nas CAA 0 issue \";\"",
        ],
        &[
            "lab NS ns.lab",
            "ns.lab A 192.0.2.9",
            "lab DS 1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ],
        &["mail._domainkey TXT \"v=DKIM1; p=AAAA\""],
        &[
            "old 99999999 A 192.0.2.1",
            "old 60 A 192.0.2.2",
            "old 60 A 192.0.2.2",
        ],
        &["@ 60 MX 10 mail", "*.dyn TYPE65280 \\# 2 abcd"],
    ];
    insta::assert_snapshot!(cases.map(outcome).join("\n"));
}

#[test]
fn records_that_are_refused() {
    let cases: [&[&str]; 29] = [
        &["www"],
        &["www A"],
        &["www A 192.0.2.1 192.0.2.2"],
        &["www FOO 1", "www LOC 52 22 23.000 N 4 53 32.000 E -2.00m"],
        &["$INCLUDE /etc/passwd"],
        &["www A 192.0.2.1\nwww A 192.0.2.2"],
        &["www TXT \"a"],
        &["www CH A 192.0.2.1"],
        &["www.example.com. A 192.0.2.1"],
        &["@ SOA a b 1 1h 3 4 5", "@ RRSIG nonsense"],
        &["@ NS ns.example.com."],
        &["@ DS 1 13 2 00"],
        &["@ CNAME example.com."],
        &["@ MX 5 mail.example.com."],
        &["@ DNSKEY 257 3 13 AAAA"],
        &["lab DNAME example.com."],
        &["mail A 192.0.2.1"],
        &["mail CNAME example.com."],
        &["ns1 AAAA 2001:db8::1"],
        &["mta-sts A 192.0.2.1"],
        &[
            "_25._tcp.mail TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ],
        &[
            "mail CAA 0 issue \"other.example\"",
            "www CAA 0 issue \";\"",
        ],
        &[
            "_acme-challenge CNAME a",
            "_acme-challenge.mail NS ns.example.com.",
        ],
        &["_mta-sts TXT \"v=STSv1; id=1\""],
        &["roost-rsa._domainkey TXT \"v=DKIM1; p=\""],
        &["www CNAME a", "www A 192.0.2.1", "a MX 0 .", "a MX 1 b"],
        &[
            "b CNAME c",
            "d MX 1 b",
            "e SRV 0 0 1 b",
            "f DS 1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ],
        &["lab NS n", "x.lab TXT x", "*.y NS n", "box NS n"],
        &["s TXT \"v=spf1 -all\"", "s TXT \"v=spf1 mx -all\""],
    ];
    insta::assert_snapshot!(cases.map(outcome).join("\n"));
}

#[test]
fn limits() {
    let many: Vec<String> = (0..=MAX_RECORDS)
        .map(|n| format!("h{n} A 192.0.2.1"))
        .collect();
    let long = format!("a TXT {}", "x".repeat(MAX_BYTES));
    let large: Vec<String> = (0..100).map(|n| format!("a TXT {n:0>200}")).collect();
    let large: Vec<&str> = large.iter().map(String::as_str).collect();
    let origin = &typical().origin;
    let errors = [
        read(origin, &many).unwrap_err(),
        read(origin, &[long]).unwrap_err(),
        put(&large).unwrap_err(),
    ];
    assert_eq!(errors[2].len(), 100);
    let first = errors.map(|problems| format!("{} {}", problems[0], problems[0].hint));
    insta::assert_snapshot!(first.join("\n"));
}

fn any_line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(
        &[
            "@",
            "www",
            "mail",
            "ns1",
            "_dmarc",
            "autoconfig",
            "_imap._tcp",
            "a",
            "b.a",
            "*",
            "*.a",
            "mta-sts",
            "box",
            "roost-rsa._domainkey",
            "_25._tcp.mail",
        ][..],
    );
    let data = prop::sample::select(
        &[
            "A 192.0.2.9",
            "AAAA 2001:db8::9",
            "CNAME a",
            "CNAME www",
            "MX 0 .",
            "MX 10 mail",
            "MX 5 a",
            "TXT hello",
            "TXT \"v=spf1 a -all\"",
            "NS a",
            "NS n.other.",
            "SRV 0 0 1 a",
            "CAA 0 issue \"ca\"",
            "SOA a b 1 2 3 4 5",
            "TLSA 3 1 1 00",
            "DS 1 13 2 00",
        ][..],
    );
    (name, 0..100_000u32, data).prop_map(|(name, ttl, data)| format!("{name} {ttl} {data}"))
}

/// What no owner's record may touch: labels below the domain, and a type.
const NEEDED: [(&str, RecordType); 7] = [
    ("", RecordType::NS),
    ("", RecordType::MX),
    ("mail.", RecordType::A),
    ("ns1.", RecordType::A),
    ("mta-sts.", RecordType::A),
    ("_mta-sts.", RecordType::TXT),
    ("_25._tcp.mail.", RecordType::TLSA),
];

fn set<'a>(zone: &'a Zone, label: &str, kind: RecordType) -> Vec<&'a RData> {
    let name = Name::from_ascii(format!("{label}example.org.")).unwrap();
    let of = |record: &&Record| record.name == name && record.record_type() == kind;
    let records = zone.entries.iter().map(|entry| &entry.record).filter(of);
    records.map(|record| &record.data).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_box_stays_whole(lines in prop::collection::vec(any_line(), 0..5)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let Ok(Merged { zone, replaced }) = put(&lines) else { return Ok(()) };
        let before = typical();
        // Nothing of the box's is lost without being named.
        let ours = zone.entries.iter().filter(|entry| entry.source == Source::Generated).count();
        prop_assert_eq!(ours + replaced.len(), before.entries.len());
        for (label, kind) in NEEDED {
            prop_assert_eq!(set(&zone, label, kind), set(before, label, kind), "{} {}", label, kind);
        }
        for entry in &zone.entries {
            let record = &entry.record;
            let beside = zone.entries.iter().filter(|other| other.record.name == record.name);
            let alias = record.record_type() == RecordType::CNAME;
            prop_assert!(!alias || beside.clone().count() == 1, "{}", record);
            for other in beside.filter(|other| other.record.record_type() == record.record_type()) {
                prop_assert_eq!(other.record.ttl, record.ttl);
            }
            prop_assert!(record.ttl <= MAX_TTL && !entry.why.is_empty());
        }
    }

    #[test]
    fn no_line_makes_it_panic(text in "\\PC{0,80}") {
        let _ = put(&[&text]);
    }
}
