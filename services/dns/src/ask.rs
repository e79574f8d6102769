//! Asks other name servers: a question over UDP and, where the answer was cut, over TCP; or many over one TCP
//! connection (RFC 7766), which nobody limits and which is hard to forge.
//!
//! hickory-proto reads and writes the messages. Its client is not used: it brings a connection task, and the
//! resolver above it caches and hides who answered, which is what is asked for here.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

/// How long an answer to a datagram is waited for, and how long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a datagram is sent: one may get lost.
const TRIES: usize = 2;
/// Bytes of the longest answer over UDP: fits everywhere without fragments (RFC 9715), which can be forged.
const PAYLOAD: u16 = 1232;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Of which name.
    pub name: Name,
    /// Which type.
    pub kind: RecordType,
    /// Whether the server shall ask others, as a resolver does, and say whether it checked the signatures.
    pub recursion: bool,
}

impl Question {
    /// What the server itself has.
    pub fn of(name: &Name, kind: RecordType) -> Self {
        Self {
            name: name.clone(),
            kind,
            recursion: false,
        }
    }
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// The address to ask it from. `None`: whichever routing prefers.
    pub from: Option<IpAddr>,
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            from: None,
        }
    }
}

impl Server {
    fn local(&self) -> SocketAddr {
        let any = match self.address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        // Port 0: the kernel draws one.
        SocketAddr::from((self.from.unwrap_or(any), 0))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The network says so.
    #[error("it cannot be reached: {0}")]
    Network(#[from] io::Error),
    /// Nothing came in time.
    #[error("no answer came in time")]
    Silent,
    /// The question cannot be put into a message.
    #[error("the name is too long to be asked for")]
    Question,
    /// It is asked in vain.
    #[error("it answers: {0}")]
    Code(ResponseCode),
    /// It does not speak for the zone.
    #[error("it does not answer for the zone")]
    Lame,
}

/// A question as a message with a random number. That, the random port and the server's address are what an
/// answer over UDP is known by.
fn request(question: &Question) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = question.recursion;
    // "Say whether you checked it" (RFC 6840, section 5.7).
    message.metadata.authentic_data = question.recursion;
    let mut query = Query::query(question.name.clone(), question.kind);
    query.set_query_class(DNSClass::IN);
    message.add_query(query);
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    message.set_edns(edns);
    message
}

/// Reads what came back, if it is the answer to this question under this number; whatever else comes is for
/// others or forged, and is nothing.
pub fn answer(bytes: &[u8], id: u16, question: &Question) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let head = &message.metadata;
    let [query] = &message.queries[..] else {
        return None;
    };
    let same = head.id == id
        && head.message_type == MessageType::Response
        && head.op_code == OpCode::Query
        && query.name() == &question.name
        && query.query_type() == question.kind
        && query.query_class() == DNSClass::IN;
    same.then_some(message)
}

/// Asks once over UDP, and over TCP if the answer was cut. The code of the answer is for the caller to look at.
///
/// # Errors
/// [`Failure`] where no answer came.
pub async fn one(server: Server, question: &Question) -> Result<Message, Failure> {
    let message = request(question);
    let bytes = message.to_vec().map_err(|_| Failure::Question)?;
    for _ in 0..TRIES {
        match timeout(
            PATIENCE,
            datagram(server, message.metadata.id, question, &bytes),
        )
        .await
        {
            Err(_) => {}
            Ok(Ok(answer)) if answer.metadata.truncation => {
                let all = many(server, std::slice::from_ref(question), PATIENCE * 2).await?;
                return all.into_iter().next().flatten().ok_or(Failure::Silent);
            }
            Ok(answer) => return answer,
        }
    }
    Err(Failure::Silent)
}

async fn datagram(
    server: Server,
    id: u16,
    question: &Question,
    bytes: &[u8],
) -> Result<Message, Failure> {
    let socket = UdpSocket::bind(server.local()).await?;
    socket.connect(server.address).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(message) = answer(&buffer[..length], id, question) {
            return Ok(message);
        }
    }
}

/// Asks all at once over one connection, and takes what comes within `patience`, in the order of the questions.
///
/// # Errors
/// [`Failure`] where not one answer came.
pub async fn many(
    server: Server,
    questions: &[Question],
    patience: Duration,
) -> Result<Vec<Option<Message>>, Failure> {
    let until = Instant::now() + patience;
    let mut stream = timeout(PATIENCE.min(patience), connect(server))
        .await
        .map_err(|_| Failure::Silent)??;
    let first = Message::query().metadata.id;
    let mut sent = Vec::new();
    for (number, question) in (0u16..).zip(questions) {
        let mut message = request(question);
        message.metadata.id = first.wrapping_add(number);
        let bytes = message.to_vec().map_err(|_| Failure::Question)?;
        let length = u16::try_from(bytes.len()).map_err(|_| Failure::Question)?;
        sent.extend_from_slice(&length.to_be_bytes());
        sent.extend_from_slice(&bytes);
    }
    let mut answers = vec![None; questions.len()];
    let (mut read, mut write) = stream.split();
    // A server that reads no more before its answers are taken must not stop us from taking them.
    let writing = async {
        write.write_all(&sent).await?;
        std::future::pending::<io::Result<()>>().await
    };
    let reading = take(&mut read, first, questions, &mut answers);
    let ended = timeout_at(until, async {
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
        }
    })
    .await;
    match ended {
        _ if answers.iter().any(Option::is_some) || questions.is_empty() => Ok(answers),
        Ok(Err(error)) => Err(error.into()),
        _ => Err(Failure::Silent),
    }
}

/// Takes answers in whatever order they come (RFC 7766, section 6.2.1.1), until none is missing.
async fn take(
    stream: &mut (impl AsyncReadExt + Unpin),
    first: u16,
    questions: &[Question],
    answers: &mut [Option<Message>],
) -> io::Result<()> {
    while answers.iter().any(Option::is_none) {
        let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut bytes).await?;
        let Some(id) = bytes.first_chunk().copied().map(u16::from_be_bytes) else {
            continue;
        };
        let at = usize::from(id.wrapping_sub(first));
        if let Some((question, slot)) = questions.get(at).zip(answers.get_mut(at)) {
            *slot = slot.take().or_else(|| answer(&bytes, id, question));
        }
    }
    Ok(())
}

async fn connect(server: Server) -> io::Result<TcpStream> {
    let socket = match server.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(server.local())?;
    let stream = socket.connect(server.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
