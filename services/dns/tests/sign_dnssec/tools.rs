//! What we sign, seen by the verifiers of BIND, ldns and Knot.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::rr::{RData, Record, RecordType};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use roost_dns::records::Signed;
use roost_dns::sign::keys::KeySet;
use roost_dns::sign::rollover::{self, Observed, Timing};
use roost_dns::sign::{self, Policy, verify};

use crate::zones;

/// The tools look at the machine's clock, so these tests do.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn run(tool: &str, package: &str, args: &[&str], file: &Path) -> Result<(), String> {
    let output = Command::new(tool).args(args).arg(file).output();
    let output = output
        .unwrap_or_else(|error| panic!("{tool}: {error}; it is in the Debian package {package}"));
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{tool}: {}", String::from_utf8_lossy(&said)))
}

/// What each tool says of a zone.
fn verdicts(signed: &Signed) -> Vec<Result<(), String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    std::fs::write(&file, zones::text(&signed.records)).unwrap();
    let origin = signed.origin.to_ascii();
    vec![
        run("ldns-verify-zone", "ldnsutils", &["-V", "2"], &file),
        run(
            "dnssec-verify",
            "bind9-utils",
            &["-q", "-o", &origin],
            &file,
        ),
        run(
            "kzonecheck",
            "knot-dnssecutils",
            &["--dnssec", "on", "-o", &origin],
            &file,
        ),
    ]
}

fn accepted(signed: &Signed) -> Result<(), TestCaseError> {
    for verdict in verdicts(signed) {
        prop_assert!(
            verdict.is_ok(),
            "{}\n{}",
            verdict.unwrap_err(),
            zones::text(&signed.records)
        );
    }
    Ok(())
}

fn sign(records: &[Record], keys: &KeySet) -> Signed {
    sign::zone(records, keys, now(), &Policy::default(), 7, None).unwrap()
}

#[test]
fn all_accept_a_mail_zone() {
    accepted(&sign(&zones::mail(), &zones::keys())).unwrap();
}

#[test]
fn all_accept_random_zones() {
    let keys = zones::keys();
    let mut runner = TestRunner::new(Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&zones::any_zone(), |records| {
        let signed = sign(&records, &keys);
        verify::check(&signed, now()).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
        accepted(&signed)
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Both rollovers under way at once: two KSKs, two ZSKs.
#[test]
fn all_accept_a_zone_in_the_midst_of_rollovers() {
    let mut keys = zones::keys();
    let parent = rollover::Parent {
        ds: keys
            .announced()
            .map(|key| key.ds(keys.origin()).unwrap())
            .collect(),
        ttl: 3600,
        at: now(),
    };
    let seen = Observed {
        served: None,
        parent: Some(parent),
    };
    let timing = Timing {
        zsk_lifetime: 0,
        ..Timing::default()
    };
    rollover::step(&mut keys, now(), &seen, &timing).unwrap();
    rollover::roll_ksk(&mut keys, now()).unwrap();
    assert_eq!(keys.keys().len(), 4);
    accepted(&sign(&zones::mail(), &keys)).unwrap();
}

/// The tools would say so, and so does ours.
#[test]
fn none_accepts_a_changed_record() {
    let mut signed = sign(&zones::mail(), &zones::keys());
    let a = signed
        .records
        .iter_mut()
        .find(|record| record.record_type() == RecordType::A)
        .unwrap();
    a.data = RData::A("198.51.100.1".parse().unwrap());
    for verdict in verdicts(&signed) {
        verdict.unwrap_err();
    }
    verify::check(&signed, now()).unwrap_err();
}

#[test]
fn none_accepts_a_missing_nsec() {
    let mut signed = sign(&zones::mail(), &zones::keys());
    let at = signed
        .records
        .iter()
        .position(|record| record.record_type() == RecordType::NSEC)
        .unwrap();
    signed.records.remove(at);
    for verdict in verdicts(&signed) {
        verdict.unwrap_err();
    }
    verify::check(&signed, now()).unwrap_err();
}
