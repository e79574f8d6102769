//! The program as the box runs it, against wireguard-go as a relay, on networks of their own
//! (`world/`). Needs Linux with user namespaces and `/dev/net/tun`, and the programs `unshare`, `ip`,
//! `wg` and `wireguard-go`.

mod two_boxes;
mod world;

use roost_service::tunnel::{Answer, Call as Asks, State};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use world::{
    BACK, BOX4, BOX6, Call, HOME4, HOME6, RELAY4, RELAY6, WORLD4, WORLD6, World, call, inside, out,
    run, until, within,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn both_families_pass_both_ways_with_their_right_addresses() {
    if !inside("both_families_pass_both_ways_with_their_right_addresses") {
        return;
    }
    let mut world = World::new("pass");
    for endpoint in ["203.0.113.2:51820", "[2001:db8:2::2]:51820"] {
        world.write_config(endpoint, json!({}));
        world.connect();
        for (own, other) in [
            (BOX4, RELAY4),
            (BOX6, RELAY6),
            (BOX4, WORLD4),
            (BOX6, WORLD6),
        ] {
            let from_box = Call {
                from: "home",
                bind: Some(own),
                to: "relay",
                address: other,
                port: 4000,
            };
            assert_eq!(call(&from_box, 4 << 20).unwrap(), ip(own));
            let to_box = Call {
                from: "relay",
                bind: Some(other),
                to: "home",
                address: own,
                port: 4001,
            };
            assert_eq!(call(&to_box, 4 << 20).unwrap(), ip(other));
        }
        let status = until("a measured line", BACK, || {
            world.status().filter(|status| status.mtu == Some(1420))
        });
        assert_eq!(status.endpoint.as_deref(), Some(endpoint));
        assert!(status.rtt_ms.is_some_and(|ms| ms > 0.0 && ms < 5000.0));
        assert_eq!(status.probe_loss, Some(0.0));
        assert!(status.sent.bytes > 32 << 20 && status.received.bytes > 32 << 20);
        assert!(status.sent.packets.is_some_and(|packets| packets > 20_000));
        assert!(status.handshake_age_s.is_some_and(|age| age < 60));
        assert_eq!((status.state, status.connected), (State::Up, 1));
        // What the rest of the home's network sends is nobody's business on the tunnel.
        assert_eq!(out(WORLD4, 4002).unwrap(), ip(HOME4));
        world.stop("TERM");
    }
}

#[test]
fn the_key_is_made_once_and_shown_in_part() {
    if !inside("the_key_is_made_once_and_shown_in_part") {
        return;
    }
    let mut world = World::new("key");
    let config = world.folder.join("data/tunnel.json");
    let kept = fs::read(&config).unwrap();
    fs::remove_file(&config).unwrap();
    let file = world.folder.join("data/private.key");
    let given = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let before = world.kernel();
    world.start();
    let status = world.status().unwrap();
    assert_eq!((status.state, status.relay), (State::Unconfigured, None));
    assert_eq!(world.kernel(), before, "without a relay nothing is set");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let secret = fs::read_to_string(&file).unwrap();
    let answer = format!("{:?}", world.ask(&Asks::Status).unwrap());
    assert!(answer.contains(&status.public_key) && !answer.contains(secret.trim()));
    world.stop("TERM");

    fs::write(&config, kept).unwrap();
    world.start();
    assert_eq!(world.status().unwrap().public_key, status.public_key);
    world.stop("TERM");
    fs::write(&file, given).unwrap();
    world.connect();
    assert_ne!(world.status().unwrap().public_key, status.public_key);
}

#[test]
fn mail_leaves_through_the_tunnel_or_not_at_all() {
    if !inside("mail_leaves_through_the_tunnel_or_not_at_all") {
        return;
    }
    let mut world = World::new("mail");
    // That there is another way, which the rules have to close.
    assert_eq!(out(WORLD4, 25).unwrap(), ip(HOME4));
    assert_eq!(out(WORLD6, 25).unwrap(), ip(HOME6));
    let unreachable = [
        std::io::ErrorKind::NetworkUnreachable,
        std::io::ErrorKind::HostUnreachable,
    ];
    let closed = || {
        for (address, home) in [(WORLD4, HOME4), (WORLD6, HOME6)] {
            let began = Instant::now();
            let error = out(address, 25).unwrap_err();
            let kind = error.kind();
            assert!(unreachable.contains(&kind), "{address}: {error}");
            assert!(began.elapsed() < Duration::from_secs(3), "at once");
            // Everything else goes on.
            assert_eq!(out(address, 26).unwrap(), ip(home));
        }
    };

    world.connect();
    assert_eq!(out(WORLD4, 25).unwrap(), ip(BOX4));
    assert_eq!(out(WORLD4, 26).unwrap(), ip(HOME4));
    let error = out(WORLD6, 25).unwrap_err();
    assert!(unreachable.contains(&error.kind()), "{error}");
    // The box reaches its own port 25, by every address.
    for address in ["127.0.0.1", "::1", HOME4, HOME6, BOX4, BOX6] {
        let own = Call {
            from: "home",
            bind: None,
            to: "home",
            address,
            port: 25,
        };
        call(&own, 1000).unwrap_or_else(|error| panic!("{address}: {error}"));
    }

    world.stop("KILL");
    closed();
    world.connect();
    assert_eq!(out(WORLD4, 25).unwrap(), ip(BOX4));
    world.stop("TERM");
    assert_eq!(out(WORLD4, 25).unwrap(), ip(HOME4), "as it was before");

    world.write_config("203.0.113.2:51820", json!({"keep_port_25_closed": true}));
    world.connect();
    world.stop("TERM");
    closed();

    // The relay is gone: nothing passes, and nothing passes elsewhere.
    world.connect();
    world.stop_relay();
    assert!(out(WORLD4, 25).is_err());
}

#[test]
fn a_relay_is_chosen_and_left_while_it_runs() {
    if !inside("a_relay_is_chosen_and_left_while_it_runs") {
        return;
    }
    let mut world = World::new("chosen");
    let file = world.folder.join("data/tunnel.json");
    fs::remove_file(&file).unwrap();
    let before = world.kernel();
    world.start();
    let set = |config: serde_json::Value| Asks::Set {
        tunnel: serde_json::from_value(config).unwrap(),
    };
    let good = world.config("203.0.113.2:51820", json!({}));
    let bad = world.config("203.0.113.2", json!({"table": 254}));
    let Some(Answer::Refused { why }) = world.ask(&set(bad.clone())) else {
        panic!("it is taken");
    };
    assert!(
        why.contains("relay.endpoint cannot be") && why.contains("table cannot be"),
        "{why}"
    );
    assert_eq!(world.status().unwrap().state, State::Unconfigured);

    assert_eq!(world.ask(&set(good.clone())), Some(Answer::Done));
    world.up(BACK);
    assert_eq!(out(WORLD4, 25).unwrap(), ip(BOX4));
    // What cannot be used leaves it as it is.
    assert!(matches!(world.ask(&set(bad)), Some(Answer::Refused { .. })));
    assert_eq!(world.status().unwrap().connected, 1);
    let other = world.config("203.0.113.2:51820", json!({"table": 4711}));
    assert_eq!(world.ask(&set(other)), Some(Answer::Done));
    until("the other table", BACK, || {
        (!world.kernel().contains("51820")).then_some(())
    });
    world.up(BACK);
    // It is on the card.
    world.stop("KILL");
    world.connect();
    assert!(world.kernel().contains("lookup 4711"));
    assert_eq!(world.ask(&Asks::Clear), Some(Answer::Done));
    until("what was before", BACK, || {
        (world.kernel() == before).then_some(())
    });
    assert_eq!(world.status().unwrap().state, State::Unconfigured);
    assert_eq!(world.ask(&Asks::Clear), Some(Answer::Done));
    world.stop("TERM");

    // A damaged file: nothing leaves by another way, and the owner can choose again.
    fs::write(&file, "{\"relay\":").unwrap();
    world.start();
    let status = world.status().unwrap();
    assert_eq!(status.state, State::Unconfigured);
    assert!(
        status.summary.contains("set the relay again"),
        "{}",
        status.summary
    );
    assert!(out(WORLD4, 25).is_err());
    assert_eq!(world.ask(&set(good)), Some(Answer::Done));
    world.up(BACK);
    assert_eq!(out(WORLD4, 25).unwrap(), ip(BOX4));
}

#[test]
fn nothing_is_left_behind() {
    if !inside("nothing_is_left_behind") {
        return;
    }
    let mut world = World::new("left");
    let before = world.kernel();
    world.connect();
    let during = world.kernel();
    for line in [
        "ipproto tcp dport 25 lookup 51820 proto 82",
        "ipproto tcp dport 25 unreachable proto 82",
        "from 10.82.0.2 lookup 51820 proto 82",
        "from fd82::2 lookup 51820 proto 82",
        "default dev relay table 51820 proto 82 scope link src 10.82.0.2 metric 100",
        "unreachable default table 51820 proto 82 metric 1000",
        "default dev relay table 51820 proto 82 src fd82::2 metric 100",
        "unreachable default dev lo table 51820 proto 82 metric 1000",
    ] {
        assert!(during.contains(line), "{line:?} is not in\n{during}");
    }
    world.stop("TERM");
    assert_eq!(world.kernel(), before);

    // Killed, and started again with other numbers and addresses.
    world.connect();
    world.stop("KILL");
    assert_ne!(world.kernel(), before);
    let other = json!({"table": 4711, "interface": "other", "address6": null});
    world.write_config("203.0.113.2:51820", other);
    world.connect();
    let during = world.kernel();
    assert!(!during.contains("51820"), "{during}");
    assert!(during.contains("lookup 4711") && during.contains("default dev other"));
    world.stop("TERM");
    assert_eq!(world.kernel(), before);

    // Killed, and never to be started with a relay again.
    world.connect();
    world.stop("KILL");
    fs::remove_file(world.folder.join("data/tunnel.json")).unwrap();
    world.start();
    assert_eq!(world.kernel(), before);
}

#[test]
fn a_box_that_moves_and_a_relay_that_moves_find_each_other() {
    if !inside("a_box_that_moves_and_a_relay_that_moves_find_each_other") {
        return;
    }
    let mut world = World::new("move");
    let hosts = world.folder.join("hosts");
    let name =
        |address: &str| fs::write(&hosts, format!("{address} relay.example.test\n")).unwrap();
    name("203.0.113.2");
    run(&format!("mount --bind {} /etc/hosts", hosts.display()));
    world.write_config("relay.example.test:51820", json!({}));
    world.connect();
    assert_eq!(out(WORLD4, 25).unwrap(), ip(BOX4));

    // The home gets another address from its provider.
    run("ip -n home addr del 10.0.1.2/24 dev eth0");
    run("ip -n home addr add 10.0.1.77/24 dev eth0");
    run("ip -n home route replace default via 10.0.1.1");
    until("mail from the new address", BACK, || out(WORLD4, 25).ok());
    assert!(
        world.seen_at().starts_with("10.0.1.77:"),
        "{}",
        world.seen_at()
    );

    // The relay gets another address, and its name follows.
    run("ip -n relay addr del 203.0.113.2/24 dev eth0");
    run("ip -n relay addr add 203.0.113.9/24 dev eth0");
    run("ip -n relay route replace default via 203.0.113.1");
    run(&format!(
        "ip -n internet route replace {WORLD4} via 203.0.113.9"
    ));
    name("203.0.113.9");
    let limit = Duration::from_secs(60);
    until("mail by the relay's new address", limit, || {
        out(WORLD4, 25).ok()
    });
    let status = world.status().unwrap();
    assert_eq!(status.endpoint.as_deref(), Some("203.0.113.9:51820"));
}

/// Ends the relay for `away`, and starts it again without anything that it knew.
fn relay_away(world: &mut World, away: Duration) {
    world.connect();
    world.stop_relay();
    sleep(away);
    if away > Duration::from_secs(60) {
        assert_eq!(world.status().unwrap().state, State::Down);
    }
    world.start_relay();
    // Nothing is sent by the box itself that would help.
    until("the relay hears the box", BACK, || {
        (world.seen_at() != "(none)").then_some(())
    });
    world.up(BACK);
    assert_eq!(out(WORLD4, 25).unwrap(), ip(BOX4));
}

#[test]
fn a_relay_that_restarts_is_found_at_once() {
    if inside("a_relay_that_restarts_is_found_at_once") {
        relay_away(&mut World::new("restart"), Duration::from_secs(3));
    }
}

#[test]
fn a_relay_that_was_away_for_long_is_found_within_fifteen_seconds() {
    if inside("a_relay_that_was_away_for_long_is_found_within_fifteen_seconds") {
        relay_away(&mut World::new("away"), Duration::from_secs(40));
    }
}

#[test]
#[ignore = "takes more than ten minutes"]
fn a_relay_that_was_away_for_ten_minutes_is_found_within_fifteen_seconds() {
    if inside("a_relay_that_was_away_for_ten_minutes_is_found_within_fifteen_seconds") {
        relay_away(&mut World::new("long"), Duration::from_secs(605));
    }
}

#[test]
fn a_line_that_carries_less_is_found_out() {
    if !inside("a_line_that_carries_less_is_found_out") {
        return;
    }
    let mut world = World::new("short");
    // As behind DS-Lite, and the router says nothing to whom it throws away.
    run("ip -n internet link set home mtu 1400");
    run("ip -n internet link set relay mtu 1400");
    within("internet", || {
        fs::write("/proc/sys/net/ipv4/icmp_ratemask", "8").unwrap();
        fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "1000000").unwrap();
    });
    world.connect();
    let status = until("a measured line", BACK, || {
        world.status().filter(|status| status.mtu == Some(1340))
    });
    assert_eq!(status.state, State::Up);
    for (from, to, bind, address) in [
        ("home", "relay", BOX4, WORLD4),
        ("relay", "home", WORLD4, BOX4),
        ("relay", "home", WORLD6, BOX6),
    ] {
        let call_ = Call {
            from,
            bind: Some(bind),
            to,
            address,
            port: 4000,
        };
        call(&call_, 1 << 20).unwrap();
    }
}

/// Stands between the box and the relay, and passes on what comes: three times, out of order, with
/// damage and with things of its own.
fn evil(home: SocketAddr, relay: SocketAddr) {
    within("internet", move || {
        let near = UdpSocket::bind(home).unwrap();
        let far = UdpSocket::bind("203.0.113.1:0").unwrap();
        let seen = std::sync::Arc::new(std::sync::Mutex::new(None::<SocketAddr>));
        for up in [true, false] {
            let (near, far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let seen = seen.clone();
            thread::spawn(move || {
                let mut buffer = [0; 2048];
                let mut late: Option<Vec<u8>> = None;
                let mut count = 0u32;
                loop {
                    let (from, to) = if up { (&near, &far) } else { (&far, &near) };
                    let (length, who) = from.recv_from(&mut buffer).unwrap();
                    let target = if up {
                        *seen.lock().unwrap() = Some(who);
                        relay
                    } else {
                        match *seen.lock().unwrap() {
                            Some(who) => who,
                            None => continue,
                        }
                    };
                    let datagram = buffer[..length].to_vec();
                    count += 1;
                    let mut damaged = datagram.clone();
                    let bit = count as usize * 37 % (length * 8);
                    damaged[bit / 8] ^= 1 << (bit % 8);
                    let junk: Vec<u8> = (0..count % 300).map(|n| (n * 31 + count) as u8).collect();
                    let mut send = vec![damaged, junk, vec![4, 0, 0, 0], Vec::new()];
                    // Every fourth is late, by one; everything else comes three times.
                    match late.take() {
                        Some(before) => {
                            send.extend([datagram.clone(), before.clone(), before, datagram]);
                        }
                        None if count.is_multiple_of(4) => late = Some(datagram),
                        None => send.extend([datagram.clone(), datagram.clone(), datagram]),
                    }
                    for datagram in send {
                        let _ = to.send_to(&datagram, target);
                    }
                }
            });
        }
    });
}

#[test]
fn a_line_in_bad_hands_does_no_harm() {
    if !inside("a_line_in_bad_hands_does_no_harm") {
        return;
    }
    let mut world = World::new("evil");
    let door: SocketAddr = "10.0.1.1:51820".parse().unwrap();
    evil(door, "203.0.113.2:51820".parse().unwrap());
    world.write_config(&door.to_string(), json!({"mtu": 1380}));
    world.connect();
    let endpoint = world.status().unwrap().endpoint;
    for (from, to, bind, address) in [
        ("home", "relay", BOX4, WORLD4),
        ("relay", "home", WORLD4, BOX4),
    ] {
        let call_ = Call {
            from,
            bind: Some(bind),
            to,
            address,
            port: 4000,
        };
        call(&call_, 1 << 20).unwrap();
    }

    // A stranger, who knows the box's port, sends what he likes.
    let port: u16 = world
        .seen_at()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap_or(0);
    assert_ne!(port, 0);
    within("internet", || {
        let stranger = UdpSocket::bind("10.0.1.1:0").unwrap();
        let listening = run("ip netns exec home ss -lunH");
        let own: Vec<u16> = listening
            .split_whitespace()
            .filter_map(|word| word.rsplit(':').next()?.parse().ok())
            .filter(|port| *port != 0)
            .collect();
        for n in 0..20_000u32 {
            let length = [148, 92, 64, 32, 1400, 0][n as usize % 6];
            let mut datagram = vec![(n % 251) as u8; length];
            for (to, from) in datagram.iter_mut().zip([(n % 5) as u8, 0, 0, 0]) {
                *to = from;
            }
            for port in &own {
                let _ = stranger.send_to(&datagram, (HOME4, *port));
            }
        }
    });
    assert_eq!(out(WORLD4, 25).unwrap(), ip(BOX4));
    let status = world.status().unwrap();
    assert_eq!((status.state, status.connected), (State::Up, 1));
    assert_eq!(status.endpoint, endpoint);
    let rejected = status.rejected;
    assert!(rejected.replayed > 100, "{rejected:?}");
    assert!(rejected.forged > 1000, "{rejected:?}");
    assert!(rejected.malformed > 1000, "{rejected:?}");
}

#[test]
fn only_the_portal_may_ask() {
    if !inside("only_the_portal_may_ask") {
        return;
    }
    let mut world = World::new("door");
    world.start();
    let socket = world.folder.join("run/tunnel.sock");
    world.stop("TERM");
    let table = fs::read_to_string(world.folder.join("services.json")).unwrap();
    let other = table.replace("\"user\":0", "\"user\":820");
    assert_ne!(table, other);
    fs::write(world.folder.join("services.json"), other).unwrap();
    let _ = fs::remove_file(&socket);
    let folder = world.folder.clone();
    let child = within("home", || {
        std::process::Command::new(env!("CARGO_BIN_EXE_tunnel"))
            .env("ROOST_DATA", folder.join("data"))
            .env("ROOST_RUN", folder.join("run"))
            .env("ROOST_SERVICES", folder.join("services.json"))
            .spawn()
            .unwrap()
    });
    let _program = world::Process(child);
    let mut stream = until("the socket", BACK, || UnixStream::connect(&socket).ok());
    let mut said = String::new();
    let _ = stream.write_all(b"{\"call\":\"status\"}\n");
    let read = stream.read_to_string(&mut said);
    assert!(read.is_err() || said.is_empty(), "{said}");
}

#[test]
fn a_kernel_without_wireguard_is_said() {
    if !inside("a_kernel_without_wireguard_is_said") {
        return;
    }
    let world = World::new("kernel");
    world.write_config("203.0.113.2:51820", json!({"backend": "kernel"}));
    let folder = world.folder.clone();
    if std::path::Path::new("/sys/module/wireguard").exists() {
        eprintln!("SKIPPED: this kernel has WireGuard");
        return;
    }
    let out_ = within("home", || {
        std::process::Command::new(env!("CARGO_BIN_EXE_tunnel"))
            .env("ROOST_DATA", folder.join("data"))
            .env("ROOST_RUN", folder.join("run"))
            .env("ROOST_SERVICES", folder.join("services.json"))
            .output()
            .unwrap()
    });
    assert!(!out_.status.success());
    let said = String::from_utf8(out_.stderr).unwrap();
    assert!(
        said.contains("this kernel has no WireGuard: load its module"),
        "{said}"
    );
    // Mail is kept in, since the tunnel is wanted.
    assert!(out(WORLD4, 25).is_err());
    assert_eq!(out(WORLD4, 26).unwrap(), ip(HOME4));
}
