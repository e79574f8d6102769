//! The way to the authority, against a TLS server of rustls that misbehaves.

use bytes::Bytes;
use http::Request;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rcgen::{CertificateParams, KeyPair};
use roost_certificates::http::Https;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

/// Asks a server that answers with this, then with nothing more; with or without trust in it.
fn ask(answer: Vec<u8>, trusted: bool) -> (Result<BytesResponse, Error>, Https) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let roots = certificate.pem();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/dir", listener.local_addr().unwrap());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let chain = vec![certificate.der().clone()];
    let config = config
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        // The other side may hang up at any time.
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&answer);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let https = Https::new(trusted.then_some(roots.as_str())).unwrap();
    let request = Request::get(url)
        .body(BodyWrapper::<Bytes>::default())
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    (runtime.block_on(https.request(request)), https)
}

#[test]
fn how_long_to_stay_away_is_heard_and_told_once() {
    let refusal =
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7200\r\nContent-Length: 2\r\n\r\n{}";
    let (answer, https) = ask(refusal.to_vec(), true);
    assert_eq!(answer.ok().unwrap().parts.status, 429);
    assert_eq!(https.take_retry_after(), Some(7200));
    assert_eq!(https.take_retry_after(), None);
    // Polls of an order have the field too; that is no refusal.
    let poll = b"HTTP/1.1 200 OK\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}";
    let (answer, https) = ask(poll.to_vec(), true);
    assert_eq!(answer.ok().unwrap().parts.status, 200);
    assert_eq!(https.take_retry_after(), None);
}

#[test]
fn an_endless_answer_is_cut_off() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(endless.len() + (2 << 20), b' ');
    let why = ask(endless, true).0.err().unwrap().to_string();
    assert!(why.contains("length limit exceeded"), "{why}");
}

#[test]
fn nobody_unknown_is_spoken_to() {
    let (answer, _) = ask(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        false,
    );
    let fault = roost_certificates::fault::Fault::acme("Ask", &answer.err().unwrap());
    insta::assert_snapshot!(fault.why, @"the certificate authority cannot be reached (invalid peer certificate: UnknownIssuer)");
}
