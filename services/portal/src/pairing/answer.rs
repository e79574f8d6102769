//! What a visitor gets to see of the pairing, in words.

use crate::code::NotACode;
use crate::time::words;
use std::time::Duration;

/// What a visitor may see of the pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The page that asks for the code.
    AskCode {
        /// Tries left before the next delay.
        left: u32,
        /// How long until a try is let through.
        wait: Duration,
    },
    /// The form: this browser has entered the code.
    Form,
    /// Nothing but a sentence.
    Closed(Refusal),
}

/// Why a visitor gets no further. Its text is for the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was typed cannot be a code.
    #[error("{0}")]
    NotACode(NotACode),
    /// A wrong code; another try is free.
    #[error("this is not the code of this box; {} left before you have to wait", tries(*left))]
    Wrong {
        /// How many more are.
        left: u32,
    },
    /// A wrong code, and a delay from now on.
    #[error("this is not the code of this box; you can try again in {}", words(*wait))]
    WrongThenWait {
        /// How long, for this address.
        wait: Duration,
    },
    /// Not let through.
    #[error(
        "too many wrong codes were entered, here or in another browser; you can try again in {}",
        words(*wait)
    )]
    Wait {
        /// How long, for this address.
        wait: Duration,
    },
    /// The browser has no grant, and nobody else has one.
    #[error("enter the pairing code first")]
    NoGrant,
    /// The code has expired.
    #[error("the pairing code has expired")]
    Expired,
    /// Another browser has entered the code.
    #[error("another browser has entered the code; go on in that one")]
    Elsewhere,
    /// There is an owner.
    #[error("this box has an owner already")]
    Finished,
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotACode(_) | Self::NoGrant | Self::Wrong { .. } | Self::WrongThenWait { .. } => {
                "`roost flash` showed the code when it wrote the card; a screen on the box shows it too"
            }
            Self::Wait { .. } => {
                "if you entered none, somebody else on your network did; connect the box to a network of your own, or write its card again"
            }
            Self::Expired => {
                "a screen on the box shows a new one; without a screen, write the card again with `roost flash`"
            }
            Self::Elsewhere => {
                "if that was not you, somebody knows the code: switch the box off and write its card again with `roost flash`"
            }
            Self::Finished => "sign in",
        }
    }
}

fn tries(left: u32) -> String {
    match left {
        1 => "1 try is".to_owned(),
        n => format!("{n} tries are"),
    }
}
