//! What the rollovers know: the stages of a key, what was seen of the world, how long things take, and what they
//! report.

use std::fmt;

use hickory_proto::dnssec::rdata::DS;
use serde::{Deserialize, Serialize};

use crate::sign::keys::{Key, KeyError, KeySet, Role};
use crate::sign::policy;

/// Since when something is so, and whether the zone's servers are known to serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// When it was decided, in seconds since 1970.
    pub since: u64,
    /// The first zone that has it so; `None` until one is signed.
    pub serial: Option<u32>,
    /// When every server of the zone was first seen with that zone or a later one, in seconds since 1970.
    pub everywhere: Option<u64>,
}

impl Sighting {
    pub(in crate::sign) fn new(since: u64) -> Self {
        Self {
            since,
            serial: None,
            everywhere: None,
        }
    }
}

/// Stages of a zone-signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zsk {
    /// Shown, so that caches get to know it.
    Published(Sighting),
    /// Signs the zone since then (seconds since 1970).
    Active {
        /// Since when.
        since: u64,
    },
    /// Shown, because caches hold signatures of it.
    Retired(Sighting),
}

/// Stages of a key-signing key. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ksk {
    /// Shown and signing, so that caches get to know it.
    Published(Sighting),
    /// The parent is asked to name it.
    Announced {
        /// Since when.
        since: u64,
    },
    /// The parent names it.
    Trusted {
        /// Since when it is known to.
        since: u64,
    },
    /// The parent is asked to forget it.
    Leaving {
        /// Since when.
        since: u64,
        /// When the parent was first seen without it.
        gone: Option<u64>,
    },
}

/// How far the life of a key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A key-signing key.
    Ksk(Ksk),
    /// A zone-signing key.
    Zsk(Zsk),
}

impl Stage {
    /// Of which kind of key.
    pub fn role(&self) -> Role {
        match self {
            Self::Ksk(_) => Role::Ksk,
            Self::Zsk(_) => Role::Zsk,
        }
    }

    pub(in crate::sign) fn sighting_mut(&mut self) -> Option<&mut Sighting> {
        match self {
            Self::Ksk(Ksk::Published(sighting))
            | Self::Zsk(Zsk::Published(sighting) | Zsk::Retired(sighting)) => Some(sighting),
            _ => None,
        }
    }
}

/// What was seen of the world. Give the latest of each; leave out what could not be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// What the zone's servers answer.
    pub served: Option<Served>,
    /// What the parent answers.
    pub parent: Option<Parent>,
}

/// What all of the zone's servers answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The oldest serial number that any of them gave. If one did not answer, there is no such fact.
    pub serial: u32,
    /// When they were asked, in seconds since 1970.
    pub at: u64,
}

/// What the parent's servers answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The DS records of this zone; none, if the parent says that there are none.
    pub ds: Vec<DS>,
    /// Their TTL as the parent's own servers give it, in seconds.
    pub ttl: u32,
    /// When it was asked, in seconds since 1970.
    pub at: u64,
}

/// How the parent's answer and the zone's keys fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// The parent names a key that signs the key set: everyone who validates gets proven answers.
    Proven,
    /// The parent names none: answers are taken unproven. The registrar was not told yet.
    Open,
    /// The parent names only keys that are not there: whoever validates gets no answer. An alarm.
    Broken,
}

impl Chain {
    /// What those who validate make of the zone with these keys, served everywhere, and this parent.
    pub fn of(set: &KeySet, parent: &Parent) -> Self {
        let named = |key: &Key| {
            key.ds(set.origin())
                .is_some_and(|ds| parent.ds.contains(&ds))
        };
        match set.ksks().any(named) {
            true => Self::Proven,
            false if parent.ds.is_empty() => Self::Open,
            false => Self::Broken,
        }
    }
}

/// How long things take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For how long a ZSK signs.
    pub zsk_lifetime: u64,
    /// Added to every wait for caches: clocks that differ, caches that hold longer than they should.
    pub margin: u64,
    /// The least that the parent's DS is taken to be cached for. Registries use up to a day.
    pub ds_ttl: u64,
    /// How long the parent's servers may differ from the one that was asked.
    pub parent_delay: u64,
    /// How often to look for a fact that something waits for.
    pub poll: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            // A quarter: each replacement costs a few transfers of the zone, and nobody has to do anything.
            zsk_lifetime: 90 * 86_400,
            margin: 3600,
            ds_ttl: 86_400,
            parent_delay: 86_400,
            poll: 3600,
        }
    }
}

impl Timing {
    pub(super) fn keys_cached(&self) -> u64 {
        u64::from(policy::APEX_TTL).saturating_add(self.margin)
    }

    pub(super) fn signatures_cached(&self) -> u64 {
        u64::from(policy::MAX_TTL).saturating_add(self.margin)
    }

    pub(super) fn ds_cached(&self, parent: &Parent) -> u64 {
        self.ds_ttl
            .max(u64::from(parent.ttl))
            .saturating_add(self.parent_delay)
    }
}

/// A change to the keys. Each needs the zone to be signed again; each names the key's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A new key is shown.
    Published(Role, u16),
    /// A ZSK signs from now on.
    Activated(u16),
    /// A ZSK signs no more.
    Retired(u16),
    /// The registrar may be given a KSK's DS.
    Announced(u16),
    /// The parent names a KSK.
    Trusted(u16),
    /// The parent names a KSK no more, though it should.
    Forgotten(u16),
    /// The registrar may drop a KSK's DS.
    Leaving(u16),
    /// A key is gone.
    Removed(Role, u16),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(role, tag) => {
                write!(f, "new {role} {tag}: shown until every cache knows it")
            }
            Self::Activated(tag) => write!(f, "zone-signing key {tag} signs the zone"),
            Self::Retired(tag) => {
                write!(
                    f,
                    "zone-signing key {tag} signs no more; it stays until its signatures have left the caches"
                )
            }
            Self::Announced(tag) => write!(
                f,
                "key-signing key {tag} is ready: give its DS record to the registrar"
            ),
            Self::Trusted(tag) => {
                write!(f, "the registry has the DS record of key-signing key {tag}")
            }
            Self::Forgotten(tag) => write!(
                f,
                "the registry no longer has the DS record of key-signing key {tag}"
            ),
            Self::Leaving(tag) => {
                write!(
                    f,
                    "key-signing key {tag} is replaced: remove its DS record at the registrar"
                )
            }
            Self::Removed(role, tag) => write!(f, "{role} {tag} is gone"),
        }
    }
}

/// Why a KSK rollover can't begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollError {
    /// One is under way.
    #[error("key-signing key {0} is still being replaced or introduced")]
    UnderWay(u16),
    /// There is nothing to replace in the parent.
    #[error("the registry has no DS record of this zone yet, so there is no key to replace")]
    NotTrusted,
    /// The new key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}
