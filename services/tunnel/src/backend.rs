//! What carries the packets, seen from [`crate::run`]: two back ends, one interface.

use roost_service::tunnel::{Backend as Name, Rejected, Traffic};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Encrypts, decrypts and keeps the relay's address up to date.
///
/// There are two: [`crate::userspace::Userspace`] and [`crate::kernel::Kernel`]. Both have an
/// interface, whose addresses, routes and rules are not theirs to set ([`crate::routing`]).
pub trait Backend {
    /// Which it is.
    const NAME: Name;

    /// Carries packets. It ends only with the reason why it cannot go on. May be dropped at any
    /// time, and be called again, without losing a packet.
    fn drive(&mut self) -> impl Future<Output = io::Error>;

    /// Sends packets there from now on, and asks at once whether the relay is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn set_endpoint(&mut self, endpoint: SocketAddr) -> io::Result<()>;

    /// How it stands.
    ///
    /// # Errors
    /// When the kernel does not say.
    fn health(&mut self) -> io::Result<Health>;
}

/// How a back end stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    /// The relay answers.
    pub up: bool,
    /// Where packets go.
    pub endpoint: Option<SocketAddr>,
    /// Since the last handshake.
    pub handshake_age: Option<Duration>,
    /// Since the relay was heard.
    pub heard: Option<Duration>,
    /// To the relay.
    pub sent: Traffic,
    /// From the relay.
    pub received: Traffic,
    /// To the relay and back.
    pub rtt: Option<Duration>,
    /// Share of lost probes.
    pub probe_loss: Option<f64>,
    /// Share of lost packets from the relay.
    pub receive_loss: Option<f64>,
    /// What was thrown away.
    pub rejected: Rejected,
    /// Why the last datagram could not be sent.
    pub send_fault: Option<String>,
    /// The MTU that was found; `None`: it is not measured.
    pub mtu: Option<u16>,
}
