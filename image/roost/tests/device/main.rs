//! Commands that talk to a box, against a box made of real TLS and scripted answers.

mod certificates;
mod doctor;
#[allow(dead_code)]
#[path = "../moving/dovecot.rs"]
mod dovecot;
mod laptop;
mod made_up;
mod moving;
mod pairing;
mod server;
mod serving;
mod updating;

use laptop::{BOX, LAPTOP, Laptop, screen};
use made_up::{check, kept, on_trial, report, restarted, rolled_back, status, version};
use roost_service::boot_times::{BootMark, BootStep, BootTimes, Stage};
use roost_service::update::{Answer, Call, Phase, Report};
use server::{Conn, Server, Then};
use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

/// Answers the calls of one connection: those for the status with `report`, others with `other`.
fn talk(
    conn: &mut Conn,
    report: &Report,
    mut other: impl FnMut(&mut Conn, Call) -> Option<Then>,
) -> Then {
    while let Some(call) = conn.call() {
        match call {
            Call::Status => conn.say(&status(report)),
            call => {
                if let Some(then) = other(conn, call) {
                    return then;
                }
            }
        }
    }
    Then::Go
}

/// A box that only tells how it is.
fn quiet_box(report: Report) -> Server {
    Server::start(BOX, LAPTOP, move |_, conn| {
        talk(conn, &report, |_, call| panic!("nobody asks for {call:?}"))
    })
}

#[test]
fn status_shows_the_box_on_one_screen_wherever_it_is() {
    let laptop = Laptop::new();
    let server = quiet_box(report());
    let out = laptop.roost(server.port, &["status"]);
    insta::assert_snapshot!(screen(&laptop, server.port, &out));
    // Where it answered is written down: next time nobody has to say it.
    let address = format!("127.0.0.1:{}", server.port);
    assert_eq!(laptop.kept("boxes")[0]["address"], address);
    let out = laptop.command(&["status"]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let out = laptop.command(&["status", "--box", "roost"]).output();
    assert!(out.unwrap().status.success());
    // Of several boxes, the one that answers is known by its certificate, and gets its own key.
    laptop.know("cellar", "cellar.local", BOX + 1);
    let out = laptop.roost(server.port, &["status"]);
    assert_eq!((out.status.code(), out.stderr), (Some(0), Vec::new()));
    // Arguments go before the environment; under another address it is the same box.
    let localhost = format!("localhost:{}", server.port);
    let out = laptop.roost(1, &["status", &localhost]);
    assert_eq!((out.status.code(), out.stderr), (Some(0), Vec::new()));
}

#[test]
fn status_tells_of_trouble_in_full() {
    let laptop = Laptop::new();
    let mut back = rolled_back(restarted(), 15);
    back.machine.rescue = Some("the data partition cannot be mounted".into());
    back.machine.ready = false;
    back.machine.clock_synced = false;
    back.update.phase = Phase::Staged {
        version: version(15),
    };
    let server = quiet_box(back);
    let out = laptop.roost(server.port, &["status"]);
    insta::assert_snapshot!(
        "status_after_a_rollback",
        screen(&laptop, server.port, &out)
    );
    let trial = on_trial(
        restarted(),
        15,
        &[
            check("services ready", Some(true), "2 of 2"),
            check("mail delivers", None, ""),
        ],
    );
    let laptop = Laptop::new();
    let server = quiet_box(trial);
    let out = laptop.roost(server.port, &["status", "-q"]);
    insta::assert_snapshot!("status_on_trial", screen(&laptop, server.port, &out));
}

#[test]
fn status_as_json_is_the_report() {
    let laptop = Laptop::new();
    let server = quiet_box(report());
    laptop.roost(server.port, &["status", "-q"]);
    let out = laptop.roost(server.port, &["status", "--json"]);
    let event: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(event["event"], "result");
    assert_eq!(
        event["machine"],
        serde_json::to_value(report().machine).unwrap()
    );
    assert_eq!(
        event["update"],
        serde_json::to_value(report().update).unwrap()
    );
}

#[test]
fn a_box_that_does_not_know_the_laptop_says_so() {
    let laptop = Laptop::new();
    let server = Server::start(BOX, LAPTOP + 1, |_, _| panic!("it may not come so far"));
    let out = laptop.roost(server.port, &["status"]);
    insta::assert_snapshot!(screen(&laptop, server.port, &out));
}

#[test]
fn a_changed_certificate_is_refused() {
    let laptop = Laptop::new();
    // Another box at the address, or somebody in the middle.
    let other = Server::start(BOX + 1, LAPTOP, |_, _| panic!("nothing is sent"));
    laptop.know("roost", &format!("127.0.0.1:{}", other.port), BOX);
    for command in ["status", "reboot", "logs"] {
        let out = laptop.roost(other.port, &[command]);
        assert_eq!(out.status.code(), Some(1));
        assert_eq!(out.stdout, b"");
        if command == "status" {
            insta::assert_snapshot!(screen(&laptop, other.port, &out));
        }
    }
    // At an address where nothing is expected, it is just no box of ours.
    laptop.know("roost", "127.0.0.1:1", BOX);
    let out = laptop.roost(other.port, &["status"]);
    insta::assert_snapshot!("a_stranger", screen(&laptop, other.port, &out));
}

/// Certificates are public: the key must be held, not shown.
#[test]
fn an_impostor_with_the_boxs_certificate_is_not_believed() {
    let laptop = Laptop::new();
    let server = Server::impostor(BOX, BOX + 1, LAPTOP);
    let out = laptop.roost(server.port, &["status"]);
    insta::assert_snapshot!(screen(&laptop, server.port, &out));
}

#[test]
fn what_is_no_box_and_what_is_not_there_is_told_apart() {
    let laptop = Laptop::new();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let refused = screen(&laptop, free, &laptop.roost(free, &["status"]));
    insta::assert_snapshot!("connection_refused", refused);

    let out = laptop.roost(1, &["status", "no-such-box.invalid"]);
    let text = screen(&laptop, 1, &out);
    // What the resolver says is the system's.
    let text: Vec<&str> = text
        .lines()
        .filter(|l| !l.contains("failed to lookup"))
        .collect();
    insta::assert_snapshot!("name_not_found", text.join("\n"));

    // A web server, say.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = other.accept().unwrap();
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
    });
    let out = laptop.roost(port, &["status"]);
    insta::assert_snapshot!("no_box", screen(&laptop, port, &out));
    thread.join().unwrap();

    let out = laptop.roost(1, &["status", "https://roost/"]);
    insta::assert_snapshot!("no_address", screen(&laptop, 1, &out));
    let out = laptop
        .command(&["status"])
        .env("ROOST_BOX", "a b")
        .output()
        .unwrap();
    insta::assert_snapshot!("no_address_in_the_environment", screen(&laptop, 1, &out));
}

/// It takes the connection and says nothing.
#[test]
fn a_silent_box_is_given_up() {
    let laptop = Laptop::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let out = laptop.roost(port, &["status"]);
    insta::assert_snapshot!(screen(&laptop, port, &out));
}

#[test]
fn which_box_must_be_known() {
    let laptop = Laptop::new();
    laptop.know("cellar", "cellar.local", BOX + 1);
    let out = laptop.command(&["status"]).output().unwrap();
    insta::assert_snapshot!("several_boxes", screen(&laptop, 1, &out));
    laptop.forget_all();
    let out = laptop.command(&["status"]).output().unwrap();
    insta::assert_snapshot!("no_box_is_paired", screen(&laptop, 1, &out));
}

#[test]
fn answers_that_the_protocol_does_not_have_are_refused() {
    let laptop = Laptop::new();
    let long = vec![b'x'; 70_000];
    let answers: [(&str, Vec<u8>); 3] = [
        ("another_answer", b"{\"answer\":\"staged\"}\n".to_vec()),
        ("junk", b"\x00\xff\xfe{}\n".to_vec()),
        ("a_long_line", long),
    ];
    for (name, bytes) in answers {
        let server = Server::start(BOX, LAPTOP, move |_, conn| {
            if conn.call().is_some() {
                conn.raw(&bytes);
                conn.call();
            }
            Then::Go
        });
        let out = laptop.roost(server.port, &["status"]);
        insta::assert_snapshot!(name, screen(&laptop, server.port, &out));
    }
}

#[test]
fn the_box_may_refuse_with_a_reason_and_a_hint() {
    let laptop = Laptop::new();
    let server = Server::start(BOX, LAPTOP, |_, conn| {
        while conn.call().is_some() {
            conn.refuse("init does not answer", Some("restart the box"));
        }
        Then::Go
    });
    let out = laptop.roost(server.port, &["status"]);
    insta::assert_snapshot!(screen(&laptop, server.port, &out));
}

#[test]
fn logs_are_shown_once_or_as_they_come() {
    let laptop = Laptop::new();
    let server = Server::start(BOX, LAPTOP, |_, conn| {
        talk(conn, &report(), |conn, call| {
            let Call::Logs {
                service,
                lines,
                follow,
                boot,
            } = call
            else {
                panic!("{call:?}")
            };
            assert_eq!(
                (service.as_str(), lines, boot),
                ("mail", if follow { 2 } else { 50 }, None)
            );
            let lines = |lines: &[&str]| Answer::Logs {
                lines: lines.iter().map(|l| (*l).to_owned()).collect(),
            };
            conn.say(&lines(&["one", "two \u{1b}[2J\u{7}"]));
            if !follow {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
            conn.say(&lines(&["three"]));
            conn.say(&lines(&[]));
            Some(Then::Go)
        })
    });
    laptop.roost(server.port, &["status"]);
    let out = laptop.roost(server.port, &["logs", "mail"]);
    insta::assert_snapshot!("logs", screen(&laptop, server.port, &out));
    let out = laptop.roost(server.port, &["logs", "-f", "-n", "2", "mail"]);
    insta::assert_snapshot!("logs_followed", screen(&laptop, server.port, &out));
    let out = laptop.roost(server.port, &["logs", "mail", "--json"]);
    let first = String::from_utf8(out.stdout).unwrap();
    assert!(
        first.starts_with(r#"{"event":"log","text":"one"}"#),
        "{first}"
    );
    let out = laptop.roost(server.port, &["logs", "mial"]);
    insta::assert_snapshot!("logs_of_nobody", screen(&laptop, server.port, &out));
}

#[test]
fn the_last_start_becomes_a_picture_or_figures() {
    let laptop = Laptop::new();
    let server = Server::start(BOX, LAPTOP, |_, conn| {
        talk(conn, &report(), |conn, call| {
            assert_eq!(call, Call::BootTimes);
            conn.say(&Answer::BootTimes(BootTimes {
                version: "1".into(),
                steps: vec![BootStep {
                    stage: Stage::Service,
                    name: "mail".into(),
                    start_us: 2_000_000,
                    end_us: Some(4_300_000),
                }],
                marks: vec![BootMark {
                    name: "services ready".into(),
                    at_us: 4_300_000,
                }],
            }));
            Some(Then::Go)
        })
    });
    laptop.roost(server.port, &["status"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("boot.svg");
    let to = file.to_str().unwrap();
    let out = laptop.roost(server.port, &["boot-chart", "--output", to]);
    assert_eq!(
        String::from_utf8(out.stdout).unwrap(),
        format!("{to}: services ready after 4.30 s\n")
    );
    let picture = std::fs::read_to_string(&file).unwrap();
    assert!(picture.contains(">2.30 s<"), "{picture}");
    std::fs::remove_file(&file).unwrap();
    let out = laptop.roost(server.port, &["boot-chart", "--json", "--output", to]);
    let result: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(result["steps"][0]["end_us"], 4_300_000);
    assert!(!file.exists(), "figures were asked for");
}

#[test]
fn a_restart_is_waited_for() {
    let laptop = Laptop::new();
    let server = Server::start(BOX, LAPTOP, |n, conn| match n {
        0 | 1 => talk(conn, &report(), |conn, call| {
            assert_eq!(call, Call::Reboot);
            conn.say(&Answer::Ok);
            Some(Then::Away(Duration::from_millis(1500)))
        }),
        // It is up, but not ready yet.
        2 => {
            let mut early = restarted();
            early.machine.ready = false;
            talk(conn, &early, |_, call| panic!("{call:?}"))
        }
        _ => talk(conn, &restarted(), |_, call| panic!("{call:?}")),
    });
    let out = laptop.roost(server.port, &["reboot", "--yes"]);
    let text = screen(&laptop, server.port, &out);
    assert!(
        text.contains("was restarted and is ready, after "),
        "{text}"
    );
    assert!(text.contains("✓ restart the box"), "{text}");
    assert_eq!(out.status.code(), Some(0));
    let out = laptop.roost(server.port, &["reboot"]);
    insta::assert_snapshot!("reboot_unasked", screen(&laptop, server.port, &out));
}

#[test]
fn a_rollback_is_tried_and_kept_or_refused() {
    let laptop = Laptop::new();
    let server = Server::start(BOX, LAPTOP, |n, conn| match n {
        0 => talk(conn, &report(), |conn, call| {
            assert!(matches!(
                call,
                Call::Rollback {
                    allow_older_mail: false
                }
            ));
            conn.say(&Answer::Ok);
            Some(Then::Away(Duration::from_millis(500)))
        }),
        _ => talk(conn, &kept(restarted(), 13), |_, call| panic!("{call:?}")),
    });
    let out = laptop.roost(server.port, &["rollback", "--yes"]);
    insta::assert_snapshot!("rollback", screen(&laptop, server.port, &out));

    let mut alone = report();
    alone.update.other = None;
    let server = quiet_box(alone);
    let out = laptop.roost(server.port, &["rollback", "--yes", "-q"]);
    insta::assert_snapshot!("rollback_to_nothing", screen(&laptop, server.port, &out));
}

/// A channel's end that a box's script can be handed.
fn signal() -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    mpsc::channel()
}
