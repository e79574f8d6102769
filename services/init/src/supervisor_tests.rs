//! The state table, row by row, and what must hold whatever happens.

use super::*;

pub(super) const S: Duration = Duration::from_secs(1);

pub(super) fn spec(name: &str, after: &[&str], required: bool) -> ServiceSpec {
    ServiceSpec {
        after: after.iter().map(ToString::to_string).collect(),
        required,
        ..ServiceSpec::plain(name, 1000)
    }
}

fn one(required: bool) -> Supervisor {
    let mut supervisor = Supervisor::new(vec![spec("a", &[], required)], Jitter::new(0));
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
    let mut supervisor = Supervisor::new(vec![spec("a", &[], true)], Jitter::new(0));
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
    let mut supervisor = Supervisor::new(
        vec![spec("mail", &["dns"], true), spec("dns", &[], true)],
        Jitter::new(0),
    );
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

/// `mail` cannot do without `dns` for a moment.
fn bound() -> Supervisor {
    let mut mail = spec("mail", &["dns"], true);
    mail.restart_with = [("dns".to_owned(), "A test.".to_owned())].into();
    let mut supervisor = Supervisor::new(vec![spec("dns", &[], true), mail], Jitter::new(0));
    supervisor.handle(S, Event::Release);
    supervisor.handle(S, Event::Started(0, 5));
    let actions = supervisor.handle(S, Event::Notified(0, Message::Ready));
    assert_eq!(actions, [log("dns is ready"), Action::Start(1)]);
    supervisor
}

#[test]
fn a_service_is_restarted_with_what_it_needs() {
    let mut supervisor = bound();
    supervisor.handle(S, Event::Started(1, 6));
    supervisor.handle(2 * S, Event::Notified(1, Message::Ready));
    let actions = supervisor.handle(3 * S, Event::Dead(5, Exit::Signal(11)));
    let want = [
        Action::Sweep(0),
        log("dns was ended by signal 11; next start in 0.25 s"),
        log("mail is restarted with dns"),
        Action::Terminate(6),
    ];
    assert_eq!(actions, want);
    let actions = supervisor.handle(3 * S, Event::Dead(6, Exit::Code(0)));
    assert_eq!(actions, [Action::Sweep(1)], "it waits for dns");
    assert_eq!(supervisor.handle(4 * S, Event::Tick), [Action::Start(0)]);
    supervisor.handle(4 * S, Event::Started(0, 7));
    let actions = supervisor.handle(4 * S, Event::Notified(0, Message::Ready));
    assert_eq!(actions, [log("dns is ready"), Action::Start(1)]);
    supervisor.handle(4 * S, Event::Started(1, 8));
    assert_eq!(supervisor.services()[1].restarts, 0, "not its own fault");
}

#[test]
fn what_was_launched_beside_an_end_is_restarted_too() {
    let mut supervisor = bound();
    let actions = supervisor.handle(S, Event::Dead(5, Exit::Code(1)));
    assert!(!actions.contains(&Action::Start(1)), "{actions:?}");
    let actions = supervisor.handle(S, Event::Started(1, 6));
    let line = log("mail is restarted: what it needs has ended");
    assert_eq!(actions, [line, Action::Terminate(6)]);
}

#[test]
fn a_service_that_outlives_sigkill_is_found() {
    let mut supervisor = one(true);
    supervisor.handle(S, Event::Started(0, 7));
    supervisor.handle(11 * S, Event::Tick);
    assert_eq!(
        supervisor.unkillable_from(60 * S),
        None,
        "only asked to end"
    );
    supervisor.handle(16 * S, Event::Tick);
    assert_eq!(supervisor.unkillable_from(60 * S), Some(76 * S));
    assert!(supervisor.unkillable(75 * S, 60 * S).is_none());
    assert!(supervisor.unkillable(76 * S, 60 * S).is_some());
    supervisor.handle(77 * S, Event::Dead(7, Exit::Signal(9)));
    assert!(supervisor.unkillable(77 * S, 60 * S).is_none());
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
    let mut supervisor = Supervisor::new(
        vec![spec("dns", &[], true), spec("mail", &["dns"], true)],
        Jitter::new(0),
    );
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
