use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_proto::serialize::txt::Parser;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::generate::{self, Facts};
use crate::records::Zone;

fn origin() -> Name {
    Name::from_ascii("example.org.").unwrap()
}

/// A zone with everything. Made once: the property tests want it thousands of times.
fn typical() -> &'static Zone {
    static ZONE: LazyLock<Zone> = LazyLock::new(|| {
        let facts = include_str!("../../tests/facts/typical.json");
        generate::zone(&serde_json::from_str::<Facts>(facts).unwrap()).unwrap()
    });
    &ZONE
}

/// Reads a text without any rule on what may be kept.
fn read_all(text: &str) -> Vec<Result<Record, String>> {
    let mut reader = Reader::new(&origin(), |_| false);
    let mut records = Vec::new();
    for entry in split(text) {
        let step = match entry {
            Ok(words) => reader.read(&words),
            Err(unreadable) => Err(unreadable.reason.to_owned()),
        };
        match step {
            Ok(Step::Record(record)) => records.push(Ok(*record)),
            Ok(Step::Setting) => {}
            Err(reason) => records.push(Err(reason)),
            other => records.push(Err(format!("{other:?}"))),
        }
    }
    records
}

/// What people write in zone files, each with a header that gives `$TTL`.
const QUIRKS: [(&str, &str); 29] = [
    ("plain", "www 3600 IN A 192.0.2.1"),
    ("class before TTL", "www IN 3600 A 192.0.2.1"),
    ("neither", "www A 192.0.2.1"),
    ("lower case", "www in a 192.0.2.1"),
    ("time with units", "www 1h30m A 192.0.2.1"),
    ("origin", "@ A 192.0.2.1"),
    (
        "owner of the entry before",
        "www A 192.0.2.1\n\tA 192.0.2.2",
    ),
    ("other origin", "$ORIGIN lab\nwww A 192.0.2.1"),
    ("two texts", "www TXT \"one two\" three"),
    ("text over lines", "www TXT ( \"one\" ; first\n \"two\" )"),
    (
        "SOA over lines",
        "@ SOA ns1 hostmaster (\n 2026010101 ; serial\n 1h 10m 1w 300 )",
    ),
    ("escaped number", "www TXT \"caf\\195\\169\""),
    ("escaped quote", "www TXT \"a\\\"b;c(\""),
    ("escaped semicolon", "www TXT v=DKIM1\\;p="),
    ("dot in a label", "first\\.last MX 10 mail"),
    ("comment", "www A 192.0.2.1 ; the web server"),
    ("origin as data", "www CNAME @\nftp TXT @ \"@\""),
    ("umlaut in a text", "www TXT \"für 5 €\""),
    ("umlaut in a name", "für A 192.0.2.1"),
    ("umlaut in other data", "www MX 1 für"),
    ("wildcard", "*.lab A 192.0.2.1"),
    ("unknown type", "www TYPE65280 \\# 3 abcdef"),
    ("known type as unknown", "www A \\# 4 c0000201"),
    ("no data", "www TYPE65280 \\# 0\nwww A \\# 0"),
    ("unknown type's name", "www BLA 1"),
    ("CAA", "@ CAA 128 issue \"ca.example; policy=ev\""),
    ("HTTPS", "@ HTTPS 1 . alpn=\"h2,h3\" ipv4hint=192.0.2.1"),
    ("bad address", "www A 192.0.2.256\nftp A 192.0.2.1"),
    ("missing quote", "www TXT \"a\nftp A 192.0.2.1"),
];

#[test]
fn what_each_library_reads() {
    let mut shown = String::new();
    for (title, text) in QUIRKS {
        shown += &format!("--- {title}\n");
        for record in read_all(&format!("$TTL 1d\n{text}\n")) {
            match record {
                Ok(record) => shown += &format!("ours:    {}\n", line(&origin(), &record)),
                Err(reason) => shown += &format!("ours:    error: {reason}\n"),
            }
        }
        let file = format!("$TTL 1d\n{text}\n");
        match Parser::new(file.as_str(), None, Some(origin())).parse() {
            Ok((_, sets)) => {
                for record in sets.values().flat_map(|set| set.records_without_rrsigs()) {
                    shown += &format!("hickory: {}\n", line(&origin(), record));
                }
            }
            Err(error) => shown += &format!("hickory: error: {error}\n"),
        }
        let mut file =
            domain::zonefile::inplace::Zonefile::from(format!("$TTL 86400\n{text}\n").as_str());
        file.set_origin("example.org.".parse().unwrap());
        file.set_default_class(domain::base::iana::Class::IN);
        for entry in file.by_ref() {
            match entry {
                Ok(domain::zonefile::inplace::Entry::Record(record)) => {
                    shown += &format!("domain:  {}\n", line(&origin(), &of_domain(&record)));
                }
                Ok(other) => shown += &format!("domain:  {other:?}\n"),
                Err(error) => {
                    shown += &format!("domain:  error: {error}\n");
                    break;
                }
            }
        }
    }
    insta::assert_snapshot!(shown);
}

fn of_domain(record: &domain::zonefile::inplace::ScannedRecord) -> Record {
    let mut wire = Vec::new();
    record.compose(&mut wire).unwrap();
    Record::read(&mut BinDecoder::new(&wire)).unwrap()
}

/// A zone as BIND's manual and years of editing make it.
const BIND: &str = r#"; zone of a small firm
$ORIGIN org.
$TTL 2d
example IN SOA ns1.hoster.example. hostmaster.example (
        2026010101 ; serial
        1h 15m 4w 1h )
        IN NS ns1.hoster.example.
        IN NS ns2.hoster.example.
        IN MX 10 mail.hoster.example.
        IN TXT "v=spf1 include:hoster.example -all"
        IN TXT "google-site-verification=abc"
        IN A 198.51.100.7
$ORIGIN example.org.
www     IN CNAME shops.example.com.   ; the shop
nas 5m  IN A 192.168.1.5
        IN AAAA fd00::5
first\.last IN MX 10 mail.hoster.example.
lab     NS ns.lab
ns.lab  A 198.51.100.9
host.lab TXT "seen by nobody"
key     TXT ( "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"
              "MIIBCgKCAQEA" )
mail    A 198.51.100.8
_dmarc  TXT "v=DMARC1; p=none"
@ 3600 IN DNSKEY 257 3 13 nonsense
x RRSIG A 13 2 3600 20260101000000 20250101000000 1 example.org. AAAA
bad     A 300.1.2.3
odd     CH TXT "chaos"
outside.example.net. A 192.0.2.1
two     CNAME a
two     A 192.0.2.3
"#;

#[test]
fn a_zone_from_bind() {
    let imported = import(BIND, typical()).unwrap();
    let mut shown = String::from("Kept:\n");
    for given in &imported.keep {
        shown += &format!("{:3} {} ; {}\n", given.line, given.text, given.entry.why);
    }
    shown += "Left out:\n";
    for left in &imported.left {
        shown += &format!("{:3} {}\n      {}\n", left.line, left.text, left.reason);
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn what_was_imported_can_be_given_again() {
    let imported = import(BIND, typical()).unwrap();
    let lines: Vec<&str> = imported
        .keep
        .iter()
        .map(|given| given.text.as_str())
        .collect();
    let given = crate::extra::read(&origin(), &lines).unwrap();
    for (before, after) in imported.keep.iter().zip(&given) {
        assert_eq!(before.entry.record, after.entry.record);
    }
    assert_eq!(given.len(), imported.keep.len());
    crate::extra::merge(typical(), &given).unwrap();
}

#[test]
fn an_exported_zone_holds_nothing_of_the_owners() {
    let zone = typical();
    let lines = zone.entries.iter().map(Commented::from);
    let imported = import(&export(&zone.origin, lines), zone).unwrap();
    assert_eq!(imported.keep, []);
    assert_eq!(imported.left.len(), zone.entries.len());
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let errors = [
        "$INCLUDE /etc/passwd",
        "$generate 1-9 host$ A 192.0.2.$",
        "\n\n$Include x",
    ]
    .map(|text| import(text, typical()).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn limits_on_imports() {
    let error = import(&" ".repeat(MAX_IMPORT + 1), typical()).unwrap_err();
    assert_eq!(error, ImportError::TooLarge(MAX_IMPORT + 1));
    let many: String = (0..2001).map(|n| format!("h{n} A 192.0.2.1\n")).collect();
    assert_eq!(
        import(&many, typical()).unwrap_err(),
        ImportError::TooMany(2001)
    );
}

#[test]
fn a_comment_cannot_become_a_record() {
    let zone = typical();
    let record = &zone.entries[0].record;
    let why = "fine\nevil A 192.0.2.66\r\n$INCLUDE x";
    let text = export(
        &zone.origin,
        [Commented {
            record,
            why: Some(why),
        }],
    );
    let records = read_all(&text);
    assert_eq!(records, [Ok(record.clone())]);
}

fn any_name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..12),
        "[a-z0-9_*-]{1,12}".prop_map(String::into_bytes),
    ];
    (prop::collection::vec(label, 0..4), any::<bool>()).prop_map(|(labels, inside)| {
        let name = Name::from_labels(labels).unwrap_or_default();
        let name = if inside {
            name.append_domain(&origin()).unwrap()
        } else {
            name
        };
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        name
    })
}

fn any_data() -> impl Strategy<Value = RData> {
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT};
    let text = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..256), 1..4);
    prop_oneof![
        any::<[u8; 4]>().prop_map(|a| RData::A(A(a.into()))),
        any::<[u8; 16]>().prop_map(|a| RData::AAAA(AAAA(a.into()))),
        any_name().prop_map(|name| RData::CNAME(CNAME(name))),
        any_name().prop_map(|name| RData::NS(NS(name))),
        any_name().prop_map(|name| RData::PTR(PTR(name))),
        (any::<u16>(), any_name()).prop_map(|(n, name)| RData::MX(MX::new(n, name))),
        (any::<[u16; 3]>(), any_name())
            .prop_map(|([a, b, c], name)| RData::SRV(SRV::new(a, b, c, name))),
        (any_name(), any_name(), any::<[u32; 2]>(), any::<[u16; 3]>()).prop_map(
            |(m, r, [serial, minimum], [a, b, c])| {
                RData::SOA(SOA::new(
                    m,
                    r,
                    serial,
                    a.into(),
                    b.into(),
                    c.into(),
                    minimum,
                ))
            }
        ),
        text.prop_map(|texts| {
            RData::TXT(TXT::from_bytes(texts.iter().map(Vec::as_slice).collect()))
        }),
        // Any type's number with any bytes that the library takes for its data.
        (257u16..300, prop::collection::vec(any::<u8>(), 1..40)).prop_filter_map("data", raw),
        (65280u16..65290, prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(code, data)| {
            RData::Unknown {
                code: code.into(),
                rdata: NULL::with(data),
            }
        }),
    ]
}

/// Data of a type from its wire form.
fn raw((kind, data): (u16, Vec<u8>)) -> Option<RData> {
    let mut wire = vec![0];
    wire.extend(kind.to_be_bytes());
    wire.extend([0, 1, 0, 0, 0, 0]);
    wire.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    wire.extend(data);
    let record = Record::read(&mut BinDecoder::new(&wire)).ok()?;
    (convert::wire(&record) == wire).then_some(record.data)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read_again(
        records in prop::collection::vec((any_name(), 0..u32::MAX >> 1, any_data()), 0..6),
    ) {
        let records: Vec<Record> = records
            .into_iter()
            .map(|(name, ttl, data)| Record::from_rdata(name, ttl, data))
            .collect();
        let lines = records.iter().map(|record| Commented { record, why: Some("Why; \"not\" (") });
        let text = export(&origin(), lines);
        let again: Vec<Record> = read_all(&text).into_iter().collect::<Result<_, _>>()
            .map_err(|reason| TestCaseError::fail(format!("{reason}\n{text}")))?;
        prop_assert_eq!(&again, &records, "{}", text);
        prop_assert!(again.iter().all(|record| record.dns_class == DNSClass::IN));
    }

    #[test]
    fn no_file_makes_it_panic(text in "(\\PC|[\\\\\"();@$. \t\r\n0-9A-Za-z]){0,200}") {
        let _ = import(&text, typical());
    }

    #[test]
    fn no_mix_of_pieces_makes_it_panic(pieces in prop::collection::vec(prop::sample::select(&[
        "@", "www", " ", "\t", "\n", "IN", "3600", "A", "TXT", "MX", "NS", "CNAME", "SRV", "CAA", "TLSA", "HTTPS",
        "NSEC", "DS", "RRSIG", "NAPTR", "TYPE1", "TYPE65280", "\\#", "4", "c0000201", "\"", "\"x\"", "(", ")", ";",
        "\\", "\\0", "\\255", "\\999", ".", "..", "192.0.2.1", "$TTL", "$ORIGIN", "example.org.", "1w",
        "alpn=", "-", "é", "\u{0}",
    ][..]), 0..40)) {
        let text = pieces.join(" ");
        let _ = import(&text, typical());
        let _ = import(&pieces.concat(), typical());
    }

    #[test]
    fn every_line_is_accounted_for(lines in prop::collection::vec("[a-z]{1,3} (A 192\\.0\\.2\\.[1-9]|CNAME [a-z]|MX 1 [a-z]|TXT x|NS n|DS 1 13 2 00|BAD)", 0..12)) {
        let imported = import(&lines.join("\n"), typical()).unwrap();
        let mut seen: Vec<usize> = imported.keep.iter().map(|given| given.line)
            .chain(imported.left.iter().map(|left| left.line)).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (1..=lines.len()).collect::<Vec<_>>());
        prop_assert!(crate::extra::merge(typical(), &imported.keep).is_ok());
    }
}
