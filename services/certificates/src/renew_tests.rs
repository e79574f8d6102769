use super::*;
use proptest::prelude::*;

const START: u64 = 1_800_000_000;

fn life(days: u64) -> Lifetime {
    let from = START;
    let until = from + days * DAY;
    Lifetime { from, until }
}

/// What is done first at or after `now`, with advice that there is none.
fn first(renewal: &mut Renewal, now: u64, life: Option<Lifetime>) -> Next {
    match renewal.next(Some(now), life, None, 7) {
        Next::AskAdvice => {
            renewal.advised(now, None, DAY);
            renewal.next(Some(now), life, None, 7)
        }
        next => next,
    }
}

#[test]
fn nothing_without_a_clock() {
    let next = Renewal::default().next(None, None, Some(Why::Asked), 7);
    let (until, pause) = (u64::MAX, Pause::NoClock);
    assert_eq!(next, Next::Wait { until, pause });
}

#[test]
fn a_third_before_the_end_without_advice() {
    for days in [6, 47, 90] {
        let mut renewal = Renewal::default();
        let third = days * DAY / 3;
        let (due, _) = renewal.due(START, life(days), 7);
        assert!(due <= START + 2 * third && due > START + 2 * third - third / 10);
        let before = first(&mut renewal, due - 1, Some(life(days)));
        let pause = Pause::NotDue;
        assert_eq!(before, Next::Wait { until: due, pause });
        let then = first(&mut renewal, due, Some(life(days)));
        assert_eq!(then, Next::Order(Why::Due));
    }
}

#[test]
fn advice_moves_it_both_ways_but_not_past_the_end() {
    let mut renewal = Renewal::default();
    let mut due = |start, end| {
        renewal.advised(START, Some(Window { start, end }), DAY);
        renewal.due(START, life(90), 7).0
    };
    let (early, late) = (START + 10 * DAY, START + 65 * DAY);
    assert!((early..early + DAY).contains(&due(early, early + DAY)));
    assert!((late..late + DAY).contains(&due(late, late + DAY)));
    assert_eq!(
        due(START + 200 * DAY, START + 201 * DAY),
        START + 90 * DAY * 3 / 4
    );
    assert_eq!(due(u64::MAX - 1, u64::MAX), START + 90 * DAY * 3 / 4);
    // A window that ends before it begins is a moment.
    assert_eq!(due(early, 0), early);
}

#[test]
fn pauses_grow_and_end() {
    let pauses = |life| -> Vec<u64> { (1..=9).map(|n| pause(n, life, 0) / 60).collect() };
    assert_eq!(pauses(None)[0], 5);
    for life in [None, Some(life(6)), Some(life(90))] {
        let pauses = pauses(life);
        assert!(pauses.is_sorted_by(|a, b| a * 10 <= b * 11), "{pauses:?}");
        let longest = longest_pause(life) / 60;
        assert!((longest..=longest * 11 / 10).contains(&pauses[8]));
    }
}

#[test]
fn the_authority_is_left_alone_as_long_as_it_says() {
    let mut renewal = Renewal::default();
    renewal.failed(START, Some(3 * DAY));
    renewal.asked();
    let (until, pause) = (START + 3 * DAY, Pause::Banned);
    assert_eq!(
        first(&mut renewal, START + DAY, None),
        Next::Wait { until, pause }
    );
    assert_eq!(first(&mut renewal, until, None), Next::Order(Why::Missing));
    // Whatever it says, a year is no answer.
    renewal.failed(START, Some(u64::MAX));
    assert_eq!(
        first(&mut renewal, START + 8 * DAY, None),
        Next::Order(Why::Missing)
    );
}

#[test]
fn who_asks_again_and_again_gets_so_many_orders_and_no_more() {
    let mut renewal = Renewal::default();
    let mut orders = 0;
    for now in (START..START + WEEK).step_by(60) {
        renewal.asked();
        match renewal.next(Some(now), None, Some(Why::Asked), 7) {
            Next::Order(_) => {
                orders += 1;
                renewal.ordered(now);
                renewal.failed(now, None);
            }
            next => {
                let (until, pause) = (START + WEEK, Pause::Budget);
                assert_eq!(next, Next::Wait { until, pause });
            }
        }
    }
    assert_eq!(orders, ORDERS_A_WEEK);
}

#[test]
fn a_certificate_that_is_old_when_it_comes_is_not_renewed_at_once() {
    let mut renewal = Renewal::default();
    let now = life(6).until - DAY;
    renewal.issued(now);
    let (until, pause) = (now + longest_pause(Some(life(6))), Pause::NotDue);
    let next = first(&mut renewal, now + 60, Some(life(6)));
    assert_eq!(next, Next::Wait { until, pause });
    // Whoever wants another has it.
    let next = renewal.next(Some(now + 60), Some(life(6)), Some(Why::Key), 7);
    assert_eq!(next, Next::Order(Why::Key));
}

#[test]
fn a_clock_that_was_far_ahead_does_not_block() {
    let mut renewal = Renewal::default();
    let wrong = START + 4000 * DAY;
    (0..50).for_each(|n| renewal.ordered(wrong + n));
    renewal.failed(wrong, Some(DAY));
    assert_eq!(first(&mut renewal, START, None), Next::Order(Why::Missing));
}

/// What a simulated authority does.
#[derive(Debug, Clone)]
struct Authority {
    /// Hours down and hours up, in turn.
    spans: Vec<(u64, u64)>,
    /// Advice as parts of the lifetime in percent, which may be absurd.
    advice: Vec<Option<(u64, u64)>>,
    retry_after: Vec<Option<u64>>,
}

/// Down for so long that in each last quarter of a life it is up for twice the longest pause once.
fn authority(days: u64) -> impl Strategy<Value = Authority> {
    let hour = longest_pause(Some(life(days))) / HOUR;
    let down = days * 24 / 4 - 3 * hour;
    let spans = prop::collection::vec((0..=down, 2 * hour + 1..days * 24), 1..40);
    let advice = prop::collection::vec(prop::option::of((0u64..150, 0u64..150)), 1..8);
    let retry = prop::collection::vec(prop::option::of(0..hour * HOUR / 2), 1..8);
    (spans, advice, retry).prop_map(|(spans, advice, retry_after)| Authority {
        spans,
        advice,
        retry_after,
    })
}

/// Runs for some years; gives the orders' times, and those when there was no certificate that held.
fn run(authority: &Authority, days: u64, seed: u64) -> (Vec<u64>, u64) {
    let mut up = Vec::new();
    let mut at = START + 3 * DAY;
    let end = START + 3 * 365 * DAY;
    for (down, high) in authority.spans.iter().cycle() {
        up.push(at..at + down * HOUR);
        at += (down + high) * HOUR;
        if at > end {
            break;
        }
    }
    let is_down = |now: u64| up.iter().any(|span| span.contains(&now));
    let (mut renewal, mut held, mut orders, mut without) = (Renewal::default(), None, vec![], 0);
    let (mut now, mut turn) = (START, 0);
    while now < end {
        turn += 1;
        let expired = held.is_some_and(|life: Lifetime| life.until < now);
        without += u64::from(expired);
        match renewal.next(Some(now), held, None, seed) {
            Next::Wait { until, .. } => {
                assert!(until > now, "it would spin");
                now = until;
            }
            Next::AskAdvice if is_down(now) => renewal.not_advised(now),
            Next::AskAdvice => {
                let from = held.map_or(now, |life| life.from);
                let day = days * DAY / 100;
                let window =
                    authority.advice[turn % authority.advice.len()].map(|(start, end)| Window {
                        start: from + start * day,
                        end: from + end * day,
                    });
                renewal.advised(now, window, DAY);
            }
            Next::Order(_) => {
                renewal.ordered(now);
                orders.push(now);
                let done = now + 60;
                if is_down(now) {
                    let after = authority.retry_after[turn % authority.retry_after.len()];
                    renewal.failed(done, after);
                } else {
                    renewal.issued(done);
                    let until = done + days * DAY;
                    held = Some(Lifetime {
                        from: done - HOUR,
                        until,
                    });
                }
                now = done;
            }
        }
    }
    (orders, without)
}

fn check(authority: &Authority, days: u64, seed: u64) -> Result<(), TestCaseError> {
    let (orders, without) = run(authority, days, seed);
    prop_assert_eq!(without, 0, "it ran out");
    prop_assert!(orders.len() as u64 > 2 * 365 / days, "it was never renewed");
    for (i, first) in orders.iter().enumerate() {
        let week = orders[i..]
            .iter()
            .take_while(|t| **t < first + WEEK)
            .count();
        prop_assert!(week <= ORDERS_A_WEEK, "{} orders in a week", week);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Three years with an authority that answers at least once in each last quarter.
    #[test]
    fn three_months_never_run_out(authority in authority(90), seed: u64) {
        check(&authority, 90, seed)?;
    }

    /// The same with certificates of six days.
    #[test]
    fn six_days_never_run_out(authority in authority(6), seed: u64) {
        check(&authority, 6, seed)?;
    }

    /// An authority that is never there is not stormed, and one that always says "now" is not obeyed.
    #[test]
    fn nobody_is_stormed(seed: u64, days in 6u64..100) {
        let gone = Authority { spans: vec![(24 * 365 * 4, 1)], advice: vec![None], retry_after: vec![None] };
        let eager = Authority { spans: vec![(0, 24)], advice: vec![Some((0, 0))], retry_after: vec![None] };
        for authority in [gone, eager.clone()] {
            let (orders, _) = run(&authority, days, seed);
            for (i, first) in orders.iter().enumerate() {
                let week = orders[i..].iter().take_while(|t| **t < first + WEEK).count();
                prop_assert!(week <= ORDERS_A_WEEK);
            }
        }
        let (orders, _) = run(&eager, days, seed);
        for (i, first) in orders.iter().enumerate() {
            let week = orders[i..].iter().take_while(|t| **t < first + WEEK).count();
            prop_assert!(week <= EARLY_A_WEEK + 2, "{} certificates in a week", week);
        }
    }
}
