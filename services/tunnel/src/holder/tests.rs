use super::*;

const KEY: &str = "relay";

fn at(start: Instant, s: u64) -> Instant {
    start + Duration::from_secs(s)
}

fn stand(start: Instant, remembers: bool) -> Stand {
    let mut generation = Generation::first([7; 16]);
    generation.relay = remembers.then(|| KEY.into());
    Stand::new(&generation, KEY, "run".into(), start)
}

fn own(quiet: i64) -> Said {
    Said::Holder(Holder {
        generation: 1,
        instance: "07".repeat(16),
        run: "run".into(),
        quiet,
    })
}

#[test]
fn a_box_serves_while_its_lease_lasts() {
    let start = Instant::now();
    let mut stand = stand(start, false);
    assert!(!stand.serves(start));
    assert_eq!(stand.guard(start), Guard::Asking);
    let question = stand.question("k");
    assert!(
        question.ends_with("/1/07070707070707070707070707070707/run/new"),
        "{question}"
    );
    // The answer took a while; the lease began when it was asked.
    let outcome = stand.hear(start, at(start, 4), &own(i64::MAX));
    assert_eq!(outcome, Outcome::Remembers);
    assert!(stand.question("k").ends_with("/run/again"));
    assert_eq!(stand.next(), at(start, 20));
    assert!(stand.serves(at(start, 4)) && stand.serves(at(start, 59)));
    assert!(!stand.serves(at(start, 60)));
    assert_eq!(stand.guard(at(start, 60)), Guard::Asking);
    for s in [25, 32, 39, 46, 53] {
        assert_eq!(
            stand.hear(at(start, s - 5), at(start, s), &Said::Nothing),
            Outcome::Nothing
        );
        assert_eq!(stand.next(), at(start, s + 2));
        assert_eq!(stand.guard(at(start, s)), Guard::Held);
    }
    for s in 60..1000 {
        stand.hear(at(start, s - 1), at(start, s), &Said::Nothing);
        assert!(
            !stand.serves(at(start, s)),
            "it waits for a relay that remembers, for ever"
        );
    }
    assert_eq!(
        stand.hear(at(start, 1000), at(start, 1001), &own(5000)),
        Outcome::Nothing
    );
    assert!(stand.serves(at(start, 1001)));
}

#[test]
fn a_box_waits_for_the_lease_of_the_one_before() {
    let start = Instant::now();
    for (quiet, from) in [(0, 65), (-500, 65), (50, 15), (64, 1), (65, 0), (70, 0)] {
        let mut stand = stand(start, true);
        stand.hear(start, start, &own(quiet));
        assert!(from == 0 || !stand.serves(at(start, from - 1)), "{quiet}");
        assert!(stand.serves(at(start, from)) == (from < 60), "{quiet}");
        let waits = if from == 0 {
            Guard::Held
        } else {
            Guard::Waiting
        };
        assert_eq!(stand.guard(start), waits);
        // Asking again makes it no longer, whatever becomes of the relay's clock.
        stand.hear(at(start, 20), at(start, 20), &own(0));
        assert!(stand.serves(at(start, from.max(20))), "{quiet}");
        assert_eq!(stand.serves(at(start, 20)), from <= 20);
    }
}

#[test]
fn a_box_that_is_not_the_holder_stands_down() {
    let start = Instant::now();
    let Said::Holder(it) = own(0) else {
        unreachable!()
    };
    for other in [
        Holder {
            generation: 2,
            ..it.clone()
        },
        Holder {
            instance: "08".repeat(16),
            ..it.clone()
        },
        Holder {
            run: "other".into(),
            ..it.clone()
        },
    ] {
        let mut stand = stand(start, true);
        stand.hear(start, start, &own(99));
        assert!(stand.serves(start));
        let outcome = stand.hear(start, start, &Said::Holder(other.clone()));
        assert_eq!(outcome, Outcome::Replaced(other.generation));
        assert!(!stand.serves(start));
    }
}

#[test]
fn a_relay_that_does_not_remember_hinders_nobody() {
    let start = Instant::now();
    let mut stand = stand(start, true);
    stand.hear(start, start, &Said::Else);
    assert!(stand.serves(start));
    assert_eq!(
        (stand.guard(start), stand.next()),
        (Guard::Absent, at(start, 60))
    );
    stand.hear(at(start, 60), at(start, 65), &Said::Nothing);
    assert!(stand.serves(at(start, 65)));
    stand.came_up(at(start, 70));
    assert_eq!(stand.next(), at(start, 70));
    // It was set up anew.
    stand.hear(at(start, 70), at(start, 70), &own(99));
    assert_eq!(stand.guard(at(start, 70)), Guard::Held);

    let mut foreign = super::tests::stand(start, false);
    for n in 1..TRIES {
        foreign.hear(start, start, &Said::Nothing);
        assert!(!foreign.serves(start), "{n}");
    }
    foreign.hear(start, start, &Said::Nothing);
    assert_eq!(
        (foreign.serves(start), foreign.guard(start)),
        (true, Guard::Absent)
    );

    let mut deaf = super::tests::stand(start, false);
    deaf.alone();
    assert!(deaf.serves(start));
}
