//! A parent zone at BIND, which also answers where the box's resolver would: what the box makes of it, and that a
//! key is replaced with it. A secondary at NSD.

mod serve_support;

use roost_dns::facts::Sources;
use roost_dns::generate::Facts;
use roost_dns::keeper::Keeper;
use roost_dns::parent::{Asking, ask};
use roost_dns::run::{Places, Service};
use roost_dns::serve::Zones;
use roost_dns::state::States;
use roost_service::dns::{Answer, Call, Check, DelegationState, Zone};
use serde_json::json;
use serve_support::{Other, PATIENCE, SECRET, free_port, name, run, start_at, text};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

const DOMAIN: &str = "example.test";

/// The parent: the zone `test.` with two name servers.
struct Parent {
    folder: tempfile::TempDir,
    _named: Other,
    asking: Asking,
}

impl Parent {
    fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let zone = "$TTL 300\n@ SOA ns.test. h.test. 1 3600 600 86400 60\n@ NS ns.test.\n@ NS ns-b.test.\n\
                    ns A 127.0.0.1\nns-b A 127.0.0.1\n";
        fs::write(folder.path().join("test.zone"), zone).unwrap();
        let path = folder.path().display();
        let configuration = format!(
            "options {{
               directory \"{path}\"; pid-file none; session-keyfile \"{path}/session.key\";
               listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
               recursion no; dnssec-validation no; notify no;
             }};
             controls {{ }};
             zone \"test\" {{ type primary; file \"test.zone\"; allow-update {{ 127.0.0.1; }}; }};"
        );
        let file = folder.path().join("named.conf");
        fs::write(&file, configuration).unwrap();
        let resolv_conf = folder.path().join("resolv.conf");
        fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
        let arguments = ["-g", "-c", file.to_str().unwrap()];
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            _named: start_at(
                "bind9",
                "named",
                &arguments,
                address,
                "test.",
                folder.path(),
            ),
            folder,
            asking: Asking {
                resolv_conf,
                port,
                first: Duration::ZERO,
            },
        }
    }

    /// What somebody enters at the registrar's form.
    fn enter(&self, lines: &[&str]) {
        let mut script = format!("server 127.0.0.1 {}\nzone test.\n", self.asking.port);
        for line in lines {
            let _ = writeln!(script, "update {line}");
        }
        script += "send\n";
        let file = self.folder.path().join("update");
        fs::write(&file, script).unwrap();
        // On a busy machine it has answered a question, and refuses the next connection.
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let output = run("bind9-dnsutils", "nsupdate", &[file.to_str().unwrap()]);
            if output.status.success() {
                return;
            }
            assert!(Instant::now() < end, "{}", text(&output));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn name_servers(&self, all: &[(&str, &str)]) {
        let mut lines = vec!["delete example.test. NS".to_owned()];
        for (server, address) in all {
            lines.push(format!("add example.test. 300 NS {server}"));
            lines.push(format!("delete {server} A"));
            lines.push(format!("add {server} 300 A {address}"));
        }
        self.enter(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// These DS records, as the box writes them for the registrar, in place of those before.
    fn ds(&self, all: &[String]) {
        let mut lines = vec!["delete example.test. DS".to_owned()];
        for line in all {
            let (_, data) = line.split_once(" IN DS ").unwrap();
            lines.push(format!("add example.test. 300 DS {data}"));
        }
        self.enter(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

const OURS: [(&str, &str); 2] = [
    ("ns1.example.test.", "127.0.0.6"),
    ("ns2.example.test.", "127.0.0.3"),
];

/// What the relay does for ns1: whoever comes to its address is passed on to the box.
async fn relay(port: u16, to: u16) {
    let listener = TcpListener::bind(("127.0.0.6", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut on = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut on).await });
        }
    });
}

/// NSD, where the relay's copies would be.
fn secondary(folder: &Path, port: u16, from: u16) -> Other {
    let configuration = format!(
        "server:\n ip-address: 127.0.0.3@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{0}\"\n \
         database: \"\"\n pidfile: \"{0}/pid\"\n xfrdfile: \"{0}/xfrd\"\n zonelistfile: \"{0}/list\"\n \
         xfrdir: \"{0}\"\n logfile: \"{0}/log\"\n verbosity: 2\n server-count: 1\n\
         remote-control:\n control-enable: no\n\
         key:\n name: secondary\n algorithm: hmac-sha256\n secret: \"{SECRET}\"\n\
         zone:\n name: {DOMAIN}\n zonefile: copy\n request-xfr: AXFR 127.0.0.1@{from} secondary\n \
         allow-notify: 127.0.0.1 secondary\n",
        folder.display(),
    );
    let file = folder.join("nsd.conf");
    fs::write(&file, configuration).unwrap();
    let arguments = ["-d", "-c", file.to_str().unwrap()];
    let address = SocketAddr::from(([127, 0, 0, 3], port));
    start_at("nsd", "nsd", &arguments, address, "example.test.", folder)
}

/// The service on a card that knows what mail and tunnel said last.
async fn service(folder: &Path, port: u16, asking: Asking) -> Service {
    let known = json!({
        "published": { "host": "mail.example.test", "domains": [DOMAIN], "dkim": [] },
        "reached": {
            "outside": {
                "addresses": ["127.0.0.6"],
                "second_name_server": ["127.0.0.3"],
                "secondary": { "addresses": ["127.0.0.3"], "key": "secondary", "secret": SECRET },
            },
            "within": ["127.0.0.1"],
        },
    });
    fs::write(folder.join("known.json"), known.to_string()).unwrap();
    Service::start(Places {
        data: folder.to_owned(),
        port,
        sources: Sources {
            mail: folder.join("nobody"),
            tunnel: folder.join("nobody"),
            certificates: folder.join("nobody"),
        },
        asking,
    })
    .await
    .unwrap()
}

async fn status(service: &mut Service) -> Zone {
    let Answer::Status(mut status) = service.answer(&Call::Status).await else {
        panic!("a status");
    };
    status.zones.remove(0)
}

async fn check(service: &mut Service) -> Check {
    let domain = DOMAIN.to_owned();
    match service.answer(&Call::Check { domain }).await {
        Answer::Check(check) => *check,
        other => panic!("{other:?}"),
    }
}

async fn state(service: &mut Service) -> (DelegationState, String) {
    check(service).await;
    let delegation = status(service).await.delegation.unwrap();
    (delegation.state, delegation.advice)
}

/// The table, with what differs from run to run made the same. What is right everywhere and no matter of the
/// parent's is left out.
fn shown(check: &Check, zone: &Zone) -> String {
    let mut text = String::new();
    for place in &check.places {
        let address = place.address.as_deref().unwrap_or("-");
        let serial = place.serial.map_or("-".into(), |serial| serial.to_string());
        let fault = place.fault.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{} {address} {serial} {fault}", place.name);
    }
    for row in &check.rows {
        let sign = if row.right { ' ' } else { '!' };
        let found = row.found.iter().map(|found| match found {
            None => '.',
            Some(found) if *found == row.expected => '=',
            Some(_) => '~',
        });
        let found: String = found.collect();
        if found == "====." && !["SOA", "DNSKEY"].contains(&row.kind.as_str()) {
            continue;
        }
        let expected = match row.kind.as_str() {
            "DNSKEY" => format!("{} keys", row.expected.len()),
            _ => row.expected.join(" | "),
        };
        let _ = writeln!(text, "{sign} {found} {} {} {expected}", row.name, row.kind);
        if !row.advice.is_empty() {
            let _ = writeln!(text, "        {}", row.advice);
        }
    }
    let serial = zone.serial.unwrap().to_string();
    let (_, ds) = zone.ds[0].split_once(" IN DS ").unwrap();
    text.replace(&serial, "SERIAL").replace(ds, "KEY")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_parent_says_is_told_and_every_place_is_asked() {
    let (port, own) = (free_port(), free_port());
    let parent = Parent::start(port);
    parent.name_servers(&[("ns.elsewhere.test.", "127.0.0.9")]);
    let folder = tempfile::tempdir().unwrap();
    let mut service = service(folder.path(), own, parent.asking.clone()).await;
    // It asks by itself.
    let began = Instant::now();
    while status(&mut service).await.delegation.is_none() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let zone = status(&mut service).await;
    let delegation = zone.delegation.clone().unwrap();
    assert_eq!(delegation.state, DelegationState::Elsewhere);
    assert_eq!(delegation.parent.as_deref(), Some("test"));
    assert_eq!(delegation.name_servers, ["ns.elsewhere.test"]);

    let copies = tempfile::tempdir().unwrap();
    let _secondary = secondary(copies.path(), port, own);
    relay(port, own).await;
    parent.name_servers(&OURS);
    let (found, advice) = state(&mut service).await;
    assert_eq!(found, DelegationState::Unsigned);
    assert!(advice.contains(&zone.ds[0]), "{advice}");

    // NSD answers once it has the zone.
    let began = Instant::now();
    let table = loop {
        let table = check(&mut service).await;
        if table.places[1].serial == zone.serial {
            break table;
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", table.places);
    };
    assert!(table.rows.len() > 20, "{table:?}");
    insta::assert_snapshot!("unsigned", shown(&table, &zone));

    let strange = format!("{} IN DS 12345 13 2 {}", DOMAIN, "AB".repeat(32));
    parent.ds(&[strange]);
    let (found, advice) = state(&mut service).await;
    assert_eq!(found, DelegationState::Broken);
    insta::assert_snapshot!("broken", advice.replace(&zone.ds[0], "DS"));

    parent.ds(&zone.ds);
    let table = check(&mut service).await;
    let zone = status(&mut service).await;
    assert_eq!(
        zone.delegation.clone().unwrap().state,
        DelegationState::Secure
    );
    insta::assert_snapshot!("secure", shown(&table, &zone));
    assert!(table.rows.iter().all(|row| row.right));

    // Another address at the registry.
    parent.name_servers(&[("ns1.example.test.", "127.0.0.77"), OURS[1]]);
    assert_eq!(state(&mut service).await.0, DelegationState::Secure);
    insta::assert_snapshot!("wrong_address", state(&mut service).await.1);
    let other = Call::Check {
        domain: "example.com".into(),
    };
    let answer = service.answer(&other).await;
    assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
}

/// Asking takes nothing from others: the answer to a check is awaited while the service answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_holds_nobody_up() {
    // A resolver that never answers.
    let silent = std::net::UdpSocket::bind("127.0.0.5:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf = folder.path().join("resolv.conf");
    fs::write(&resolv_conf, "nameserver 127.0.0.5\n").unwrap();
    let asking = Asking {
        resolv_conf,
        port,
        first: Duration::from_secs(3600),
    };
    let mut service = service(folder.path(), free_port(), asking).await;
    let answer = service.check(DOMAIN).await.unwrap();
    let mut task = tokio::spawn(answer);
    let zone = status(&mut service).await;
    assert!(!task.is_finished());
    let began = Instant::now();
    let Answer::Check(table) = (&mut task).await.unwrap() else {
        panic!("a table");
    };
    assert!(began.elapsed() < PATIENCE);
    let found = table.places[0].serial;
    assert_eq!(found, zone.serial, "the box itself was asked");
    let parent = table.places.last().unwrap();
    insta::assert_snapshot!(parent.fault.as_deref().unwrap(), @"the resolver was asked for SOA of test: no answer came in time");
}

/// A whole replacement of the key that the registrar knows, by a clock of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_replaced_with_a_real_parent() {
    const HOUR: u64 = 3600;
    let parent = Parent::start(free_port());
    parent.name_servers(&OURS);
    let facts: Facts = serde_json::from_value(json!({
        "domain": DOMAIN,
        "mail_host": "mail.example.test",
        "ipv4": ["127.0.0.6"],
        "name_servers": [
            { "name": "ns1.example.test", "ipv4": ["127.0.0.6"] },
            { "name": "ns2.example.test", "ipv4": ["127.0.0.3"] },
        ],
    }))
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(States::new(folder.path()), Zones::new());
    let mut now = 1_800_000_000;
    keeper.set_facts(vec![facts], now);
    let origin = name("example.test.");
    let mut log = String::new();
    let mut live = async |keeper: &mut Keeper, hours: u64, step: u64| {
        for _ in 0..hours / step {
            now += step * HOUR;
            let heard = ask(&parent.asking, &origin, PATIENCE).await;
            let judged = keeper.parent_says(&origin, &heard, now).unwrap();
            keeper.look(now);
            let zone = keeper.status().remove(0);
            let keys = zone
                .keys
                .iter()
                .filter(|key| key.role.contains("key-signing"));
            let keys: Vec<&str> = keys.map(|key| key.state.as_str()).collect();
            let line = format!("{:?} {}\n", judged.delegation.state, keys.join(" | "));
            if !log.ends_with(&line) {
                log += &line;
            }
        }
        now
    };
    live(&mut keeper, 2, 1).await;
    let first = keeper.status()[0].ds.clone();
    parent.ds(&first);
    let now = live(&mut keeper, 3, 1).await;
    keeper.replace_key(DOMAIN, now).unwrap();
    live(&mut keeper, 3, 1).await;
    let both = keeper.status()[0].ds.clone();
    assert_eq!(both.len(), 2, "{both:?}");
    let second: Vec<String> = both.into_iter().filter(|ds| *ds != first[0]).collect();
    parent.ds(&second);
    live(&mut keeper, 2, 1).await;
    live(&mut keeper, 6 * 24, 6).await;
    assert_eq!(keeper.status()[0].ds, second);
    insta::assert_snapshot!("replaced", log);
}
