//! Why a bundle cannot be used.

use crate::keys::PublicKey;
use crate::limits;
use std::fmt;
use std::io;

/// One of the two tables of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// What the slot is made of.
    Chunks,
    /// Alternative encodings of chunks.
    Deltas,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chunks => "chunk table",
            Self::Deltas => "delta table",
        })
    }
}

/// A bundle that is damaged, forged, or not for this reader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's reader or writer failed.
    #[error("cannot access the {what}")]
    Io {
        /// The part that was read or written.
        what: &'static str,
        /// The caller's error.
        source: io::Error,
    },
    /// The bytes end too early.
    #[error("the bundle ends within its {what}")]
    Truncated {
        /// The part that is cut off.
        what: &'static str,
    },
    /// Another kind of file.
    #[error("this is no update bundle: it does not begin with ROOSTBDL")]
    NotABundle,
    /// A format of another time.
    #[error(
        "the bundle has format version {found}; this program reads version {}",
        limits::FORMAT
    )]
    Format {
        /// The version that the header names.
        found: u16,
    },
    /// No signature, or too many.
    #[error("the bundle's header names {found} signatures; 1 or 2 are possible")]
    SignatureCount {
        /// The number in the header.
        found: u16,
    },
    /// The manifest is empty or too long.
    #[error(
        "the bundle's header names a manifest of {found} bytes; 1 to {} are possible",
        limits::MAX_MANIFEST
    )]
    ManifestLength {
        /// The length in the header.
        found: u32,
    },
    /// Both signatures are by one key.
    #[error("the bundle carries two signatures of the key {signer}")]
    SameSigner {
        /// The key.
        signer: PublicKey,
    },
    /// None of the signers is trusted.
    #[error("the bundle is signed by {}, which is not trusted here", list(signers))]
    UnknownSigner {
        /// Who the bundle says signed it. Not verified.
        signers: Vec<PublicKey>,
    },
    /// A signature does not fit.
    #[error("the signature of the key {signer} does not fit the bundle's manifest")]
    Signature {
        /// The key.
        signer: PublicKey,
    },
    /// The manifest and the signatures tell different stories of a key change.
    #[error("the bundle's signatures and its manifest do not agree on a new key: {why}")]
    Rotation {
        /// What does not agree.
        why: &'static str,
    },
    /// The signed manifest is not what the format demands.
    #[error("the bundle's manifest cannot be used: {why}")]
    Manifest {
        /// The first fault.
        why: String,
    },
    /// A table is not the one that was signed.
    #[error("the bundle's {table} is not the one that was signed")]
    TableHash {
        /// Which.
        table: Table,
    },
    /// A signed row breaks the format.
    #[error("row {row} of the bundle's {table} cannot be used: {why}")]
    Row {
        /// Which table.
        table: Table,
        /// Counted from 0.
        row: usize,
        /// The fault.
        why: &'static str,
    },
    /// The rows of both tables together break the format.
    #[error("the bundle's tables cannot be used: {why}")]
    Tables {
        /// The fault.
        why: &'static str,
    },
    /// The bundle has more or fewer bytes than its manifest says.
    #[error("the bundle has {found} bytes, but its manifest describes {expected}")]
    Length {
        /// From the manifest.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// A payload is not the one that was signed.
    #[error("the payload of chunk {chunk} is not the one that was signed")]
    Payload {
        /// Row in the chunk table.
        chunk: usize,
    },
    /// A payload cannot be unpacked though it is the signed one.
    #[error("the payload of chunk {chunk} cannot be unpacked: {why}")]
    Unpack {
        /// Row in the chunk table.
        chunk: usize,
        /// What zstd says.
        why: String,
    },
    /// An unpacked or copied chunk is not the one that was signed.
    #[error("chunk {chunk}, {from}, is not the one that was signed")]
    Content {
        /// Row in the chunk table.
        chunk: usize,
        /// Where its bytes come from.
        from: &'static str,
    },
    /// The range that a delta needs is not there.
    #[error("the delta for chunk {chunk} needs other bytes than those in the running slot")]
    Base {
        /// Row in the chunk table.
        chunk: usize,
    },
    /// A plan and tables that do not belong together.
    #[error("the plan was made for another bundle: {why}")]
    Plan {
        /// What does not fit.
        why: &'static str,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Io { .. } | Self::Plan { .. } => return None,
            Self::Truncated { .. } | Self::Length { .. } => {
                "transfer the bundle again; the transfer continues where it ended"
            }
            Self::NotABundle => "give a file made by `roost bundle make`",
            Self::Format { .. } => "build the bundle with the `roost` that fits the box's version",
            Self::UnknownSigner { .. } => {
                "sign with the key whose public half is in the box's image, or change keys with a bundle signed by both"
            }
            Self::Content { .. } | Self::Base { .. } => {
                "plan again without this part of the running slot; the chunk is then taken from the bundle"
            }
            Self::SignatureCount { .. }
            | Self::ManifestLength { .. }
            | Self::SameSigner { .. }
            | Self::Signature { .. }
            | Self::TableHash { .. }
            | Self::Payload { .. } => {
                "transfer the bundle again, and if that does not help, build it again: it was damaged or changed on its way"
            }
            Self::Rotation { .. }
            | Self::Manifest { .. }
            | Self::Row { .. }
            | Self::Tables { .. }
            | Self::Unpack { .. } => {
                "build the bundle again: it was signed like this, so a transfer cannot repair it"
            }
        })
    }
}

/// Fills `buffer`; an early end is an error of the bundle, anything else one of the reader.
pub(crate) fn read_exact(
    from: &mut impl io::Read,
    buffer: &mut [u8],
    what: &'static str,
) -> Result<(), Error> {
    from.read_exact(buffer)
        .map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated { what },
            _ => Error::Io { what, source },
        })
}

fn list(keys: &[PublicKey]) -> String {
    let keys: Vec<String> = keys.iter().map(PublicKey::to_string).collect();
    keys.join(" and ")
}
