//! What a zone promises more strictly as time goes by.
//!
//! | Policy | At first | Then |
//! |---|---|---|
//! | DMARC | `none` for a week from when the zone was first served: the owner's other senders show up in reports before their mail is lost | `quarantine`. `reject`, which loses what members write to mailing lists (RFC 7960), is for the owner to choose |
//! | MTA-STS | `testing` for two weeks from when the certificates were first there, kept for a day by others | `enforce`, kept for a month |
//!
//! Time is an argument. What is remembered lies on the card with the zone.

use crate::generate::{self, Facts, FactsError, Mode, MtaSts, Stage};
use roost_service::dns::{Dmarc, DmarcState};
use serde::{Deserialize, Serialize};

const DAY: u64 = 86_400;
/// How long forged mail is only reported. Most senders of reports send one a day.
const REPORTS: u64 = 7 * DAY;
/// How long a failed encryption is only reported.
const TESTING: u64 = 14 * DAY;
/// How long others keep a policy that may turn out wrong, in seconds.
const MAX_AGE_TESTING: u32 = 86_400;
/// How long they keep one that has proved right: it protects for as long against somebody who hides it.
const MAX_AGE: u32 = 30 * 86_400;

/// What is remembered of a zone. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stages {
    /// When it was first served.
    served_since: Option<u64>,
    /// When the certificates that MTA-STS needs were first there.
    certified_since: Option<u64>,
    /// The owner's choice.
    dmarc: Option<Dmarc>,
}

impl Stages {
    /// The zone will be served with these facts at `now`: what they are to promise. Others must not be
    /// promised it before [`Stages`] is on the card.
    ///
    /// # Errors
    /// If a name in the facts is none.
    pub fn advance(&mut self, facts: &Facts, now: u64) -> Result<Facts, FactsError> {
        let mut facts = facts.clone();
        let served = *self.served_since.get_or_insert(now);
        if let Some(dmarc) = &mut facts.dmarc {
            dmarc.stage = match self.dmarc {
                Some(Dmarc::None) => Stage::None,
                Some(Dmarc::Quarantine) => Stage::Quarantine,
                Some(Dmarc::Reject) => Stage::Reject,
                None if now < served.saturating_add(REPORTS) => Stage::None,
                None => Stage::Quarantine,
            };
        }
        facts.mta_sts = None;
        if generate::is_certified(&facts)? {
            let since = *self.certified_since.get_or_insert(now);
            let (mode, max_age) = match now < since.saturating_add(TESTING) {
                true => (Mode::Testing, MAX_AGE_TESTING),
                false => (Mode::Enforce, MAX_AGE),
            };
            facts.mta_sts = Some(MtaSts { mode, max_age });
        }
        Ok(facts)
    }

    /// The owner chooses; `None`: as the box thinks fit.
    pub fn choose(&mut self, dmarc: Option<Dmarc>) {
        self.dmarc = dmarc;
    }

    /// What receivers are told to do with forged mail, by the facts that are served.
    pub fn dmarc(&self, served: &Facts) -> Option<DmarcState> {
        let stage = match served.dmarc.as_ref()?.stage {
            Stage::None => Dmarc::None,
            Stage::Quarantine => Dmarc::Quarantine,
            Stage::Reject => Dmarc::Reject,
        };
        let chosen = self.dmarc.is_some();
        let waits = !chosen && stage == Dmarc::None;
        let next = self.served_since.map(|since| since.saturating_add(REPORTS));
        Some(DmarcState {
            stage,
            chosen,
            next_at: next.filter(|_| waits),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::tests::typical;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn shown(stages: &mut Stages, facts: &Facts, now: u64) -> String {
        let facts = stages.advance(facts, now).unwrap();
        let dmarc = stages.dmarc(&facts).unwrap();
        let next = dmarc.next_at.map(|at| (at - NOW) / DAY);
        let sts = facts.mta_sts.map(|sts| (sts.mode, sts.max_age / 86_400));
        format!(
            "{:?} chosen={} next={next:?} {sts:?}",
            dmarc.stage, dmarc.chosen
        )
    }

    #[test]
    fn months_go_by() {
        let mut stages = Stages::default();
        let with = typical();
        let mut without = typical();
        without.certified.clear();
        let mut lines = Vec::new();
        for day in [0, 6, 7, 8] {
            let shown = shown(&mut stages, &without, NOW + day * DAY);
            lines.push(format!("day {day:3}: {shown}"));
        }
        for day in [10, 23, 24, 100] {
            let shown = shown(&mut stages, &with, NOW + day * DAY);
            lines.push(format!("day {day:3}: {shown}"));
        }
        // The certificate ran out, and came again.
        for (day, facts) in [(101, &without), (102, &with)] {
            let shown = shown(&mut stages, facts, NOW + day * DAY);
            lines.push(format!("day {day:3}: {shown}"));
        }
        for choice in [
            Some(Dmarc::Reject),
            Some(Dmarc::Quarantine),
            Some(Dmarc::None),
            None,
        ] {
            stages.choose(choice);
            let shown = shown(&mut stages, &with, NOW + 103 * DAY);
            lines.push(format!("{choice:?}: {shown}"));
        }
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_choice_ends_no_week() {
        let mut stages = Stages::default();
        stages.choose(Some(Dmarc::Reject));
        let facts = typical();
        stages.advance(&facts, NOW).unwrap();
        stages.choose(None);
        let served = stages.advance(&facts, NOW + DAY).unwrap();
        let state = stages.dmarc(&served).unwrap();
        assert_eq!(
            (state.stage, state.next_at),
            (Dmarc::None, Some(NOW + REPORTS))
        );
    }

    #[test]
    fn what_an_older_version_kept_is_read() {
        let stages: Stages = serde_json::from_str("{}").unwrap();
        assert_eq!(stages, Stages::default());
    }

    proptest! {
        /// Whatever the order of events, no policy becomes laxer but by the owner's choice or with a clock set back.
        #[test]
        fn stages_only_rise(steps in prop::collection::vec((0..5 * DAY, any::<bool>()), 1..40)) {
            let (mut stages, mut now) = (Stages::default(), NOW);
            let (mut strict, mut enforced) = (false, false);
            for (pause, certified) in steps {
                now += pause;
                let mut facts = typical();
                if !certified {
                    facts.certified.clear();
                }
                let text = serde_json::to_string(&stages).unwrap();
                stages = serde_json::from_str(&text).unwrap();
                let facts = stages.advance(&facts, now).unwrap();
                let quarantine = facts.dmarc.as_ref().unwrap().stage == Stage::Quarantine;
                prop_assert!(quarantine || !strict);
                strict |= quarantine;
                prop_assert_eq!(facts.mta_sts.is_some(), certified);
                if let Some(sts) = facts.mta_sts {
                    prop_assert!(sts.mode == Mode::Enforce || !enforced);
                    enforced |= sts.mode == Mode::Enforce;
                }
            }
        }
    }
}
