//! Telling how a trial ended.

use super::offer::Outlook;
use super::trial::{self, Verdict};
use crate::device::Device;
use crate::device::words::{plain, reason, span, version};
use crate::error::Failure;
use crate::ui::Ui;
use roost_service::update::{Outcome, Version};
use serde::Serialize;

/// How a command ended that may change the version of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The wanted version runs and was kept.
    Kept,
    /// It was tried, and the version from before runs again.
    RolledBack,
    /// It runs already.
    NothingToDo,
    /// It was only asked what would change.
    DryRun,
}

/// The result for scripts.
#[derive(Debug, Clone, Serialize)]
pub struct Done<'a> {
    /// How it ended.
    pub outcome: Ended,
    /// The version from before.
    pub from: &'a Version,
    /// The version that was wanted.
    pub to: &'a Version,
    /// Bytes of the bundle that crossed the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// The box's own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<&'a Outcome>,
    /// What would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlook: Option<&'a Outlook<'a>>,
}

impl<'a> Done<'a> {
    /// A result without numbers.
    pub fn new(outcome: Ended, from: &'a Version, to: &'a Version) -> Self {
        Self {
            outcome,
            from,
            to,
            sent_bytes: None,
            account: None,
            outlook: None,
        }
    }
}

/// Tells the verdict; `done` is the result as it would be if the version was kept.
///
/// # Errors
///
/// A [`Failure`] for every verdict but [`Verdict::Kept`].
pub fn tell(
    device: &Device<'_>,
    done: Done<'_>,
    verdict: &Verdict,
    ui: &Ui,
) -> Result<(), Failure> {
    let address = &device.address;
    let (from, to) = (version(done.from), version(done.to));
    match verdict {
        Verdict::Kept(account) => {
            let after = match account {
                Some(account) => format!(", {} after the restart", span(account.took_s as f64)),
                None => String::new(),
            };
            let text = format!(
                "{address} runs {to} now: its checks passed, and it was kept{after}.\n\
                 The version from before, {from}, stays in the other slot.\n"
            );
            let account = account.as_ref();
            ui.result(text, &Done { account, ..done });
            Ok(())
        }
        Verdict::RolledBack(account) => {
            let why = account.as_ref().and_then(|a| a.rolled_back.as_ref());
            let mut text = format!("{address} has tried {to} and runs {from} again.\n");
            if let Some(why) = why {
                text += &reason(why, "  ");
            }
            let result = Done {
                outcome: Ended::RolledBack,
                account: account.as_ref(),
                ..done
            };
            ui.result(text, &result);
            let failure = Failure::rolled_back(format!("{to} was rolled back"));
            Err(match why {
                Some(why) => failure
                    .because(plain(&why.summary))
                    .hint("`roost status` shows this again; the box does not try this version again by itself"),
                None => failure
                    .because("the box does not say why: the trial ended before it could write that down")
                    .hint("`roost logs kernel` and `roost logs updater` may show more"),
            })
        }
        Verdict::NoRestart => Err(trial::no_restart(device)),
        Verdict::NoNews(heard) => Err(trial::no_news(device, heard)),
    }
}
