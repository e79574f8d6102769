//! A small internet in a network namespace: a root, two top-level domains and some domains, signed by BIND's
//! tools and served by BIND, NSD and Knot, and the resolver under test beside Unbound.
//!
//! Needs Linux with user namespaces, and Debian's `bind9`, `bind9-utils`, `nsd`, `knot`, `unbound`, `iproute2`.
#![allow(dead_code)]

pub mod zones;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use roost_service::resolver::{Answer, Call, Status, Way};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use zones::Zones;

const INSIDE: &str = "ROOST_TEST_INSIDE";

/// Where the resolver under test answers.
pub const OURS: &str = "127.0.0.53";
/// Root servers.
pub const ROOT: &str = "198.41.0.4";
/// The server of top-level domains.
pub const TOP: &str = "192.5.6.30";
/// NSD with most domains.
pub const NSD: &str = "199.43.135.53";
/// Knot with the others.
pub const KNOT: &str = "199.43.133.53";
/// Knot again, at an address of a home.
pub const PRIVATE: &str = "192.168.1.3";
/// Somebody who hears and says nothing.
pub const SILENT: &str = "203.0.112.1";
/// The network's resolver: Unbound, which checks and hands on signatures.
pub const UNBOUND: &str = "192.168.1.1";
/// The network's resolver as a cheap router has it: it leaves out whatever it does not know.
pub const ROUTER: &str = "192.168.1.2";

/// Long enough for a slow machine; nothing is asserted on time but what has to be quick.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs this test again in a network of its own, and says whether this is that run.
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let addresses = [ROOT, TOP, NSD, KNOT, PRIVATE, SILENT, UNBOUND, ROUTER];
    let addresses = addresses.map(|address| format!("ip addr add {address}/32 dev lo"));
    let script = format!(
        "ip link set lo up && {} && exec \"$0\" --exact \"$1\" --nocapture",
        addresses.join(" && ")
    );
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, "1")
        .status()
        .expect("unshare is missing: apt-get install util-linux iproute2");
    assert!(status.success(), "{test} in a network of its own: {status}");
    false
}

/// Runs a tool; says which package has it where it is missing.
pub fn run(package: &str, tool: &str, arguments: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(tool)
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}. Install it: apt-get install {package}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    output
}

/// A program that ends with its value.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server, which writes into this file what it says.
fn start(package: &str, program: &str, arguments: &[&str], log: &Path) -> Process {
    let path = std::env::var("PATH").unwrap_or_default();
    let log = fs::File::create(log).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}. Install it: apt-get install {package}")
        });
    Process(child)
}

/// Tries until it works.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// The small internet.
pub struct World {
    pub zones: Zones,
    processes: Vec<Process>,
    _silent: UdpSocket,
}

impl World {
    /// Everything up but the resolver under test.
    pub fn new() -> Self {
        let mut world = Self {
            zones: Zones::sign(),
            processes: vec![],
            _silent: UdpSocket::bind((SILENT, 53)).unwrap(),
        };
        world.named("root", ROOT, &["."]);
        world.named("top", TOP, &["org.", "net."]);
        world.nsd();
        world.knot();
        world.unbound();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.zones.path(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// BIND, which notes every question.
    fn named(&mut self, name: &str, address: &str, zones: &[&str]) {
        let each: String = zones
            .iter()
            .map(|zone| {
                let file = self.zones.file(zone);
                format!("zone \"{zone}\" {{ type primary; file \"{file}\"; }};\n")
            })
            .collect();
        let folder = self.text("");
        let conf = format!(
            "options {{ directory \"{folder}\"; listen-on {{ {address}; }}; listen-on-v6 {{ none; }}; \
             recursion no; dnssec-validation no; querylog yes; pid-file none; session-keyfile none; \
             minimal-responses no; notify no; check-integrity no; }};\ncontrols {{ }};\n{each}"
        );
        let file = self.path(&format!("{name}.conf"));
        fs::write(&file, conf).unwrap();
        let log = self.path(&format!("{name}.log"));
        let arguments = ["-g", "-n", "1", "-c", file.to_str().unwrap()];
        self.processes
            .push(start("bind9", "named", &arguments, &log));
        self.wait_for(address, zones[0], &log);
    }

    fn nsd(&mut self) {
        let zones: String = zones::AT_NSD
            .iter()
            .map(|zone| {
                format!(
                    "zone:\n name: {zone}\n zonefile: {}\n",
                    self.zones.file(zone)
                )
            })
            .collect();
        let conf = format!(
            "server:\n ip-address: {NSD}\n zonesdir: {0}\n username: \"\"\n pidfile: \"\"\n database: \"\"\n xfrdfile: \"{0}/xfrd\"\n \
             zonelistfile: \"{0}/nsd.list\"\n server-count: 1\n rrl-ratelimit: 0\n do-ip6: no\n verbosity: 1\n\
             remote-control:\n control-enable: no\n{zones}",
            self.text("")
        );
        let file = self.path("nsd.conf");
        fs::write(&file, conf).unwrap();
        let log = self.path("nsd.log");
        self.processes.push(start(
            "nsd",
            "nsd",
            &["-d", "-c", file.to_str().unwrap()],
            &log,
        ));
        self.wait_for(NSD, zones::AT_NSD[0], &log);
    }

    fn knot(&mut self) {
        let zones: String = zones::AT_KNOT
            .iter()
            .map(|zone| format!(" - domain: {zone}\n   file: {}\n", self.zones.file(zone)))
            .collect();
        let folder = self.path("knot");
        fs::create_dir(&folder).unwrap();
        let folder = folder.to_str().unwrap();
        let conf = format!(
            "server:\n  rundir: {folder}\n  listen: [{KNOT}@53, {PRIVATE}@53]\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             log:\n - target: stderr\n   any: info\n\
             database:\n  storage: {folder}\n\
             template:\n - id: default\n   storage: {folder}\n   zonefile-sync: -1\n   journal-content: none\n\
             zone:\n{zones}"
        );
        let file = self.path("knot.conf");
        fs::write(&file, conf).unwrap();
        let log = self.path("knot.log");
        self.processes.push(start(
            "knot",
            "knotd",
            &["-c", file.to_str().unwrap()],
            &log,
        ));
        self.wait_for(KNOT, zones::AT_KNOT[0], &log);
    }

    fn unbound(&mut self) {
        let hints = self.path("hints");
        fs::write(
            &hints,
            format!(". 3600 IN NS a.root.\na.root. 3600 IN A {ROOT}\n"),
        )
        .unwrap();
        let conf = format!(
            "server:\n interface: {UNBOUND}\n access-control: 0.0.0.0/0 allow\n username: \"\"\n chroot: \"\"\n \
             directory: \"{}\"\n pidfile: \"\"\n do-ip6: no\n do-daemonize: no\n use-syslog: no\n verbosity: 1\n \
             num-threads: 1\n root-hints: \"{}\"\n trust-anchor: \"{}\"\n do-not-query-localhost: no\n \
             local-zone: \"test.\" nodefault\n local-zone: \"lan.\" static\n local-data: \"nas.lan. A 192.168.1.9\"\n \
             domain-insecure: \"lan.\"\n trust-anchor-signaling: no\n root-key-sentinel: no\n \
             module-config: \"validator iterator\"\nremote-control:\n control-enable: no\n",
            self.text(""),
            hints.display(),
            self.zones.anchor,
        );
        let file = self.path("unbound.conf");
        fs::write(&file, conf).unwrap();
        let log = self.path("unbound.log");
        let arguments = ["-d", "-c", file.to_str().unwrap()];
        self.processes
            .push(start("unbound", "unbound", &arguments, &log));
        self.wait_for(UNBOUND, ".", &log);
    }

    fn wait_for(&self, address: &str, zone: &str, log: &Path) {
        let ready = |_: ()| {
            let answer = ask_at(address, zone, RecordType::SOA, |_| {})?;
            (answer.metadata.response_code == ResponseCode::NoError).then_some(())
        };
        let began = Instant::now();
        while ready(()).is_none() {
            let said = fs::read_to_string(log).unwrap_or_default();
            assert!(
                began.elapsed() < PATIENCE,
                "{address} does not answer for {zone}: {said}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the resolver under test in a network with these resolvers. `root`: where its root server is.
    pub fn resolver(&self, root: &str, network: &[&str], clock: bool) -> Resolver {
        Resolver::start(self, root, network, clock)
    }

    /// The router: whatever does not fit into plain DNS of 1987 is left out.
    pub fn router(&self) -> Router {
        let socket = UdpSocket::bind((ROUTER, 53)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !until.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut bytes) else {
                    continue;
                };
                let asked = Message::from_vec(&bytes[..length]).unwrap();
                let query = asked.queries[0].clone();
                let answer = ask_at(
                    UNBOUND,
                    &query.name().to_ascii(),
                    query.query_type(),
                    |message| {
                        message.edns = None;
                        message.metadata.checking_disabled = false;
                    },
                );
                if let Some(mut answer) = answer {
                    answer.metadata.id = asked.metadata.id;
                    answer.metadata.authentic_data = false;
                    answer.edns = None;
                    let _ = socket.send_to(&answer.to_vec().unwrap(), from);
                }
            }
        });
        Router {
            stop,
            thread: Some(thread),
        }
    }

    /// What a server of BIND was asked, in order: name and type.
    pub fn asked(&self, server: &str) -> Vec<(String, String)> {
        let log = fs::read_to_string(self.path(&format!("{server}.log"))).unwrap();
        let lines = log.lines().filter_map(|line| {
            let (_, query) = line.split_once(": query: ")?;
            let mut words = query.split(' ');
            Some((words.next()?.to_ascii_lowercase(), words.nth(1)?.to_owned()))
        });
        lines.collect()
    }
}

/// See [`World::router`].
pub struct Router {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Router {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Asks whoever is there.
pub fn ask_at(
    server: &str,
    name: &str,
    kind: RecordType,
    change: impl FnOnce(&mut Message),
) -> Option<Message> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_dnssec_ok(true);
    message.set_edns(edns);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    change(&mut message);
    let server = SocketAddr::new(server.parse().unwrap(), 53);
    let any: IpAddr = if server.ip().is_loopback() {
        OURS.parse().unwrap()
    } else {
        UNBOUND.parse().unwrap()
    };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.connect(server).unwrap();
    socket.send(&message.to_vec().unwrap()).ok()?;
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).ok()?;
    let answer = Message::from_vec(&bytes[..length]).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    if answer.metadata.truncation {
        let mut stream = TcpStream::connect(server).unwrap();
        return Some(ask_by_tcp(&mut stream, &message));
    }
    Some(answer)
}

/// Asks on a connection that is open.
pub fn ask_by_tcp(stream: &mut TcpStream, message: &Message) -> Message {
    let bytes = message.to_vec().unwrap();
    let length = u16::try_from(bytes.len()).unwrap();
    stream
        .write_all(&[&length.to_be_bytes()[..], &bytes].concat())
        .unwrap();
    read_by_tcp(stream)
}

/// The next answer on a connection.
pub fn read_by_tcp(stream: &mut TcpStream) -> Message {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).unwrap();
    Message::from_vec(&bytes).unwrap()
}

/// The resolver under test.
pub struct Resolver {
    process: Process,
    folder: tempfile::TempDir,
    clock: Arc<AtomicBool>,
}

impl Resolver {
    fn start(world: &World, root: &str, network: &[&str], clock: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let settings = serde_json::json!({
            "name": "roost", "network": { "mode": "dhcp" }, "time_servers": ["192.0.2.1"],
            "mail": { "max_message_size": 1 << 20, "spam_filter": true },
            "resolver": { "root_servers": [root], "trust_anchors": [world.zones.anchor] },
        });
        fs::write(path("settings.json"), settings.to_string()).unwrap();
        let services = serde_json::json!([{
            "name": "portal", "description": "d", "program": "/bin/x", "user": 0,
            "required": false, "ready_timeout_s": 1, "stop_timeout_s": 1,
        }]);
        fs::write(path("services.json"), services.to_string()).unwrap();
        fs::create_dir(path("run")).unwrap();
        fs::write(path("resolv.conf"), resolv_conf(network)).unwrap();
        let clock = Arc::new(AtomicBool::new(clock));
        init(&path("init"), clock.clone());
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_resolver"))
            .env("ROOST_SETTINGS", path("settings.json"))
            .env("ROOST_CHOSEN", path("chosen.json"))
            .env("ROOST_SERVICES", path("services.json"))
            .env("ROOST_RUN", path("run"))
            .env("ROOST_RESOLV_CONF", path("resolv.conf"))
            .env("ROOST_CONTROL", path("init"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let resolver = Self {
            process: Process(child),
            folder,
            clock,
        };
        until("the resolver listens", || {
            resolver.log().contains("resolver: ready").then_some(())
        });
        resolver
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Another network from now on.
    pub fn move_to(&self, network: &[&str]) {
        fs::write(self.folder.path().join("resolv.conf"), resolv_conf(network)).unwrap();
    }

    /// A time server has answered.
    pub fn set_clock(&self) {
        self.clock.store(true, Ordering::Relaxed);
    }

    /// How it stands, as the portal hears it.
    pub fn status(&self) -> Status {
        let socket = self.folder.path().join("run/resolver.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let answer = runtime.block_on(roost_service::door::ask(&socket, &Call::Status, 16 << 10));
        match answer.unwrap() {
            Answer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until it goes this way.
    pub fn wait_for(&self, way: Way) {
        until(&format!("{way:?}"), || {
            (self.status().way == way).then_some(())
        });
    }

    pub fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.ask_with(name, kind, |_| {})
    }

    pub fn ask_with(
        &self,
        name: &str,
        kind: RecordType,
        change: impl FnOnce(&mut Message),
    ) -> Message {
        ask_at(OURS, name, kind, change)
            .unwrap_or_else(|| panic!("{name} {kind}: no answer: {}", self.log()))
    }
}

fn resolv_conf(servers: &[&str]) -> String {
    servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect()
}

/// Init's door, as far as the clock is concerned.
fn init(path: &Path, clock: Arc<AtomicBool>) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            assert_eq!(line, "{\"op\":\"status\"}\n");
            let status = serde_json::json!({
                "answer": "status", "name": "roost", "version": "1", "slot": 2, "trial_left_s": null, "uptime_s": 1.0,
                "rescue": null, "ready": true, "ready_after_s": null, "clock_synced": clock.load(Ordering::Relaxed),
                "addresses": [], "memory_total": 1, "memory_available": 1, "data_total": 1, "data_free": 1,
                "data_written": 1, "services": [],
            });
            let _ = writeln!(stream, "{status}");
        }
    });
}

/// What is compared between resolvers: code, AD, and the records of the answer section without their times.
pub fn outcome(message: &Message) -> String {
    let mut records: Vec<String> = message
        .answers
        .iter()
        .map(|record| {
            format!(
                "  {} {} {}",
                record.name.to_lowercase(),
                record.record_type(),
                record.data
            )
        })
        .collect();
    records.sort();
    let head = &message.metadata;
    format!(
        "{} ad {}\n{}",
        head.response_code,
        head.authentic_data,
        records.join("\n")
    )
}

/// The reason in an answer (RFC 8914).
pub fn reason(message: &Message) -> Option<u16> {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    match message.edns.as_ref()?.option(EdnsCode::Unknown(15))? {
        EdnsOption::Unknown(15, bytes) => {
            Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]))
        }
        _ => None,
    }
}
