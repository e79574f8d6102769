//! What a zone consists of, before and after it is signed.

use hickory_proto::rr::{Name, Record};

/// Where a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Made by the box from what it knows of itself.
    Generated,
    /// Given by the owner.
    Owner,
    /// Set by a program on the box with a dynamic update (RFC 2136).
    Update,
}

/// A record, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// Where it comes from.
    pub source: Source,
    /// What it is for, in one plain sentence for the owner.
    pub why: String,
}

/// A zone before it is signed: neither SOA nor anything of DNSSEC is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub origin: Name,
    /// Its records.
    pub entries: Vec<Entry>,
}

/// A zone as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its name.
    pub origin: Name,
    /// Serial number of its SOA (RFC 1982 arithmetic).
    pub serial: u32,
    /// All of its records with their signatures, the SOA first, the others in canonical order
    /// (RFC 4034, section 6).
    pub records: Vec<Record>,
    /// When the first signature ends, in seconds since 1970. `None`: it is not signed.
    pub expires: Option<u64>,
}
