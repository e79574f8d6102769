//! One name server address that never changes.
//!
//! The library reads its name servers once and asks a public service when
//! there are none. On a box they come from DHCP, after the start, and change.
//! So the library gets this address on loopback, and every question goes to
//! whatever `resolv.conf` names at that moment.
//!
//! Questions arrive over TCP only. When no server is known or none answers,
//! the connection is closed: the library takes that for "could not find out"
//! and goes on at once, where a SERVFAIL would mean "does not exist" to it and
//! silence would hold up each delivery for the length of all its time-outs.

use anyhow::{Context, Result};
use roost_mail_config::resolv;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Time for one server's answer. The library waits a little longer in all.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1500);
/// After no server answered, questions fail at once for this long.
const REST: Duration = Duration::from_secs(5);
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
pub struct Resolver {
    /// Address for questions over TCP.
    pub address: SocketAddr,
    forwarder: Arc<Forwarder>,
}

impl Resolver {
    /// Whether somebody asked for [`PROBE`], which shows that the library asks at all.
    pub fn was_probed(&self) -> bool {
        self.forwarder.probed.load(Ordering::Relaxed)
    }
}

struct Forwarder {
    path: PathBuf,
    servers: Mutex<Servers>,
    probed: AtomicBool,
}

/// What `resolv.conf` said when it was last read.
#[derive(Default)]
struct Servers {
    version: Option<SystemTime>,
    addresses: Vec<IpAddr>,
    /// Until when questions fail at once.
    rests_until: Option<Instant>,
}

/// Starts to forward to the servers that `path` names.
pub async fn spawn(path: PathBuf) -> Result<Resolver> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("bind the DNS forwarder")?;
    let address = listener.local_addr().context("bind the DNS forwarder")?;
    let forwarder = Arc::new(Forwarder {
        path,
        servers: Mutex::default(),
        probed: AtomicBool::new(false),
    });
    tokio::spawn(accept(forwarder.clone(), listener));
    Ok(Resolver { address, forwarder })
}

async fn accept(forwarder: Arc<Forwarder>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (read, write) = stream.into_split();
                tokio::spawn(serve(forwarder.clone(), read, write));
            }
            // Out of descriptors, most likely: leave others the time to close some.
            Err(_) => tokio::time::sleep(ANSWER_TIMEOUT).await,
        }
    }
}

/// Answers the questions of one connection, each as soon as it can (RFC 7766 §7).
async fn serve(forwarder: Arc<Forwarder>, mut read: OwnedReadHalf, mut write: OwnedWriteHalf) {
    let (answers, mut ready) = mpsc::channel::<Option<Vec<u8>>>(MAX_ANSWERS);
    let reader = async {
        while let Ok(question) = read_framed(&mut read).await {
            let (forwarder, answers) = (forwarder.clone(), answers.clone());
            tokio::spawn(async move {
                let answer = forwarder.ask(&question).await;
                let _ = answers.send(answer).await;
            });
        }
    };
    let writer = async {
        while let Some(Some(answer)) = ready.recv().await {
            if write_framed(&mut write, &answer).await.is_err() {
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

impl Forwarder {
    /// The answer to a question; `None` when nobody knows.
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
        let servers = self.servers();
        for server in &servers {
            if let Ok(Ok(answer)) = timeout(ANSWER_TIMEOUT, ask_server(*server, question)).await {
                self.lock().rests_until = None;
                return Some(answer);
            }
        }
        if !servers.is_empty() {
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Servers> {
        self.servers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Changes whenever the file does; `None` when it is not there.
fn version(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// Asks over UDP, and again over TCP when the answer did not fit.
async fn ask_server(server: IpAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    /// TC, in the third byte of the header (RFC 1035 §4.1.1).
    const TRUNCATED: u8 = 0x02;

    let answer = ask_udp(server, question).await?;
    if answer[2] & TRUNCATED == 0 {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect((server, 53)).await?;
    write_framed(&mut stream, question).await?;
    read_framed(&mut stream).await
}

async fn ask_udp(server: IpAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own for every question: an attacker has to guess it.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect((server, 53)).await?;
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
async fn read_framed(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_framed(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}
