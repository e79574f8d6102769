//! What is kept, as types. On the medium each record is one JSON object.
//!
//! Times are seconds since 1970 by the box's clock, which may have been wrong.
//!
//! A field may be added with `#[serde(default)]` and no new schema: a program
//! that is older ignores it, so a box that goes back a version still opens its
//! store. Everything else needs a step in `schema.rs`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Most laptops that are paired at a time.
pub const MAX_LAPTOPS: usize = 64;
/// Most sessions that are open at a time; a further one ends the one seen longest ago.
pub const MAX_SESSIONS: usize = 32;
/// Entries of the audit log that are kept, the newest ones.
pub const MAX_AUDIT: u64 = 1000;
/// Longest name of a laptop, in bytes.
pub const MAX_NAME: usize = 64;
/// Longest password hash, in bytes; argon2's have about 100.
pub const MAX_PASSWORD_HASH: usize = 512;
/// Longest secret of the one-time passwords, in bytes; RFC 4226 recommends 20.
pub const MAX_TOTP_SECRET: usize = 64;
/// Longest [`Settings`] as JSON, in bytes.
pub const MAX_SETTINGS: usize = 64 << 10;
/// Where texts that strangers send or that are only shown are cut off, in bytes.
pub const MAX_TEXT: usize = 256;
/// A session or laptop that is seen again within so many seconds is not written
/// down again: each change costs the card several writes.
pub const SEEN_EVERY_S: u64 = 300;
/// How many seconds the clock may have been ahead when a session began.
pub const CLOCK_SLACK_S: u64 = 24 * 3600;

/// Who may administer the box.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Hash of the password (argon2, in the form that begins with `$argon2id$`).
    pub password_hash: String,
    /// The second factor, if there is one.
    pub totp: Option<Totp>,
}

/// The second factor: one-time passwords by the clock (RFC 6238).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// The shared secret.
    pub secret: Vec<u8>,
    /// The newest time step that a password was taken for. Passwords of this
    /// one and of earlier ones are refused (RFC 6238, section 5.2).
    pub last_step: Option<u64>,
}

/// Prints no secret, so that a log line cannot either.
impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("totp", &self.totp)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Totp")
            .field("last_step", &self.last_step)
            .finish_non_exhaustive()
    }
}

/// How far the pairing code of the card is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairing {
    /// When the code was used; it is of no use since.
    pub used_at: Option<u64>,
    /// Wrong codes in a row.
    pub tries: u32,
    /// Until when no code is looked at.
    pub blocked_until: Option<u64>,
}

/// SHA-256 of a session's token. The token itself is in the browser only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A browser in which the owner is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// When the owner logged in.
    pub created: u64,
    /// When it was last used, within [`SEEN_EVERY_S`].
    pub last_seen: u64,
    /// What the browser calls itself, cut off at [`MAX_TEXT`].
    pub user_agent: String,
    /// Where it logged in from.
    pub address: IpAddr,
}

/// A laptop's Ed25519 public key (RFC 8032).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaptopKey(pub [u8; 32]);

/// A laptop that may update the box and look into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Laptop {
    /// What the owner calls it; at most [`MAX_NAME`] bytes.
    pub name: String,
    /// When it was paired.
    pub paired_at: u64,
    /// When it was last connected, within [`SEEN_EVERY_S`].
    pub last_seen: Option<u64>,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: u64,
    /// Who did it, cut off at [`MAX_TEXT`].
    pub who: String,
    /// From where, if it came over the network.
    pub address: Option<IpAddr>,
    /// What was done, in plain words, cut off at [`MAX_TEXT`].
    pub what: String,
}

/// What the owner chose in the browser; what is not chosen is as in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The domain that the box has mail for.
    pub domain: Option<String>,
    /// Name of the first account, without the domain.
    pub first_account: Option<String>,
    /// Further addresses.
    pub aliases: Vec<Alias>,
}

/// An address that leads to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The address's part before the `@`.
    pub name: String,
    /// The account's name.
    pub account: String,
}

/// Cuts a text off so that it has at most [`MAX_TEXT`] bytes.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
