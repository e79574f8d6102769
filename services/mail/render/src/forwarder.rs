//! One name server address that never changes.
//!
//! The library reads its name servers once and asks a public service when
//! there are none. On a box they come from DHCP, after the start, and change.
//! So the library gets this address on loopback, and every question goes to
//! whatever `resolv.conf` names at that moment: on a box, its own resolver,
//! which checks signatures. Questions and answers are handed on as they are,
//! so EDNS, DO and AD (RFC 4035 §3.2) mean to both ends what they say. Two kinds are
//! not: names below [`dane::SUFFIX`] are answered here, and TLSA records are never told
//! to the library, whose own check of signatures trusts no root but the internet's and
//! takes a question without an answer for none.
//!
//! Questions arrive over TCP only. What nobody can answer must not look like
//! an answer: hickory takes SERVFAIL and REFUSED for "no such record", as it
//! does NXDOMAIN, and the library then bounces a message whose receiver's DNS
//! is out of order for an hour, or is being forged (RFC 4035 §5.5). There is
//! no answer that means "could not find out" to it. Silence does, but holds up
//! each question for the length of the library's time-outs; so does the end
//! of the connection, and at once. That ends every question of the connection,
//! so it waits until no other is open. One that the library sends at that very
//! moment is repeated by it on the next connection.

pub mod dane;

use crate::resolv;
use dane::Pin;
use rand::RngCore;
use rand::rngs::OsRng;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Where name servers answer (RFC 1035 §4.2).
pub const PORT: u16 = 53;

/// Time for one question, shared by the servers that are asked. The library waits a little
/// longer; a resolver that asks from the root on may need most of it.
const PATIENCE: Duration = Duration::from_millis(4500);
/// After no server answered, questions fail at once for this long.
const REST: Duration = Duration::from_secs(5);
/// After a failed `accept`, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Answers of one connection that wait to be written.
const MAX_ANSWERS: usize = 64;
/// Largest DNS message over UDP that anybody sends (RFC 6891 suggests 4096).
const UDP_BYTES: usize = 4096;
/// A DNS header (RFC 1035 §4.1.1).
const HEADER_BYTES: usize = 12;

/// A name that is answered here and never asked elsewhere.
pub const PROBE: &str = "self-test.roost.internal";
/// [`PROBE`] as it stands in a question (RFC 1035 §3.1).
const PROBE_LABELS: &[u8] = b"\x09self-test\x05roost\x08internal\x00";

/// Where questions go, once [`spawn`]ed.
pub struct Forwarder {
    /// Address for questions over TCP.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Forwarder {
    /// Whether somebody asked for [`PROBE`], which shows that the library asks at all.
    pub fn was_probed(&self) -> bool {
        self.shared.probed.load(Ordering::Relaxed)
    }

    /// Who is told of the keys of a server, named with a dot at the end, before a connection to it.
    /// Until there is somebody, nobody can say whether a server has any.
    pub fn tell_pins(&self, told: impl Fn(String, Vec<Pin>) + Send + Sync + 'static) {
        // A second one would be a mistake of the program; the first stays.
        let _ = self.shared.told.set(Box::new(told));
    }
}

/// Takes the keys that are pinned for a server.
type Told = Box<dyn Fn(String, Vec<Pin>) + Send + Sync>;

struct Shared {
    path: PathBuf,
    port: u16,
    servers: Mutex<Servers>,
    probed: AtomicBool,
    told: OnceLock<Told>,
}

/// What `resolv.conf` said when it was last read.
#[derive(Default)]
struct Servers {
    version: Option<SystemTime>,
    addresses: Vec<IpAddr>,
    /// Until when questions fail at once.
    rests_until: Option<Instant>,
}

/// Starts to forward to the servers that the file `path` names, at `port`. Must be called within
/// tokio's runtime.
///
/// # Errors
/// When loopback has no port to give.
pub async fn spawn(path: PathBuf, port: u16) -> io::Result<Forwarder> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared {
        path,
        port,
        servers: Mutex::default(),
        probed: AtomicBool::new(false),
        told: OnceLock::new(),
    });
    tokio::spawn(accept(shared.clone(), listener));
    Ok(Forwarder { address, shared })
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(shared.clone(), stream));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Answers the questions of one connection, each as soon as it can (RFC 7766 §7), until one has no
/// answer and no other is open.
async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    let (answers, mut ready) = mpsc::channel::<Option<Vec<u8>>>(MAX_ANSWERS);
    let open = AtomicUsize::new(0);
    let reader = async {
        while let Ok(question) = read_framed(&mut read).await {
            open.fetch_add(1, Ordering::Relaxed);
            let (shared, answers) = (shared.clone(), answers.clone());
            tokio::spawn(async move {
                let answer = shared.ask(&question).await;
                // The connection may be gone.
                let _ = answers.send(answer).await;
            });
        }
    };
    let writer = async {
        let mut unanswered = false;
        while let Some(answer) = ready.recv().await {
            let others = open.fetch_sub(1, Ordering::Relaxed) - 1;
            match answer {
                Some(answer) => {
                    if write_framed(&mut write, &answer).await.is_err() {
                        break;
                    }
                }
                None => unanswered = true,
            }
            if unanswered && others == 0 {
                break;
            }
        }
    };
    // Whichever ends first takes the connection with it.
    tokio::select! {
        () = reader => {}
        () = writer => {}
    }
}

impl Shared {
    /// The answer to a question; `None` when nobody can say.
    async fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        if question.len() < HEADER_BYTES {
            return None;
        }
        if question[HEADER_BYTES..]
            .to_ascii_lowercase()
            .starts_with(PROBE_LABELS)
        {
            self.probed.store(true, Ordering::Relaxed);
            return None;
        }
        if let Some(server) = dane::Server::asked(question) {
            let said = timeout(PATIENCE, self.pins(&server)).await;
            return dane::answer(question, said.unwrap_or(dane::UNKNOWN));
        }
        // The library asks only if there are some, or nobody could say, and it was not told any.
        if dane::asks_for_keys(question) {
            return None;
        }
        self.forward(question).await
    }

    /// Whether a mail server's keys are pinned; if so, they are told.
    async fn pins(&self, server: &dane::Server) -> &'static str {
        match self.prove(&server.address(query_id())).await {
            Some(dane::Proof::Proven(_)) => {}
            Some(dane::Proof::Unproven) => return dane::NONE,
            None => return dane::UNKNOWN,
        }
        match (self.prove(&server.keys(query_id())).await, self.told.get()) {
            (Some(dane::Proof::Proven(pins)), _) if pins.is_empty() => dane::NONE,
            (Some(dane::Proof::Proven(pins)), Some(told)) => {
                told(server.name(), pins);
                dane::PINNED
            }
            (Some(dane::Proof::Unproven), _) => dane::NONE,
            (Some(dane::Proof::Proven(_)), None) | (None, _) => dane::UNKNOWN,
        }
    }

    /// The word of a resolver on the answer to a question: only of one on this box, because nobody
    /// can change it on its way.
    async fn prove(&self, question: &[u8]) -> Option<dane::Proof> {
        let answer = self.forward(question).await?;
        if self.is_own() {
            dane::proof(&answer)
        } else {
            Some(dane::Proof::Unproven)
        }
    }

    /// Whether only resolvers on this box are asked.
    fn is_own(&self) -> bool {
        self.lock().addresses.iter().all(IpAddr::is_loopback)
    }

    /// The answer of a name server; `None` when nobody can say.
    async fn forward(&self, question: &[u8]) -> Option<Vec<u8>> {
        let servers = self.servers();
        let each = PATIENCE / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
        let mut somebody_there = servers.is_empty();
        for server in servers {
            match timeout(each, self.ask_server(server, question)).await {
                Ok(Ok(answer)) => {
                    self.lock().rests_until = None;
                    somebody_there = true;
                    match verdict(&answer) {
                        Verdict::Answer => return Some(answer),
                        // Another server may check no signatures, and must not be believed instead.
                        Verdict::Failure => return None,
                        Verdict::NotForUs => {}
                    }
                }
                // A resolver on this box is there or refuses at once: the question takes long.
                Err(_) if server.is_loopback() => somebody_there = true,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if !somebody_there {
            self.lock().rests_until = Some(Instant::now() + REST);
        }
        None
    }

    /// Servers to ask now: none while they rest.
    fn servers(&self) -> Vec<IpAddr> {
        let version = version(&self.path);
        let mut servers = self.lock();
        if version != servers.version || version.is_none() {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            *servers = Servers {
                version,
                addresses: resolv::name_servers(&text),
                rests_until: None,
            };
        }
        let rests = servers
            .rests_until
            .is_some_and(|until| until > Instant::now());
        if rests {
            Vec::new()
        } else {
            servers.addresses.clone()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks over UDP, and again over TCP when the answer did not fit.
    async fn ask_server(&self, server: IpAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        /// TC, in the third byte of the header (RFC 1035 §4.1.1).
        const TRUNCATED: u8 = 0x02;

        let server = SocketAddr::new(server, self.port);
        let answer = ask_udp(server, question).await?;
        if answer[2] & TRUNCATED == 0 {
            return Ok(answer);
        }
        let mut stream = TcpStream::connect(server).await?;
        write_framed(&mut stream, question).await?;
        let answer = read_framed(&mut stream).await?;
        if answer.len() < HEADER_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(answer)
    }
}

/// What an answer's response code says (RFC 1035 §4.1.1).
enum Verdict {
    /// There is a record, or there is none.
    Answer,
    /// The server could not find out.
    Failure,
    /// The server does not want to be asked, or not so.
    NotForUs,
}

/// `answer` has a header.
fn verdict(answer: &[u8]) -> Verdict {
    const NOERROR: u8 = 0;
    const SERVFAIL: u8 = 2;
    const NXDOMAIN: u8 = 3;

    match answer[3] & 0x0f {
        NOERROR | NXDOMAIN => Verdict::Answer,
        SERVFAIL => Verdict::Failure,
        _ => Verdict::NotForUs,
    }
}

/// Of a question of our own: an attacker has to guess it (RFC 5452 §4.3).
fn query_id() -> u16 {
    let mut id = [0; 2];
    OsRng.fill_bytes(&mut id);
    u16::from_be_bytes(id)
}

/// Changes whenever the file does; `None` when it is not there.
fn version(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// The answer has a header.
async fn ask_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own for every question: an attacker has to guess it.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; UDP_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length >= HEADER_BYTES && buffer[..2] == question[..2] {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

/// Reads one message with its length in front (RFC 1035 §4.2.2).
async fn read_framed(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_framed(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests;
