//! A small internet for one test: BIND as the box's name server, which takes updates with the right key
//! for the right names alone; Pebble as the certificate authority, which asks it; the program; and
//! something in the place of init that tells whether the clock is set.

use rcgen::{CertificateParams, KeyPair};
use roost_service::certificates::{
    Answer, Call, Certificate, CertificateStatus, Directory, Setup, Status,
};
use roost_service::control::{BoxStatus, Response};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// How long its certificates live, in seconds.
    pub lifetime_s: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pebble: vec![("PEBBLE_VA_NOSLEEP", "1")],
            pebble_asks: None,
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
    pub clock: Arc<AtomicBool>,
    options: Options,
    directory_port: u16,
    program: Option<Running>,
    pebble: Option<Running>,
    named: Option<Running>,
}

impl World {
    /// A name server and an authority, and no program yet.
    pub fn new(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["run", "data", "named"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let (name_server, directory_port) = (local(free()), free());
        let mut world = Self {
            folder,
            name_server,
            clock: Arc::new(AtomicBool::new(true)),
            options,
            directory_port,
            program: None,
            pebble: None,
            named: None,
        };
        world.be_init();
        world.certify();
        world.start_named();
        world.start_pebble();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is chosen in most tests.
    pub fn setup(&self) -> Setup {
        Setup {
            mail_host: format!("mail.{ZONE}"),
            domains: vec![ZONE.into()],
            portal: None,
            directory: Directory::Url(format!("https://127.0.0.1:{}/dir", self.directory_port)),
            terms_agreed: true,
            contact: Some(format!("owner@{ZONE}")),
            profile: None,
            roots: Some(self.path("pebble.pem")),
            secondaries: vec![],
        }
    }

    /// Something in the place of init.
    fn be_init(&self) {
        let listener = UnixListener::bind(self.path("init.sock")).unwrap();
        let clock = self.clock.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut line);
                let status = box_status(clock.load(Ordering::SeqCst));
                let _ = serde_json::to_writer(&stream, &Response::Status(status));
                let _ = stream.write_all(b"\n");
            }
        });
    }

    /// Pebble's own certificate.
    fn certify(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(self.path("pebble.pem"), certificate.pem()).unwrap();
        fs::write(self.path("pebble.key"), key.serialize_pem()).unwrap();
    }

    fn start_named(&mut self) {
        // The service's own secret, in the folder where it looks first.
        let secret = "cm9vc3Qgcm9vc3Qgcm9vc3Qgcm9vc3Qgcm9vc3QhISE=";
        fs::write(self.path("run/acme.key"), secret).unwrap();
        let folder = self.path("named");
        let grants: String = ["mail", "box", "mta-sts", "autoconfig", "autodiscover"]
            .map(|name| format!("grant acme name _acme-challenge.{name}.{ZONE}. TXT;"))
            .join(" ");
        let zone = format!(
            "$TTL 60\n@ SOA ns.{ZONE}. owner.{ZONE}. 1 600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
        );
        fs::write(folder.join("zone"), zone).unwrap();
        let (ip, port) = (self.name_server.ip(), self.name_server.port());
        let config = format!(
            "options {{ directory \"{}\"; pid-file none; session-keyfile none; recursion no;
               listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }}; dnssec-validation no; }};
             controls {{ }};
             key acme {{ algorithm hmac-sha256; secret \"{secret}\"; }};
             zone \"{ZONE}\" {{ type primary; file \"zone\"; update-policy {{ {grants} }}; }};",
            folder.display()
        );
        fs::write(folder.join("named.conf"), config).unwrap();
        let mut command = Command::new("named");
        command
            .args(["-g", "-n", "1", "-c"])
            .arg(folder.join("named.conf"));
        self.named = Some(self.start(command, "named", "bind9"));
        self.until("named answers", |world| !world.dig("SOA", ZONE).is_empty());
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
        let asks = self.options.pebble_asks.unwrap_or(self.name_server);
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

    /// What the name server has.
    pub fn dig(&self, kind: &str, name: &str) -> String {
        let mut command = Command::new("dig");
        command.args([
            "+short",
            "+tries=1",
            "+time=2",
            &format!("@{}", self.name_server.ip()),
        ]);
        command.args(["-p", &self.name_server.port().to_string(), name, kind]);
        let out = command.output();
        let out =
            out.unwrap_or_else(|e| panic!("dig: {e}: install the Debian package bind9-dnsutils"));
        match out.status.success() {
            true => String::from_utf8(out.stdout).unwrap().trim().to_owned(),
            false => String::new(),
        }
    }

    /// All challenges in the zone.
    pub fn challenges(&self) -> Vec<String> {
        ["mail", "box", "mta-sts", "autoconfig", "autodiscover"]
            .map(|name| self.dig("TXT", &format!("_acme-challenge.{name}.{ZONE}")))
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect()
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

fn box_status(clock_synced: bool) -> BoxStatus {
    BoxStatus {
        name: "roost".into(),
        version: "1".into(),
        slot: 2,
        trial_left_s: None,
        uptime_s: 1.0,
        rescue: None,
        ready: true,
        ready_after_s: None,
        clock_synced,
        addresses: vec![],
        memory_total: 0,
        memory_available: 0,
        data_total: 0,
        data_free: 0,
        data_written: 0,
        services: vec![],
    }
}
