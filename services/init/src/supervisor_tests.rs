//! The state table, row by row, and what must hold whatever happens.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const S: Duration = Duration::from_secs(1);

fn spec(name: &str, after: &[&str], required: bool) -> ServiceSpec {
    ServiceSpec {
        after: after.iter().map(ToString::to_string).collect(),
        required,
        ..ServiceSpec::plain(name, 1000)
    }
}

fn one(required: bool) -> Supervisor {
    let mut supervisor = Supervisor::new(vec![spec("a", &[], required)]);
    assert_eq!(supervisor.handle(S, Event::Release), [Action::Start(0)]);
    supervisor
}

fn ready() -> Supervisor {
    let mut supervisor = one(true);
    supervisor.handle(S, Event::Started(0, 7));
    supervisor.handle(2 * S, Event::Notified(0, Message::Ready));
    assert!(supervisor.ready());
    supervisor
}

fn log(text: &str) -> Action {
    Action::Log(text.into())
}

#[test]
fn nothing_starts_before_the_release() {
    let mut supervisor = Supervisor::new(vec![spec("a", &[], true)]);
    assert_eq!(supervisor.handle(S, Event::Tick), []);
    assert_eq!(supervisor.handle(S, Event::Restart(0)), []);
    assert_eq!(supervisor.handle(S, Event::Release), [Action::Start(0)]);
    assert_eq!(
        supervisor.handle(S, Event::Release),
        [],
        "not a second time"
    );
}

#[test]
fn a_dependent_starts_once_the_other_is_ready() {
    let mut supervisor =
        Supervisor::new(vec![spec("mail", &["dns"], true), spec("dns", &[], true)]);
    assert_eq!(supervisor.handle(S, Event::Release), [Action::Start(1)]);
    assert_eq!(supervisor.services()[0].detail, "waits for dns");
    assert_eq!(supervisor.handle(S, Event::Started(1, 5)), []);
    let actions = supervisor.handle(2 * S, Event::Notified(1, Message::Ready));
    assert_eq!(actions, [log("dns is ready"), Action::Start(0)]);
}

#[test]
fn a_crash_is_followed_by_longer_and_longer_waits() {
    let mut supervisor = ready();
    let mut now = 3 * S;
    let mut waits = Vec::new();
    for pid in 7..20 {
        let actions = supervisor.handle(now, Event::Dead(pid, Exit::Signal(9)));
        assert_eq!(actions[0], Action::Sweep(0));
        let until = supervisor.deadline().unwrap();
        waits.push((until - now).as_millis());
        assert_eq!(supervisor.handle(until, Event::Tick), [Action::Start(0)]);
        supervisor.handle(until, Event::Started(0, pid + 1));
        now = until;
    }
    let want = [
        250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000, 60_000,
    ];
    assert_eq!(waits, want);
    assert_eq!(supervisor.services()[0].restarts, 13);
}

#[test]
fn a_steady_service_starts_anew_at_the_shortest_wait() {
    let mut supervisor = ready();
    supervisor.handle(3 * S, Event::Dead(7, Exit::Code(1)));
    supervisor.handle(4 * S, Event::Tick);
    supervisor.handle(4 * S, Event::Started(0, 8));
    supervisor.handle(5 * S, Event::Notified(0, Message::Ready));
    let actions = supervisor.handle(5 * S + STEADY, Event::Dead(8, Exit::Code(1)));
    assert_eq!(
        actions,
        [
            Action::Sweep(0),
            log("a exited with status 1; next start in 0.25 s")
        ]
    );
}

#[test]
fn silence_is_a_failure() {
    let mut supervisor = one(true);
    supervisor.handle(S, Event::Started(0, 7));
    assert_eq!(supervisor.deadline(), Some(11 * S));
    let actions = supervisor.handle(11 * S, Event::Tick);
    assert_eq!(
        actions,
        [log("a was not ready within 10 s"), Action::Terminate(7)]
    );
    let actions = supervisor.handle(16 * S, Event::Tick);
    assert_eq!(
        actions,
        [
            log("a did not stop within 5 s and is killed"),
            Action::Kill(0, 7)
        ]
    );
    assert_eq!(supervisor.handle(17 * S, Event::Tick), [], "killed once");
    let actions = supervisor.handle(17 * S, Event::Dead(7, Exit::Signal(9)));
    assert_eq!(
        actions,
        [
            Action::Sweep(0),
            log("a was not ready within 10 s; next start in 0.25 s")
        ]
    );
}

#[test]
fn a_program_that_cannot_start_is_tried_again() {
    let mut supervisor = one(true);
    let actions = supervisor.handle(S, Event::NotStarted(0, "/bin/x: not found".into()));
    assert_eq!(
        actions,
        [log(
            "a cannot be started: /bin/x: not found; next start in 0.25 s"
        )]
    );
    assert_eq!(supervisor.handle(2 * S, Event::Tick), [Action::Start(0)]);
}

#[test]
fn only_an_optional_service_is_given_up() {
    for (required, word) in [(true, "backoff"), (false, "failed")] {
        let mut supervisor = one(required);
        let mut now = S;
        for _ in 0..OPTIONAL_ATTEMPTS {
            supervisor.handle(now, Event::NotStarted(0, "x".into()));
            now += BACKOFF_MAX;
            supervisor.handle(now, Event::Tick);
        }
        let before = supervisor.handle(now, Event::NotStarted(0, "x".into()));
        assert_eq!(supervisor.services()[0].state.word(), word, "{before:?}");
    }
}

#[test]
fn a_given_up_service_can_be_asked_for() {
    let mut supervisor = one(false);
    let mut now = S;
    for _ in 0..OPTIONAL_ATTEMPTS {
        supervisor.handle(now, Event::NotStarted(0, "x".into()));
        now += BACKOFF_MAX;
        supervisor.handle(now, Event::Tick);
    }
    assert_eq!(supervisor.services()[0].state, State::Failed);
    assert_eq!(
        supervisor.handle(now, Event::Restart(0)),
        [Action::Start(0)]
    );
}

#[test]
fn kill_and_restart_on_request() {
    let mut supervisor = ready();
    assert_eq!(
        supervisor.handle(3 * S, Event::Kill(0)),
        [Action::Kill(0, 7)]
    );
    supervisor.handle(3 * S, Event::Dead(7, Exit::Signal(9)));
    supervisor.handle(4 * S, Event::Tick);
    supervisor.handle(4 * S, Event::Started(0, 8));
    let actions = supervisor.handle(5 * S, Event::Restart(0));
    assert_eq!(
        actions,
        [log("a is restarted on request"), Action::Terminate(8)]
    );
    let actions = supervisor.handle(6 * S, Event::Dead(8, Exit::Code(0)));
    assert_eq!(actions, [Action::Sweep(0), Action::Start(0)], "at once");
    supervisor.handle(6 * S, Event::Started(0, 9));
    assert_eq!(
        supervisor.services()[0].restarts,
        1,
        "not the one on request"
    );
    assert_eq!(
        supervisor.handle(6 * S, Event::Kill(9)),
        [],
        "no such service"
    );
}

#[test]
fn the_shutdown_goes_backwards() {
    let mut supervisor =
        Supervisor::new(vec![spec("dns", &[], true), spec("mail", &["dns"], true)]);
    supervisor.handle(S, Event::Release);
    supervisor.handle(S, Event::Started(0, 5));
    supervisor.handle(S, Event::Notified(0, Message::Ready));
    supervisor.handle(S, Event::Started(1, 6));
    assert_eq!(
        supervisor.handle(2 * S, Event::Shutdown),
        [Action::Terminate(6)]
    );
    let actions = supervisor.handle(3 * S, Event::Dead(6, Exit::Code(0)));
    assert_eq!(actions, [Action::Sweep(1), Action::Terminate(5)]);
    supervisor.handle(3 * S, Event::Dead(5, Exit::Code(0)));
    assert!(supervisor.all_stopped());
    assert_eq!(
        supervisor.handle(4 * S, Event::Restart(0)),
        [],
        "nothing starts any more"
    );
}

#[test]
fn a_status_line_is_shown_while_it_runs() {
    let mut supervisor = one(true);
    supervisor.handle(S, Event::Notified(0, Message::Status("too early".into())));
    supervisor.handle(S, Event::Started(0, 7));
    supervisor.handle(
        S,
        Event::Notified(0, Message::Status("opening the store".into())),
    );
    assert_eq!(supervisor.services()[0].detail, "opening the store");
}

/// What the world does to the supervisor next.
#[derive(Debug, Clone)]
enum World {
    Wait(u32),
    Die(usize, bool),
    Notify(usize, bool),
    Kill(usize),
    Restart(usize),
    CannotStart(bool),
    Orphan,
    Release,
    Shutdown,
}

fn world() -> impl Strategy<Value = World> {
    prop_oneof![
        4 => (0u32..20_000).prop_map(World::Wait),
        3 => (0usize..4, any::<bool>()).prop_map(|(i, ok)| World::Die(i, ok)),
        4 => (0usize..4, prop::bool::weighted(0.8)).prop_map(|(i, ready)| World::Notify(i, ready)),
        1 => (0usize..5).prop_map(World::Kill),
        1 => (0usize..5).prop_map(World::Restart),
        1 => any::<bool>().prop_map(World::CannotStart),
        1 => Just(World::Orphan),
        2 => Just(World::Release),
        1 => prop::bool::weighted(0.1).prop_map(|down| if down { World::Shutdown } else { World::Orphan }),
    ]
}

/// A supervisor and the processes it believes in.
struct Simulation {
    supervisor: Supervisor,
    now: Duration,
    /// Running processes by service, and whether SIGKILL was sent.
    alive: BTreeMap<Index, (Pid, bool)>,
    next_pid: Pid,
    refuse_starts: bool,
    shutdown: bool,
}

impl Simulation {
    fn send(&mut self, event: Event) {
        let mut queue = vec![event];
        while let Some(event) = queue.pop() {
            for action in self.supervisor.handle(self.now, event) {
                match action {
                    Action::Start(index) => {
                        assert!(!self.shutdown, "started during the shutdown");
                        assert!(!self.alive.contains_key(&index), "started twice");
                        let service = &self.supervisor.services()[index];
                        for &other in &service.after {
                            let other = &self.supervisor.services()[other].state;
                            assert!(
                                matches!(other, State::Ready { .. }),
                                "started before what it needs"
                            );
                        }
                        if self.refuse_starts {
                            queue.push(Event::NotStarted(index, "refused".into()));
                        } else {
                            self.next_pid += 1;
                            self.alive.insert(index, (self.next_pid, false));
                            queue.push(Event::Started(index, self.next_pid));
                        }
                    }
                    Action::Terminate(pid) => {
                        assert!(
                            self.alive.values().any(|p| p.0 == pid),
                            "signalled a stranger"
                        );
                    }
                    Action::Kill(index, pid) => {
                        let process = self.alive.get_mut(&index).expect("killed a dead service");
                        assert_eq!(process.0, pid);
                        process.1 = true;
                    }
                    Action::Sweep(index) => {
                        assert!(!self.alive.contains_key(&index), "swept a running service")
                    }
                    Action::Log(line) => assert!(!line.is_empty()),
                }
            }
        }
        for (index, service) in self.supervisor.services().iter().enumerate() {
            assert_eq!(service.state.pid(), self.alive.get(&index).map(|p| p.0));
        }
    }

    fn die(&mut self, index: Index, exit: Exit) {
        if let Some((pid, _)) = self.alive.remove(&index) {
            self.send(Event::Dead(pid, exit));
        }
    }

    fn step(&mut self, step: World) {
        match step {
            World::Wait(ms) => {
                self.now += Duration::from_millis(ms.into());
                self.send(Event::Tick);
            }
            World::Die(index, ok) => {
                self.die(index, if ok { Exit::Code(0) } else { Exit::Signal(11) })
            }
            World::Notify(index, true) => self.send(Event::Notified(index, Message::Ready)),
            World::Notify(index, false) => {
                self.send(Event::Notified(index, Message::Status("s".into())))
            }
            World::Kill(index) => self.send(Event::Kill(index)),
            World::Restart(index) => self.send(Event::Restart(index)),
            World::CannotStart(refuse) => self.refuse_starts = refuse,
            World::Orphan => self.send(Event::Dead(999_999, Exit::Code(0))),
            World::Release => self.send(Event::Release),
            World::Shutdown => {
                self.shutdown = true;
                self.send(Event::Shutdown);
            }
        }
        // The loop sleeps until the deadline: one in the past would be a busy loop.
        let deadline = self.supervisor.deadline();
        if deadline.is_some_and(|due| due <= self.now) {
            self.send(Event::Tick);
            let deadline = self.supervisor.deadline();
            assert!(
                deadline.is_none_or(|due| due > self.now),
                "{deadline:?} at {:?}",
                self.now
            );
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold_and_the_shutdown_ends(
        steps in proptest::collection::vec(world(), 0..60), stubborn: [bool; 4]
    ) {
        let table = vec![
            spec("a", &[], true),
            spec("b", &["a"], false),
            spec("c", &["a", "b"], true),
            spec("d", &[], false),
        ];
        let mut simulation = Simulation {
            supervisor: Supervisor::new(table),
            now: S,
            alive: BTreeMap::new(),
            next_pid: 100,
            refuse_starts: false,
            shutdown: false,
        };
        for step in steps {
            simulation.step(step);
        }
        simulation.step(World::Shutdown);
        // Processes obey SIGTERM at once or only SIGKILL.
        for _ in 0..40 {
            for (index, &stubborn) in stubborn.iter().enumerate() {
                let stopping = matches!(simulation.supervisor.services()[index].state, State::Stopping { .. });
                let killed = simulation.alive.get(&index).is_some_and(|p| p.1);
                if stopping && (killed || !stubborn) {
                    simulation.die(index, Exit::Code(0));
                }
            }
            simulation.step(World::Wait(5000));
        }
        prop_assert!(simulation.supervisor.all_stopped());
        prop_assert_eq!(simulation.supervisor.deadline(), None);
    }

    /// Kept alive by the world, every required service becomes ready in the end.
    #[test]
    fn required_services_come_back(steps in proptest::collection::vec(world(), 0..40)) {
        let table = vec![spec("a", &[], true), spec("b", &["a"], true), spec("c", &["b"], true)];
        let mut simulation = Simulation {
            supervisor: Supervisor::new(table),
            now: S,
            alive: BTreeMap::new(),
            next_pid: 100,
            refuse_starts: false,
            shutdown: false,
        };
        for step in steps {
            if !matches!(step, World::Shutdown) {
                simulation.step(step);
            }
        }
        simulation.refuse_starts = false;
        simulation.step(World::Release);
        for _ in 0..20 {
            for index in 0..3 {
                let stopping = matches!(simulation.supervisor.services()[index].state, State::Stopping { .. });
                if stopping {
                    simulation.die(index, Exit::Code(0));
                }
                simulation.step(World::Notify(index, true));
            }
            simulation.step(World::Wait(BACKOFF_MAX.as_millis() as u32));
            for index in 0..3 {
                simulation.step(World::Notify(index, true));
            }
        }
        prop_assert!(simulation.supervisor.ready());
    }
}
