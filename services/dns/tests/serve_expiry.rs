//! The box is off: its secondary answers for as long as the SOA record says, with signatures that hold.

mod serve_support;

use hickory_proto::rr::{Name, Record, RecordType};
use roost_dns::generate::{self, Facts};
use roost_dns::serve::{Access, Options};
use roost_dns::sign::{self, Policy, keys, keys::KeySet};
use serve_support::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// Knot, some days from now; and what somebody sees who asks it then.
fn days_later(folder: &Path, port: u16, days: u64, anchor: &Path) -> String {
    let later = format!("+{days}d");
    let configuration = folder.join("knot.conf");
    let arguments = [
        "--exclude-monotonic",
        "-f",
        &later,
        "knotd",
        "-c",
        configuration.to_str().unwrap(),
    ];
    let knot = start("faketime", "faketime", &arguments, port, folder);
    let (port, anchor) = (port.to_string(), anchor.to_str().unwrap());
    let delv = [
        "-f",
        &later,
        "delv",
        "@127.0.0.1",
        "-p",
        &port,
        "-a",
        anchor,
        "+root=example.org",
        "mail.example.org",
        "A",
    ];
    let said = text(&run("faketime", "faketime", &delv));
    // It keeps on its disk when it heard of the box last.
    knot.terminate();
    said
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
    let ds = keys::ds(&keys).remove(0);
    let [tag, algorithm, kind, digest] = ds.split(' ').skip(3).collect::<Vec<_>>()[..] else {
        panic!("{ds}");
    };
    let anchor = folder.join("anchor");
    let text =
        format!("trust-anchors {{ {ORIGIN} static-ds {tag} {algorithm} {kind} \"{digest}\"; }};\n");
    fs::write(&anchor, text).unwrap();

    let today = days_later(folder, port, 0, &anchor);
    assert!(today.contains("; fully validated"), "{today}");
    // The box is switched off.
    drop(server);
    let last = days_later(folder, port, expire / DAY - 1, &anchor);
    assert!(last.contains("; fully validated"), "{last}");
    let after = days_later(folder, port, expire / DAY + 1, &anchor);
    assert!(after.contains("resolution failed"), "{after}");
}
