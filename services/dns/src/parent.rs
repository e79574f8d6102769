//! What the parent zone says of a zone: which name servers, which addresses, which DS records.
//!
//! [`ask`] asks the network and takes it down ([`Heard`]); [`judge`] says what that means to the owner;
//! [`Belief`] says from when on keys may be replaced on the strength of it.
//!
//! The box's resolver only says who the parent is and where its name servers are. Those are then asked
//! themselves, over TCP: what a resolver has in its cache may be a day old, and says nothing of when others
//! forget it.

mod advice;
mod belief;
mod hear;
mod read;
mod watch;

pub use advice::{Advice, Judged, Ours, judge};
pub(crate) use advice::{plain, why};
pub use belief::{Belief, Word};
pub use hear::ask;
pub use read::{ds_records, referral};
pub use watch::{Waiting, watch};

use hickory_proto::dnssec::rdata::DS;
use hickory_proto::rr::Name;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where and how the world is asked.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Which resolvers the box has, as resolv.conf(5).
    pub resolv_conf: PathBuf,
    /// The port at which others answer: that of the DNS, or one for tests.
    pub port: u16,
    /// How long after a zone was first served its parent is asked.
    pub first: Duration,
}

/// What one name server of the parent says of a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Name servers of the zone, in lower case; none: it is not delegated.
    pub name_servers: BTreeSet<Name>,
    /// Their addresses, as far as the parent needs to have them.
    pub glue: BTreeSet<(Name, IpAddr)>,
    /// DS records of the zone.
    pub ds: Vec<DS>,
    /// How long the DS records may be kept, in seconds; 0 if there are none.
    pub ttl: u32,
}

/// What came of asking one of the parent's name servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name.
    pub name: Name,
    /// The address that was asked.
    pub address: IpAddr,
    /// What it says, or why it says nothing.
    pub said: Result<Said, String>,
}

/// What the box's resolver says of the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Second {
    /// It says that it has checked the DS records (AD, RFC 4035, section 3.2.3).
    pub proven: bool,
    /// What it says; it knows no glue.
    pub said: Said,
}

/// All that was heard when the parent was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The parent zone, if it was found.
    pub parent: Option<Name>,
    /// How many name servers it has.
    pub servers: usize,
    /// Those that were asked.
    pub asked: Vec<Asked>,
    /// Whether the resolver is the box's own, which checks signatures and is reached without a network.
    pub own_resolver: bool,
    /// What the resolver says, if it says anything.
    pub second: Option<Second>,
    /// Why there is nothing, if so.
    pub fault: Option<String>,
}

impl Heard {
    /// What the parent's name servers say themselves.
    pub fn first_hand(&self) -> impl Iterator<Item = &Said> {
        self.asked
            .iter()
            .filter_map(|asked| asked.said.as_ref().ok())
    }
}

/// The name servers that a resolv.conf names (`nameserver` of resolv.conf(5)); lines that make no sense name
/// none.
fn resolvers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        words.next()?.parse().ok()
    };
    text.lines().filter_map(address).collect()
}

impl Asking {
    fn resolvers(&self) -> Vec<IpAddr> {
        // No file: init has no network yet.
        std::fs::read_to_string(&self.resolv_conf)
            .map(|text| resolvers(&text))
            .unwrap_or_default()
    }
}

impl Default for Asking {
    /// As on a box.
    fn default() -> Self {
        Self {
            resolv_conf: Path::new("/etc/resolv.conf").to_owned(),
            port: 53,
            first: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests;
