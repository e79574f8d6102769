//! What is to be done, by all that is known.

use super::Desk;
use crate::leaf::Leaf;
use crate::renew::{Lifetime, Next, Why};
use crate::setup::Wanted;
use crate::store::Kept;
use roost_service::certificates::Choice;

/// Something to do for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Take challenges out of the zone that an earlier run left there.
    Clean,
    /// Revoke the one before.
    Revoke,
    /// What [`crate::renew`] says.
    Renew(Next),
}

impl Desk {
    /// What is to be done for each certificate. `now`: `None` while the clock is not set.
    pub fn jobs(&self, now: Option<u64>) -> Vec<(Wanted, Job)> {
        let book = self.book();
        let agreed = book.choice.as_ref().filter(|choice| choice.terms_agreed);
        let mut jobs = Vec::new();
        for wanted in &book.wanted {
            let Some(kept) = book.kept.get(&wanted.id) else {
                continue;
            };
            if !kept.challenges.is_empty() {
                jobs.push((wanted.clone(), Job::Clean));
            }
            let Some(choice) = agreed else { continue };
            if now.is_some()
                && kept
                    .revoke
                    .as_ref()
                    .is_some_and(|r| kept.chain.as_ref() != Some(&r.chain))
            {
                jobs.push((wanted.clone(), Job::Revoke));
            }
            let (life, wish) = standing(choice, wanted, kept, now);
            let next = kept.renewal.next(now, life, wish, book.seed);
            jobs.push((wanted.clone(), Job::Renew(next)));
        }
        jobs
    }
}

/// How long there is a certificate, and why another is wanted at once.
fn standing(
    choice: &Choice,
    wanted: &Wanted,
    kept: &Kept,
    now: Option<u64>,
) -> (Option<Lifetime>, Option<Why>) {
    let leaf = kept.leaf().map(|(leaf, _)| leaf);
    let fits =
        |leaf: &Leaf| leaf.is_for(&wanted.names()) && kept.directory == choice.directory.url();
    let life = leaf.as_ref().map(|leaf| leaf.life);
    let wish = match leaf {
        Some(leaf) if fits(&leaf) => {
            let switch = now.is_some_and(|now| kept.keys.may_switch(now).is_ok());
            (switch.then_some(Why::Key)).or_else(|| kept.asked.then_some(Why::Asked))
        }
        _ => Some(Why::Missing),
    };
    (life, wish)
}
