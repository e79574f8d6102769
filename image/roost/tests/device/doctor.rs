//! `roost doctor`, against a box that answers single requests.

use crate::laptop::{BOX, LAPTOP, Laptop, screen};
use crate::server::Server;
use serde_json::{Value, json};

fn checked(id: &str, level: &str, to_do: &str) -> Value {
    json!({
        "id": id, "group": "Card", "what": "The card has room", "level": level,
        "found": "500 MB of 30 GB are free.", "to_do": to_do, "docs": format!("docs/doctor.md#{id}"),
    })
}

/// A box with these checks.
fn with_checks(checks: Value) -> Server {
    Server::http(BOX, Some(LAPTOP), move |method, path, _| {
        assert_eq!((method, path), ("GET", "/api/v1/health"));
        let health = json!({ "name": "attic", "at": 1_798_761_540, "checks": checks });
        (200, health)
    })
}

#[test]
fn the_exit_code_says_whether_something_has_failed() {
    let laptop = Laptop::new();
    let well = checked("card-room", "ok", "");
    let warns = checked("card-life", "warning", "Replace the card.");
    let fails = checked("card-errors", "failed", "Replace the card soon.");
    for (name, checks, code) in [
        ("doctor_well", json!([well]), 0),
        ("doctor_warning", json!([well, warns]), 0),
        ("doctor_failed", json!([well, warns, fails]), 1),
    ] {
        let server = with_checks(checks);
        let out = laptop.roost(server.port, &["doctor"]);
        assert_eq!(out.status.code(), Some(code), "{name}");
        insta::assert_snapshot!(name, screen(&laptop, server.port, &out));
    }
}

#[test]
fn scripts_get_every_check() {
    let laptop = Laptop::new();
    let server = with_checks(json!([checked(
        "card-errors",
        "failed",
        "Replace the card soon."
    )]));
    let out = laptop.roost(server.port, &["doctor", "--json"]);
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stdout).unwrap();
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let result = events.into_iter().find(|event| event["event"] == "result");
    let result = result.unwrap();
    assert_eq!(result["name"], "attic");
    assert_eq!(result["checks"][0]["level"], "failed");
    assert_eq!(result["summary"], "0 of 1 checks are well; 1 failed.");
}

#[test]
fn a_box_that_is_not_reached_or_too_old_is_code_2() {
    let laptop = Laptop::new();
    let port = {
        // Nobody has it any more.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let out = laptop.roost(port, &["doctor"]);
    assert_eq!(out.status.code(), Some(2));
    insta::assert_snapshot!("doctor_unreached", screen(&laptop, port, &out));
    let server = Server::http(BOX, Some(LAPTOP), |_, _, _| {
        (
            404,
            json!({ "code": "not_found", "what": "there is no such call" }),
        )
    });
    let out = laptop.roost(server.port, &["doctor"]);
    assert_eq!(out.status.code(), Some(2));
    insta::assert_snapshot!("doctor_too_old", screen(&laptop, server.port, &out));
}
