//! How a service proves that it works: not that it runs, but that it does its job.
//!
//! A service whose spec says `probe = true` listens on the Unix socket
//! [`socket`], in the folder that init makes for it ([`crate::spec::RUN_ENV`]).
//! For each connection it tries its job once, from its own doors, writes one
//! line, a JSON [`Answer`], and closes. Nothing is read from the connection.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Longest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 1024;

/// The socket of a service.
pub fn socket(service: &str) -> PathBuf {
    crate::spec::run_folder(service).join("probe")
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// `None`: it works. Else what does not, in plain words.
    pub fault: Option<String>,
    /// How long the trial of its job took, in milliseconds.
    pub took_ms: u64,
}
