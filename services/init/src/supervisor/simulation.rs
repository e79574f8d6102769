//! The supervisor in a world that does what it likes: by chance for long, and
//! every order of events for short.

use super::tests::{S, spec};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// A required service that is restarted with `with`.
fn bound(name: &str, after: &[&str], with: &str) -> ServiceSpec {
    ServiceSpec {
        restart_with: [(with.to_owned(), "A test.".to_owned())].into(),
        ..spec(name, after, true)
    }
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
#[derive(Clone)]
struct Simulation {
    supervisor: Supervisor,
    now: Duration,
    /// Running processes by service, and whether SIGKILL was sent.
    alive: BTreeMap<Index, (Pid, bool)>,
    next_pid: Pid,
    refuse_starts: bool,
    shutdown: bool,
    /// By service, the process that each of its `restart_with` had when it started.
    seen: BTreeMap<Index, Vec<(Index, Option<Pid>)>>,
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
                            let with = service.restart_with.iter();
                            let seen = with.map(|&i| (i, self.alive.get(&i).map(|p| p.0)));
                            self.seen.insert(index, seen.collect());
                            queue.push(Event::Started(index, self.next_pid));
                        }
                    }
                    Action::Terminate(pid) => {
                        assert!(
                            self.alive.values().any(|p| p.0 == pid),
                            "signalled a stranger"
                        );
                        assert!(
                            !self.shutdown || !self.dependents_of(pid),
                            "stopped before what needs it"
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
            if let State::Starting { .. } | State::Ready { .. } = service.state
                && !self.shutdown
            {
                for &(other, pid) in &self.seen[&index] {
                    let now = self.alive.get(&other).map(|p| p.0);
                    assert_eq!(now, pid, "runs on without what it needs");
                }
            }
        }
    }

    fn new(table: Vec<ServiceSpec>, seed: u64) -> Self {
        Self {
            supervisor: Supervisor::new(table, Jitter::new(seed)),
            now: S,
            alive: BTreeMap::new(),
            next_pid: 100,
            refuse_starts: false,
            shutdown: false,
            seen: BTreeMap::new(),
        }
    }

    /// Whether something that needs the service with this process runs.
    fn dependents_of(&self, pid: Pid) -> bool {
        let services = self.supervisor.services();
        let own = services.iter().position(|s| s.state.pid() == Some(pid));
        services.iter().enumerate().any(|(i, s)| {
            own.is_some_and(|own| s.after.contains(&own)) && self.alive.contains_key(&i)
        })
    }

    fn die(&mut self, index: Index, exit: Exit) {
        if let Some((pid, _)) = self.alive.remove(&index) {
            self.send(Event::Dead(pid, exit));
        }
    }

    /// Goes down; processes end when they are killed.
    fn end(&mut self) {
        self.step(World::Shutdown);
        for _ in 0..2 * self.supervisor.services().len() {
            for index in 0..self.supervisor.services().len() {
                if self.alive.get(&index).is_some_and(|process| process.1) {
                    self.die(index, Exit::Signal(9));
                }
            }
            self.step(World::Wait(5000));
        }
        assert!(self.supervisor.all_stopped(), "{:?}", self.supervisor);
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
        steps in proptest::collection::vec(world(), 0..60), stubborn: [bool; 4], seed: u64
    ) {
        let table = vec![
            spec("a", &[], true),
            spec("b", &["a"], false),
            bound("c", &["a", "b"], "a"),
            spec("d", &[], false),
        ];
        let mut simulation = Simulation::new(table, seed);
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
    fn required_services_come_back(
        steps in proptest::collection::vec(world(), 0..40), seed: u64
    ) {
        let table = vec![spec("a", &[], true), bound("b", &["a"], "a"), spec("c", &["b"], true)];
        let mut simulation = Simulation::new(table, seed);
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

/// How far every order of events is followed. One more takes five times as long.
const DEPTH: usize = 8;

/// What tells two states of a simulation apart: neither the time itself nor the numbers of
/// processes, nor what is only told.
fn key(simulation: &Simulation) -> String {
    let Simulation {
        supervisor,
        now,
        alive,
        ..
    } = simulation;
    let mut key = format!(
        "{:?}{}{}",
        supervisor.phase, simulation.refuse_starts, simulation.shutdown
    );
    for (index, service) in supervisor.services.iter().enumerate() {
        let state = match service.state {
            State::Starting { by, .. } => format!("starting {:?}", by.saturating_sub(*now)),
            State::Ready { since, .. } => format!("ready {:?}", (*now - since).min(STEADY)),
            State::Stopping {
                kill_at,
                killed,
                then,
                ..
            } => format!(
                "stopping {:?} {killed} {then:?}",
                kill_at.saturating_sub(*now)
            ),
            State::Backoff { until } => format!("backoff {:?}", until.saturating_sub(*now)),
            ref other => format!("{other:?}"),
        };
        let killed = alive.get(&index).map(|p| p.1);
        let Service {
            failures,
            asked,
            outdated,
            started,
            ..
        } = service;
        key += &format!("|{state} {killed:?} {failures} {asked} {outdated} {started}");
    }
    key
}

/// Every order of up to [`DEPTH`] events, states that were met before left out: the rules hold in
/// each (see [`Simulation::send`]), and from each the shutdown comes to its end.
#[test]
fn every_order_of_events() {
    let table = vec![
        spec("a", &[], true),
        bound("b", &["a"], "a"),
        spec("c", &["b"], false),
    ];
    let services = table.len();
    let mut met = HashSet::new();
    let mut last = vec![Simulation::new(table, 0)];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for simulation in &last {
            let mut steps = vec![
                World::Release,
                World::Shutdown,
                World::CannotStart(!simulation.refuse_starts),
            ];
            if let Some(due) = simulation.supervisor.deadline() {
                let wait = due.saturating_sub(simulation.now).as_millis();
                steps.push(World::Wait(u32::try_from(wait).unwrap() + 1));
            }
            for index in 0..services {
                steps.push(World::Restart(index));
                if simulation.alive.contains_key(&index) {
                    steps.push(World::Die(index, false));
                    steps.push(World::Notify(index, true));
                    steps.push(World::Kill(index));
                }
            }
            for step in steps {
                let mut one = simulation.clone();
                one.step(step);
                if met.insert(key(&one)) {
                    one.clone().end();
                    next.push(one);
                }
            }
        }
        last = next;
    }
    println!("{} states", met.len());
    assert!(met.len() > 10_000, "{} states", met.len());
}
