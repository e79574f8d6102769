//! Hears clients, by UDP and TCP. Only programs of this box can: the address is of loopback.

use crate::engine::Engine;
use crate::reply::write;
use crate::wire::{Request, read};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{sleep, timeout};

/// Questions under way by UDP; what comes beside them is dropped, and asked again by its client.
const QUESTIONS: usize = 256;
/// Connections; further ones wait in the kernel.
const CONNECTIONS: usize = 32;
/// Questions under way on one connection (RFC 7766, section 6.2.1.1: answers come in any order).
const PIPELINED: usize = 16;
/// How long a connection may be idle (RFC 7766, section 6.2.3).
const IDLE: Duration = Duration::from_secs(15);
/// Longest that a question may take to come in, or an answer to be taken.
const MESSAGE: Duration = Duration::from_secs(3);
/// Largest datagram that is read; questions are small.
const MAX_DATAGRAM: usize = 4096;
/// Rest after the system had no descriptor or memory.
const BREATHER: Duration = Duration::from_millis(200);

/// The sockets.
pub struct Ears {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

impl Ears {
    /// At this address.
    ///
    /// # Errors
    /// When it is no address of loopback, or somebody else has it.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::other(format!("{address} is not of loopback")));
        }
        Ok(Self {
            udp: Arc::new(UdpSocket::bind(address).await?),
            tcp: TcpListener::bind(address).await?,
        })
    }

    /// Serves without end.
    pub async fn serve(self, engine: Arc<Engine>) {
        tokio::join!(
            datagrams(self.udp, engine.clone()),
            connections(self.tcp, engine)
        );
    }
}

async fn datagrams(socket: Arc<UdpSocket>, engine: Arc<Engine>) {
    let places = Arc::new(Semaphore::new(QUESTIONS));
    let mut bytes = vec![0; MAX_DATAGRAM];
    loop {
        let (length, from) = match socket.recv_from(&mut bytes).await {
            Ok(came) => came,
            // An earlier answer could not be delivered; the socket is as good as before.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(_) => {
                sleep(BREATHER).await;
                continue;
            }
        };
        let question = match read(&bytes[..length]) {
            Request::Question(question) => question,
            Request::Refused(answer) => {
                let _ = socket.try_send_to(&answer, from);
                continue;
            }
            Request::Nothing => continue,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let (socket, engine) = (socket.clone(), engine.clone());
        tokio::spawn(async move {
            let told = engine.answer(&question).await;
            // Somebody who has gone is everyday life.
            let _ = socket.send_to(&write(&question, told, true), from).await;
            drop(place);
        });
    }
}

async fn connections(listener: TcpListener, engine: Arc<Engine>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let engine = engine.clone();
                tokio::spawn(async move {
                    // Why a connection ended is nothing that anybody here could act on.
                    let _ = converse(stream, engine).await;
                    drop(place);
                });
            }
            Err(_) => sleep(BREATHER).await,
        }
    }
}

async fn converse(stream: TcpStream, engine: Arc<Engine>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let places = Arc::new(Semaphore::new(PIPELINED));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        let mut length = [0; 2];
        timeout(IDLE, reader.read_exact(&mut length[..1])).await??;
        let bytes = timeout(MESSAGE, async {
            reader.read_exact(&mut length[1..]).await?;
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            reader.read_exact(&mut bytes).await?;
            io::Result::Ok(bytes)
        });
        match read(&bytes.await??) {
            Request::Question(question) => {
                let (writer, engine) = (writer.clone(), engine.clone());
                tokio::spawn(async move {
                    let told = engine.answer(&question).await;
                    let _ = send(&writer, &write(&question, told, false)).await;
                    drop(place);
                });
            }
            Request::Refused(answer) => send(&writer, &answer).await?,
            Request::Nothing => return Ok(()),
        }
    }
}

async fn send(writer: &Mutex<OwnedWriteHalf>, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut whole = Vec::with_capacity(message.len() + 2);
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(message);
    let mut writer = timeout(MESSAGE, writer.lock()).await?;
    timeout(MESSAGE, writer.write_all(&whole)).await?
}
