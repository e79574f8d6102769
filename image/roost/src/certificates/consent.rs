//! The owner's consent to the authority's terms, at the moment when the way to certificates is clear.

use super::{choose, question, status};
use crate::device::Device;
use crate::error::Failure;
use crate::password::{can_ask, confirm};
use crate::ui::Ui;
use roost_service::certificates::{Choice, Directory};

/// After the domain was delegated: has the authority's terms agreed to, if that was not done yet. `agreed`: the
/// owner has agreed to those of Let's Encrypt; else they are asked, if there is a terminal to ask on.
///
/// # Errors
///
/// A [`Failure`] if the box does not take it, or the terminal gives no answer.
pub fn offer(device: &mut Device<'_>, agreed: bool, ui: &Ui) -> Result<(), Failure> {
    const LATER: &str = "`roost certificates agree` gets the box certificates that others trust.";
    let before = status(device)?.choice.unwrap_or_default();
    let agrees = match Consent::of(&before, agreed, can_ask(ui)) {
        Consent::There => return Ok(()),
        Consent::Given => true,
        Consent::Ask => {
            ui.info("Now the box can get certificates, so that browsers, mail programs and other mail servers trust it.");
            confirm(&question(&before.directory))?
        }
        Consent::Later => false,
    };
    if !agrees {
        ui.info(LATER);
        return Ok(());
    }
    let choice = Choice {
        terms_agreed: true,
        ..before
    };
    choose(device, &choice)?;
    ui.info("The box orders its certificates now. `roost certificates show` says how that goes.");
    Ok(())
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
