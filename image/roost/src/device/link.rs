//! One connection to a box: TLS over a socket, in it HTTP, and after an upgrade JSON objects, one a line.
//!
//! Nothing here blocks for longer than a tick, so one thread sends a bundle,
//! hears of its progress and notices Ctrl-C.

use super::error::{ApiError, DeviceError};
use super::stop::{Stop, TICK};
use super::tls::{self, Expect, Peer};
use roost_service::update::{Answer, Call, MAX_LINE, PATH, UPGRADE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::AlertDescription;
use rustls::client::ClientConnection;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For both sides to show who they are.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Silence before TCP asks whether the box is there, and between two such questions. Nothing
/// else notices a box that lost its power while its log is followed.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Unanswered questions after which it is gone.
const KEEPALIVE_TRIES: u32 = 3;
/// Longest head of an answer in bytes, most fields in it, and longest body.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_FIELDS: usize = 64;
const MAX_BODY_BYTES: usize = 4 << 20;
/// Bytes that wait in TLS at most: enough to keep a gigabit line busy between two ticks.
const SEND_BUFFER: usize = 256 << 10;

/// A connection on which both sides have shown who they are.
pub struct Link {
    socket: TcpStream,
    tls: ClientConnection,
    peer: Arc<Peer>,
    /// What came and is not a whole line yet.
    inbox: Vec<u8>,
    /// Bytes of it in which there is no line end.
    searched: usize,
    /// Why nothing more will come.
    ended: Option<DeviceError>,
    /// Sending failed; what the box said before is still worth reading.
    deaf: bool,
    stop: Stop,
}

impl Link {
    /// Shakes hands over a connected socket, with whom `expect` says.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Stranger`], [`DeviceError::NoBox`], [`DeviceError::NotAllowed`],
    /// [`DeviceError::Cut`], [`DeviceError::Silent`], [`DeviceError::Interrupted`].
    pub fn open(socket: TcpStream, expect: Expect, stop: &Stop) -> Result<Self, DeviceError> {
        prepare(&socket).map_err(|e| DeviceError::Cut(e.to_string()))?;
        let tls::Client {
            mut connection,
            peer,
        } = tls::client(expect).map_err(|e| DeviceError::NoBox(e.to_string()))?;
        connection.set_buffer_limit(Some(SEND_BUFFER));
        let mut link = Self {
            socket,
            tls: connection,
            peer,
            inbox: Vec::new(),
            searched: 0,
            ended: None,
            deaf: false,
            stop: stop.clone(),
        };
        let end = Instant::now() + HANDSHAKE_LIMIT;
        while link.tls.is_handshaking() {
            link.turn(TICK)?;
            if Instant::now() > end {
                return Err(DeviceError::Silent(HANDSHAKE_LIMIT));
            }
        }
        Ok(link)
    }

    /// The certificate that the box has shown, whose key it has proved to hold.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NoBox`]; after [`Self::open`] it does not happen.
    pub fn certificate(&self) -> Result<CertificateDer<'static>, DeviceError> {
        self.peer
            .shown()
            .ok_or_else(|| DeviceError::NoBox("it showed no certificate".to_owned()))
    }

    /// One request of the API and its answer, which is JSON. `host` is the header's value.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Api`] if the box refuses, and what [`Self::turn`] says.
    pub fn request(
        &mut self,
        host: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Value, DeviceError> {
        let body = body.map(|body| serde_json::to_vec(body).expect("a value is plain data"));
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n");
        if let Some(body) = &body {
            head += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        head += "\r\n";
        self.send_bytes(head.as_bytes(), body.as_deref().unwrap_or_default(), limit)?;
        let head = self.head(limit)?;
        let body = self.body(&head, limit)?;
        if (200..300).contains(&head.status) {
            return match body.as_slice() {
                [] => Ok(Value::Null),
                body => serde_json::from_slice(body)
                    .map_err(|e| DeviceError::NotUnderstood(e.to_string())),
            };
        }
        Err(refused(&head, &body))
    }

    /// One request of another protocol over HTTP (RFC 9112), and its answer: the status and the body, which
    /// may have `most` bytes. `head` has all lines of the request's head, each with its end.
    ///
    /// # Errors
    ///
    /// What [`Self::turn`] says; [`DeviceError::NotUnderstood`] if the answer is too long.
    pub fn exchange(
        &mut self,
        head: &str,
        body: &[u8],
        most: usize,
        limit: Duration,
    ) -> Result<(u16, Vec<u8>), DeviceError> {
        self.send_bytes(format!("{head}\r\n").as_bytes(), body, limit)?;
        let head = self.head(limit)?;
        let body = match head.framing {
            Framing::Length(_) => self.body_up_to(&head, most, limit)?,
            Framing::Chunks => self.chunks(most, limit)?,
            Framing::UntilEnd if matches!(head.status, 204 | 304) => Vec::new(),
            Framing::UntilEnd => loop {
                match self.more(limit) {
                    Ok(()) if self.inbox.len() <= most => {}
                    Ok(()) => return Err(too_long()),
                    Err(DeviceError::Cut(_)) => break std::mem::take(&mut self.inbox),
                    Err(e) => return Err(e),
                }
            },
        };
        Ok((head.status, body))
    }

    /// A body in pieces (RFC 9112, section 7.1).
    fn chunks(&mut self, most: usize, limit: Duration) -> Result<Vec<u8>, DeviceError> {
        let no_http = || DeviceError::NoBox("it speaks no HTTP".to_owned());
        let mut body = Vec::new();
        loop {
            let (begin, length) = match httparse::parse_chunk_size(&self.inbox) {
                Ok(httparse::Status::Complete((begin, length))) => (begin, length),
                Ok(httparse::Status::Partial) if self.inbox.len() < MAX_HEAD_BYTES => {
                    self.more(limit)?;
                    continue;
                }
                _ => return Err(no_http()),
            };
            let length = usize::try_from(length)
                .ok()
                .filter(|n| body.len().saturating_add(*n) <= most);
            let length = length.ok_or_else(too_long)?;
            // Fields behind the last piece are not used by anybody we ask.
            let end = begin + length + 2;
            while self.inbox.len() < end {
                self.more(limit)?;
            }
            body.extend_from_slice(&self.inbox[begin..begin + length]);
            self.inbox.drain(..end);
            if length == 0 {
                return Ok(body);
            }
        }
    }

    /// Asks for the updater's lines: from then on [`Self::send`] and [`Self::answer`] work.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Api`] if the box refuses, and what [`Self::turn`] says.
    pub fn upgrade(&mut self, host: &str, limit: Duration) -> Result<(), DeviceError> {
        self.upgrade_to(host, PATH, UPGRADE, limit)
    }

    /// Asks for another protocol, behind this path of the API: from then on [`Self::send_raw`],
    /// [`Self::line`] and [`Self::bytes`] work.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Api`] if the box refuses, and what [`Self::turn`] says.
    pub fn upgrade_to(
        &mut self,
        host: &str,
        path: &str,
        protocol: &str,
        limit: Duration,
    ) -> Result<(), DeviceError> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nContent-Length: 0\r\n\r\n"
        );
        self.send_bytes(head.as_bytes(), &[], limit)?;
        let head = self.head(limit)?;
        if head.status == 101 {
            return Ok(());
        }
        let body = self.body(&head, limit)?;
        Err(refused(&head, &body))
    }

    /// The head of the next answer.
    fn head(&mut self, limit: Duration) -> Result<Head, DeviceError> {
        let end = loop {
            match self.inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.inbox.len() > MAX_HEAD_BYTES => {
                    return Err(DeviceError::NoBox("it speaks no HTTP".to_owned()));
                }
                None => self.more(limit)?,
            }
        };
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        let understood = parsed.parse(&self.inbox[..end]);
        if !matches!(understood, Ok(httparse::Status::Complete(_))) {
            return Err(DeviceError::NoBox("it speaks no HTTP".to_owned()));
        }
        let length = (parsed.headers.iter())
            .find(|field| field.name.eq_ignore_ascii_case("content-length"))
            .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
        let chunked = (parsed.headers.iter())
            .filter(|field| field.name.eq_ignore_ascii_case("transfer-encoding"))
            .any(|field| field.value.to_ascii_lowercase().ends_with(b"chunked"));
        let head = Head {
            status: parsed.code.unwrap_or_default(),
            framing: match length {
                _ if chunked => Framing::Chunks,
                Some(length) => Framing::Length(length),
                None => Framing::UntilEnd,
            },
        };
        self.inbox.drain(..end);
        Ok(head)
    }

    fn body(&mut self, head: &Head, limit: Duration) -> Result<Vec<u8>, DeviceError> {
        self.body_up_to(head, MAX_BODY_BYTES, limit)
    }

    fn body_up_to(
        &mut self,
        head: &Head,
        most: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, DeviceError> {
        let Framing::Length(length) = head.framing else {
            // The box's API always says it.
            return Ok(Vec::new());
        };
        if length > most {
            return Err(too_long());
        }
        while self.inbox.len() < length {
            self.more(limit)?;
        }
        Ok(self.inbox.drain(..length).collect())
    }

    /// Waits until more has come.
    fn more(&mut self, limit: Duration) -> Result<(), DeviceError> {
        let (before, began) = (self.inbox.len(), Instant::now());
        while self.inbox.len() == before {
            self.turn(TICK)?;
            if began.elapsed() > limit {
                return Err(DeviceError::Silent(limit));
            }
        }
        Ok(())
    }

    /// Sends a call and the bytes that follow it; `limit` is the time in which nothing moves.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Cut`], [`DeviceError::Silent`], [`DeviceError::Interrupted`].
    pub fn send(&mut self, call: &Call, body: &[u8], limit: Duration) -> Result<(), DeviceError> {
        let mut line = serde_json::to_vec(call).expect("a call is plain data");
        line.push(b'\n');
        self.send_bytes(&line, body, limit)
    }

    /// Sends bytes; `limit` is the time in which nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub fn send_raw(&mut self, bytes: &[u8], limit: Duration) -> Result<(), DeviceError> {
        self.send_bytes(bytes, &[], limit)
    }

    /// The next line without its line feed, at most `max` bytes with it; `limit` is the time in
    /// which nothing comes.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NotUnderstood`] if it is longer, and what [`Self::turn`] says.
    pub fn line(&mut self, max: usize, limit: Duration) -> Result<Vec<u8>, DeviceError> {
        loop {
            let new = &self.inbox[self.searched..];
            if let Some(end) = new.iter().position(|byte| *byte == b'\n') {
                let end = end + self.searched;
                let mut line: Vec<u8> = self.inbox.drain(..=end).collect();
                line.pop();
                self.searched = 0;
                return Ok(line);
            }
            self.searched = self.inbox.len();
            if self.searched >= max {
                return Err(DeviceError::NotUnderstood(format!(
                    "a line is longer than {} kB",
                    max / 1000
                )));
            }
            self.more(limit)?;
        }
    }

    /// Exactly so many bytes; `limit` is the time in which nothing comes.
    ///
    /// # Errors
    ///
    /// What [`Self::turn`] says.
    pub fn bytes(&mut self, length: usize, limit: Duration) -> Result<Vec<u8>, DeviceError> {
        while self.inbox.len() < length {
            self.more(limit)?;
        }
        self.searched = 0;
        Ok(self.inbox.drain(..length).collect())
    }

    fn send_bytes(&mut self, head: &[u8], body: &[u8], limit: Duration) -> Result<(), DeviceError> {
        let bytes = [head, body].concat();
        let mut sent = 0;
        let mut moved = Instant::now();
        // A box that refuses in the middle has said why: that is read instead.
        while (sent < bytes.len() || self.tls.wants_write()) && !self.deaf {
            sent += self.push(&bytes[sent..]);
            if self.turn(TICK)? {
                moved = Instant::now();
            } else if moved.elapsed() > limit {
                return Err(DeviceError::Silent(limit));
            }
        }
        Ok(())
    }

    /// Waits for the next answer, at most for `limit` since the last byte.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Refused`] if it is an error, and what [`Self::heard`] and [`Self::turn`] say.
    pub fn answer(&mut self, limit: Duration) -> Result<Answer, DeviceError> {
        let mut moved = Instant::now();
        loop {
            if let Some(answer) = self.heard()? {
                return Ok(answer);
            }
            if self.turn(TICK)? {
                moved = Instant::now();
            } else if moved.elapsed() > limit {
                return Err(DeviceError::Silent(limit));
            }
        }
    }

    /// The next answer, if it is here already.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Refused`] if it is an error, [`DeviceError::NotUnderstood`].
    pub fn heard(&mut self) -> Result<Option<Answer>, DeviceError> {
        let Some(end) = self.inbox[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| at + self.searched)
        else {
            self.searched = self.inbox.len();
            return if self.searched > MAX_LINE {
                Err(DeviceError::long_line())
            } else {
                Ok(None)
            };
        };
        if end > MAX_LINE {
            return Err(DeviceError::long_line());
        }
        let answer = serde_json::from_slice(&self.inbox[..end]);
        self.inbox.drain(..=end);
        self.searched = 0;
        match answer {
            Ok(Answer::Error { message, hint }) => Err(DeviceError::Refused { message, hint }),
            Ok(answer) => Ok(Some(answer)),
            Err(e) => Err(DeviceError::NotUnderstood(e.to_string())),
        }
    }

    /// Gives bytes to be sent and says how many were taken; [`Self::turn`] moves them.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        // Writing into TLS's buffer cannot fail; full is 0.
        self.tls.writer().write(bytes).unwrap_or(0)
    }

    /// Whether all that was given is on its way.
    pub fn all_sent(&self) -> bool {
        !self.tls.wants_write()
    }

    /// Moves what can be moved, and waits at most for `wait` until something can. Says whether
    /// a byte has moved.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Cut`] if nothing more will come, [`DeviceError::Interrupted`],
    /// [`DeviceError::NotAllowed`], [`DeviceError::Stranger`], [`DeviceError::NoBox`].
    pub fn turn(&mut self, wait: Duration) -> Result<bool, DeviceError> {
        if self.stop.is_set() {
            return Err(DeviceError::Interrupted);
        }
        if let Some(ended) = self.ended.take() {
            self.ended = Some(DeviceError::Cut("it has ended".to_owned()));
            return Err(ended);
        }
        let mut wanted = PollFlags::IN;
        if self.tls.wants_write() && !self.deaf {
            wanted |= PollFlags::OUT;
        }
        let mut fds = [PollFd::new(&self.socket, wanted)];
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(e) => return Err(DeviceError::Cut(e.to_string())),
        }
        let ready = fds[0].revents();
        let mut moved = false;
        if ready.contains(PollFlags::OUT) {
            match self.tls.write_tls(&mut self.socket) {
                Ok(n) => moved |= n > 0,
                Err(e) if later(&e) => {}
                Err(_) => self.deaf = true,
            }
        }
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => self.ended = Some(self.cut("the box closed it")),
                Ok(_) => {
                    moved = true;
                    self.decrypt();
                }
                Err(e) if later(&e) => {}
                Err(e) => self.ended = Some(self.cut(&reason(&e))),
            }
        }
        Ok(moved)
    }

    /// Takes what has come out of TLS.
    fn decrypt(&mut self) {
        match self.tls.process_new_packets() {
            Ok(state) if state.peer_has_closed() => {
                self.ended = Some(self.cut("the box closed it"));
            }
            Ok(_) => {}
            Err(e) => {
                // The box should learn why.
                let _ = self.tls.write_tls(&mut self.socket);
                self.ended = Some(self.tls_error(&e));
            }
        }
        // Also what came before an end or an error; rustls holds back at most a few records.
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = self.tls.reader().read(&mut buffer) {
            self.inbox.extend(&buffer[..n]);
        }
    }

    fn cut(&self, why: &str) -> DeviceError {
        let when = if self.tls.is_handshaking() {
            " before it had shown its key"
        } else {
            ""
        };
        DeviceError::Cut(format!("{why}{when}"))
    }

    fn tls_error(&self, error: &rustls::Error) -> DeviceError {
        if let rustls::Error::AlertReceived(alert) = error {
            return match alert {
                AlertDescription::AccessDenied
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateRequired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate => DeviceError::NotAllowed {
                    alert: format!("{alert:?}"),
                },
                _ => DeviceError::NoBox(format!("it ended the handshake ({alert:?})")),
            };
        }
        match self.peer.unexpected() {
            Some(shown) => DeviceError::Stranger { shown },
            None => DeviceError::NoBox(error.to_string()),
        }
    }
}

/// What matters of the head of an answer.
struct Head {
    status: u16,
    framing: Framing,
}

/// How an answer says where its body ends (RFC 9112, section 6.3).
enum Framing {
    /// Bytes of the body.
    Length(usize),
    /// In pieces.
    Chunks,
    /// With the connection.
    UntilEnd,
}

fn too_long() -> DeviceError {
    DeviceError::NotUnderstood("its answer is too long".to_owned())
}

fn refused(head: &Head, body: &[u8]) -> DeviceError {
    match serde_json::from_slice::<ApiError>(body) {
        Ok(error) => DeviceError::Api(error),
        Err(_) => DeviceError::NoBox(format!(
            "it answers {} and nothing that is understood",
            head.status
        )),
    }
}

/// The socket must not block, and must notice a box that is gone.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE)?;
    // No TCP_USER_TIMEOUT: it would also end connections to a box that is busy with its card.
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_TRIES)?;
    Ok(())
}

fn later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// In fewer words than the system's.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "the box closed it".to_owned(),
        io::ErrorKind::TimedOut => "the box does not answer any more".to_owned(),
        _ => error.to_string(),
    }
}
