//! The manifest: what a bundle is, in JSON.

use crate::error::Error;
use crate::hash::Hash;
use crate::keys::PublicKey;
use crate::limits::{
    BLOCK, MAX_BOARDS, MAX_CHUNKS, MAX_COMPONENTS, MAX_DELTAS, MAX_NAME, MAX_NOTES, MAX_PAYLOAD,
    MAX_SLOT,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A program or package in the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name, e.g. `linux-image-arm64`.
    pub name: String,
    /// Its version, e.g. `6.12.48-1`.
    pub version: String,
}

/// What the release is, for people and for the decision whether it may be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Short names of the boards that the slot boots on: `virt`, `rpi3`, …
    pub boards: BTreeSet<String>,
    /// Grows with every release; decides what is newer.
    pub version: u64,
    /// The version as people read it; decides nothing.
    pub name: String,
    /// The lowest version that can update to this one in one step.
    pub min_version: u64,
    /// When it was built: seconds since 1970-01-01 UTC. Decides nothing.
    pub created: u64,
    /// Whether the version before it can run again after this one did. A
    /// bundle that changes data so that it cannot says `false`.
    pub reversible: bool,
    /// Number of the mail store's schema that the slot reads and writes.
    pub mail_store: u32,
    /// Number of the settings format that the slot reads and writes.
    pub settings_format: u32,
    /// What is inside.
    pub components: Vec<Component>,
    /// Release notes: plain text in lines.
    pub notes: String,
}

/// The slot that comes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its length in bytes; a multiple of [`BLOCK`].
    pub bytes: u64,
    /// Root hash of dm-verity over its root file system: what the box compares
    /// after the trial boot to know that it runs this bundle.
    pub root_hash: Hash,
}

/// A table that follows the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRef {
    /// Number of rows.
    pub rows: u32,
    /// Hash of all its bytes.
    pub hash: Hash,
}

/// The signed description of a bundle.
///
/// A reader gets one only from a [`crate::Verified`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What it is.
    pub release: Release,
    /// What comes out.
    pub slot: Slot,
    /// The chunk table.
    pub chunks: TableRef,
    /// The delta table.
    pub deltas: TableRef,
    /// Bytes of all payloads.
    pub payload_bytes: u64,
    /// The key that the box shall trust from now on instead of its present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_key: Option<PublicKey>,
}

impl Manifest {
    /// Reads JSON that a trusted key has signed.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Error> {
        let manifest: Self =
            serde_json::from_slice(json).map_err(|e| Error::Manifest { why: e.to_string() })?;
        manifest.check().map_err(|why| Error::Manifest { why })?;
        Ok(manifest)
    }

    /// What JSON's types do not say.
    pub(crate) fn check(&self) -> Result<(), String> {
        let release = &self.release;
        if release.boards.is_empty() || release.boards.len() > MAX_BOARDS {
            return Err(format!(
                "it names {} boards; 1 to {MAX_BOARDS} are possible",
                release.boards.len()
            ));
        }
        for board in &release.boards {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if board.is_empty() || board.len() > 32 || !board.bytes().all(plain) {
                return Err(format!("{board:?} is no name of a board"));
            }
        }
        line("the version's name", &release.name)?;
        if release.min_version > release.version {
            return Err(format!(
                "it updates from version {} on, but is version {} itself",
                release.min_version, release.version
            ));
        }
        if release.components.len() > MAX_COMPONENTS {
            return Err(format!(
                "it names {} components; {MAX_COMPONENTS} are possible",
                release.components.len()
            ));
        }
        for component in &release.components {
            line("a component's name", &component.name)?;
            line("a component's version", &component.version)?;
        }
        // Notes are shown on terminals: no escape sequence may reach them.
        if release.notes.len() > MAX_NOTES {
            return Err(format!("its notes are longer than {MAX_NOTES} bytes"));
        }
        if release.notes.chars().any(|c| c.is_control() && c != '\n') {
            return Err("its notes contain control characters".into());
        }
        let slot = self.slot.bytes;
        if slot == 0 || slot > MAX_SLOT || !slot.is_multiple_of(BLOCK as u64) {
            return Err(format!(
                "its slot has {slot} bytes; whole blocks of {BLOCK} up to {MAX_SLOT} are possible"
            ));
        }
        if self.chunks.rows == 0 || self.chunks.rows > MAX_CHUNKS {
            return Err(format!(
                "its chunk table has {} rows; 1 to {MAX_CHUNKS} are possible",
                self.chunks.rows
            ));
        }
        if self.deltas.rows > MAX_DELTAS {
            return Err(format!(
                "its delta table has {} rows; {MAX_DELTAS} are possible",
                self.deltas.rows
            ));
        }
        if self.payload_bytes > MAX_PAYLOAD {
            return Err(format!(
                "it has {} bytes of payload; {MAX_PAYLOAD} are possible",
                self.payload_bytes
            ));
        }
        Ok(())
    }
}

fn line(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > MAX_NAME {
        return Err(format!(
            "{what} has {} bytes; 1 to {MAX_NAME} are possible",
            text.len()
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} contains control characters"));
    }
    Ok(())
}
