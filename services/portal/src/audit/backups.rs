//! Changes of where backups go, in plain words.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum BackupChange {
    /// The box backs up to another place, or to one for the first time.
    TargetSet {
        /// Address of the server.
        endpoint: String,
        /// The place there, e.g. `s3://backups/attic`.
        place: String,
    },
    /// The box backs up to no place any more.
    TargetRemoved,
}

impl fmt::Display for BackupChange {
    /// What the actor did, to stand after its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetSet { endpoint, place } => {
                write!(f, "has the box back up to {place:?} at {endpoint:?}")
            }
            Self::TargetRemoved => f.write_str("has the box back up to no place any more"),
        }
    }
}
