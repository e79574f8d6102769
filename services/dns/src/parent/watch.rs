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
/// While nobody could be asked: at the start the network may not be there yet.
const SOON: Duration = Duration::from_secs(60);
/// While something waits for longer than [`PATIENT`].
const HOURLY: Duration = Duration::from_secs(3600);
/// How long it is asked often.
const PATIENT: Duration = Duration::from_secs(2 * 86_400);
/// The longest that one asking may take.
const LONGEST: Duration = Duration::from_secs(30);
/// The pauses are longer by up to this part, so that boxes do not ask all at once.
const JITTER: f64 = 0.1;

/// What waits for the parent's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing.
    Nothing,
    /// The owner or a key.
    Change,
    /// Everybody: nothing is known.
    Everything,
}

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

    /// When the parent is to be asked, given what waits for it at `now`.
    fn due(&mut self, waiting: Waiting, first: Duration, now: Instant) -> Instant {
        self.waiting = match waiting {
            Waiting::Nothing => None,
            _ => self.waiting.or(Some(now)),
        };
        let spread = |pause: Duration| pause.mul_f64(1.0 + JITTER * self.chance);
        match (self.asked, self.waiting) {
            (None, _) => self.since + spread(first),
            (Some(asked), None) => asked + spread(SELDOM),
            (Some(asked), Some(since)) if now >= since + PATIENT => asked + spread(HOURLY),
            (Some(asked), Some(_)) if waiting == Waiting::Everything => asked + spread(SOON),
            (Some(asked), Some(_)) => asked + spread(OFTEN),
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

    #[test]
    fn the_first_time_within_a_minute_then_often_then_hourly_then_seldom() {
        use Waiting::{Change, Everything, Nothing};
        let start = Instant::now();
        let first = Asking::default().first;
        for chance in [0.0, 1.0] {
            let mut turn = Turn::new(start, chance);
            let asked = turn.due(Everything, first, start);
            assert!(asked > start && asked < start + Duration::from_secs(60));
            turn.asked = Some(asked);
            let mut minutes = |waiting, now: Instant| {
                let due = turn.due(waiting, first, now);
                (due - asked).as_secs() / 60
            };
            let longer = |pause: u64| pause + (chance * 0.1 * pause as f64) as u64;
            assert_eq!(minutes(Everything, asked), 1);
            assert_eq!(minutes(Change, asked), longer(10));
            for waiting in [Change, Everything] {
                assert_eq!(minutes(waiting, asked + PATIENT), longer(60));
            }
            assert_eq!(minutes(Nothing, asked + PATIENT), longer(360));
            // Then a key is replaced.
            assert_eq!(minutes(Change, asked + PATIENT), longer(10));
        }
    }

    #[test]
    fn chance_is_a_part() {
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
    }
}
