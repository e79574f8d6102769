//! Whether mail gets out: to port 25 of large receivers.
//!
//! Providers of home connections and of rented machines keep that port closed, some until they are asked.
//! A connection alone proves nothing, since firewalls on the way may take it; a mail server greets
//! first, with 220 (RFC 5321 §3.1, §4.2). IPv4 only: mail leaves by the relay's IPv4 address. On the box
//! the tunnel's routing rule sends these packets the way that mail's take.
//!
//! | What comes of a receiver | PortState |
//! |---|---|
//! | no mail server's name, or no IPv4 address of it | [`PortState::Unknown`] |
//! | a greeting with 220 | [`PortState::Open`] |
//! | no connection, no greeting, a refusal in its place, or something else | [`PortState::Closed`] |

use crate::resolver::{Resolver, broken};
use domain::base::iana::Rtype;
use domain::rdata::{A, Mx};
use futures_util::future::join_all;
use serde::Serialize;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::ToSchema;

/// Where mail servers take mail of others (RFC 5321 §4.5.4.2).
pub const PORT: u16 = 25;
/// Longest reply that is read, in bytes: a line has 512 at most (RFC 5321 §4.5.3.1.5), a greeting some lines.
const MAX_REPLY: u64 = 4096;
/// Characters of a greeting that are told.
const SHOWN: usize = 120;
/// Longest wait for the answer to QUIT.
const GOODBYE: Duration = Duration::from_secs(1);

/// Whether mail gets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// A mail server has greeted.
    Open,
    /// None has.
    Closed,
    /// None could be tried: their names are not known.
    Unknown,
}

/// Whether mail gets out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Port25 {
    /// `open` if one is, else `closed` if one is.
    pub state: PortState,
    /// The same as a sentence for people.
    pub why: String,
    /// Whose mail servers were tried.
    pub tried: Vec<Tried>,
}

/// What came of one receiver. What is not known is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tried {
    /// The receiver.
    #[schema(example = "gmail.com")]
    pub domain: &'static str,
    /// Its first mail server.
    #[schema(example = "gmail-smtp-in.l.google.com")]
    pub host: Option<String>,
    /// That server's first address.
    #[schema(value_type = Option<String>, format = Ipv4)]
    pub address: Option<Ipv4Addr>,
    /// Whether that server has greeted.
    pub state: PortState,
    /// The same as a sentence for people.
    pub why: String,
}

/// What happened at a mail server's port.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It greeted, in these words.
    Greeted(String),
    /// It said at once that it takes no mail from here (RFC 5321 §3.1), in these words.
    Refused(String),
    /// It is no mail server.
    Strange,
    /// There was a connection, and nothing came.
    Silent,
    /// There was a connection, and it was ended before anything came.
    HungUp,
    /// There was no connection.
    Unreachable(io::ErrorKind),
}

/// Tries all receivers at once; in place of a resolver, why there is none.
pub async fn try_all(
    resolver: Result<&Resolver, &str>,
    receivers: &[&'static str],
    port: u16,
    patience: Duration,
) -> Port25 {
    let until = Instant::now() + patience;
    let tried = join_all(receivers.iter().map(|&domain| async move {
        let mut tried = Tried {
            domain,
            host: None,
            address: None,
            state: PortState::Unknown,
            why: String::new(),
        };
        // Half of the time is for the connection, however long the names take.
        let found = match resolver {
            Ok(resolver) => timeout(patience / 2, find(resolver, &mut tried))
                .await
                .unwrap_or_else(|_| Err("no answer came in time".to_owned())),
            Err(why) => Err(why.to_owned()),
        };
        match found {
            Ok(address) => {
                let host = tried.host.as_deref().unwrap_or(domain);
                let outcome = reach(address, port, until).await;
                (tried.state, tried.why) = outcome.told(host);
            }
            Err(why) => {
                tried.why = format!("{domain} was not tried, its mail server is not known: {why}.");
            }
        }
        tried
    }))
    .await;
    let (state, why) = sum_up(&tried);
    let why = why.to_owned();
    Port25 { state, why, tried }
}

/// What all receivers together mean.
fn sum_up(tried: &[Tried]) -> (PortState, &'static str) {
    let any = |state| tried.iter().any(|tried| tried.state == state);
    if any(PortState::Open) {
        (
            PortState::Open,
            "Mail gets out: mail servers outside answer on port 25.",
        )
    } else if any(PortState::Closed) {
        (
            PortState::Closed,
            "Mail does not get out: no mail server outside greets on port 25. It is closed somewhere on the way, \
             mostly by the provider of the machine or line that mail leaves from.",
        )
    } else {
        (
            PortState::Unknown,
            "Whether mail gets out is not known: no mail server's name could be looked up.",
        )
    }
}

/// The address of a domain's first mail server. What was found on the way is kept in `tried`.
async fn find(resolver: &Resolver, tried: &mut Tried) -> Result<Ipv4Addr, String> {
    let answer = resolver.ask(tried.domain, Rtype::MX).await?;
    let mut first: Option<(u16, String)> = None;
    for record in answer.answer().map_err(broken)?.limit_to_in::<Mx<_>>() {
        let record = record.map_err(broken)?;
        let (preference, host) = (record.data().preference(), record.data().exchange());
        // The root stands for "no mail here" (RFC 7505); of the others, the lowest number (RFC 5321 §5.1).
        let lower = first.as_ref().is_none_or(|(least, _)| preference < *least);
        if lower && !host.is_root() {
            first = Some((preference, host.to_string()));
        }
    }
    let (_, host) = first.ok_or("the DNS knows none")?;
    let host = tried.host.insert(host);
    let answer = resolver.ask(host, Rtype::A).await?;
    let mut addresses = answer.answer().map_err(broken)?.limit_to_in::<A>();
    let first = addresses.next().ok_or("it has no IPv4 address")?;
    let address = first.map_err(broken)?.data().addr();
    tried.address = Some(address);
    Ok(address)
}

/// Connects, waits for the greeting and says goodbye, all before `until`.
async fn reach(address: Ipv4Addr, port: u16, until: Instant) -> Outcome {
    let stream = match timeout_at(until, TcpStream::connect((address, port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Outcome::Unreachable(error.kind()),
        Err(_) => return Outcome::Unreachable(io::ErrorKind::TimedOut),
    };
    let mut stream = BufReader::new(stream);
    let mut reply = Vec::new();
    let whole = timeout_at(until, read_reply(&mut stream, &mut reply)).await;
    let outcome = match (reply.is_empty(), &whole) {
        (false, _) => greeting(&reply),
        (true, Err(_)) => Outcome::Silent,
        (true, Ok(_)) => Outcome::HungUp,
    };
    // Who speaks before the greeting has ended is taken for a spammer's program.
    let polite = matches!(outcome, Outcome::Greeted(_) | Outcome::Refused(_));
    if polite && matches!(whole, Ok(Ok(()))) {
        let end = until.min(Instant::now() + GOODBYE);
        let goodbye = async {
            stream.write_all(b"QUIT\r\n").await?;
            // The server ends the connection, not we (RFC 5321 §4.1.1.10).
            read_reply(&mut stream, &mut Vec::new()).await
        };
        // What was to be known is known.
        let _ = timeout_at(end, goodbye).await;
    }
    outcome
}

/// Reads a reply to its last line, which has no hyphen behind its code (RFC 5321 §4.2.1). What has
/// come is in `reply` whatever happens.
async fn read_reply(stream: &mut BufReader<TcpStream>, reply: &mut Vec<u8>) -> io::Result<()> {
    let mut stream = stream.take(MAX_REPLY);
    loop {
        let begin = reply.len();
        if stream.read_until(b'\n', reply).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let more = matches!(
            reply[begin..],
            [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..]
        );
        if !more {
            return Ok(());
        }
    }
}

/// What a server's first words mean.
fn greeting(reply: &[u8]) -> Outcome {
    let line = reply.split(|byte| *byte == b'\n').next().unwrap_or(reply);
    let words = || {
        // They go to screens: nothing but what can be seen.
        let seen = line.iter().filter(|byte| matches!(byte, b' '..=b'~'));
        seen.take(SHOWN).map(|byte| char::from(*byte)).collect()
    };
    let code_ends = matches!(line.get(3), None | Some(b' ' | b'-' | b'\r'));
    match line.get(..3) {
        Some(b"220") if code_ends => Outcome::Greeted(words()),
        Some([b'4' | b'5', b'0'..=b'9', b'0'..=b'9']) if code_ends => Outcome::Refused(words()),
        _ => Outcome::Strange,
    }
}

impl Outcome {
    /// What it means, and in words.
    fn told(&self, host: &str) -> (PortState, String) {
        let why = match self {
            Self::Greeted(words) => {
                return (PortState::Open, format!("{host} greets: \"{words}\"."));
            }
            // It may be something on the way.
            Self::Refused(words) => format!("What answers for {host} refuses: \"{words}\"."),
            Self::Strange => format!("What answers for {host} is no mail server."),
            Self::Silent => {
                format!("{host} takes the connection, but no greeting came in time.")
            }
            Self::HungUp => format!("{host} ended the connection before a greeting came."),
            Self::Unreachable(io::ErrorKind::TimedOut) => {
                format!("No connection to {host} came about in time.")
            }
            Self::Unreachable(io::ErrorKind::ConnectionRefused) => {
                format!("{host} refused the connection.")
            }
            Self::Unreachable(
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable,
            ) => format!("There is no way to {host}."),
            Self::Unreachable(kind) => format!("There was no connection to {host}: {kind}."),
        };
        (PortState::Closed, why)
    }
}

#[cfg(test)]
#[path = "port25_tests.rs"]
mod tests;
