//! When parents are asked.

use super::{Asking, ask};
use crate::keeper::Keeper;
use hickory_proto::rr::Name;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// How often it is looked whether somebody is due.
const TICK: Duration = Duration::from_secs(5);
/// Between two askings of a parent that nothing waits for.
const SELDOM: Duration = Duration::from_secs(6 * 3600);
/// While something waits: the owner is at the registrar's form.
const OFTEN: Duration = Duration::from_secs(600);
/// While something waits for longer than [`PATIENT`].
const HOURLY: Duration = Duration::from_secs(3600);
/// How long it is asked often.
const PATIENT: Duration = Duration::from_secs(2 * 86_400);
/// The longest that one asking may take.
const LONGEST: Duration = Duration::from_secs(30);
/// The pauses are longer by up to this part, so that boxes do not ask all at once.
const JITTER: f64 = 0.1;

/// When a zone's parent is asked.
#[derive(Debug, Clone)]
struct Turn {
    /// When the zone was seen first.
    since: Instant,
    /// When its parent was asked last.
    asked: Option<Instant>,
    /// Since when something waits for it.
    waiting: Option<Instant>,
    /// From 0 to 1.
    chance: f64,
}

impl Turn {
    fn new(now: Instant, chance: f64) -> Self {
        Self {
            since: now,
            asked: None,
            waiting: None,
            chance,
        }
    }

    /// When the parent is to be asked, given whether something waits for it at `now`.
    fn due(&mut self, waiting: bool, first: Duration, now: Instant) -> Instant {
        self.waiting = waiting.then(|| self.waiting.unwrap_or(now));
        let spread = |pause: Duration| pause.mul_f64(1.0 + JITTER * self.chance);
        match (self.asked, self.waiting) {
            (None, _) => self.since + spread(first),
            (Some(asked), None) => asked + spread(SELDOM),
            (Some(asked), Some(since)) if now < since + PATIENT => asked + spread(OFTEN),
            (Some(asked), Some(_)) => asked + spread(HOURLY),
        }
    }
}

/// Asks the parents of all zones whenever they are due; never ends. The keeper is held only to say and hear
/// what there is.
pub async fn watch(
    keeper: Arc<Mutex<Keeper>>,
    asking: Asking,
    clock: impl Fn() -> u64 + Send + 'static,
) {
    let mut turns: BTreeMap<Name, Turn> = BTreeMap::new();
    loop {
        let zones = keeper.lock().await.parents_to_ask();
        turns.retain(|name, _| zones.iter().any(|(zone, _)| zone == name));
        for (zone, waiting) in zones {
            let now = Instant::now();
            let turn = (turns.entry(zone.clone())).or_insert_with(|| Turn::new(now, chance()));
            if turn.due(waiting, asking.first, now) > now {
                continue;
            }
            turn.asked = Some(now);
            turn.chance = chance();
            let heard = ask(&asking, &zone, LONGEST).await;
            keeper.lock().await.parent_says(&zone, &heard, clock());
        }
        sleep(TICK).await;
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(()) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_time_within_a_minute_then_often_then_hourly_then_seldom() {
        let start = Instant::now();
        let minutes = |from: Instant, to: Instant| (to - from).as_secs() / 60;
        for chance in [0.0, 1.0] {
            let mut turn = Turn::new(start, chance);
            let first = Asking::default().first;
            let due = turn.due(true, first, start);
            assert!(due > start && due < start + Duration::from_secs(60));
            turn.asked = Some(due);
            assert_eq!(minutes(due, turn.due(true, first, due)), 10 + chance as u64);
            let later = due + PATIENT;
            turn.asked = Some(later);
            assert_eq!(
                minutes(later, turn.due(true, first, later)),
                60 + 6 * chance as u64
            );
            // Nothing waits any more, then a key is replaced.
            assert_eq!(
                minutes(later, turn.due(false, first, later)),
                360 + 36 * chance as u64
            );
            let again = later + HOURLY;
            assert_eq!(
                minutes(later, turn.due(true, first, again)),
                10 + chance as u64,
                "at once, for ten minutes are over"
            );
        }
    }

    #[test]
    fn chance_is_a_part() {
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
    }
}
