//! The box's way to its relay: WireGuard, and the routes and rules that lead there.
//!
//! - [`config`], [`keys`], [`endpoint`]: what was chosen, the box's own key, where the relay is.
//! - [`peer`], [`packet`], [`probe`]: the protocol and the measuring; bytes in, bytes out, no socket.
//! - [`device`], [`socket`]: the TUN interface and the UDP socket.
//! - [`backend`]: what carries packets; [`userspace`] does it itself, [`kernel`] lets the kernel.
//! - [`netlink`], [`routing`]: addresses, routes and rules.
//! - [`holder`], [`generation`], [`ask`]: which of several cards with the same keys serves.
//! - [`run`]: the service, and what it answers who asks how it stands.
//!
//! Why it is as it is stands in the crate's README.

pub mod ask;
pub mod backend;
pub mod config;
pub mod device;
pub mod endpoint;
pub mod generation;
pub mod holder;
pub mod kernel;
pub mod keys;
pub mod netlink;
pub mod packet;
pub mod peer;
pub mod probe;
pub mod routing;
pub mod run;
pub mod socket;
pub mod userspace;
