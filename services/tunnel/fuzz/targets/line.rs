//! A line that loses, repeats, delays and reorders, for as long as the input says, by a clock that the
//! target sets: outages of many minutes, relays that restart, homes that move. Whatever happened,
//! 15 seconds after the line is good again the tunnel is up, packets pass both ways, and no packet
//! ever came out twice or changed.
#![no_main]

mod pair;

use libfuzzer_sys::fuzz_target;
use mock_instant::MockClock;
use pair::{End, HOME, RELAY, packet};
use roost_tunnel::keys::PrivateKey;
use roost_tunnel::peer::{MIN_BUFFER, TICK};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Steps of an outage: every handshake that is tried meanwhile takes its time here.
const OUTAGE: Duration = Duration::from_secs(5);

/// The promise.
const BACK: Duration = Duration::from_secs(15);

struct World {
    home: End,
    relay: End,
    now: Instant,
    /// What is on the line: whether to the relay, from where, what.
    line: Vec<(bool, SocketAddr, Vec<u8>)>,
    came: BTreeSet<(bool, u32)>,
    number: u32,
}

impl World {
    fn put(&mut self, up: bool, datagram: Vec<u8>) {
        let from = if up { self.home.at } else { self.relay.at };
        self.line.push((up, from, datagram));
    }

    fn pass(&mut self, time: Duration) {
        MockClock::advance(time);
        self.now += time;
        let now = self.now;
        let mut out = [0; MIN_BUFFER];
        for up in [true, false] {
            let end = if up { &mut self.home } else { &mut self.relay };
            if let Some(message) = end.peer.tick(now, &mut out) {
                let message = message.to_vec();
                self.put(up, message);
            }
        }
    }

    fn send(&mut self, up: bool) -> u32 {
        self.number += 1;
        let (end, from, to) = match up {
            true => (&mut self.home, HOME, RELAY),
            false => (&mut self.relay, RELAY, HOME),
        };
        let mut out = [0; 2048];
        let sealed = end.peer.seal(&packet(from, to, self.number), &mut out);
        if let Some(datagram) = sealed.map(|sealed| sealed.to_vec()) {
            self.put(up, datagram);
        }
        self.number
    }

    fn deliver(&mut self, index: usize, keep: bool) {
        if self.line.is_empty() {
            return;
        }
        let index = index % self.line.len();
        let (up, from, datagram) = match keep {
            true => self.line[index].clone(),
            false => self.line.remove(index),
        };
        let (end, own, other) = match up {
            true => (&mut self.relay, RELAY, HOME),
            false => (&mut self.home, HOME, RELAY),
        };
        let (send, came) = end.take(self.now, from, &datagram);
        if let Some(came) = came {
            let number = u32::from_be_bytes(came[36..].try_into().unwrap());
            assert_eq!(came, packet(other, own, number), "changed");
            assert!(self.came.insert((up, number)), "twice");
        }
        for (datagram, to) in send {
            // Nobody is where they were before.
            let there = if up { self.home.at } else { self.relay.at };
            if to == there {
                self.put(!up, datagram);
            }
        }
    }

    fn deliver_all(&mut self) {
        let mut steps = 0;
        while !self.line.is_empty() {
            steps += 1;
            assert!(steps < 100_000, "the two never stop");
            self.deliver(0, false);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    MockClock::set_time(Duration::from_secs(1));
    let [one, other] = [(); 2].map(|()| PrivateKey::make().unwrap());
    let mut world = World {
        home: End::new(&one, &other, HOME, "198.51.100.7:4000"),
        relay: End::new(&other, &one, RELAY, "192.0.2.1:51820"),
        now: Instant::now(),
        line: Vec::new(),
        came: BTreeSet::new(),
        number: 0,
    };
    let mut out = [0; MIN_BUFFER];
    let there = world.relay.at;
    let first = world.home.peer.set_endpoint(there, &mut out).unwrap();
    let first = first.to_vec();
    world.put(true, first);

    for pair in bytes.chunks_exact(2).take(100) {
        let index = usize::from(pair[1]);
        match pair[0] % 10 {
            0 => drop(world.send(true)),
            1 => drop(world.send(false)),
            2 => world.deliver(index, false),
            3 => world.deliver(index, true),
            4 => {
                if !world.line.is_empty() {
                    world.line.remove(index % world.line.len());
                }
            }
            5 => world.pass(Duration::from_millis(10 * u64::from(pair[1]))),
            // Nothing passes, up to twenty minutes.
            6 => {
                for _ in 0..index {
                    world.pass(OUTAGE);
                    world.line.clear();
                }
            }
            7 => world.relay.restart(),
            8 => world.home.at = SocketAddr::from(([198, 51, 100, pair[1]], 4000)),
            _ => world.deliver_all(),
        }
        if world.line.len() > 300 {
            world.line.drain(..100);
        }
    }

    // What was on the line is lost; from now on it is good.
    world.line.clear();
    let good = world.now;
    while world.now < good + BACK {
        world.pass(TICK);
        world.deliver_all();
    }
    assert!(world.home.peer.is_up(world.now), "the box hears the relay");
    for up in [true, false] {
        let number = world.send(up);
        world.deliver_all();
        assert!(world.came.contains(&(up, number)), "nothing passes");
    }
});
