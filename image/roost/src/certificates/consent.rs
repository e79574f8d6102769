//! The owner's consent to the authority's terms, at the moment when the way to certificates is clear.

use super::{choose, question, status};
use crate::ask::{can_ask, confirm};
use crate::device::Device;
use crate::error::Failure;
use crate::ui::Ui;
use roost_service::certificates::{Choice, Directory};

/// After the domain was delegated: has the authority's terms agreed to, if that was not done yet. `agreed`: the
/// owner has agreed to those of Let's Encrypt; else they are asked, if there is a terminal to ask on.
///
/// # Errors
///
/// A [`Failure`] if the box does not take it, or the terminal gives no answer.
pub fn offer(device: &mut Device<'_>, agreed: bool, ui: &Ui) -> Result<(), Failure> {
    ask(device, agreed, ui)?.pass_on(device, ui)
}

/// What the owner has said, which the box does not know yet.
#[derive(Debug)]
pub enum Answer {
    /// The box has the consent.
    There,
    /// Yes; what the box is to be told.
    Yes(Choice),
    /// No, or not now.
    Later,
}

/// Finds out whether the owner agrees, and tells the box nothing: it would order at once, and in vain before
/// its domain was delegated. `agreed`: as for [`offer`].
///
/// # Errors
///
/// A [`Failure`] if the box does not say what it has, or the terminal gives no answer.
pub fn ask(device: &mut Device<'_>, agreed: bool, ui: &Ui) -> Result<Answer, Failure> {
    let before = status(device)?.choice.unwrap_or_default();
    let agrees = match Consent::of(&before, agreed, can_ask(ui)) {
        Consent::There => return Ok(Answer::There),
        Consent::Given => true,
        Consent::Ask => {
            ui.info("With its domain the box can get certificates, so that browsers, mail programs and other mail servers trust it.");
            confirm(&question(&before.directory))?
        }
        Consent::Later => false,
    };
    Ok(match agrees {
        true => Answer::Yes(Choice {
            terms_agreed: true,
            ..before
        }),
        false => Answer::Later,
    })
}

impl Answer {
    /// Tells the box, now that the way to certificates is clear.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box does not take it.
    pub fn pass_on(self, device: &mut Device<'_>, ui: &Ui) -> Result<(), Failure> {
        match self {
            Self::There => {}
            Self::Later => {
                ui.info("`roost certificates agree` gets the box certificates that others trust.");
            }
            Self::Yes(choice) => {
                choose(device, &choice)?;
                ui.info("The box orders its certificates now. `roost certificates show` says how that goes.");
            }
        }
        Ok(())
    }
}

/// Where the owner's consent is to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consent {
    /// The box has it.
    There,
    /// On the command line.
    Given,
    /// From the terminal.
    Ask,
    /// Another time.
    Later,
}

impl Consent {
    fn of(before: &Choice, given: bool, can_ask: bool) -> Self {
        // What was agreed to on the command line are Let's Encrypt's terms.
        let is_theirs = !matches!(before.directory, Directory::Url(_));
        match (before.terms_agreed, given && is_theirs, can_ask) {
            (true, _, _) => Self::There,
            (false, true, _) => Self::Given,
            (false, false, true) => Self::Ask,
            (false, false, false) => Self::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_consent_is_made_up() {
        let with = |directory: &Directory, terms_agreed| Choice {
            directory: directory.clone(),
            terms_agreed,
            ..Choice::default()
        };
        let (theirs, other) = (Directory::LetsEncrypt, Directory::Url("https://ca".into()));
        for (before, given, can_ask, expected) in [
            (with(&theirs, true), true, true, Consent::There),
            (with(&other, true), false, false, Consent::There),
            (with(&theirs, false), true, false, Consent::Given),
            (with(&theirs, false), false, true, Consent::Ask),
            (with(&theirs, false), false, false, Consent::Later),
            (with(&other, false), true, true, Consent::Ask),
            (with(&other, false), true, false, Consent::Later),
        ] {
            assert_eq!(Consent::of(&before, given, can_ask), expected, "{before:?}");
        }
    }
}
