//! A home, the internet and a relay, as network namespaces; the relay's WireGuard is wireguard-go.
//!
//! ```text
//!  home  10.0.1.2 ─── 10.0.1.1  internet  203.0.113.1 ─── 203.0.113.2  relay
//!        2001:db8:1::2                    2001:db8:2::2                198.51.100.25, 2001:db8:25::25:
//!                                                                      "the rest of the world"
//! ```
//!
//! A second home (`home2`, 10.0.3.2) may be there as well, with a card that has the same keys.
//!
//! The rest of the world can be reached both ways, by the tunnel and past it, so that a rule that is
//! missing shows. All of it lives in namespaces of the test alone: nothing is left behind, and no
//! privilege is needed but user namespaces and `/dev/net/tun`.

use roost_service::tunnel::{Answer, Call as Asks, GENERATION, Generation, State, Status};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Set where the test runs in its own namespaces.
const INSIDE: &str = "ROOST_TEST_INSIDE";
/// Longest that anything may take that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest until the tunnel is back after whatever ended.
pub const BACK: Duration = Duration::from_secs(15);

/// The box's address in the tunnel.
pub const BOX4: &str = "10.82.0.2";
pub const BOX6: &str = "fd82::2";
/// The relay's.
pub const RELAY4: &str = "10.82.0.1";
pub const RELAY6: &str = "fd82::1";
/// Somebody on the internet.
pub const WORLD4: &str = "198.51.100.25";
pub const WORLD6: &str = "2001:db8:25::25";
/// The box's address at home.
pub const HOME4: &str = "10.0.1.2";
pub const HOME6: &str = "2001:db8:1::2";

/// Runs a test of this file again, in namespaces of its own, and says how it went.
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    for (program, package) in [
        ("wireguard-go", "wireguard-go"),
        ("wg", "wireguard-tools"),
        ("ip", "iproute2"),
    ] {
        let found = std::env::var_os("PATH")
            .into_iter()
            .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
            .any(|folder| folder.join(program).exists());
        assert!(
            found || Path::new("/usr/sbin").join(program).exists(),
            "this test needs {program}: apt-get install {package}"
        );
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "--"])
        .args(["sh", "-c"])
        // `ip netns` keeps its names in /run, and `wg` its sockets.
        .arg("mount -t tmpfs run /run && exec \"$0\" --include-ignored --exact \"$1\" --nocapture")
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its own namespaces");
    false
}

/// Runs a program that has to work; returns what it printed.
pub fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let path = std::env::var("PATH").unwrap_or_default();
    let out = command
        .args(words)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{line}: {said}");
    String::from_utf8(out.stdout).unwrap()
}

/// Runs `what` in the namespace `name`.
pub fn within<T: Send>(name: &str, what: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            what()
        });
        inside.join().unwrap()
    })
}

/// Tries until it works.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(50));
    }
}

/// A program that ends with its value.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Sends a signal by its name, and waits for the end.
    pub fn end(&mut self, signal: &str) {
        run(&format!("kill -s {signal} {}", self.0.id()));
        let end = until("its end", PATIENCE, || self.0.try_wait().unwrap());
        assert_eq!(end.success(), signal == "TERM", "{end}");
    }
}

/// The whole of it.
pub struct World {
    pub folder: PathBuf,
    keys: [String; 2],
    pub relay: Option<Process>,
    pub tunnel: Option<Process>,
}

/// A box in the second home, with a card that has the keys of the first.
pub struct Second {
    pub folder: PathBuf,
    tunnel: Option<Process>,
}

/// Lays a cable from a namespace to the internet.
fn join(name: &str, v4: &str, v6: &str) {
    let net = "internet";
    run(&format!(
        "ip link add eth0 netns {name} type veth peer name {name} netns {net}"
    ));
    for (ns, dev, last) in [(name, "eth0", 2), (net, name, 1)] {
        // Otherwise this address comes by itself, a while later.
        run(&format!("ip -n {ns} link set {dev} addrgenmode none"));
        run(&format!(
            "ip -n {ns} addr add fe80::{last}/64 dev {dev} nodad"
        ));
        run(&format!("ip -n {ns} addr add {v4}.{last}/24 dev {dev}"));
        run(&format!(
            "ip -n {ns} addr add {v6}:{last}/64 dev {dev} nodad"
        ));
        run(&format!("ip -n {ns} link set {dev} up"));
    }
    run(&format!("ip -n {name} route add default via {v4}.1"));
    run(&format!("ip -n {name} route add default via {v6}:1"));
}

/// Starts the program of a box with the folder, in a namespace.
fn start_in(home: &str, folder: &Path, services: &Path) -> Process {
    let child = within(home, || {
        Command::new(env!("CARGO_BIN_EXE_tunnel"))
            .env("ROOST_DATA", folder.join("data"))
            .env("ROOST_RUN", folder.join("run"))
            .env("ROOST_SERVICES", services)
            .env("RUST_BACKTRACE", "1")
            .spawn()
            .unwrap()
    });
    Process(child)
}

/// What the program with this folder answers.
fn ask_in(folder: &Path, call: &Asks) -> Option<Answer> {
    let mut stream = UnixStream::connect(folder.join("run/tunnel.sock")).ok()?;
    let mut line = serde_json::to_vec(call).unwrap();
    line.push(b'\n');
    stream.write_all(&line).ok()?;
    let mut line = String::new();
    stream.read_to_string(&mut line).ok()?;
    Some(serde_json::from_str(&line).unwrap())
}

impl World {
    pub fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("roost-tunnel-{name}-{}", std::process::id()));
        for sub in ["data", "run"] {
            fs::create_dir_all(folder.join(sub)).unwrap();
        }
        run("mkdir -p /run/netns /run/wireguard");
        for name in ["home", "internet", "relay"] {
            run(&format!("ip netns add {name}"));
            run(&format!("ip -n {name} link set lo up"));
        }
        join("home", "10.0.1", "2001:db8:1:");
        join("relay", "203.0.113", "2001:db8:2:");
        within("internet", || {
            for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                fs::write(Path::new("/proc/sys/net").join(switch), "1").unwrap();
            }
        });
        run(&format!("ip -n relay addr add {WORLD4}/32 dev lo"));
        run(&format!("ip -n relay addr add {WORLD6}/128 dev lo nodad"));
        run(&format!(
            "ip -n internet route add {WORLD4} via 203.0.113.2"
        ));
        run(&format!(
            "ip -n internet route add {WORLD6} via 2001:db8:2::2"
        ));
        // The strict check of a careful distribution, by which answers must leave where questions came in.
        within("home", || {
            fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        });
        let relay_key = run("wg genkey").trim().to_owned();
        fs::write(folder.join("relay.key"), &relay_key).unwrap();
        let public = public_of(&folder.join("relay.key"));
        let own = roost_tunnel::keys::load_or_make(&folder.join("data")).unwrap();
        let mut world = World {
            keys: [own.public().to_string(), public],
            folder,
            relay: None,
            tunnel: None,
        };
        world.write_services();
        world.write_config("203.0.113.2:51820", json!({}));
        world.start_relay();
        world
    }

    fn write_services(&self) {
        let table = json!([{
            "name": "portal", "description": "p", "program": "/bin/portal", "user": 0,
            "required": true, "ready_timeout_s": 60, "stop_timeout_s": 10,
        }]);
        fs::write(self.folder.join("services.json"), table.to_string()).unwrap();
    }

    /// The box's settings as the file has them; `more` goes over them.
    pub fn write_config(&self, endpoint: &str, more: Value) {
        let config = self.config(endpoint, more);
        fs::write(self.folder.join("data/tunnel.json"), config.to_string()).unwrap();
    }

    /// The box's settings; `more` goes over them.
    pub fn config(&self, endpoint: &str, more: Value) -> Value {
        let mut config = json!({
            "relay": {"public_key": self.keys[1], "endpoint": endpoint, "address4": RELAY4},
            "address4": BOX4, "address6": BOX6, "keep_port_25_closed": false,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }

    /// wireguard-go, which knows the keys and nothing else.
    pub fn start_relay(&mut self) {
        let child = within("relay", || {
            Command::new("wireguard-go")
                .args(["-f", "wg0"])
                .env("LOG_LEVEL", "error")
                .env("WG_PROCESS_FOREGROUND", "1")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        self.relay = Some(Process(child));
        until("wireguard-go", PATIENCE, || {
            Path::new("/run/wireguard/wg0.sock").exists().then_some(())
        });
        let key = self.folder.join("relay.key");
        self.wg(&format!(
            "set wg0 listen-port 51820 private-key {}",
            key.display()
        ));
        run(&format!("ip -n relay addr add {RELAY4}/32 dev wg0"));
        run(&format!("ip -n relay addr add {RELAY6}/128 dev wg0 nodad"));
        run("ip -n relay link set wg0 mtu 1420 up");
        run(&format!("ip -n relay route add {BOX4} dev wg0"));
        run(&format!("ip -n relay route add {BOX6} dev wg0"));
        self.wg(&format!(
            "set wg0 peer {} allowed-ips {BOX4}/32,{BOX6}/128",
            self.keys[0]
        ));
    }

    fn wg(&self, words: &str) -> String {
        within("relay", || run(&format!("wg {words}")))
    }

    /// Ends the relay, and with it all that it knew.
    pub fn stop_relay(&mut self) {
        self.relay = None;
        let _ = fs::remove_file("/run/wireguard/wg0.sock");
        until("the end of wg0", PATIENCE, || {
            (!run("ip -n relay link").contains("wg0")).then_some(())
        });
    }

    /// Where the relay believes the box to be.
    pub fn seen_at(&self) -> String {
        let all = self.wg("show wg0 endpoints");
        all.split_whitespace().nth(1).unwrap_or("").to_owned()
    }

    /// Starts the box's program; it need not have a tunnel yet.
    pub fn start(&mut self) {
        let services = self.folder.join("services.json");
        self.tunnel = Some(start_in("home", &self.folder, &services));
        until("the box's program", PATIENCE, || self.status());
    }

    /// Starts it and waits for the tunnel.
    pub fn connect(&mut self) {
        self.start();
        self.up(BACK);
    }

    /// Waits until the tunnel is up.
    pub fn up(&mut self, limit: Duration) -> Status {
        until("a tunnel that is up", limit, || {
            self.status().filter(|status| status.state == State::Up)
        })
    }

    /// Stops the box's program.
    pub fn stop(&mut self, signal: &str) {
        self.tunnel.take().unwrap().end(signal);
    }

    /// What the box's program says.
    pub fn status(&mut self) -> Option<Status> {
        if let Some(tunnel) = &mut self.tunnel {
            assert_eq!(tunnel.0.try_wait().unwrap(), None, "the program ended");
        }
        match self.ask(&Asks::Status)? {
            Answer::Status(status) => Some(*status),
            other => panic!("{other:?}"),
        }
    }

    /// What the box's program answers.
    pub fn ask(&self, call: &Asks) -> Option<Answer> {
        ask_in(&self.folder, call)
    }

    /// Has the relay remember who may serve, by its own script; each connection is one run of it, as
    /// systemd does it there.
    pub fn remember(&self) {
        let env = self.folder.join("relay.env");
        fs::write(&env, "RELAY4=127.0.0.1\nZONES=''\n").unwrap();
        let state = self.folder.clone();
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../terraform/relay/modules/userdata/files/health");
        let listener = within("relay", || TcpListener::bind((RELAY4, 8077))).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = std::os::fd::OwnedFd::from(stream.unwrap());
                let mut child = Command::new("sh")
                    .arg(&script)
                    .env("ROOST_ENV", &env)
                    .env("STATE_DIRECTORY", &state)
                    .stdin(stream.try_clone().unwrap())
                    .stdout(stream)
                    .spawn()
                    .unwrap();
                thread::spawn(move || child.wait());
            }
        });
    }

    /// A second home with a card that has this one's keys, and this generation.
    pub fn second(&self, generation: &Generation) -> Second {
        run("ip netns add home2");
        run("ip -n home2 link set lo up");
        join("home2", "10.0.3", "2001:db8:3:");
        let folder = self.folder.join("second");
        for sub in ["data", "run"] {
            fs::create_dir_all(folder.join(sub)).unwrap();
        }
        for name in ["private.key", "tunnel.json"] {
            let from = self.folder.join("data").join(name);
            fs::copy(from, folder.join("data").join(name)).unwrap();
        }
        let text = serde_json::to_vec(generation).unwrap();
        fs::write(folder.join("data").join(GENERATION), text).unwrap();
        Second {
            folder,
            tunnel: None,
        }
    }

    /// Starts the program of the second home.
    pub fn start_second(&self, second: &mut Second) {
        let services = self.folder.join("services.json");
        second.tunnel = Some(start_in("home2", &second.folder, &services));
        until("the second box's program", PATIENCE, || second.status());
    }

    /// All that the kernel has at home: addresses, rules, routes.
    pub fn kernel(&self) -> String {
        [
            "ip -n home -brief addr",
            "ip -n home rule",
            "ip -n home -6 rule",
            "ip -n home route show table all",
            "ip -n home -6 route show table all",
        ]
        .map(run)
        .concat()
    }
}

impl Second {
    /// What its program says.
    pub fn status(&self) -> Option<Status> {
        match ask_in(&self.folder, &Asks::Status)? {
            Answer::Status(status) => Some(*status),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tunnel = None;
        self.relay = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn public_of(file: &Path) -> String {
    let out = Command::new("wg")
        .arg("pubkey")
        .stdin(File::open(file).unwrap())
        .output()
        .unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A connection from one namespace to another.
pub struct Call<'a> {
    pub from: &'a str,
    /// The address to bind first, if any.
    pub bind: Option<&'a str>,
    pub to: &'a str,
    pub address: &'a str,
    pub port: u16,
}

/// Where the other side has seen a call come from.
///
/// `bytes` go each way and have to be the same there. An error is the caller's.
pub fn call(call: &Call<'_>, bytes: usize) -> io::Result<IpAddr> {
    let address = SocketAddr::new(call.address.parse().unwrap(), call.port);
    let listener = within(call.to, || TcpListener::bind(address)).unwrap();
    let data: Vec<u8> = (0..bytes).map(|n| (n * 7 + n / 251) as u8).collect();
    thread::scope(|scope| {
        let stop = listener.try_clone().unwrap();
        let echo = scope.spawn(move || {
            let (mut stream, from) = listener.accept()?;
            let mut came = Vec::new();
            stream.read_to_end(&mut came)?;
            stream.write_all(&came)?;
            Ok::<_, io::Error>(from.ip())
        });
        let (bind, data) = (call.bind, &data);
        let called = within(call.from, move || -> io::Result<()> {
            let mut stream = connect(bind, address)?;
            let mut writer = stream.try_clone()?;
            thread::scope(|scope| {
                let write = scope.spawn(move || {
                    writer.write_all(data)?;
                    writer.shutdown(Shutdown::Write)
                });
                let mut back = Vec::new();
                stream.read_to_end(&mut back)?;
                write.join().unwrap()?;
                assert!(back == *data, "{} of {} bytes", back.len(), data.len());
                Ok(())
            })
        });
        if let Err(error) = called {
            // Let the other side go.
            let own = stop.local_addr().unwrap();
            within(call.to, || {
                let _ = TcpStream::connect_timeout(&own, Duration::from_secs(1));
            });
            let _ = echo.join();
            return Err(error);
        }
        echo.join().unwrap()
    })
}

fn connect(bind: Option<&str>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(to),
        socket2::Type::STREAM,
        None,
    )?;
    if let Some(bind) = bind {
        socket.bind(&SocketAddr::new(bind.parse().unwrap(), 0).into())?;
    }
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// From the box, by whichever way the kernel chooses, to the rest of the world.
pub fn out(address: &str, port: u16) -> io::Result<IpAddr> {
    let to = Call {
        from: "home",
        bind: None,
        to: "relay",
        address,
        port,
    };
    call(&to, 1000)
}
