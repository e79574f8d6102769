//! Answers from the root on, beside Unbound's, in a network of its own.

mod world;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::dnssec::{Algorithm, PublicKeyBuf, TrustAnchors};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::recursor::{DnssecConfig, DnssecPolicy, Recursor, RecursorOptions};
use roost_resolver::anchors::Root;
use roost_resolver::source::Recursion;
use roost_service::resolver::Way;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::{
    OURS, ROOT, UNBOUND, World, ask_at, ask_by_tcp, inside, outcome, read_by_tcp, reason, until,
};

/// Name, type, and what has to come: the code, and whether AD is set.
const QUESTIONS: &[(&str, RecordType, ResponseCode, bool)] = {
    use RecordType::*;
    use ResponseCode::{NXDomain as NX, NoError as OK, ServFail as BAD};
    &[
        (".", SOA, OK, true),
        (".", DNSKEY, OK, true),
        ("org.", NS, OK, true),
        ("org.", DS, OK, true),
        ("nowhere.", A, NX, true),
        ("example.org.", MX, OK, true),
        ("example.org.", SOA, OK, true),
        ("example.org.", NS, OK, true),
        ("example.org.", DS, OK, true),
        ("example.org.", DNSKEY, OK, true),
        ("WWW.Example.ORG.", A, OK, true),
        ("www.example.org.", AAAA, OK, true),
        ("www.example.org.", SOA, OK, true),
        ("nothing.example.org.", SOA, NX, true),
        ("www.example.org.", NS, OK, true),
        ("_25._tcp.mail.example.org.", TLSA, OK, true),
        ("_26._tcp.mail.example.org.", TLSA, NX, true),
        ("_tcp.mail.example.org.", A, OK, true),
        ("nothing.example.org.", A, NX, true),
        ("c.d.example.org.", A, OK, true),
        ("a.b.c.d.example.org.", A, OK, true),
        ("alias.example.org.", A, OK, true),
        ("alias.example.org.", CNAME, OK, true),
        ("chain.example.org.", AAAA, OK, true),
        ("dangling.example.org.", A, NX, true),
        ("tonoaaaa.example.org.", AAAA, OK, true),
        ("x.wild.example.org.", A, OK, true),
        ("x.y.wild.example.org.", A, OK, true),
        ("x.wild.example.org.", AAAA, OK, true),
        ("towild.example.org.", A, OK, true),
        ("out.example.org.", A, OK, true),
        ("outwild.example.org.", A, OK, true),
        ("outnothing.example.org.", A, NX, true),
        ("outnodata.example.org.", AAAA, OK, true),
        ("host.old.example.org.", A, OK, true),
        ("nothing.old.example.org.", A, NX, true),
        ("old.example.org.", A, OK, true),
        ("big.example.org.", TXT, OK, true),
        ("tounsigned.example.org.", A, OK, false),
        ("tobogus.example.org.", A, BAD, false),
        ("loop1.example.org.", A, BAD, false),
        ("nsec3.org.", MX, OK, true),
        ("www.nsec3.org.", A, OK, true),
        ("www.nsec3.org.", AAAA, OK, true),
        ("nothing.nsec3.org.", A, NX, true),
        ("b.c.nsec3.org.", TXT, OK, true),
        ("x.wild.nsec3.org.", A, OK, true),
        ("x.wild.nsec3.org.", MX, OK, true),
        ("alias.nsec3.org.", A, NX, true),
        ("www.unsigned.org.", A, OK, false),
        ("www.unsigned.org.", MX, OK, false),
        ("nothing.unsigned.org.", A, NX, false),
        ("alias.unsigned.org.", A, OK, false),
        ("www.sub.unsigned.org.", A, OK, false),
        // The parent's word that it is not signed rests on opt-out (RFC 5155, section 9.2).
        ("unsigned.org.", DS, OK, false),
        ("unsigned.org.", SOA, OK, false),
        ("www.bogus.org.", A, BAD, false),
        ("www.expired.org.", A, BAD, false),
        ("www.early.org.", A, BAD, false),
        ("www.wrongds.org.", A, BAD, false),
        ("www.nosigs.org.", A, BAD, false),
        ("nothing.nosigs.org.", A, BAD, false),
        ("www.strange.org.", A, OK, false),
        ("www.lame.org.", A, OK, true),
        ("www.slow.org.", A, OK, true),
        ("www.glueless.net.", A, OK, true),
        ("www.iter.net.", A, OK, true),
        ("nothing.iter.net.", A, NX, false),
        ("www.circle.net.", A, BAD, false),
    ]
};

/// Where Unbound differs: it takes more iterations of NSEC3.
const OTHERWISE: &str = "nothing.iter.net.";

#[test]
fn answers_are_those_of_unbound() {
    if !inside("answers_are_those_of_unbound") {
        return;
    }
    let world = World::new();
    let resolver = world.resolver(ROOT, &[UNBOUND], true);
    resolver.wait_for(Way::Recursive);
    let mut wrong = Vec::new();
    for (name, kind, code, secure) in QUESTIONS {
        let ours = resolver.ask(name, *kind);
        let head = &ours.metadata;
        if (head.response_code, head.authentic_data) != (*code, *secure)
            || !head.recursion_available
        {
            wrong.push(format!(
                "{name} {kind}: {} ad {} {:?}",
                head.response_code,
                head.authentic_data,
                reason(&ours)
            ));
            continue;
        }
        let theirs = until("Unbound answers", || ask_at(UNBOUND, name, *kind, |_| {}));
        let (ours, theirs) = (outcome(&ours), outcome(&theirs));
        if (ours != theirs) != (*name == OTHERWISE) {
            wrong.push(format!("{name} {kind}: ours {ours}\ntheirs {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), resolver.log());
    let status = resolver.status();
    assert!(status.bogus >= 7, "{status:?}");
    assert!(status.asked >= QUESTIONS.len() as u64);
}

/// The reasons for a validator beside hickory's (README.md). If this fails, hickory has learnt something.
#[test]
fn hickory_alone_would_take_these_for_forged() {
    if !inside("hickory_alone_would_take_these_for_forged") {
        return;
    }
    let world = World::new();
    let (algorithm, key) = world.zones.root_key();
    let key = PublicKeyBuf::new(
        BASE64_STANDARD.decode(key).unwrap(),
        Algorithm::from_u8(algorithm),
    );
    let mut anchors = TrustAnchors::empty();
    anchors.insert(&key);
    let mut config = DnssecConfig::default();
    config.trust_anchor = Some(Arc::new(anchors));
    let policy = DnssecPolicy::ValidateWithStaticKey(config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let results = runtime.block_on(async {
        let root = [ROOT.parse().unwrap()];
        let options = RecursorOptions::default();
        let provider = TokioRuntimeProvider::default();
        let recursor = Recursor::new(&root, policy, None, options, provider).unwrap();
        let mut results = Vec::new();
        for (name, kind) in [
            ("www.example.org.", RecordType::A),
            // A DNAME.
            ("host.old.example.org.", RecordType::A),
            // An alias of a host without IPv6.
            ("tonoaaaa.example.org.", RecordType::AAAA),
            // An alias of a wildcard in another zone.
            ("outwild.example.org.", RecordType::A),
        ] {
            let query = Query::query(Name::from_ascii(name).unwrap(), kind);
            let result = recursor.resolve(query, Instant::now(), true).await;
            let secure = result.is_ok_and(|message| {
                let mut plain = message
                    .answers
                    .iter()
                    .filter(|r| r.record_type() != RecordType::RRSIG);
                plain.all(|record| record.proof.is_secure())
            });
            results.push((name, secure));
        }
        results
    });
    assert_eq!(
        results,
        [
            ("www.example.org.", true),
            ("host.old.example.org.", false),
            ("tonoaaaa.example.org.", false),
            ("outwild.example.org.", false),
        ]
    );
}

#[test]
fn servers_at_private_addresses_are_not_asked() {
    if !inside("servers_at_private_addresses_are_not_asked") {
        return;
    }
    let _world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let name = Name::from_ascii("www.private.net.").unwrap();
    for public in [true, false] {
        let root = Root {
            servers: vec![ROOT.parse().unwrap()],
            anchors: vec![],
            public,
        };
        let found = runtime.block_on(async {
            let recursion = Recursion::new(&root).unwrap();
            recursion.ask(&name, RecordType::A).await
        });
        assert_eq!(found.is_err(), public, "{found:?}");
    }
}

/// Fills every cache, and says how much memory that takes; `README.md` has the figure.
#[test]
fn memory_is_bounded() {
    if !inside("memory_is_bounded") {
        return;
    }
    let world = World::new();
    let resolver = world.resolver(ROOT, &[], true);
    resolver.wait_for(Way::Recursive);
    let resident = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", resolver.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let before = resident();
    std::thread::scope(|scope| {
        for part in 0..20 {
            let resolver = &resolver;
            scope.spawn(move || {
                for number in 0..100 {
                    let name = format!("{part}-{number}.wild.example.org.");
                    let answer = resolver.ask(&name, RecordType::A);
                    assert!(
                        answer.metadata.authentic_data,
                        "{name} {:?} {}",
                        reason(&answer),
                        resolver.log()
                    );
                }
            });
        }
    });
    let after = resident();
    println!("{before} kB at the start, {after} kB after 2,000 names");
    assert!(after < 64 << 10, "{after} kB");
}

#[test]
fn clients_get_what_they_ask_for() {
    if !inside("clients_get_what_they_ask_for") {
        return;
    }
    let world = World::new();
    let resolver = world.resolver(ROOT, &[], true);
    resolver.wait_for(Way::Recursive);
    let signatures = |message: &Message| {
        message
            .all_sections()
            .filter(|record| record.record_type() == RecordType::RRSIG)
            .count()
    };
    let secure = resolver.ask("www.example.org.", RecordType::A);
    assert!(signatures(&secure) > 0 && secure.metadata.authentic_data);
    // Neither DO nor AD: the client would not know what AD means.
    let plain = resolver.ask_with("www.example.org.", RecordType::A, |message| {
        message.edns = None
    });
    assert_eq!(signatures(&plain), 0);
    assert!(!plain.metadata.authentic_data && plain.edns.is_none());
    let ad = resolver.ask_with("www.example.org.", RecordType::A, |message| {
        message.edns = None;
        message.metadata.authentic_data = true;
    });
    assert!(ad.metadata.authentic_data && signatures(&ad) == 0);
    let keys = resolver.ask_with("example.org.", RecordType::DNSKEY, |message| {
        message.edns = None
    });
    assert_eq!(keys.answers.len(), 2);

    // Forged: the reason, and the answer itself for who checks by itself.
    let bogus = resolver.ask("www.bogus.org.", RecordType::A);
    assert_eq!(bogus.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(reason(&bogus), Some(6));
    assert!(bogus.answers.is_empty());
    let unchecked = resolver.ask_with("www.bogus.org.", RecordType::A, |message| {
        message.metadata.checking_disabled = true;
    });
    assert_eq!(unchecked.metadata.response_code, ResponseCode::NoError);
    assert!(unchecked.metadata.checking_disabled && !unchecked.metadata.authentic_data);
    assert!(unchecked.answers.len() > 1);

    // Somebody who wants nobody to be asked.
    let cached = |name: &str| {
        resolver.ask_with(name, RecordType::A, |message| {
            message.metadata.recursion_desired = false
        })
    };
    assert_eq!(
        cached("www.example.org.").metadata.response_code,
        ResponseCode::NoError
    );
    assert_eq!(
        cached("www.example.net.").metadata.response_code,
        ResponseCode::Refused
    );

    // What does not fit comes by TCP, on one connection, in whatever order.
    let mut stream = TcpStream::connect((OURS, 53)).unwrap();
    let ask = |id: u16, name: &str| {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(
            Name::from_ascii(name).unwrap(),
            RecordType::TXT,
        ));
        message
    };
    let big = ask_by_tcp(&mut stream, &ask(1, "big.example.org."));
    assert_eq!((big.answers.len(), big.metadata.truncation), (13, false));
    use std::io::Write;
    for (id, name) in [(2, "example.org."), (3, "a.b.c.nsec3.org.")] {
        let bytes = ask(id, name).to_vec().unwrap();
        stream
            .write_all(&(bytes.len() as u16).to_be_bytes())
            .unwrap();
        stream.write_all(&bytes).unwrap();
    }
    let mut ids =
        [read_by_tcp(&mut stream), read_by_tcp(&mut stream)].map(|message| message.metadata.id);
    ids.sort();
    assert_eq!(ids, [2, 3]);

    // This machine, and nobody.
    let own = resolver.ask("localhost.", RecordType::A);
    assert_eq!(own.answers[0].data.to_string(), "127.0.0.1");
    let nobody = resolver.ask("mx.invalid.", RecordType::A);
    assert_eq!(nobody.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn servers_see_no_more_of_a_name_than_they_need() {
    if !inside("servers_see_no_more_of_a_name_than_they_need") {
        return;
    }
    let world = World::new();
    // Unbound has asked something too when it started.
    let before = ["root", "top"].map(|server| world.asked(server).len());
    let resolver = world.resolver(ROOT, &[], true);
    resolver.wait_for(Way::Recursive);
    for name in [
        "a.b.c.d.example.org.",
        "_25._tcp.mail.example.org.",
        "www.glueless.net.",
        "x.y.z.unsigned.org.",
    ] {
        resolver.ask(name, RecordType::A);
    }
    let labels = |server: &str, before: usize| -> usize {
        let asked = world.asked(server).split_off(before);
        assert!(asked.len() > 4, "{asked:?}");
        let count = |name: &str| name.split('.').filter(|label| !label.is_empty()).count();
        asked.iter().map(|(name, _)| count(name)).max().unwrap()
    };
    assert_eq!(labels("root", before[0]), 1, "{:?}", world.asked("root"));
    assert_eq!(labels("top", before[1]), 2, "{:?}", world.asked("top"));
}

#[test]
fn servers_that_are_away_or_know_nothing_are_passed_over() {
    if !inside("servers_that_are_away_or_know_nothing_are_passed_over") {
        return;
    }
    let world = World::new();
    let resolver = world.resolver(ROOT, &[], true);
    resolver.wait_for(Way::Recursive);
    for name in ["www.lame.org.", "www.slow.org."] {
        // Each for itself: nothing is in the cache but which server is slow.
        for kind in [
            RecordType::A,
            RecordType::MX,
            RecordType::TXT,
            RecordType::AAAA,
        ] {
            let began = Instant::now();
            let answer = resolver.ask(name, kind);
            assert_eq!(
                answer.metadata.response_code,
                ResponseCode::NoError,
                "{name} {kind} {}",
                resolver.log()
            );
            assert!(answer.metadata.authentic_data);
            assert!(began.elapsed() < Duration::from_secs(8), "{name} {kind}");
        }
    }
}

/// hickory goes down label by label, where RFC 9156 (section 2.3) would have ten steps at most. So it is the
/// number of labels that is bounded.
#[test]
fn a_name_costs_a_question_for_each_label_and_too_deep_a_name_none() {
    if !inside("a_name_costs_a_question_for_each_label_and_too_deep_a_name_none") {
        return;
    }
    let world = World::new();
    let resolver = world.resolver(ROOT, &[], true);
    resolver.wait_for(Way::Recursive);
    resolver.ask("nothing.org.", RecordType::A);
    for (letter, labels) in [("a.", 5), ("b.", 34), ("c.", 60), ("e.", 64), ("f.", 120)] {
        let before = world.asked("top").len();
        let answer = resolver.ask(&format!("{}org.", letter.repeat(labels)), RecordType::A);
        let asked = world.asked("top").len() - before;
        let (code, questions) = match labels {
            // One for each label below `org`, and the one for what was asked.
            ..64 => (ResponseCode::NXDomain, labels + 1),
            _ => (ResponseCode::ServFail, 0),
        };
        assert_eq!(
            (answer.metadata.response_code, asked),
            (code, questions),
            "{labels} labels"
        );
    }
}
