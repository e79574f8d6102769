//! Accepts connections and hands them to Stalwart's protocols.
//!
//! The library's own accept loop instantiates every protocol for six kinds of
//! stream; this one has a single kind, [`AnyStream`], which is a third of the
//! machine code. TLS from the first byte is done here, STARTTLS by the
//! protocols, or by a [`Prelude`].

use crate::stream::AnyStream;
use stalwart_lib::common::Inner;
use stalwart_lib::common::config::server::{Listener, ServerProtocol};
use stalwart_lib::common::core::BuildServer;
use stalwart_lib::common::listener::limiter::{ConcurrencyLimiter, LimiterResult};
use stalwart_lib::common::listener::{
    ServerInstance, SessionData, SessionManager, TcpAcceptor, listen::SocketOpts,
};
use stalwart_lib::imap::core::ImapSessionManager;
use stalwart_lib::managesieve::core::ManageSieveSessionManager;
use stalwart_lib::pop3::Pop3SessionManager;
use stalwart_lib::smtp::core::SmtpSessionManager;
use stalwart_lib::{
    Event, EventType, HttpEvent, ImapEvent, Key, ManageSieveEvent, Pop3Event, SmtpEvent,
};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// A TLS handshake that takes longer is somebody holding a connection open.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// After a failed `accept`, usually for want of descriptors, others get this
/// long to close theirs: an immediate retry would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One accepted connection, TLS already done where the port asks for it.
pub(crate) type Connection = SessionData<AnyStream>;

/// Serves one connection to its end.
pub(crate) type Handler =
    Arc<dyn Fn(Connection) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Speaks with a client in the clear until it asks for TLS; `false` ends the
/// connection. What the protocol says first is then left out.
pub type Prelude = for<'a> fn(&'a mut TcpStream) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// The library's handler of a mail protocol; HTTP is routed elsewhere.
pub(crate) fn mail_handler(protocol: ServerProtocol, inner: &Arc<Inner>) -> Option<Handler> {
    Some(match protocol {
        ServerProtocol::Smtp | ServerProtocol::Lmtp => {
            handler(SmtpSessionManager::new(inner.clone()))
        }
        ServerProtocol::Imap => handler(ImapSessionManager::new(inner.clone())),
        ServerProtocol::Pop3 => handler(Pop3SessionManager::new(inner.clone())),
        ServerProtocol::ManageSieve => handler(ManageSieveSessionManager::new(inner.clone())),
        ServerProtocol::Http => return None,
    })
}

/// Tells the delivery queue and the reports that no more work comes.
pub(crate) async fn stop_queue(inner: &Arc<Inner>) {
    SmtpSessionManager::new(inner.clone()).shutdown().await;
}

fn handler(manager: impl SessionManager) -> Handler {
    Arc::new(move |connection| {
        let manager = manager.clone();
        Box::pin(manager.handle(connection))
    })
}

/// Starts to accept on one configured listener.
///
/// Every task of it holds a clone of `alive` until it ends, so that the
/// receiver's end knows when the last session is over.
pub(crate) fn serve(
    listener: Listener,
    acceptor: TcpAcceptor,
    prelude: Option<Prelude>,
    handler: Handler,
    inner: Arc<Inner>,
    stopped: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) -> Result<(), String> {
    let implicit_tls = matches!(acceptor, TcpAcceptor::Tls { implicit: true, .. });
    let port = Arc::new(Port {
        instance: Arc::new(ServerInstance {
            id: listener.id,
            protocol: listener.protocol,
            acceptor,
            limiter: ConcurrencyLimiter::new(listener.max_connections),
            proxy_networks: listener.proxy_networks,
            shutdown_rx: stopped,
            span_id_gen: listener.span_id_gen,
        }),
        implicit_tls,
        prelude,
        handler,
        inner,
        alive,
    });
    for socket in listener.listeners {
        let options = SocketOpts {
            nodelay: socket.nodelay,
            ttl: socket.ttl,
            linger: socket.linger,
        };
        tokio::spawn(port.clone().accept(socket.listen()?, options));
    }
    Ok(())
}

struct Port {
    instance: Arc<ServerInstance>,
    implicit_tls: bool,
    prelude: Option<Prelude>,
    handler: Handler,
    inner: Arc<Inner>,
    alive: mpsc::Sender<()>,
}

impl Port {
    async fn accept(self: Arc<Self>, listener: TcpListener, options: SocketOpts) {
        let mut stopped = self.instance.shutdown_rx.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.changed() => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    options.apply(&stream);
                    tokio::spawn(self.clone().serve(stream, remote));
                }
                Err(error) => {
                    eprintln!("mail: accept on {}: {error}", self.instance.id);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, remote: SocketAddr) {
        let _alive = self.alive.clone();
        // IPv4 clients of the IPv6 socket go by their IPv4 address.
        let remote_ip = remote.ip().to_canonical();
        let Ok(local) = stream.local_addr() else {
            return;
        };
        if self.inner.build_server().is_ip_blocked(&remote_ip) {
            return;
        }
        let LimiterResult::Allowed(in_flight) = self.instance.limiter.is_allowed() else {
            eprintln!(
                "mail: {}: too many connections, refused {remote_ip}",
                self.instance.id
            );
            return;
        };
        let session_id = self.instance.span_id_gen.generate();
        let Some(stream) = self.secure(stream, session_id).await else {
            return;
        };

        let began = Instant::now();
        let (start, end) = events(self.instance.protocol);
        log_start(
            start,
            &self.instance.id,
            local.port(),
            remote_ip,
            remote.port(),
            session_id,
        );
        (self.handler)(SessionData {
            stream,
            local_ip: local.ip().to_canonical(),
            local_port: local.port(),
            remote_ip,
            remote_port: remote.port(),
            protocol: self.instance.protocol,
            session_id,
            in_flight,
            instance: self.instance.clone(),
        })
        .await;
        Event::with_keys(
            end,
            vec![
                (Key::SpanId, session_id.into()),
                (Key::Elapsed, began.elapsed().into()),
            ],
        )
        .send_with_metrics();
    }

    /// Does the TLS handshake where it comes before the protocol.
    async fn secure(&self, mut stream: TcpStream, session_id: u64) -> Option<AnyStream> {
        let spoken = match (self.implicit_tls, self.prelude) {
            (true, _) => false,
            (false, None) => return Some(AnyStream::new(stream)),
            (false, Some(prelude)) => {
                if !prelude(&mut stream).await {
                    return None;
                }
                true
            }
        };
        let handshake = self.instance.tls_accept(stream, session_id);
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) if spoken => Some(AnyStream::without_first_line(stream)),
            Ok(Ok(stream)) => Some(AnyStream::new(stream)),
            // The library has logged why.
            Ok(Err(())) | Err(_) => None,
        }
    }
}

/// The library ties a session's log lines together by these two.
fn log_start(
    event: EventType,
    listener: &str,
    local_port: u16,
    remote_ip: IpAddr,
    remote_port: u16,
    session_id: u64,
) {
    Event::with_keys(
        event,
        vec![
            (Key::ListenerId, listener.to_string().into()),
            (Key::LocalPort, local_port.into()),
            (Key::RemoteIp, remote_ip.into()),
            (Key::RemotePort, remote_port.into()),
            (Key::SpanId, session_id.into()),
        ],
    )
    .send_with_metrics();
}

fn events(protocol: ServerProtocol) -> (EventType, EventType) {
    match protocol {
        ServerProtocol::Smtp | ServerProtocol::Lmtp => (
            EventType::Smtp(SmtpEvent::ConnectionStart),
            EventType::Smtp(SmtpEvent::ConnectionEnd),
        ),
        ServerProtocol::Imap => (
            EventType::Imap(ImapEvent::ConnectionStart),
            EventType::Imap(ImapEvent::ConnectionEnd),
        ),
        ServerProtocol::Pop3 => (
            EventType::Pop3(Pop3Event::ConnectionStart),
            EventType::Pop3(Pop3Event::ConnectionEnd),
        ),
        ServerProtocol::Http => (
            EventType::Http(HttpEvent::ConnectionStart),
            EventType::Http(HttpEvent::ConnectionEnd),
        ),
        ServerProtocol::ManageSieve => (
            EventType::ManageSieve(ManageSieveEvent::ConnectionStart),
            EventType::ManageSieve(ManageSieveEvent::ConnectionEnd),
        ),
    }
}
