//! A zone's keys.
//!
//! A zone has a key-signing key (KSK), which signs the key set, and a zone-signing key (ZSK), which signs
//! everything else; both are ECDSA P-256 (algorithm 13, RFC 6605). A single key would do the same with one
//! record less. Two were chosen because the parent's DS names the KSK alone: the ZSK, whose use is seen in every
//! answer, is replaced every 90 days by the box itself, without the registrar.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DS};
use hickory_proto::dnssec::{Algorithm, DigestType, DnssecSigner, SigningKey};
use hickory_proto::rr::Name;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::rollover::{Ksk, Stage, Zsk};

/// Algorithm of all keys.
pub const ALGORITHM: Algorithm = Algorithm::ECDSAP256SHA256;

/// How often a new key is drawn while its tag is taken: beside four others, one in 16,000 is.
const DRAWS: usize = 16;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The key set (flags 257). The parent's DS names it.
    Ksk,
    /// Everything else (flags 256).
    Zsk,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ksk => "key-signing key",
            Self::Zsk => "zone-signing key",
        })
    }
}

/// Why keys could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The system gave no randomness, or sixteen keys in a row had a tag that is taken.
    #[error("no new {0} could be made")]
    Generate(Role),
    /// A stored private key is not PKCS#8 of ECDSA P-256 in base64.
    #[error("a stored {0} is damaged")]
    Damaged(Role),
    /// Two keys have the same tag, so a validator could not tell them apart by it.
    #[error("two keys have the tag {0}")]
    SameTag(u16),
    /// There is not exactly one zone-signing key in use.
    #[error("{0} zone-signing keys are in use, where one must be")]
    ActiveZsk(usize),
    /// More than one replacement of a kind is under way.
    #[error("{1} new {0}s are being introduced at once")]
    Introduced(Role, usize),
    /// No key-signing key that the registrar may be told of.
    #[error("there is no key-signing key in use")]
    NoKsk,
    /// The zone's name is not a domain name.
    #[error("'{0}' is not a domain name")]
    Origin(String),
}

/// A key pair. Its tag, public key and stage can be read; the private key only signs.
#[derive(Clone)]
pub struct Key {
    created: u64,
    stage: Stage,
    pkcs8: Zeroizing<Vec<u8>>,
    dnskey: DNSKEY,
    tag: u16,
}

impl Key {
    fn generate(role: Role, now: u64, stage: Stage, taken: &[u16]) -> Result<Self, KeyError> {
        for _ in 0..DRAWS {
            let made = EcdsaKeyPair::generate_pkcs8(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                &SystemRandom::new(),
            )
            .map_err(|_| KeyError::Generate(role))?;
            let key = Self::new(now, stage, Zeroizing::new(made.as_ref().to_vec()))?;
            if !taken.contains(&key.tag) {
                return Ok(key);
            }
        }
        Err(KeyError::Generate(role))
    }

    fn new(created: u64, stage: Stage, pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let role = stage.role();
        let public = pair(&pkcs8)
            .and_then(|pair| pair.to_public_key().ok())
            .ok_or(KeyError::Damaged(role))?;
        let dnskey = DNSKEY::new(true, role == Role::Ksk, false, public);
        let tag = dnskey
            .calculate_key_tag()
            .map_err(|_| KeyError::Damaged(role))?;
        Ok(Self {
            created,
            stage,
            pkcs8,
            dnskey,
            tag,
        })
    }

    /// What it signs.
    pub fn role(&self) -> Role {
        self.stage.role()
    }

    /// When it was made, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// How far its life has come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn stage_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }

    /// The record that publishes it.
    pub fn dnskey(&self) -> &DNSKEY {
        &self.dnskey
    }

    /// Its tag (RFC 4034, appendix B), unique in a [`KeySet`].
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The DS record that names it to the parent, with SHA-256.
    pub fn ds(&self, origin: &Name) -> Option<DS> {
        let digest = self.dnskey.to_digest(origin, DigestType::SHA256).ok()?;
        Some(DS::new(
            self.tag,
            ALGORITHM,
            DigestType::SHA256,
            digest.as_ref().to_vec(),
        ))
    }

    /// Something that signs for the zone `origin` with this key.
    pub(super) fn signer(&self, origin: &Name) -> Option<DnssecSigner> {
        let pair = Box::new(pair(&self.pkcs8)?);
        // The duration is what hickory's own signing would take; ours sets both ends itself.
        Some(DnssecSigner::new(
            self.dnskey.clone(),
            pair,
            origin.clone(),
            std::time::Duration::ZERO,
        ))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            created,
            stage,
            tag,
            ..
        } = self;
        f.debug_struct("Key")
            .field("tag", tag)
            .field("created", created)
            .field("stage", stage)
            .finish_non_exhaustive()
    }
}

fn pair(pkcs8: &[u8]) -> Option<EcdsaSigningKey> {
    let pair = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        pkcs8,
        &SystemRandom::new(),
    )
    .ok()?;
    Some(EcdsaSigningKey::from_ecdsa(pair, ALGORITHM))
}

/// The keys of one zone. A value proves: no two tags are the same, exactly one ZSK is in use, at least one KSK
/// is (is announced to the parent), and at most one new key of each role is being introduced.
///
/// Serialised, it holds the private keys: store it where only the name server reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "StoredSet", into = "StoredSet")]
pub struct KeySet {
    origin: Name,
    keys: Vec<Key>,
}

impl KeySet {
    /// New keys for the zone `origin`, made at `now` (seconds since 1970). Both are in use at once: no cache
    /// has anything signed of this zone yet.
    ///
    /// # Errors
    /// [`KeyError::Generate`], when the system gives no randomness.
    pub fn generate(origin: &Name, now: u64) -> Result<Self, KeyError> {
        let mut set = Self {
            origin: absolute(origin),
            keys: Vec::new(),
        };
        set.add(now, Stage::Ksk(Ksk::Announced { since: now }))?;
        set.add(now, Stage::Zsk(Zsk::Active { since: now }))?;
        Ok(set)
    }

    /// The zone's name, in lower case.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// All keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(super) fn keys_mut(&mut self) -> &mut Vec<Key> {
        &mut self.keys
    }

    /// The key that signs the zone.
    pub fn active_zsk(&self) -> Option<&Key> {
        self.keys
            .iter()
            .find(|key| matches!(key.stage, Stage::Zsk(Zsk::Active { .. })))
    }

    /// The keys that sign the key set: every KSK that is published.
    pub fn ksks(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| key.role() == Role::Ksk)
    }

    /// The keys that the parent should name: for CDS, CDNSKEY and the registrar's form.
    pub fn announced(&self) -> impl Iterator<Item = &Key> {
        self.ksks().filter(|key| {
            matches!(
                key.stage,
                Stage::Ksk(Ksk::Announced { .. } | Ksk::Trusted { .. })
            )
        })
    }

    /// Makes a key and adds it. Returns its tag.
    pub(super) fn add(&mut self, now: u64, stage: Stage) -> Result<u16, KeyError> {
        let taken: Vec<u16> = self.keys.iter().map(Key::tag).collect();
        let key = Key::generate(stage.role(), now, stage, &taken)?;
        let tag = key.tag;
        self.keys.push(key);
        Ok(tag)
    }

    /// Tells the set that a zone with these keys was signed under `serial`, after [`super::zone`] and before
    /// that zone is served. Rollovers wait until every server of the zone has this serial or a later one.
    pub fn signed(&mut self, serial: u32) {
        for key in &mut self.keys {
            if let Some(sighting) = key.stage.sighting_mut() {
                sighting.serial.get_or_insert(serial);
            }
        }
    }

    fn checked(self) -> Result<Self, KeyError> {
        let mut tags: Vec<u16> = self.keys.iter().map(Key::tag).collect();
        tags.sort_unstable();
        if let Some(pair) = tags.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(KeyError::SameTag(pair[0]));
        }
        let count =
            |wanted: fn(&Stage) -> bool| self.keys.iter().filter(|key| wanted(&key.stage)).count();
        let active = count(|stage| matches!(stage, Stage::Zsk(Zsk::Active { .. })));
        if active != 1 {
            return Err(KeyError::ActiveZsk(active));
        }
        let new_zsk = count(|stage| matches!(stage, Stage::Zsk(Zsk::Published(_))));
        let new_ksk = count(|stage| matches!(stage, Stage::Ksk(Ksk::Published(_))));
        for (role, new) in [(Role::Zsk, new_zsk), (Role::Ksk, new_ksk)] {
            if new > 1 {
                return Err(KeyError::Introduced(role, new));
            }
        }
        if self.announced().next().is_none() {
            return Err(KeyError::NoKsk);
        }
        Ok(self)
    }
}

/// The DS records to give to the registrar, as lines of a zone file (RFC 4034, section 5.3), digest type 2. That
/// of the newest key comes first: while a key is being replaced, a form that holds one gets that one.
pub fn ds(set: &KeySet) -> Vec<String> {
    let origin = set.origin();
    let mut lines: Vec<String> = set
        .announced()
        .filter_map(|key| key.ds(origin))
        .map(|ds| format!("{origin} IN DS {ds}"))
        .collect();
    lines.reverse();
    lines
}

pub(super) fn absolute(name: &Name) -> Name {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name
}

/// [`KeySet`] as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSet {
    origin: String,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    created: u64,
    stage: Stage,
    pkcs8: Zeroizing<String>,
}

impl TryFrom<StoredSet> for KeySet {
    type Error = KeyError;

    fn try_from(stored: StoredSet) -> Result<Self, KeyError> {
        let origin = Name::from_ascii(&stored.origin)
            .map_err(|_| KeyError::Origin(stored.origin.clone()))?;
        let keys = stored
            .keys
            .into_iter()
            .map(Key::try_from)
            .collect::<Result<_, _>>()?;
        Self {
            origin: absolute(&origin),
            keys,
        }
        .checked()
    }
}

impl TryFrom<StoredKey> for Key {
    type Error = KeyError;

    fn try_from(stored: StoredKey) -> Result<Self, KeyError> {
        let bytes = STANDARD
            .decode(stored.pkcs8.as_bytes())
            .map_err(|_| KeyError::Damaged(stored.stage.role()))?;
        Self::new(stored.created, stored.stage, Zeroizing::new(bytes))
    }
}

impl From<KeySet> for StoredSet {
    fn from(set: KeySet) -> Self {
        let keys = set.keys.iter().map(|key| StoredKey {
            created: key.created,
            stage: key.stage,
            pkcs8: Zeroizing::new(STANDARD.encode(&*key.pkcs8)),
        });
        Self {
            origin: set.origin.to_ascii(),
            keys: keys.collect(),
        }
    }
}
