//! What a signed zone looks like, what is signed again, and what is refused.

use std::collections::BTreeSet;

use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use proptest::prelude::*;
use roost_dns::records::Signed;
use roost_dns::sign::keys::KeySet;
use roost_dns::sign::policy::MAX_TTL;
use roost_dns::sign::verify::{self, Fault};
use roost_dns::sign::{self, Policy, SignError};

use crate::zones::{self, DAY, NOW, name, record};

fn sign(records: &[Record], keys: &KeySet, now: u64, previous: Option<&Signed>) -> Signed {
    let serial = previous.map_or(1, |previous| previous.serial + 1);
    sign::zone(records, keys, now, &Policy::default(), serial, previous).unwrap()
}

fn rrsig(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}

/// How many signatures of `new` are not in `old`.
fn made(old: &Signed, new: &Signed) -> usize {
    let old: BTreeSet<&[u8]> = old
        .records
        .iter()
        .filter_map(rrsig)
        .map(|rrsig| rrsig.sig())
        .collect();
    new.records
        .iter()
        .filter_map(rrsig)
        .filter(|rrsig| !old.contains(rrsig.sig()))
        .count()
}

/// The zone in words, without what is different in each run.
fn outline(signed: &Signed) -> String {
    let line = |record: &Record| {
        let owner = format!("{} {} {}", record.name, record.ttl, record.record_type());
        match (rrsig(record), record.record_type()) {
            (Some(rrsig), _) => {
                let input = rrsig.input();
                format!("{owner} {} labels={}", input.type_covered, input.num_labels)
            }
            (None, RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY) => owner,
            _ => format!("{owner} {}", record.data),
        }
    };
    // Keys sort by their random octets.
    let mut lines: Vec<String> = signed.records.iter().map(line).collect();
    lines.dedup();
    lines.join("\n")
}

#[test]
fn a_mail_zone_in_outline() {
    insta::assert_snapshot!(outline(&sign(&zones::mail(), &zones::keys(), NOW, None)));
}

#[test]
fn one_change_costs_few_signatures() {
    let keys = zones::keys();
    let mut records = zones::mail();
    let first = sign(&records, &keys, NOW, None);
    // The same again: SOA alone has changed, by its number.
    let second = sign(&records, &keys, NOW + 60, Some(&first));
    assert_eq!(made(&first, &second), 1);
    // Another address: SOA and A.
    let at = records
        .iter()
        .position(|record| record.name == name("mail.example.org."))
        .unwrap();
    records[at] = record("mail.example.org.", 600, RecordType::A, "198.51.100.1");
    let third = sign(&records, &keys, NOW + 120, Some(&second));
    assert_eq!(made(&second, &third), 2);
    // A new name: SOA, its A and NSEC, and the NSEC before it.
    records.push(record(
        "new.example.org.",
        600,
        RecordType::A,
        "198.51.100.1",
    ));
    let fourth = sign(&records, &keys, NOW + 180, Some(&third));
    assert_eq!(made(&third, &fourth), 4);
    verify::check(&fourth, NOW + 180).unwrap();
}

#[test]
fn signatures_are_made_anew_in_time_and_not_before() {
    let keys = zones::keys();
    let policy = Policy::default();
    let first = sign(&zones::mail(), &keys, NOW, None);
    let due = policy.resign_at(first.expires.unwrap());
    assert!((NOW + 6 * DAY..=NOW + 8 * DAY).contains(&due));
    assert!(!sign::is_due(&first, &keys, due - 1, &policy));
    assert!(sign::is_due(&first, &keys, due, &policy));
    let second = sign(&zones::mail(), &keys, due, Some(&first));
    let anew = made(&first, &second);
    let all = second.records.iter().filter_map(rrsig).count();
    assert!(
        (2..all).contains(&anew),
        "{anew} of {all}: spread over two days"
    );
    let report = verify::check(&second, due).unwrap();
    assert!(report.left >= policy.resign_left());
}

#[test]
fn another_key_signs_everything_anew() {
    let first = sign(&zones::mail(), &zones::keys(), NOW, None);
    let keys = zones::keys();
    assert!(sign::is_due(&first, &keys, NOW, &Policy::default()));
    let second = sign(&zones::mail(), &keys, NOW, Some(&first));
    assert_eq!(
        made(&first, &second),
        second.records.iter().filter_map(rrsig).count()
    );
}

/// The clock was two months ahead, signed, and was set right.
#[test]
fn signatures_of_a_wrong_clock_are_not_kept() {
    let keys = zones::keys();
    let ahead = sign(&zones::mail(), &keys, NOW + 60 * DAY, None);
    assert!(sign::is_due(&ahead, &keys, NOW, &Policy::default()));
    assert!(matches!(
        verify::check(&ahead, NOW),
        Err(Fault::Signature {
            what: "has not begun",
            ..
        })
    ));
    let right = sign(&zones::mail(), &keys, NOW, Some(&ahead));
    verify::check(&right, NOW).unwrap();
}

#[test]
fn an_expired_zone_is_found_out() {
    let signed = sign(&zones::mail(), &zones::keys(), NOW, None);
    let expires = signed.expires.unwrap();
    let report = verify::check(&signed, expires - 7 * DAY).unwrap();
    assert!(!report.is_alarm());
    assert!(
        verify::check(&signed, expires - 7 * DAY + 1)
            .unwrap()
            .is_alarm()
    );
    assert!(matches!(
        verify::check(&signed, expires),
        Err(Fault::Signature {
            what: "has ended",
            ..
        })
    ));
}

/// Whatever single record is taken out of a signed zone, or has its TTL changed, it is found out; but for glue,
/// which is not signed.
#[test]
fn no_record_can_be_missing_or_changed() {
    let signed = sign(&zones::mail(), &zones::keys(), NOW, None);
    verify::check(&signed, NOW).unwrap();
    for at in 0..signed.records.len() {
        let victim = &signed.records[at];
        if victim.name == name("ns.sub.example.org.") {
            continue;
        }
        let mut without = signed.clone();
        without.records.remove(at);
        assert!(verify::check(&without, NOW).is_err(), "without {victim}");
        if victim.name != name("sub.example.org.") && victim.record_type() != RecordType::NS {
            let mut other = signed.clone();
            other.records[at].ttl += 1;
            assert!(verify::check(&other, NOW).is_err(), "other TTL: {victim}");
        }
    }
}

#[test]
fn what_is_no_zone_is_refused_in_words() {
    let a = |owner: &str| record(owner, 60, RecordType::A, "192.0.2.1");
    let ns = |owner: &str| record(owner, 60, RecordType::NS, "ns1.example.net.");
    let txt = |owner: &str| record(owner, 60, RecordType::TXT, "\"x\"");
    let cname = |owner: &str, to: &str| record(owner, 60, RecordType::CNAME, to);
    let dname = zones::raw(name("d.example.org."), 60, RecordType::DNAME, b"\x01x\x00");
    let mut chaos = a("c.example.org.");
    chaos.dns_class = DNSClass::CH;
    let wrong = [
        vec![a("example.com.")],
        vec![zones::raw(
            name("example.org."),
            60,
            RecordType::NSEC,
            b"\x00\x00\x01\x40",
        )],
        vec![chaos],
        vec![ns("sub.example.org."), txt("sub.example.org.")],
        vec![ns("sub.example.org."), ns("b.sub.example.org.")],
        vec![ns("*.example.org.")],
        vec![dname, a("b.d.example.org.")],
        vec![record(
            "s.example.org.",
            60,
            RecordType::DS,
            &format!("1 13 2 {}", "00".repeat(32)),
        )],
        vec![cname("w.example.org.", "a.example."), txt("w.example.org.")],
        vec![
            cname("w.example.org.", "a.example."),
            cname("W.example.org.", "b.example."),
        ],
    ];
    let errors = wrong.into_iter().map(|mut records| {
        records.push(ns("example.org."));
        sign::check(&zones::origin(), &records)
            .unwrap_err()
            .to_string()
    });
    let mut errors: Vec<String> = errors.collect();
    errors.push(
        sign::check(&zones::origin(), &[a("example.org.")])
            .unwrap_err()
            .to_string(),
    );
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_name_too_long_for_hostmaster_is_refused() {
    let long = name(&format!(
        "{}{}",
        format!("{}.", "a".repeat(63)).repeat(3),
        "b".repeat(55)
    ));
    let mut ns = record("example.org.", 60, RecordType::NS, "ns1.example.net.");
    ns.name = long.clone();
    assert!(matches!(
        sign::check(&long, &[ns]),
        Err(SignError::LongOrigin(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A zone that was signed step by step, with old signatures kept, is as good as one signed at once; and at
    /// every moment of signing it outlives the secondary.
    #[test]
    fn kept_signatures_are_as_good_as_new_ones(
        versions in prop::collection::vec((zones::any_zone(), 0..20 * DAY), 2..5),
    ) {
        let keys = zones::keys();
        let mut now = NOW;
        let mut previous: Option<Signed> = None;
        for (records, later) in versions {
            now += later;
            let signed = sign(&records, &keys, now, previous.as_ref());
            let report = verify::check(&signed, now).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
            prop_assert!(report.left >= Policy::default().resign_left());
            prop_assert!(signed.records.iter().all(|record| record.ttl <= MAX_TTL));
            prop_assert!(!sign::is_due(&signed, &keys, now, &Policy::default()));
            previous = Some(signed);
        }
    }
}
