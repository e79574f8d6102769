//! Where backups lie, and what is in one: what the box's backup service and the owner's laptop agree on.
//!
//! A repository has the format of restic, version 2, as `rustic_core` writes it: encrypted, split into
//! pieces, each piece kept once. `restic` itself can read it. Which program runs on the box and which on
//! the laptop, and why, stands in the README of `services/backup`.
//!
//! - [`code`]: the recovery code, which is the repository's password.
//! - [`store`]: files by their names, the little that a repository needs of a disk; [`folder`]: on a disk;
//!   [`s3`]: in a bucket of an S3 server; [`sftp`]: in a folder of an SFTP server; [`place`]: either of these, as a
//!   target says; [`ahead`]: any, read in stretches.
//! - [`wire`]: the same over a connection: the box writes into a folder of the laptop.
//! - [`contents`]: what is in a backup, with hashes, told by the backup itself.
//! - [`source`]: services' snapshots on their way into a repository.
//! - [`repository`]: making backups, listing them, proving them, getting them back.

pub mod ahead;
mod backend;
pub mod code;
pub mod contents;
pub mod folder;
pub mod place;
pub mod repository;
pub mod s3;
pub mod sftp;
pub mod source;
pub mod store;
pub mod wire;
