//! The whole service beside a certificate service, which is played here at the other end of the real door.
//!
//! Mail and tunnel do not answer: what they said last lies on the card.

mod serve_support;

use hickory_proto::rr::RecordType;
use roost_dns::facts::Sources;
use roost_dns::parent::Asking;
use roost_dns::run::{Places, Service};
use roost_service::certificates::{Answer, Call, Status, Zones};
use roost_service::dns;
use roost_service::door::{Door, House};
use serde_json::json;
use serve_support::{SECRET, ask, free_port, query, run, text};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

const OTHER: &str = "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItMTI=";
const HOUSE: House<Answer> = House {
    service: "certificates",
    guests: &["dns"],
    max_call: 128 << 10,
    no_call: |why| Answer::Refused { why },
};

/// What the certificate service knows, and what it was told.
struct Partner {
    status: Status,
    secret: String,
    told: Vec<Call>,
}

impl Partner {
    fn answer(&mut self, call: Call) -> Answer {
        match &call {
            Call::Status => return Answer::Status(Box::new(self.status.clone())),
            Call::DnsKey => {
                return Answer::DnsKey {
                    name: "acme".into(),
                    algorithm: "hmac-sha256".into(),
                    secret: self.secret.clone(),
                };
            }
            Call::Serve { zones } => self.status.zones = Some(zones.clone()),
            Call::Published { sha256, since, .. } => {
                let keys = &mut self.status.certificates[0].tls_keys;
                let key = keys.iter_mut().find(|key| key.sha256 == *sha256);
                key.unwrap().published_since = Some(*since);
            }
            other => panic!("nobody asks {other:?}"),
        }
        self.told.push(call);
        Answer::Done
    }
}

struct World {
    folder: tempfile::TempDir,
    partner: Arc<Mutex<Partner>>,
    service: Service,
    at: SocketAddr,
}

fn now() -> u64 {
    roost_dns::tsig::now()
}

/// All certificates are there.
fn status() -> Status {
    let certificate = |id: &str, names: &[&str], keys: &[(&str, &str)]| {
        let key = |(role, byte): &(&str, &str)| json!({"role": role, "sha256": byte.repeat(32)});
        let keys: Vec<_> = keys.iter().map(key).collect();
        json!({
            "id": id, "names": names, "readers": [], "state": "valid", "summary": "", "tls_keys": keys,
            "valid": [now(), now() + 90 * 86_400],
        })
    };
    let status = json!({
        "summary": "",
        "choice": {"terms_agreed": true, "directory": {"url": "https://ca.example/dir"}},
        "account": "https://ca.example/acct/1",
        "caa": ["ca.example"],
        "certificates": [
            certificate("mail", &["mail.example.org"], &[("current", "ab"), ("next", "cd")]),
            certificate("example.org", &["mta-sts.example.org"], &[("current", "01")]),
        ],
    });
    serde_json::from_value(status).unwrap()
}

fn open_door(path: &Path, partner: Arc<Mutex<Partner>>) {
    let user = fs::metadata("/proc/self").unwrap().uid();
    let table = json!([{
        "name": "dns", "description": "d", "program": "/bin/dns", "user": user,
        "required": false, "ready_timeout_s": 1, "stop_timeout_s": 1,
    }]);
    let table: Vec<_> = serde_json::from_value(table).unwrap();
    let mut door = Door::<Call, _>::open(path, &table, HOUSE).unwrap().unwrap();
    tokio::spawn(async move {
        loop {
            let mut asked = door.next().await;
            let call = std::mem::replace(&mut asked.call, Call::Status);
            let answer = partner.lock().unwrap().answer(call);
            asked.answer(answer);
        }
    });
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let known = json!({
            "published": {"host": "mail.example.org", "domains": ["example.org"], "dkim": []},
            "reached": {"outside": {"addresses": ["192.0.2.1"]}, "within": []},
        });
        fs::write(folder.path().join("known.json"), known.to_string()).unwrap();
        let partner = Arc::new(Mutex::new(Partner {
            status: status(),
            secret: SECRET.into(),
            told: Vec::new(),
        }));
        open_door(&folder.path().join("certificates"), Arc::clone(&partner));
        let port = free_port();
        let service = Self::start(folder.path(), port).await;
        Self {
            folder,
            partner,
            service,
            at: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    async fn start(folder: &Path, port: u16) -> Service {
        let sources = Sources {
            mail: folder.join("mail"),
            tunnel: folder.join("tunnel"),
            certificates: folder.join("certificates"),
        };
        let data = folder.to_owned();
        Service::start(Places {
            data,
            port,
            sources,
            // Nobody is asked.
            asking: Asking {
                resolv_conf: folder.join("nothing"),
                ..Asking::default()
            },
        })
        .await
        .unwrap()
    }

    fn told(&self) -> Vec<Call> {
        std::mem::take(&mut self.partner.lock().unwrap().told)
    }

    fn has(&self, name: &str, kind: RecordType) -> Vec<String> {
        let answer = ask(self.at, &query(name, kind, None)).unwrap();
        let records = answer.answers.iter();
        let mut found: Vec<_> = records.map(|record| record.data.to_string()).collect();
        found.sort();
        found
    }

    /// What `nsupdate` says; nothing if all went well.
    fn update(&self, secret: &str, line: &str) -> String {
        let script = tempfile::NamedTempFile::new().unwrap();
        let port = self.at.port();
        let lines = format!("server 127.0.0.1 {port}\nzone example.org\nttl 60\n{line}\nsend\n");
        fs::write(script.path(), lines).unwrap();
        let key = format!("hmac-sha256:acme:{secret}");
        let arguments = ["-t", "20", "-y", &key, script.path().to_str().unwrap()];
        text(&run("bind9-dnsutils", "nsupdate", &arguments))
            .trim()
            .to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_services_learn_what_they_need() {
    let mut world = World::new().await;
    let told = world.told();
    let [
        Call::Serve { zones },
        Call::Published {
            sha256,
            since,
            ttl_s,
        },
        Call::Published { .. },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    let served = Zones {
        mail_host: "mail.example.org".into(),
        domains: vec!["example.org".into()],
        secondaries: Vec::new(),
    };
    assert_eq!((zones, sha256, *ttl_s), (&served, &"ab".repeat(32), 300));
    assert!(now() - since < 60);
    assert_eq!(
        world
            .has("_25._tcp.mail.example.org.", RecordType::TLSA)
            .len(),
        2
    );
    assert_eq!(
        world.has("example.org.", RecordType::CAA)[0],
        "0 issue \"ca.example; validationmethods=dns-01; accounturi=https://ca.example/acct/1\""
    );
    let answer = world.service.answer(&dns::Call::Policies).await;
    let dns::Answer::Policies { policies } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(
        policies[0].text,
        "version: STSv1\r\nmode: testing\r\nmx: mail.example.org\r\nmax_age: 86400\r\n"
    );
    world.service.look().await;
    assert_eq!(world.told(), []);
    // It has lost its memory: it is told again.
    world.partner.lock().unwrap().status = status();
    world.service.look().await;
    assert_eq!(world.told().len(), 3);

    // It is away, and the name server starts anew: all that was said counts.
    let World {
        folder, service, ..
    } = world;
    drop(service);
    fs::remove_file(folder.path().join("certificates")).unwrap();
    let port = free_port();
    let service = World::start(folder.path(), port).await;
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let tlsa = query("_25._tcp.mail.example.org.", RecordType::TLSA, None);
    assert_eq!(ask(at, &tlsa).unwrap().answers.len(), 2);
    drop(service);
    let known = fs::read_to_string(folder.path().join("known.json")).unwrap();
    assert!(!known.contains(SECRET), "the key is in memory alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_that_it_gives_writes_challenges_alone() {
    let mut world = World::new().await;
    let name = "_acme-challenge.mta-sts.example.org.";
    let add = format!("update add {name} TXT one");
    assert_eq!(world.update(SECRET, &add), "");
    assert_eq!(world.has(name, RecordType::TXT), ["one"]);
    for line in [
        "update add example.org. A 192.0.2.9".to_owned(),
        "update delete _25._tcp.mail.example.org. TLSA".to_owned(),
        format!("update add {name} CAA 0 issue ca.example"),
        "update add mta-sts.example.org. TXT one".to_owned(),
    ] {
        let said = world.update(SECRET, &line);
        assert_eq!(said, "update failed: REFUSED", "{line}");
    }
    assert!(world.update(OTHER, &add).contains("BADSIG"));

    world.partner.lock().unwrap().secret = OTHER.into();
    world.service.look().await;
    let two = format!("update add {name} TXT two");
    assert!(world.update(SECRET, &two).contains("BADSIG"));
    assert_eq!(world.update(OTHER, &two), "");
    assert_eq!(world.has(name, RecordType::TXT), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forged_is_the_owners_choice() {
    let mut world = World::new().await;
    let mut choose = async |domain: &str, stage| {
        let domain = domain.to_owned();
        world
            .service
            .answer(&dns::Call::SetDmarc { domain, stage })
            .await
    };
    let done = choose("example.org", Some(dns::Dmarc::Reject)).await;
    assert_eq!(done, dns::Answer::Done);
    let refused = choose("example.net", Some(dns::Dmarc::Reject)).await;
    assert!(
        matches!(refused, dns::Answer::Refused { .. }),
        "{refused:?}"
    );
    let text = world.has("_dmarc.example.org.", RecordType::TXT);
    assert_eq!(
        text,
        ["v=DMARC1; p=reject; rua=mailto:postmaster@example.org"]
    );
}
