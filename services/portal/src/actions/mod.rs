//! What pages and API do alike, one module a topic. Each reads, decides and saves in one change of
//! the store, and tells what came of it.

pub mod backups;
pub mod certificates;
pub mod dns;
pub mod laptops;
pub mod logs;
pub mod mail;
pub mod mail_certificate;
pub mod outside;
pub mod pairing;
pub mod passkeys;
pub mod relay;
pub mod reset;
pub mod sessions;
pub mod sign_in;
pub mod sts;
pub mod updates;
pub mod upload;

use crate::audit::{Actor, Entry, Event};
use crate::time::Now;
use std::net::IpAddr;

/// A line of the log about somebody at `from`.
pub(crate) fn entry(at: Now, who: Actor, from: IpAddr, what: Event) -> Entry {
    Entry {
        at,
        who,
        from: Some(from),
        what,
    }
}
