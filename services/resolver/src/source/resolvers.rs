//! Answers from the network's resolvers.

use crate::found::{Failure, Found};
use bytes::Bytes;
use domain::base::{Message as Bare, MessageBuilder, Name as BareName, Rtype};
use domain::net::client::dgram_stream::{self, Connection};
use domain::net::client::protocol::{TcpConnect, UdpConnect};
use domain::net::client::request::{ComposeRequest, RequestMessage, SendRequest};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Where resolvers listen (RFC 1035, section 4.2).
const PORT: u16 = 53;
/// How long one resolver is waited for by UDP, each of two times.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The same with all that may follow: a resolver that has to look for itself, TCP.
const ALL: Duration = Duration::from_secs(4);

type Request = RequestMessage<Vec<u8>>;

/// The network's resolvers.
pub struct Resolvers {
    each: Vec<Connection<UdpConnect, Request>>,
    /// The one that answered last.
    first: AtomicUsize,
}

impl Resolvers {
    /// At these addresses. Must be called within tokio's runtime.
    pub fn new(servers: &[IpAddr]) -> Self {
        let each = servers.iter().map(|server| {
            let address = SocketAddr::new(*server, PORT);
            let mut config = dgram_stream::Config::new();
            config.dgram_mut().set_read_timeout(PATIENCE);
            config.dgram_mut().set_max_retries(1);
            config.stream_mut().set_response_timeout(ALL);
            let (connection, transport) =
                Connection::with_config(UdpConnect::new(address), TcpConnect::new(address), config);
            // It ends with the connection.
            tokio::spawn(transport.run());
            connection
        });
        Self {
            each: each.collect(),
            first: AtomicUsize::new(0),
        }
    }

    /// See [`super::Source::ask`].
    ///
    /// # Errors
    /// When none of them gave an answer.
    pub async fn ask(&self, name: &Name, kind: RecordType) -> Result<Found, Failure> {
        let request = compose(name, kind).map_err(Failure::Useless)?;
        let mut failed = Failure::Silent;
        let first = self.first.load(Ordering::Relaxed);
        for step in 0..self.each.len() {
            let at = (first + step) % self.each.len();
            let Some(connection) = self.each.get(at) else {
                continue;
            };
            let mut asked = connection.send_request(request.clone());
            let answer = match timeout(ALL, asked.get_response()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => continue,
            };
            match read(&answer) {
                Ok(found) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(found);
                }
                Err(why) => failed = Failure::Useless(why),
            }
        }
        Err(failed)
    }
}

/// The question, with the order to send signatures and not to check them (RFC 4035, section 3.2.2): that is
/// done here.
fn compose(name: &Name, kind: RecordType) -> Result<Request, String> {
    let bare: BareName<Bytes> = bare_name(name)?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_rd(true);
    message.header_mut().set_cd(true);
    let mut message = message.question();
    let kind = Rtype::from_int(kind.into());
    message
        .push((bare, kind))
        .map_err(|error| error.to_string())?;
    let mut request = Request::new(message).map_err(|error| error.to_string())?;
    request.set_udp_payload_size(crate::wire::PAYLOAD);
    request.set_dnssec_ok(true);
    Ok(request)
}

/// A name as the other library has it.
///
/// # Errors
/// When it is too long, which it cannot be.
pub fn bare_name(name: &Name) -> Result<BareName<Bytes>, String> {
    use hickory_proto::serialize::binary::BinEncodable;
    let bytes = name.to_bytes().map_err(|error| error.to_string())?;
    BareName::from_octets(Bytes::from(bytes)).map_err(|error| error.to_string())
}

fn read(answer: &Bare<Bytes>) -> Result<Found, String> {
    let message = Message::from_vec(answer.as_slice()).map_err(|error| error.to_string())?;
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let mut found = Found::of(message);
            found.tidy();
            Ok(found)
        }
        code => Err(format!("the network's resolver answers {code}")),
    }
}
