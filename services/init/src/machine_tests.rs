//! Boot, rescue and shutdown of the whole box.

use super::*;
use proptest::prelude::*;
use roost_service::notify::Message;
use supervisor::Event as Of;

const S: Duration = Duration::from_secs(1);

fn table() -> Vec<ServiceSpec> {
    vec![ServiceSpec {
        name: "mail".into(),
        description: "For a test.".into(),
        program: "/bin/mail".into(),
        user: 1000,
        capabilities: vec![],
        after: vec![],
        control: vec![],
        devices: vec![],
        data_format: 1,
        probe: false,
        required: true,
        ready_timeout_s: 10,
        stop_timeout_s: 5,
    }]
}

fn running() -> Machine {
    let mut machine = Machine::new(table());
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
fn a_box_without_services_is_ready_with_its_data() {
    let mut machine = Machine::new(Vec::new());
    assert!(!machine.ready());
    let actions = machine.handle(2 * S, Event::DataMounted);
    assert_eq!(
        actions[1],
        Action::Announce("services ready after 2.00 s".into())
    );
}

#[test]
fn unusable_data_is_rescue_and_nothing_starts() {
    let mut machine = Machine::new(table());
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
        let mut machine = Machine::new(table());
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

proptest! {
    /// Halting happens once, last, and only when asked for.
    #[test]
    fn the_end_comes_once(events in proptest::collection::vec(0u8..8, 0..40)) {
        let mut machine = Machine::new(table());
        let mut now = S;
        let mut halts = 0;
        let mut asked = false;
        for number in events {
            now += 20 * S;
            let event = match number {
                0 => Event::DataMounted,
                1 => Event::DataUnusable("x".into()),
                2 => { asked = true; Event::GoDown(Halt::Reboot) }
                3 => Event::Service(Of::Notified(0, Message::Ready)),
                4 => Event::Service(Of::Dead(9, supervisor::Exit::Code(0))),
                5 => Event::Service(Of::Kill(0)),
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
