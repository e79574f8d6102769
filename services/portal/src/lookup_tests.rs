use super::*;
use domain::base::iana::Rcode;
use domain::base::message_builder::MessageBuilder;
use domain::base::{Message, Name};
use domain::rdata::{A, Aaaa, Cname, Mx, Srv, Txt};
use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport};
use std::net::SocketAddr;
use tokio::net::UdpSocket;

fn record(name: &str, kind: &str, value: Option<&str>) -> DnsRecord {
    DnsRecord {
        name: name.into(),
        kind: kind.into(),
        value: value.map(Into::into),
        purpose: String::new(),
        needed: true,
    }
}

fn not_told(because: &str) -> Found {
    Found::NotTold {
        because: because.into(),
    }
}

/// A name server that answers from memory; names that it does not know do not exist.
async fn serve(socket: UdpSocket) {
    let name = |text: &str| text.parse::<Name<Vec<u8>>>().unwrap();
    let mut buffer = [0; 512];
    loop {
        let (read, asker) = socket.recv_from(&mut buffer).await.unwrap();
        let question = Message::from_octets(&buffer[..read]).unwrap();
        let asked = question.sole_question().unwrap();
        let (owner, kind) = (asked.qname().to_string(), asked.qtype());
        let code = match owner.as_str() {
            "mute.example.org" => continue,
            "broken.example.org" => Rcode::SERVFAIL,
            "gone.example.org" => Rcode::NXDOMAIN,
            _ => Rcode::NOERROR,
        };
        let mut answer = MessageBuilder::new_vec()
            .start_answer(&question, code)
            .unwrap();
        let at = name(&owner);
        let long = "v=DKIM1; k=rsa; p=".to_owned() + &"A".repeat(300);
        let text = |text: &str| Txt::<Vec<u8>>::build_from_slice(text.as_bytes()).unwrap();
        match (owner.as_str(), kind) {
            ("example.org", Rtype::MX) => {
                answer.push((at, 60, Mx::new(10, name("Mail.example.org."))))
            }
            ("example.org", Rtype::TXT) => answer
                .push((at.clone(), 60, text("v=spf1 mx  -all")))
                .and_then(|()| answer.push((at, 60, text("some-proof=1234")))),
            ("two.example.org", Rtype::TXT) => answer
                .push((at.clone(), 60, text("v=spf1 mx -all")))
                .and_then(|()| answer.push((at, 60, text("v=spf1 a ~all")))),
            ("rsa._domainkey.example.org", Rtype::TXT) => answer.push((at, 60, text(&long))),
            ("mail.example.org", Rtype::A) => answer.push((at, 60, A::from_octets(192, 0, 2, 1))),
            ("autoconfig.example.org", Rtype::CNAME) => {
                answer.push((at, 60, Cname::new(name("mail.example.org."))))
            }
            ("_imaps._tcp.example.org", Rtype::SRV) => {
                answer.push((at, 60, Srv::new(0, 1, 993, name("old.example.org."))))
            }
            // An alias on the way.
            ("host.example.org", Rtype::AAAA) => answer
                .push((at, 60, Cname::new(name("mail.example.org."))))
                .and_then(|()| {
                    answer.push((
                        name("mail.example.org."),
                        60,
                        Aaaa::new("2001:db8::1".parse().unwrap()),
                    ))
                }),
            _ => Ok(()),
        }
        .unwrap();
        socket.send_to(&answer.finish(), asker).await.unwrap();
    }
}

fn at(server: SocketAddr, timeout: Duration) -> Resolver {
    let mut conf = ResolvConf::new();
    let mut server = ServerConf::new(server, Transport::UdpTcp);
    server.request_timeout = timeout;
    conf.servers.push(server);
    conf.options.timeout = timeout;
    conf.into()
}

#[tokio::test]
async fn what_is_there_is_compared_with_what_should_be() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = at(socket.local_addr().unwrap(), Duration::from_secs(30));
    tokio::spawn(serve(socket));
    let long = "v=DKIM1; k=rsa; p=".to_owned() + &"A".repeat(300);
    let records = [
        record("example.org", "MX", Some("10 mail.example.org.")),
        record("example.org", "TXT", Some("v=spf1 mx -all")),
        record("two.example.org", "TXT", Some("v=spf1 mx -all")),
        record("rsa._domainkey.example.org", "TXT", Some(&long)),
        record("mail.example.org", "A", None),
        record("mail.example.org", "AAAA", None),
        record("host.example.org", "AAAA", None),
        record("autoconfig.example.org", "CNAME", Some("mail.example.org.")),
        record(
            "_imaps._tcp.example.org",
            "SRV",
            Some("0 1 993 mail.example.org."),
        ),
        record("_dmarc.example.org", "TXT", Some("v=DMARC1; p=quarantine")),
        record("gone.example.org", "TXT", Some("v=spf1 -all")),
        record("broken.example.org", "TXT", Some("v=spf1 -all")),
    ];
    let shown: Vec<String> = ask_all(&resolver, &records)
        .await
        .iter()
        .zip(&records)
        .map(|(found, record)| format!("{} {}: {found:?}", record.name, record.kind))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[tokio::test]
async fn nobody_answers() {
    let records = [record("mute.example.org", "TXT", Some("v=spf1 -all"))];
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver_at = |server| at(server, Duration::from_millis(50));
    let found = ask_all(&resolver_at(mute.local_addr().unwrap()), &records).await;
    assert_eq!(found, [not_told("no answer came in time")]);
    // Nobody is there at all.
    let nobody = mute.local_addr().unwrap();
    drop(mute);
    let found = ask_all(&resolver_at(nobody), &records).await;
    assert!(matches!(&found[..], [Found::NotTold { .. }]), "{found:?}");
}

#[test]
fn two_that_should_be_there_do_not_contradict_each_other() {
    let first = record("example.org", "MX", Some("10 a.example.org."));
    let wanted = ["10 a.example.org.", "20 b.example.org."];
    let there = || vec!["20 b.example.org".to_owned(), "10 a.example.org".to_owned()];
    assert_eq!(compare(&first, &wanted, there()), Found::Right);
    assert_eq!(
        compare(&first, &wanted[..1], there()),
        Found::Wrong { values: there() }
    );
}

#[tokio::test]
async fn a_box_that_has_no_resolver_yet() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("resolv.conf");
    let load = || Resolver::load(&conf, resolver::PORT);
    let record = record("example.org", "A", None);
    let says_so = [Looked {
        record: record.clone(),
        now: not_told("the box has got no resolver from its network yet"),
    }];
    assert_eq!(
        look_up(load().as_ref(), vec![record.clone()]).await,
        says_so
    );
    std::fs::write(&conf, "search lan\n").unwrap();
    assert_eq!(look_up(load().as_ref(), vec![record]).await, says_so);
}
