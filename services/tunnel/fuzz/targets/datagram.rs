//! Whatever a stranger sends to the box's UDP port, and whatever a program of the box sends into the
//! tunnel: never a panic. Nothing of a stranger comes out, is answered with more bytes than it had, or
//! moves the relay. The first two bytes say what kind of message it claims to be.
#![no_main]

mod pair;

use libfuzzer_sys::fuzz_target;
use pair::{End, HOME, RELAY, packet};
use roost_tunnel::keys::PrivateKey;
use roost_tunnel::packet::{addresses, reply};
use roost_tunnel::peer::MIN_BUFFER;
use roost_tunnel::probe::Prober;
use std::cell::RefCell;
use std::time::Instant;

thread_local! {
    static PAIR: RefCell<(End, End)> = RefCell::new(connected());
}

fn connected() -> (End, End) {
    let [one, other] = [(); 2].map(|()| PrivateKey::make().unwrap());
    let mut home = End::new(&one, &other, HOME, "198.51.100.7:4000");
    let mut relay = End::new(&other, &one, RELAY, "192.0.2.1:51820");
    let mut out = [0; MIN_BUFFER];
    let first = home.peer.set_endpoint(relay.at, &mut out).unwrap().to_vec();
    let now = Instant::now();
    let (answer, _) = relay.take(now, home.at, &first);
    let (confirm, _) = home.take(now, relay.at, &answer[0].0);
    relay.take(now, home.at, &confirm[0].0);
    (home, relay)
}

fuzz_target!(|bytes: &[u8]| {
    let now = Instant::now();
    let _ = (addresses(bytes), reply(bytes));
    let mut prober = Prober::new(HOME, RELAY, 1, None, now);
    prober.tick(now, true);
    prober.received(now, bytes);

    PAIR.with_borrow_mut(|(home, relay)| {
        let stranger = "203.0.113.66:9".parse().unwrap();
        let mut datagrams = vec![bytes.to_vec()];
        if let Some((kind, rest)) = bytes.split_first() {
            // With the length that this kind has.
            let kind = kind % 6;
            let length = [rest.len(), 148, 92, 64, rest.len() + 4, 0][usize::from(kind)];
            let mut datagram = vec![kind, 0, 0, 0];
            datagram.extend_from_slice(rest);
            datagram.resize(length, 0);
            datagrams.push(datagram);
        }
        for datagram in datagrams {
            let (send, came) = home.take(now, stranger, &datagram);
            assert_eq!(came, None);
            assert!(
                send.iter()
                    .all(|(answer, _)| answer.len() <= datagram.len())
            );
            assert_eq!(home.peer.endpoint(), Some(relay.at));
        }
        let mut out = vec![0; bytes.len().max(MIN_BUFFER) + 32];
        let _ = home.peer.seal(bytes, &mut out);

        let sent = packet(HOME, RELAY, 7);
        let sealed = home.peer.seal(&sent, &mut out).expect("keys").to_vec();
        assert_eq!(
            relay.take(now, home.at, &sealed).1,
            Some(sent),
            "it goes on"
        );
    });
});
