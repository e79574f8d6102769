//! Changes of certificates, in plain words.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What was changed, or asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum CertificateChange {
    /// The owner chose how to get them.
    Chosen {
        /// Address of the certificate authority's directory.
        directory: String,
        /// Whether its terms are agreed to.
        terms_agreed: bool,
    },
    /// One is to be renewed now.
    Renewed {
        /// Which.
        id: String,
    },
    /// One is to have the next key.
    KeySwitched {
        /// Which.
        id: String,
    },
    /// One is to be revoked.
    Revoked {
        /// Which.
        id: String,
        /// Whether somebody else may have its key.
        key_compromised: bool,
    },
}

impl fmt::Display for CertificateChange {
    /// What the actor did, to stand after its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen {
                directory,
                terms_agreed: true,
            } => write!(
                f,
                "has certificates ordered from {directory:?}, and agreed to its terms"
            ),
            Self::Chosen {
                directory,
                terms_agreed: false,
            } => write!(
                f,
                "has no certificates ordered from {directory:?}, without agreeing to its terms"
            ),
            Self::Renewed { id } => write!(f, "asked for a new certificate {id:?}"),
            Self::KeySwitched { id } => {
                write!(f, "asked for another key of the certificate {id:?}")
            }
            Self::Revoked {
                id,
                key_compromised: false,
            } => write!(f, "had the certificate {id:?} revoked"),
            Self::Revoked {
                id,
                key_compromised: true,
            } => write!(
                f,
                "had the certificate {id:?} revoked, because somebody else may have its key"
            ),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn one_of_each() -> [CertificateChange; 6] {
        let directory = "https://acme-v02.api.letsencrypt.org/directory";
        let chosen = |terms_agreed| CertificateChange::Chosen {
            directory: directory.into(),
            terms_agreed,
        };
        let id = || "mail".to_owned();
        let revoked = |key_compromised| CertificateChange::Revoked {
            id: id(),
            key_compromised,
        };
        [
            chosen(true),
            chosen(false),
            CertificateChange::Renewed { id: id() },
            CertificateChange::KeySwitched { id: id() },
            revoked(false),
            revoked(true),
        ]
    }
}
