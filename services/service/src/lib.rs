//! The contract of a service: what init, the builder and the services agree on.
//!
//! - [`card`]: what `roost flash` tells one card, read by init and services.
//! - [`settings`]: what the owner chose, rendered by the builder, read by init and services.
//! - [`spec`]: what a service is and may do, rendered by the builder from `service.toml`, read by init.
//! - [`notify`]: how a service says that it is ready; [`notifier`]: what it says it with.
//! - [`boot_times`]: when which part of a boot began and ended.
//! - [`control`]: how a program asks init for something.
//! - [`probe`]: how a service proves that it works.
//! - [`names`]: rules of the names that people type.
//! - `fingerprint` (a feature): a certificate's fingerprint, for people to compare.
//! - `door` (a feature): a service's socket for others.
//! - `follow` (the same feature): the newest certificate, for those who show it.
//! - [`health`]: how the box is, check by check.
//! - `letter` (a feature): a message of the box to its owner.
//! - [`files`]: small files that are there as a whole or not at all.
//! - [`disk`]: USB disks, and the one that a service was lent.
//! - [`dns`]: what the box tells of its zones, and what the owner changes there.
//! - [`snapshot`]: how a service hands over what it keeps, for a backup.
//! - [`backup`]: how the owner's laptop reaches the backup service.
//! - [`update`]: what the owner's laptop says to the box.
//! - [`mail`]: what the portal says to the mail service.
//! - [`certificates`]: what the certificate service gives away, and to whom.
//! - [`resolver`]: where the box's own resolver answers, and how it stands.
//! - [`stamp`]: the time in front of a log line.
//! - [`tunnel`]: how the box reaches its relay, and how that stands.

pub mod backup;
pub mod boot_times;
pub mod card;
pub mod certificates;
pub mod control;
pub mod disk;
pub mod dns;
#[cfg(feature = "door")]
pub mod door;
pub mod files;
#[cfg(feature = "fingerprint")]
pub mod fingerprint;
#[cfg(feature = "door")]
pub mod follow;
pub mod health;
#[cfg(feature = "letter")]
pub mod letter;
pub mod mail;
pub mod names;
pub mod notifier;
pub mod notify;
pub mod probe;
pub mod resolver;
pub mod settings;
pub mod snapshot;
pub mod spec;
pub mod stamp;
pub mod tunnel;
pub mod update;
