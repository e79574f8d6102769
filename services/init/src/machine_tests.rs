//! Boot, rescue and shutdown of the whole box.

use super::*;
use proptest::prelude::*;
use roost_service::notify::Message;
use supervisor::Event as Of;

const S: Duration = Duration::from_secs(1);

fn table() -> Vec<ServiceSpec> {
    vec![ServiceSpec::plain("mail", 1000)]
}

fn running() -> Machine {
    let mut machine = Machine::new(table(), false, Jitter::new(0));
    let actions = machine.handle(3 * S, Event::DataMounted);
    assert_eq!(
        actions,
        [
            Action::RestoreClock,
            Action::Service(supervisor::Action::Start(0))
        ]
    );
    machine.handle(3 * S, Event::Service(Of::Started(0, 9)));
    machine
}

#[test]
fn readiness_is_announced_once() {
    let mut machine = running();
    let ready = || Event::Service(Of::Notified(0, Message::Ready));
    let actions = machine.handle(4 * S + S / 4, ready());
    assert!(
        actions.contains(&Action::Announce("services ready after 4.25 s".into())),
        "{actions:?}"
    );
    machine.handle(
        5 * S,
        Event::Service(Of::Dead(9, supervisor::Exit::Code(1))),
    );
    assert!(!machine.ready());
    machine.handle(6 * S, Event::Service(Of::Tick));
    machine.handle(6 * S, Event::Service(Of::Started(0, 10)));
    let actions = machine.handle(7 * S, ready());
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Announce(_))),
        "{actions:?}"
    );
    assert_eq!(machine.ready_after(), Some(4 * S + S / 4));
}

#[test]
fn a_failing_card_stops_no_service() {
    let mut machine = running();
    machine.handle(4 * S, Event::Service(Of::Notified(0, Message::Ready)));
    let failing = || Event::DataFailing("the card is failing".into());
    let actions = machine.handle(5 * S, failing());
    let said = Action::Announce("rescue: the card is failing".into());
    assert_eq!(actions, [said]);
    assert!(!machine.ready() && machine.supervisor().ready());
    assert_eq!(machine.handle(6 * S, failing()), [], "said once");
    let actions = machine.handle(7 * S, Event::GoDown(Halt::Reboot));
    assert_eq!(actions, [Action::Service(supervisor::Action::Terminate(9))]);
    assert_eq!(machine.handle(8 * S, failing()), [], "going down already");
}

#[test]
fn a_card_that_fails_on_trial_is_left_with_its_slot() {
    let mut machine = Machine::new(table(), true, Jitter::new(0));
    machine.handle(3 * S, Event::DataMounted);
    let actions = machine.handle(4 * S, Event::DataFailing("the card is failing".into()));
    let line = "trial: the card is failing; restarting into the committed slot";
    assert!(
        actions.contains(&Action::Announce(line.into())),
        "{actions:?}"
    );
    assert!(matches!(
        machine.phase(),
        Phase::Down | Phase::Stopping { .. }
    ));
}

#[test]
fn a_box_without_services_is_ready_with_its_data() {
    let mut machine = Machine::new(Vec::new(), false, Jitter::new(0));
    assert!(!machine.ready());
    let actions = machine.handle(2 * S, Event::DataMounted);
    assert_eq!(
        actions[1],
        Action::Announce("services ready after 2.00 s".into())
    );
}

#[test]
fn unusable_data_is_rescue_and_nothing_starts() {
    let mut machine = Machine::new(table(), false, Jitter::new(0));
    let actions = machine.handle(S, Event::DataUnusable("it is damaged".into()));
    assert_eq!(actions, [Action::Announce("rescue: it is damaged".into())]);
    assert_eq!(machine.handle(2 * S, Event::DataMounted), []);
    assert_eq!(machine.handle(2 * S, Event::Service(Of::Restart(0))), []);
    assert!(!machine.ready());
    let actions = machine.handle(3 * S, Event::GoDown(Halt::Reboot));
    assert_eq!(actions, [Action::Halt(Halt::Reboot)]);
}

#[test]
fn going_down_waits_for_services_but_not_for_ever() {
    let mut machine = running();
    let actions = machine.handle(10 * S, Event::GoDown(Halt::PowerOff));
    assert_eq!(actions, [Action::Service(supervisor::Action::Terminate(9))]);
    assert_eq!(
        machine.handle(11 * S, Event::GoDown(Halt::Reboot)),
        [],
        "decided already"
    );
    let mut late = running();
    let actions = machine.handle(
        12 * S,
        Event::Service(Of::Dead(9, supervisor::Exit::Code(0))),
    );
    assert_eq!(
        actions,
        [
            Action::Service(supervisor::Action::Sweep(0)),
            Action::Halt(Halt::PowerOff)
        ]
    );
    late.handle(10 * S, Event::GoDown(Halt::Reboot));
    let actions = late.handle(10 * S + STOP_LIMIT, Event::Service(Of::Tick));
    assert_eq!(
        actions.last(),
        Some(&Action::Halt(Halt::Reboot)),
        "its process never died"
    );
}

#[test]
fn going_down_waits_for_the_check_of_the_data_but_not_for_ever() {
    let going_down = || {
        let mut machine = Machine::new(table(), false, Jitter::new(0));
        assert_eq!(machine.handle(S, Event::GoDown(Halt::PowerOff)), []);
        machine
    };
    let halt = Action::Halt(Halt::PowerOff);
    assert_eq!(
        going_down().handle(9 * S, Event::DataMounted),
        [Action::RestoreClock, halt.clone()],
        "no service is started any more"
    );
    let unusable = Event::DataUnusable("it is damaged".into());
    assert_eq!(going_down().handle(9 * S, unusable), vec![halt.clone()]);
    let mut stuck = going_down();
    assert_eq!(stuck.deadline(), Some(S + STOP_LIMIT));
    assert_eq!(
        stuck.handle(S + STOP_LIMIT, Event::Service(Of::Tick)),
        [halt]
    );
}

/// A box on trial whose only service runs.
fn trial() -> Machine {
    let mut machine = Machine::new(table(), true, Jitter::new(0));
    machine.handle(3 * S, Event::DataMounted);
    machine.handle(3 * S, Event::Service(Of::Started(0, 9)));
    machine
}

#[test]
fn a_trial_that_nothing_confirms_is_left() {
    let mut machine = trial();
    assert_eq!(machine.trial_left(100 * S), Some(TRIAL_LIMIT - 100 * S));
    machine.handle(4 * S, Event::Service(Of::Notified(0, Message::Ready)));
    assert_eq!(machine.deadline(), Some(TRIAL_LIMIT));
    let tick = || Event::Service(Of::Tick);
    assert_eq!(machine.handle(TRIAL_LIMIT - S, tick()), []);
    assert_eq!(
        machine.handle(TRIAL_LIMIT, tick()),
        [
            Action::Announce("trial: nothing has confirmed this version in 600 s; restarting into the committed slot".into()),
            Action::Service(supervisor::Action::Terminate(9)),
        ]
    );
    let dead = Event::Service(Of::Dead(9, supervisor::Exit::Code(0)));
    let actions = machine.handle(TRIAL_LIMIT + S, dead);
    assert_eq!(actions.last(), Some(&Action::Halt(Halt::Reboot)));
}

#[test]
fn a_confirmed_trial_is_an_ordinary_boot() {
    let mut machine = trial();
    machine.handle(4 * S, Event::Service(Of::Notified(0, Message::Ready)));
    assert_eq!(machine.handle(50 * S, Event::TrialEnded), []);
    assert_eq!(
        (machine.trial_left(60 * S), machine.deadline()),
        (None, None)
    );
    assert_eq!(
        machine.handle(2 * TRIAL_LIMIT, Event::Service(Of::Tick)),
        []
    );
}

#[test]
fn a_trial_whose_data_cannot_be_used_is_left_at_once() {
    let mut machine = Machine::new(table(), true, Jitter::new(0));
    let actions = machine.handle(S, Event::DataUnusable("it is damaged".into()));
    assert_eq!(
        actions,
        [
            Action::Announce("rescue: it is damaged".into()),
            Action::Announce("trial: it is damaged; restarting into the committed slot".into()),
            Action::Halt(Halt::Reboot),
        ]
    );
}

proptest! {
    /// Halting happens once, last, and only when asked for or on trial.
    #[test]
    fn the_end_comes_once(events in proptest::collection::vec(0u8..9, 0..40), on_trial: bool) {
        let mut machine = Machine::new(table(), on_trial, Jitter::new(0));
        let mut now = S;
        let mut halts = 0;
        // A trial asks by itself.
        let mut asked = on_trial;
        for number in events {
            now += 20 * S;
            let event = match number {
                0 => Event::DataMounted,
                1 => Event::DataUnusable("x".into()),
                2 => { asked = true; Event::GoDown(Halt::Reboot) }
                3 => Event::Service(Of::Notified(0, Message::Ready)),
                4 => Event::Service(Of::Dead(9, supervisor::Exit::Code(0))),
                5 => Event::Service(Of::Kill(0)),
                6 => Event::TrialEnded,
                _ => Event::Service(Of::Tick),
            };
            let mut actions = machine.handle(now, event);
            if actions.contains(&Action::Service(supervisor::Action::Start(0))) {
                actions.extend(machine.handle(now, Event::Service(Of::Started(0, 9))));
            }
            halts += actions.iter().filter(|action| matches!(action, Action::Halt(_))).count();
        }
        prop_assert!(halts <= usize::from(asked));
        prop_assert_eq!(halts == 1, *machine.phase() == Phase::Down);
    }
}

/// A box that has run for `up`, one of whose services was killed in vain.
fn stuck(required: bool, up: Duration) -> Machine {
    let spec = ServiceSpec {
        required,
        ..ServiceSpec::plain("a", 1000)
    };
    let mut machine = Machine::new(vec![spec], false, Jitter::new(0));
    machine.handle(S, Event::DataMounted);
    machine.handle(S, Event::Service(Of::Started(0, 5)));
    machine.handle(S, Event::Service(Of::Notified(0, Message::Ready)));
    machine.handle(up, Event::Service(Of::Restart(0)));
    machine.handle(up + 5 * S, Event::Service(Of::Tick));
    machine
}

#[test]
fn a_required_service_that_cannot_be_killed_restarts_the_machine() {
    let up = STUCK_AFTER;
    let mut machine = stuck(true, up);
    let due = up + 5 * S + UNKILLABLE;
    assert_eq!(machine.deadline(), Some(due));
    let actions = machine.handle(due - S, Event::Service(Of::Tick));
    assert_eq!(actions, []);
    let actions = machine.handle(due, Event::Service(Of::Tick));
    let line = "a does not end even when it is killed; restarting";
    assert_eq!(actions, [Action::Announce(line.into())]);
    // It does not end now either.
    assert_eq!(machine.deadline(), Some(due + STOP_LIMIT));
    let actions = machine.handle(due + STOP_LIMIT, Event::Service(Of::Tick));
    assert_eq!(actions, [Action::Halt(Halt::Reboot)]);
}

#[test]
fn such_a_restart_is_no_endless_loop_and_not_for_services_that_can_be_spared() {
    let machine = stuck(true, 10 * S);
    assert_eq!(machine.deadline(), Some(STUCK_AFTER), "not before");
    let mut machine = stuck(false, STUCK_AFTER);
    assert_eq!(machine.deadline(), None);
    let late = Event::Service(Of::Tick);
    assert_eq!(machine.handle(2 * STUCK_AFTER, late), []);
}
