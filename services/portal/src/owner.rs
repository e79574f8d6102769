//! The owner, and what proves that a request is theirs.
//!
//! ```text
//! pairing ─────────────────────────────┐
//! password ─▶ no second factor ────────┼─▶ Authenticated ─▶ a new session
//!         └─▶ PasswordRight ─▶ a code ─┤
//! passkey ─────────────────────────────┘
//! ```
//!
//! There is one owner, so no name is asked for. Both factors come in one form; which of
//! the two was wrong is said, because an owner must know what to correct. The
//! second has limits of its own for that reason ([`crate::throttle::SECOND`]).

use crate::decided::Decided;
use crate::password::{self, PasswordHash};
use crate::second::{Proof, Refused, SecondFactor};
use crate::time::Wall;
use serde::{Deserialize, Serialize};

/// The owner of the box; kept by the store. Made by [`crate::pairing::Pairing::finish`] only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    password: PasswordHash,
    second: Option<SecondFactor>,
}

/// How somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedInBy {
    /// By the pairing code, once.
    Pairing,
    /// With the password; there is no second factor.
    Password,
    /// With the password and a code of the app.
    App,
    /// With the password and a recovery code.
    Recovery,
    /// With a passkey ([`crate::passkey`]).
    Passkey,
}

/// Proves that the owner has just signed in. Good for one session.
#[derive(Debug)]
pub struct Authenticated {
    by: SignedInBy,
}

impl Authenticated {
    pub(crate) fn new(by: SignedInBy) -> Self {
        Self { by }
    }

    /// How.
    pub fn by(&self) -> SignedInBy {
        self.by
    }
}

/// Proves that the password was right, which is not enough where there is a second factor.
#[derive(Debug)]
pub struct PasswordRight(());

/// What follows the right password.
#[derive(Debug)]
pub enum Next {
    /// Nothing: it is the owner.
    SignedIn(Authenticated),
    /// The second factor ([`Owner::check_second`]).
    Second(PasswordRight),
}

/// The password is not right, or there is no owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password is not right")]
pub struct WrongPassword;

/// Checks a password. Takes as long without an owner as with one.
///
/// # Errors
/// When it is not right.
pub fn check_password(owner: Option<&Owner>, typed: &str) -> Result<Next, WrongPassword> {
    let right = password::is_right(owner.map(|owner| &owner.password), typed);
    match owner {
        Some(owner) if right && owner.second.is_none() => {
            Ok(Next::SignedIn(Authenticated::new(SignedInBy::Password)))
        }
        Some(_) if right => Ok(Next::Second(PasswordRight(()))),
        _ => Err(WrongPassword),
    }
}

impl Owner {
    pub(crate) fn new(password: PasswordHash) -> Self {
        Self {
            password,
            second: None,
        }
    }

    /// The second factor, if there is one.
    pub fn second(&self) -> Option<&SecondFactor> {
        self.second.as_ref()
    }

    /// Checks what was entered beside the right password, and uses it up.
    pub fn check_second(
        self,
        right: PasswordRight,
        typed: &str,
        clock: Option<Wall>,
    ) -> Decided<Self, Result<Authenticated, Refused>> {
        let Self { password, second } = self;
        let PasswordRight(()) = right;
        let Some(second) = second else {
            // It was removed since the password was checked, by the owner in another browser.
            let owner = Self { password, second };
            let by = Authenticated::new(SignedInBy::Password);
            return Decided::unchanged(owner, Ok(by));
        };
        second.check(typed, clock).map(
            |second| Self {
                password,
                second: Some(second),
            },
            |answer| {
                answer.map(|proof| {
                    Authenticated::new(match proof {
                        Proof::App => SignedInBy::App,
                        Proof::Recovery { .. } => SignedInBy::Recovery,
                    })
                })
            },
        )
    }

    /// The owner, who has just shown who they are, changes the password. All sessions and
    /// known browsers are to be ended with it.
    #[must_use]
    pub fn with_password(self, _: Authenticated, password: PasswordHash) -> Self {
        Self { password, ..self }
    }

    /// The owner, who has just shown who they are, sets up or removes the second factor.
    #[must_use]
    pub fn with_second(self, _: Authenticated, second: Option<SecondFactor>) -> Self {
        Self { second, ..self }
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
