//! The tools that people use, against the running server.

mod serve_support;

use roost_dns::notify::{Notifier, Secondary, secondary_serial};
use roost_dns::serve::{Access, Limits, Options};
use serve_support::*;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::Instant;

fn options() -> Options {
    let secondaries = vec![key("secondary.", SECRET)];
    let limits = Limits {
        rate: 0,
        ..Limits::default()
    };
    Options {
        access: Access {
            secondaries,
            ..Access::default()
        },
        limits,
        ..Options::default()
    }
}

fn dig(at: SocketAddr, arguments: &str) -> String {
    let port = at.port().to_string();
    let mut all = vec!["@127.0.0.1", "-p", &port, "+time=5", "+tries=1"];
    all.extend(arguments.split(' '));
    text(&run("bind9-dnsutils", "dig", &all))
}

const TSIG: &str = "-y hmac-sha256:secondary:c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_sees_a_well_behaved_server() {
    let fixture = Fixture::new();
    let options = options();
    options.zones.publish(fixture.signed(1, "")).unwrap();
    let (_server, at) = ours(options).await;
    let said = |arguments: &str, parts: &[&str]| {
        let output = dig(at, arguments);
        for part in parts {
            assert!(
                output.contains(part),
                "dig {arguments}: no '{part}' in\n{output}"
            );
        }
        output
    };
    said(
        "example.com A",
        &["status: REFUSED", "recursion requested but not available"],
    );
    said("+norec mail.example.org A", &["flags: qr aa;", "udp: 1232"]);
    said(
        "+ignore +noedns big.example.org TXT",
        &["flags: qr aa tc rd;", "ANSWER: 0", "SIZE  rcvd: 33"],
    );
    said(
        "+ignore +bufsize=4096 big.example.org TXT",
        &[" tc ", "ANSWER: 0"],
    );
    said("+bufsize=4096 big.example.org TXT", &["(TCP)", "ANSWER: 5"]);
    said(
        "+tcp +dnssec big.example.org TXT",
        &["flags: qr aa rd;", "ANSWER: 6"],
    );
    said("version.bind CH TXT", &["status: REFUSED"]);
    said("id.server CH TXT", &["status: REFUSED"]);
    said(
        "+edns=1 +noednsneg example.org SOA",
        &["status: BADVERS", "ANSWER: 0"],
    );
    said("+opcode=status example.org", &["status: NOTIMP"]);
    said(
        "+ednsopt=65001:00 +cookie +subnet=192.0.2.0/24 example.org SOA",
        &["status: NOERROR", "ANSWER: 1"],
    );
    let nsid = said("+nsid example.org SOA", &["status: NOERROR"]);
    assert!(!nsid.contains("NSID"), "{nsid}");
    let output = said("example.org AXFR", &["Transfer failed"]);
    assert!(!output.contains("TXT"), "{output}");
    said("+notcp +noall +comments example.org IXFR=1", &["REFUSED"]);
    said(
        &format!("{TSIG} +onesoa example.org AXFR"),
        &["SOA", "_25._tcp.mail.example.org.", "TSIG", "hmac-sha256"],
    );
    said(
        &format!("{TSIG} sub.example.org AXFR"),
        &["Transfer failed"],
    );
    let current = said(
        &format!("{TSIG} example.org IXFR=1"),
        &["XFR size: 1 records"],
    );
    assert!(!current.contains("TXT"), "{current}");
    said(&format!("{TSIG} example.org IXFR=0"), &["XFR size:", "TXT"]);
    said(
        &format!("{TSIG} example.org SOA"),
        &["status: NOERROR", "TSIG"],
    );
    let wrong = "-y hmac-sha256:secondary:d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc=";
    said(&format!("{wrong} example.org SOA"), &["BADSIG"]);
    said(
        &format!(
            "{} example.org SOA",
            TSIG.replace(":secondary:", ":nobody:")
        ),
        &["BADKEY"],
    );
    let kdig = [
        "@127.0.0.1",
        "-p",
        &at.port().to_string(),
        "+dnssec",
        "nope.example.org",
        "AAAA",
    ];
    let kdig = text(&run("knot-dnsutils", "kdig", &kdig));
    assert!(kdig.contains("NXDOMAIN") && kdig.contains("NSEC"), "{kdig}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delv_believes_what_is_there_and_what_is_not() {
    let fixture = Fixture::new();
    let options = options();
    options.zones.publish(fixture.signed(1, "")).unwrap();
    let (_server, at) = ours(options).await;
    let (port, anchor) = (at.port().to_string(), fixture.anchor());
    for (name, kind, want) in [
        ("mail", "A", "; fully validated"),
        ("x.wild", "TXT", "; fully validated"),
        ("alias", "AAAA", "; fully validated"),
        ("towild", "MX", "; fully validated"),
        ("mail", "SRV", "; negative response, fully validated"),
        ("ent", "A", "; negative response, fully validated"),
        ("nope", "A", "; negative response, fully validated"),
        ("a.b.nope", "A", "; negative response, fully validated"),
        ("x.wild", "SRV", "; negative response, fully validated"),
        ("x.host.wild", "TXT", "; negative response, fully validated"),
        ("unsigned", "DS", "; negative response, fully validated"),
    ] {
        let name = format!("{name}.{ORIGIN}");
        let anchor = anchor.to_str().unwrap();
        let arguments = [
            "@127.0.0.1",
            "-p",
            &port,
            "-a",
            anchor,
            "+root=example.org",
            &name,
            kind,
        ];
        let output = text(&run("bind9-dnsutils", "delv", &arguments));
        assert!(output.contains(want), "{name} {kind}:\n{output}");
    }
}

async fn follows(secondary: &Secondary, notifier: &Notifier, serial: u32) {
    let began = Instant::now();
    let zone = name(ORIGIN);
    while secondary_serial(secondary, &zone).await.ok() != Some(serial) {
        assert!(began.elapsed() < PATIENCE, "{:?}", notifier.states());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let at = (secondary.address, zone);
    while notifier.states()[&at].acknowledged != Some(serial) {
        assert!(began.elapsed() < PATIENCE, "{:?}", notifier.states());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(notifier.states()[&at].failing, None);
}

/// Five thousand records, so that a transfer has many messages; a change; what the secondary then has is what
/// we have, signatures and all.
async fn secondary_follows(start: impl FnOnce(&Fixture, SocketAddr, u16) -> Other) {
    let fixture = Fixture::new();
    let mut more = String::new();
    for number in 0..2000 {
        writeln!(
            more,
            "host{number} A 10.0.{}.{}",
            number / 256,
            number % 256
        )
        .unwrap();
    }
    let options = options();
    let zones = options.zones.clone();
    let secondary_key = options.access.secondaries[0].clone();
    zones.publish(fixture.signed(1, &more)).unwrap();
    assert!(zones.current(&name(ORIGIN)).unwrap().records.len() > 5000);
    let (_server, at) = ours(options).await;
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let from = Some([127, 0, 0, 1].into());
    let secondary = Secondary {
        address,
        from,
        key: secondary_key,
    };
    // Nobody answers yet: it goes on until somebody does.
    let notifier = Notifier::start(&zones, vec![secondary.clone()]);
    let other = tokio::task::block_in_place(|| start(&fixture, at, port));
    follows(&secondary, &notifier, 1).await;
    zones.publish(fixture.signed(2, &more)).unwrap();
    zones
        .publish(fixture.signed(3, "new A 192.0.2.99\n"))
        .unwrap();
    follows(&secondary, &notifier, 3).await;
    let lines = |at: SocketAddr| {
        let output = dig(
            at,
            &format!("{TSIG} +noall +answer +onesoa example.org AXFR"),
        );
        let mut lines: Vec<_> = output.lines().map(str::to_lowercase).collect();
        lines.retain(|line| !line.contains("tsig") && !line.starts_with(';') && !line.is_empty());
        lines.sort();
        lines
    };
    let [own, theirs] = [lines(at), lines(other.address)];
    assert!(own.iter().any(|line| line.starts_with("new.example.org.")));
    assert_eq!(own, theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_follows_as_secondary() {
    secondary_follows(|fixture, at, port| {
        let zone = format!(
            "server 127.0.0.1 {{ keys {{ secondary; }}; }};
             zone \"example.org\" {{ type secondary; masterfile-format text; file \"copy\";
               primaries {{ 127.0.0.1 port {} key secondary; }};
               allow-notify {{ key secondary; }}; allow-transfer {{ key secondary; }}; }};",
            at.port()
        );
        let folder = fixture.path("bind");
        fs::create_dir(&folder).unwrap();
        named(&folder, &zone, port)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nsd_follows_as_secondary() {
    secondary_follows(|fixture, at, port| {
        let folder = fixture.path("nsd");
        fs::create_dir(&folder).unwrap();
        let configuration = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{0}\"\n \
             database: \"\"\n pidfile: \"{0}/pid\"\n xfrdfile: \"{0}/xfrd\"\n zonelistfile: \"{0}/list\"\n \
             xfrdir: \"{0}\"\n logfile: \"{0}/log\"\n verbosity: 2\n server-count: 1\n\
             remote-control:\n control-enable: no\n\
             key:\n name: secondary\n algorithm: hmac-sha256\n secret: \"{SECRET}\"\n\
             zone:\n name: example.org\n zonefile: copy\n request-xfr: AXFR 127.0.0.1@{1} secondary\n \
             allow-notify: 127.0.0.1 secondary\n provide-xfr: 127.0.0.1 secondary\n",
            folder.display(),
            at.port()
        );
        let file = folder.join("nsd.conf");
        fs::write(&file, configuration).unwrap();
        start("nsd", "nsd", &["-d", "-c", file.to_str().unwrap()], port, &folder)
    })
    .await;
}
