//! The box is off: its secondary answers for as long as the SOA record says, with signatures that hold.

mod serve_support;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use roost_dns::generate::{self, Facts};
use roost_dns::serve::{Access, Options};
use roost_dns::sign::{self, Policy, keys::KeySet};
use serve_support::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// The secondary as the relay has it, as far as this matters.
const KNOT: &str = "
server:
  rundir: FOLDER
  listen: 127.0.0.1@PORT
database:
  storage: FOLDER
log:
  - target: stderr
    any: info
key:
  - id: secondary.
    algorithm: hmac-sha256
    secret: SECRET
remote:
  - id: box
    address: 127.0.0.1@PRIMARY
    key: secondary.
zone:
  - domain: example.org
    storage: FOLDER
    master: box
    zonefile-sync: 0
";

/// Knot, some days from now; what it answers once it has said `ready`, and whether the copy that it has is
/// good then.
fn days_later(folder: &Path, port: u16, days: u64, now: u64, ready: &str) -> (Message, bool) {
    let configuration = folder.join("knot.conf");
    let clock = format!("FAKETIME=+{days}d");
    let knotd = [
        // The dynamic linker knows what `$LIB` is.
        "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1",
        "DONT_FAKE_MONOTONIC=1",
        &clock,
        "knotd",
        "-c",
        configuration.to_str().unwrap(),
    ];
    let knot = start("knot and faketime", "env", &knotd, port, folder);
    let began = Instant::now();
    while !fs::read_to_string(folder.join("env.log"))
        .unwrap()
        .contains(ready)
    {
        assert!(began.elapsed() < PATIENCE, "Knot does not say {ready:?}");
    }
    let question = query("mail.example.org.", RecordType::A, Some((1232, true)));
    let answer = ask(knot.address, &question).unwrap();
    // It keeps on its disk when it heard of the box last.
    knot.terminate();
    let at = format!("@{}", now + days * DAY);
    let at = text(&run(
        "coreutils",
        "date",
        &["-u", "-d", &at, "+%Y%m%d%H%M%S"],
    ));
    let copy = folder.join("example.org.zone");
    let arguments = ["-t", at.trim(), copy.to_str().unwrap()];
    let good = run("ldnsutils", "ldns-verify-zone", &arguments);
    (answer, good.status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_good_until_they_expire_and_not_a_day_longer() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let facts: Facts = serde_json::from_str(include_str!("facts/typical.json")).unwrap();
    let records: Vec<Record> = (generate::zone(&facts).unwrap().entries.into_iter())
        .map(|entry| entry.record)
        .collect();
    let origin = Name::from_ascii(ORIGIN).unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    // As old as signatures become before they are made anew.
    let policy = Policy::default();
    let signed_at = now - (policy.validity() - policy.resign_left());
    let keys = KeySet::generate(&origin, signed_at - DAY).unwrap();
    let zone = sign::zone(&records, &keys, signed_at, &policy, 1, None).unwrap();
    let soa = zone
        .records
        .iter()
        .find(|r| r.record_type() == RecordType::SOA);
    let expire = match &soa.unwrap().data {
        hickory_proto::rr::RData::SOA(soa) => u64::from(soa.expire.unsigned_abs()),
        other => panic!("{other}"),
    };
    assert_eq!(expire % DAY, 0, "whole days are tried");

    let options = Options {
        access: Access {
            secondaries: vec![key("secondary.", SECRET)],
            ..Access::default()
        },
        ..Options::default()
    };
    options.zones.publish(Arc::new(zone)).unwrap();
    let (server, at) = ours(options).await;
    let port = free_port();
    let configuration = KNOT
        .replace("FOLDER", folder.to_str().unwrap())
        .replace("SECRET", SECRET)
        .replace("PRIMARY", &at.port().to_string())
        .replace("PORT", &port.to_string());
    fs::write(folder.join("knot.conf"), configuration).unwrap();
    let is_answer = |answer: &Message| {
        answer.metadata.response_code == ResponseCode::NoError
            && answer
                .answers
                .iter()
                .any(|r| r.record_type() == RecordType::RRSIG)
    };
    let (today, good) = days_later(folder, port, 0, now, "zone file updated");
    assert!(is_answer(&today) && good, "{today}");
    // The box is switched off.
    drop(server);
    let (last, good) = days_later(folder, port, expire / DAY - 1, now, "loaded, serial");
    assert!(is_answer(&last) && good, "{last}");
    // A copy that has expired is as good as none to Knot.
    let (after, good) = days_later(folder, port, expire / DAY + 1, now, "will be bootstrapped");
    assert_eq!(
        after.metadata.response_code,
        ResponseCode::ServFail,
        "{after}"
    );
    assert!(good, "signatures ended before the copy did");
}
