//! What can go wrong between the laptop and a box, and how it is told.

use super::address::{Address, ConnectError};
use crate::error::Failure;
use roost_service::fingerprint::Fingerprint;
use roost_service::update::MAX_LINE;
use serde::Deserialize;
use std::time::Duration;

/// Why the box did not do what it was asked, or is not known to have done it.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended before the answer.
    #[error("the connection was cut: {0}")]
    Cut(String),
    /// The box is connected, but says nothing.
    #[error("nothing came from the box for {} s", .0.as_secs())]
    Silent(Duration),
    /// Ctrl-C.
    #[error("ended by Ctrl-C")]
    Interrupted,
    /// The box does not take this laptop's key.
    #[error("the box does not know this laptop, or not any more ({alert})")]
    NotAllowed {
        /// What it said, in TLS's words.
        alert: String,
    },
    /// Its card was flashed here, and nobody has become its owner yet.
    #[error("the box has no owner yet, and lets nobody in before it has one")]
    NoOwner {
        /// Where somebody becomes its owner.
        page: String,
        /// Its pairing code, as people type it.
        code: String,
    },
    /// Another certificate than the one that is known.
    #[error("it shows another certificate than the one that this laptop knows")]
    ChangedCertificate {
        /// By which it is known.
        known: Fingerprint,
        /// What it showed.
        shown: Fingerprint,
    },
    /// No box that this laptop is paired with.
    #[error("what answers there is none of the boxes that this laptop is paired with")]
    Stranger {
        /// What it showed.
        shown: Fingerprint,
    },
    /// Whatever answers is no box.
    #[error("what answers there is no Roost box: {0}")]
    NoBox(String),
    /// The box said something that the protocol does not have.
    #[error("the box's answer cannot be understood: {0}")]
    NotUnderstood(String),
    /// The box refused, with its reason.
    #[error("{message}")]
    Refused {
        /// In its words.
        message: String,
        /// What it says can be done.
        hint: Option<String>,
    },
    /// The box's API refused, with its reason.
    #[error("{}", .0.text())]
    Api(ApiError),
    /// Something on this machine, e.g. the known boxes cannot be read.
    #[error(transparent)]
    Here(#[from] Failure),
}

/// An error as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiError {
    /// For programs, e.g. `wrong_code`.
    #[serde(default)]
    pub code: String,
    /// What failed.
    pub what: String,
    /// Why.
    #[serde(default)]
    pub because: Option<String>,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
}

impl ApiError {
    fn text(&self) -> String {
        match &self.because {
            Some(because) => format!("{}: {because}", self.what),
            None => self.what.clone(),
        }
    }
}

impl DeviceError {
    /// A line that is too long.
    pub fn long_line() -> Self {
        Self::NotUnderstood(format!("a line is longer than {} kB", MAX_LINE / 1000))
    }

    /// Whether the same may work in a moment, without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Cut(_) | Self::Silent(_))
    }

    /// The failure of a command that wanted `what` of the box at `address`, e.g. `cannot restart the box`.
    pub fn failure(self, what: &str, address: &Address) -> Failure {
        let failure = Failure::new(format!("{what} {address}"));
        let hint = match &self {
            Self::Here(_) => None,
            Self::Interrupted => {
                return Failure::interrupted(format!("{what} {address}")).because(self);
            }
            Self::ChangedCertificate { known, shown } => {
                return failure
                    .because(format!(
                        "{self}\nknown  {}\nshown  {}\n\
                         Somebody may be between you and the box; or its card was written anew, or another box has this address. \
                         Nothing was sent.",
                        known.words().join(" "),
                        shown.words().join(" "),
                    ))
                    .hint("look at the words on the box's screen. If they are those that were shown, its card was written anew: run `roost pair` again. If not, find out what answers there");
            }
            Self::Stranger { shown } => {
                return failure
                    .because(format!("{self}\nshown  {}", shown.words().join(" ")))
                    .hint("pair with it first: roost pair ADDRESS");
            }
            Self::Connect(e) => Some(e.hint().to_owned()),
            Self::Cut(_) => Some(
                "run the command again. If it is cut each time, the box may not know this laptop any more (`roost pair` again), or something else answers there".to_owned(),
            ),
            Self::Silent(_) => Some("run the command again; if that does not help, restart the box by its plug: that is safe".to_owned()),
            Self::NotAllowed { .. } => Some(
                "somebody has revoked this laptop, or the box was reset. Pair again: roost pair ADDRESS".to_owned(),
            ),
            Self::NoOwner { page, code } => Some(format!(
                "open {page} in a browser, and enter the code {code}. Or become its owner from here: roost pair"
            )),
            Self::NoBox(_) => Some("check address and port; the device API of a box is at port 7625".to_owned()),
            Self::NotUnderstood(_) => Some("the box may run another version of Roost than this machine: use the `roost` that the box was built with".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Api(error) => error.hint.clone(),
        };
        let failure = match self {
            Self::Here(here) => return here,
            error => failure.because(error),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
