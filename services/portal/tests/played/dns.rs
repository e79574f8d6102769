//! A name server, played: what it says is up to a test.

use domain::base::iana::{Rcode, Rtype};
use domain::base::message_builder::MessageBuilder;
use domain::base::{Message, Name};
use domain::rdata::{A, Mx};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::UdpSocket;

/// What it says to a question.
pub enum Says {
    /// These addresses.
    Addresses(Vec<Ipv4Addr>),
    /// These mail servers.
    Mail(Vec<(u16, &'static str)>),
    /// The name is there, and has nothing of this kind.
    Empty,
    /// There is no such name.
    NoName,
    /// Something is broken.
    Broken,
    /// Nothing at all.
    Silence,
}

/// Listens on loopback for as long as the test runs. `says` is given the name without a dot at its end,
/// the kind of record, and how often it was asked that before.
pub async fn listen(
    says: impl Fn(&str, Rtype, usize) -> Says + Send + Sync + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut buffer, mut asked) = ([0; 512], HashMap::new());
        loop {
            let (read, asker) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_octets(&buffer[..read]).unwrap();
            let sole = question.sole_question().unwrap();
            let (name, kind) = (sole.qname().to_string(), sole.qtype());
            let before = asked.entry((name.clone(), kind)).or_insert(0);
            let said = says(&name, kind, *before);
            *before += 1;
            if let Some(answer) = answer(&question, &name, said) {
                socket.send_to(&answer, asker).await.unwrap();
            }
        }
    });
    address
}

fn answer(question: &Message<&[u8]>, name: &str, said: Says) -> Option<Vec<u8>> {
    let code = match said {
        Says::Silence => return None,
        Says::Broken => Rcode::SERVFAIL,
        Says::NoName => Rcode::NXDOMAIN,
        _ => Rcode::NOERROR,
    };
    let parse = |name: &str| name.parse::<Name<Vec<u8>>>().unwrap();
    let mut answer = MessageBuilder::new_vec()
        .start_answer(question, code)
        .unwrap();
    match said {
        Says::Addresses(addresses) => {
            for address in addresses {
                answer.push((parse(name), 60, A::new(address))).unwrap();
            }
        }
        Says::Mail(hosts) => {
            for (preference, host) in hosts {
                let record = Mx::new(preference, parse(host));
                answer.push((parse(name), 60, record)).unwrap();
            }
        }
        _ => {}
    }
    Some(answer.finish())
}
