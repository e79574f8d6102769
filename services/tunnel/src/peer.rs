//! The relay as WireGuard sees it: bytes in, bytes out, no socket.
//!
//! boringtun's [`Tunn`] has the protocol. Around it stands what a box at home needs besides:
//!
//! | What happens | What is done |
//! |---|---|
//! | a packet that proves itself comes from another address | answers go there from now on (roaming) |
//! | nothing was heard for [`SILENCE`] | a handshake: it is answered by a relay that has forgotten all |
//! | keys are [`REKEY`] old, on an idle tunnel too | a handshake; packets use the old keys meanwhile |
//! | handshakes failed for 90 s and `Tunn` has given up | the next one begins at once |
//! | the clock was set forward while nobody answers | a new `Tunn`, see [`Clock`] |
//! | nobody is known to send to | nothing is made, packets are dropped |
//!
//! An address counts as proven by what only the relay can have made: data, a handshake, the answer to
//! a handshake. A cookie reply does not count, an answer to one neither.

use crate::config::Addresses;
use crate::keys::{PrivateKey, PublicKey};
use crate::packet;
use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};
use roost_service::tunnel::{Rejected, Traffic};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// Longest silence before a handshake asks whether the relay is there. WireGuard alone never asks on
/// an idle line, so a relay that restarted would not be found before the keys are two minutes old.
pub const SILENCE: Duration = Duration::from_secs(15);
/// Age of keys at which new ones are made (REKEY_AFTER_TIME of the WireGuard paper, section 6.1).
const REKEY: Duration = Duration::from_secs(120);
/// Longest silence of a tunnel that counts as up: [`SILENCE`] and three handshakes.
pub const DOWN: Duration = Duration::from_secs(30);
/// How often [`Peer::tick`] wants to be called.
pub const TICK: Duration = Duration::from_millis(250);
/// Bytes that a datagram is longer than its packet, and bytes of the longest other message.
pub const OVERHEAD: usize = 32;
/// Shortest buffer that any message fits into, in bytes.
pub const MIN_BUFFER: usize = 148;

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE: u8 = 3;
const DATA: u8 = 4;

/// What came out of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// A packet for the box.
    Packet(&'a mut [u8]),
    /// An answer, to whom it goes.
    Answer(&'a mut [u8], SocketAddr),
    /// Nothing for anybody.
    Nothing,
}

/// Notices that the clock was set forward.
///
/// The relay takes a handshake only with a later time than any before it (WireGuard paper, section
/// 5.1), and `Tunn` counts from the time at which it was made. A Pi has no clock of its own: after a
/// power cut it may believe that it is earlier than its last handshake, and would never be answered,
/// not even when SNTP has set it right.
#[derive(Debug)]
pub struct Clock {
    at: Instant,
    wall: SystemTime,
}

impl Clock {
    /// Steps below this are corrections of an oscillator.
    const STEP: Duration = Duration::from_secs(2);

    /// It is `wall` at `now`.
    pub fn new(now: Instant, wall: SystemTime) -> Self {
        Self { at: now, wall }
    }

    /// It is `wall` at `now`: whether that is later than can be.
    pub fn was_set(&mut self, now: Instant, wall: SystemTime) -> bool {
        let expected = self.wall + now.saturating_duration_since(self.at);
        let ahead = wall.duration_since(expected).unwrap_or_default();
        *self = Self::new(now, wall);
        ahead >= Self::STEP
    }
}

/// The relay.
pub struct Peer {
    tunn: Tunn,
    private: PrivateKey,
    public: PublicKey,
    keepalive_s: u16,
    index: u32,
    addresses: Addresses,
    endpoint: Option<SocketAddr>,
    heard: Option<Instant>,
    /// Packets wait in `tunn` for keys.
    waiting: bool,
    moved: bool,
    sent: Traffic,
    received: Traffic,
    rejected: Rejected,
}

impl Peer {
    /// A relay with `public`, for the box with `private`. `index` tells this run's messages from an
    /// earlier one's; only its lower 24 bits are used.
    pub fn new(
        private: &PrivateKey,
        public: PublicKey,
        addresses: Addresses,
        keepalive_s: u16,
        index: u32,
    ) -> Self {
        Self {
            tunn: tunn(private, public, keepalive_s, index),
            private: private.clone(),
            public,
            keepalive_s,
            index,
            addresses,
            endpoint: None,
            heard: None,
            waiting: false,
            moved: false,
            sent: counting(),
            received: counting(),
            rejected: Rejected::default(),
        }
    }

    /// Where packets go.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// Sends packets elsewhere from now on. `out` has at least [`MIN_BUFFER`] bytes; what is returned
    /// is to be sent.
    pub fn set_endpoint<'a>(
        &mut self,
        endpoint: SocketAddr,
        out: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.endpoint = Some(endpoint);
        // Data would be believed by nobody who does not know our keys; a handshake is.
        write(self.tunn.format_handshake_initiation(out, true))
    }

    /// Forgets all keys and the time, and begins anew. What is returned is to be sent; `out` has at
    /// least [`MIN_BUFFER`] bytes.
    pub fn begin_again<'a>(&mut self, out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.index = self.index.wrapping_add(1);
        self.tunn = tunn(&self.private, self.public, self.keepalive_s, self.index);
        self.waiting = false;
        self.endpoint?;
        write(self.tunn.format_handshake_initiation(out, true))
    }

    /// Packs a packet into a datagram for [`Peer::endpoint`]. `out` has at least [`OVERHEAD`] bytes
    /// more than `packet`, and [`MIN_BUFFER`]. `None`: it waits for keys, or was dropped.
    pub fn seal<'a>(&mut self, packet: &[u8], out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let ours = packet::addresses(packet).is_some_and(|(from, _)| self.addresses.contain(from));
        if !ours {
            // The relay would drop it, and what is for this box alone shall not leave it.
            self.rejected.misaddressed += 1;
            return None;
        }
        self.endpoint?;
        count(&mut self.sent, packet);
        let sealed = write(self.tunn.encapsulate(packet, out));
        if sealed.as_ref().is_none_or(|made| made[0] != DATA) {
            self.waiting = true;
        }
        sealed
    }

    /// Opens a datagram from `from`. `out` is as long as it, and at least [`MIN_BUFFER`] bytes. After
    /// [`Peer::is_waiting`], [`Peer::waiting`] gives what can be sent now.
    pub fn open<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &'a mut [u8],
    ) -> Opened<'a> {
        // To `Tunn`, an empty one is a question of its own.
        let Some(kind) = datagram.first().copied() else {
            self.rejected.malformed += 1;
            return Opened::Nothing;
        };
        match self.tunn.decapsulate(Some(from.ip()), datagram, out) {
            TunnResult::Done => {
                if kind == DATA {
                    self.proven(now, from);
                }
                Opened::Nothing
            }
            TunnResult::WriteToNetwork(answer) => {
                let proves = matches!(kind, INITIATION | RESPONSE) && answer[0] != COOKIE;
                if proves {
                    self.proven(now, from);
                } else {
                    self.rejected.under_load += 1;
                }
                Opened::Answer(answer, from)
            }
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                self.proven(now, from);
                let addressed = packet::addresses(packet);
                // The relay passes on what the internet sends, and that is for the tunnel's address
                // alone: never for the home's network, nor from the box to itself.
                let fits = addressed.is_some_and(|(from, to)| {
                    self.addresses.contain(to) && !self.addresses.contain(from)
                });
                if !fits {
                    self.rejected.misaddressed += 1;
                    return Opened::Nothing;
                }
                count(&mut self.received, packet);
                Opened::Packet(packet)
            }
            TunnResult::Err(error) => {
                self.reject(&error);
                Opened::Nothing
            }
        }
    }

    fn reject(&mut self, error: &WireGuardError) {
        use WireGuardError as E;
        let rejected = &mut self.rejected;
        *match error {
            E::DuplicateCounter | E::InvalidCounter | E::WrongTai64nTimestamp => {
                &mut rejected.replayed
            }
            E::WrongIndex | E::NoCurrentSession | E::UnexpectedPacket | E::ConnectionExpired => {
                &mut rejected.stale
            }
            E::WrongKey | E::InvalidMac | E::InvalidAeadTag | E::InvalidTai64nTimestamp => {
                &mut rejected.forged
            }
            E::UnderLoad => &mut rejected.under_load,
            E::InvalidPacket
            | E::WrongPacketType
            | E::IncorrectPacketLength
            | E::DestinationBufferTooSmall
            | E::LockFailed => &mut rejected.malformed,
        } += 1;
    }

    fn proven(&mut self, now: Instant, from: SocketAddr) {
        if !self.is_up(now) || self.endpoint != Some(from) {
            self.moved = true;
        }
        self.heard = Some(now);
        self.endpoint = Some(from);
    }

    /// Whether packets wait for keys that may be there by now.
    pub fn is_waiting(&self) -> bool {
        self.waiting && self.tunn.time_since_last_handshake().is_some()
    }

    /// The next packet that waited, sealed; `None` when there is none. `out` as for [`Peer::seal`].
    pub fn waiting<'a>(&mut self, out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let sealed = write(self.tunn.decapsulate(None, &[], out));
        self.waiting = sealed.is_some();
        sealed
    }

    /// To be called every [`TICK`]. What is returned is to be sent; `out` has at least
    /// [`MIN_BUFFER`] bytes.
    pub fn tick<'a>(&mut self, now: Instant, out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.endpoint?;
        let mut made = [0; MIN_BUFFER];
        match self.tunn.update_timers(&mut made) {
            TunnResult::WriteToNetwork(message) => {
                let length = message.len();
                let out = &mut out[..length];
                out.copy_from_slice(&made[..length]);
                return Some(out);
            }
            TunnResult::Err(_) => self.waiting = false,
            _ => {}
        }
        let old = self
            .tunn
            .time_since_last_handshake()
            .is_none_or(|age| age >= REKEY);
        let silent = self
            .heard
            .is_none_or(|heard| now.saturating_duration_since(heard) >= SILENCE);
        if old || silent {
            // Makes none while one is under way.
            return write(self.tunn.format_handshake_initiation(out, false));
        }
        None
    }

    /// Whether the relay answers.
    pub fn is_up(&self, now: Instant) -> bool {
        let heard = self.heard.map(|at| now.saturating_duration_since(at));
        heard.is_some_and(|silence| silence < DOWN)
            && self.tunn.time_since_last_handshake().is_some()
    }

    /// When the relay was heard last.
    pub fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// Whether the relay has come up, or from another address, since this was asked last.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Time since the last handshake whose keys still hold.
    pub fn handshake_age(&self) -> Option<Duration> {
        self.tunn.time_since_last_handshake()
    }

    /// How long the last handshake took, with the box as its beginner.
    pub fn handshake_rtt(&self) -> Option<Duration> {
        let (.., rtt) = self.tunn.stats();
        rtt.map(|ms| Duration::from_millis(u64::from(ms)))
    }

    /// Share of the relay's packets that were lost on the way, 0 to 1.
    pub fn receive_loss(&self) -> Option<f64> {
        let (_, _, _, loss, _) = self.tunn.stats();
        self.heard.map(|_| f64::from(loss.clamp(0.0, 1.0)))
    }

    /// To the relay, from the relay.
    pub fn traffic(&self) -> (Traffic, Traffic) {
        (self.sent, self.received)
    }

    /// What was thrown away.
    pub fn rejected(&self) -> Rejected {
        self.rejected
    }
}

fn tunn(private: &PrivateKey, public: PublicKey, keepalive_s: u16, index: u32) -> Tunn {
    let index = index & 0x00ff_ffff;
    let keepalive = Some(keepalive_s);
    Tunn::new(
        private.secret(),
        public.point(),
        None,
        keepalive,
        index,
        None,
    )
}

fn write(result: TunnResult<'_>) -> Option<&mut [u8]> {
    match result {
        TunnResult::WriteToNetwork(message) => Some(message),
        _ => None,
    }
}

fn counting() -> Traffic {
    Traffic {
        bytes: 0,
        packets: Some(0),
    }
}

fn count(traffic: &mut Traffic, packet: &[u8]) {
    traffic.bytes += packet.len() as u64;
    if let Some(packets) = &mut traffic.packets {
        *packets += 1;
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
