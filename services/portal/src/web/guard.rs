//! What holds for every request and every answer.

use super::page::{Refusal, refusal_page};
use crate::app::App;
use crate::csrf::{self, Foreign, Head};
use crate::listen::{BodyTime, Limits};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::time::timeout;

/// Longest body of a form or a call, in bytes. The longest field is the relay's text.
pub const MAX_BODY: usize = 64 << 10;

/// Nothing from elsewhere, nothing inline, no frame around it. Fonts are the system's, pictures are
/// drawn in the page or the icon.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The names in `Host` that are the box's own, of which there is one: what was asked for, if it is.
///
/// Names are the box's own only if it announces them, or if they are those of its mail host and portal in
/// its own zones, which stops DNS rebinding. An address
/// cannot be rebound: whoever types one is where it leads, even through a router or an
/// emulator that puts another in front. The port is the same for `Origin`, which [`csrf::check`]
/// compares.
fn own(app: &App, host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    let name = without_port(host);
    (address_or_localhost(name) || app.is_own_name(name)).then(|| host.to_owned())
}

fn without_port(host: &str) -> &str {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    }
}

/// The name that was asked for, in lower case and without a port.
pub(super) fn host_name(request: &Request) -> Option<String> {
    let host = asked_for(request)?.to_ascii_lowercase();
    Some(without_port(&host).to_owned())
}

fn asked_for(request: &Request) -> Option<&str> {
    let authority = request.uri().authority();
    text(request.headers(), &HOST).or(authority.map(|authority| authority.as_str()))
}

/// Whether it is an address, in brackets if of IPv6, or this machine's own name for itself.
pub(super) fn address_or_localhost(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
        None => name == "localhost" || name.parse::<Ipv4Addr>().is_ok(),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    let one = all.next()?;
    // Twice is none: programs that disagree on which one counts are a way in.
    if all.next().is_some() {
        return None;
    }
    one.to_str().ok()
}

fn check(app: &App, request: &Request) -> Result<(), Foreign> {
    let headers = request.headers();
    let host = asked_for(request);
    let own = host.and_then(|host| own(app, host));
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let head = Head {
        method: request.method().as_str(),
        host,
        origin: text(headers, &ORIGIN),
        fetch_site: text(headers, &HeaderName::from_static("sec-fetch-site")),
        fetch_mode: text(headers, &HeaderName::from_static("sec-fetch-mode")),
    };
    csrf::check(head, &own)
}

/// Whether a request for this host is for the box.
pub(crate) fn is_own_host(app: &App, host: &str) -> bool {
    own(app, host).is_some()
}

/// Before a page: whose request it is.
pub async fn check_site(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if let Err(foreign) = check(&app, &request) {
        let status = match foreign {
            Foreign::Host => StatusCode::MISDIRECTED_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        return refusal_page(status, &Refusal::new("This page is not shown", foreign));
    }
    next.run(request).await
}

/// Before whatever needs its body whole: within bounds of size and time.
pub async fn whole_body(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let time = head.extensions.get::<BodyTime>();
    let time = time.map_or(Limits::STANDARD.body, |time| time.0);
    let whole = timeout(time, axum::body::to_bytes(body, MAX_BODY)).await;
    let body = match whole {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let why = "it is longer than anything that this page asks for";
            let refusal = Refusal::new("The form was not taken", why);
            return closing(refusal_page(StatusCode::PAYLOAD_TOO_LARGE, &refusal));
        }
        Err(_) => {
            let refusal = Refusal::new("The form was not taken", "it took too long to arrive");
            return closing(refusal_page(StatusCode::REQUEST_TIMEOUT, &refusal));
        }
    };
    next.run(Request::from_parts(head, Body::from(body))).await
}

/// What is left of a body is not waited for.
fn closing(mut answer: Response) -> Response {
    answer.headers_mut().insert(
        axum::http::header::CONNECTION,
        HeaderValue::from_static("close"),
    );
    answer
}

/// After a page: what browsers are to be careful about.
pub async fn add_headers(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    // Answers of mail have said what they want.
    let mut put = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    put(CONTENT_SECURITY_POLICY, POLICY);
    put(CACHE_CONTROL, "no-store");
    put(X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(X_FRAME_OPTIONS, "DENY");
    // With `no-referrer`, browsers send forms with `Origin: null`, which is nobody's.
    put(REFERRER_POLICY, "same-origin");
    put(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    put(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    put(
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    );
    // No Strict-Transport-Security: with a self-signed certificate it would leave no way past
    // the browser's warning (RFC 6797 section 12.1).
    answer
}
