//! What is kept. On the medium each record is one JSON object.
//!
//! Pairing, owner, passkeys, sessions, limits, log and powered-on time are the core's own values. What is
//! added here is what only the store knows: laptops and settings.
//!
//! The core's values refuse fields that they do not know, so whatever changes in one needs a
//! step in `schema.rs`. To [`Settings`] a field may be added without, and to the log a kind of event
//! (`audit.rs` says how).

use crate::password::PasswordHash;
use crate::setup::Setup;
use crate::time::Now;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most laptops that are paired at a time.
pub const MAX_LAPTOPS: usize = 64;
/// Entries of the audit log that are kept, the newest ones.
pub const MAX_AUDIT: u64 = 1000;
/// Longest name of a laptop, in bytes.
pub const MAX_NAME: usize = 64;
/// Longest passkey as JSON, in bytes: one with a chain of certificates that nobody asked for has 12 KiB.
pub const MAX_PASSKEY: usize = 32 << 10;
/// Longest [`Settings`] as JSON, in bytes.
pub const MAX_SETTINGS: usize = 64 << 10;
/// A laptop that is seen again within this time is not written down again: each change costs
/// the card several writes.
pub const SEEN_EVERY: Duration = Duration::from_secs(300);

/// A laptop's Ed25519 public key (RFC 8032).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaptopKey(pub [u8; 32]);

/// A laptop that may update the box and look into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Laptop {
    /// What the owner calls it; at most [`MAX_NAME`] bytes.
    pub name: String,
    /// When it was paired.
    pub paired: Now,
    /// When it was last connected, within [`SEEN_EVERY`].
    pub seen: Option<Now>,
}

/// What the owner chose in the browser; what is not chosen is as in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The domain that the box has mail for.
    pub domain: Option<String>,
    /// Name of the first account, without the domain.
    pub first_account: Option<String>,
    /// Hash of the first account's password, until init has it.
    pub mail_password: Option<PasswordHash>,
    /// What the relay's owner gave, as it was pasted. The tunnel keeps its own; it is given this one
    /// while it has none.
    pub relay: Option<String>,
    /// Further addresses.
    pub aliases: Vec<Alias>,
}

impl From<&Setup> for Settings {
    /// What the form of the pairing said.
    fn from(setup: &Setup) -> Self {
        Self {
            domain: Some(setup.domain.as_str().to_owned()),
            first_account: Some(setup.account.as_str().to_owned()),
            mail_password: None,
            relay: setup.relay.as_ref().map(|text| text.as_str().to_owned()),
            aliases: vec![],
        }
    }
}

/// An address that leads to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The address's part before the `@`.
    pub name: String,
    /// The account's name.
    pub account: String,
}
