//! Other people's programs read the zones that this crate writes, and this crate reads theirs.
//!
//! A missing program is a failure, never a silent pass.

use std::path::Path;
use std::process::{Command, Output};

use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::txt::Parser;
use roost_dns::extra;
use roost_dns::generate::{self, Facts};
use roost_dns::records::Zone;
use roost_dns::zonefile::{self, Commented};

const PACKAGES: &str = "apt-get install bind9-utils ldnsutils knot-dnssecutils";

/// Zones that can be delegated, by the name of their facts.
const FACTS: [(&str, &str); 3] = [
    ("typical", include_str!("facts/typical.json")),
    ("no_certificate", include_str!("facts/no_certificate.json")),
    ("second_domain", include_str!("facts/second_domain.json")),
];

/// Records of many kinds that an owner could have.
const OWNERS: [&str; 17] = [
    "nas 300 A 192.0.2.77 ; \"my\" (NAS)",
    "nas AAAA 2001:db8::77",
    "*.apps CNAME nas",
    "lab NS ns.lab",
    "ns.lab A 192.0.2.78",
    "lab DS 12345 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "text TXT \"quote \\\" backslash \\\\ semicolon ; umlaut \\195\\164 nul \\000\" second",
    "nas SSHFP 4 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "svc HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.77",
    "_foo._udp SVCB 2 nas port=8443",
    "sip NAPTR 10 20 \"S\" \"SIP+D2U\" \"\" _sip._udp",
    "place LOC \\# 16 001216138b3556c88000000000989680",
    "odd TYPE65280 \\# 4 deadbeef",
    "key OPENPGPKEY AAECAw==",
    "host HINFO \"ARM64\" Linux",
    "first\\.last TXT name",
    "_443._tcp.nas TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
];

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run {program}: {error}. Install it with: {PACKAGES}")
        })
}

/// Runs a program that must succeed, and gives all that it says.
fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

fn zone(facts: &str) -> Zone {
    let facts: Facts = serde_json::from_str(facts).unwrap();
    generate::zone(&facts).unwrap()
}

fn with_owners(lines: &[&str]) -> Zone {
    let zone = zone(FACTS[0].1);
    let given = extra::read(&zone.origin, lines).unwrap_or_else(|problems| panic!("{problems:#?}"));
    extra::merge(&zone, &given)
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
        .zone
}

/// The zone as a file that name servers load: the signer's SOA is in front.
fn file(zone: &Zone) -> String {
    let server = zone
        .entries
        .iter()
        .find_map(|entry| match &entry.record.data {
            RData::NS(server) => Some(server.0.clone()),
            _ => None,
        });
    let mailbox = zone.origin.prepend_label("hostmaster").unwrap();
    let soa = SOA::new(
        server.unwrap(),
        mailbox,
        2_026_010_101,
        3600,
        900,
        1_209_600,
        300,
    );
    let soa = Record::from_rdata(zone.origin.clone(), 3600, RData::SOA(soa));
    let first = Commented {
        record: &soa,
        why: None,
    };
    let rest = zone.entries.iter().map(Commented::from);
    zonefile::export(&zone.origin, std::iter::once(first).chain(rest))
}

/// Has every checker read a zone file and find nothing, not even something to warn of.
fn checked(origin: &Name, path: &Path) {
    let origin = origin.to_ascii();
    let path = path.to_str().unwrap();
    let strict = [
        "-k", "fail", "-m", "fail", "-M", "fail", "-n", "fail", "-r", "fail", "-S", "fail", "-T",
        "warn", "-W", "warn", "-i", "local", &origin, path,
    ];
    let said = succeed("named-checkzone", &strict);
    assert!(
        said.trim_end().ends_with("\nOK") && !said.contains("warning"),
        "{said}"
    );
    let said = succeed("kzonecheck", &["-o", &origin, path]);
    assert!(
        !said.contains("warning") && !said.contains("error"),
        "{said}"
    );
    let said = succeed("ldns-read-zone", &["-c", path]);
    let lines = said
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty());
    let text = std::fs::read_to_string(path).unwrap();
    let origin = Name::from_ascii(&origin).unwrap();
    let ours = zonefile::records(&text, &origin).unwrap();
    assert_eq!(lines.count(), ours.len(), "{said}");
}

#[test]
fn checkers_accept_generated_zones() {
    let folder = tempfile::tempdir().unwrap();
    for (title, facts) in FACTS {
        let zone = zone(facts);
        let path = folder.path().join(title);
        std::fs::write(&path, file(&zone)).unwrap();
        checked(&zone.origin, &path);
    }
}

#[test]
fn checkers_accept_owners_records() {
    let folder = tempfile::tempdir().unwrap();
    let zone = with_owners(&OWNERS);
    let path = folder.path().join("zone");
    std::fs::write(&path, file(&zone)).unwrap();
    checked(&zone.origin, &path);
}

#[test]
fn hickory_reads_a_generated_zone() {
    for (_, facts) in FACTS {
        let zone = zone(facts);
        let text = file(&zone);
        let (origin, sets) = Parser::new(text.as_str(), None, Some(zone.origin.clone()))
            .parse()
            .unwrap();
        assert_eq!(origin, zone.origin);
        let read: Vec<&Record> = sets
            .values()
            .flat_map(|set| set.records_without_rrsigs())
            .collect();
        assert_eq!(read.len(), zone.entries.len() + 1);
        for entry in &zone.entries {
            assert!(read.contains(&&entry.record), "{}", entry.record);
        }
    }
}

/// BIND signs the zone, with NSEC or NSEC3, and publishes CDS and CDNSKEY; what this crate reads of it and
/// writes again is still whole for BIND's and NLnet Labs' verifiers.
#[test]
fn a_signed_zone_survives() {
    // BIND writes LOC in words, which this crate's reader does not know.
    let known: Vec<&str> = OWNERS
        .into_iter()
        .filter(|line| !line.contains(" LOC "))
        .collect();
    for nsec3 in [
        &[][..],
        &["-3", "-", "-H", "0"][..],
        &["-3", "aabb", "-A"][..],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let zone = with_owners(&known);
        let origin = zone.origin.to_ascii();
        std::fs::write(at("zone"), file(&zone)).unwrap();
        let keygen = ["-q", "-K", &at(""), "-a", "ECDSAP256SHA256"];
        succeed(
            "dnssec-keygen",
            &[&keygen[..], &["-f", "KSK", "-P", "sync", "now", &origin]].concat(),
        );
        succeed("dnssec-keygen", &[&keygen[..], &[&origin]].concat());
        let (from, to, keys) = (at("zone"), at("signed"), at(""));
        let sign = ["-S", "-K", &keys, "-d", &keys, "-o", &origin, "-f", &to];
        succeed("dnssec-signzone", &[&sign[..], nsec3, &[&from]].concat());

        let signed = std::fs::read_to_string(&to).unwrap();
        let records = zonefile::records(&signed, &zone.origin).unwrap();
        for kind in [
            RecordType::CDS,
            RecordType::CDNSKEY,
            RecordType::DNSKEY,
            RecordType::RRSIG,
        ] {
            assert!(
                records.iter().any(|record| record.record_type() == kind),
                "{kind}"
            );
        }
        let lines = records.iter().map(|record| Commented { record, why: None });
        let again = zonefile::export(&zone.origin, lines);
        assert!(
            !again.contains("RRSIG \\#") && !again.contains("NSEC \\#"),
            "{again}"
        );
        let path = folder.path().join("again");
        std::fs::write(&path, again).unwrap();
        checked(&zone.origin, &path);
        let path = path.to_str().unwrap();
        succeed("dnssec-verify", &["-o", &origin, path]);
        succeed("ldns-verify-zone", &[path]);
    }
}
