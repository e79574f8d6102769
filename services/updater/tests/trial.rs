//! A trial boot with its gate, a played init and a played service. The clock
//! runs eight times as fast.

mod support;

use roost_board::Slot;
use roost_service::control::{Request, ServiceStatus};
use roost_service::probe::Answer;
use roost_service::spec::ServiceSpec;
use roost_updater::reconcile::Then;
use roost_updater::start::start;
use roost_updater::state::Stage;
use roost_updater::trial;
use roost_updater::updater::{Places, Updater};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use support::*;

/// Seconds since the kernel started, from 20 on.
fn clock() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    Duration::from_secs(20) + START.get_or_init(Instant::now).elapsed() * 8
}

fn mail() -> ServiceSpec {
    serde_json::from_str(
        r#"{"name":"mail","description":"","program":"/bin/mail","user":800,"required":true,
            "probe":true,"ready_timeout_s":300,"stop_timeout_s":15}"#,
    )
    .expect("a spec")
}

struct Booted {
    on: BoxOfFiles,
    init: Arc<Mutex<PlayedInit>>,
    updater: Arc<Updater>,
    then: Then,
}

/// Where the played mail service answers; nextest runs each test in a process of its own.
static PROBE: OnceLock<PathBuf> = OnceLock::new();

/// Slot B was written and put on trial; now it boots.
fn boot_on_trial(fault: Option<&'static str>) -> Booted {
    let on = BoxOfFiles::new(&versions().a, &versions().b);
    let (ledger, _) = on.start(&facts(Slot::A, 1), false, 1000);
    ledger
        .change(|state| {
            state.set_slot(Slot::B, Some(installed(2)));
            state.stage = Stage::Staged;
        })
        .expect("kept");
    let staged = roost_updater::engine::Staged::written(&ledger.state()).expect("staged");
    staged.request(&ledger, 1000).expect("on record");
    on.boot(Slot::B);

    let init = play_init(&on.path("control.sock"));
    {
        let mut init = init.lock().unwrap();
        init.status = status(3, Some(500.0));
        init.status.services = vec![ServiceStatus {
            name: "mail".into(),
            state: "ready".into(),
            detail: String::new(),
            pid: Some(7),
            restarts: 0,
            memory: None,
        }];
        init.logs = (0..100)
            .map(|i| format!("line {i} {}", "x".repeat(400)))
            .collect();
    }
    let socket = PROBE.get_or_init(|| on.path("probe"));
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Answer {
                fault: fault.map(str::to_owned),
                took_ms: 12,
            };
            let mut line = serde_json::to_vec(&answer).unwrap();
            line.push(b'\n');
            let _ = stream.expect("a connection").write_all(&line);
        }
    });
    let facts = facts(Slot::B, 2);
    let told = init.lock().unwrap().status.clone();
    let (ledger, then) =
        start(&facts, &told, &on.devices(), &on.path("data"), Vec::new).expect("started");
    let places = Places {
        devices: on.devices(),
        control: on.path("control.sock"),
        probe: |_| PROBE.get().cloned().expect("it plays"),
    };
    let updater = Arc::new(Updater::new(facts, ledger, places, []));
    Booted {
        on,
        init,
        updater,
        then,
    }
}

impl Booted {
    async fn run(&mut self, wrong: Option<String>) {
        let Then::Gate {
            trial,
            wrong: found,
        } = std::mem::replace(&mut self.then, Then::Nothing)
        else {
            panic!("no trial");
        };
        let wrong = wrong.or(found);
        trial::run(self.updater.clone(), trial, wrong, &[mail()], clock).await;
    }

    fn asked(&self, request: &Request) -> bool {
        self.init.lock().unwrap().asked.contains(request)
    }
}

#[tokio::test]
async fn a_healthy_trial_is_committed_and_init_is_told() {
    let mut booted = boot_on_trial(None);
    booted.run(None).await;
    assert_eq!(booted.on.selected(), Some(Slot::B));
    assert!(booted.asked(&Request::EndTrial));
    assert!(!booted.asked(&Request::Reboot { trial: false }));
    let state = booted.updater.ledger.state();
    assert_eq!((state.committed, &state.stage), (Slot::B, &Stage::Idle));
    let last = state.last.clone().expect("an outcome");
    assert_eq!((last.to.number, last.rolled_back), (2, None));
    assert_eq!(
        state.slot(Slot::A),
        Some(&installed(1)),
        "there is a way back"
    );
}

#[tokio::test]
async fn a_trial_whose_mail_does_not_work_leaves_its_reason_to_the_version_before() {
    let mut booted = boot_on_trial(Some("the message was not in the inbox"));
    // The gate would take 480 s; it is told that it has taken them.
    static LATE: OnceLock<Instant> = OnceLock::new();
    let late = || Duration::from_secs(460) + LATE.get_or_init(Instant::now).elapsed() * 8;
    let Then::Gate { trial, wrong: None } = std::mem::replace(&mut booted.then, Then::Nothing)
    else {
        panic!("no trial");
    };
    trial::run(booted.updater.clone(), trial, None, &[mail()], late).await;
    assert_eq!(booted.on.selected(), Some(Slot::A), "nothing was committed");
    assert!(booted.asked(&Request::Reboot { trial: false }));
    assert!(!booted.asked(&Request::EndTrial));

    // The box is back.
    booted.on.boot(Slot::A);
    let status = status(2, None);
    let (ledger, then) = start(
        &facts(Slot::A, 1),
        &status,
        &booted.on.devices(),
        &booted.on.path("data"),
        Vec::new,
    )
    .expect("started");
    assert!(matches!(then, Then::Nothing));
    let state = ledger.state();
    assert!(state.has_failed(2));
    let reason = state
        .last
        .expect("an outcome")
        .rolled_back
        .expect("a reason");
    assert_eq!(
        reason.summary,
        "mail did not work within 8 minutes: the message was not in the inbox"
    );
    assert_eq!(reason.checks.len(), 2);
    assert_eq!(reason.checks[1].passed, Some(false));
    assert_eq!(reason.log.len(), 60, "30 lines of mail and of init");
    assert!(reason.log[59].starts_with("init: line 99 xxx") && reason.log[59].len() <= 306);
}

#[tokio::test]
async fn a_trial_of_the_wrong_thing_does_not_even_begin() {
    let mut booted = boot_on_trial(None);
    booted.run(Some("another build runs".into())).await;
    assert_eq!(booted.on.selected(), Some(Slot::A));
    assert!(booted.asked(&Request::Reboot { trial: false }));
    let state = booted.updater.ledger.state();
    assert!(
        matches!(&state.stage, Stage::Trial(trial) if trial.failed.as_deref() == Some("another build runs"))
    );
}
