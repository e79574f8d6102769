//! The device API over loopback: real TLS on both doors, a real store. Init, the updater, mail, the name
//! server and the tunnel are played by threads behind real sockets.

#[path = "device/certificates.rs"]
mod certificates;
#[path = "device/dns.rs"]
mod dns;
#[path = "device/mail.rs"]
mod mail;
#[path = "device/outside.rs"]
mod outside;
#[path = "played/certificates.rs"]
mod played_certificates;
#[path = "played/dns.rs"]
mod played_dns;
#[path = "played/mail.rs"]
mod played_mail;
#[path = "played/tunnel.rs"]
mod played_tunnel;
#[path = "played/zones.rs"]
mod played_zones;
#[path = "device/relay.rs"]
mod relay;

use played_mail::PlayedMail;
use roost_portal::actions::laptops::Applicant;
use roost_portal::app::{App, OfCard, Places};
use roost_portal::code::Code;
use roost_portal::device::door::{Door, Limits};
use roost_portal::identity::Identity;
use roost_portal::listen;
use roost_portal::outside::Outside;
use roost_portal::resolver;
use roost_portal::store::{DataFolder, Store};
use roost_portal::web;
use roost_service::boot_times::BootTimes;
use roost_service::control;
use roost_service::settings::{Mail, Network, Settings};
use roost_service::update::{Answer, Call, Phase, Report, UpdateStatus, Version};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const CODE: &str = "A0B1C2D3";
const PASSWORD: &str = "wobbly lantern orbits quietly";

/// A box: both doors of its portal, and what init and the updater were asked.
struct Played {
    web: SocketAddr,
    laptops: SocketAddr,
    certificate: CertificateDer<'static>,
    init: Arc<Mutex<Vec<control::Request>>>,
    mail: PlayedMail,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

const QUICK: Limits = Limits {
    connections: 3,
    handshakes: 3,
    handshake: Duration::from_secs(20),
    head: Duration::from_secs(20),
};

fn settings() -> Settings {
    Settings {
        name: "attic".into(),
        mailbox: None,
        network: Network::Dhcp,
        time_servers: vec!["192.0.2.1".into()],
        mail: Mail {
            host: None,
            max_message_size: 1 << 20,
            spam_filter: true,
        },
        update: Default::default(),
        resolver: None,
    }
}

fn machine() -> control::BoxStatus {
    control::BoxStatus {
        name: "attic".into(),
        version: "0.1.0+14".into(),
        slot: 2,
        trial_left_s: None,
        uptime_s: 100.0,
        rescue: None,
        ready: true,
        ready_after_s: Some(9.0),
        clock_synced: false,
        addresses: vec![],
        memory_total: 1 << 30,
        memory_available: 1 << 29,
        data_total: 1 << 30,
        data_free: 1 << 29,
        data_written: 0,
        services: vec![],
    }
}

fn version(number: u64) -> Version {
    let name = format!("0.1.0+{number}");
    Version { number, name }
}

fn report() -> Report {
    Report {
        machine: machine(),
        update: UpdateStatus {
            running: version(14),
            other: Some(version(13)),
            phase: Phase::Idle,
            last: None,
            earlier: Vec::new(),
        },
    }
}

/// Time in which the portal is stopped by the restart that it has asked for.
const RESTART: Duration = Duration::from_millis(300);

/// Answers lines on a socket, one thread a connection.
fn play<A: serde::Serialize>(
    path: &Path,
    answer: impl Fn(&str) -> Vec<A> + Clone + Send + 'static,
) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            std::thread::spawn(move || {
                let reader = BufReader::new(stream.try_clone().unwrap());
                for line in reader.lines() {
                    let Ok(line) = line else { return };
                    for answer in answer(&line) {
                        let mut line = serde_json::to_vec(&answer).unwrap();
                        line.push(b'\n');
                        if stream.write_all(&line).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

impl Played {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// One that finds things elsewhere.
    async fn with(change: impl FnOnce(&mut Places)) -> Self {
        Self::made(change, None).await
    }

    /// One whose card says that this laptop wrote it.
    async fn written_by(laptop: &Laptop) -> Self {
        let computer = Applicant::new(laptop.name, &laptop.public).unwrap();
        Self::made(|_| {}, Some(computer)).await
    }

    async fn made(change: impl FnOnce(&mut Places), computer: Option<Applicant>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut places = Places {
            data: folder.path().into(),
            run: folder.path().into(),
            init: at("init.sock"),
            updater: at("updater.sock"),
            backup: at("backup.sock"),
            backup_door: at("backup-door.sock"),
            mail: at("mail.sock"),
            tunnel: at("tunnel.sock"),
            dns: at("dns.sock"),
            certificates: at("certificates.sock"),
            resolver: at("resolver.sock"),
            name_server: ([127, 0, 0, 1], 9).into(),
            mail_http: ([127, 0, 0, 1], 9).into(),
            mail_imaps: ([127, 0, 0, 1], 9).into(),
            resolv_conf: at("resolv.conf"),
            dns_port: resolver::PORT,
            outside: Outside::STANDARD,
            // Nobody is there.
            doors: |_| SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        change(&mut places);
        let init: Arc<Mutex<Vec<control::Request>>> = Arc::default();
        let asked = init.clone();
        play(&places.init, move |line| {
            let request: control::Request = serde_json::from_str(line).unwrap();
            let response = match &request {
                control::Request::Status => control::Response::Status(machine()),
                control::Request::BootTimes => control::Response::BootTimes(BootTimes {
                    version: "7".into(),
                    ..BootTimes::default()
                }),
                control::Request::Logs { service, .. } if service == "nobody" => {
                    control::Response::Error {
                        message: "there is no service \"nobody\"".into(),
                    }
                }
                control::Request::Logs { lines, .. } => control::Response::Logs {
                    lines: vec!["one".into(), "two".into()][..2.min(*lines)].to_vec(),
                },
                control::Request::Reboot { .. } => {
                    std::thread::sleep(RESTART);
                    control::Response::Ok
                }
                _ => control::Response::Ok,
            };
            asked.lock().unwrap().push(request);
            vec![response]
        });
        play(&places.updater, |line| {
            match serde_json::from_str(line).unwrap() {
                Call::Status => vec![Answer::Status(Box::new(report()))],
                Call::Logs { follow: true, .. } => ["three", "four"]
                    .map(|line| Answer::Logs {
                        lines: vec![line.into()],
                    })
                    .to_vec(),
                Call::Look => vec![Answer::Error {
                    message: "this box follows no address for updates".into(),
                    hint: Some("send it one".into()),
                }],
                Call::Reboot => {
                    std::thread::sleep(RESTART);
                    vec![Answer::Ok]
                }
                _ => vec![Answer::Ok],
            }
        });
        let mail = PlayedMail::listen(&places.mail);
        let identity = Identity::load_or_make(folder.path(), "attic").unwrap();
        let certificate = identity.certificate.clone();
        let tls = listen::tls(&identity, Arc::default()).unwrap();
        let tls = TlsAcceptor::from(Arc::new(tls));
        let store = Store::open(&DataFolder(folder.path().into())).unwrap();
        let code = Code::parse(CODE).unwrap();
        let card = OfCard {
            code: Some(code.clone()),
            computer,
        };
        let app = App::new(store, settings(), identity, places, card).unwrap();
        app.begin_pairing(code).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at_web = listener.local_addr().unwrap();
        tokio::spawn(listen::serve(
            listener,
            Some(tls),
            listen::Limits::STANDARD,
            web::service(web::router(app.clone())),
            stopping.clone(),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let laptops = listener.local_addr().unwrap();
        let door = Door::new(app.clone(), QUICK).unwrap();
        tokio::spawn(door.serve(listener, stopping));
        Self {
            web: at_web,
            laptops,
            certificate,
            init,
            mail,
            app,
            stop,
            _folder: folder,
        }
    }

    /// A box whose owner has the laptop `first`.
    async fn owned(first: &Laptop) -> Self {
        let played = Self::new().await;
        let answer = played.pair(CODE, PASSWORD, first).await;
        assert_eq!(answer.0, 201, "{answer:?}");
        played
    }

    async fn pair(&self, code: &str, password: &str, laptop: &Laptop) -> (u16, Value) {
        let body = json!({
            "code": code,
            "password": password,
            "domain": "example.org",
            "account": "alice",
            "laptop": { "name": laptop.name, "key": laptop.public },
        });
        self.anybody("POST", "/api/v1/pair", Some(body)).await
    }

    async fn join(&self, password: &str, laptop: &Laptop) -> (u16, Value) {
        let body = json!({
            "password": password,
            "laptop": { "name": laptop.name, "key": laptop.public },
        });
        self.anybody("POST", "/api/v1/laptops", Some(body)).await
    }

    async fn anybody(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut conn = self.connect(self.web, None).await.unwrap();
        conn.ask(method, path, &[], body).await.unwrap()
    }

    async fn connect(&self, to: SocketAddr, laptop: Option<&Laptop>) -> std::io::Result<Conn> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(self.certificate.clone())));
        let config = match laptop {
            Some(laptop) => builder
                .with_client_auth_cert(vec![laptop.certificate.clone()], laptop.key.clone_key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from("attic").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        Ok(Conn(tokio::io::BufReader::new(stream)))
    }

    async fn by(&self, laptop: &Laptop) -> Conn {
        let conn = self.connect(self.laptops, Some(laptop)).await;
        conn.expect("a connection")
    }

    /// One call by a laptop; an error if it is not let in.
    async fn call(
        &self,
        laptop: &Laptop,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> std::io::Result<(u16, Value)> {
        let mut conn = self.connect(self.laptops, Some(laptop)).await?;
        conn.ask(method, path, &[], body).await
    }
}

struct Laptop {
    name: &'static str,
    public: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn laptop(name: &'static str) -> Laptop {
    let pair = rcgen::KeyPair::generate(&rcgen::PKCS_ED25519).unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new());
    params.alg = &rcgen::PKCS_ED25519;
    let (der, public) = (pair.serialize_der(), hex::encode(pair.public_key_raw()));
    params.key_pair = Some(pair);
    let certificate = rcgen::Certificate::from_params(params).unwrap();
    Laptop {
        name,
        public,
        certificate: certificate.serialize_der().unwrap().into(),
        key: PrivatePkcs8KeyDer::from(der).into(),
    }
}

#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(certificate, &self.0, "both doors show the same certificate");
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.2")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

struct Conn(tokio::io::BufReader<TlsStream<TcpStream>>);

impl Conn {
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<Value>,
    ) -> std::io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: attic.local\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        let body = body.map(|body| body.to_string());
        if let Some(body) = &body {
            let length = body.len();
            head += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        }
        head += "\r\n";
        head += &body.unwrap_or_default();
        self.0.write_all(head.as_bytes()).await?;
        self.0.flush().await
    }

    /// Status and fields of the next answer.
    async fn head(&mut self) -> std::io::Result<(u16, String)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok((head[9..12].parse().unwrap(), head.to_lowercase()))
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<Value>,
    ) -> std::io::Result<(u16, Value)> {
        self.send(method, path, fields, body).await?;
        let (status, head) = self.head().await?;
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        let value = match body.as_slice() {
            [] => Value::Null,
            body => serde_json::from_slice(body)
                .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into()),
        };
        Ok((status, value))
    }

    async fn upgrade(&mut self) {
        let fields = [("Connection", "Upgrade"), ("Upgrade", "roost-update/1")];
        self.send("POST", "/api/v1/updates", &fields, None)
            .await
            .unwrap();
        let (status, head) = self.head().await.unwrap();
        assert_eq!(status, 101, "{head}");
        assert!(head.contains("upgrade: roost-update/1\r\n"), "{head}");
    }

    async fn line(&mut self, call: &Call) -> std::io::Result<Answer> {
        self.give(call).await?;
        self.take().await
    }

    async fn give(&mut self, call: &Call) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(call).unwrap();
        line.push(b'\n');
        self.0.write_all(&line).await?;
        self.0.flush().await
    }

    async fn take(&mut self) -> std::io::Result<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        serde_json::from_str(&line).map_err(Into::into)
    }
}

/// Refusals as people read them.
fn told(answer: &(u16, Value)) -> String {
    let text = |key: &str| answer.1[key].as_str().unwrap_or("–").to_owned();
    format!(
        "{} {}: {}\n    because: {}\n    try: {}\n",
        answer.0,
        text("code"),
        text("what"),
        text("because"),
        text("hint")
    )
}

/// What the log of the box's doors says, the newest first, without time and place.
async fn said(conn: &mut Conn) -> Vec<String> {
    let audit = conn.ask("GET", "/api/v1/audit", &[], None).await.unwrap();
    let entries = audit.1["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            let text = entry["text"].as_str().unwrap();
            let from = text.find(": The").or(text.find(": Somebody")).unwrap();
            text[from + 2..].to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_box_is_paired_once_with_code_password_and_laptop() {
    let played = Played::new().await;
    let (desk, other) = (laptop("desk"), laptop("other"));
    let hello = played.anybody("GET", "/api/v1/hello", None).await;
    assert_eq!(
        hello,
        (
            200,
            json!({ "name": "attic", "version": "0.1.0+14", "api": 1, "paired": false, "needs_mailbox": true })
        )
    );
    // Nobody is known yet.
    assert!(
        played
            .call(&desk, "GET", "/api/v1/status", None)
            .await
            .is_err()
    );
    let mut refused = String::new();
    refused += &told(&played.join(PASSWORD, &desk).await);
    refused += &told(&played.pair(CODE, "attic", &desk).await);
    refused += &told(&played.pair("hello", PASSWORD, &desk).await);
    refused += &told(&played.pair("A0B1C2D4", PASSWORD, &desk).await);
    let answer = played.pair(CODE, PASSWORD, &desk).await;
    assert_eq!(answer.0, 201, "{answer:?}");
    assert_eq!(answer.1["account"], "alice@example.org");
    assert_eq!(answer.1["mail_password"].as_str().unwrap().len(), 23);
    refused += &told(&played.pair(CODE, PASSWORD, &other).await);
    insta::assert_snapshot!(refused);
    let hello = played.anybody("GET", "/api/v1/hello", None).await;
    assert_eq!(hello.1["paired"], true);
    let status = played
        .call(&desk, "GET", "/api/v1/status", None)
        .await
        .unwrap();
    assert_eq!(status.1["machine"]["name"], "attic");
    assert_eq!(status.1["update"]["running"]["number"], 14);
    // Not with the code of a box that has an owner.
    assert!(
        played
            .call(&other, "GET", "/api/v1/status", None)
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_limited_as_on_the_page() {
    let played = Played::new().await;
    let desk = laptop("desk");
    let mut told_all = String::new();
    for _ in 0..6 {
        told_all += &told(&played.pair("ZZZZZZZZ", PASSWORD, &desk).await);
    }
    // The right code is not even compared.
    let late = played.pair(CODE, PASSWORD, &desk).await;
    told_all += &told(&late);
    assert!(late.1["wait_s"].as_u64().unwrap() > 0);
    let without_time: Vec<&str> = told_all
        .split_inclusive('\n')
        .map(|line| line.split(" you can try again in ").next().unwrap())
        .collect();
    insta::assert_snapshot!(without_time.join(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_laptop_wants_the_password_and_a_revoked_one_is_out_at_once() {
    let (desk, couch) = (laptop("desk"), laptop("couch"));
    let played = Played::owned(&desk).await;
    insta::assert_snapshot!(told(&played.join("wobbly lantern", &couch).await));
    assert_eq!(played.join(PASSWORD, &couch).await.0, 201);
    // An answer may be lost on the way.
    assert_eq!(played.join(PASSWORD, &couch).await.0, 201);
    let mut listed = played.by(&desk).await;
    let list = listed.ask("GET", "/api/v1/laptops", &[], None).await;
    let list = list.unwrap().1;
    let names: Vec<_> = (list["laptops"].as_array().unwrap().iter())
        .map(|known| (known["name"].as_str().unwrap(), known["this"] == true))
        .collect();
    assert_eq!(names, [("couch", false), ("desk", true)]);

    // It talks to the updater, and rests on another connection.
    let mut updating = played.by(&couch).await;
    updating.upgrade().await;
    assert!(matches!(
        updating.line(&Call::Status).await.unwrap(),
        Answer::Status(_)
    ));
    let mut resting = played.by(&couch).await;
    let hello = resting.ask("GET", "/api/v1/hello", &[], None).await;
    assert_eq!(hello.unwrap().0, 200);
    let path = format!("/api/v1/laptops/{}", couch.public);
    assert_eq!(listed.ask("DELETE", &path, &[], None).await.unwrap().0, 204);
    for mut open in [updating, resting] {
        let mut byte = [0];
        let got = tokio::time::timeout(Duration::from_secs(10), open.0.read(&mut byte)).await;
        assert!(matches!(got, Ok(Ok(0) | Err(_))), "{got:?}");
    }
    let error = played.call(&couch, "GET", "/api/v1/hello", None).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("AccessDenied"), "{error}");
    assert_eq!(listed.ask("DELETE", &path, &[], None).await.unwrap().0, 404);
    insta::assert_snapshot!(said(&mut listed).await.join("\n"));
}

/// Before there is an owner its key opens nothing; then it is a laptop as any other.
#[tokio::test(flavor = "multi_thread")]
async fn the_computer_that_wrote_the_card_is_let_in_once_there_is_an_owner() {
    let (desk, couch) = (laptop("desk"), laptop("couch"));
    let played = Played::written_by(&desk).await;
    let hello = async |who: &Laptop| played.call(who, "GET", "/api/v1/hello", None).await;
    assert!(hello(&desk).await.is_err());
    // Neither a wrong code nor a password that is refused changes that.
    assert_eq!(played.pair("A0B1C2D4", PASSWORD, &couch).await.0, 403);
    assert_eq!(played.pair(CODE, "attic", &couch).await.0, 422);
    assert!(hello(&desk).await.is_err());
    assert_eq!(played.pair(CODE, PASSWORD, &couch).await.0, 201);
    assert_eq!(hello(&desk).await.unwrap().0, 200);
    let mut owner = played.by(&couch).await;
    insta::assert_snapshot!(said(&mut owner).await.join("\n"));
    // Whoever is thrown out stays out, the card notwithstanding: also after a new start.
    let path = format!("/api/v1/laptops/{}", desk.public);
    assert_eq!(owner.ask("DELETE", &path, &[], None).await.unwrap().0, 204);
    assert!(hello(&desk).await.is_err());
    let code = Code::parse(CODE).unwrap();
    played.app.begin_pairing(code).await.unwrap();
    assert_eq!(played.pair(CODE, PASSWORD, &couch).await.0, 409);
    assert!(hello(&desk).await.is_err());
}

/// Who becomes the owner from the computer that wrote the card is known once, by the name given now.
#[tokio::test(flavor = "multi_thread")]
async fn the_computer_that_wrote_the_card_may_become_the_owner_itself() {
    let mut desk = laptop("desk");
    let played = Played::written_by(&desk).await;
    desk.name = "upstairs";
    assert_eq!(played.pair(CODE, PASSWORD, &desk).await.0, 201);
    let list = played.call(&desk, "GET", "/api/v1/laptops", None).await;
    let list = list.unwrap().1;
    let names: Vec<_> = (list["laptops"].as_array().unwrap().iter())
        .map(|known| known["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["upstairs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_piped_to_its_service_and_noted() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", roost_service::backup::UPGRADE),
    ];
    let path = roost_service::backup::PATH;
    // Without the upgrade, and without the service, nothing is piped and nothing noted.
    let mut conn = played.by(&desk).await;
    let refused = conn.ask("POST", path, &[], None).await.unwrap();
    assert_eq!(refused.0, 426, "{refused:?}");
    let refused = conn.ask("POST", path, &fields, None).await.unwrap();
    assert_eq!(refused.0, 503, "{refused:?}");
    let before = said(&mut conn).await;
    assert!(
        !before.iter().any(|line| line.contains("backup")),
        "{before:?}"
    );

    // A service that says back what it hears, as bytes.
    let socket = &played.app.places.backup;
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let _ = std::io::copy(&mut &stream, &mut &stream);
    });
    let mut backup = played.by(&desk).await;
    backup.send("POST", path, &fields, None).await.unwrap();
    let (status, head) = backup.head().await.unwrap();
    assert_eq!(status, 101, "{head}");
    assert!(head.contains("upgrade: roost-backup/1\r\n"), "{head}");
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut got = vec![0; sent.len()];
    let (mut from, mut to) = tokio::io::split(backup.0);
    let (wrote, read) = tokio::join!(
        async {
            to.write_all(&sent).await?;
            to.flush().await
        },
        from.read_exact(&mut got)
    );
    wrote.unwrap();
    read.unwrap();
    assert!(got == sent);
    assert_eq!(
        said(&mut conn).await[0],
        "The owner's laptop fetched a backup, or the code that opens backups."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_box_does_what_its_laptop_asks() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.by(&desk).await;
    let logs = conn
        .ask("GET", "/api/v1/logs?service=mail&lines=1", &[], None)
        .await;
    assert_eq!(logs.unwrap(), (200, json!({ "lines": ["one"] })));
    let boot = conn.ask("GET", "/api/v1/boot", &[], None).await;
    let none = json!({ "version": "7", "steps": [], "marks": [] });
    assert_eq!(boot.unwrap(), (200, none));
    let mut refused = String::new();
    for (method, path, body) in [
        ("GET", "/api/v1/logs?service=nobody", None),
        ("GET", "/api/v1/logs", None),
        ("GET", "/api/v1/nothing", None),
        ("PUT", "/api/v1/hello", None),
        ("POST", "/api/v1/updates", None),
        ("POST", "/api/v1/updates/check", None),
        ("DELETE", "/api/v1/laptops/abc", None),
        ("POST", "/api/v1/rollback", Some(json!({ "allow": 1 }))),
        ("POST", "/api/v1/reset", Some(json!({ "name": "cellar" }))),
    ] {
        refused += &told(&conn.ask(method, path, &[], body).await.unwrap());
    }
    insta::assert_snapshot!(refused);
    conn.send("GET", "/api/v1/logs?service=mail&follow=true", &[], None)
        .await
        .unwrap();
    assert_eq!(conn.head().await.unwrap().0, 200);
    let mut got = String::new();
    while !got.contains("four") {
        assert!(conn.0.read_line(&mut got).await.unwrap() > 0);
    }
    assert!(got.contains("{\"lines\":[\"three\"]}\n"), "{got}");

    let mut conn = played.by(&desk).await;
    let body = json!({ "allow_older_mail": true });
    for (path, body) in [
        ("/api/v1/rollback", Some(body)),
        ("/api/v1/reboot", None),
        ("/api/v1/reset", Some(json!({ "name": "attic" }))),
    ] {
        let answer = conn.ask("POST", path, &[], body).await.unwrap();
        assert_eq!(answer.0, 202, "{path} {answer:?}");
        if let Some(code) = answer.1["code"].as_str() {
            assert!(Code::parse(code).is_ok());
        }
    }
    let asked = played.init.lock().unwrap().clone();
    assert!(asked.contains(&control::Request::Reboot { trial: false }));
    let reset = |request: &control::Request| {
        matches!(request, control::Request::FactoryReset { code: Some(_) })
    };
    assert!(asked.iter().any(reset));
    assert_eq!(
        said(&mut conn).await[..3],
        [
            "The owner's laptop asked for a factory reset.",
            "The owner's laptop restarted the box.",
            "The owner's laptop asked for the version from before.",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_wants_may_come_late() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let stranger = played.connect(played.web, None).await.unwrap();
    for (mut conn, path, status) in [
        (stranger, "/api/v1/mail/accounts", 403),
        (played.by(&desk).await, "/api/v1/nothing", 404),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: attic.local\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
        );
        conn.0.write_all(head.as_bytes()).await.unwrap();
        conn.0.flush().await.unwrap();
        // The refusal is ready long before this.
        tokio::time::sleep(Duration::from_millis(200)).await;
        conn.0.write_all(b"{}").await.unwrap();
        conn.0.flush().await.unwrap();
        let refused = conn.head().await.unwrap();
        assert_eq!(refused.0, status, "{refused:?}");
        let length = refused.1.split("content-length: ").nth(1).unwrap();
        let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
        conn.0.read_exact(&mut body).await.unwrap();
        // The connection is as good as before.
        let hello = conn.ask("GET", "/api/v1/hello", &[], None).await.unwrap();
        assert_eq!(hello.0, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_answered_by_the_portal_that_it_stops() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut by_lines = played.by(&desk).await;
    by_lines.upgrade().await;
    let mut by_call = played.by(&desk).await;
    by_lines.give(&Call::Reboot).await.unwrap();
    by_call
        .send("POST", "/api/v1/reboot", &[], None)
        .await
        .unwrap();
    tokio::time::sleep(RESTART / 3).await;
    played.stop.send_replace(true);
    assert_eq!(by_lines.take().await.unwrap(), Answer::Ok);
    assert_eq!(by_call.head().await.unwrap().0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_past_the_door_without_a_paired_key() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    for (stranger, alert) in [
        (Some(laptop("stranger")), "AccessDenied"),
        (None, "CertificateRequired"),
    ] {
        // In TLS 1.3 a client believes that it is done before the server has looked at its key.
        let text = match played.connect(played.laptops, stranger.as_ref()).await {
            Ok(mut conn) => {
                let asked = conn.ask("GET", "/api/v1/hello", &[], None).await;
                asked.unwrap_err().to_string()
            }
            Err(error) => error.to_string(),
        };
        assert!(text.contains(alert), "{text}");
    }
    // Silent strangers do not keep the owner out.
    let mut silent = Vec::new();
    for _ in 0..QUICK.handshakes + 2 {
        silent.push(TcpStream::connect(played.laptops).await.unwrap());
    }
    let mut held = Vec::new();
    for _ in 0..QUICK.connections {
        let mut conn = played.by(&desk).await;
        let hello = conn.ask("GET", "/api/v1/hello", &[], None).await;
        assert_eq!(hello.unwrap().0, 200);
        held.push(conn);
    }
    let more = played.call(&desk, "GET", "/api/v1/hello", None).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_443_the_owner_is_who_is_signed_in_and_no_other_site() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let mut conn = played.connect(played.web, None).await.unwrap();
    let mut refused = String::new();
    let cross = [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ];
    let body = json!({ "password": PASSWORD, "laptop": { "name": "x", "key": "0".repeat(64) } });
    for (method, path, fields, body) in [
        ("GET", "/api/v1/status", &[][..], None),
        (
            "POST",
            "/api/v1/reboot",
            &[("Origin", "https://attic.local")],
            None,
        ),
        ("GET", "/api/v1/hello", &cross, None),
        ("POST", "/api/v1/laptops", &cross, Some(body)),
    ] {
        refused += &told(&conn.ask(method, path, fields, body).await.unwrap());
    }
    insta::assert_snapshot!(refused);
    assert!(!(played.init.lock().unwrap()).contains(&control::Request::Reboot { trial: false }));
    let laptops = played.app.view(|store, _| store.laptops()).await.unwrap();
    assert_eq!(laptops.len(), 1);
}

#[tokio::test]
async fn the_box_is_examined_and_the_last_look_is_kept() {
    let desk = laptop("desk");
    let played = Played::owned(&desk).await;
    let get = async |path| played.call(&desk, "GET", path, None).await.unwrap();
    let (status, no) = get("/api/v1/health?last=true").await;
    assert_eq!((status, no["code"].as_str()), (404, Some("not_found")));
    let (status, health) = get("/api/v1/health").await;
    assert_eq!((status, health["name"].as_str()), (200, Some("attic")));
    let checks = health["checks"].as_array().unwrap();
    let of = |id: &str| checks.iter().find(|checked| checked["id"] == id).unwrap();
    // What init and the updater say, and what nobody does.
    assert_eq!(of("clock-set")["level"], "failed");
    assert_eq!(of("update-way-back")["level"], "ok");
    assert_eq!(of("net-resolver")["level"], "unknown");
    assert_eq!(of("card-room")["docs"], "docs/doctor.md#card-room");
    assert_eq!(get("/api/v1/health?last=true").await, (200, health));
    assert_eq!(get("/api/v1/health?other=1").await.0, 400);
}
