//! What the owner chooses of policies, and what their texts are.

use super::{Keeper, OneZone, Refused};
use crate::generate;
use crate::records::{Entry, Source};
use hickory_proto::rr::{Name, RecordType};
use roost_service::dns::{Dmarc, DmarcState, StsPolicy};

impl OneZone {
    /// The entry with a text at this label of the zone.
    fn text_at(&self, label: &str) -> Option<&Entry> {
        let origin: &Name = self.kept.keys.origin();
        let name = origin.prepend_label(label).ok()?;
        let mut entries = self.entries.iter();
        entries.find(|entry| {
            entry.record.name == name && entry.record.record_type() == RecordType::TXT
        })
    }

    fn has_own_dmarc(&self) -> bool {
        let entry = self.text_at("_dmarc");
        entry.is_some_and(|entry| entry.source != Source::Generated)
    }

    /// What receivers are told to do with forged mail. `None`: nothing, or the owner's own record tells them.
    pub(super) fn dmarc(&self) -> Option<DmarcState> {
        let served = self.made_from.as_ref()?;
        let stages = &self.kept.stages;
        stages.dmarc(served).filter(|_| !self.has_own_dmarc())
    }

    /// The policy on encrypted delivery, if the zone announces it.
    fn policy(&self) -> Option<StsPolicy> {
        self.text_at("_mta-sts")?;
        Some(StsPolicy {
            domain: self.facts.domain.clone(),
            text: generate::mta_sts_policy(self.made_from.as_ref()?)?,
        })
    }
}

impl Keeper {
    /// Receivers shall do this with mail that is forged in the domain's name; `None`: what the box thinks fit.
    /// When this returns, it is on the card and served.
    ///
    /// # Errors
    /// [`Refused`] with the reason; nothing was changed then.
    pub fn set_dmarc(
        &mut self,
        domain: &str,
        stage: Option<Dmarc>,
        now: u64,
    ) -> Result<(), Refused> {
        let at = self.find(domain)?;
        if stage.is_some() && self.all[at].has_own_dmarc() {
            return Err(Refused(format!(
                "you have a record of your own at _dmarc.{domain}, which receivers read instead. Remove it first."
            )));
        }
        let mut kept = self.all[at].kept.clone();
        kept.stages.choose(stage);
        self.publish(at, kept, now).map_err(Refused)
    }

    /// Policies on encrypted delivery (RFC 8461), of those zones that announce one.
    pub fn policies(&self) -> Vec<StsPolicy> {
        let served = |zone: &&OneZone| self.zones.current(zone.kept.keys.origin()).is_some();
        let zones = self.all.iter().filter(served);
        zones.filter_map(OneZone::policy).collect()
    }
}
