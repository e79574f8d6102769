//! `docs/control.md` says what the types say.

use roost_init::control::{self, Peer};
use roost_init::lines::Line;
use roost_service::control::{Request, Response};
use roost_service::spec::Right;
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../../docs/control.md");
const RIGHTS: [Right; 7] = [
    Right::Look,
    Right::Restart,
    Right::Reboot,
    Right::Announce,
    Right::Configure,
    Right::Reset,
    Right::Disk,
];

/// The lines of the page's examples that begin with `start`.
fn examples(start: &str) -> impl Iterator<Item = &'static str> {
    PAGE.split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .flat_map(str::lines)
        .filter(move |line| line.starts_with(start))
}

/// The name of a request on the wire, which the compiler wants to be told for a new one as well.
fn op(request: &Request) -> &'static str {
    match request {
        Request::Status => "status",
        Request::Logs { .. } => "logs",
        Request::BootTimes => "boot_times",
        Request::Kill { .. } => "kill",
        Request::Restart { .. } => "restart",
        Request::Reboot { .. } => "reboot",
        Request::EndTrial => "end_trial",
        Request::PowerOff => "power_off",
        Request::Announce { .. } => "announce",
        Request::Configure { .. } => "configure",
        Request::FactoryReset { .. } => "factory_reset",
        Request::Disks => "disks",
        Request::TakeDisk { .. } => "take_disk",
        Request::ReleaseDisk => "release_disk",
    }
}

const REQUESTS: usize = 14;

#[test]
fn every_request_has_an_example_and_its_right() {
    let rows: BTreeMap<&str, &str> = PAGE
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .strip_suffix(" |")?
                .split_once("` | ")
        })
        .collect();
    let mut seen = BTreeMap::new();
    for line in examples("{\"op\"") {
        let request = control::parse(Line::Whole(line.as_bytes())).expect(line);
        let lists: Vec<String> = RIGHTS
            .into_iter()
            .filter(|right| Peer::Service(vec![*right]).may(&request))
            .map(|right| format!("`{right}`"))
            .collect();
        let want = match &lists[..] {
            [] => "none: root only",
            [right] => right.as_str(),
            _ => panic!("{line} needs one right of {lists:?}"),
        };
        assert_eq!(rows.get(op(&request)), Some(&want), "{line}");
        seen.insert(op(&request), ());
    }
    assert_eq!(seen.len(), REQUESTS, "{seen:?}");
    assert_eq!(rows.len(), REQUESTS, "{rows:?}");
}

#[test]
fn every_answer_has_an_example() {
    let mut seen = [false; 7];
    for line in examples("{\"answer\"") {
        let place = match serde_json::from_str(line).expect(line) {
            Response::Status(_) => 0,
            Response::Logs { .. } => 1,
            Response::Ok => 2,
            Response::Error { .. } => 3,
            Response::BootTimes(_) => 4,
            Response::Disks { .. } => 5,
            Response::DiskRefused { .. } => 6,
        };
        seen[place] = true;
    }
    assert_eq!(seen, [true; 7]);
}

#[test]
fn the_limits_are_those_of_the_code() {
    for limit in [
        format!("at most {} bytes", control::MAX_REQUEST),
        format!("{} connections", control::MAX_CLIENTS),
        format!("at most {},000;", control::MAX_LOG_LINES / 1000),
    ] {
        assert!(PAGE.contains(&limit), "{limit}");
    }
}
