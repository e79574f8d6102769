//! Two ends in memory, on a line that the test holds in its hands.

use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BOX4: Ipv4Addr = Ipv4Addr::new(10, 82, 0, 2);
const RELAY4: Ipv4Addr = Ipv4Addr::new(10, 82, 0, 1);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// And whom it is for.
type Datagram = (Vec<u8>, SocketAddr);

/// One end and where it sends from.
struct End {
    peer: Peer,
    at: SocketAddr,
}

impl End {
    /// Opens `datagram`; answers what it wants to send, and the packet that came out.
    fn take(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> (Vec<Datagram>, Option<Vec<u8>>) {
        let mut out = vec![0; datagram.len().max(MIN_BUFFER)];
        let (mut send, mut packet) = (Vec::new(), None);
        match self.peer.open(now, from, datagram, &mut out) {
            Opened::Packet(bytes) => packet = Some(bytes.to_vec()),
            Opened::Answer(bytes, to) => send.push((bytes.to_vec(), to)),
            Opened::Nothing => {}
        }
        while self.peer.is_waiting() {
            let mut out = [0; 2000];
            if let Some(bytes) = self.peer.waiting(&mut out) {
                send.push((bytes.to_vec(), self.peer.endpoint().unwrap()));
            }
        }
        (send, packet)
    }

    fn seal(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0; 2000];
        self.peer.seal(packet, &mut out).map(|made| made.to_vec())
    }
}

/// The box and the relay. Internet addresses are where the test says, so that both can move.
struct Pair {
    home: End,
    relay: End,
    relay_key: PublicKey,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let [home, relay] = [(); 2].map(|()| PrivateKey::make().unwrap());
        let end = |key: &PrivateKey, other: &PrivateKey, v4, v6: &str, index, place| End {
            peer: Peer::new(
                key,
                other.public(),
                Addresses {
                    v4,
                    v6: Some(v6.parse().unwrap()),
                },
                25,
                index,
            ),
            at: at(place),
        };
        Self {
            home: end(&home, &relay, BOX4, "fd82::2", 7, "198.51.100.7:4000"),
            relay: end(&relay, &home, RELAY4, "fd82::1", 9, "192.0.2.1:51820"),
            relay_key: relay.public(),
            now: Instant::now(),
        }
    }

    /// Carries `datagram` from the box, and all that follows, until nobody has anything to say.
    /// Returns the packets that came out at the relay and at the box.
    fn carry(&mut self, datagram: Vec<u8>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut line = vec![(true, datagram)];
        let (mut at_relay, mut at_home) = (Vec::new(), Vec::new());
        let mut steps = 0;
        while let Some((up, datagram)) = line.pop() {
            steps += 1;
            assert!(steps < 1000, "the two never stop");
            let (from, end, came) = match up {
                true => (self.home.at, &mut self.relay, &mut at_relay),
                false => (self.relay.at, &mut self.home, &mut at_home),
            };
            let (send, packet) = end.take(self.now, from, &datagram);
            came.extend(packet);
            line.extend(send.into_iter().map(|(datagram, _)| (!up, datagram)));
        }
        (at_relay, at_home)
    }

    fn connected() -> Self {
        let mut pair = Pair::new();
        let mut out = [0; MIN_BUFFER];
        let first = pair.home.peer.set_endpoint(pair.relay.at, &mut out);
        let first = first.expect("a handshake").to_vec();
        pair.carry(first);
        assert!(pair.home.peer.is_up(pair.now) && pair.relay.peer.is_up(pair.now));
        pair
    }
}

/// A packet of `length` bytes, told from others by `number`.
fn packet(from: impl Into<IpAddr>, to: impl Into<IpAddr>, length: usize, number: u32) -> Vec<u8> {
    let mut packet = vec![0; length];
    match (from.into(), to.into()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet[0] = 0x45;
            packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            packet[12..16].copy_from_slice(&from.octets());
            packet[16..20].copy_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet[0] = 0x60;
            packet[4..6].copy_from_slice(&(length as u16 - 40).to_be_bytes());
            packet[8..24].copy_from_slice(&from.octets());
            packet[24..40].copy_from_slice(&to.octets());
        }
        _ => panic!("one family"),
    }
    packet[length - 4..].copy_from_slice(&number.to_be_bytes());
    packet
}

fn up(number: u32) -> Vec<u8> {
    packet(BOX4, RELAY4, 100, number)
}

#[test]
fn packets_of_both_families_pass_both_ways() {
    let mut pair = Pair::connected();
    let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    for (from, to) in [
        (IpAddr::from(BOX4), IpAddr::from(RELAY4)),
        (v6("fd82::2").into(), v6("fd82::1").into()),
    ] {
        for length in [44, 100, 1280, 1420] {
            let sent = packet(from, to, length, 1);
            let datagram = pair.home.seal(&sent).unwrap();
            assert_eq!(datagram.len(), length + OVERHEAD);
            assert_eq!(pair.carry(datagram).0, [sent]);
            let back = packet(to, from, length, 2);
            let datagram = pair.relay.seal(&back).unwrap();
            let (_, came) = pair.home.take(pair.now, pair.relay.at, &datagram);
            assert_eq!(came, Some(back));
        }
    }
    let (sent, received) = pair.home.peer.traffic();
    assert_eq!((sent.packets, received.packets), (Some(8), Some(8)));
    assert_eq!(sent.bytes, 2 * (44 + 100 + 1280 + 1420));
    assert_eq!(pair.home.peer.rejected(), Rejected::default());
}

#[test]
fn what_is_sent_before_there_are_keys_arrives_after() {
    let mut pair = Pair::new();
    assert_eq!(pair.home.seal(&up(0)), None, "nobody to send it to");
    let mut out = [0; MIN_BUFFER];
    let relay = pair.relay.at;
    let first = pair
        .home
        .peer
        .set_endpoint(relay, &mut out)
        .unwrap()
        .to_vec();
    for number in 1..=3 {
        assert_eq!(pair.home.seal(&up(number)), None);
    }
    let (mut came, _) = pair.carry(first);
    came.sort();
    assert_eq!(came, [up(1), up(2), up(3)]);
    assert!(!pair.home.peer.is_waiting());
}

#[test]
fn an_address_that_proves_itself_is_answered_and_no_other() {
    let mut pair = Pair::connected();
    let home = pair.home.at;
    assert_eq!(pair.relay.peer.endpoint(), Some(home));
    pair.relay.peer.take_moved();

    // Somebody repeats what he saw, and sends junk, from elsewhere.
    let seen = pair.home.seal(&up(1)).unwrap();
    pair.carry(seen.clone());
    for datagram in [seen, vec![4; 100], vec![1; 148], vec![3; 64], vec![]] {
        let thief = at("203.0.113.66:1");
        let (send, came) = pair.relay.take(pair.now, thief, &datagram);
        assert_eq!((send.len(), came), (0, None));
    }
    assert_eq!(pair.relay.peer.endpoint(), Some(home));
    assert!(!pair.relay.peer.take_moved());

    // The home gets another address, and then the relay does.
    pair.home.at = at("[2001:db8::7]:4001");
    let datagram = pair.home.seal(&up(2)).unwrap();
    assert_eq!(pair.carry(datagram).0, [up(2)]);
    assert_eq!(pair.relay.peer.endpoint(), Some(pair.home.at));
    assert!(pair.relay.peer.take_moved());
    pair.relay.at = at("192.0.2.2:51820");
    let datagram = pair.relay.seal(&packet(RELAY4, BOX4, 60, 3)).unwrap();
    pair.home.take(pair.now, pair.relay.at, &datagram);
    assert_eq!(pair.home.peer.endpoint(), Some(pair.relay.at));
}

#[test]
fn what_is_not_for_the_tunnel_stays_out_both_ways() {
    let mut pair = Pair::connected();
    let lan = Ipv4Addr::new(192, 168, 1, 20);
    for packet in [
        packet(lan, RELAY4, 60, 1),
        vec![0x45; 10],
        vec![],
        packet(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 60, 1),
    ] {
        assert_eq!(pair.home.seal(&packet), None);
    }
    assert_eq!(pair.home.peer.rejected().misaddressed, 4);

    // A relay in wrong hands sends whatever it likes.
    let mut pair = Pair::connected();
    pair.relay.peer.addresses = Addresses {
        v4: lan,
        v6: Some("fd82::2".parse().unwrap()),
    };
    for packet in [
        packet(lan, Ipv4Addr::new(192, 168, 1, 21), 60, 1),
        packet(lan, Ipv4Addr::LOCALHOST, 60, 1),
        packet(
            "fd82::2".parse::<Ipv6Addr>().unwrap(),
            "fd82::2".parse::<Ipv6Addr>().unwrap(),
            60,
            1,
        ),
    ] {
        let datagram = pair.relay.seal(&packet).unwrap();
        assert_eq!(pair.home.take(pair.now, pair.relay.at, &datagram).1, None);
    }
    assert_eq!(pair.home.peer.rejected().misaddressed, 3);
}

#[test]
fn silence_leads_to_a_handshake_and_so_to_a_relay_that_has_forgotten_all() {
    let mut pair = Pair::connected();
    let mut out = [0; MIN_BUFFER];
    assert_eq!(pair.home.peer.tick(pair.now, &mut out), None);
    pair.now += SILENCE - TICK;
    assert_eq!(pair.home.peer.tick(pair.now, &mut out), None);
    pair.now += TICK;
    let first = pair
        .home
        .peer
        .tick(pair.now, &mut out)
        .expect("a handshake");
    assert_eq!((first[0], first.len()), (INITIATION, 148));
    let first = first.to_vec();
    assert_eq!(
        pair.home.peer.tick(pair.now, &mut out),
        None,
        "one at a time"
    );
    pair.carry(first);
    assert!(pair.home.peer.is_up(pair.now));
    assert_eq!(pair.home.peer.tick(pair.now, &mut out), None);
    pair.now += DOWN;
    assert!(!pair.home.peer.is_up(pair.now));
}

#[test]
fn new_keys_under_load_lose_nothing() {
    let mut pair = Pair::connected();
    let mut number = 0;
    let mut out = [0; MIN_BUFFER];
    // More in one second of the real clock would count as a flood.
    for _ in 0..8 {
        pair.now += SILENCE;
        let handshake = pair.home.peer.tick(pair.now, &mut out).unwrap().to_vec();
        // Before, between and after the messages of the handshake, and sealed before them but on
        // the line for longer.
        let late = pair.home.seal(&up(number)).unwrap();
        let now = pair.now;
        let (answer, _) = pair.relay.take(now, pair.home.at, &handshake);
        let between = pair.home.seal(&up(number + 1)).unwrap();
        assert_eq!(pair.carry(between).0, [up(number + 1)]);
        let back = packet(RELAY4, BOX4, 80, number);
        let on_line = pair.relay.seal(&back).unwrap();
        let (confirm, _) = pair.home.take(now, pair.relay.at, &answer[0].0);
        pair.carry(confirm[0].0.clone());
        assert_eq!(pair.home.take(now, pair.relay.at, &on_line).1, Some(back));
        let after = pair.home.seal(&up(number + 2)).unwrap();
        assert_eq!(pair.carry(after).0, [up(number + 2)]);
        assert_eq!(pair.carry(late).0, [up(number)]);
        number += 3;
    }
    assert_eq!(pair.relay.peer.rejected(), Rejected::default());
    assert_eq!(pair.relay.peer.traffic().1.packets, Some(u64::from(number)));
}

#[test]
fn a_new_start_with_another_clock_goes_on_counting() {
    let mut pair = Pair::connected();
    let datagram = pair.home.seal(&up(1)).unwrap();
    pair.carry(datagram);
    let mut out = [0; MIN_BUFFER];
    let first = pair.home.peer.begin_again(&mut out).unwrap().to_vec();
    assert!(!pair.home.peer.is_up(pair.now));
    pair.carry(first);
    assert!(pair.home.peer.is_up(pair.now));
    let datagram = pair.home.seal(&up(2)).unwrap();
    assert_eq!(pair.carry(datagram).0, [up(2)]);
    assert_eq!(pair.home.peer.traffic().0.packets, Some(2));
}

#[test]
fn a_clock_that_was_set_is_noticed_once() {
    let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
    let at = Duration::from_secs;
    let mut clock = Clock::new(start, wall);
    assert!(!clock.was_set(start + at(100), wall + at(100)));
    assert!(
        !clock.was_set(start + at(200), wall + at(50)),
        "back is harmless"
    );
    assert!(!clock.was_set(start + at(201), wall + at(51)));
    assert!(clock.was_set(start + at(202), wall + at(9000)));
    assert!(!clock.was_set(start + at(203), wall + at(9001)));
}

#[test]
fn a_flood_of_handshakes_is_answered_with_cookies_and_moves_nothing() {
    let mut pair = Pair::connected();
    let home = pair.home.at;
    // The key is public, so anybody can make handshakes that look right at first sight.
    let mut cookies = 0;
    for n in 0..100u32 {
        let stranger = PrivateKey::make().unwrap();
        let addresses = pair.home.peer.addresses;
        let relay = pair.relay.at;
        let mut peer = Peer::new(&stranger, pair.relay_key, addresses, 25, n);
        let mut out = [0; MIN_BUFFER];
        let flood = peer.set_endpoint(relay, &mut out).unwrap().to_vec();
        let (send, _) = pair.relay.take(pair.now, at("203.0.113.66:9"), &flood);
        for (answer, to) in send {
            assert_eq!((answer[0], to), (COOKIE, at("203.0.113.66:9")));
            assert!(answer.len() < flood.len(), "no use for amplification");
            cookies += 1;
        }
    }
    assert!(cookies >= 80, "{cookies} of 100");
    let rejected = pair.relay.peer.rejected();
    assert_eq!(rejected.under_load, cookies);
    assert_eq!(rejected.forged, 100 - cookies);
    assert_eq!(pair.relay.peer.endpoint(), Some(home));
    let datagram = pair.home.seal(&up(1)).unwrap();
    assert_eq!(pair.carry(datagram).0, [up(1)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a line does to packets, what comes out is what went in, each at most once.
    #[test]
    fn a_bad_line_invents_nothing(script in proptest::collection::vec((0u8..6, any::<usize>()), 1..150)) {
        let mut pair = Pair::connected();
        let mut line: Vec<Vec<u8>> = Vec::new();
        let mut came: Vec<Vec<u8>> = Vec::new();
        let mut number = 0;
        for (what, which) in script {
            let index = if line.is_empty() { 0 } else { which % line.len() };
            match what {
                0 | 1 => {
                    line.push(pair.home.seal(&up(number)).unwrap());
                    number += 1;
                }
                _ if line.is_empty() => {}
                // Lost.
                2 => drop(line.remove(index)),
                // Damaged, with the right one behind it.
                3 => {
                    let mut damaged = line[index].clone();
                    let bit = which % (damaged.len() * 8);
                    damaged[bit / 8] ^= 1 << (bit % 8);
                    came.extend(pair.relay.take(pair.now, pair.home.at, &damaged).1);
                }
                // Twice, or later than others.
                4 => came.extend(pair.relay.take(pair.now, pair.home.at, &line[index].clone()).1),
                _ => {
                    let datagram = line.remove(index);
                    came.extend(pair.relay.take(pair.now, pair.home.at, &datagram).1);
                }
            }
        }
        let mut numbers: Vec<u32> = came
            .iter()
            .map(|packet| u32::from_be_bytes(packet[96..].try_into().unwrap()))
            .collect();
        for (packet, number) in came.iter().zip(&numbers) {
            prop_assert_eq!(packet, &up(*number));
        }
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(all, numbers.len());
    }

    #[test]
    fn no_bytes_panic_or_get_through(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..6) {
        let mut pair = Pair::connected();
        let mut datagram = bytes;
        for (to, from) in datagram.iter_mut().zip([kind, 0, 0, 0]) {
            *to = from;
        }
        let (send, came) = pair.home.take(pair.now, at("203.0.113.66:9"), &datagram);
        prop_assert!(send.is_empty() && came.is_none());
        prop_assert_eq!(pair.home.peer.endpoint(), Some(pair.relay.at));
        let _ = pair.home.seal(&datagram);
    }
}
