//! The box's own resolver: where it answers, and what it tells of itself.
//!
//! DNS by UDP and TCP at [`ADDRESS`], port 53, which `/etc/resolv.conf` names for all programs of the box;
//! a `door` (feature of this crate) at [`socket`], for the portal alone, with [`Call`] and [`Answer`].

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// The spec's name of the resolver.
pub const SERVICE: &str = "resolver";
/// Where it answers, on loopback: the name server has the port on 127.0.0.1.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
/// Longest [`Call`] and longest [`Answer`] as JSON, in bytes, the line feed included.
pub const MAX_LINE: usize = 16 << 10;

/// The socket.
pub fn socket() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("resolver.sock")
}

/// What the portal asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// How the resolver stands: [`Answer::Status`].
    Status,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Status),
    /// Nothing was done.
    Refused {
        /// Why, in plain words.
        why: String,
    },
}

/// How the resolver stands. Fields may be added; a reader skips those that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// In one sentence for people.
    pub summary: String,
    /// Where answers come from.
    pub way: Way,
    /// The network's own resolvers, as init has been told.
    pub network: Vec<IpAddr>,
    /// Questions since the start.
    pub asked: u64,
    /// Answers that failed validation since the start: forged, or signed wrongly by their owner.
    pub bogus: u64,
}

/// Where answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It is not known yet.
    Unknown,
    /// From the domains' own name servers, from the root on; signatures are checked.
    Recursive,
    /// From the network's resolvers; signatures are checked.
    Forwarded,
    /// From the network's resolvers, which leave out signatures: nothing is checked, and nothing counts as
    /// secure.
    Unchecked,
    /// From nowhere: nobody answers.
    Offline,
}
