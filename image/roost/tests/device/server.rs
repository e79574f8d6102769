//! A box as far as its API goes: real TLS on a real port, real HTTP, scripted answers.

use roost_service::update::{Answer, Call};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConnection, SignatureScheme,
    StreamOwned,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// PKCS#8 of an Ed25519 seed (RFC 8410, section 7).
pub fn pkcs8(seed: u8) -> Vec<u8> {
    let prefix = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    [&prefix[..], &[seed; 32]].concat()
}

/// The public key of the pair with this seed.
pub fn public(seed: u8) -> Vec<u8> {
    let pair = rcgen::KeyPair::from_der(&pkcs8(seed)).unwrap();
    pair.public_key_raw().to_vec()
}

/// A certificate and its key (PKCS#8).
type Pair = (Vec<u8>, Vec<u8>);

/// The certificate and the key (PKCS#8) of the box with this number: P-256, as `roost flash` makes
/// them, and the same for the whole test.
pub fn identity(seed: u8) -> Pair {
    static MADE: Mutex<BTreeMap<u8, Pair>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let one = made.entry(seed).or_insert_with(|| {
        let mut params = rcgen::CertificateParams::new(vec!["attic.local".to_owned()]);
        params.alg = &rcgen::PKCS_ECDSA_P256_SHA256;
        let certificate = rcgen::Certificate::from_params(params).unwrap();
        (
            certificate.serialize_der().unwrap(),
            certificate.serialize_private_key_der(),
        )
    });
    one.clone()
}

/// What the box does after a connection.
pub enum Then {
    /// It takes the next one.
    Go,
    /// Its port is closed for a while.
    Away(Duration),
}

/// A running box. Dropped, it ends; a panic in its script fails the test.
pub struct Server {
    pub port: u16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A box with the key `seed` that takes the laptop with the key `laptop`. The script is
    /// called for every connection that has shaken hands.
    pub fn start(
        seed: u8,
        laptop: u8,
        script: impl FnMut(usize, &mut Conn) -> Then + Send + 'static,
    ) -> Self {
        Self::run(config(seed, seed, Some(laptop)), true, script)
    }

    /// A box whose API is asked with single requests: method, path and JSON give status and JSON.
    /// With `laptop` it is the laptops' door, else the one for everybody.
    pub fn http(
        seed: u8,
        laptop: Option<u8>,
        mut script: impl FnMut(&str, &str, Value) -> (u16, Value) + Send + 'static,
    ) -> Self {
        Self::run(config(seed, seed, laptop), false, move |_, conn| {
            while let Some((method, path, body)) = conn.request() {
                let (status, answer) = script(&method, &path, body);
                let answer = match answer {
                    Value::Null => String::new(),
                    answer => answer.to_string(),
                };
                let length = answer.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                conn.raw((head + &answer).as_bytes());
            }
            Then::Go
        })
    }

    /// Somebody who shows the certificate of the box `shown`, but holds the key `held`.
    pub fn impostor(shown: u8, held: u8, laptop: u8) -> Self {
        Self::run(config(shown, held, Some(laptop)), true, |_, _| {
            panic!("an impostor was believed")
        })
    }

    fn run(
        config: rustls::ServerConfig,
        upgrade: bool,
        mut script: impl FnMut(usize, &mut Conn) -> Then + Send + 'static,
    ) -> Self {
        let config = Arc::new(config);
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            loop {
                let (socket, _) = listener.accept().unwrap();
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let Some(mut conn) = Conn::shake_hands(socket, &config) else {
                    continue;
                };
                if upgrade && conn.upgrade().is_none() {
                    continue;
                }
                let then = script(count, &mut conn);
                count += 1;
                drop(conn);
                if let Then::Away(time) = then {
                    drop(listener);
                    std::thread::sleep(time);
                    listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
                }
            }
        });
        Self {
            port,
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("it is taken only here");
        while !thread.is_finished() {
            // It may be in the middle of being away.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The box's side of a connection.
pub struct Conn(BufReader<StreamOwned<ServerConnection, TcpStream>>);

impl Conn {
    fn shake_hands(mut socket: TcpStream, config: &Arc<rustls::ServerConfig>) -> Option<Self> {
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut tls = ServerConnection::new(config.clone()).unwrap();
        while tls.is_handshaking() {
            if tls.complete_io(&mut socket).is_err() {
                // The alert is out; closing at once could overtake it.
                let _ = socket.shutdown(Shutdown::Write);
                let _ = socket.read_to_end(&mut Vec::new());
                return None;
            }
        }
        Some(Self(BufReader::new(StreamOwned::new(tls, socket))))
    }

    /// Becomes the updater's; none if the laptop has gone.
    fn upgrade(&mut self) -> Option<()> {
        let (head, _) = self.head()?;
        assert!(
            head.starts_with("POST /api/v1/updates HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nUpgrade: roost-update/1\r\n"), "{head}");
        self.raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: roost-update/1\r\n\r\n");
        Some(())
    }

    /// The next request: its head, and the length of its body.
    fn head(&mut self) -> Option<(String, u64)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match self.0.read_line(&mut head) {
                Ok(1..) => {}
                _ => return None,
            }
        }
        let length = head.split("Content-Length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        Some((head, length))
    }

    /// The next request: method, path and JSON.
    fn request(&mut self) -> Option<(String, String, Value)> {
        let (head, length) = self.head()?;
        let mut words = head.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let body = match self.bytes(length) {
            empty if empty.is_empty() => Value::Null,
            bytes => serde_json::from_slice(&bytes).expect("the body is JSON"),
        };
        Some((method, path, body))
    }

    /// The next call; none if the laptop has gone.
    pub fn call(&mut self) -> Option<Call> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(1..) => Some(serde_json::from_str(&line).expect("a call is understood")),
            _ => None,
        }
    }

    /// Bytes that follow a call; fewer if the laptop has gone.
    pub fn bytes(&mut self, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.0.by_ref().take(count).read_to_end(&mut bytes);
        bytes
    }

    pub fn say(&mut self, answer: &Answer) {
        let mut line = serde_json::to_string(answer).unwrap();
        line.push('\n');
        self.raw(line.as_bytes());
    }

    /// Bytes that may not be a line. A laptop that has gone does not matter.
    pub fn raw(&mut self, bytes: &[u8]) {
        let stream = self.0.get_mut();
        let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    }

    pub fn refuse(&mut self, message: &str, hint: Option<&str>) {
        self.say(&Answer::Error {
            message: message.into(),
            hint: hint.map(Into::into),
        });
    }
}

fn config(shown: u8, held: u8, laptop: Option<u8>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider
        .key_provider
        .load_private_key(PrivatePkcs8KeyDer::from(identity(held).1).into())
        .unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let builder = match laptop {
        Some(laptop) => builder.with_client_cert_verifier(Arc::new(Laptop(public(laptop)))),
        None => builder.with_no_client_auth(),
    };
    builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
        vec![identity(shown).0.into()],
        key,
    ))))
}

/// Takes one laptop's key.
#[derive(Debug)]
struct Laptop(Vec<u8>);

impl ClientCertVerifier for Laptop {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
        if parsed.subject_public_key_info().ends_with(&self.0) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        unreachable!("only TLS 1.3 is offered")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
