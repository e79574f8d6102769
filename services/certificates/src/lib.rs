//! The box's certificates: when to order them, how, and who gets them.
//!
//! [`renew`] and [`keys`] decide and do nothing; [`acme`] and [`zone`] talk; [`book`] remembers;
//! [`work`] does what [`book`] says is to be done; [`door`] answers the other services.

pub mod acme;
pub mod book;
pub mod clock;
pub mod door;
pub mod fault;
pub mod http;
pub mod keys;
pub mod leaf;
pub mod renew;
pub mod secret;
pub mod setup;
pub mod status;
pub mod store;
pub mod work;
pub mod zone;

/// Seconds since 1970 by the system's clock, which may not be set.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
