//! `roost update`: a new version for the box.
//!
//! - [`source`]: the bundle on this machine; [`offer`]: what it would change;
//! - [`send`]: sending what the box lacks; [`trial`]: waiting for the verdict;
//! - [`verdict`]: telling it.

pub mod offer;
pub mod send;
pub mod source;
pub mod trial;
pub mod verdict;

use crate::ask::can_ask;
use crate::cli::UpdateArgs;
use crate::device::Device;
use crate::device::error::DeviceError;
use crate::device::paired::Installed;
use crate::device::stop::Stop;
use crate::device::words::version;
use crate::error::Failure;
use crate::ui::{Mode, Ui};
use offer::Outlook;
use roost_service::update::{Call, Phase, Report, Version};
use send::{Allowed, Transfer};
use serde_json::json;
use source::Bundle;
use verdict::{Done, Ended};

/// `roost update`.
pub fn run(args: &UpdateArgs, ui: &Ui) -> Result<(), Failure> {
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    let mut device = Device::of(&args.which, args.argument.as_ref(), stop, ui)?;
    let file = match &args.bundle {
        Some(file) => file.clone(),
        None => source::bundle_for(args, ui)?,
    };
    let bundle = Bundle::open(&file)?;
    let cannot = "cannot update";
    let (mut link, report) = device.open().map_err(|e| device.failure(cannot, e))?;
    let (running, to) = (&report.update.running, bundle.version());
    if running.number == to.number {
        let text = format!(
            "Nothing to do: {} runs {} already.",
            device.address,
            version(running)
        );
        ui.result(text, &Done::new(Ended::NothingToDo, running, &to));
        return Ok(());
    }
    let allowed = permitted(args, &bundle, &report, &device, ui)?;
    let offer =
        send::offer(&mut link, &bundle, allowed, ui).map_err(|e| device.failure(cannot, e))?;
    let outlook = Outlook::new(&offer, &bundle.release, &report, device.installed());
    let table = outlook.render(&device.address.to_string());
    if args.dry_run {
        let result = Done {
            outlook: Some(&outlook),
            ..Done::new(Ended::DryRun, &offer.from, &offer.to)
        };
        ui.result(
            format!("{table}\nNothing was written (--dry-run).\n"),
            &result,
        );
        return Ok(());
    }
    ui.event_line(&json!({ "event": "offer", "outlook": outlook }));
    if ui.mode() != Mode::Json {
        ui.info(&table);
    }
    device.confirm("Update now?", args.yes, "an update")?;

    let step = ui.step("send and write");
    step.total_bytes(offer.write);
    let agreed = (offer.from.clone(), offer.to.clone());
    let mut transfer = Transfer {
        device: &mut device,
        bundle: &bundle,
        allowed,
        agreed: agreed.clone(),
        write: offer.write,
        ui,
    };
    let staged = transfer.stage(link, offer.clone(), &step);
    let (link, sent) = match staged {
        Ok(staged) => staged,
        Err(e) => {
            drop(step);
            return Err(unsent(&device, e, &agreed.0));
        }
    };
    step.done(send::summary(&sent, &offer));

    let (from, to) = &agreed;
    let before = trial::start(&mut device, link, &Call::Trial, ui)
        .map_err(|e| device.failure("cannot start the trial on", e))?;
    let ended = trial::wait(&mut device, to, &before, ui)?;
    if matches!(ended, trial::Verdict::Kept(_)) {
        let installed = Installed {
            number: to.number,
            components: bundle.release.components.clone(),
        };
        // Only for the next update's table: no reason to call this one failed.
        if let Err(e) = device.note_installed(installed) {
            ui.warn(e.to_string());
        }
    }
    let result = Done {
        sent_bytes: Some(sent.bytes),
        ..Done::new(Ended::Kept, from, to)
    };
    verdict::tell(&device, result, &ended, ui)
}

/// What may be asked of the box, from the options, and whether somebody can be asked.
fn permitted(
    args: &UpdateArgs,
    bundle: &Bundle,
    report: &Report,
    device: &Device<'_>,
    ui: &Ui,
) -> Result<Allowed, Failure> {
    let (running, to) = (&report.update.running, bundle.version());
    let address = &device.address;
    let cannot = || Failure::new(format!("cannot update {address}"));
    if let Phase::Trial { version: tried, .. } = &report.update.phase {
        return Err(cannot()
            .because(format!("it is trying {} just now", version(tried)))
            .hint("wait until that has ended; `roost status` shows how it goes"));
    }
    if to.number < running.number && !args.allow_downgrade {
        return Err(cannot()
            .because(format!(
                "the bundle has {}, older than {}, which runs now",
                version(&to),
                version(running)
            ))
            .hint("if you want the older version, add --allow-downgrade"));
    }
    // Asking what it would do is harmless, and the question says that there is no way back.
    let asked = args.dry_run || (can_ask(ui) && !args.yes);
    if !bundle.release.reversible && !args.allow_irreversible && !asked {
        return Err(cannot()
            .because(format!(
                "after {} the box cannot return to {}",
                version(&to),
                version(running)
            ))
            .hint("make a backup, then add --allow-irreversible"));
    }
    Ok(Allowed {
        downgrade: args.allow_downgrade,
        irreversible: args.allow_irreversible || asked,
    })
}

/// Why the other slot is not written, and that this does no harm.
fn unsent(device: &Device<'_>, error: DeviceError, runs: &Version) -> Failure {
    let rest = "run the same command again: it sends only the rest";
    match error {
        DeviceError::Interrupted => Failure::interrupted("stopped sending")
            .because(format!(
                "{} runs {} as before; its other slot is written in part",
                device.address,
                version(runs)
            ))
            .hint(rest),
        e if e.may_pass() => device.failure("cannot send the update to", e).hint(format!(
            "{} runs {} as before; {rest}",
            device.address,
            version(runs)
        )),
        e => device.failure("cannot send the update to", e),
    }
}
