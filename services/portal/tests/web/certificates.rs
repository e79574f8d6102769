//! Certificates that others trust: which one is shown to whom, and what the owner reads and does.

use crate::browser::{Browser, Page};
use crate::pages::snapshot;
use crate::played_certificates::{PlayedCertificates, failing, nothing_chosen, ordered, valid};
use crate::the_box::TheBox;
use roost_service::certificates::{Call, Certificate, Choice, Directory};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATIENCE: Duration = Duration::from_secs(60);

/// Made for these names, with a key of its own.
fn certificate(id: &str, names: &[&str]) -> (Certificate, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    // It signs anew each time it is written out.
    let pem = made.serialize_pem().unwrap();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let certificate = Certificate {
        id: id.into(),
        version: "v".into(),
        serial: "1".into(),
        names,
        chain_pem: pem,
        key_pem: made.serialize_private_key_pem(),
        not_after: 0,
    };
    (certificate, der)
}

/// Takes whatever certificate it is shown, if who shows it has the key.
#[derive(Debug)]
struct Curious(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A handshake by a new client. An address is asked for without SNI.
async fn shake(to: &TheBox, name: &str) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Curious(provider)))
        .with_no_client_auth();
    let name = match name.parse::<IpAddr>() {
        Ok(address) => ServerName::from(address),
        Err(_) => ServerName::try_from(name.to_owned()).unwrap(),
    };
    let stream = TcpStream::connect(to.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

/// The first certificate that is shown for this name.
async fn shown(to: &TheBox, name: &str) -> CertificateDer<'static> {
    let stream = shake(to, name).await;
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Tries until this certificate is shown for the name.
async fn until(to: &TheBox, name: &str, wanted: &CertificateDer<'static>) {
    let wait = async {
        while shown(to, name).await != *wanted {
            to.app.certificates.changed.notify_one();
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("another certificate is shown for {name}"));
}

/// A request on a connection that stays open; the answer's first line.
async fn ask(stream: &mut TlsStream<TcpStream>, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the box has closed the connection");
        answer.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or_default() {
            return head.lines().next().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn new_handshakes_get_the_newest_certificate_and_old_connections_go_on() {
    let the_box = TheBox::start().await;
    let own = the_box.certificate.clone();
    // Nobody has any yet.
    assert_eq!(shown(&the_box, "mail.example.org").await, own);

    let service = PlayedCertificates::listen(&the_box.app.places.certificates);
    let (first, first_der) = certificate("mail", &["mail.example.org"]);
    let pages_names = ["mta-sts.example.org", "autoconfig.example.org"];
    let (pages, pages_der) = certificate("example.org", &pages_names);
    let (secret, _) = certificate("secret", &["secret.example.org"]);
    {
        let mut service = service.lock();
        service.status = valid();
        for one in [first, pages, secret] {
            service.kept.insert(one.id.clone(), one);
        }
    }
    until(&the_box, "mail.example.org", &first_der).await;
    until(&the_box, "MTA-STS.example.org", &pages_der).await;
    assert_eq!(shown(&the_box, "autoconfig.example.org").await, pages_der);
    for name in [
        "127.0.0.1",
        "roost.local",
        "example.org",
        "secret.example.org",
    ] {
        assert_eq!(shown(&the_box, name).await, own, "{name}");
    }

    let host = "mail.example.org";
    let mut open = shake(&the_box, host).await;
    assert_eq!(ask(&mut open, host, "/pair").await, "HTTP/1.1 200 OK");
    let (second, second_der) = certificate("mail", &[host]);
    {
        let mut service = service.lock();
        service.kept.insert("mail".into(), second);
        service.status.certificates[0].serial = Some("99".into());
    }
    until(&the_box, host, &second_der).await;
    assert_eq!(ask(&mut open, host, "/pair").await, "HTTP/1.1 200 OK");
    let given = service.lock().given;
    until(&the_box, "mta-sts.example.org", &pages_der).await;
    assert_eq!(service.lock().given, given, "nothing is fetched twice");

    // What cannot be used is left alone, and the one before stays; what is not wanted any more goes.
    {
        let mut service = service.lock();
        let (mut broken, _) = certificate("mail", &[host]);
        broken.key_pem = certificate("mail", &[host]).0.key_pem;
        service.kept.insert("mail".into(), broken);
        service.status.certificates[0].serial = Some("100".into());
        service.status.certificates.remove(1);
    }
    until(&the_box, "mta-sts.example.org", &own).await;
    assert_eq!(shown(&the_box, host).await, second_der);
}

async fn owner(to: &TheBox) -> Browser {
    let mut browser = Browser::new(to);
    browser.become_owner().await;
    browser
}

#[tokio::test]
async fn the_pages_are_reached_by_the_mail_hosts_name() {
    let the_box = TheBox::start().await;
    let mut browser = owner(&the_box).await;
    let by_name = |browser: &mut Browser, name: &str| {
        browser.host = name.into();
        browser.origin = Some(format!("https://{name}"));
    };
    by_name(&mut browser, "mail.example.org");
    assert_eq!(browser.get("/").await.status, 421);
    let service = PlayedCertificates::listen(&the_box.app.places.certificates);
    let mut status = valid();
    status.choice.as_mut().unwrap().portal = Some("Box.example.org".into());
    service.lock().status = status;
    let wait = async {
        while browser.get("/").await.status == 421 {
            the_box.app.certificates.changed.notify_one();
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it learns the name");
    for name in [
        "mail.example.org",
        "box.example.org",
        "mail.example.org:443",
    ] {
        by_name(&mut browser, name);
        assert_eq!(browser.get("/relay").await.status, 200, "{name}");
        assert_eq!(browser.post("/relay", &[]).await.status, 200, "{name}");
    }
    for name in [
        "example.org",
        "autoconfig.example.org",
        "mail.example.org.evil.example",
    ] {
        by_name(&mut browser, name);
        assert_eq!(browser.get("/").await.status, 421, "{name}");
    }
    // Another site of the same domain is another site.
    by_name(&mut browser, "mail.example.org");
    browser.origin = Some("https://www.example.org".into());
    assert_eq!(browser.post("/relay", &[]).await.status, 403);
    assert_eq!(
        the_box.app.certificates.trusted(),
        Some("mail.example.org".into())
    );
}

#[tokio::test]
async fn every_state_is_told_in_words() {
    let the_box = TheBox::start().await;
    let _heard = the_box.with_init();
    let mut browser = owner(&the_box).await;
    snapshot(
        "certificates_without_service",
        &browser.get("/certificates").await,
    );
    let overview = |page: Page| {
        let text = page.text();
        let above = text.split("Services\n").next().unwrap().to_owned();
        let card = text.split("\nCertificates\n").last().unwrap();
        let card = card.split("All about certificates").next().unwrap();
        format!("{above}Certificates\n{card}\n")
    };
    let mut overviews = overview(browser.get("/").await);
    let service = PlayedCertificates::listen(&the_box.app.places.certificates);
    let staging = Choice {
        directory: Directory::LetsEncryptStaging,
        terms_agreed: true,
        ..Choice::default()
    };
    for (name, status) in [
        ("certificates_unchosen", nothing_chosen()),
        ("certificates_ordered", ordered(staging)),
        ("certificates_valid", valid()),
        ("certificates_failing", failing()),
    ] {
        service.lock().status = status;
        snapshot(name, &browser.get("/certificates").await);
        overviews += &format!("({name})\n{}", overview(browser.get("/").await));
    }
    insta::assert_snapshot!("certificates_on_the_overview", overviews);
    // A script gets the part that changes, which has no form.
    let request = browser.request("GET", "/certificates");
    let request = request.header("x-roost-poll", "1").body(Default::default());
    let piece = browser.send(request.unwrap()).await;
    assert!(piece.html.starts_with("<p>"), "{}", piece.html);
    assert!(!piece.html.contains("<form"), "{}", piece.html);
}

#[tokio::test]
async fn certificates_are_chosen_and_looked_after() {
    let the_box = TheBox::start().await;
    let service = PlayedCertificates::listen(&the_box.app.places.certificates);
    let mut browser = owner(&the_box).await;
    browser.get("/certificates").await;
    let mut heads = String::new();
    let other = [
        ("do", "set"),
        ("agree", "yes"),
        ("authority", "other"),
        ("directory", "https://ca.example/directory"),
        ("roots", "-----BEGIN CERTIFICATE-----"),
        ("portal", "Box.example.org"),
    ];
    let orders: [&[(&str, &str)]; 9] = [
        &[("do", "set"), ("authority", "staging")],
        &[("do", "set"), ("agree", "yes"), ("contact", "me")],
        &other,
        &[
            ("do", "set"),
            ("agree", "yes"),
            ("contact", "me@example.net"),
        ],
        &[("do", "renew"), ("id", "mail")],
        &[("do", "renew"), ("id", "example.net")],
        &[("do", "switch-key"), ("id", "mail")],
        &[("do", "revoke"), ("id", "mail")],
        &[
            ("do", "revoke"),
            ("id", "mail"),
            ("sure", "yes"),
            ("compromised", "yes"),
        ],
    ];
    for fields in orders {
        let page = browser.post("/certificates", fields).await;
        let text = page.text();
        let above = text.split("A certificate shows others").next().unwrap();
        heads += &format!("{fields:?}\n{} {above}\n", page.status);
    }
    insta::assert_snapshot!("certificates_orders", heads);
    let page = browser
        .post(
            "/certificates",
            &[("do", "set"), ("agree", "yes"), ("contact", "<me>")],
        )
        .await;
    assert!(
        page.html.contains("value=\"&lt;me&gt;\""),
        "what was typed stays"
    );
    let set = |choice| Call::Set {
        choice: Box::new(choice),
    };
    let id = || "mail".to_owned();
    let expected = [
        set(Choice {
            directory: Directory::Url("https://ca.example/directory".into()),
            terms_agreed: true,
            portal: Some("box.example.org".into()),
            roots_pem: Some("-----BEGIN CERTIFICATE-----".into()),
            ..Choice::default()
        }),
        set(Choice {
            terms_agreed: true,
            contact: Some("me@example.net".into()),
            ..Choice::default()
        }),
        Call::Renew { id: id() },
        Call::SwitchKey { id: id() },
        Call::Revoke {
            id: id(),
            key_compromised: true,
        },
    ];
    assert_eq!(service.lock().orders, expected);
    // Another site has no token.
    browser.form = "x".into();
    let page = browser
        .post("/certificates", &[("do", "renew"), ("id", "mail")])
        .await;
    assert_eq!(page.status, 403);
    assert_eq!(service.lock().orders.len(), 5);
}
