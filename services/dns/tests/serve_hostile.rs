//! Clients that mean harm.

mod serve_support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use roost_dns::records::Signed;
use roost_dns::serve::{Limits, Listener, Options};
use serve_support::*;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

fn zone() -> Arc<Signed> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    fs::write(&file, include_str!("serve_support/test.zone")).unwrap();
    Arc::new(zone::load(ORIGIN, &file))
}

async fn server(limits: Limits) -> (Listener, SocketAddr) {
    let options = Options {
        limits,
        ..Options::default()
    };
    options.zones.publish(zone()).unwrap();
    ours(options).await
}

fn is_well(at: SocketAddr) {
    let answer = ask(at, &query("mail.example.org.", RecordType::A, None)).expect("an answer");
    assert_eq!(answer.answers.len(), 1);
    let mut stream = TcpStream::connect(at).unwrap();
    let answer = ask_tcp(
        &mut stream,
        &query("mail.example.org.", RecordType::A, None),
    )
    .unwrap();
    assert_eq!(answer.answers.len(), 1);
}

/// Bytes, and messages that are good but for some of theirs.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let good = query("x.wild.example.org.", RecordType::TXT, Some((1232, true)))
        .to_vec()
        .unwrap();
    let changed = (
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        any::<prop::sample::Index>(),
    )
        .prop_map(move |(changes, cut)| {
            let mut bytes = good.clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let cut = cut.index(2 * bytes.len());
            bytes.truncate(cut.max(1));
            bytes
        });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..600), changed]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_end_it() {
    let (_server, at) = server(Limits {
        rate: 0,
        ..Limits::default()
    })
    .await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(at).unwrap();
    let mut stream = TcpStream::connect(at).unwrap();
    let mut runner = TestRunner::default();
    for _ in 0..5000 {
        let bytes = messages().new_tree(&mut runner).unwrap().current();
        socket.send(&bytes).unwrap();
        let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
        if stream.write_all(&framed).is_err() {
            stream = TcpStream::connect(at).unwrap();
        }
        let mut answer = [0; 4096];
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        if matches!(stream.read(&mut answer), Ok(0)) {
            stream = TcpStream::connect(at).unwrap();
        }
    }
    is_well(at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_of_pointers_are_no_names() {
    let (_server, at) = server(Limits::default()).await;
    let header = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let additional = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let question = [&b"\x07example\x03org\0"[..], &[0, 1, 0, 1]].concat();
    for bytes in [
        [&header[..], &[0xC0, 12, 0, 1, 0, 1]].concat(),
        [&header[..], &[1, b'a', 0xC0, 12, 0, 1, 0, 1]].concat(),
        [&header[..], &[0xC0, 0, 0, 1, 0, 1]].concat(),
        [&header[..], &[64; 70]].concat(),
        [
            &additional[..],
            &question,
            &[0xC0, 28, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0],
        ]
        .concat(),
    ] {
        let answer = send(at, &bytes).expect("an answer");
        assert_eq!(
            (answer.len(), answer[3] & 15),
            (12, 1),
            "FORMERR and no more: {bytes:?}"
        );
    }
    // An update or a transfer of it is read further, by hickory.
    let mut ixfr = [
        &additional[..],
        &b"\x07example\x03org\0"[..],
        &[0, 251, 0, 1],
    ]
    .concat();
    ixfr[9] = 1;
    ixfr[11] = 0;
    ixfr.extend([0xC0, 29, 0, 6, 0, 1, 0, 0, 0, 0, 0, 0]);
    let answer = send(at, &ixfr).expect("an answer");
    assert_eq!(answer[3] & 15, 5, "REFUSED");
    is_well(at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_short_datagrams_get_none() {
    let (_server, at) = server(Limits::default()).await;
    let mut answer = query(ORIGIN, RecordType::SOA, None).to_vec().unwrap();
    answer[2] |= 0x80;
    assert_eq!(
        send(at, &answer),
        None,
        "an answer to an answer would never end"
    );
    assert_eq!(send(at, &[0; 11]), None);
    is_well(at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_idle_connections_keep_nobody_out() {
    let (_server, at) = server(Limits {
        rate: 0,
        ..Limits::default()
    })
    .await;
    let idle: Vec<_> = (0..500)
        .filter_map(|_| connect_from([127, 7, 7, 7], at).ok())
        .collect();
    assert!(idle.len() > 400, "{} connected", idle.len());
    // Another network is served, over TCP too.
    is_well(at);
    // Of the 500, those above the limit are closed.
    let mut open = 0;
    for mut stream in idle {
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        open += usize::from(!matches!(stream.read(&mut [0]), Ok(0)));
    }
    assert!(
        open <= Limits::default().connections_per_network,
        "{open} are open"
    );
}

fn connect_from(from: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_slowly_or_reads_nothing_is_cut_off() {
    let short = Duration::from_millis(700);
    let limits = Limits {
        rate: 0,
        idle: short,
        message: short,
        write: short,
        ..Limits::default()
    };
    let (_server, at) = server(limits).await;
    let bytes = query(ORIGIN, RecordType::SOA, None).to_vec().unwrap();
    let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
    // A byte each 100 ms: never idle, and never done.
    let mut slow = TcpStream::connect(at).unwrap();
    let mut sent = 0;
    for byte in &framed {
        match slow.write_all(&[*byte]) {
            Ok(()) => sent += 1,
            Err(_) => break,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(sent < framed.len(), "all {sent} bytes were taken");
    // Asks without end, reads nothing: our side's buffers fill, then it is cut off.
    let mut deaf = TcpStream::connect(at).unwrap();
    let question = query("big.example.org.", RecordType::TXT, None)
        .to_vec()
        .unwrap();
    let framed = [&(question.len() as u16).to_be_bytes()[..], &question].concat();
    let many = framed.repeat(100);
    deaf.set_write_timeout(Some(PATIENCE)).unwrap();
    let failed = (0..10_000).any(|_| deaf.write_all(&many).is_err());
    assert!(failed, "a million questions were taken");
    is_well(at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_come_and_go() {
    let (server, at) = server(Limits::default()).await;
    let second = server.add("127.0.0.2:0".parse().unwrap()).await.unwrap();
    assert_eq!(server.addresses().len(), 2);
    for at in [at, second] {
        is_well(at);
    }
    assert_eq!(server.add(second).await.unwrap(), second, "once is enough");
    let mut open = TcpStream::connect(second).unwrap();
    ask_tcp(&mut open, &query(ORIGIN, RecordType::SOA, None)).unwrap();
    assert!(server.remove(second).await);
    assert!(!server.remove(second).await);
    assert!(ask_tcp(&mut open, &query(ORIGIN, RecordType::SOA, None)).is_err());
    assert!(TcpStream::connect(second).is_err());
    assert!(ask(second, &query(ORIGIN, RecordType::SOA, None)).is_none());
    is_well(at);
    assert_eq!(server.add(second).await.unwrap(), second);
    is_well(second);
    let wildcard = server.add("0.0.0.0:0".parse().unwrap()).await;
    assert_eq!(
        wildcard.unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_come_and_go() {
    let options = Options::default();
    let zones = options.zones.clone();
    let (_server, at) = ours(options).await;
    let code = || {
        ask(at, &query(ORIGIN, RecordType::SOA, None))
            .unwrap()
            .metadata
            .response_code
    };
    assert_eq!(code(), ResponseCode::Refused);
    zones.publish(zone()).unwrap();
    assert_eq!(code(), ResponseCode::NoError);
    let mut broken = Signed::clone(&zone());
    broken.records.remove(0);
    let error = zones.publish(Arc::new(broken)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "zone example.org. has 0 SOA records; it needs one"
    );
    assert_eq!(code(), ResponseCode::NoError, "the zone before stays");
    assert!(zones.withdraw(&name(ORIGIN)));
    assert!(!zones.withdraw(&name(ORIGIN)));
    assert_eq!(code(), ResponseCode::Refused);
}
