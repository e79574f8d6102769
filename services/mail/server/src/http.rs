//! JMAP, CalDAV, CardDAV and WebDAV over HTTP, for the portal, which speaks HTTPS with clients.
//!
//! The library has the handlers but its own router leaves them out, so the
//! paths are routed here. There is no management interface: whatever is not
//! named in [`route`] is not found.
//!
//! Bans and limits are about the client that the portal names, not about the portal.

use crate::sessions::{Connection, Handler};
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, body};
use hyper_util::rt::{TokioIo, TokioTimer};
use stalwart_lib::common::core::BuildServer;
use stalwart_lib::common::{Inner, Server};
use stalwart_lib::dav::DavMethod;
use stalwart_lib::dav::request::DavRequestHandler;
use stalwart_lib::groupware::DavResourceName;
use stalwart_lib::http::auth::authenticate::Authenticator;
use stalwart_lib::http::management::{ToManageHttpResponse, UnauthorizedResponse};
use stalwart_lib::http_proto::request::{decode_path_element, fetch_body};
use stalwart_lib::http_proto::{
    DownloadResponse, HttpRequest, HttpResponse, HttpSessionData, ToHttpResponse,
};
use stalwart_lib::jmap::api::event_source::EventSourceHandler;
use stalwart_lib::jmap::api::request::RequestHandler;
use stalwart_lib::jmap::api::session::SessionHandler;
use stalwart_lib::jmap::api::{ToJmapHttpResponse, ToRequestError};
use stalwart_lib::jmap::blob::download::BlobDownload;
use stalwart_lib::jmap::blob::upload::BlobUpload;
use stalwart_lib::jmap::websocket::upgrade::WebSocketUpgrade;
use stalwart_lib::jmap_proto::request::Request as JmapRequest;
use stalwart_lib::types::{blob::BlobId, id::Id};
use stalwart_lib::{AuthEvent, Error, EventType, LimitEvent, ResourceEvent};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A client that has not sent a whole request head by then is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Browsers shall use TLS from now on and not guess what a file is.
const SAFETY_HEADERS: [(&str, &str); 2] = [
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
];

/// Methods that a DAV server names when asked (RFC 4918 §10.1, RFC 4791 §5.1).
const DAV_ALLOW: &str = "OPTIONS, GET, HEAD, POST, PUT, DELETE, COPY, MOVE, MKCOL, MKCALENDAR, \
                         PROPFIND, PROPPATCH, REPORT, LOCK, UNLOCK, ACL";
/// Classes of RFC 4918, RFC 3744, RFC 5689, RFC 4791, RFC 6638, RFC 6352.
const DAV_CLASSES: &str = "1, 2, 3, access-control, extended-mkcol, calendar-access, \
                           calendar-auto-schedule, addressbook";

/// Whose request it is, from its `X-Forwarded-For` headers in order; `None`: the peer's own.
pub type Client = fn(&[&str]) -> Option<IpAddr>;

/// Where the portal says whose request it hands on.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The handler of the HTTP port, which calls itself `host`.
pub(crate) fn handler(inner: &Arc<Inner>, host: &str, client: Client) -> Handler {
    let (inner, host): (_, Arc<str>) = (inner.clone(), host.into());
    Arc::new(move |connection| Box::pin(serve(inner.clone(), host.clone(), client, connection)))
}

async fn serve(inner: Arc<Inner>, host: Arc<str>, client: Client, connection: Connection) {
    // Counts the connection while it lives.
    let _in_flight = connection.in_flight;
    let service = service_fn(|request: Request<body::Incoming>| {
        let (inner, host) = (inner.clone(), host.clone());
        let forwarded: Vec<&str> = request
            .headers()
            .get_all(FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let remote_ip = client(&forwarded).unwrap_or(connection.remote_ip);
        let session = HttpSessionData {
            instance: connection.instance.clone(),
            local_ip: connection.local_ip,
            local_port: connection.local_port,
            remote_ip,
            remote_port: connection.remote_port,
            // Between client and portal, which is the part that networks see.
            is_tls: true,
            session_id: connection.session_id,
        };
        async move {
            let server = inner.build_server();
            let mut response = if server.is_ip_blocked(&remote_ip) {
                HttpResponse::new(StatusCode::FORBIDDEN)
            } else {
                answer(&server, &host, request, session).await
            }
            .build();
            let headers = response.headers_mut();
            for (name, value) in SAFETY_HEADERS {
                headers.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            Ok::<_, hyper::Error>(response)
        }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(connection.stream), service)
        .with_upgrades();
    let mut stopped = connection.instance.shutdown_rx.clone();
    let mut http = std::pin::pin!(http);
    // Junk, time-outs and hung-up clients are everyday life: no result is an error.
    tokio::select! {
        _ = http.as_mut() => {}
        _ = stopped.changed() => {
            http.as_mut().graceful_shutdown();
            let _ = http.await;
        }
    }
}

async fn answer(
    server: &Server,
    host: &str,
    request: HttpRequest,
    session: HttpSessionData,
) -> HttpResponse {
    let span = session.session_id;
    let is_jmap = request.uri().path().starts_with("/jmap");
    match Box::pin(route(server, host, request, session)).await {
        Ok(response) => response,
        Err(error) => {
            let response = if is_jmap && !is_about_login(&error) {
                // RFC 8620 §3.6.1 has its own kinds of errors.
                ToJmapHttpResponse::into_http_response(error.to_request_error())
            } else {
                ToManageHttpResponse::into_http_response(&error)
            };
            stalwart_lib::error!(error.span_id(span));
            response
        }
    }
}

fn is_about_login(error: &Error) -> bool {
    matches!(
        error.as_ref(),
        EventType::Auth(AuthEvent::Failed | AuthEvent::Error | AuthEvent::TokenExpired)
    )
}

/// Sends a request to its handler.
async fn route(
    server: &Server,
    host: &str,
    request: HttpRequest,
    session: HttpSessionData,
) -> Result<HttpResponse, Error> {
    let path = request.uri().path().to_string();
    let mut parts = path.split('/').skip(1);
    match (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    ) {
        ("jmap", rest) => {
            let arguments: Vec<&str> = parts.collect();
            jmap(server, host, request, session, rest, &arguments).await
        }
        ("dav", resource) => dav(server, request, session, resource).await,
        (".well-known", "jmap") => Ok(redirect("/jmap/session")),
        // RFC 6764 §5.
        (".well-known", "caldav") => Ok(redirect(DavResourceName::Cal.collection_path())),
        (".well-known", "carddav") => Ok(redirect(DavResourceName::Card.collection_path())),
        // How mail programs find the ports by themselves is the portal's to say.
        _ => Ok(HttpResponse::new(StatusCode::NOT_FOUND)),
    }
}

/// Clients ask without a password first; that is no failed log-in.
fn has_credentials(request: &HttpRequest) -> bool {
    request.headers().contains_key(AUTHORIZATION)
}

/// 307 keeps the method: clients send PROPFIND to the well-known address.
fn redirect(location: &'static str) -> HttpResponse {
    HttpResponse::new(StatusCode::TEMPORARY_REDIRECT).with_location(location)
}

async fn dav(
    server: &Server,
    request: HttpRequest,
    session: HttpSessionData,
    resource: &str,
) -> Result<HttpResponse, Error> {
    let Some(resource) = DavResourceName::parse(resource) else {
        return Ok(HttpResponse::new(StatusCode::NOT_FOUND));
    };
    let Some(method) = DavMethod::parse(request.method()) else {
        return Ok(HttpResponse::new(StatusCode::METHOD_NOT_ALLOWED));
    };
    if matches!(method, DavMethod::OPTIONS) {
        return Ok(HttpResponse::new(StatusCode::OK)
            .with_header("DAV", DAV_CLASSES)
            .with_header("Allow", DAV_ALLOW));
    }
    if !has_credentials(&request) {
        return Ok(HttpResponse::unauthorized(true));
    }
    let (_in_flight, token) = server
        .authenticate_headers(&request, &session, false)
        .await?;
    Ok(server
        .handle_dav_request(request, token, &session, resource, method)
        .await)
}

/// RFC 8620; `rest` and `arguments` are what follows `/jmap/`.
async fn jmap(
    server: &Server,
    host: &str,
    mut request: HttpRequest,
    session: HttpSessionData,
    rest: &str,
    arguments: &[&str],
) -> Result<HttpResponse, Error> {
    let method = request.method().clone();
    if method == Method::OPTIONS {
        return Ok(HttpResponse::new(StatusCode::NO_CONTENT));
    }
    if !has_credentials(&request) {
        return Ok(HttpResponse::unauthorized(true));
    }
    let (_in_flight, token) = server
        .authenticate_headers(&request, &session, false)
        .await?;
    let settings = &server.core.jmap;
    match (rest, arguments, method) {
        ("session", [], Method::GET) => {
            let base = format!("https://{}", authority(&request).unwrap_or(host));
            let session = server.handle_session_resource(base, token).await?;
            Ok(ToJmapHttpResponse::into_http_response(session))
        }
        ("", [], Method::POST) => {
            let body = fetch_body(&mut request, settings.request_max_size, session.session_id)
                .await
                .ok_or_else(|| LimitEvent::SizeRequest.into_err())?;
            let calls =
                JmapRequest::parse(&body, settings.request_max_calls, settings.request_max_size)?;
            let response = server.handle_jmap_request(calls, token, &session).await;
            Ok(ToJmapHttpResponse::into_http_response(response))
        }
        ("upload", [account, ..], Method::POST) => {
            let account: Id = parse(account)?;
            let content_type = request
                .headers()
                .get(hyper::header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("application/octet-stream")
                .to_string();
            let body = fetch_body(&mut request, settings.upload_max_size, session.session_id)
                .await
                .ok_or_else(|| LimitEvent::SizeUpload.into_err())?;
            let uploaded = server
                .blob_upload(account, &content_type, &body, token)
                .await?;
            Ok(ToHttpResponse::into_http_response(uploaded))
        }
        ("download", [_account, blob, name, ..], Method::GET) => {
            let blob = BlobId::from_base32(blob).ok_or_else(bad_request)?;
            match server.blob_download(&blob, &token).await? {
                Some(content) => Ok(ToHttpResponse::into_http_response(DownloadResponse {
                    filename: header_safe(&decode_path_element(name)),
                    content_type: header_safe(&accepted_type(&request)),
                    blob: content,
                })),
                None => Ok(HttpResponse::new(StatusCode::NOT_FOUND)),
            }
        }
        ("eventsource", _, Method::GET) => server.handle_event_source(request, token).await,
        ("ws", _, Method::GET) => {
            server
                .upgrade_websocket_connection(request, token, session)
                .await
        }
        _ => Ok(HttpResponse::new(StatusCode::NOT_FOUND)),
    }
}

/// Host and port that the client used, so that links lead back the same way
/// (through a forwarded port, or by the name on the home network).
fn authority(request: &HttpRequest) -> Option<&str> {
    let host = request.headers().get(HOST)?.to_str().ok()?;
    host.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        .then_some(host)
}

/// The `accept` argument of a download link (RFC 8620 §6.2).
fn accepted_type(request: &HttpRequest) -> String {
    request
        .uri()
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("accept="))
        .map(|value| decode_path_element(value).into_owned())
        .filter(|value| value.contains('/'))
        .unwrap_or_else(|| "application/octet-stream".to_string())
}

/// Response headers cannot carry control or non-ASCII characters.
fn header_safe(value: &str) -> String {
    value
        .chars()
        .map(|char| match char {
            ' '..='~' if char != '"' && char != '\\' => char,
            _ => '_',
        })
        .collect()
}

fn parse<T: std::str::FromStr>(value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| bad_request())
}

fn bad_request() -> Error {
    ResourceEvent::BadParameters.into_err()
}
