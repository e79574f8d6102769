//! What a start makes of what it finds: all combinations, and the ones with a story.

mod support;

use roost_board::Slot;
use roost_updater::reconcile::{Decision, Then};
use roost_updater::state::{Stage, State, TrialRecord};
use support::*;

const SLOTS: [Slot; 2] = [Slot::A, Slot::B];

/// Version 1 is in slot A, version 2 in slot B.
fn number(slot: Slot) -> u64 {
    match slot {
        Slot::A => 1,
        Slot::B => 2,
    }
}

fn trial(slot: Slot, seen: bool, failed: bool) -> Stage {
    Stage::Trial(TrialRecord {
        to: installed(number(slot)),
        slot,
        from: version(number(slot.other())),
        started: 1000,
        seen,
        failed: failed.then(|| "mail did not work".into()),
        checks: vec![],
        log: vec!["a line".into()],
    })
}

fn stages() -> Vec<Stage> {
    let mut stages = vec![
        Stage::Idle,
        Stage::Staged,
        Stage::Writing {
            version: version(3),
        },
    ];
    for slot in SLOTS {
        for (seen, failed) in [(false, false), (true, false), (true, true)] {
            stages.push(trial(slot, seen, failed));
        }
    }
    stages
}

fn states() -> Vec<Option<State>> {
    let mut states = vec![None];
    for committed in SLOTS {
        for stage in stages() {
            for other_is_whole in [false, true] {
                let mut state = State::new(committed);
                state.set_slot(committed, Some(installed(number(committed))));
                if other_is_whole {
                    let other = committed.other();
                    state.set_slot(other, Some(installed(number(other))));
                }
                state.stage = stage.clone();
                states.push(Some(state));
            }
        }
    }
    states
}

fn kind(then: &Then) -> &'static str {
    match then {
        Then::Nothing => "nothing",
        Then::Gate { .. } => "gate",
        Then::EndTrial => "end",
    }
}

#[test]
fn every_combination_ends_in_a_state_that_fits_what_boots_next() {
    let mut count = 0;
    for running in SLOTS {
        let facts = facts(running, number(running));
        for on_trial in [false, true] {
            for selector in [None, Some(Slot::A), Some(Slot::B)] {
                for state in states() {
                    let Decision {
                        heal,
                        state: after,
                        then,
                        ..
                    } = decide(&facts, on_trial, selector, state.as_ref(), 2000);
                    let told = format!("{running} {on_trial} {selector:?} {state:?}: {after:?}");
                    // A good selector is never touched, a damaged one always healed.
                    assert_eq!(heal.is_some(), selector.is_none(), "{told}");
                    let boots = heal.or(selector).expect("one of them");
                    assert_eq!(after.committed, boots, "{told}");
                    assert_eq!(
                        after.slot(running),
                        Some(&facts.running),
                        "what runs is known: {told}"
                    );
                    // Init's deadline goes on only while the gate runs.
                    match (&then, on_trial) {
                        (Then::EndTrial, true) => assert_eq!(boots, running, "{told}"),
                        (Then::Gate { .. }, _) => assert_eq!(boots, running.other(), "{told}"),
                        (Then::Nothing, false) => {}
                        _ => panic!("{} in {told}", kind(&then)),
                    }
                    // A trial is on record exactly while it goes on, but for a
                    // boot that nobody can explain.
                    if boots == running || matches!(then, Then::Gate { .. }) {
                        assert_eq!(
                            matches!(&after.stage, Stage::Trial(t) if t.slot == running),
                            matches!(then, Then::Gate { .. }),
                            "{told}"
                        );
                    }
                    assert!(!matches!(after.stage, Stage::Writing { .. }), "{told}");
                    if after.stage == Stage::Staged {
                        assert!(after.slot(boots.other()).is_some(), "{told}");
                    }
                    // A trial that is over has an outcome.
                    if let Some(State {
                        stage: Stage::Trial(trial),
                        ..
                    }) = &state
                        && boots == running
                    {
                        let last = after.last.as_ref().expect("an outcome");
                        assert_eq!(last.rolled_back.is_none(), trial.slot == running, "{told}");
                        assert_eq!(
                            after.has_failed(trial.to.version.number),
                            trial.slot != running,
                            "{told}"
                        );
                        assert_eq!(last.took_s, 1000);
                    }
                    // A second start finds nothing more to do.
                    let again = decide(&facts, on_trial, Some(boots), Some(&after), 3000);
                    assert_eq!(again.state, after, "{told}");
                    assert_eq!(again.heal, None, "{told}");
                    assert_eq!(kind(&again.then), kind(&then), "{told}");
                    count += 1;
                }
            }
        }
    }
    println!("{count} combinations");
    assert_eq!(count, 2 * 2 * 3 * (1 + 2 * 9 * 2));
}

#[test]
fn a_trial_that_ended_badly_is_told_with_its_reason() {
    let reason = |seen, failed| {
        let mut state = State::new(Slot::A);
        state.stage = trial(Slot::B, seen, failed);
        let after = decide(&facts(Slot::A, 1), false, Some(Slot::A), Some(&state), 1500).state;
        let reason = after.last.unwrap().rolled_back.unwrap();
        assert_eq!(reason.log, ["a line"]);
        reason.summary
    };
    let told = [
        reason(false, false),
        reason(true, false),
        reason(true, true),
    ]
    .join("\n");
    insta::assert_snapshot!(told, @r"
    it did not come up: the box restarted or lost power before the trial could begin
    it restarted by itself before it was found healthy
    mail did not work
    ");
}

#[test]
fn a_trial_of_something_else_fails_at_once() {
    let mut state = State::new(Slot::A);
    state.stage = trial(Slot::B, false, false);
    let mut facts = facts(Slot::B, 2);
    facts.running.root_hash = Some(root_hash(9));
    let decision = decide(&facts, true, Some(Slot::A), Some(&state), 1500);
    let Then::Gate { wrong, .. } = decision.then else {
        panic!("{decision:?}");
    };
    assert_eq!(
        wrong.as_deref(),
        Some("another build of version 0.1.0+2 runs than the one that was to be tried")
    );
}

#[test]
fn a_damaged_selector_is_healed_from_the_copy_whatever_the_firmware_booted() {
    // The firmware falls back to the first slot; B was committed.
    let mut state = State::new(Slot::B);
    state.set_slot(Slot::B, Some(installed(2)));
    let decision = decide(&facts(Slot::A, 1), false, None, Some(&state), 1500);
    assert_eq!(decision.heal, Some(Slot::B));
    insta::assert_snapshot!(decision.say.join("\n"), @r"
    the selector is damaged: it is made to say slot B again
    slot A runs, but the selector names slot B, which the next restart leads to
    ");
}

#[test]
fn only_so_many_bad_versions_are_remembered() {
    let mut state = State::new(Slot::A);
    for number in 0..100 {
        state.add_failed(number % 50);
    }
    assert!(!state.has_failed(17) && state.has_failed(18) && state.has_failed(49));
    state.forgive(49);
    assert!(!state.has_failed(49));
}

#[test]
fn a_file_with_anything_unknown_counts_as_lost() {
    let mut state = State::new(Slot::B);
    state.stage = trial(Slot::A, true, true);
    state.set_slot(Slot::B, Some(installed(2)));
    let json = String::from_utf8(state.render()).unwrap();
    assert_eq!(State::parse(json.as_bytes()), Ok(state));
    for (from, to) in [
        ("\"format\": 1", "\"format\": 2"),
        ("\"committed\"", "\"comitted\""),
        ("\"seen\"", "\"unseen\": 1, \"seen\""),
        ("\"trial\"", "\"exile\""),
    ] {
        let changed = json.replacen(from, to, 1);
        assert_ne!(changed, json, "{from}");
        assert!(State::parse(changed.as_bytes()).is_err(), "{to}");
    }
    for end in 0..json.len() {
        assert!(State::parse(&json.as_bytes()[..end]).is_err());
    }
}

#[test]
fn earlier_outcomes_are_kept_in_short_and_not_without_end() {
    let mut state = State::new(Slot::A);
    for number in 1..=30 {
        state.stage = trial(Slot::B, true, true);
        state = decide(
            &facts(Slot::A, 1),
            false,
            Some(Slot::A),
            Some(&state),
            number,
        )
        .state;
    }
    assert_eq!(state.last.unwrap().at, 30);
    let times: Vec<u64> = state.earlier.iter().map(|outcome| outcome.at).collect();
    assert_eq!(times, (11..30).rev().collect::<Vec<_>>());
    for outcome in state.earlier {
        let reason = outcome.rolled_back.unwrap();
        assert_eq!(reason.summary, "mail did not work");
        assert_eq!((reason.checks, reason.log), (vec![], vec![]));
    }
}
