//! May this box install this bundle?

use crate::envelope::Verified;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::tables::Tables;
use std::io::Read;

/// What the box knows of itself and what its owner allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxState {
    /// Short name of the board it runs on.
    pub board: String,
    /// Version of the slot that runs now.
    pub version: u64,
    /// Bytes of the slot that would be written.
    pub slot_bytes: u64,
    /// Schema number of the mail store on the data partition.
    pub mail_store: u32,
    /// Number of the settings format on the data partition.
    pub settings_format: u32,
    /// The owner said that an older version is wanted.
    pub allow_downgrade: bool,
    /// The owner said that a bundle without a way back is wanted.
    pub allow_irreversible: bool,
}

/// Why a box does not install a bundle that is genuine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Made for other boards.
    #[error("the bundle is for the boards {}; this box's board is {found}", .boards.join(", "))]
    Board {
        /// Those that it is for.
        boards: Vec<String>,
        /// This box's.
        found: String,
    },
    /// The slot image is longer than the slot.
    #[error("the bundle's slot has {bundle} bytes; this box's slots have {found}")]
    SlotSize {
        /// Bytes that would be written.
        bundle: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// It runs already.
    #[error("version {version} ({name}) runs already")]
    Same {
        /// The version.
        version: u64,
        /// As people read it.
        name: String,
    },
    /// Older than what runs.
    #[error(
        "the bundle has version {bundle} ({name}), older than version {running}, which runs now"
    )]
    Downgrade {
        /// Its version.
        bundle: u64,
        /// As people read it.
        name: String,
        /// What runs now.
        running: u64,
    },
    /// A version between the two must run first.
    #[error(
        "version {bundle} ({name}) updates boxes from version {min} on; this one runs {running}"
    )]
    Step {
        /// Its version.
        bundle: u64,
        /// As people read it.
        name: String,
        /// The lowest version that can take it.
        min: u64,
        /// What runs now.
        running: u64,
    },
    /// The mail on the box was written by something newer.
    #[error(
        "the bundle reads mail stores up to schema {bundle}; the one on this box has schema {found}"
    )]
    MailStore {
        /// The bundle's schema.
        bundle: u32,
        /// The box's.
        found: u32,
    },
    /// The settings on the box were written by something newer.
    #[error(
        "the bundle reads settings up to format {bundle}; those on this box have format {found}"
    )]
    Settings {
        /// The bundle's format.
        bundle: u32,
        /// The box's.
        found: u32,
    },
    /// There is no way back after it.
    #[error("after version {bundle} ({name}) this box cannot return to version {running}")]
    Irreversible {
        /// Its version.
        bundle: u64,
        /// As people read it.
        name: String,
        /// What runs now.
        running: u64,
    },
}

impl Refusal {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Same { .. } => return None,
            Self::Board { .. } => "build the bundle for this board",
            Self::SlotSize { .. } => {
                "build a smaller image, or flash the card again with larger slots; a slot cannot grow on the box"
            }
            Self::Downgrade { .. } => {
                "allow the downgrade in this one update, if the older version is wanted"
            }
            Self::Step { .. } => "install that version first, then this one",
            Self::MailStore { .. } | Self::Settings { .. } => {
                "build from a version at least as new as the one that wrote the data; going back needs a backup from before"
            }
            Self::Irreversible { .. } => {
                "make a backup, then allow it in this one update; if the trial fails, the box still returns by itself"
            }
        })
    }
}

/// A bundle that this box may install.
#[derive(Debug, Clone, Copy)]
pub struct Admitted<'a>(&'a Verified);

impl Admitted<'_> {
    /// What was signed.
    pub fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    /// The bundle.
    pub fn verified(&self) -> &Verified {
        self.0
    }

    /// Reads the tables, as [`Verified::read_tables`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_tables(&self, from: &mut impl Read) -> Result<Tables, Error> {
        self.0.read_tables(from)
    }
}

/// Decides whether this box may install this bundle. Of several reasons against
/// it the one is told that the owner can do least about.
///
/// A downgrade is judged by the data too: with the owner's word an older
/// version may be installed, but never one that cannot read the mail. The lowest
/// version to come from concerns ways up, so it does not hinder a way down.
///
/// # Errors
///
/// The [`Refusal`].
pub fn admit<'a>(bundle: &'a Verified, state: &BoxState) -> Result<Admitted<'a>, Refusal> {
    let manifest = bundle.manifest();
    let release = &manifest.release;
    let name = || release.name.clone();
    if !release.boards.contains(&state.board) {
        return Err(Refusal::Board {
            boards: release.boards.iter().cloned().collect(),
            found: state.board.clone(),
        });
    }
    if manifest.slot.bytes > state.slot_bytes {
        return Err(Refusal::SlotSize {
            bundle: manifest.slot.bytes,
            found: state.slot_bytes,
        });
    }
    if release.version == state.version {
        return Err(Refusal::Same {
            version: release.version,
            name: name(),
        });
    }
    if release.mail_store < state.mail_store {
        return Err(Refusal::MailStore {
            bundle: release.mail_store,
            found: state.mail_store,
        });
    }
    if release.settings_format < state.settings_format {
        return Err(Refusal::Settings {
            bundle: release.settings_format,
            found: state.settings_format,
        });
    }
    if release.version < state.version {
        if !state.allow_downgrade {
            return Err(Refusal::Downgrade {
                bundle: release.version,
                name: name(),
                running: state.version,
            });
        }
    } else if state.version < release.min_version {
        return Err(Refusal::Step {
            bundle: release.version,
            name: name(),
            min: release.min_version,
            running: state.version,
        });
    }
    if !release.reversible && !state.allow_irreversible {
        return Err(Refusal::Irreversible {
            bundle: release.version,
            name: name(),
            running: state.version,
        });
    }
    Ok(Admitted(bundle))
}
