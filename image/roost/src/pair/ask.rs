//! What has to be typed to pair with a box, and from where it comes without a terminal.

use crate::ask::{can_ask, no_answer};
use crate::cli::PairArgs;
use crate::config::names::{AccountName, Domain};
use crate::config::read::Reason;
use crate::error::Failure;
use crate::password::first_line;
use crate::ui::Ui;
use roost_service::card::normalise_code;
use zeroize::Zeroizing;

/// The code of a new box.
pub fn code(ui: &Ui) -> Result<String, Failure> {
    if !can_ask(ui) {
        return Err(Failure::usage(
            "no pairing code was given, and there is no terminal to ask for it",
        )
        .hint("add --code; `roost flash` showed it, and a screen on the box shows it"));
    }
    dialoguer::Input::<String>::new()
        .with_prompt("Pairing code (`roost flash` showed it; a screen on the box shows it)")
        .validate_with(|text: &String| match normalise_code(text) {
            Some(_) => Ok(()),
            None => Err("a code has eight letters and digits, like A0B1-C2D3"),
        })
        .interact_text()
        .map_err(no_answer)
}

/// The admin password that a new box gets. What it has to be like, the box says.
pub fn new_password(args: &PairArgs, ui: &Ui) -> Result<Zeroizing<String>, Failure> {
    match from_file(args, ui)? {
        Some(password) => Ok(password),
        None => dialoguer::Password::new()
            .with_prompt("Admin password for the box, at least ten letters")
            .with_confirmation("The same again", "They differ, once more")
            .interact()
            .map(Zeroizing::new)
            .map_err(no_answer),
    }
}

/// The admin password of a box that has an owner.
pub fn password(args: &PairArgs, ui: &Ui) -> Result<Zeroizing<String>, Failure> {
    match from_file(args, ui)? {
        Some(password) => Ok(password),
        None => dialoguer::Password::new()
            .with_prompt("Admin password of the box")
            .interact()
            .map(Zeroizing::new)
            .map_err(no_answer),
    }
}

fn from_file(args: &PairArgs, ui: &Ui) -> Result<Option<Zeroizing<String>>, Failure> {
    match &args.password_file {
        Some(path) => first_line(path).map(Zeroizing::new).map(Some),
        None if can_ask(ui) => Ok(None),
        None => Err(Failure::usage(
            "no admin password was given, and there is no terminal to ask for it",
        )
        .hint("add --password-file FILE")),
    }
}

/// The second factor.
pub fn second() -> Result<String, Failure> {
    dialoguer::Input::<String>::new()
        .with_prompt("Six digits of your app, or a recovery code")
        .interact_text()
        .map_err(no_answer)
}

/// Domain and first account of a box whose image names none.
pub fn mailbox(args: &PairArgs, ui: &Ui) -> Result<(Option<String>, Option<String>), Failure> {
    let domain = (args.domain.as_deref().map(Domain::parse).transpose())
        .map_err(Failure::of_option("--domain"))?;
    let account = (args.account.as_deref().map(AccountName::parse).transpose())
        .map_err(Failure::of_option("--account"))?;
    if (domain.is_none() || account.is_none()) && !can_ask(ui) {
        return Err(Failure::usage(
            "the box's image names no domain and no first account, and there is no terminal to ask",
        )
        .hint("add --domain DOMAIN and --account NAME"));
    }
    let domain = match domain {
        Some(domain) => domain.as_str().to_owned(),
        None => question("Your mail domain, e.g. example.org", |text| {
            Domain::parse(text).map(drop)
        })?,
    };
    let account = match account {
        Some(account) => account.as_str().to_owned(),
        None => question("Name of the first account (NAME@domain)", |text| {
            AccountName::parse(text).map(drop)
        })?,
    };
    Ok((Some(domain), Some(account)))
}

fn question(prompt: &str, check: impl Fn(&str) -> Result<(), Reason>) -> Result<String, Failure> {
    dialoguer::Input::<String>::new()
        .with_prompt(prompt)
        .validate_with(|text: &String| check(text.trim()).map_err(|reason| reason.message))
        .interact_text()
        .map(|text| text.trim().to_owned())
        .map_err(no_answer)
}
