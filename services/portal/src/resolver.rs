//! The resolver that the box's programs ask: its own (resolv.conf(5)).

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{MessageBuilder, Name, Question};
use domain::net::client::protocol::{TcpConnect, UdpConnect};
use domain::net::client::request::{ComposeRequest, RequestMessage, SendRequest};
use domain::net::client::{dgram, dgram_stream};
use domain::resolv::StubResolver;
use domain::resolv::stub::Answer;
use domain::resolv::stub::conf::ResolvConf;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Where resolvers listen (RFC 1035 §4.2).
pub const PORT: u16 = 53;

/// One that can be asked.
#[derive(Debug)]
pub struct Resolver {
    stub: StubResolver,
    /// How often a question is asked before it counts as unanswered; each time is as long as
    /// the file says.
    tries: usize,
}

impl Resolver {
    /// The one that this file names, at this port; `None` if it names none.
    pub fn load(resolv_conf: &Path, port: u16) -> Option<Self> {
        let mut conf = ResolvConf::new();
        conf.parse_file(resolv_conf).ok()?;
        if conf.servers.is_empty() {
            return None;
        }
        conf.finalize();
        for server in &mut conf.servers {
            server.addr.set_port(port);
        }
        Some(conf.into())
    }

    /// What the DNS says: records, or that there are none.
    ///
    /// # Errors
    /// Why there is no answer, for people.
    pub async fn ask(&self, name: &str, kind: Rtype) -> Result<Answer, String> {
        let owner: Name<Vec<u8>> = name.parse().map_err(|_| format!("{name} is no name"))?;
        let question = Question::new(owner, kind, Class::IN);
        let mut told = Err("no answer came in time".to_owned());
        // A packet may get lost, and a resolver that had to look for long knows the answer by now.
        for _ in 0..self.tries {
            told = match self.stub.query(question.clone()).await {
                Ok(answer) => match answer.header().rcode() {
                    Rcode::NOERROR | Rcode::NXDOMAIN => return Ok(answer),
                    other => Err(format!("the resolver says {other}")),
                },
                Err(error) => Err(plain(&error).to_owned()),
            };
        }
        told
    }
}

/// Longest wait for one datagram, and how often it is sent again: loopback loses nothing, but a box that
/// starts is busy.
const WAIT: Duration = Duration::from_secs(2);
const RETRIES: u8 = 2;

/// The address of the resolver that this file names first, at this port.
pub fn address(resolv_conf: &Path, port: u16) -> Option<SocketAddr> {
    let mut conf = ResolvConf::new();
    conf.parse_file(resolv_conf).ok()?;
    let first = conf.servers.first()?;
    Some(SocketAddr::new(first.addr.ip(), port))
}

/// One question to this server, whose answer is to come with signatures (DO; RFC 4035, section 3.2.1), by UDP
/// with TCP behind it. How long that may take is up to the caller.
///
/// # Errors
/// Why there is no answer, for people.
pub async fn signed_answer(
    server: SocketAddr,
    owner: &Name<Vec<u8>>,
    kind: Rtype,
) -> Result<Vec<u8>, String> {
    let mut question = MessageBuilder::new_vec();
    // Without it a resolver only says what it happens to know (RFC 1034, section 4.3.1); a name server does not mind.
    question.header_mut().set_rd(true);
    let mut question = question.question();
    (question.push((owner, kind))).map_err(|error| error.to_string())?;
    let mut request =
        RequestMessage::new(question.into_message()).map_err(|error| error.to_string())?;
    request.set_dnssec_ok(true);
    let mut datagrams = dgram::Config::new();
    datagrams.set_read_timeout(WAIT);
    datagrams.set_max_retries(RETRIES);
    let config = dgram_stream::Config::from_parts(datagrams, Default::default());
    let (connection, streams) = dgram_stream::Connection::with_config(
        UdpConnect::new(server),
        TcpConnect::new(server),
        config,
    );
    let mut asked = connection.send_request(request);
    tokio::select! {
        answer = asked.get_response() => match answer {
            Ok(answer) => Ok(answer.as_slice().to_vec()),
            Err(error) => Err(error.to_string()),
        },
        () = streams.run() => Err("the connection broke off".to_owned()),
    }
}

impl From<ResolvConf> for Resolver {
    fn from(conf: ResolvConf) -> Self {
        Self {
            tries: conf.options.attempts.max(1),
            stub: StubResolver::from_conf(conf),
        }
    }
}

/// What an error of the resolver means to the owner.
fn plain(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer came in time",
        _ => "the resolver of the box's network does not answer",
    }
}

/// What an answer is that cannot be read.
pub fn broken<E>(_: E) -> String {
    "the answer makes no sense".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::base::Message;
    use tokio::net::UdpSocket;

    /// A resolver that refuses what it is not asked to look up, as the box's does.
    async fn resolver(socket: UdpSocket) {
        let mut bytes = [0; 1232];
        let (length, asker) = socket.recv_from(&mut bytes).await.unwrap();
        let question = Message::from_slice(&bytes[..length]).unwrap();
        let code = match question.header().rd() {
            true => Rcode::NOERROR,
            false => Rcode::REFUSED,
        };
        let answer = MessageBuilder::new_vec()
            .start_answer(question, code)
            .unwrap()
            .finish();
        socket.send_to(&answer, asker).await.unwrap();
    }

    #[tokio::test]
    async fn a_question_asks_to_be_looked_up() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        let owner: Name<Vec<u8>> = "example.org".parse().unwrap();
        let (answer, ()) = tokio::join!(signed_answer(server, &owner, Rtype::MX), resolver(socket));
        let answer = Message::from_octets(answer.unwrap()).unwrap();
        assert_eq!(answer.header().rcode(), Rcode::NOERROR);
    }
}
