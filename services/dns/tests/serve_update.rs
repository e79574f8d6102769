//! Dynamic updates by `nsupdate`.

mod serve_support;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use roost_dns::records::Signed;
use roost_dns::serve::{Access, Limits, Listener, Options, Zones};
use roost_dns::tsig::{self, Signer};
use roost_dns::update::{Applier, Apply, ApplyError, Changes, Rule, Writer};
use serve_support::*;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// Puts changes into the zone as it lies in a file, without signing.
struct Store {
    zones: Zones,
    fails: Arc<Mutex<bool>>,
    applied: Arc<Mutex<Vec<Changes>>>,
}

impl Apply for Store {
    async fn apply(
        &self,
        zone: &hickory_proto::rr::Name,
        changes: Changes,
    ) -> Result<(), ApplyError> {
        if *self.fails.lock().unwrap() {
            return Err(ApplyError {
                zone: zone.clone(),
                why: "the disk is full".to_owned(),
            });
        }
        let mut new = Signed::clone(&self.zones.current(zone).unwrap());
        for set in &changes.sets {
            let of_set =
                |record: &Record| record.name == set.name && record.record_type() == set.kind;
            new.records.retain(|record| !of_set(record));
            new.records.extend(set.records.iter().cloned());
        }
        new.serial += 1;
        let RData::SOA(soa) = &mut new.records[0].data else {
            panic!("the SOA is first")
        };
        soa.serial = new.serial;
        self.zones.publish(Arc::new(new)).unwrap();
        self.applied.lock().unwrap().push(changes);
        Ok(())
    }
}

struct World {
    _server: Listener,
    at: SocketAddr,
    zones: Zones,
    fails: Arc<Mutex<bool>>,
    applied: Arc<Mutex<Vec<Changes>>>,
}

fn writer(name: &str, rules: &[(&str, &[RecordType])]) -> Writer {
    let rules = rules.iter().map(|(names, types)| Rule {
        names: names.parse().unwrap(),
        types: types.to_vec(),
    });
    Writer {
        key: key(name, SECRET),
        rules: rules.collect(),
    }
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    fs::write(&file, include_str!("serve_support/test.zone")).unwrap();
    let writers = vec![
        writer("acme.", &[("_acme-challenge.**", &[RecordType::TXT])]),
        writer(
            "mail.",
            &[
                ("*._domainkey.**", &[RecordType::TXT]),
                ("*._tcp.mail.example.org", &[RecordType::TLSA]),
            ],
        ),
        writer(
            "all.",
            &[(
                "**",
                &[
                    RecordType::A,
                    RecordType::TXT,
                    RecordType::MX,
                    RecordType::CNAME,
                    RecordType::NS,
                    RecordType::SOA,
                ],
            )],
        ),
    ];
    let (zones, fails, applied) = (Zones::new(), Arc::default(), Arc::default());
    zones.publish(Arc::new(zone::load(ORIGIN, &file))).unwrap();
    let store = Store {
        zones: zones.clone(),
        fails: Arc::clone(&fails),
        applied: Arc::clone(&applied),
    };
    let options = Options {
        zones: zones.clone(),
        access: Access {
            secondaries: vec![key("secondary.", SECRET)],
            writers,
        },
        limits: Limits::default(),
        updates: Some(Applier::new(store)),
    };
    let (server, at) = ours(options).await;
    World {
        _server: server,
        at,
        zones,
        fails,
        applied,
    }
}

impl World {
    /// What `nsupdate` says; nothing if all went well.
    fn update(&self, key: &str, lines: &str) -> String {
        let script = tempfile::NamedTempFile::new().unwrap();
        let port = self.at.port();
        let text = format!("server 127.0.0.1 {port}\nzone example.org\nttl 60\n{lines}\nsend\n");
        fs::write(script.path(), text).unwrap();
        let pair = format!("hmac-sha256:{key}");
        let mut arguments = vec!["-t", "20", script.path().to_str().unwrap()];
        if !key.is_empty() {
            arguments.splice(0..0, ["-y", &pair]);
        }
        serve_support::text(&run("bind9-dnsutils", "nsupdate", &arguments))
            .trim()
            .to_owned()
    }

    fn by(&self, key: &str, lines: &str) -> String {
        self.update(&format!("{key}:{SECRET}"), lines)
    }

    /// The records, as text.
    fn has(&self, name: &str, kind: RecordType) -> Vec<String> {
        let answer = ask(self.at, &query(name, kind, None)).unwrap();
        let mut found: Vec<_> = answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect();
        found.sort();
        found
    }

    fn serial(&self) -> u32 {
        self.zones.serials()[0].1
    }
}

const CHALLENGE: &str = "_acme-challenge.mail.example.org.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_writes_what_it_may() {
    let world = world().await;
    let before = world.serial();
    assert_eq!(
        world.by("acme", &format!("update add {CHALLENGE} TXT one")),
        ""
    );
    assert_eq!(
        world.by("acme", &format!("update add {CHALLENGE} TXT two")),
        ""
    );
    assert_eq!(world.has(CHALLENGE, RecordType::TXT), ["one", "two"]);
    assert_eq!(world.serial(), before + 2);
    // What is there already changes nothing.
    assert_eq!(
        world.by("acme", &format!("update add {CHALLENGE} TXT two")),
        ""
    );
    assert_eq!(world.serial(), before + 2);
    assert_eq!(
        world.by("acme", &format!("update delete {CHALLENGE} TXT one")),
        ""
    );
    assert_eq!(world.has(CHALLENGE, RecordType::TXT), ["two"]);
    assert_eq!(
        world.by("acme", &format!("update delete {CHALLENGE} TXT")),
        ""
    );
    assert_eq!(world.has(CHALLENGE, RecordType::TXT), [""; 0]);
    assert_eq!(
        world.by(
            "mail",
            "update add s1._domainkey.example.org. TXT \"v=DKIM1; p=\""
        ),
        ""
    );
    let tlsa = "update add _465._tcp.mail.example.org. TLSA 3 1 1 \
                aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_eq!(world.by("mail", tlsa), "");
    assert_eq!(
        world
            .has("_465._tcp.mail.example.org.", RecordType::TLSA)
            .len(),
        1
    );
    assert_eq!(
        world.applied.lock().unwrap().last().unwrap().by,
        name("mail.")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_writes_nothing_else() {
    let world = world().await;
    let before = world.serial();
    for (key, line) in [
        ("acme", "update add www.example.org. TXT x".to_owned()),
        (
            "acme",
            format!("update add {CHALLENGE} CAA 0 issue ca.example"),
        ),
        ("acme", "update delete mail.example.org. A".to_owned()),
        ("acme", "update delete mail.example.org.".to_owned()),
        (
            "acme",
            format!("update add {CHALLENGE} TXT x\nupdate add www.example.org. TXT x"),
        ),
        ("mail", format!("update add {CHALLENGE} TXT x")),
        (
            "mail",
            "update add _25._tcp.ns1.example.org. TLSA 3 1 1 00".to_owned(),
        ),
        ("secondary", format!("update add {CHALLENGE} TXT x")),
    ] {
        assert_eq!(
            world.by(key, &line),
            "update failed: REFUSED",
            "{key}: {line}"
        );
    }
    assert_eq!(
        world.update("", &format!("update add {CHALLENGE} TXT x")),
        "update failed: REFUSED"
    );
    let wrong = "acme:d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc=";
    let said = world.update(wrong, &format!("update add {CHALLENGE} TXT x"));
    assert!(said.contains("BADSIG"), "{said}");
    let said = world.by("nobody", &format!("update add {CHALLENGE} TXT x"));
    assert!(said.contains("BADKEY"), "{said}");
    assert!(late(world.at).contains("BADTIME"));
    assert_eq!(world.serial(), before);
    assert!(world.applied.lock().unwrap().is_empty());
}

/// An update that was signed ten minutes ago: what is said of its signature.
fn late(at: SocketAddr) -> String {
    let mut message = query(ORIGIN, RecordType::SOA, None);
    message.metadata.op_code = OpCode::Update;
    let mut bytes = message.to_vec().unwrap();
    let ago = tsig::now() - 600;
    Signer::request(key("acme.", SECRET)).sign(&mut bytes, ago);
    let answer = Message::from_vec(&send(at, &bytes).unwrap()).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NotAuth);
    let signature = &answer.signature().unwrap().data;
    assert_eq!(signature.time, ago);
    format!("{:?}", signature.error).to_uppercase()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prerequisites_hold_or_nothing_happens() {
    let world = world().await;
    let add = "update add new.example.org. A 192.0.2.9";
    for (prerequisite, want) in [
        ("prereq yxdomain nope.example.org.", "NXDOMAIN"),
        ("prereq nxdomain mail.example.org.", "YXDOMAIN"),
        ("prereq yxrrset mail.example.org. SRV", "NXRRSET"),
        ("prereq nxrrset mail.example.org. A", "YXRRSET"),
        ("prereq yxrrset mail.example.org. A 192.0.2.26", "NXRRSET"),
        ("prereq yxdomain www.example.com.", "NOTZONE"),
    ] {
        let said = world.by("all", &format!("{prerequisite}\n{add}"));
        assert_eq!(said, format!("update failed: {want}"), "{prerequisite}");
    }
    assert_eq!(world.has("new.example.org.", RecordType::A), [""; 0]);
    let held = "prereq yxdomain mail.example.org.\nprereq nxdomain nope.example.org.\n\
                prereq yxrrset mail.example.org. A 192.0.2.25\nprereq nxrrset mail.example.org. SRV";
    assert_eq!(world.by("all", &format!("{held}\n{add}")), "");
    assert_eq!(world.has("new.example.org.", RecordType::A), ["192.0.2.9"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_stays_a_zone() {
    let world = world().await;
    let before = world.serial();
    // An alias beside others, others beside an alias, the SOA, all name servers.
    for line in [
        "update add mail.example.org. CNAME ns1",
        "update add outside.example.org. A 192.0.2.1",
        "update delete example.org. NS",
        "update delete example.org. SOA",
        "update add example.org. SOA ns1 x 4000000000 1 1 1 1",
    ] {
        assert_eq!(world.by("all", line), "", "{line}");
    }
    assert_eq!(world.serial(), before);
    assert_eq!(
        world.by("all", "update delete example.org. NS ns1.example.org."),
        ""
    );
    assert_eq!(
        world.by("all", "update delete example.org. NS ns2.other.example."),
        ""
    );
    assert_eq!(
        world.has("example.org.", RecordType::NS),
        ["ns2.other.example."]
    );
    assert_eq!(world.by("all", "update delete mixed.example.org."), "");
    assert_eq!(world.has("mixed.example.org.", RecordType::A), [""; 0]);
    assert!(
        world
            .by(
                "all",
                "zone example.com\nupdate add example.com. A 192.0.2.1"
            )
            .contains("NOTAUTH")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_stored_is_not_acknowledged() {
    let world = world().await;
    *world.fails.lock().unwrap() = true;
    let line = format!("update add {CHALLENGE} TXT x");
    assert_eq!(world.by("acme", &line), "update failed: SERVFAIL");
    assert_eq!(world.has(CHALLENGE, RecordType::TXT), [""; 0]);
    *world.fails.lock().unwrap() = false;
    assert_eq!(world.by("acme", &line), "");
    assert_eq!(world.has(CHALLENGE, RecordType::TXT), ["x"]);
}

/// Without a signature, with a wrong one, and with a right one: thousands at once keep nobody from asking, what is
/// forged is not done, and the next update is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_updates_keeps_nobody_out() {
    let world = world().await;
    let update = |value: &str, secret: Option<&str>| {
        let mut message = query(ORIGIN, RecordType::SOA, None);
        message.metadata.op_code = OpCode::Update;
        let name = hickory_proto::rr::Name::from_ascii(CHALLENGE).unwrap();
        let data = RData::TXT(hickory_proto::rr::rdata::TXT::new(vec![value.to_owned()]));
        message.authorities.push(Record::from_rdata(name, 60, data));
        let mut bytes = message.to_vec().unwrap();
        if let Some(secret) = secret {
            Signer::request(key("acme.", secret)).sign(&mut bytes, tsig::now());
        }
        bytes
    };
    let wrong = "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItMTI=";
    let flood = [
        update("plain", None),
        update("forged", Some(wrong)),
        update("right", Some(SECRET)),
    ];
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(world.at).unwrap();
    for number in 0..6000 {
        // What the kernel has no room for is lost, as on a line.
        let _ = socket.send(&flood[number % flood.len()]);
        if number % 1000 == 0 {
            let question = query("mail.example.org.", RecordType::A, None);
            // A datagram that found no room is sent again, as clients do.
            let answer = (0..20).find_map(|_| ask(world.at, &question));
            assert!(
                answer.is_some_and(|answer| !answer.answers.is_empty()),
                "after {number}"
            );
        }
    }
    assert_eq!(
        world.by("acme", &format!("update add {CHALLENGE} TXT last")),
        ""
    );
    assert_eq!(world.has(CHALLENGE, RecordType::TXT), ["last", "right"]);
}
