//! Zones signed by BIND's tools, servers of others beside ours, and a client that looks at every byte.
#![allow(dead_code)]

pub mod zone;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use roost_dns::records::Signed;
use roost_dns::serve::{Listener, Options, listen};
use roost_dns::tsig::Key;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const ORIGIN: &str = "example.org.";
pub const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=";

/// Long enough for a slow machine; nothing is asserted on time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The test zone, with records of a test's own, in a folder of its own.
pub struct Fixture {
    pub folder: tempfile::TempDir,
}

/// Runs a tool; says which package has it where it is missing.
pub fn run(package: &str, tool: &str, arguments: &[&str]) -> Output {
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.unwrap_or_else(|error| panic!("{tool}: {error}. Install it: apt-get install {package}"))
}

pub fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

impl Fixture {
    pub fn new() -> Self {
        let fixture = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for flags in [&["-f", "KSK"][..], &[]] {
            let folder = fixture.folder.path().to_str().unwrap();
            let common = ["-q", "-a", "ECDSAP256SHA256", "-K", folder, ORIGIN];
            let output = run("bind9-utils", "dnssec-keygen", &[flags, &common].concat());
            assert!(output.status.success(), "{}", text(&output));
        }
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs the test zone with `more` in it, and this serial number.
    pub fn sign(&self, serial: u32, more: &str) -> PathBuf {
        let zone = include_str!("test.zone").replace("2026010101", &serial.to_string());
        let (file, signed) = (self.path("zone"), self.path("zone.signed"));
        fs::write(&file, zone + more).unwrap();
        let folder = self.folder.path().to_str().unwrap();
        let [file, out] = [&file, &signed].map(|path| path.to_str().unwrap());
        let arguments = [
            "-q", "-S", "-d", folder, "-K", folder, "-o", ORIGIN, "-f", out, file,
        ];
        let output = run("bind9-utils", "dnssec-signzone", &arguments);
        assert!(output.status.success(), "{}", text(&output));
        signed
    }

    pub fn signed(&self, serial: u32, more: &str) -> Arc<Signed> {
        Arc::new(zone::load(ORIGIN, &self.sign(serial, more)))
    }

    /// The key that signs keys, as `delv` takes a trust anchor.
    pub fn anchor(&self) -> PathBuf {
        let files = fs::read_dir(self.folder.path()).unwrap();
        let keys = files.map(|file| file.unwrap().path());
        let mut keys = keys.filter(|path| path.extension().is_some_and(|end| end == "key"));
        let key = keys.find_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.lines()
                .find_map(|line| line.split_once(" 257 3 13 ").map(|(_, key)| key.to_owned()))
        });
        let anchor = format!(
            "trust-anchors {{ {ORIGIN} static-key 257 3 13 \"{}\"; }};\n",
            key.unwrap()
        );
        let file = self.path("anchor");
        fs::write(&file, anchor).unwrap();
        file
    }
}

pub fn key(name: &str, secret: &str) -> Arc<Key> {
    Arc::new(Key::from_base64(Name::from_ascii(name).unwrap(), secret).unwrap())
}

/// Ours, on a free port of loopback.
pub async fn ours(options: Options) -> (Listener, SocketAddr) {
    let server = listen(&["127.0.0.1:0".parse().unwrap()], options)
        .await
        .expect("loopback");
    let address = server.addresses()[0];
    (server, address)
}

/// A port of loopback that is free with UDP and TCP.
pub fn free_port() -> u16 {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Somebody else's server; it ends with the test.
pub struct Other {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Other {
    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Starts a server of the test zone at this port of loopback.
pub fn start(package: &str, tool: &str, arguments: &[&str], port: u16, folder: &Path) -> Other {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    start_at(package, tool, arguments, address, ORIGIN, folder)
}

/// Starts a server that has the zone `origin` at `address`.
pub fn start_at(
    package: &str,
    tool: &str,
    arguments: &[&str],
    address: SocketAddr,
    origin: &str,
    folder: &Path,
) -> Other {
    let log = folder.join(format!("{tool}.log"));
    let out = fs::File::create(&log).unwrap();
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(out.try_clone().unwrap()).stderr(out);
    let child = command.spawn();
    let child = child
        .unwrap_or_else(|error| panic!("{tool}: {error}. Install it: apt-get install {package}"));
    let other = Other {
        child,
        address,
        log,
    };
    let began = Instant::now();
    while ask(other.address, &query(origin, RecordType::SOA, None)).is_none() {
        assert!(began.elapsed() < PATIENCE, "{tool} does not start");
    }
    other
}

/// BIND.
pub fn named(folder: &Path, zone: &str, port: u16) -> Other {
    let folder_text = folder.display();
    let configuration = format!(
        "key secondary {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
         options {{
           directory \"{folder_text}\"; pid-file none; session-keyfile \"{folder_text}/session.key\";
           listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
           recursion no; minimal-responses yes; minimal-any yes; dnssec-validation no;
           max-udp-size 1232; notify no; masterfile-format text; check-names primary ignore; check-names secondary ignore; zero-no-soa-ttl no;
         }};
         controls {{ }};
         {zone}"
    );
    let file = folder.join("named.conf");
    fs::write(&file, configuration).unwrap();
    let arguments = ["-g", "-c", file.to_str().unwrap()];
    let other = start("bind9", "named", &arguments, port, folder);
    // It answers before it has read its zones.
    let began = Instant::now();
    let soa = query(ORIGIN, RecordType::SOA, None);
    let is_loaded = || ask(other.address, &soa).is_some_and(|answer| !answer.answers.is_empty());
    while zone.contains("type primary") && !is_loaded() {
        assert!(began.elapsed() < PATIENCE, "named does not load {zone}");
    }
    other
}

/// A name from master file text, with escapes (RFC 1035, section 5.1) that hickory's reader refuses.
pub fn name(text: &str) -> Name {
    let (mut labels, mut label) = (Vec::new(), Vec::new());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => labels.push(std::mem::take(&mut label)),
            b'\\' => {
                let first = bytes.next().unwrap();
                let digit = |byte: u8| u32::from(byte - b'0');
                label.push(match first {
                    b'0'..=b'9' => {
                        let rest = [bytes.next().unwrap(), bytes.next().unwrap()];
                        (digit(first) * 100 + digit(rest[0]) * 10 + digit(rest[1])) as u8
                    }
                    other => other,
                });
            }
            byte => label.push(byte),
        }
    }
    assert!(label.is_empty(), "{text} ends with a dot");
    let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
    Name::from_labels(labels).unwrap()
}

pub fn query(text: &str, kind: RecordType, edns: Option<(u16, bool)>) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name(text), kind));
    if let Some((payload, dnssec)) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_dnssec_ok(dnssec);
        message.set_edns(edns);
    }
    message
}

/// Sends bytes as a datagram; what comes back within half a second.
pub fn send(to: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    socket.connect(to).unwrap();
    socket.send(bytes).ok()?;
    let mut answer = vec![0; 65535];
    let length = socket.recv(&mut answer).ok()?;
    answer.truncate(length);
    Some(answer)
}

pub fn ask(to: SocketAddr, message: &Message) -> Option<Message> {
    let bytes = send(to, &message.to_vec().unwrap())?;
    Some(Message::from_vec(&bytes).unwrap())
}

pub fn ask_tcp(stream: &mut TcpStream, message: &Message) -> std::io::Result<Message> {
    let bytes = message.to_vec().unwrap();
    stream.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(Message::from_vec(&answer).unwrap())
}
