//! Update bundles: what one slot image needs to become another, signed.
//!
//! The format is described byte by byte in `docs/bundle-format.md`. This crate
//! has no opinion on where bytes come from: it works on `Read`, `Write`, `Seek`
//! and slices of the caller, and imports no other crate of ours.
//!
//! # Order of use
//!
//! A wrong order does not compile. Each type says what holding a value proves.
//!
//! | step | gives | proves |
//! |---|---|---|
//! | [`Unverified::read`] | [`Unverified`] | lengths and counts are within the limits; nothing else |
//! | [`Unverified::verify`] with [`TrustedKeys`] | [`Verified`] | every signature is right, one is from a trusted key, the manifest is well formed |
//! | [`admit()`] with [`BoxState`] | [`Admitted`] | this box may install it |
//! | [`Admitted::read_tables`] or [`Verified::read_tables`] | [`Tables`] | the tables are those that were signed, and all ranges in them are within bounds |
//! | [`plan()`] or [`resume`] | [`Plan`] | nothing: it is a list of what to do |
//! | [`apply()`] | written bytes | each written chunk has the hash that was signed |
//!
//! # Memory
//!
//! Reading holds the manifest (at most 256 KiB), the tables (at most about
//! 6 MiB, for the usual slot below 200 KiB) and one chunk with its base
//! range (at most about 6 MiB) at a time. Building holds all payloads.

mod admit;
mod apply;
mod builder;
mod chunker;
mod envelope;
mod error;
mod hash;
mod keys;
pub mod limits;
mod local;
mod manifest;
mod parallel;
mod payload;
mod plan;
mod tables;
#[cfg(test)]
mod tests;

pub use admit::{Admitted, BoxState, Refusal, admit};
pub use apply::{PayloadsAt, ReadPayload, already_right, apply};
pub use builder::{BuildError, Builder, Summary};
pub use chunker::{Chunker, is_zero};
pub use envelope::{Unverified, Verified};
pub use error::{Error, Table};
pub use hash::{Check, Hash};
pub use keys::{PublicKey, SigningKey, TrustedKeys};
pub use local::{ActiveSlot, Local};
pub use manifest::{Component, Manifest, Release, Slot, TableRef};
pub use payload::{decode_chunk, decode_delta};
pub use plan::{Action, Plan, Source, plan, resume};
pub use tables::{Chunk, Delta, Tables};
