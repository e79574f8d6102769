//! `roost reboot`: restarts the box and waits for its services.

use crate::cli::RebootArgs;
use crate::device::stop::Stop;
use crate::device::words::{span, version};
use crate::device::{Device, demand};
use crate::error::Failure;
use crate::ui::{Ui, seconds};
use roost_service::update::{Call, Phase, Report};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Between two looks at the box.
const EVERY: Duration = Duration::from_secs(1);
/// A check of a large damaged card takes minutes.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// `roost reboot`.
pub fn run(args: &RebootArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        seconds: f64,
        report: &'a Report,
    }
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    let mut device = Device::of(&args.which, args.argument.as_ref(), stop, ui)?;
    let cannot = "cannot restart";
    let (_, before) = device.open().map_err(|e| device.failure(cannot, e))?;
    if let Phase::Trial { version: tried, .. } = &before.update.phase {
        ui.warn(format!(
            "{} is on trial: a restart now returns to the version from before",
            version(tried)
        ));
    }
    device.confirm(
        &format!("Restart {} now?", device.address),
        args.yes,
        "a restart",
    )?;
    // The question may have taken its time, and so the connection is new.
    let (mut link, before) = device.open().map_err(|e| device.failure(cannot, e))?;
    demand(&mut link, &Call::Reboot).map_err(|e| device.failure(cannot, e))?;
    drop(link);
    let asked = Instant::now();
    let step = ui.step("restart the box");
    loop {
        if !device.stop.wait(EVERY) {
            return Err(Failure::interrupted("stopped waiting for the box")
                .because("it has agreed to restart, and does so by itself")
                .hint("`roost status` shows how it is"));
        }
        // An unreachable box is expected.
        if let Ok((_, report)) = device.open()
            && restarted(&before, &report, asked.elapsed())
            && report.machine.ready
        {
            step.done("services are ready");
            let took = asked.elapsed();
            let text = format!(
                "{} was restarted and is ready, after {}.",
                device.address,
                span(took.as_secs_f64())
            );
            let result = Result {
                seconds: took.as_secs_f64(),
                report: &report,
            };
            ui.result(text, &result);
            return Ok(());
        }
        if asked.elapsed() > LIMIT {
            return Err(Failure::new(format!("{} is not ready again", device.address))
                .because(format!("it was asked to restart {} ago", seconds(LIMIT)))
                .hint("`roost status` may show why; if it does not answer, look into your router for its address"));
        }
    }
}

/// Whether the kernel was started again since `before`, `after` ago.
fn restarted(before: &Report, now: &Report, after: Duration) -> bool {
    // Ten seconds of slack for clocks that run apart and reports that take time.
    now.machine.uptime_s + 10.0 < before.machine.uptime_s + after.as_secs_f64()
        || now.machine.uptime_s < before.machine.uptime_s
}
