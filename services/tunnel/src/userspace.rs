//! The back end that encrypts by itself: TUN, UDP socket and [`Peer`] in one loop.
//!
//! Everything is one task of one thread, so nothing is locked and packets keep their order. The loop
//! waits only for readiness and does the rest at once, which is why it may be dropped at any time.
//! While the UDP socket takes no more, nothing is read from the TUN: the kernel's queue in front of it
//! then slows TCP down, as on any line that is full.

use crate::backend::{Backend, Health};
use crate::config::Config;
use crate::device::{Batch, Device};
use crate::keys::PrivateKey;
use crate::peer::{self, Clock, MIN_BUFFER, Opened, Peer};
use crate::probe::Prober;
use crate::socket::{Outbox, Udp};
use roost_service::tunnel::Backend as Name;
use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Reads from one side before the other gets its turn.
const TURN: usize = 16;
/// Bytes of a buffer for one sealed packet.
const SEALED: usize = 2048 + peer::OVERHEAD;

/// The back end.
pub struct Userspace {
    device: Device,
    socket: Udp,
    peer: Peer,
    prober: Option<Prober>,
    outbox: Outbox,
    batch: Batch,
    ticks: Interval,
    clock: Clock,
    sealed: Box<[u8; SEALED]>,
}

impl Userspace {
    /// Makes the interface and opens the socket.
    ///
    /// # Errors
    /// With what was tried.
    pub fn new(config: &Config, key: &PrivateKey) -> io::Result<Self> {
        let told = |what: String| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        let device = Device::new(&config.interface)
            .map_err(told(format!("make the interface {}", config.interface)))?;
        let socket = Udp::bind(config.listen_port)
            .map_err(told(format!("open UDP port {}", config.listen_port)))?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::from)?;
        let [a, b, c, d, e, f, ..] = random;
        let peer = Peer::new(
            key,
            config.peer,
            config.addresses,
            config.keepalive_s,
            u32::from_be_bytes([0, a, b, c]),
        );
        let id = u16::from_be_bytes([d ^ f, e]);
        let prober = config
            .peer_address
            .map(|relay| Prober::new(config.addresses.v4, relay, id, config.mtu, Instant::now()));
        let mut ticks = interval(peer::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            device,
            socket,
            peer,
            prober,
            outbox: Outbox::default(),
            batch: Batch::default(),
            ticks,
            clock: Clock::new(Instant::now(), SystemTime::now()),
            sealed: Box::new([0; SEALED]),
        })
    }

    /// From the box to the relay.
    fn up(&mut self) -> io::Result<()> {
        let segments = self.socket.segments();
        for _ in 0..TURN {
            let (peer, outbox, sealed) = (&mut self.peer, &mut self.outbox, &mut self.sealed);
            let more = self.device.read(|packet| {
                if let Some(datagram) = peer.seal(packet, &mut sealed[..])
                    && let Some(to) = peer.endpoint()
                {
                    outbox.push(to, datagram, segments);
                }
            })?;
            self.socket.flush(&mut self.outbox);
            if !more || !self.outbox.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// From the relay to the box.
    fn down(&mut self) {
        let segments = self.socket.segments();
        let now = Instant::now();
        for _ in 0..TURN {
            let (peer, outbox, batch) = (&mut self.peer, &mut self.outbox, &mut self.batch);
            let (device, prober) = (&self.device, &mut self.prober);
            let more = self.socket.read(|from, datagram| {
                if batch.is_full() {
                    device.write(batch);
                }
                batch.push(datagram.len().max(MIN_BUFFER), |out| {
                    match peer.open(now, from, datagram, out) {
                        Opened::Packet(packet) => {
                            let probe = prober.as_mut().is_some_and(|p| p.received(now, packet));
                            (!probe).then_some(packet.len())
                        }
                        Opened::Answer(answer, to) => {
                            outbox.push(to, answer, segments);
                            None
                        }
                        Opened::Nothing => None,
                    }
                });
            });
            self.device.write(&mut self.batch);
            if !more {
                break;
            }
        }
        self.send_waiting();
        self.socket.flush(&mut self.outbox);
    }

    fn send_waiting(&mut self) {
        while self.peer.is_waiting() {
            if let Some(datagram) = self.peer.waiting(&mut self.sealed[..]) {
                let datagram = datagram.to_vec();
                self.push(&datagram);
            }
        }
    }

    fn push(&mut self, datagram: &[u8]) {
        if let Some(to) = self.peer.endpoint() {
            self.outbox.push(to, datagram, self.socket.segments());
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let set = self.clock.was_set(now, SystemTime::now());
        let message = match set && !self.peer.is_up(now) {
            true => self.peer.begin_again(&mut self.sealed[..]),
            false => self.peer.tick(now, &mut self.sealed[..]),
        };
        if let Some(message) = message {
            let message = message.to_vec();
            self.push(&message);
        }
        let (moved, up) = (self.peer.take_moved(), self.peer.is_up(now));
        let packets = self.prober.as_mut().map(|prober| {
            if moved {
                prober.moved(now);
            }
            prober.tick(now, up)
        });
        for packet in packets.into_iter().flatten() {
            if let Some(datagram) = self.peer.seal(&packet, &mut self.sealed[..]) {
                let datagram = datagram.to_vec();
                self.push(&datagram);
            }
        }
        self.send_waiting();
        self.socket.flush(&mut self.outbox);
    }
}

impl Backend for Userspace {
    const NAME: Name = Name::Userspace;

    async fn drive(&mut self) -> io::Error {
        loop {
            let full = !self.outbox.is_empty();
            tokio::select! {
                ready = self.device.readable(), if !full => {
                    if let Err(error) = ready.and_then(|()| self.up()) {
                        return error;
                    }
                }
                ready = self.socket.readable() => match ready {
                    Ok(()) => self.down(),
                    Err(error) => return error,
                },
                ready = self.socket.writable(), if full => match ready {
                    Ok(()) => self.socket.flush(&mut self.outbox),
                    Err(error) => return error,
                },
                _ = self.ticks.tick() => self.tick(),
            }
        }
    }

    fn set_endpoint(&mut self, endpoint: SocketAddr) -> io::Result<()> {
        if let Some(message) = self.peer.set_endpoint(endpoint, &mut self.sealed[..]) {
            let message = message.to_vec();
            self.push(&message);
            self.socket.flush(&mut self.outbox);
        }
        Ok(())
    }

    fn health(&mut self) -> io::Result<Health> {
        let now = Instant::now();
        let peer = &self.peer;
        let (sent, received) = peer.traffic();
        let prober = self.prober.as_ref();
        Ok(Health {
            up: peer.is_up(now),
            endpoint: peer.endpoint(),
            handshake_age: peer.handshake_age(),
            heard: peer.heard().map(|at| now.saturating_duration_since(at)),
            sent,
            received,
            rtt: prober
                .and_then(Prober::rtt)
                .or_else(|| peer.handshake_rtt()),
            probe_loss: prober.and_then(Prober::loss),
            receive_loss: peer.receive_loss(),
            rejected: peer.rejected(),
            send_fault: self.outbox.fault.clone(),
            mtu: prober.map(Prober::mtu),
        })
    }
}
