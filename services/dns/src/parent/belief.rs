//! From when on keys may be replaced on the strength of what the parent says.
//!
//! A key that caches still need must not go because somebody pretends to be the parent. So nothing counts
//! before all name servers of the parent that were asked have said the same twice, an hour apart, and nobody
//! else in between.

use super::Heard;
use crate::sign::keys::KeySet;
use crate::sign::rollover::Parent;
use hickory_proto::dnssec::rdata::DS;
use hickory_proto::dnssec::{Algorithm, DigestType};

/// How long the same must have been heard, in seconds.
const LASTING: u64 = 3600;
/// Name servers that must have answered, if the parent has so many.
const VOICES: usize = 2;

/// What one asking comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Too few were heard: nothing is known.
    None,
    /// They contradict each other: a change is under way, or somebody lies.
    Doubtful,
    /// The box's own resolver has found no proof of it.
    Unproven,
    /// All say this: DS records and their TTL in seconds.
    Given(Vec<DS>, u32),
}

impl Word {
    /// What this asking comes to.
    pub fn of(heard: &Heard) -> Self {
        let mut all = heard.first_hand();
        let Some(first) = all.next() else {
            return Self::None;
        };
        let mut ttl = first.ttl;
        let mut voices = 1;
        for other in all {
            if other.ds != first.ds {
                return Self::Doubtful;
            }
            ttl = ttl.max(other.ttl);
            voices += 1;
        }
        if voices < VOICES.min(heard.servers) {
            return Self::None;
        }
        // Who is on the line to the internet can forge all of the above, but no signature: the box's own resolver
        // must have checked one. That there is no DS record is believed without; no key goes for that.
        let second = heard.second.as_ref();
        let proven = second.filter(|second| second.proven);
        match proven {
            Some(second) if second.said.ds != first.ds => Self::Doubtful,
            None if heard.own_resolver && !first.ds.is_empty() => Self::Unproven,
            _ => Self::Given(first.ds.clone(), ttl),
        }
    }
}

/// What was heard and is still so.
#[derive(Debug, Clone, Default)]
pub struct Belief(Option<Lasting>);

#[derive(Debug, Clone)]
struct Lasting {
    ds: Vec<DS>,
    ttl: u32,
    /// When it was first and last heard, in seconds since 1970.
    first: u64,
    last: u64,
}

impl Belief {
    /// This was heard at `now` (seconds since 1970).
    pub fn hear(&mut self, word: Word, now: u64) {
        match word {
            Word::None | Word::Unproven => {}
            Word::Doubtful => self.0 = None,
            Word::Given(ds, ttl) => match &mut self.0 {
                // A clock that was set back proves no hour.
                Some(before) if before.ds == ds && before.last <= now => {
                    before.last = now;
                    before.ttl = before.ttl.max(ttl);
                }
                _ => {
                    self.0 = Some(Lasting {
                        ds,
                        ttl,
                        first: now,
                        last: now,
                    });
                }
            },
        }
    }

    /// What the rollovers of these keys may take for true.
    pub fn fact(&self, keys: &KeySet) -> Option<Parent> {
        let lasting = self.0.as_ref()?;
        (lasting.last - lasting.first >= LASTING).then(|| Parent {
            ds: in_our_form(&lasting.ds, keys),
            ttl: lasting.ttl,
            at: lasting.last,
        })
    }
}

/// DS records with those of our keys in the form that we give: a registrar may have made its own from the key,
/// with another digest.
pub(super) fn in_our_form(all: &[DS], keys: &KeySet) -> Vec<DS> {
    let ours = |ds: &DS| {
        let mut named = keys.ksks().filter(|key| names(ds, key, keys));
        named.next().and_then(|key| key.ds(keys.origin()))
    };
    let mut all: Vec<DS> = all
        .iter()
        .map(|ds| ours(ds).unwrap_or_else(|| ds.clone()))
        .collect();
    all.dedup();
    all
}

/// Whether a DS record names this key, for whoever validates (RFC 8624: SHA-1 does no longer).
fn names(ds: &DS, key: &crate::sign::keys::Key, keys: &KeySet) -> bool {
    ds.key_tag() == key.tag()
        && ds.algorithm() == Algorithm::ECDSAP256SHA256
        && matches!(ds.digest_type(), DigestType::SHA256 | DigestType::SHA384)
        && ds.covers(keys.origin(), key.dnskey()).unwrap_or(false)
}
