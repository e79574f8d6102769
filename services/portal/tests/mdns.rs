//! Boxes find each other's names in network namespaces with real multicast, over IPv4 and IPv6.
//!
//! One namespace is the home network's switch side and asks; two boxes are in others. This program
//! starts itself in them ([`ROLE`]). It needs namespaces, which Debian gives to ordinary users.

use mdns_sd::{HostnameResolutionEvent, ServiceDaemon, ServiceEvent};
use roost_portal::mdns::{Announcement, HTTPS, ROOST, announce, child};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What a copy of this program is: `box NAME`, `flood`, or the test itself.
const ROLE: &str = "ROOST_MDNS_ROLE";
/// For everything that is waited for. The process that answers stands back for all others, so on a
/// busy machine a flood takes long to fill its memory.
const PATIENCE: Duration = Duration::from_secs(90);

/// Lets everything in this process see another network.
fn script() -> &'static str {
    // A bridge with a cable to each box. No duplicate address detection: it takes a second each.
    r#"
    set -e
    ip link set lo up
    ip link add home type bridge mcast_snooping 0
    echo 0 > /proc/sys/net/ipv6/conf/home/accept_dad
    ip address add 192.168.77.1/24 dev home
    ip -6 address add fd77::1/64 dev home nodad
    ip link set home up
    for number in 2 3; do
        unshare --net sleep 600 &
        inside=$!
        while [ "$(readlink /proc/$inside/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
        ip link add cable$number type veth peer name eth0 netns $inside
        ip link set cable$number master home up
        nsenter --net=/proc/$inside/ns/net sh -ec "
            echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
            ip link set lo up
            ip address add 192.168.77.$number/24 dev eth0
            ip -6 address add fd77::$number/64 dev eth0 nodad
            ip link set eth0 up
            ip route add 224.0.0.0/4 dev eth0"
        export BOX$number=$inside
    done
    "$PROGRAM" --exact inside --nocapture --ignored
    "#
}

#[test]
fn boxes_are_found_by_name_and_give_way_to_each_other() {
    let program = std::env::current_exe().unwrap();
    // Everything in it ends with the PID namespace's first process.
    let status = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args(["--mount-proc", "sh", "-c", script()])
        .env("PROGRAM", program)
        .env(ROLE, "test")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// The same program in a namespace of a box.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Other {
    fn start(number: u8, role: &str) -> Self {
        let inside = std::env::var(format!("BOX{number}")).unwrap();
        let mut child = Command::new("nsenter")
            .arg(format!("--net=/proc/{inside}/ns/net"))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "inside", "--nocapture", "--ignored"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let input = child.stdin.take();
        Self {
            child,
            input,
            lines,
        }
    }

    /// Waits until it says this.
    fn says(&self, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(wanted) => return,
                Ok(_) => {}
                Err(error) => panic!("it never said {wanted:?}: {error}"),
            }
        }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn stop(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// A box: says its name on the network whenever it changes; ends with its input. A line `paired`
/// says that it has an owner.
fn be_a_box(name: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let what = Announcement {
        name: name.into(),
        https_port: 443,
        fingerprint: "0123456789abcdef".repeat(4),
        version: "1.2.3".into(),
    };
    let (paired, is_paired) = watch::channel(false);
    let (host, mut its_name) = watch::channel(String::new());
    let (stop, stopping) = watch::channel(false);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            paired.send_replace(line == "paired");
        }
        stop.send_replace(true);
    });
    runtime.block_on(async {
        let command = || {
            let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "inside", "--nocapture", "--ignored"]);
            command.env(ROLE, "child");
            command
        };
        let task = tokio::spawn(announce(what, command, is_paired, host, stopping));
        while its_name.changed().await.is_ok() {
            println!("called {}", its_name.borrow_and_update().as_str());
        }
        task.await.unwrap();
    });
}

/// Sends what no machine would: noise, damaged messages, and addresses of machines that do not
/// exist, until its input ends.
fn flood() {
    // Answers come from this port, or are none (section 6).
    let socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
    let to: SocketAddr = "224.0.0.251:5353".parse().unwrap();
    let is_enough = Arc::new(AtomicBool::new(false));
    let enough = is_enough.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        enough.store(true, Ordering::Relaxed);
    });
    let (mut number, mut sent) = (0_u64, 0_u64);
    while !is_enough.load(Ordering::Relaxed) {
        number += 1;
        let mut message = vec![0, 0, 0x84, 0, 0, 0, 0, 40, 0, 0, 0, 0];
        for part in 0..40_u8 {
            let label = format!("x{number}-{part}");
            message.push(label.len() as u8);
            message.extend(label.as_bytes());
            message.extend(b"\x05local\0");
            message.extend([0, 1, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 4, 192, 168, 77, part]);
        }
        match number % 4 {
            0 => message.truncate(message.len() / 2),
            1 => message
                .iter_mut()
                .step_by(7)
                .for_each(|byte| *byte ^= number as u8),
            _ => {}
        }
        // The network may take no more for a moment.
        sent += u64::from(socket.send_to(&message, to).is_ok());
    }
    assert!(sent > 1000, "{sent}");
}

/// A box as somebody on the network sees it.
#[derive(Debug, PartialEq)]
struct Seen {
    host: String,
    addresses: BTreeSet<String>,
    txt: BTreeMap<String, String>,
}

/// All boxes, once `wanted` is content with them.
fn browse(kind: &str, wanted: impl Fn(&BTreeMap<String, Seen>) -> bool) -> BTreeMap<String, Seen> {
    let daemon = ServiceDaemon::new().unwrap();
    let events = daemon.browse(kind).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut seen = BTreeMap::new();
    while !wanted(&seen) {
        let left = end.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left);
        match event.unwrap_or_else(|e| panic!("{e}; so far {seen:#?}")) {
            ServiceEvent::ServiceResolved(found) => {
                let txt = found.get_properties().iter();
                let txt = txt.map(|p| (p.key().to_owned(), p.val_str().to_owned()));
                let addresses = found.get_addresses().iter();
                let addresses = addresses.map(|a| a.to_ip_addr().to_string());
                let one = Seen {
                    host: found.get_hostname().to_owned(),
                    addresses: addresses.filter(|a| !a.starts_with("fe80")).collect(),
                    txt: txt.collect(),
                };
                seen.insert(found.get_fullname().to_owned(), one);
            }
            ServiceEvent::ServiceRemoved(_, name) => {
                seen.remove(&name);
            }
            _ => {}
        }
    }
    daemon.shutdown().unwrap();
    seen
}

/// Addresses behind a name, asked for by name alone; both families must come.
fn resolve(name: &str) -> BTreeSet<String> {
    let daemon = ServiceDaemon::new().unwrap();
    let events = daemon.resolve_hostname(name, None).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut all = BTreeSet::new();
    let has = |all: &BTreeSet<String>, sign| {
        all.iter()
            .any(|a| a.contains(sign) && !a.starts_with("fe80"))
    };
    while !(has(&all, '.') && has(&all, ':')) {
        let left = end.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left);
        let event = event.unwrap_or_else(|e| panic!("{e}: so far {all:?}"));
        if let HostnameResolutionEvent::AddressesFound(_, found) = event {
            all.extend(found.iter().map(|a| a.to_ip_addr().to_string()));
        }
    }
    daemon.shutdown().unwrap();
    all.retain(|address| !address.starts_with("fe80"));
    all
}

/// What runs in the namespaces.
#[test]
#[ignore = "started by the other test, in namespaces"]
fn inside() {
    let Ok(role) = std::env::var(ROLE) else {
        panic!("{ROLE} is not set: this is started by the other test");
    };
    match role.split_once(' ') {
        Some(("box", name)) => return be_a_box(name),
        _ if role == "flood" => return flood(),
        _ if role == "child" => {
            // What the child says follows what libtest has printed of it.
            println!();
            assert_eq!(child(), ExitCode::SUCCESS);
            return;
        }
        _ => {}
    }
    let of = |number: u8| {
        BTreeSet::from([
            Ipv4Addr::new(192, 168, 77, number).to_string(),
            Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into()).to_string(),
        ])
    };
    let mut first = Other::start(2, "box attic");
    first.says("called attic");
    let both_families = |seen: &BTreeMap<String, Seen>, name: &str| {
        seen.get(name).is_some_and(|one| one.addresses.len() >= 2)
    };
    let name = format!("attic.{ROOST}");
    let seen = browse(ROOST, |seen| both_families(seen, &name));
    let one = &seen[&name];
    assert_eq!(
        (one.host.as_str(), &one.addresses),
        ("attic.local.", &of(2))
    );
    let txt = [
        ("fp", "0123456789abcdef"),
        ("name", "attic"),
        ("paired", "no"),
        ("v", "1.2.3"),
    ];
    let txt: BTreeMap<String, String> = txt.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(one.txt, txt);
    let name_of_page = format!("attic.{HTTPS}");
    browse(HTTPS, |seen| both_families(seen, &name_of_page));
    assert_eq!(resolve("attic.local."), of(2));

    first.tell("paired");
    browse(ROOST, |seen| {
        seen.get(&name)
            .is_some_and(|one| one.txt["paired"] == "yes")
    });

    // A new address is probed for while the box says other things: it is not another machine to itself.
    let change = |what: &str| {
        let inside = std::env::var("BOX2").unwrap();
        let status = Command::new("nsenter")
            .arg(format!("--net=/proc/{inside}/ns/net"))
            .args([
                "ip",
                "-6",
                "address",
                what,
                "fd77::22/64",
                "dev",
                "eth0",
                "nodad",
            ])
            .status();
        assert!(status.unwrap().success());
    };
    let mut wait_for = |wanted: BTreeSet<String>| {
        let end = Instant::now() + PATIENCE;
        while resolve("attic.local.") != wanted {
            assert!(Instant::now() < end, "{:?}", resolve("attic.local."));
            for line in ["unpaired", "paired"] {
                first.tell(line);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    };
    change("add");
    wait_for(of(2).into_iter().chain(["fd77::22".to_owned()]).collect());
    change("del");
    wait_for(of(2));
    let renamed = first.lines.try_iter().find(|line| line.contains("called"));
    assert_eq!(renamed, None);

    // A flood ends what answers, and nothing else: it is back when the flood is over.
    let flood = Other::start(3, "flood");
    first.says("what answers for it ended (signal: 6");
    flood.stop();
    assert_eq!(resolve("attic.local."), of(2));
    let size = memory(first.child.id());
    assert!(size < 64 << 20, "{size} bytes");

    // RFC 6762 section 9: the name is taken, so the second box has another one, and the first its own.
    let second = Other::start(3, "box attic");
    second.says("called attic-2");
    assert_eq!(resolve("attic-2.local."), of(3));
    assert_eq!(resolve("attic.local."), of(2));
    let seen = browse(ROOST, |seen| {
        let hosts: BTreeSet<&str> = seen.values().map(|one| one.host.as_str()).collect();
        hosts.contains("attic.local.") && hosts.contains("attic-2.local.")
    });
    assert_eq!(seen.len(), 2, "{seen:#?}");

    // Goodbye: whoever looks now does not find it.
    second.stop();
    first.stop();
    let daemon = ServiceDaemon::new().unwrap();
    let events = daemon.browse(ROOST).unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    while let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now())) {
        assert!(
            !matches!(event, ServiceEvent::ServiceResolved(_)),
            "{event:?}"
        );
    }
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let mut text = String::new();
    let mut file = std::fs::File::open(format!("/proc/{pid}/statm")).unwrap();
    file.read_to_string(&mut text).unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
