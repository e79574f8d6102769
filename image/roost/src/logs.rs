//! `roost logs`: what a service of the box has logged.

use crate::cli::LogsArgs;
use crate::config::read::nearest;
use crate::device::error::DeviceError;
use crate::device::link::Link;
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::device::{ANSWER_LIMIT, Device, unexpected};
use crate::error::Failure;
use crate::ui::{Mode, Ui};
use roost_service::update::{Answer, Call};
use serde_json::json;
use std::time::Duration;

/// Logs that belong to no service of the table.
const OTHERS: [&str; 2] = ["init", "kernel"];
/// A log may be silent for as long as it likes; TCP notices a box that is gone.
const FOLLOW_LIMIT: Duration = Duration::MAX;

/// `roost logs`.
pub fn run(args: &LogsArgs, ui: &Ui) -> Result<(), Failure> {
    // Ctrl-C ends it at once: there is nothing to leave in order.
    let mut device = Device::of(&args.which, None, Stop::default(), ui)?;
    let cannot = "cannot read the log of";
    let (mut link, report) = device.open().map_err(|e| device.failure(cannot, e))?;
    let mut names: Vec<&str> = report
        .machine
        .services
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    names.extend(OTHERS);
    if !names.contains(&args.service.as_str()) {
        let hint = match nearest(&args.service, &names) {
            Some(near) => format!("did you mean {}?", plain(near)),
            None => format!("logs are {}", plain(&names.join(", "))),
        };
        return Err(Failure::usage(format!(
            "{} has no service {:?}",
            device.address, args.service
        ))
        .hint(hint));
    }
    let call = Call::Logs {
        service: args.service.clone(),
        lines: args.lines as usize,
        boot: args.boot,
        follow: args.follow,
    };
    link.send(&call, &[], ANSWER_LIMIT)
        .and_then(|()| show(&mut link, args.follow, ui))
        .map_err(|e| device.failure(cannot, e))
}

fn show(link: &mut Link, follow: bool, ui: &Ui) -> Result<(), DeviceError> {
    let mut limit = ANSWER_LIMIT;
    loop {
        let lines = match link.answer(limit)? {
            Answer::Logs { lines } => lines,
            other => return Err(unexpected(&other)),
        };
        for line in lines {
            if ui.mode() == Mode::Json {
                ui.event_line(&json!({ "event": "log", "text": line }));
            } else {
                ui.result(plain(&line), &());
            }
        }
        if !follow {
            return Ok(());
        }
        limit = FOLLOW_LIMIT;
    }
}
