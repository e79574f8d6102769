//! `roost boot-chart`: how the box's last start went, as a picture.
//!
//! [`draw`] makes the picture of what init has noted.

mod draw;

use crate::cli::BootChartArgs;
use crate::device::stop::Stop;
use crate::device::{ANSWER_LIMIT, Device, ask, unexpected};
use crate::error::Failure;
use crate::ui::Ui;
use crate::{run, store::disk_failure};
use roost_service::boot_times::BootTimes;
use roost_service::control::{Request, Response};
use roost_service::update::{Answer, Call};
use serde::Serialize;
use std::path::Path;

/// `roost boot-chart`.
pub fn run(args: &BootChartArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        address: String,
        #[serde(flatten)]
        times: &'a BootTimes,
    }
    let (address, times) = match &args.control {
        Some(socket) => (socket.display().to_string(), of_emulated(socket)?),
        None => {
            let mut device = Device::of(&args.which, args.argument.as_ref(), Stop::default(), ui)?;
            let times = device.open().and_then(|(mut link, _)| {
                match ask(&mut link, &Call::BootTimes, &[], ANSWER_LIMIT)? {
                    Answer::BootTimes(times) => Ok(times),
                    other => Err(unexpected(&other)),
                }
            });
            let times = times.map_err(|e| device.failure("cannot read the boot times of", e))?;
            (device.address.to_string(), times)
        }
    };
    if ui.mode() != crate::ui::Mode::Json {
        std::fs::write(&args.output, draw::svg(&times))
            .map_err(|e| disk_failure("write", &args.output, e))?;
    }
    let text = format!("{}: {}", args.output.display(), summary(&times));
    ui.result(
        text,
        &Result {
            address,
            times: &times,
        },
    );
    Ok(())
}

/// The marks, in a line.
fn summary(times: &BootTimes) -> String {
    let marks: Vec<String> = times
        .marks
        .iter()
        .map(|mark| {
            let name = crate::device::words::plain(&mark.name);
            format!("{name} after {:.2} s", mark.at_us as f64 / 1e6)
        })
        .collect();
    match marks.as_slice() {
        [] => "nothing has come true yet".to_owned(),
        some => some.join(", "),
    }
}

fn of_emulated(socket: &Path) -> Result<BootTimes, Failure> {
    let cannot = || {
        Failure::new(format!("cannot ask the box behind {}", socket.display()))
            .hint("it is there while `roost run` runs, and takes one caller at a time")
    };
    let took = |response: &Response| matches!(response, Response::BootTimes(_));
    match run::request(socket, &Request::BootTimes, took) {
        Ok(Response::BootTimes(times)) => Ok(times),
        Ok(Response::Error { message }) => Err(cannot().because(message)),
        Ok(_) => Err(cannot().because("its init answers something else")),
        Err(error) => Err(cannot().because(error)),
    }
}
