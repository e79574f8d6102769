//! A small internet for one test: BIND as the box's name server, which takes updates with the right key
//! for the right names alone; Pebble as the certificate authority, which asks it; the program; and
//! something in the place of init that tells whether the clock is set.

#![allow(dead_code, reason = "each file of tests has its own need of it")]

mod init;
mod named;

use base64::Engine;
use instant_acme::Account;
use rcgen::{CertificateParams, KeyPair};
use roost_certificates::http::Https;
use roost_service::certificates::{
    Answer, Call, Certificate, CertificateStatus, Choice, Directory, Status, Zones,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The zone; not under a name that is kept for tests, which a mail domain may not have.
pub const ZONE: &str = "roost-lab.org";
/// Whoever is not there after that long does not come.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is told apart between tests.
pub struct Options {
    /// Variables for Pebble.
    pub pebble: Vec<(&'static str, &'static str)>,
    /// Where Pebble looks challenges up, if not at the box's name server.
    pub pebble_asks: Option<SocketAddr>,
    /// Whether there is another name server that has the zone from the box's.
    pub secondary: bool,
    /// Whether Pebble looks challenges up at the other name server.
    pub pebble_asks_secondary: bool,
    /// How long its certificates live, in seconds.
    pub lifetime_s: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pebble: vec![("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "0")],
            pebble_asks: None,
            secondary: false,
            pebble_asks_secondary: false,
            lifetime_s: 90 * 86_400,
        }
    }
}

/// A program of a test; it ends with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct World {
    pub folder: TempDir,
    pub name_server: SocketAddr,
    pub secondary: Option<SocketAddr>,
    pub clock: Arc<AtomicBool>,
    options: Options,
    directory_port: u16,
    program: Option<Running>,
    pebble: Option<Running>,
    named: Vec<Running>,
}

impl World {
    /// A name server and an authority, and no program yet.
    pub fn new(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["run", "data"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let (name_server, directory_port) = (local(free()), free());
        let mut world = Self {
            folder,
            name_server,
            secondary: options.secondary.then(named::place),
            clock: Arc::new(AtomicBool::new(true)),
            options,
            directory_port,
            program: None,
            pebble: None,
            named: vec![],
        };
        init::listen(&world.path("init.sock"), &world.clock);
        world.certify();
        world.start_name_servers();
        world.start_pebble();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is chosen in most tests.
    pub fn choice(&self) -> Choice {
        Choice {
            directory: Directory::Url(format!("https://127.0.0.1:{}/dir", self.directory_port)),
            terms_agreed: true,
            contact: Some(format!("owner@{ZONE}")),
            roots_pem: Some(self.roots()),
            ..Choice::default()
        }
    }

    /// What dns tells in most tests.
    pub fn zones(&self) -> Zones {
        Zones {
            mail_host: format!("mail.{ZONE}"),
            domains: vec![ZONE.into()],
            secondaries: self.secondary.into_iter().map(Into::into).collect(),
        }
    }

    fn roots(&self) -> String {
        fs::read_to_string(self.path("pebble.pem")).unwrap()
    }

    /// Pebble's own certificate.
    fn certify(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(self.path("pebble.pem"), certificate.pem()).unwrap();
        fs::write(self.path("pebble.key"), key.serialize_pem()).unwrap();
    }

    /// Starts the authority, which has forgotten everything.
    pub fn start_pebble(&mut self) {
        self.pebble = None;
        let port = self.directory_port;
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{}", free()),
            "certificate": self.path("pebble.pem"),
            "privateKey": self.path("pebble.key"),
            "httpPort": 5002, "tlsPort": 5001, "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": self.options.lifetime_s,
        }});
        fs::write(self.path("pebble.json"), config.to_string()).unwrap();
        let other = self
            .secondary
            .filter(|_| self.options.pebble_asks_secondary);
        let asks = self
            .options
            .pebble_asks
            .or(other)
            .unwrap_or(self.name_server);
        let mut command = Command::new("pebble");
        command
            .envs(self.options.pebble.iter().copied())
            .arg("-config");
        command
            .arg(self.path("pebble.json"))
            .args(["-dnsserver", &asks.to_string()]);
        self.pebble =
            Some(self.start(command, "pebble", "pebble (2.6 or later, of Debian trixie)"));
        self.until("pebble listens", |_| {
            TcpStream::connect(local(port)).is_ok()
        });
    }

    /// Starts the program, for which this test is the service of this name.
    pub fn start_as(&mut self, guest: &str) {
        self.kill();
        let me = owner(self.folder.path());
        let spec = |name: &str, user: u32| {
            serde_json::json!({ "name": name, "description": "", "program": format!("/bin/{name}"),
                "user": user, "required": false, "ready_timeout_s": 1, "stop_timeout_s": 1 })
        };
        let names = ["portal", "dns", "mail", "tunnel"];
        let users = names
            .iter()
            .zip(60_001..)
            .map(|(name, user)| match *name == guest {
                true => spec(name, me),
                false => spec(name, user),
            });
        let table = serde_json::Value::Array(users.collect());
        fs::write(self.path("services.json"), table.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_certificates"));
        command
            .env("ROOST_DATA", self.path("data"))
            .env("ROOST_RUN", self.path("run"))
            .env("ROOST_SERVICES", self.path("services.json"))
            .env("ROOST_CONTROL", self.path("init.sock"))
            .env("ROOST_NAME_SERVER", self.name_server.to_string());
        self.program = Some(self.start(command, "program", "the program itself"));
        self.until("the program listens", |world| {
            UnixStream::connect(world.path("run/certificates.sock")).is_ok()
        });
    }

    /// The power is cut, as far as the program can tell.
    pub fn kill(&mut self) {
        self.program = None;
        let _ = fs::remove_file(self.path("run/certificates.sock"));
    }

    fn start(&self, mut command: Command, name: &str, package: &str) -> Running {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name).with_extension("log"));
        let log = log.unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        match command.spawn() {
            Ok(child) => Running(child),
            Err(error) => panic!(
                "{:?} does not start ({error}): install the Debian package {package}",
                command.get_program()
            ),
        }
    }

    /// What a program has said.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).with_extension("log")).unwrap_or_default()
    }

    /// Asks; `None`: it was hung up.
    pub fn try_ask(&self, call: &Call) -> Option<Answer> {
        let mut stream = UnixStream::connect(self.path("run/certificates.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let line = serde_json::to_string(call).unwrap() + "\n";
        stream.write_all(line.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }

    pub fn ask(&self, call: &Call) -> Answer {
        self.try_ask(call)
            .unwrap_or_else(|| panic!("{call:?}: hung up; {}", self.log("program")))
    }

    pub fn done(&self, call: &Call) {
        match self.ask(call) {
            Answer::Done => {}
            Answer::Refused { why } => panic!("{call:?} was refused: {why}"),
            _ => panic!("{call:?} was answered with something else"),
        }
    }

    /// The portal says what was chosen.
    pub fn choose(&self, choice: Choice) {
        let choice = Box::new(choice);
        self.done(&Call::Set { choice });
    }

    /// dns says what it serves; from then on this test is the portal.
    pub fn tell(&mut self, zones: Zones) {
        self.start_as("dns");
        self.done(&Call::Serve { zones });
        self.start_as("portal");
    }

    pub fn status(&self) -> Status {
        match self.ask(&Call::Status) {
            Answer::Status(status) => *status,
            _ => panic!("no status"),
        }
    }

    pub fn certificate_status(&self, id: &str) -> CertificateStatus {
        let all = self.status().certificates;
        all.into_iter().find(|c| c.id == id).unwrap()
    }

    /// The first certificate after this one.
    pub fn wait(&self, id: &str, after: &str) -> Certificate {
        let (id, after) = (id.into(), after.into());
        match self.try_ask(&Call::Wait { id, after }) {
            Some(Answer::Certificate(certificate)) => *certificate,
            Some(Answer::Refused { why }) => panic!("refused: {why}"),
            _ => panic!("it does not come; {}", self.log("program")),
        }
    }

    /// Uses the account as somebody else would who has it.
    pub fn as_account(&self, act: impl AsyncFnOnce(Account)) {
        let text = fs::read_to_string(self.path("data/accounts.json")).unwrap();
        let account = &serde_json::from_str::<serde_json::Value>(&text).unwrap()[0];
        let text = |field: &str| account[field].as_str().unwrap().to_owned();
        let key = base64::prelude::BASE64_STANDARD
            .decode(text("key"))
            .unwrap();
        let https = Https::new(Some(&self.roots())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let account = Account::builder_with_http(Box::new(https))
                .from_parts(
                    text("uri"),
                    PrivatePkcs8KeyDer::from(key),
                    text("directory"),
                )
                .await
                .unwrap();
            act(account).await;
        });
    }

    /// Waits for something, and panics with all logs if it does not come.
    pub fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is(self) {
            if start.elapsed() > PATIENCE {
                let logs = ["named", "pebble", "program"]
                    .map(|name| self.log(name))
                    .join("\n\n");
                panic!("waited in vain: {what}\n{logs}");
            }
            sleep(Duration::from_millis(50));
        }
    }
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A port that is free for both protocols at the moment.
pub fn free() -> u16 {
    loop {
        let tcp = TcpListener::bind(local(0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(local(port)).is_ok() {
            return port;
        }
    }
}

/// Who owns what this test makes: that is who it is.
fn owner(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().uid()
}

/// A world in which certificates were chosen.
pub fn chosen(options: Options) -> World {
    let mut world = World::new(options);
    world.tell(world.zones());
    world.choose(world.choice());
    world
}

/// A TLS server takes both: they belong together.
pub fn serve(certificate: &Certificate) {
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes());
    let chain: Vec<_> = chain.map(|c| c.unwrap()).collect();
    assert!(chain.len() > 1, "the issuer is missing");
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    config
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
}
