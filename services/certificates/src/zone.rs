//! Challenges in the box's zone: dynamic updates (RFC 2136) signed with TSIG (RFC 8945), and whether
//! name servers have them.
//!
//! Messages and signatures are those of the crate `domain`, which the portal links already; its feature
//! `tsig` adds one small crate. hickory's client would add its own runtime, resolver types and error
//! tree for the same two messages. Both go over TCP: no truncation, no spoofing, and the length in front
//! is all there is to it.

use crate::fault::Fault;
use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message_builder::AdditionalBuilder;
use domain::base::rdata::UnknownRecordData;
use domain::base::{Message, MessageBuilder, Name, Ttl};
use domain::rdata::Txt;
use domain::rdata::tsig::Time48;
use domain::tsig::{Algorithm, ClientTransaction, Key, KeyName};
use roost_service::certificates::Secondary;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep, timeout};

/// Name of the TSIG key.
pub const KEY_NAME: &str = "acme";
/// Its algorithm, as zone configurations spell it.
pub const ALGORITHM: &str = "hmac-sha256";
/// Bytes of its secret: as many as the hash has (RFC 2104, section 3).
pub const SECRET_LEN: usize = 32;

/// TTL of challenges: they are gone in a minute.
const TTL: Ttl = Ttl::from_secs(60);
/// Longest wait for a name server's answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rest between two looks at a name server that has not got a challenge yet.
const REST: Duration = Duration::from_secs(2);

const PUBLISH: &str = "Publishing the proof that the name is the box's";
const LOOK: &str = "Looking whether the name servers have the proof that the name is the box's";

// What a name server does, after its name.
const LATE: &str = "gives no answer in time";
const SHORT: &str = "gives an answer that is too short";

/// A TXT record that proves something for a moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Challenge {
    /// The name that is proven.
    pub name: String,
    /// The zone that it is in.
    pub zone: String,
    /// The record's text.
    pub value: String,
}

impl Challenge {
    /// Where the record is (RFC 8555, section 8.4).
    fn owner(&self) -> Result<Name<Vec<u8>>, String> {
        parse(&format!("_acme-challenge.{}", self.name))
    }
}

/// The name servers, and the right to change challenges.
#[derive(Debug, Clone)]
pub struct NameServers {
    /// The box's own, which takes updates.
    pub primary: SocketAddr,
    /// Others that have copies.
    pub secondaries: Vec<Secondary>,
    /// How long they may take to have a challenge.
    pub patience: Duration,
    key: Arc<Key>,
}

impl NameServers {
    /// These, with updates signed with this secret.
    ///
    /// # Panics
    /// Never: the key's name and lengths are constants.
    pub fn new(primary: SocketAddr, secondaries: Vec<Secondary>, secret: &[u8]) -> Self {
        let name: KeyName = KEY_NAME.parse().expect("a name of one label");
        let key = Key::new(Algorithm::Sha256, secret, name, None, None).expect("no bounds given");
        Self {
            primary,
            secondaries,
            patience: Duration::from_secs(180),
            key: Arc::new(key),
        }
    }

    /// Puts a challenge in place of all that its name has.
    ///
    /// # Errors
    /// When the box's name server cannot be asked, or refuses.
    pub async fn publish(&self, challenge: &Challenge) -> Result<(), Fault> {
        self.change(challenge, true).await
    }

    /// Takes away all challenges of this one's name.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn remove(&self, challenge: &Challenge) -> Result<(), Fault> {
        self.change(challenge, false).await
    }

    async fn change(&self, challenge: &Challenge, add: bool) -> Result<(), Fault> {
        (timeout(PATIENCE, self.update(challenge, add)).await)
            .unwrap_or_else(|_| Err(LATE.into()))
            .map_err(|why| {
                let why = format!("the box's own name server {why}");
                Fault::new(PUBLISH, why).on(&challenge.name).hint(
                    "Look whether the box's name server runs and serves the domain. It is tried again by \
                     itself.",
                )
            })
    }

    async fn update(&self, challenge: &Challenge, add: bool) -> Result<(), String> {
        let mut message = update(challenge, add)?;
        let signed = ClientTransaction::request(self.key.clone(), &mut message, Time48::now())
            .map_err(long)?;
        let answer = exchange(self.primary.into(), &message.finish()).await?;
        let mut answer = Message::from_octets(answer).map_err(|_| SHORT)?;
        match signed.answer(&mut answer, Time48::now()) {
            Ok(()) => {}
            // A server that does not know the key cannot sign that it refuses (RFC 8945, section 5.3).
            Err(_) if answer.header().rcode() != Rcode::NOERROR => {}
            Err(error) => return Err(format!("does not sign its answer as it should ({error})")),
        }
        match answer.header().rcode() {
            Rcode::NOERROR => Ok(()),
            code => Err(format!("refuses the update ({code})")),
        }
    }

    /// Waits until all name servers have all challenges.
    ///
    /// # Errors
    /// When one has not got them in time: the authority would not find them either, and a failed try
    /// counts against its limits.
    pub async fn have(&self, challenges: &[Challenge]) -> Result<(), Fault> {
        let end = Instant::now() + self.patience;
        let own = std::iter::once((self.primary.into(), "the box's own name server"));
        let others = self
            .secondaries
            .iter()
            .map(|server| (*server, "the other name server"));
        for (server, whose) in own.chain(others) {
            for challenge in challenges {
                while let Err(why) = self.has(server, challenge).await {
                    if Instant::now() + REST > end {
                        let why = format!("{whose} ({}) {why}", server.address);
                        return Err(Fault::new(LOOK, why).on(&challenge.name).hint(
                            "Look whether this name server runs and gets the zone. It is tried again by \
                             itself; the certificate authority was not asked.",
                        ));
                    }
                    sleep(REST).await;
                }
            }
        }
        Ok(())
    }

    async fn has(&self, server: Secondary, challenge: &Challenge) -> Result<(), String> {
        let look = look_up(server, challenge.owner()?);
        let texts = (timeout(PATIENCE, look).await).map_err(|_| LATE)??;
        match texts.contains(&challenge.value) {
            true => Ok(()),
            false => Err("has not got the record".into()),
        }
    }
}

/// An update without its signature: first the old records go, then the new one comes (RFC 2136,
/// section 2.5).
fn update(challenge: &Challenge, add: bool) -> Result<AdditionalBuilder<Vec<u8>>, String> {
    let (zone, owner) = (parse(&challenge.zone)?, challenge.owner()?);
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_random_id();
    message.header_mut().set_opcode(Opcode::UPDATE);
    let mut message = message.question();
    message.push((zone, Rtype::SOA)).map_err(long)?;
    let mut message = message.authority();
    let all = UnknownRecordData::from_octets(Rtype::TXT, [0u8; 0]).map_err(long)?;
    (message.push((&owner, Class::ANY, Ttl::ZERO, all))).map_err(long)?;
    if add {
        let text = Txt::<Vec<u8>>::build_from_slice(challenge.value.as_bytes()).map_err(long)?;
        message.push((&owner, TTL, text)).map_err(long)?;
    }
    Ok(message.additional())
}

/// The texts that a name server has at this name, by its own authority.
async fn look_up(server: Secondary, owner: Name<Vec<u8>>) -> Result<Vec<String>, String> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_random_id();
    let id = message.header().id();
    let mut message = message.question();
    message.push((&owner, Rtype::TXT)).map_err(long)?;
    let answer = exchange(server, &message.finish()).await?;
    texts(answer, id, &owner)
}

/// The texts in an answer.
fn texts(answer: Vec<u8>, id: u16, owner: &Name<Vec<u8>>) -> Result<Vec<String>, String> {
    let broken = |_| "gives a broken answer".to_owned();
    let answer = Message::from_octets(answer).map_err(|_| SHORT)?;
    let header = answer.header();
    if header.id() != id || !header.qr() {
        return Err("answers something else".into());
    }
    match header.rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN if !header.aa() => {
            return Err("does not serve this zone".into());
        }
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        code => return Err(format!("answers {code}")),
    }
    let mut texts = Vec::new();
    for record in (answer.answer().map_err(broken)?).limit_to::<Txt<_>>() {
        let record = record.map_err(broken)?;
        if record.owner() == owner {
            let text = record.data().text::<Vec<u8>>();
            texts.push(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(texts)
}

/// A message there and one back, each with its length in front (RFC 7766, section 8).
async fn exchange(server: Secondary, message: &[u8]) -> Result<Vec<u8>, String> {
    let talk = async {
        let socket = match server.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(from) = server.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let mut stream = socket.connect(server.address).await?;
        let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], message].concat();
        stream.write_all(&framed).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    talk.await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "hangs up".into(),
        _ => format!("cannot be reached ({error})"),
    })
}

fn parse(name: &str) -> Result<Name<Vec<u8>>, String> {
    Name::vec_from_str(name).map_err(|_| format!("cannot be asked: {name} is too long for a name"))
}

fn long<E>(_: E) -> String {
    "cannot be asked: the message is too long".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes: an answer or a reason.
        #[test]
        fn any_answer_is_read(answer in prop::collection::vec(any::<u8>(), 0..200), id: u16) {
            let owner = parse("_acme-challenge.a.example").unwrap();
            let _ = texts(answer, id, &owner);
        }

        /// What was written is read, and for this name only.
        #[test]
        fn texts_are_read(values in prop::collection::vec("[ -~]{0,300}", 0..5)) {
            let owner = parse("_acme-challenge.a.example").unwrap();
            let other = parse("_acme-challenge.b.example").unwrap();
            let mut message = MessageBuilder::new_vec();
            message.header_mut().set_qr(true);
            message.header_mut().set_aa(true);
            let mut message = message.answer();
            for value in &values {
                let text = || Txt::<Vec<u8>>::build_from_slice(value.as_bytes()).unwrap();
                message.push((&owner, TTL, text())).unwrap();
                message.push((&other, TTL, text())).unwrap();
            }
            let message = message.finish();
            prop_assert_eq!(texts(message.clone(), 0, &owner).unwrap(), values);
            prop_assert!(texts(message, 1, &owner).is_err());
        }
    }
}
