//! What can go wrong between the laptop and a box, and how it is told.

use super::address::{Address, ConnectError};
use super::identity::BoxKey;
use crate::error::Failure;
use roost_service::update::MAX_LINE;
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
    #[error("the box does not take this laptop's key ({alert})")]
    NotAllowed {
        /// What it said, in TLS's words.
        alert: String,
    },
    /// Another key than the one that is known.
    #[error("it shows another key than the one this laptop knows")]
    ChangedKey {
        /// By which it is known.
        known: BoxKey,
        /// What it showed.
        shown: BoxKey,
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
    /// Something on this machine, e.g. the known boxes cannot be read.
    #[error(transparent)]
    Here(#[from] Failure),
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
    pub fn failure(self, what: &str, address: &Address, context: &Context<'_>) -> Failure {
        let failure = Failure::new(format!("{what} {address}"));
        let hint = match &self {
            Self::Here(_) => None,
            Self::Interrupted => {
                return Failure::interrupted(format!("{what} {address}")).because(self);
            }
            Self::ChangedKey { known, shown } => {
                let known = known.fingerprint();
                let shown = shown.fingerprint();
                return failure
                    .because(format!(
                        "{self}\nknown  {known}\nshown  {shown}\n\
                         Either its card was flashed anew, or something else answers at this address."
                    ))
                    .hint(format!(
                        "if you flashed the card anew, say so once with --accept-new-key; else find out what answers there. Nothing was sent. \
                         Known keys are in {}",
                        context.known_boxes
                    ));
            }
            Self::Connect(e) => Some(e.hint().to_owned()),
            Self::Cut(_) => Some(
                "run the command again. If it is cut each time, the box may not know this laptop's key, or something else answers there".to_owned(),
            ),
            Self::Silent(_) => Some("run the command again; if that does not help, restart the box by its plug: that is safe".to_owned()),
            Self::NotAllowed { .. } => Some(format!(
                "put this laptop's key into roost.toml, under [update], and give the box an image or an update built from it:\n\
                 laptops = [\"{}\"]",
                context.laptop
            )),
            Self::NoBox(_) => Some("check address and port; the device API of a box is at port 7625".to_owned()),
            Self::NotUnderstood(_) => Some("the box may run another version of Roost than this machine: use the `roost` that the box was built with".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
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

/// What hints need to name.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The file of known boxes.
    pub known_boxes: &'a str,
    /// The laptop's public key.
    pub laptop: &'a str,
}
