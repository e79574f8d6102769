//! `roost serve`: a bundle over HTTP, for boxes that follow a URL.
//!
//! One file, read only. GET, HEAD, one byte range at a time, and conditions by
//! ETag (RFC 9110, sections 13 and 14). The ETag is the hash of the bundle's
//! beginning, which covers all that follows: equal tag, equal bytes.

use crate::cli::ServeArgs;
use crate::error::Failure;
use crate::ui::{Mode, Ui, size};
use crate::update::source::Bundle;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// Where the bundle is.
const PATH: &str = "/roost.bundle";
/// Connections at a time; more wait. One box uses one.
const CONNECTIONS: usize = 64;
/// For a request to come, also the next one on the same connection.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// A reader that takes nothing for so long is gone, or wants to hold us up. A box that unpacks
/// and writes a chunk is back sooner.
const STALL_LIMIT: Duration = Duration::from_secs(300);
/// Bytes read from the file at a time.
const BLOCK: u64 = 64 << 10;
/// After a failed accept (no descriptors left) others need time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// `roost serve`.
pub fn run(args: &ServeArgs, ui: &Ui) -> Result<(), Failure> {
    // A file that is no bundle is said now, not when a box asks.
    let version = Bundle::open(&args.file)?.version();
    let cannot = |e: std::io::Error| {
        let failure = Failure::new(format!("cannot listen on {}", args.listen));
        let failure = match e.kind() {
            std::io::ErrorKind::AddrInUse => {
                failure.hint("choose another port: --listen 0.0.0.0:8080")
            }
            std::io::ErrorKind::PermissionDenied => {
                failure.hint("ports below 1024 are the system's; choose another")
            }
            std::io::ErrorKind::AddrNotAvailable => {
                failure.hint("that is no address of this machine; 0.0.0.0 listens on all")
            }
            _ => failure,
        };
        failure.because(e)
    };
    // One thread: a home has one box, and what is read is in the system's cache after the first time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.map_err(cannot)?;
        let at = listener.local_addr().map_err(cannot)?;
        let url = format!("http://{}{PATH}", reachable(at));
        ui.event_line(&json!({ "event": "listening", "url": url, "port": at.port() }));
        if ui.mode() != Mode::Json {
            ui.info(format!(
                "Serving {} ({}) at\n  {url}\n\
                 A box follows it with this in its roost.toml:\n  [update]\n  url = \"{url}\"\n\
                 Ctrl-C ends it.",
                args.file.display(),
                version.name
            ));
        }
        let (log, mut lines) = mpsc::unbounded_channel();
        let shelf = Arc::new(Shelf::new(args.file.clone()));
        tokio::spawn(accept(listener, shelf, log));
        while let Some(line) = lines.recv().await {
            ui.info(line);
        }
        Ok(())
    })
}

/// The address under which others reach a listener: for one on all addresses, that of the
/// interface with the way out.
fn reachable(at: SocketAddr) -> SocketAddr {
    if !at.ip().is_unspecified() {
        return at;
    }
    // Connecting a UDP socket sends nothing (192.0.2.1 and 2001:db8::1 are for documentation).
    let out = |from: &str, to: &str| -> Option<IpAddr> {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let ip = out("0.0.0.0:0", "192.0.2.1:9")
        .or_else(|| out("[::]:0", "[2001:db8::1]:9"))
        .unwrap_or_else(|| at.ip());
    SocketAddr::new(ip, at.port())
}

async fn accept(listener: TcpListener, shelf: Arc<Shelf>, log: mpsc::UnboundedSender<String>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (shelf, log) = (shelf.clone(), log.clone());
        tokio::spawn(async move {
            let _place = place;
            let _ = converse(stream, from.ip(), shelf, log).await;
        });
    }
}

async fn converse(
    stream: TcpStream,
    from: IpAddr,
    shelf: Arc<Shelf>,
    log: mpsc::UnboundedSender<String>,
) -> Result<(), hyper::Error> {
    // Ends connections whose other side is gone, and those that read nothing.
    let limit = u32::try_from(STALL_LIMIT.as_millis()).unwrap_or(u32::MAX);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, limit);
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &shelf);
        let _ = log.send(format!(
            "{from}  {}  {}",
            response.status().as_u16(),
            size(response.body().left())
        ));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// The file, looked at anew when it has changed.
struct Shelf {
    path: PathBuf,
    /// The mark of the file (size and time) and what it held then.
    now: Mutex<Option<(String, Arc<Shown>)>>,
}

/// A bundle as it is served.
struct Shown {
    bundle: Bundle,
    tag: String,
    bytes: u64,
}

impl Shelf {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            now: Mutex::new(None),
        }
    }

    fn get(&self) -> Result<Arc<Shown>, Failure> {
        let mark = crate::report::mark(&self.path).map_err(|e| unreadable(&self.path, e))?;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, shown)) = now.as_ref()
            && *then == mark
        {
            return Ok(shown.clone());
        }
        let bundle = Bundle::open(&self.path)?;
        let shown = Arc::new(Shown {
            tag: format!("\"{}\"", hex::encode(Sha256::digest(bundle.head()))),
            bytes: bundle.total_bytes(),
            bundle,
        });
        *now = Some((mark, shown.clone()));
        Ok(shown)
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> Failure {
    Failure::new(format!("cannot read {}", path.display())).because(error)
}

fn answer(request: &Request<Incoming>, shelf: &Shelf) -> Response<Content> {
    let head = request.method() == Method::HEAD;
    if request.uri().path() != PATH {
        return text(StatusCode::NOT_FOUND, &format!("The bundle is at {PATH}\n"));
    }
    if !head && request.method() != Method::GET {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        put(&mut response, ALLOW, "GET, HEAD");
        return response;
    }
    let Ok(shown) = shelf.get() else {
        // It is being replaced, most likely. What is wrong with it is nobody's business.
        let mut response = text(
            StatusCode::SERVICE_UNAVAILABLE,
            "No whole bundle is there\n",
        );
        put(&mut response, RETRY_AFTER, "60");
        return response;
    };
    let headers = request.headers();
    // The order of RFC 9110, section 13.2.2.
    let (status, range) = if one_of(headers, IF_MATCH, &shown.tag) == Some(false) {
        (StatusCode::PRECONDITION_FAILED, 0..0)
    } else if one_of(headers, IF_NONE_MATCH, &shown.tag) == Some(true) {
        (StatusCode::NOT_MODIFIED, 0..0)
    } else if head
        || headers
            .get(IF_RANGE)
            .is_some_and(|tag| tag != shown.tag.as_str())
    {
        (StatusCode::OK, 0..shown.bytes)
    } else {
        match headers
            .get(RANGE)
            .map(|value| part(value.as_bytes(), shown.bytes))
        {
            None | Some(Part::Whole) => (StatusCode::OK, 0..shown.bytes),
            Some(Part::Range(range)) => (StatusCode::PARTIAL_CONTENT, range),
            Some(Part::Outside) => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        }
    };
    let (tag, bytes) = (shown.tag.clone(), shown.bytes);
    let wanted = if head { 0..0 } else { range.clone() };
    let mut response = Response::new(Content::Part {
        shown,
        range: wanted,
    });
    *response.status_mut() = status;
    put(&mut response, ETAG, &tag);
    put(&mut response, ACCEPT_RANGES, "bytes");
    match status {
        StatusCode::OK => {
            put(&mut response, CONTENT_LENGTH, &bytes.to_string());
            put(&mut response, CONTENT_TYPE, "application/octet-stream");
        }
        StatusCode::PARTIAL_CONTENT => {
            let value = format!("bytes {}-{}/{bytes}", range.start, range.end - 1);
            put(&mut response, CONTENT_RANGE, &value);
            put(&mut response, CONTENT_TYPE, "application/octet-stream");
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            put(&mut response, CONTENT_RANGE, &format!("bytes */{bytes}"));
        }
        _ => {}
    }
    response
}

fn text(status: StatusCode, text: &str) -> Response<Content> {
    let mut response = Response::new(Content::Text(Some(Bytes::copy_from_slice(text.as_bytes()))));
    *response.status_mut() = status;
    put(&mut response, CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

fn put(response: &mut Response<Content>, name: HeaderName, value: &str) {
    let value = value.parse().expect("values are plain ASCII");
    response.headers_mut().insert(name, value);
}

/// Whether a list of tags holds `tag`; `None` without the header.
fn one_of(headers: &HeaderMap, name: HeaderName, tag: &str) -> Option<bool> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    Some(values.any(|value| {
        let value = value.to_str().unwrap_or("");
        // A tag of ours holds no comma. A weak one (W/) means the same bytes here, too.
        value
            .split(',')
            .map(str::trim)
            .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
    }))
}

/// What a Range header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// All: the header is unusable, or asks for several ranges, and may be ignored
    /// (RFC 9110, section 14.2).
    Whole,
    /// Some bytes, at least one.
    Range(Range<u64>),
    /// Nothing that is there.
    Outside,
}

fn part(value: &[u8], bytes: u64) -> Part {
    let number = |text: &str| -> Option<u64> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // More digits than fit are a number beyond every end.
        Some(text.parse().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = std::str::from_utf8(value)
        .ok()
        .and_then(|v| v.trim().strip_prefix("bytes="))
        .and_then(|v| v.trim().split_once('-'))
    else {
        return Part::Whole;
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(bytes),
        (Some(first), None) if last.is_empty() => first..bytes,
        (None, Some(count)) if first.is_empty() => bytes.saturating_sub(count)..bytes,
        _ => return Part::Whole,
    };
    if range.start < range.end {
        Part::Range(range)
    } else {
        Part::Outside
    }
}

/// What is sent.
enum Content {
    Text(Option<Bytes>),
    /// Bytes of the bundle.
    Part {
        shown: Arc<Shown>,
        range: Range<u64>,
    },
}

impl Content {
    /// Bytes still to be sent.
    fn left(&self) -> u64 {
        match self {
            Self::Text(text) => text.as_ref().map_or(0, |t| t.len() as u64),
            Self::Part { range, .. } => range.end - range.start,
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let bytes = match self.get_mut() {
            Self::Text(text) => text.take().map(Ok),
            Self::Part { range, .. } if range.is_empty() => None,
            Self::Part { shown, range } => {
                let end = range.end.min(range.start + BLOCK);
                let from = std::mem::replace(&mut range.start, end);
                // A file that was cut short in place ends the connection: better than a wrong end.
                Some(shown.bundle.bytes(from..end).map(Bytes::from))
            }
        };
        Poll::Ready(bytes.map(|b| b.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        for (header, expected) in [
            ("bytes=0-0", Part::Range(0..1)),
            ("bytes=5-", Part::Range(5..10)),
            ("bytes=-3", Part::Range(7..10)),
            ("bytes=-30", Part::Range(0..10)),
            ("bytes=5-99999999999999999999999", Part::Range(5..10)),
            ("bytes=10-", Part::Outside),
            ("bytes=10-12", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(part(header.as_bytes(), 10), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_range_is_never_empty_and_never_beyond_the_end(
            header in prop_oneof![
                "bytes=[0-9]{0,22}-[0-9]{0,22}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
            bytes in 1_u64..,
        ) {
            if let Part::Range(range) = part(&header, bytes) {
                prop_assert!(range.start < range.end && range.end <= bytes);
            }
        }
    }
}
