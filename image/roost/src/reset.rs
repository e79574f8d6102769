//! `roost reset`: the box as new.

use crate::ask::{can_ask, no_answer};
use crate::cli::ResetArgs;
use crate::device::Device;
use crate::device::cards::{Card, Cards};
use crate::device::error::DeviceError;
use crate::device::stop::Stop;
use crate::error::Failure;
use crate::ui::Ui;
use roost_service::card::{display_code, normalise_code};
use serde::Serialize;
use serde_json::json;

/// `roost reset`.
pub fn run(args: &ResetArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Reset<'a> {
        name: &'a str,
        pairing_code: String,
    }
    if let Some(card) = &args.card {
        return crate::flash::reset::run(card, args, ui);
    }
    let mut device = Device::of(&args.which, args.argument.as_ref(), Stop::default(), ui)?;
    let cannot = "cannot reset";
    // Whether it is there, and takes this computer's word, before anybody is asked.
    let (_, report) = device.open().map_err(|e| device.failure(cannot, e))?;
    let name = report.machine.name;
    agree(args, &name, &device, ui)?;
    let answer = device
        .api("POST", "/api/v1/reset", Some(&json!({ "name": name })))
        .map_err(|e| device.failure(cannot, e))?;
    let code = answer["code"].as_str().and_then(normalise_code);
    let Some(code) = code else {
        let error = DeviceError::NotUnderstood("it tells no new code".to_owned());
        return Err(device.failure(cannot, error));
    };
    // Its certificate stays: `roost pair` knows it again.
    if let Some(known) = device.met() {
        let mut card = Card::new(&name, &code, known.fingerprint()?);
        let at = &device.address;
        if at.port() != roost_service::update::PORT {
            let web = at.port().checked_sub(roost_service::update::PORT - 443);
            card.web = web.map(|port| at.with_port(port).host_header());
            card.api_port = Some(at.port());
        }
        Cards::of_user()?.keep(&card)?;
    }
    device.forget()?;
    let code = display_code(&code);
    let text = format!(
        "{name} forgets everything and restarts.\n\n  \
         pairing code  {code}   (works once)\n\nNext, in some minutes: roost pair\n"
    );
    ui.result(
        text,
        &Reset {
            name: &name,
            pairing_code: code,
        },
    );
    Ok(())
}

/// The name must be typed: this deletes every mail.
fn agree(args: &ResetArgs, name: &str, device: &Device<'_>, ui: &Ui) -> Result<(), Failure> {
    let typed = match &args.confirm {
        Some(typed) => typed.clone(),
        None if can_ask(ui) => {
            ui.info(format!(
                "This deletes all mail, accounts and settings of {name} at {}. There is no way back.",
                device.address
            ));
            dialoguer::Input::<String>::new()
                .with_prompt("Type the box's name to go on")
                .allow_empty(true)
                .interact_text()
                .map_err(no_answer)?
        }
        None => {
            return Err(Failure::usage(
                "a reset asks for the box's name, and there is no terminal to ask on",
            )
            .hint(format!("add --confirm {name}")));
        }
    };
    if typed.trim() == name {
        return Ok(());
    }
    Err(
        Failure::interrupted("that is not the box's name; nothing was changed on the box")
            .hint(format!("it is called {name}")),
    )
}
