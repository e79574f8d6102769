//! Tests of the health gate: a box that is simulated second by second.

use super::*;
use proptest::prelude::*;
use roost_service::control::ServiceStatus;

fn spec(name: &str, required: bool, probe: bool) -> ServiceSpec {
    serde_json::from_value(serde_json::json!({
        "name": name, "description": "", "program": format!("/bin/{name}"), "user": 800,
        "required": required, "probe": probe, "ready_timeout_s": 60, "stop_timeout_s": 10,
    }))
    .expect("a spec")
}

fn table() -> Vec<ServiceSpec> {
    vec![
        spec("mail", true, true),
        spec("dns", true, false),
        spec("updater", false, false),
        spec("portal", false, true),
    ]
}

fn status(ready: bool, restarts: u32) -> BoxStatus {
    let service = |name: &str, ready: bool, restarts| ServiceStatus {
        name: name.into(),
        state: if ready { "ready" } else { "starting" }.into(),
        detail: "opening the store".into(),
        pid: Some(1),
        restarts,
        memory: None,
    };
    BoxStatus {
        name: "roost".into(),
        version: "0.1.0".into(),
        slot: 3,
        trial_left_s: Some(500.0),
        uptime_s: 20.0,
        rescue: None,
        ready,
        ready_after_s: None,
        clock_synced: false,
        addresses: vec![],
        memory_total: 0,
        memory_available: 0,
        data_total: 0,
        data_free: 0,
        data_written: 0,
        services: vec![
            service("mail", ready, restarts),
            service("dns", true, 0),
            service("portal", false, 99),
        ],
    }
}

fn works() -> Result<Answer, String> {
    Ok(Answer {
        fault: None,
        took_ms: 120,
    })
}

fn fault(text: &str) -> Result<Answer, String> {
    Ok(Answer {
        fault: Some(text.into()),
        took_ms: 9,
    })
}

/// What a simulated box does at a second.
struct World<'a> {
    status: &'a dyn Fn(u64) -> Result<BoxStatus, String>,
    probe: &'a dyn Fn(u64) -> Result<Answer, String>,
    /// How long the probe takes.
    takes: u64,
}

/// Runs the gate to its end; says when it ended and how.
fn run(world: &World<'_>) -> (u64, Result<(), String>, Vec<Check>) {
    let mut gate = Gate::new(&table());
    let mut now = Duration::from_secs(20);
    for _ in 0..100_000 {
        match gate.next(now) {
            Next::AskStatus => {
                let status = (world.status)(now.as_secs());
                gate.status(now, status.as_ref().map_err(Clone::clone));
            }
            Next::Probe(service) => {
                assert_eq!(service, "mail", "only required services are asked");
                now += Duration::from_secs(world.takes);
                gate.answer(now, &service, (world.probe)(now.as_secs()));
            }
            Next::WaitUntil(then) => {
                assert!(then > now, "no endless loop");
                now = then;
            }
            Next::Pass(_) => return (now.as_secs(), Ok(()), gate.checks()),
            Next::Fail(reason) => return (now.as_secs(), Err(reason), gate.checks()),
        }
    }
    panic!("the gate never ends");
}

#[test]
fn a_healthy_box_passes_after_two_probes() {
    let asked = std::cell::RefCell::new(vec![]);
    let (at, end, checks) = run(&World {
        status: &|now| Ok(status(now >= 40, 0)),
        probe: &|now| {
            asked.borrow_mut().push(now);
            works()
        },
        takes: 1,
    });
    assert_eq!(end, Ok(()));
    let asked = asked.into_inner();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[1] - asked[0] >= 10 && (50..60).contains(&at),
        "{asked:?} {at}"
    );
    assert!(checks.iter().all(|check| check.passed == Some(true)));
}

#[test]
fn the_reasons_and_checks_as_they_are_shown() {
    let mut told = String::new();
    let mut tell = |what: &str, world: World<'_>| {
        let (at, end, checks) = run(&world);
        told += &format!("{what}, after {at} s: {}\n", end.expect_err(what));
        for check in checks {
            told += &format!("    {:?} {}: {}\n", check.passed, check.name, check.detail);
        }
    };
    tell(
        "mail never ready",
        World {
            status: &|_| Ok(status(false, 0)),
            probe: &|_| works(),
            takes: 1,
        },
    );
    tell(
        "mail does not deliver",
        World {
            status: &|_| Ok(status(true, 0)),
            probe: &|_| fault("the message was not in the inbox after 20 s"),
            takes: 20,
        },
    );
    tell(
        "mail does not answer",
        World {
            status: &|_| Ok(status(true, 0)),
            probe: &|_| Err("connection refused".into()),
            takes: 0,
        },
    );
    tell(
        "crash loop",
        World {
            status: &|now| Ok(status(now % 8 < 4, now as u32 / 8)),
            probe: &|_| works(),
            takes: 1,
        },
    );
    tell(
        "rescue",
        World {
            status: &|_| {
                Ok(BoxStatus {
                    rescue: Some("the data partition is damaged".into()),
                    ..status(false, 0)
                })
            },
            probe: &|_| works(),
            takes: 1,
        },
    );
    tell(
        "init does not answer",
        World {
            status: &|_| Err("timed out".into()),
            probe: &|_| works(),
            takes: 1,
        },
    );
    insta::assert_snapshot!(told);
}

#[test]
fn one_good_answer_between_faults_does_not_count() {
    let (_, end, _) = run(&World {
        status: &|_| Ok(status(true, 0)),
        probe: &|now| if now % 2 == 0 { works() } else { fault("no") },
        takes: 1,
    });
    // With 10 s between probes that take 1 s, every other one is at an odd second.
    assert!(end.is_err());
}

proptest! {
    /// Whatever the box does: the gate ends by its deadline (and the longest
    /// probe), and passes only if the last 10 s before it were good ones with
    /// two good answers in a row and none but good ones after the first of them.
    #[test]
    fn it_passes_only_on_proof(
        ready in prop::collection::vec(prop::bool::weighted(0.8), 60),
        good in prop::collection::vec(prop::bool::weighted(0.7), 60),
        restarts in prop::collection::vec(prop::bool::weighted(0.1), 60),
        takes in 0u64..15,
    ) {
        let at = |list: &[bool], now: u64| list[(now / 10) as usize % list.len()];
        let statuses = std::cell::RefCell::new(vec![]);
        let answers = std::cell::RefCell::new(vec![]);
        let (end, result, _) = run(&World {
            status: &|now| {
                let ok = at(&ready, now);
                let count = (0..=now / 10).filter(|i| restarts[*i as usize % restarts.len()]).count();
                statuses.borrow_mut().push((now, ok, count));
                Ok(status(ok, count as u32))
            },
            probe: &|now| {
                let ok = at(&good, now);
                answers.borrow_mut().push((now, ok));
                if ok { works() } else { fault("no") }
            },
            takes,
        });
        prop_assert!(end <= DEADLINE.as_secs() + takes);
        if result.is_ok() {
            let answers = answers.into_inner();
            let [.., (first, true), (second, true)] = answers[..] else {
                return Err(TestCaseError::fail(format!("{answers:?}")));
            };
            prop_assert!(second - first >= 10);
            let statuses = statuses.into_inner();
            let (last_look, ..) = *statuses.last().unwrap();
            prop_assert!(last_look >= second, "a look after the last answer");
            let count = statuses.last().unwrap().2;
            for (now, ready, restarts) in &statuses {
                if *now >= first.min(end - 10) {
                    prop_assert!(ready, "ready at {} of {}", now, end);
                    prop_assert_eq!(*restarts, count);
                }
            }
        }
    }
}
