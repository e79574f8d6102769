//! What mail programs ask for is handed on to the mail service, which speaks plain HTTP on
//! loopback. Bodies are streamed both ways, and a WebSocket (RFC 8887) becomes a pipe.
//!
//! Only the paths below: the mail service's own administration is not among them. Its answers
//! keep their headers; they are for programs that sign in by themselves, so the
//! portal's cookies are taken out of the requests.

use super::page::{Refusal, refusal_page};
use crate::app::App;
use crate::listen::{Busy, Peer};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, COOKIE, FORWARDED, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use axum::routing::any;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};

/// Longest wait for the mail service to take a request and begin its answer: a search in a large mailbox.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest rest in a body. JMAP's pushes say something every few minutes (RFC 8620 section 7.3).
const STALLED: Duration = Duration::from_secs(15 * 60);
/// Longest rest in what a client sends.
const STALLED_UPLOAD: Duration = Duration::from_secs(60);

/// Headers between two neighbours only (RFC 9110 section 7.6.1).
const HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

pub fn router() -> Router<Arc<App>> {
    let mut router = Router::new();
    for path in [
        "/jmap",
        // The rest of a path is never empty to the router.
        "/jmap/",
        "/jmap/{*rest}",
        "/dav",
        "/dav/",
        "/dav/{*rest}",
        "/auth/{*rest}",
        "/.well-known/jmap",
        "/.well-known/caldav",
        "/.well-known/carddav",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        router = router.route(path, any(forward));
    }
    router
}

fn failed(because: impl std::fmt::Display) -> Response {
    let refusal = Refusal::new("The mail service does not answer", because)
        .hint("it may be starting: try again in a minute");
    refusal_page(StatusCode::BAD_GATEWAY, &refusal)
}

async fn forward(State(app): State<Arc<App>>, mut request: Request) -> Response {
    // `/dav/../admin` is another path to whoever resolves it: ask for none of these.
    let path = request.uri().path();
    let odd = |part: &str| {
        let part = part.to_ascii_lowercase().replace("%2e", ".");
        part == "."
            || part == ".."
            || part.contains("%2f")
            || part.contains("%5c")
            || part.contains('\\')
    };
    if path.split('/').any(odd) {
        let refusal = Refusal::new(
            "There is no such page",
            "the address leads out of its folder",
        );
        return refusal_page(StatusCode::NOT_FOUND, &refusal);
    }
    let from = request.extensions().get::<Peer>().copied();
    let busy = request.extensions().get::<Arc<Busy>>().cloned();
    let wants = request.headers().get(UPGRADE).cloned();
    let client = wants.as_ref().map(|_| hyper::upgrade::on(&mut request));

    let (mut head, body) = request.into_parts();
    head.extensions.clear();
    strip(&mut head.headers);
    for name in [COOKIE, FORWARDED, FORWARDED_FOR] {
        head.headers.remove(name);
    }
    for name in ["x-real-ip", "x-forwarded-host", "x-forwarded-proto"] {
        head.headers.remove(name);
    }
    if let Some(Peer(from)) = from
        && let Ok(from) = HeaderValue::from_str(&from.to_string())
    {
        head.headers.insert(FORWARDED_FOR, from);
    }
    head.headers.insert(
        HeaderName::from_static("x-forwarded-proto"),
        HeaderValue::from_static("https"),
    );
    if let Some(wants) = wants {
        head.headers.insert(UPGRADE, wants);
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    // To an origin server a request names its path only (RFC 9112 section 3.2.1).
    if let Some(path) = head.uri.path_and_query() {
        head.uri = Uri::from(path.clone());
    }
    let body = Watched::new(body, STALLED_UPLOAD, None);
    let request = hyper::Request::from_parts(head, body);

    let stream = match TcpStream::connect(app.places.mail_http).await {
        Ok(stream) => stream,
        Err(error) => return failed(error),
    };
    let (mut sender, connection) =
        match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
            Ok(both) => both,
            Err(error) => return failed(error),
        };
    // It ends with the answer's body, or with the upgraded pipe.
    tokio::spawn(connection.with_upgrades());
    let answer = match timeout(PATIENCE, sender.send_request(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return failed(error),
        Err(_) => return failed("it takes too long"),
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match client {
            Some(client) => pipe(answer, client, busy),
            None => failed("it speaks another protocol than was asked for"),
        };
    }
    let (mut head, body) = answer.into_parts();
    strip(&mut head.headers);
    Response::from_parts(head, Body::new(Watched::new(body, STALLED, busy)))
}

/// Joins both sides once each has switched.
fn pipe(
    mut answer: hyper::Response<hyper::body::Incoming>,
    client: hyper::upgrade::OnUpgrade,
    busy: Option<Arc<Busy>>,
) -> Response {
    let server = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        let (Ok(client), Ok(server)) = tokio::join!(client, server) else {
            return;
        };
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        // Its end is the same to us whatever the reason.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        drop(busy);
    });
    let (head, _) = answer.into_parts();
    Response::from_parts(head, Body::empty())
}

/// Takes out what is between two neighbours only, and what `Connection` names beside.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP) {
        headers.remove(name);
    }
}

/// A body that may not rest for too long, and that keeps its connection from counting as waiting.
struct Watched<B> {
    body: B,
    rest: Duration,
    until: Pin<Box<Sleep>>,
    _busy: Option<Arc<Busy>>,
}

impl<B> Watched<B> {
    fn new(body: B, rest: Duration, busy: Option<Arc<Busy>>) -> Self {
        Self {
            body,
            rest,
            until: Box::pin(sleep(rest)),
            _busy: busy,
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl<B> HttpBody for Watched<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Failure>,
{
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                let next = tokio::time::Instant::now() + self.rest;
                self.until.as_mut().reset(next);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if self.until.as_mut().poll(context).is_ready() => {
                Poll::Ready(Some(Err("nothing came for too long".into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
