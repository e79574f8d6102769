use super::look::{look_at, signed};
use super::*;
use domain::base::iana::{Class, Rcode, Rtype, SecurityAlgorithm};
use domain::base::{Message, MessageBuilder, Name, Record, Serial, Ttl};
use domain::rdata::dnssec::Timestamp;
use domain::rdata::{Dnskey, Rrsig, Soa};
use std::net::SocketAddr;
use tokio::net::UdpSocket;

const NOW: Wall = Wall(1_798_761_600);
const DAY: u64 = 86_400;

fn apex() -> Name<Vec<u8>> {
    "example.org".parse().unwrap()
}

/// What a played name server answers.
#[derive(Debug, Clone, Copy)]
enum Says {
    /// Records with a signature over each of these times.
    Signed(&'static [(u64, u64)]),
    /// A signature over another type.
    OverMx,
    /// Records without a signature.
    Unsigned,
    Nothing,
    Refused,
}

const WELL: Says = Says::Signed(&[(NOW.0 - DAY, NOW.0 + 25 * DAY)]);

fn signature(kind: Rtype, (begins, ends): (u64, u64)) -> Rrsig<Vec<u8>, Name<Vec<u8>>> {
    let stamp = |at: u64| Timestamp::from(at as u32);
    Rrsig::new(
        kind,
        SecurityAlgorithm::ECDSAP256SHA256,
        2,
        Ttl::from_secs(3600),
        stamp(ends),
        stamp(begins),
        4711,
        apex(),
        vec![7; 64],
    )
    .unwrap()
}

fn answer(question: &Message<&[u8]>, says: Says) -> Vec<u8> {
    let kind = question.sole_question().unwrap().qtype();
    let code = match says {
        Says::Refused => Rcode::REFUSED,
        _ => Rcode::NOERROR,
    };
    let mut answer = MessageBuilder::new_vec()
        .start_answer(question, code)
        .unwrap();
    let ttl = Ttl::from_secs(3600);
    if !matches!(says, Says::Nothing | Says::Refused) {
        if kind == Rtype::SOA {
            let name = || "ns1.example.org".parse::<Name<Vec<u8>>>().unwrap();
            let soa = Soa::new(name(), name(), Serial(7), ttl, ttl, ttl, ttl);
            answer
                .push(Record::new(apex(), Class::IN, ttl, soa))
                .unwrap();
        } else {
            let algorithm = SecurityAlgorithm::ECDSAP256SHA256;
            let key = Dnskey::new(257, 3, algorithm, vec![7; 64]).unwrap();
            answer
                .push(Record::new(apex(), Class::IN, ttl, key))
                .unwrap();
        }
    }
    let signatures = match says {
        Says::Signed(times) => times.iter().map(|times| signature(kind, *times)).collect(),
        Says::OverMx => vec![signature(Rtype::MX, (NOW.0 - DAY, NOW.0 + 25 * DAY))],
        _ => vec![],
    };
    for signature in signatures {
        answer
            .push(Record::new(apex(), Class::IN, ttl, signature))
            .unwrap();
    }
    answer.finish()
}

fn question(kind: Rtype) -> Vec<u8> {
    let mut question = MessageBuilder::new_vec().question();
    question.push((apex(), kind)).unwrap();
    question.finish()
}

/// What is made of an answer to a question for `kind`.
fn judged(kind: Rtype, says: Says, now: Wall) -> Result<(), Wrong> {
    let question = question(kind);
    let question = Message::from_octets(question.as_slice()).unwrap();
    signed(&answer(&question, says), &apex(), kind, now)
}

#[test]
fn what_answers_are_worth() {
    let mut told = String::new();
    for (what, says) in [
        ("well", WELL),
        ("a week is left", Says::Signed(&[(0, NOW.0 + 7 * DAY)])),
        ("a second less", Says::Signed(&[(0, NOW.0 + 7 * DAY - 1)])),
        (
            "one of two ends",
            Says::Signed(&[(0, NOW.0 + 25 * DAY), (0, NOW.0 + 2 * DAY)]),
        ),
        ("expired", Says::Signed(&[(0, NOW.0 - 1)])),
        (
            "from tomorrow on",
            Says::Signed(&[(NOW.0 + DAY, NOW.0 + 25 * DAY)]),
        ),
        ("over another type", Says::OverMx),
        ("unsigned", Says::Unsigned),
        ("empty", Says::Nothing),
        ("refused", Says::Refused),
    ] {
        for kind in [Rtype::SOA, Rtype::DNSKEY] {
            let judged = match judged(kind, says, NOW) {
                Ok(()) => "all is well".to_owned(),
                Err(wrong) => wrong.told("example.org", NOW),
            };
            told += &format!("{what}, {kind}: {judged}\n");
        }
    }
    insta::assert_snapshot!(told);
    for cut in ["", "\0\0\0\0\0\0\0\0\0\0\0\x01"] {
        let wrong = signed(cut.as_bytes(), &apex(), Rtype::SOA, NOW).unwrap_err();
        assert!(matches!(wrong, Wrong::NoAnswer { .. }), "{wrong:?}");
    }
}

/// Times in signatures have 32 bits, which end in 2106.
#[test]
fn signatures_that_end_after_2106_have_not_ended() {
    let now = Wall((1 << 32) - DAY);
    let over: &[(u64, u64)] = &[((1 << 32) - 2 * DAY, (1 << 32) + 20 * DAY)];
    assert_eq!(judged(Rtype::SOA, Says::Signed(over), now), Ok(()));
}

#[test]
fn an_alarm_is_logged_once_and_a_start_is_none() {
    let watch = Watch::default();
    let silent = || Err(Wrong::NoAnswer { why: "no".into() });
    let ends = |days| {
        Err(Wrong::Ends {
            at: Wall(NOW.0 + days * DAY),
        })
    };
    for _ in 1..TRIES {
        assert_eq!(watch.saw("example.org", NOW, silent()), None);
        assert_eq!(watch.alarm("example.org"), None);
    }
    // It answered in between.
    assert_eq!(watch.saw("example.org", NOW, Ok(())), None);
    for _ in 1..TRIES {
        assert_eq!(watch.saw("example.org", NOW, silent()), None);
    }
    let logged = watch.saw("example.org", NOW, silent()).unwrap();
    assert_eq!(watch.alarm("example.org"), Some(logged));
    assert_eq!(watch.saw("example.org", NOW, silent()), None, "only once");
    assert!(
        watch
            .saw("example.org", NOW, Ok(()))
            .unwrap()
            .contains("again")
    );
    assert!(watch.alarms().is_empty());

    // Signatures that end do not become better by waiting.
    let logged = watch.saw("example.org", NOW, ends(3)).unwrap();
    assert!(logged.contains("end in 3 days"), "{logged}");
    assert_eq!(watch.saw("example.org", NOW, ends(2)), None);
    assert!(
        watch
            .alarm("example.org")
            .unwrap()
            .contains("end in 48 hours")
    );
    assert_eq!(watch.saw("example.net", NOW, Ok(())), None);
    assert_eq!(watch.alarms().len(), 1);
    assert_eq!(watch.domains(), ["example.net", "example.org"]);
    watch.keep(&["example.net".to_owned()]);
    assert!(watch.alarms().is_empty());
}

/// A name server that always says the same.
async fn listen(says: Says) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (read, asker) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_octets(&buffer[..read]).unwrap();
            assert!(question.opt().unwrap().dnssec_ok());
            let answer = answer(&question, says);
            socket.send_to(&answer, asker).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn both_types_are_asked_for_over_the_network() {
    assert_eq!(
        look_at(listen(WELL).await, "example.org", NOW).await,
        Ok(())
    );
    let kind = "SOA".to_owned();
    assert_eq!(
        look_at(listen(Says::Unsigned).await, "example.org", NOW).await,
        Err(Wrong::Unsigned { kind })
    );
    // A port that nobody has any more.
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nobody = nobody.local_addr().unwrap();
    let silent = look_at(nobody, "example.org", NOW).await;
    assert!(matches!(silent, Err(Wrong::NoAnswer { .. })), "{silent:?}");
}
