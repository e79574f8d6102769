//! What is due when, at the target that the box writes to by itself. No clock and no network in here: times
//! are arguments, in seconds since 1970.
//!
//! | What is so | What is due |
//! |---|---|
//! | no target, or the clock is not set | nothing |
//! | a target was just set, or somebody asks | what they want, at once |
//! | a backup's time has come, or it is further away than it ever is | a backup |
//! | one was made, and none was proven for a week; or the proof broke off and its rest is over | a proof |
//! | the key removes, the last proof was good, and nothing was forgotten for a week | forgetting |
//!
//! In this order. What is due at a USB disk waits until that is plugged in, which is no failure; it is looked for each
//! minute ([`crate::house`]). After a start of the box all of it waits some minutes: a power cut may have restarted a
//! whole street, and mail comes first.

use roost_service::backup::{BackupFailure as Failure, Made, Proof, Work};
use serde::{Deserialize, Serialize};
use std::ops::Range;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// From one backup to the next. Not at an hour of the day: a box may be switched on in the evenings only.
const AGAIN: Range<u64> = 23 * HOUR + 30 * MINUTE..24 * HOUR + 30 * MINUTE;
/// After a start.
pub const FIRST: Range<u64> = 5 * MINUTE..15 * MINUTE;
/// After the first failure; each further one doubles it.
const REST: u64 = 10 * MINUTE;
/// Longest rest after failures: a line may be away for days, and then it is to be noticed soon.
const LONGEST_REST: u64 = 6 * HOUR;
/// From one proof, or forgetting, to the next. A proof reads as much as a restore would, which the home's line
/// and the bill of the bucket should not see every day.
const WEEK: u64 = 7 * DAY;
/// To the next proof after one that has found something wrong: whoever mends it wants to know.
const AFTER_FAULT: u64 = DAY;

/// What is kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The newest backup at the target.
    pub made: Option<Made>,
    /// The newest that a laptop has fetched.
    pub fetched: Option<Made>,
    /// Why the last try failed, until one succeeds.
    pub failure: Option<Failure>,
    /// When the next backup is due.
    pub due_at: Option<u64>,
    /// What the last proof has found.
    pub proof: Option<Proof>,
    /// Why the last proof came to no end, until one does.
    pub proof_failure: Option<Failure>,
    /// When old backups were last forgotten.
    pub forgotten_at: Option<u64>,
    /// Why that failed since.
    pub forget_failure: Option<Failure>,
    /// When something was due for which the target's disk was not plugged in.
    pub waits_since: Option<u64>,
}

/// One more of a row.
pub fn again(before: Option<&Failure>, at: u64, why: String, hint: Option<String>) -> Failure {
    Failure {
        at,
        times: before.map_or(0, |before| before.times).saturating_add(1),
        why,
        hint,
    }
}

fn rest(failure: &Failure) -> u64 {
    let doubled = 1_u64.checked_shl(failure.times.saturating_sub(1).min(16));
    (REST * doubled.unwrap_or(u64::MAX >> 16)).min(LONGEST_REST)
}

impl State {
    /// As of a target about which nothing is known. What a laptop has fetched is none of its.
    pub fn at_another_target(&self) -> Self {
        Self {
            fetched: self.fetched.clone(),
            ..Self::default()
        }
    }

    /// A backup was made. `chance` is a random number.
    pub fn was_made(&mut self, made: Made, chance: u64) {
        self.due_at = Some(made.at + between(AGAIN, chance));
        self.failure = None;
        self.made = Some(made);
    }

    /// One was not.
    pub fn was_not_made(&mut self, now: u64, why: String, hint: Option<String>, chance: u64) {
        let failure = again(self.failure.as_ref(), now, why, hint);
        let rest = rest(&failure);
        self.due_at = Some(now + between(rest..rest + rest / 4, chance));
        self.failure = Some(failure);
    }

    /// What is due now; `removes`: the key may remove files.
    pub fn due(&self, now: u64, removes: bool) -> Option<Work> {
        let over = |at: u64, rest: u64| {
            // What was done in the future was done by a wrong clock.
            at > now || now - at >= rest
        };
        let backup = self
            .due_at
            .is_none_or(|due| due <= now || due - now > AGAIN.end);
        if backup {
            return Some(Work::Backup);
        }
        self.made.as_ref()?;
        let proven = self.proof.as_ref();
        let proof = proven.is_none_or(|proof| {
            over(
                proof.at,
                if proof.fault.is_some() {
                    AFTER_FAULT
                } else {
                    WEEK
                },
            )
        });
        let rested = |failure: &Option<Failure>| {
            (failure.as_ref()).is_none_or(|failure| over(failure.at, rest(failure)))
        };
        if proof && rested(&self.proof_failure) {
            return Some(Work::Proof);
        }
        // Older backups may be all that is left if the newest is not sound.
        let sound = proven.is_some_and(|proof| proof.fault.is_none());
        let old = self.forgotten_at.is_none_or(|at| over(at, WEEK));
        if removes && sound && old && rested(&self.forget_failure) {
            return Some(Work::Forgetting);
        }
        None
    }
}

/// A number of this range, by a random one.
pub fn between(range: Range<u64>, chance: u64) -> u64 {
    range.start + chance % (range.end - range.start).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn made(at: u64) -> Made {
        Made {
            at,
            id: format!("{at:064x}"),
            files: 2,
            bytes: 3,
            added: 1,
            manifest: String::new(),
        }
    }

    fn proof(at: u64, fault: Option<&str>) -> Proof {
        Proof {
            at,
            id: String::new(),
            files: 2,
            bytes: 3,
            fault: fault.map(str::to_owned),
        }
    }

    /// What is done in so many days, every step taking a minute; `fails` says what of it fails.
    fn live(days: u64, removes: bool, fails: impl Fn(u64, Work) -> bool) -> Vec<(u64, Work, bool)> {
        let mut state = State::default();
        let mut done = Vec::new();
        for minute in 0..days * 24 * 60 {
            let now = NOW + minute * MINUTE;
            let Some(work) = state.due(now, removes) else {
                continue;
            };
            let failed = fails(now - NOW, work);
            done.push((now - NOW, work, !failed));
            let why = || "no".to_owned();
            match (work, failed) {
                (Work::Backup, false) => state.was_made(made(now), minute),
                (Work::Backup, true) => state.was_not_made(now, why(), None, minute),
                (Work::Proof, false) => {
                    state.proof = Some(proof(now, None));
                    state.proof_failure = None;
                }
                (Work::Proof, true) => {
                    state.proof_failure =
                        Some(again(state.proof_failure.as_ref(), now, why(), None));
                }
                (Work::Forgetting, false) => state.forgotten_at = Some(now),
                (Work::Forgetting, true) => {
                    state.forget_failure =
                        Some(again(state.forget_failure.as_ref(), now, why(), None));
                }
            }
        }
        done
    }

    fn count(done: &[(u64, Work, bool)], of: Work) -> usize {
        done.iter().filter(|(_, work, _)| *work == of).count()
    }

    #[test]
    fn a_month_has_a_backup_a_day_and_a_proof_a_week() {
        let done = live(28, true, |_, _| false);
        assert!((27..=29).contains(&count(&done, Work::Backup)), "{done:?}");
        assert_eq!(count(&done, Work::Proof), 4);
        assert_eq!(count(&done, Work::Forgetting), 4);
        assert_eq!(
            done[..3]
                .iter()
                .map(|(_, work, _)| *work)
                .collect::<Vec<_>>(),
            [Work::Backup, Work::Proof, Work::Forgetting]
        );
        assert_eq!(count(&live(28, false, |_, _| false), Work::Forgetting), 0);
    }

    #[test]
    fn failures_are_tried_again_at_growing_distances_and_soon_after_they_end() {
        // The line is away from the third to the sixth day.
        let away = 3 * DAY..6 * DAY;
        let done = live(9, true, |at, _| away.contains(&at));
        let failed: Vec<u64> = (done.iter())
            .filter(|(_, work, ok)| *work == Work::Backup && !ok)
            .map(|(at, ..)| *at)
            .collect();
        assert!((10..=14).contains(&failed.len()), "{failed:?}");
        assert!(failed[1] - failed[0] <= 13 * MINUTE);
        let longest = failed.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest <= Some(LONGEST_REST * 5 / 4 + MINUTE));
        let back = done
            .iter()
            .find(|(at, work, ok)| *at >= away.end && *work == Work::Backup && *ok);
        assert!(back.unwrap().0 < away.end + 8 * HOUR);
    }

    #[test]
    fn old_backups_stay_while_the_newest_is_not_sound() {
        let mut state = State::default();
        state.was_made(made(NOW), 0);
        state.proof = Some(proof(NOW, Some("mail.sqlite3 is not what went in")));
        assert_eq!(state.due(NOW + HOUR, true), None);
        assert_eq!(state.due(NOW + 23 * HOUR, true), None);
        state.was_made(made(NOW + 23 * HOUR), 0);
        assert_eq!(state.due(NOW + DAY, true), Some(Work::Proof));
        state.proof = Some(proof(NOW + DAY, None));
        assert_eq!(state.due(NOW + DAY, true), Some(Work::Forgetting));
        // Another target knows nothing of it.
        assert_eq!(state.at_another_target().due(NOW, true), Some(Work::Backup));
    }

    proptest! {
        #[test]
        fn whatever_the_clock_was_a_backup_is_never_more_than_a_day_away(
            due_at in proptest::option::of(0_u64..u64::MAX / 2), now in NOW..NOW * 2
        ) {
            let state = State { due_at, ..State::default() };
            let later = now + AGAIN.end;
            prop_assert!(state.due(now, true) == Some(Work::Backup) || state.due(later, true) == Some(Work::Backup));
        }

        #[test]
        fn rests_grow_and_end(times in 1_u32..200) {
            let failure = |times| Failure { at: 0, times, why: String::new(), hint: None };
            prop_assert!(rest(&failure(times)) <= rest(&failure(times + 1)));
            prop_assert!((REST..=LONGEST_REST).contains(&rest(&failure(times))));
        }
    }
}
