//! What the keeper knows of its zones' parents. It is heard anew after each start.

use super::{Keeper, OneZone, Refused};
use crate::check::{self, Expected};
use crate::parent::{Belief, Heard, Judged, Ours, Waiting, Word, judge};
use crate::sign::keys::Key;
use crate::sign::rollover::{Ksk, Parent, Stage};
use hickory_proto::rr::Name;
use roost_service::dns::{Delegation, DelegationState};
use std::collections::BTreeMap;

/// By zone.
#[derive(Default)]
pub(super) struct Parents(BTreeMap<Name, OneParent>);

#[derive(Default)]
struct OneParent {
    delegation: Option<Delegation>,
    belief: Belief,
}

impl Parents {
    /// What keys may be replaced on the strength of.
    pub(super) fn fact(&self, zone: &OneZone) -> Option<Parent> {
        let keys = &zone.kept.keys;
        self.0.get(keys.origin())?.belief.fact(keys)
    }

    pub(super) fn delegation(&self, origin: &Name) -> Option<Delegation> {
        self.0.get(origin)?.delegation.clone()
    }
}

impl Keeper {
    /// The zones whose parents are to be asked, and what waits for the answer.
    pub fn parents_to_ask(&self) -> Vec<(Name, Waiting)> {
        // Of a zone that nobody was ever told of the parent knows nothing.
        let served = |zone: &&OneZone| self.zones.current(zone.kept.keys.origin()).is_some();
        let all = self.all.iter().filter(served).map(|zone| {
            let keys = &zone.kept.keys;
            let trusted = |key: &Key| matches!(key.stage(), Stage::Ksk(Ksk::Trusted { .. }));
            let settled = keys.ksks().count() == 1 && keys.ksks().all(trusted);
            let known = self.parents.delegation(keys.origin());
            let waiting = match known.map(|known| known.state) {
                None | Some(DelegationState::Unknown) => Waiting::Everything,
                Some(DelegationState::Secure) if settled => Waiting::Nothing,
                Some(_) => Waiting::Change,
            };
            (keys.origin().clone(), waiting)
        });
        all.collect()
    }

    /// This was heard of a zone's parent at `now` (seconds since 1970), and what it means. Keys that wait for it
    /// go on with the next [`Keeper::look`]. `None`: the zone is not served.
    pub fn parent_says(&mut self, origin: &Name, heard: &Heard, now: u64) -> Option<Judged> {
        let zone = self.all.iter().find(|z| z.kept.keys.origin() == origin)?;
        let signed = self.zones.current(origin)?;
        let judged = judge(&Ours::of(&signed, &zone.kept.keys), heard, now);
        let known = self.parents.0.entry(origin.clone()).or_default();
        let state = judged.delegation.state;
        if known.delegation.as_ref().map(|said| said.state) != Some(state) {
            println!("dns: {origin} {}", told(state));
        }
        known.belief.hear(Word::of(heard), now);
        known.delegation = Some(judged.delegation.clone());
        Some(judged)
    }

    /// What is needed to see whether others answer as they should.
    ///
    /// # Errors
    /// [`Refused`] if there is no such zone, or it is not served yet.
    pub fn expected(&self, domain: &str) -> Result<Expected, Refused> {
        let zone = &self.all[self.find(domain)?];
        let keys = &zone.kept.keys;
        let served = self.zones.current(keys.origin()).ok_or_else(|| {
            let why = zone.fault.as_deref().unwrap_or("it is being signed");
            Refused(format!("{domain} is not served yet: {why}"))
        })?;
        Ok(Expected {
            wanted: check::wanted(&served, &zone.entries),
            places: check::name_servers(&served, &zone.entries),
            ds: keys
                .announced()
                .filter_map(|key| key.ds(keys.origin()))
                .collect(),
            zone: served,
        })
    }
}

/// For the log.
fn told(state: DelegationState) -> &'static str {
    match state {
        DelegationState::Unknown => "could not be looked up in the zone above",
        DelegationState::Elsewhere => {
            "is not delegated to the box's name servers, or not to them alone"
        }
        DelegationState::Unsigned => "is delegated to the box; the registry has no DS record",
        DelegationState::Secure => "is delegated to the box, with a DS record of its key",
        DelegationState::Broken => {
            "is unreachable for whoever validates: the registry has a DS record of another key"
        }
    }
}
