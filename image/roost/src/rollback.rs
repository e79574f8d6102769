//! `roost rollback`: back to the version in the other slot, if it passes its checks.

use crate::cli::RollbackArgs;
use crate::device::Device;
use crate::device::stop::Stop;
use crate::device::words::version;
use crate::error::Failure;
use crate::ui::{Mode, Ui};
use crate::update::trial;
use crate::update::verdict::{self, Done, Ended};
use roost_service::update::{Call, Phase};

/// `roost rollback`.
pub fn run(args: &RollbackArgs, ui: &Ui) -> Result<(), Failure> {
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    let mut device = Device::of(&args.which, args.argument.as_ref(), stop, ui)?;
    let cannot = "cannot roll back";
    let (link, report) = device.open().map_err(|e| device.failure(cannot, e))?;
    let refused = |why: String| Failure::new(format!("{cannot} {}", device.address)).because(why);
    let from = report.update.running.clone();
    let to = match (&report.update.phase, &report.update.other) {
        (Phase::Trial { version: tried, .. }, _) => {
            return Err(refused(format!("it is trying {} just now", version(tried)))
                .hint("wait until that has ended; a restart (`roost reboot`) ends it at once"));
        }
        (Phase::Writing { version: to }, _) => {
            return Err(refused(format!(
                "its other slot is being written with {}",
                version(to)
            )));
        }
        (_, None) => {
            return Err(refused("there is no whole version in its other slot".to_owned()).hint(
                "give it a bundle of the version that you want: roost update --allow-downgrade --bundle FILE",
            ));
        }
        (_, Some(other)) => other.clone(),
    };
    if ui.mode() != Mode::Json {
        ui.info(format!(
            "  {:<10}  {}\n  {:<10}  {}\n  {:<10}  {}",
            "box",
            device.address,
            "runs",
            version(&from),
            "return to",
            version(&to)
        ));
    }
    device.confirm("Restart into that version now?", args.yes, "a rollback")?;
    let call = Call::Rollback {
        allow_older_mail: args.allow_older_mail,
    };
    let before =
        trial::start(&mut device, link, &call, ui).map_err(|e| device.failure(cannot, e))?;
    let ended = trial::wait(&mut device, &to, &before, ui)?;
    verdict::tell(&device, Done::new(Ended::Kept, &from, &to), &ended, ui)
}
