//! Everything the mail service decides before Stalwart runs.
//!
//! Stalwart takes half an hour to compile, so nothing here links it:
//! host tests cover this crate alone and the AGPL program stays thin.
//!
//! - [`setup`]: what it needs of the box's settings.
//! - [`admin`]: what is done about a call of the portal.
//! - [`book`]: the directory, and the steps that change it.
//! - [`app_password`], [`password_hash`]: passwords of devices and of people.
//! - [`forwarded`]: whose request the portal hands on.
//! - [`forwarder`]: one name server address that never changes.
//! - [`config`]: the box's settings become one Stalwart configuration.
//! - [`issued`]: the certificate service's certificate, ready for TLS.
//! - [`imap_greeting`]: what IMAP's clear-text port says before TLS.
//! - [`listeners`]: which protocol answers on which port.
//! - [`prepare`]: keys and certificate that must exist before the first start.
//! - [`probe`]: the proof that mail works.
//! - [`plan`]: which domain, account and addresses are still missing.
//! - [`store_format`]: the store's schema, and the way back from a newer one.
//! - [`resolv`]: name servers from `resolv.conf`.
//! - [`ports`]: whether the kernel listens on what was asked for.
//! - [`room`]: whether the card has room for more mail.
//! - [`snapshot`]: the store for a backup, while mail goes on.

pub mod admin;
pub mod app_password;
pub mod book;
pub mod certificate;
pub mod config;
pub mod forwarded;
pub mod forwarder;
pub mod imap_greeting;
pub mod issued;
pub mod keys;
pub mod listeners;
pub mod password_hash;
pub mod plan;
pub mod ports;
pub mod prepare;
pub mod probe;
pub mod resolv;
pub mod room;
pub mod secret_file;
pub mod setup;
pub mod snapshot;
pub mod store_format;

/// Why the mail service cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried, e.g. `read`.
        action: &'static str,
        /// The file.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The settings file is not what this version expects.
    #[error("settings {path}: {reason}")]
    Settings {
        /// The file.
        path: String,
        /// Why it was refused.
        reason: String,
    },
    /// A setting holds something that cannot be written into the configuration.
    #[error("setting `{name}`: {value:?} {reason}")]
    Value {
        /// Name of the setting, e.g. `mail.host`.
        name: &'static str,
        /// What it holds.
        value: String,
        /// Why it was refused.
        reason: &'static str,
    },
    /// A snapshot of the mail store does not fit beside it.
    #[error(
        "the mail store must be copied before this version changes its format: that needs {needed} bytes, {free} are free"
    )]
    Space {
        /// Bytes that must be free.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The mail store is of a newer version, and there is no way back.
    #[error(
        "the mail store has format {found}, this version knows up to {ours} and has no snapshot to return to"
    )]
    NewerStore {
        /// The store's format.
        found: u32,
        /// Ours.
        ours: u32,
    },
    /// A certificate cannot be shown in TLS.
    #[error("the certificate for {names} cannot be used: {reason}")]
    Certificate {
        /// Names that it is for.
        names: String,
        /// Why not; nothing of its key.
        reason: String,
    },
    /// A key or certificate could not be made.
    #[error("make {what}: {reason}")]
    Crypto {
        /// What was being made.
        what: &'static str,
        /// What the library said.
        reason: String,
    },
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: &std::path::Path,
        source: std::io::Error,
    ) -> Self {
        Error::File {
            action,
            path: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn crypto(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Error::Crypto {
            what,
            reason: reason.to_string(),
        }
    }
}
