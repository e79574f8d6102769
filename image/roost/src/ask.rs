//! Questions on the terminal.

use crate::error::Failure;
use crate::ui::{Mode, Ui};
use std::io::IsTerminal;

/// Whether questions can be asked.
pub fn can_ask(ui: &Ui) -> bool {
    ui.mode() != Mode::Json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks `question` for `command`, if `yes` does not say it already; `no` is told if the answer is no.
///
/// # Errors
///
/// A [`Failure`] if the answer is no, or if there is no terminal to ask on.
pub fn agreed(ui: &Ui, question: &str, yes: bool, command: &str, no: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !can_ask(ui) {
        return Err(Failure::usage(format!(
            "{command} asks first, and there is no terminal to ask on"
        ))
        .hint("add --yes"));
    }
    match confirm(question)? {
        true => Ok(()),
        false => Err(Failure::interrupted(no)),
    }
}

/// Asks a question that is answered by yes or no; Enter alone means no.
///
/// # Errors
///
/// A [`Failure`] if the terminal gives no answer.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    dialoguer::Confirm::new()
        .with_prompt(question)
        .default(false)
        .show_default(true)
        .interact()
        .map_err(no_answer)
}

/// Asks which one of several it shall be, each with its line; gives its place among them.
///
/// # Errors
///
/// A [`Failure`] with these words if the user wants none, or if the terminal gives no answer.
pub fn choose(lines: &[String], none: &str) -> Result<usize, Failure> {
    dialoguer::Select::new()
        .with_prompt("Which one?  (arrow keys, Enter; Esc ends it)")
        .items(lines)
        .default(0)
        .interact_opt()
        .map_err(no_answer)?
        .ok_or_else(|| Failure::interrupted(none))
}

/// An error of a question on the terminal.
pub fn no_answer(error: dialoguer::Error) -> Failure {
    let dialoguer::Error::IO(error) = error;
    if error.kind() == std::io::ErrorKind::Interrupted {
        return Failure::interrupted("interrupted; nothing was written");
    }
    Failure::new("cannot read from the terminal").because(error)
}
