//! The limit on rates, in a network of its own: loopback has none.

mod serve_support;

use hickory_proto::rr::RecordType;
use roost_dns::serve::{Limits, Options, listen};
use serve_support::*;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const INSIDE: &str = "ROOST_TEST_INSIDE";

/// Runs this test again in a network namespace with some addresses, and says whether this is that run.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let script = "ip link set lo up && ip addr add 192.0.2.1/24 dev lo && ip addr add 198.51.100.1/24 dev lo \
                  && ip addr add 198.51.100.2/24 dev lo && exec \"$0\" --exact \"$1\" --nocapture";
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "sh", "-c", script]);
    command.arg(own).arg(test).env(INSIDE, "1");
    let status = command
        .status()
        .expect("unshare is missing: apt-get install util-linux iproute2");
    assert!(status.success(), "{test} in a namespace: {status}");
    false
}

struct Flood {
    asked: usize,
    answered: usize,
    cut: usize,
    bytes_in: usize,
    bytes_out: usize,
}

/// Headers of IP and UDP count as well: they cost the victim's line the same.
const HEADERS: usize = 28;

fn flood(from: &str, to: SocketAddr, kinds: &[(&str, RecordType)], count: usize) -> Flood {
    let socket = UdpSocket::bind(from).unwrap();
    socket.connect(to).unwrap();
    let mut flood = Flood {
        asked: 0,
        answered: 0,
        cut: 0,
        bytes_in: 0,
        bytes_out: 0,
    };
    for number in 0..count {
        let (name, kind) = kinds[number % kinds.len()];
        let name = name.replace('#', &number.to_string());
        let bytes = query(&name, kind, Some((1232, true))).to_vec().unwrap();
        socket.send(&bytes).unwrap();
        flood.asked += 1;
        flood.bytes_in += bytes.len() + HEADERS;
        if number + 1 < count && number % 20 != 19 {
            continue;
        }
        let mut answer = [0; 2048];
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        while let Ok(length) = socket.recv(&mut answer) {
            flood.answered += 1;
            flood.bytes_out += length + HEADERS;
            flood.cut += usize::from(answer[2] & 2 != 0);
        }
    }
    flood
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_answered_in_part() {
    if !inside("floods_are_answered_in_part") {
        return;
    }
    let fixture = Fixture::new();
    let exempt = vec!["198.51.100.2".parse().unwrap()];
    let options = Options {
        limits: Limits {
            exempt,
            ..Limits::default()
        },
        ..Options::default()
    };
    options
        .zones
        .publish(Arc::clone(&fixture.signed(1, "")))
        .unwrap();
    let server = listen(&["192.0.2.1:0".parse().unwrap()], options)
        .await
        .unwrap();
    let at = server.addresses()[0];

    // The worst answer for its question, one of each: how much a spoofed question is multiplied by.
    for (name, kind) in [
        ("example.org.", RecordType::DNSKEY),
        ("example.org.", RecordType::ANY),
        ("example.org.", RecordType::NS),
        ("nope.example.org.", RecordType::A),
        ("nope.deep.ent.example.org.", RecordType::A),
        ("mail.example.org.", RecordType::A),
        ("big.example.org.", RecordType::TXT),
        ("example.com.", RecordType::A),
    ] {
        let one = flood("198.51.100.2:0", at, &[(name, kind)], 1);
        let factor = one.bytes_out as f64 / one.bytes_in as f64;
        println!(
            "{name} {kind}: {} bytes for {}, factor {factor:.1}",
            one.bytes_out, one.bytes_in
        );
        assert!(one.bytes_out <= 1232 + HEADERS, "{name} {kind}");
    }

    for (what, kinds) in [
        ("one name", &[("example.org.", RecordType::DNSKEY)][..]),
        (
            "names that are not there",
            &[("x#.example.org.", RecordType::A)],
        ),
        (
            "names that a wildcard matches",
            &[("x#.wild.example.org.", RecordType::TXT)],
        ),
        ("other zones", &[("x#.example.com.", RecordType::A)]),
    ] {
        let began = Instant::now();
        let it = flood("198.51.100.1:0", at, kinds, 1000);
        let factor = it.bytes_out as f64 / it.bytes_in as f64;
        println!(
            "{what}: {} asked, {} answered, {} of them cut, factor {factor:.2}",
            it.asked, it.answered, it.cut
        );
        let whole = it.answered - it.cut;
        // However long it took: what came at once, and what the rate gave meanwhile.
        let most = 60 + 20 * (began.elapsed().as_secs() as usize + 1);
        assert!(
            (60..=most).contains(&whole),
            "{what}: {whole} whole answers of at most {most}"
        );
        assert_eq!(
            it.cut,
            (it.asked - whole) / 2,
            "{what}: every second one too many is cut"
        );
    }
    // Whoever is exempt, and whoever comes by TCP, gets all.
    let it = flood(
        "198.51.100.2:0",
        at,
        &[("example.org.", RecordType::DNSKEY)],
        500,
    );
    assert_eq!((it.answered, it.cut), (500, 0));
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    for _ in 0..500 {
        let question = query("example.org.", RecordType::DNSKEY, None);
        assert!(!ask_tcp(&mut stream, &question).unwrap().metadata.truncation);
    }
}
