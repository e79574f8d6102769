//! Answers from zones that are already signed, over UDP and TCP.
//!
//! hickory-proto reads and writes records here; of hickory-server nothing is used, because
//! - its in-memory zone looks through all names for each NXDOMAIN, takes a wildcard from above the closest
//!   name that exists (RFC 4592, section 3.3.1 forbids that) and sends a transfer as one message;
//! - its TCP listener has no limit on connections or on how slowly a client reads, its UDP listener starts a
//!   task and queues without bound for each packet, and an address cannot be taken away from it.
//!
//! A zone is laid out once ([`zone`]); a request is read in place ([`wire`]), answered by copying what lies
//! ready ([`lookup`], [`reply`]), and limited by who asks for what ([`rates`]). No answer waits for a lock
//! longer than it takes to copy a pointer. Only NSEC is served, not NSEC3, and no DNAME is followed. There
//! are no DNS cookies: who sends spoofed requests gets at most [`Limits::rate`] answers to a network.

mod core;
mod handle;
mod listen;
mod lookup;
mod rates;
mod reply;
mod tcp;
mod transfer;
mod udp;
mod wire;
mod zone;

pub use self::core::Core;
pub use handle::Transport;
pub use listen::{Listener, listen};
pub use zone::Unfit;

pub(crate) use handle::Shared;
pub(crate) use reply::{Code, Reply};
pub(crate) use wire::{Request, signature_at};
pub(crate) use zone::Compiled;

use crate::records::Signed;
use crate::tsig;
use crate::update::{Applier, Writer};
use hickory_proto::rr::Name;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// The zones that are served. Copies share the same zones.
#[derive(Debug, Clone)]
pub struct Zones {
    table: Arc<RwLock<Arc<Vec<Arc<Compiled>>>>>,
    changed: watch::Sender<()>,
}

impl Default for Zones {
    fn default() -> Self {
        Self {
            table: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Zones {
    /// No zones.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves this zone from now on, in place of an earlier one of the same name. Requests under way are
    /// answered from the earlier one.
    ///
    /// # Errors
    /// It cannot be served; the earlier one stays.
    pub fn publish(&self, signed: Arc<Signed>) -> Result<(), Unfit> {
        let new = Arc::new(Compiled::new(signed)?);
        self.change(|table| {
            table.retain(|zone| zone.signed.origin != new.signed.origin);
            table.push(Arc::clone(&new));
        });
        Ok(())
    }

    /// Serves the zone no longer; says whether it was.
    pub fn withdraw(&self, origin: &Name) -> bool {
        let mut was = false;
        self.change(|table| {
            let before = table.len();
            table.retain(|zone| zone.signed.origin != *origin);
            was = table.len() < before;
        });
        was
    }

    /// The zone of this name, as it is served now.
    pub fn current(&self, origin: &Name) -> Option<Arc<Signed>> {
        let table = self.table();
        let zone = table.iter().find(|zone| zone.signed.origin == *origin);
        zone.map(|zone| Arc::clone(&zone.signed))
    }

    /// Names and serial numbers of all zones.
    pub fn serials(&self) -> Vec<(Name, u32)> {
        let table = self.table();
        table
            .iter()
            .map(|zone| (zone.signed.origin.clone(), zone.signed.serial))
            .collect()
    }

    /// Tells of each change; several may come as one.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change(&self, with: impl FnOnce(&mut Vec<Arc<Compiled>>)) {
        let mut shared = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut table = Vec::clone(&shared);
        with(&mut table);
        *shared = Arc::new(table);
        drop(shared);
        self.changed.send_replace(());
    }

    pub(crate) fn table(&self) -> Arc<Vec<Arc<Compiled>>> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How much of the box a client may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Answers over UDP to one network (/24, /56) in a second: of one name, of NXDOMAIN of one zone, of
    /// errors. 0: no limit.
    pub rate: u32,
    /// How many may come at once after a pause.
    pub burst: u32,
    /// Every n-th answer too many is a short one that asks to come by TCP, so that a true client whose
    /// address is abused gets through. 0: none.
    pub slip: u32,
    /// Buckets that are remembered, 32 bytes each.
    pub buckets: usize,
    /// Addresses without a limit on rates, beside loopback: the relay's in the tunnel.
    pub exempt: Vec<IpAddr>,
    /// TCP connections at a time.
    pub connections: usize,
    /// TCP connections at a time from one network (/24, /56).
    pub connections_per_network: usize,
    /// A TCP connection without a request is closed after this (RFC 7766, section 6.2.3).
    pub idle: Duration,
    /// A message must have come completely within this from its first byte on.
    pub message: Duration,
    /// An answer must have been taken within this.
    pub write: Duration,
    /// Zone transfers at a time.
    pub transfers: usize,
    /// Updates that wait at a time.
    pub updates: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: 20,
            burst: 60,
            slip: 2,
            buckets: 16 * 1024,
            exempt: Vec::new(),
            connections: 200,
            connections_per_network: 20,
            idle: Duration::from_secs(10),
            message: Duration::from_secs(5),
            write: Duration::from_secs(10),
            transfers: 4,
            updates: 16,
        }
    }
}

/// Who may do more than ask.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Keys of secondaries: they may transfer every zone.
    pub secondaries: Vec<Arc<tsig::Key>>,
    /// Keys of programs on the box that may change records.
    pub writers: Vec<Writer>,
}

/// What a server is made of.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What it serves.
    pub zones: Zones,
    /// Who may do what.
    pub access: Access,
    /// How much.
    pub limits: Limits,
    /// Takes dynamic updates. `None`: they are refused.
    pub updates: Option<Applier>,
}
