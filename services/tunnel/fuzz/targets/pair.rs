//! The box and a relay in memory.

use roost_tunnel::config::Addresses;
use roost_tunnel::keys::PrivateKey;
use roost_tunnel::peer::{MIN_BUFFER, Opened, Peer};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

pub const HOME: Ipv4Addr = Ipv4Addr::new(10, 82, 0, 2);
pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 82, 0, 1);

/// One end: its peer, and what makes a new one.
pub struct End {
    pub peer: Peer,
    pub at: SocketAddr,
    key: PrivateKey,
    other: PrivateKey,
    own: Ipv4Addr,
    index: u32,
}

impl End {
    pub fn new(key: &PrivateKey, other: &PrivateKey, own: Ipv4Addr, at: &str) -> Self {
        End {
            peer: made(key, other, own, 1),
            at: at.parse().unwrap(),
            key: key.clone(),
            other: other.clone(),
            own,
            index: 1,
        }
    }

    /// Forgets all but the keys.
    pub fn restart(&mut self) {
        self.index += 1;
        self.peer = made(&self.key, &self.other, self.own, self.index);
    }

    /// Takes a datagram; what is to be sent, and the packet that came out.
    pub fn take(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> (Vec<(Vec<u8>, SocketAddr)>, Option<Vec<u8>>) {
        let mut out = vec![0; datagram.len().max(MIN_BUFFER)];
        let (mut send, mut packet) = (Vec::new(), None);
        match self.peer.open(now, from, datagram, &mut out) {
            Opened::Packet(bytes) => packet = Some(bytes.to_vec()),
            Opened::Answer(bytes, to) => send.push((bytes.to_vec(), to)),
            Opened::Nothing => {}
        }
        let mut waiting = 0;
        while self.peer.is_waiting() {
            waiting += 1;
            assert!(waiting < 1000, "the queue has an end");
            let mut out = [0; 2048];
            if let Some(bytes) = self.peer.waiting(&mut out) {
                send.push((bytes.to_vec(), self.peer.endpoint().unwrap()));
            }
        }
        (send, packet)
    }
}

fn made(key: &PrivateKey, other: &PrivateKey, v4: Ipv4Addr, index: u32) -> Peer {
    let addresses = Addresses { v4, v6: None };
    Peer::new(key, other.public(), addresses, 25, index)
}

/// A packet that is told from others by `number`.
pub fn packet(from: Ipv4Addr, to: Ipv4Addr, number: u32) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x45;
    packet[3] = 40;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet[36..].copy_from_slice(&number.to_be_bytes());
    packet
}
