//! Tells secondaries of each change (NOTIFY, RFC 1996), and asks them what they have.

use crate::serve::{Zones, signature_at};
use crate::tsig::{self, Key, Signer};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an answer is waited for, and the pause after the first failure.
const FIRST: Duration = Duration::from_secs(2);

/// The longest pause between two attempts. A secondary that is away for long asks by itself when it is back
/// (SOA refresh), so that more would be noise.
const LONGEST: Duration = Duration::from_secs(300);

/// Another server that serves our zones.
#[derive(Debug, Clone)]
pub struct Secondary {
    /// Where it is.
    pub address: SocketAddr,
    /// The address to ask it from: the one that it knows us by. `None`: whichever routing prefers.
    pub from: Option<IpAddr>,
    /// The key that we share.
    pub key: Arc<Key>,
}

/// How far a secondary is with a zone, as it told us itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last serial number whose NOTIFY it acknowledged. It may still be fetching that.
    pub acknowledged: Option<u32>,
    /// Attempts since, and why the last failed.
    pub failing: Option<(u32, String)>,
}

type States = BTreeMap<(SocketAddr, Name), Progress>;

/// Notifies secondaries until it is dropped.
pub struct Notifier {
    states: Arc<Mutex<States>>,
    _tasks: JoinSet<()>,
}

/// Why a secondary did not answer, or not well.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Network.
    #[error("no answer from {0}: {1}")]
    Network(SocketAddr, #[source] io::Error),
    /// Nothing came within two seconds.
    #[error("no answer from {0}")]
    Silent(SocketAddr),
    /// It is not signed as it must be: somebody else answered, keys differ, or clocks do.
    #[error(
        "the answer from {0} is not signed with key {1}, or clocks differ by more than five minutes"
    )]
    Signature(SocketAddr, Name),
    /// It said no.
    #[error("{0} answered {1}")]
    Refused(SocketAddr, ResponseCode),
    /// It is no answer to the question.
    #[error("the answer from {0} makes no sense")]
    Senseless(SocketAddr),
}

impl Notifier {
    /// Notifies each secondary of each zone now, and whenever it changes.
    pub fn start(zones: &Zones, secondaries: Vec<Secondary>) -> Self {
        let states = Arc::new(Mutex::new(States::new()));
        let mut tasks = JoinSet::new();
        for secondary in secondaries {
            tasks.spawn(follow(zones.clone(), secondary, Arc::clone(&states)));
        }
        Self {
            states,
            _tasks: tasks,
        }
    }

    /// How far each secondary is with each zone.
    pub fn states(&self) -> BTreeMap<(SocketAddr, Name), Progress> {
        self.states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Keeps one secondary up to date. What changes while an attempt or a pause is under way is one attempt later.
async fn follow(zones: Zones, secondary: Secondary, states: Arc<Mutex<States>>) {
    let mut changes = zones.subscribe();
    let mut pause = FIRST;
    loop {
        changes.borrow_and_update();
        let mut failed = false;
        for (zone, serial) in zones.serials() {
            let at = (secondary.address, zone.clone());
            let known = with(&states, &at, |state| state.acknowledged);
            if known == Some(serial) {
                continue;
            }
            let result = notify(&secondary, &zone).await;
            failed |= result.is_err();
            with(&states, &at, |state| match result {
                Ok(()) => {
                    *state = Progress {
                        acknowledged: Some(serial),
                        failing: None,
                    }
                }
                Err(error) => {
                    let attempts = state.failing.take().map_or(0, |(attempts, _)| attempts);
                    state.failing = Some((attempts + 1, error.to_string()));
                }
            });
        }
        let changed = if failed {
            timeout(pause, changes.changed()).await
        } else {
            Ok(changes.changed().await)
        };
        match changed {
            // Nobody publishes any more.
            Ok(Err(_)) => return,
            Ok(Ok(())) => pause = FIRST,
            Err(_) => pause = (pause * 2).min(LONGEST),
        }
    }
}

fn with<T>(
    states: &Mutex<States>,
    at: &(SocketAddr, Name),
    f: impl FnOnce(&mut Progress) -> T,
) -> T {
    let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
    f(states.entry(at.clone()).or_default())
}

/// Sends one NOTIFY and waits for its acknowledgement. It carries no serial number, which would be a hint only
/// (RFC 1996, section 3.11): the secondary asks for it.
///
/// # Errors
/// It was not acknowledged with a valid signature.
pub async fn notify(secondary: &Secondary, zone: &Name) -> Result<(), AskError> {
    let mut message = question(zone, OpCode::Notify)?;
    message.metadata.authoritative = true;
    ask(secondary, &message).await.map(drop)
}

/// The serial number with which a secondary serves a zone.
///
/// # Errors
/// It did not say, or not with a valid signature.
pub async fn secondary_serial(secondary: &Secondary, zone: &Name) -> Result<u32, AskError> {
    let answer = ask(secondary, &question(zone, OpCode::Query)?).await?;
    let soa = answer.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) if record.name == *zone => Some(soa.serial),
        _ => None,
    });
    soa.ok_or(AskError::Senseless(secondary.address))
}

fn question(zone: &Name, opcode: OpCode) -> Result<Message, AskError> {
    let mut id = [0; 2];
    let random = ring::rand::SystemRandom::new();
    // An answer is believed for its signature; the number only tells two answers apart.
    let _ = ring::rand::SecureRandom::fill(&random, &mut id);
    let mut message = Message::new(u16::from_be_bytes(id), MessageType::Query, opcode);
    let mut query = Query::query(zone.clone(), RecordType::SOA);
    query.set_query_class(DNSClass::IN);
    message.add_query(query);
    Ok(message)
}

/// Asks over UDP, and over TCP if the answer was cut.
async fn ask(secondary: &Secondary, message: &Message) -> Result<Message, AskError> {
    let to = secondary.address;
    let mut request = message.to_vec().map_err(|_| AskError::Senseless(to))?;
    let mut signer = Signer::request(Arc::clone(&secondary.key));
    signer.sign(&mut request, tsig::now());
    let network = |error| AskError::Network(to, error);
    let exchange = datagram(secondary, &request);
    let bytes = timeout(FIRST, exchange)
        .await
        .map_err(|_| AskError::Silent(to))?
        .map_err(network)?;
    let cut = bytes.get(2).is_some_and(|flags| flags & 2 != 0);
    let bytes = match cut {
        false => bytes,
        true => {
            let exchange = stream(secondary, &request);
            timeout(FIRST, exchange)
                .await
                .map_err(|_| AskError::Silent(to))?
                .map_err(network)?
        }
    };
    check(secondary, &bytes, signer.mac())
}

fn check(secondary: &Secondary, bytes: &[u8], mac: &[u8]) -> Result<Message, AskError> {
    let to = secondary.address;
    let answer = Message::from_vec(bytes).map_err(|_| AskError::Senseless(to))?;
    let unsigned = || AskError::Signature(to, secondary.key.name().clone());
    let at = signature_at(bytes).ok_or_else(unsigned)?;
    let keys = std::slice::from_ref(&secondary.key);
    tsig::verify(bytes, at, keys, Some(mac), tsig::now()).map_err(|_| unsigned())?;
    match answer.metadata.response_code {
        ResponseCode::NoError => Ok(answer),
        code => Err(AskError::Refused(to, code)),
    }
}

fn local(secondary: &Secondary) -> SocketAddr {
    let any = match secondary.address {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::from((secondary.from.unwrap_or(any), 0))
}

async fn datagram(secondary: &Secondary, request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(local(secondary)).await?;
    socket.connect(secondary.address).await?;
    socket.send(request).await?;
    let mut answer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        let own = length >= 12 && answer[..2] == request[..2] && answer[2] & 0x80 != 0;
        if own {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn stream(secondary: &Secondary, request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = match secondary.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(local(secondary))?;
    let mut stream = socket.connect(secondary.address).await?;
    let length = u16::try_from(request.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), request].concat())
        .await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
