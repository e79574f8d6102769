use std::collections::BTreeMap;

use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::*;
use crate::zonefile::{Commented, export};

fn facts(json: &str) -> Facts {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn typical() -> Facts {
    facts(include_str!("../../tests/facts/typical.json"))
}

fn shown(facts: &Facts) -> String {
    let zone = zone(facts).unwrap();
    let lines = zone.entries.iter().map(Commented::from);
    export(&zone.origin, lines)
}

#[test]
fn a_box_with_everything() {
    insta::assert_snapshot!(shown(&typical()));
}

#[test]
fn a_box_without_a_relay() {
    insta::assert_snapshot!(shown(&facts(include_str!(
        "../../tests/facts/no_relay.json"
    ))));
}

#[test]
fn a_further_domain() {
    insta::assert_snapshot!(shown(&facts(include_str!(
        "../../tests/facts/second_domain.json"
    ))));
}

#[test]
fn a_box_without_a_certificate() {
    insta::assert_snapshot!(shown(&facts(include_str!(
        "../../tests/facts/no_certificate.json"
    ))));
}

#[test]
fn the_policy() {
    insta::assert_snapshot!(mta_sts_policy(&typical()).unwrap().replace('\r', "<CR>"));
}

fn policy_id(facts: &Facts) -> String {
    let zone = zone(facts).unwrap();
    let name = zone.origin.prepend_label("_mta-sts").unwrap();
    let entry = zone
        .entries
        .iter()
        .find(|entry| entry.record.name == name)
        .unwrap();
    entry.record.data.to_string()
}

#[test]
fn the_policy_id_changes_with_the_policy_and_only_then() {
    let before = policy_id(&typical());
    let mut other = typical();
    other.ipv4 = vec!["192.0.2.99".parse().unwrap()];
    other.dkim.clear();
    other.mail_host = "MAIL.example.org".into();
    assert_eq!(policy_id(&other), before);
    let policy = |mode, max_age| Some(MtaSts { mode, max_age });
    for changed in [
        policy(Mode::Testing, 604_800),
        policy(Mode::Enforce, 604_801),
    ] {
        let mut other = typical();
        other.mta_sts = changed;
        assert_ne!(policy_id(&other), before);
    }
    let mut other = typical();
    other.mail_host = "mx.example.org".into();
    other.certified.push("mx.example.org".into());
    assert_ne!(policy_id(&other), before);
}

#[test]
fn a_policy_needs_both_certificates() {
    for missing in ["mta-sts.example.org", "mail.example.org"] {
        let mut facts = typical();
        facts.certified.retain(|name| name != missing);
        assert!(!shown(&facts).contains("mta-sts"), "{missing}");
    }
}

#[test]
fn a_mail_host_that_is_the_domain() {
    let mut facts = typical();
    facts.mail_host = "example.org".into();
    let zone = zone(&facts).unwrap();
    let spf = |entry: &&Entry| {
        entry.record.name == zone.origin && entry.record.data.to_string().contains("v=spf1")
    };
    assert_eq!(zone.entries.iter().filter(spf).count(), 1);
}

#[test]
fn an_rsa_key_is_split() {
    let zone = zone(&typical()).unwrap();
    let lengths: Vec<usize> = zone
        .entries
        .iter()
        .filter(|entry| entry.record.name.to_ascii().starts_with("roost-rsa."))
        .flat_map(|entry| match &entry.record.data {
            RData::TXT(text) => text.txt_data.iter().map(|part| part.len()).collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(lengths, [255, typical().dkim[0].text.len() - 255]);
}

#[test]
fn the_relays_name_servers() {
    let v4 = ["192.0.2.1".parse().unwrap()];
    let v6 = [
        "2001:db8::1".parse().unwrap(),
        "2001:db8::2".parse().unwrap(),
    ];
    let [first, second] = &NameServer::of_the_relay("example.org", &v4, &v6)[..] else {
        panic!("two servers");
    };
    assert_eq!(
        (first.name.as_str(), second.name.as_str()),
        ("ns1.example.org", "ns2.example.org")
    );
    assert_eq!((&first.ipv6[..], &second.ipv6[..]), (&v6[..1], &v6[1..]));
    assert_eq!((&first.ipv4[..], &second.ipv4[..]), (&v4[..], &v4[..]));
}

#[test]
fn what_is_refused() {
    type Change = fn(&mut Facts);
    let changes: [Change; 15] = [
        |facts| facts.domain = "localhost".into(),
        |facts| facts.domain = "exa mple.org".into(),
        |facts| facts.domain = "müller.example".into(),
        |facts| facts.domain = "192.0.2.1".into(),
        |facts| facts.mail_host = "-mail.example.org".into(),
        |facts| facts.mail_host = "mail..example.org".into(),
        |facts| facts.web = vec!["www.example.com".into()],
        |facts| facts.dkim[0].text = "v=DKIM1; p=\"\n".into(),
        |facts| facts.dkim[0].selector = "a b".into(),
        |facts| facts.dmarc.as_mut().unwrap().reports = Some("a,b@example.org".into()),
        |facts| facts.mta_sts.as_mut().unwrap().max_age = 40_000_000,
        |facts| facts.tls_keys[0].current = "+f".repeat(32),
        |facts| facts.tls_keys[0].ports = vec![0],
        |facts| facts.acme.as_mut().unwrap().account = Some("https://ca.example/1; x=y".into()),
        |facts| {
            facts.domain = format!("{0}.{0}.{0}.example", "a".repeat(60));
            facts.web.clear();
            facts.dkim[0].selector = "s".repeat(63);
        },
    ];
    let errors: Vec<String> = changes
        .into_iter()
        .map(|change| {
            let mut facts = typical();
            change(&mut facts);
            zone(&facts).unwrap_err().to_string()
        })
        .collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn unknown_facts_are_refused() {
    let json = r#"{"domain":"example.org","mail_host":"mail.example.org","colour":"red"}"#;
    let error = serde_json::from_str::<Facts>(json).unwrap_err().to_string();
    assert!(error.contains("colour"), "{error}");
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        "[a-z]{40,63}",
        Just("ns1".to_owned()),
        Just("autoconfig".to_owned()),
        Just("mta-sts".to_owned()),
        Just("WWW".to_owned()),
    ]
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let names = (
        prop::collection::vec(label(), 1..4),
        prop::option::of(label()),
        prop::option::of(label()),
        prop::collection::vec(label(), 0..4),
        any::<bool>(),
    );
    let addresses = (
        prop::collection::vec(any::<[u8; 4]>(), 0..3),
        prop::collection::vec(any::<[u8; 16]>(), 0..3),
    );
    let rest = (
        prop::collection::vec(any::<(u8, u16)>(), 0..14),
        prop::collection::vec((label(), "[A-Za-z0-9+/]{0,1200}"), 0..3),
        any::<[bool; 5]>(),
        prop::collection::vec(1..u16::MAX, 0..4),
    );
    (names, addresses, rest).prop_map(|(names, (v4, v6), (offers, dkim, flags, ports))| {
        let (domain, host, portal, web, same_zone) = names;
        let domain = format!("{}.example", domain.join("."));
        let ipv4: Vec<_> = v4.into_iter().map(Into::into).collect();
        let ipv6: Vec<_> = v6.into_iter().map(Into::into).collect();
        let base = if same_zone {
            domain.as_str()
        } else {
            "other.example"
        };
        let mail_host = host.map_or(base.to_owned(), |host| format!("{host}.{base}"));
        let services = [
            Service::Imaps,
            Service::Imap,
            Service::Jmap,
            Service::Submissions,
            Service::Sieve,
        ];
        let [certified, autoconfig, acme, next, reports] = flags;
        Facts {
            name_servers: NameServer::of_the_relay(&domain, &ipv4, &ipv6),
            offers: offers
                .into_iter()
                .map(|(service, port)| Offer {
                    service: services[usize::from(service) % services.len()],
                    port: port.max(1),
                })
                .collect(),
            autoconfig,
            portal: portal.map(|portal| format!("{portal}.{domain}")),
            web: web
                .into_iter()
                .map(|label| format!("{label}.{domain}"))
                .collect(),
            certified: if certified {
                vec![format!("mta-sts.{domain}"), mail_host.clone()]
            } else {
                Vec::new()
            },
            tls_keys: vec![TlsKey {
                ports,
                current: "ab".repeat(32),
                next: next.then(|| "cd".repeat(32)),
                previous: next.then(|| "ef".repeat(32)),
            }],
            dkim: dkim
                .into_iter()
                .map(|(selector, key)| DkimKey {
                    selector,
                    text: format!("v=DKIM1; p={key}"),
                })
                .collect(),
            dmarc: Some(Dmarc {
                stage: Stage::None,
                reports: reports.then(|| "a@other.example".to_owned()),
            }),
            mta_sts: Some(MtaSts {
                mode: Mode::Testing,
                max_age: 1,
            }),
            tls_reports: reports.then(|| "a@other.example".to_owned()),
            acme: acme.then(|| Acme {
                issuer: "ca.example".into(),
                account: Some("https://ca.example/1".into()),
                contact: None,
            }),
            reports_of: vec!["other.example".into()],
            domain,
            mail_host,
            ipv4,
            ipv6,
        }
    })
}

fn by_name(zone: &Zone) -> BTreeMap<Name, Vec<&Record>> {
    let mut names: BTreeMap<Name, Vec<&Record>> = BTreeMap::new();
    for entry in &zone.entries {
        names
            .entry(entry.record.name.clone())
            .or_default()
            .push(&entry.record);
    }
    names
}

/// Whether a name's records can stand beside each other.
fn consistent(records: &[&Record]) -> bool {
    let of = |kind| {
        records
            .iter()
            .filter(move |record| record.record_type() == kind)
    };
    let null = of(RecordType::MX)
        .any(|record| matches!(&record.data, RData::MX(mx) if mx.exchange.is_root()));
    let spf = of(RecordType::TXT).filter(|record| record.data.to_string().contains("v=spf1"));
    let ttls_agree = records
        .iter()
        .all(|a| of(a.record_type()).all(|b| a.ttl == b.ttl));
    let distinct = (1..records.len()).all(|n| !records[..n].contains(&records[n]));
    of(RecordType::CNAME).count() == 0
        && (!null || of(RecordType::MX).count() == 1)
        && spf.count() <= 1
        && ttls_agree
        && distinct
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn every_zone_is_sound(facts in any_facts()) {
        let zone = match zone(&facts) {
            Ok(zone) => zone,
            Err(FactsError::TooLong { .. } | FactsError::Host { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        for entry in &zone.entries {
            let Entry { record, source, why } = entry;
            prop_assert!(zone.origin.zone_of(&record.name), "{record} outside");
            prop_assert!(record.name.is_fqdn() && record.name == record.name.to_lowercase());
            prop_assert_eq!(*source, Source::Generated);
            prop_assert!(why.ends_with('.') && why.len() < 100, "{}", why);
            if let RData::TXT(text) = &record.data {
                prop_assert!(text.txt_data.iter().all(|part| !part.is_empty() && part.len() <= 255));
            }
        }
        let reachable = !(facts.ipv4.is_empty() && facts.ipv6.is_empty());
        for (name, records) in by_name(&zone) {
            prop_assert!(consistent(&records), "{}: {:?}", name, records);
            for record in records {
                let points = matches!(record.data, RData::MX(_) | RData::SRV(_) | RData::NS(_) | RData::TLSA(_));
                prop_assert!(reachable || !points, "{} leads nowhere", record);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}", digest in "[+0-9a-f]{60,66}") {
        let mut facts = typical();
        facts.domain.clone_from(&text);
        prop_assert!(zone(&facts).is_err());
        let mut facts = typical();
        facts.tls_keys[0].current = digest.clone();
        prop_assert_eq!(zone(&facts).is_ok(), digest.len() == 64 && !digest.contains('+'));
        facts = typical();
        facts.tls_reports = Some(text);
        let _ = zone(&facts);
    }
}
