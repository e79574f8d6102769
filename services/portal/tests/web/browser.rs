//! As much of a browser as the portal can see.

use crate::the_box::{CODE, PASSWORD, TheBox};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{COOKIE, LOCATION, SET_COOKIE};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub struct Browser {
    address: SocketAddr,
    tls: TlsConnector,
    /// The address that it comes from.
    pub from: IpAddr,
    pub cookies: BTreeMap<String, String>,
    /// The hidden field of the last page that had one.
    pub form: String,
    pub host: String,
    pub origin: Option<String>,
    pub fetch_site: Option<String>,
}

pub struct Page {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub html: String,
}

impl Page {
    pub fn location(&self) -> &str {
        self.headers
            .get(LOCATION)
            .map_or("", |to| to.to_str().unwrap())
    }

    /// What a person reads: no tags, one line for each piece of text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // The frame around it is the same for all.
        let body = self.html.split("<main").last().unwrap();
        for part in body.split('<').skip(1) {
            let (tag, rest) = part.split_once('>').unwrap_or(("", part));
            let inline = [
                "strong", "/strong", "code", "/code", "span", "/span", "a ", "/a",
            ];
            if !inline.iter().any(|name| tag.starts_with(name)) && !text.ends_with('\n') {
                text.push('\n');
            }
            if tag.starts_with("input ") && !tag.contains("hidden") {
                text.push_str("[____]\n");
            }
            if tag.starts_with("button") && !rest.is_empty() {
                text.push_str("» ");
            }
            text.push_str(rest);
        }
        let unescaped = text
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&amp;", "&");
        let lines = unescaped
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("\n")
    }
}

pub async fn tls(to: &TheBox, stream: TcpStream) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("roost.local").unwrap();
    connector(to).connect(name, stream).await.unwrap()
}

fn connector(to: &TheBox) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(to.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

impl Browser {
    pub fn new(to: &TheBox) -> Self {
        Self {
            address: to.address,
            tls: connector(to),
            from: [127, 0, 0, 1].into(),
            cookies: BTreeMap::new(),
            form: String::new(),
            host: "roost.local".into(),
            origin: Some("https://roost.local".into()),
            fetch_site: Some("same-origin".into()),
        }
    }

    pub fn from(to: &TheBox, last: u8) -> Self {
        let from = [127, 0, 0, last].into();
        Self {
            from,
            ..Self::new(to)
        }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.request("GET", path);
        self.send(request.body(Full::default()).unwrap()).await
    }

    /// Sends a form; `form` stands for the token of the last page.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("form", &self.form);
        body.extend_pairs(fields);
        self.post_text(path, body.finish()).await
    }

    pub async fn post_text(&mut self, path: &str, body: String) -> Page {
        let mut request = self.request("POST", path);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(origin) = &self.origin {
            request = request.header("origin", origin);
        }
        self.send(request.body(Full::from(body)).unwrap()).await
    }

    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header(
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            );
        if let Some(site) = &self.fetch_site {
            request = request
                .header("sec-fetch-site", site)
                .header("sec-fetch-mode", "navigate");
        }
        if !self.cookies.is_empty() {
            let all: Vec<_> = self
                .cookies
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            request = request.header(COOKIE, all.join("; "));
        }
        request
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Page {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((self.from, 0).into()).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let name = ServerName::try_from("roost.local").unwrap();
        let stream = self.tls.connect(name, stream).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let html = body.collect().await.unwrap().to_bytes();
        let page = Page {
            status: head.status,
            headers: head.headers,
            html: String::from_utf8(html.to_vec()).unwrap(),
        };
        for cookie in page.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            assert!(
                cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"),
                "{cookie}"
            );
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        let mark = "name=\"form\" value=\"";
        if let Some(at) = page.html.find(mark) {
            self.form = page.html[at + mark.len()..][..64].into();
        }
        page
    }

    /// Enters the right code and opens the form.
    pub async fn enter_code(&mut self) {
        let page = self.post("/pair", &[("code", CODE)]).await;
        assert_eq!(page.location(), "/pair");
        let page = self.get("/pair").await;
        assert!(page.html.contains("Set up your box"), "{}", page.text());
    }

    pub async fn set_up(&mut self) -> Page {
        let fields = [
            ("password", PASSWORD),
            ("domain", "example.org"),
            ("account", "alice"),
        ];
        self.post("/pair/setup", &fields).await
    }

    /// From the code to the owner.
    pub async fn become_owner(&mut self) {
        self.enter_code().await;
        assert_eq!(self.set_up().await.location(), "/welcome");
        self.get("/").await;
    }

    pub async fn sign_in(&mut self) -> Page {
        self.post("/sign-in", &[("password", PASSWORD)]).await
    }
}
