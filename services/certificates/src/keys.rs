//! A certificate's keys, and when they change.
//!
//! TLSA records `3 1 1` (RFC 7671, section 8) pin keys, not certificates. So the same key is used again
//! at each renewal, and the one after it exists long before it is used: its hash is published beside
//! the current one's. It is taken only when every cache has had the time to learn of it.

use crate::renew::DAY;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use roost_service::certificates::{Role, TlsKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// A key is used this long: what was stolen and not noticed is worthless some day.
const USED_FOR: u64 = 365 * DAY;
/// A key is told as the one before for this long: services take new certificates within seconds, one
/// that was stopped may start with the old one from memory of its own.
const PREVIOUS_FOR: u64 = 2 * DAY;

/// A private key, ECDSA P-256: mail servers and browsers all know it, and it signs fast on a Pi.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// PKCS #8 as PEM.
    pem: Zeroizing<String>,
    /// SHA-256 of the SubjectPublicKeyInfo, in hex.
    pub sha256: String,
    /// When the first certificate for it came.
    pub used_since: Option<u64>,
    /// What dns has said of its TLSA records.
    pub published: Option<Published>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.sha256)
    }
}

/// Since when a hash can be looked up everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// When the last name server had it.
    pub since: u64,
    /// TTL of the records, in seconds.
    pub ttl_s: u32,
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn make() -> Result<Self, rcgen::Error> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self {
            pem: Zeroizing::new(pair.serialize_pem()),
            sha256: hash(&pair.subject_public_key_info()),
            used_since: None,
            published: None,
        })
    }

    /// For signing.
    ///
    /// # Errors
    /// When what was stored is no key.
    pub fn pair(&self) -> Result<KeyPair, rcgen::Error> {
        KeyPair::from_pem(&self.pem)
    }

    /// For the services that use it.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// SHA-256 of a SubjectPublicKeyInfo, in hex.
pub fn hash(spki: &[u8]) -> String {
    hex::encode(Sha256::digest(spki))
}

/// The key in use, the next, and the hash of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// In use.
    pub current: Key,
    /// The one after it.
    pub next: Key,
    previous: Option<(String, u64)>,
    /// Whether another is wished for.
    wish: Option<Wish>,
}

/// Why another key is wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wish {
    /// Somebody wants it.
    Asked,
    /// Somebody else may have the current one.
    Compromised,
}

/// Why the next key is not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYet {
    /// Nobody wants it.
    NoWish,
    /// Its hash is not published.
    Unpublished,
    /// Its hash is published for too short a time.
    Until(u64),
}

impl Keys {
    /// Two new ones.
    ///
    /// # Errors
    /// As [`Key::make`].
    pub fn make() -> Result<Self, rcgen::Error> {
        Ok(Self {
            current: Key::make()?,
            next: Key::make()?,
            previous: None,
            wish: None,
        })
    }

    /// Whether the next certificate is to be for the next key.
    ///
    /// # Errors
    /// Says why not.
    pub fn may_switch(&self, now: u64) -> Result<(), NotYet> {
        let old = (self.current.used_since).is_some_and(|since| since + USED_FOR <= now);
        match (self.wish, self.next.published) {
            (None, _) if !old => Err(NotYet::NoWish),
            // Mail that some cannot send for an hour is better than a key in wrong hands.
            (Some(Wish::Compromised), _) => Ok(()),
            (_, None) => Err(NotYet::Unpublished),
            (_, Some(Published { since, ttl_s })) => {
                // One TTL until caches have forgotten the records without it, one for slow ones.
                let until = since + 2 * u64::from(ttl_s);
                match until <= now {
                    true => Ok(()),
                    false => Err(NotYet::Until(until)),
                }
            }
        }
    }

    /// Somebody wants the next key.
    pub fn ask(&mut self, compromised: bool) {
        self.wish = match (self.wish, compromised) {
            (_, true) | (Some(Wish::Compromised), _) => Some(Wish::Compromised),
            _ => Some(Wish::Asked),
        };
    }

    /// A hash can be looked up everywhere. Says whether it is one of these keys'.
    pub fn published(&mut self, sha256: &str, published: Published) -> bool {
        for key in [&mut self.current, &mut self.next] {
            if key.sha256 == sha256 {
                key.published = Some(published);
                return true;
            }
        }
        false
    }

    /// The key with this hash.
    pub fn find(&self, sha256: &str) -> Option<&Key> {
        [&self.current, &self.next]
            .into_iter()
            .find(|key| key.sha256 == sha256)
    }

    /// A certificate came for the key with this hash, which is [`Keys::find`]'s.
    ///
    /// # Errors
    /// As [`Key::make`]; nothing was changed then.
    pub fn used(&mut self, sha256: &str, now: u64) -> Result<(), rcgen::Error> {
        if self.next.sha256 == sha256 {
            let next = std::mem::replace(&mut self.next, Key::make()?);
            let old = std::mem::replace(&mut self.current, next);
            let compromised = self.wish == Some(Wish::Compromised);
            self.previous = (!compromised).then_some((old.sha256, now + PREVIOUS_FOR));
            self.wish = None;
        }
        self.current.used_since.get_or_insert(now);
        Ok(())
    }

    /// What TLSA records are to have.
    pub fn tls_keys(&self, now: u64) -> Vec<TlsKey> {
        let key = |role, key: &Key| TlsKey {
            role,
            sha256: key.sha256.clone(),
            published_since: key.published.map(|p| p.since),
        };
        let mut keys = vec![
            key(Role::Current, &self.current),
            key(Role::Next, &self.next),
        ];
        if let Some((sha256, until)) = &self.previous
            && *until > now
        {
            keys.push(TlsKey {
                role: Role::Previous,
                sha256: sha256.clone(),
                published_since: None,
            });
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000;

    fn published(since: u64) -> Published {
        Published { since, ttl_s: 3600 }
    }

    #[test]
    fn the_next_key_waits_for_caches() {
        let mut keys = Keys::make().unwrap();
        keys.used(&keys.current.sha256.clone(), START).unwrap();
        assert_eq!(keys.may_switch(START), Err(NotYet::NoWish));
        assert_eq!(keys.may_switch(START + USED_FOR), Err(NotYet::Unpublished));
        keys.ask(false);
        assert_eq!(keys.may_switch(START), Err(NotYet::Unpublished));
        let next = keys.next.sha256.clone();
        assert!(keys.published(&next, published(START)));
        let until = START + 7200;
        assert_eq!(keys.may_switch(until - 1), Err(NotYet::Until(until)));
        assert_eq!(keys.may_switch(until), Ok(()));
        assert!(!keys.published("00", published(START)));
    }

    #[test]
    fn a_switch_moves_all_up_and_tells_the_old_one_for_a_while() {
        let mut keys = Keys::make().unwrap();
        let (one, two) = (keys.current.sha256.clone(), keys.next.sha256.clone());
        keys.ask(false);
        keys.used(&two, START).unwrap();
        let told = |keys: &Keys, now| -> Vec<_> {
            (keys.tls_keys(now).into_iter().map(|k| k.sha256)).collect()
        };
        let three = keys.next.sha256.clone();
        assert!(three != one && three != two);
        assert_eq!(told(&keys, START), [two.as_str(), &three, &one]);
        assert_eq!(told(&keys, START + PREVIOUS_FOR), [two.as_str(), &three]);
        // Done is done.
        assert_eq!(keys.may_switch(START), Err(NotYet::NoWish));
    }

    #[test]
    fn a_stolen_key_goes_at_once_and_is_not_told() {
        let mut keys = Keys::make().unwrap();
        keys.ask(true);
        keys.ask(false);
        assert_eq!(keys.may_switch(START), Ok(()));
        keys.used(&keys.next.sha256.clone(), START).unwrap();
        assert_eq!(keys.tls_keys(START).len(), 2);
    }

    #[test]
    fn a_key_is_not_shown_by_accident() {
        let key = Key::make().unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({})", key.sha256));
        assert_eq!(
            hash(&key.pair().unwrap().subject_public_key_info()),
            key.sha256
        );
    }
}
