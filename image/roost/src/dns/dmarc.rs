//! `roost dns dmarc`: what receivers do with mail that is forged in the domain's name.

use super::show::forgeries;
use super::{Place, now};
use crate::cli::{DmarcStage, DnsDmarcArgs, DnsZoneArgs};
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::Ui;
use roost_service::dns::{Dmarc, DmarcState};
use serde::Serialize;
use serde_json::json;

impl DmarcStage {
    /// What the box is told; `None`: that it shall choose.
    fn chosen(self) -> Option<Dmarc> {
        match self {
            Self::None => Some(Dmarc::None),
            Self::Quarantine => Some(Dmarc::Quarantine),
            Self::Reject => Some(Dmarc::Reject),
            Self::Automatic => None,
        }
    }
}

/// `roost dns dmarc`.
pub(super) fn run(args: &DnsDmarcArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Now<'a> {
        dmarc: Option<&'a DmarcState>,
    }
    #[derive(Serialize)]
    struct Done {
        stage: Option<Dmarc>,
    }
    let which = DnsZoneArgs {
        domain: Some(args.domain.clone()),
        which: args.which.clone(),
    };
    let mut place = Place::of(&which, ui)?;
    let Some(stage) = args.stage else {
        let dmarc = place.zone.dmarc.as_ref();
        let text = told(&place.zone.domain, dmarc, now());
        ui.result(text, &Now { dmarc });
        return Ok(());
    };
    let stage = stage.chosen();
    place.send(
        ("PUT", "dmarc"),
        json!({ "stage": stage }),
        "cannot choose what happens to forged mail at",
    )?;
    ui.result(set(&place.zone.domain, stage), &Done { stage });
    Ok(())
}

fn told(domain: &str, state: Option<&DmarcState>, now: u64) -> String {
    let domain = plain(domain);
    match state {
        Some(state) => format!("Forgeries of {domain} {}.\n", forgeries(state, now)),
        None => format!("The box says nothing of forgeries of {domain}.\n"),
    }
}

fn set(domain: &str, stage: Option<Dmarc>) -> String {
    let domain = plain(domain);
    match stage {
        Some(Dmarc::None) => format!("Receivers only report forgeries of {domain} from now on.\n"),
        Some(Dmarc::Quarantine) => {
            format!("Receivers put forgeries of {domain} into the junk folder from now on.\n")
        }
        Some(Dmarc::Reject) => format!("Receivers refuse forgeries of {domain} from now on.\n"),
        None => format!("The box chooses what receivers do with forgeries of {domain}.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn what_holds_and_what_was_chosen_is_told() {
        let mut text = told("example.org", None, 0);
        for (stage, chosen, next_at) in [
            (Dmarc::None, false, Some(200_000)),
            (Dmarc::Quarantine, false, Some(90)),
            (Dmarc::Reject, true, None),
        ] {
            let state = DmarcState {
                stage,
                chosen,
                next_at,
            };
            text += &told("example.org", Some(&state), 100);
        }
        for stage in DmarcStage::value_variants() {
            text += &set("example.org", stage.chosen());
        }
        insta::assert_snapshot!(text);
    }
}
