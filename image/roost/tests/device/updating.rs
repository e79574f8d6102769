//! `roost update`, from the question to the verdict.

use crate::laptop::{BOX, Bundle, LAPTOP, Laptop, clean, component, screen};
use crate::made_up::{check, kept, offer, on_trial, report, restarted, rolled_back};
use crate::server::{Conn, Server, Then};
use crate::{quiet_box, signal, talk};
use roost_service::update::{Answer, Call, Offer, Report};
use rustix::process::{Pid, Signal, kill_process};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TOTAL: u64 = 480_000_000;

/// What the box has been sent, connection by connection.
type Got = Arc<Mutex<Vec<Vec<u8>>>>;

fn progress(conn: &mut Conn, offer: &Offer, written: u64) {
    let done = TOTAL - offer.write + written;
    conn.say(&Answer::Progress { done, total: TOTAL });
}

/// Takes what an offer asked for.
fn take(conn: &mut Conn, offer: &Offer, got: &Got) {
    conn.say(&Answer::Ok);
    progress(conn, offer, 0);
    let bytes = conn.bytes(offer.send);
    got.lock().unwrap().push(bytes);
    progress(conn, offer, offer.write);
    conn.say(&Answer::Staged);
}

/// A box that is offered `bundle`, takes the ranges, and after its restart tells one report after
/// the other, the last one for ever.
fn updated_box(
    bundle: &Bundle,
    to: u64,
    ranges: &[(u64, u64)],
    after: Vec<Report>,
) -> (Server, Got) {
    let got = Got::default();
    let (offer, head, log) = (offer(14, to, ranges), bundle.head, got.clone());
    let begin = bundle.bytes[..head as usize].to_vec();
    let mut after = after.into_iter().peekable();
    let mut tried = false;
    let server = Server::start(BOX, LAPTOP, move |_, conn| {
        if tried {
            let now = match after.next() {
                Some(now) => {
                    if after.peek().is_none() {
                        return talk(conn, &now, |_, call| panic!("{call:?}"));
                    }
                    now
                }
                None => panic!("it is asked again after the verdict"),
            };
            return talk(conn, &now, |_, call| panic!("{call:?}"));
        }
        talk(conn, &report(), |conn, call| {
            match call {
                Call::Offer { head_bytes, .. } => {
                    assert_eq!(head_bytes, head);
                    assert_eq!(conn.bytes(head_bytes), begin);
                    conn.say(&Answer::Offer(offer.clone()));
                }
                Call::Write => take(conn, &offer, &log),
                Call::Trial => {
                    conn.say(&Answer::Ok);
                    tried = true;
                    return Some(Then::Away(Duration::from_millis(1200)));
                }
                other => panic!("{other:?}"),
            }
            None
        })
    });
    (server, got)
}

fn checks(mail: Option<bool>) -> [roost_service::update::Check; 2] {
    [
        check("services ready", Some(true), "2 of 2"),
        check("mail delivers", mail, "a message came back after 2.1 s"),
    ]
}

#[test]
fn an_update_is_sent_tried_and_kept() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |_| {});
    let end = bundle.payload_bytes();
    // Not in order, as deltas make it.
    let ranges = [(1000, 200_000), (0, 10), (end - 5, end)];
    let (server, got) = updated_box(
        &bundle,
        15,
        &ranges,
        vec![
            on_trial(
                restarted(),
                15,
                &[
                    check("services ready", None, ""),
                    check("mail delivers", None, ""),
                ],
            ),
            on_trial(restarted(), 15, &checks(None)),
            on_trial(restarted(), 15, &checks(Some(true))),
            kept(restarted(), 15),
        ],
    );
    let out = laptop.roost(server.port, &["update", "--bundle", bundle.name(), "--yes"]);
    insta::assert_snapshot!("kept", screen(&laptop, server.port, &out));
    let expected: Vec<u8> = ranges
        .iter()
        .flat_map(|r| bundle.payload(*r))
        .copied()
        .collect();
    assert!(
        *got.lock().unwrap() == [expected],
        "other bytes came than were asked for"
    );

    // What was installed is known now: the next table names what differs.
    drop(server);
    let newer = laptop.bundle(16, |release| {
        release.components.push(component("dns", "0.1.0"));
        release.notes = "Sorts faster.\nKnows names.".into();
        release.reversible = false;
    });
    let mut now = kept(report(), 15);
    now.update.last = None;
    let server = Server::start(BOX, LAPTOP, move |_, conn| {
        talk(conn, &now, |conn, call| {
            let Call::Offer {
                head_bytes,
                allow_irreversible,
                ..
            } = call
            else {
                panic!("{call:?}")
            };
            assert!(allow_irreversible, "a dry run may ask everything");
            conn.bytes(head_bytes);
            conn.say(&Answer::Offer(offer(15, 16, &[(0, 301_200)])));
            None
        })
    });
    let out = laptop.roost(
        server.port,
        &["update", "--bundle", newer.name(), "--dry-run"],
    );
    insta::assert_snapshot!("dry_run", screen(&laptop, server.port, &out));
    let out = laptop.roost(server.port, &["update", "--bundle", bundle.name(), "--yes"]);
    insta::assert_snapshot!("nothing_to_do", screen(&laptop, server.port, &out));
}

#[test]
fn a_rolled_back_update_says_why_and_ends_with_4() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |release| release.notes.clear());
    let after = vec![
        on_trial(restarted(), 15, &checks(None)),
        rolled_back(restarted(), 15),
    ];
    let (server, _) = updated_box(&bundle, 15, &[(0, 100)], after.clone());
    let out = laptop.roost(server.port, &["update", "--bundle", bundle.name(), "--yes"]);
    insta::assert_snapshot!(screen(&laptop, server.port, &out));
    drop(server);
    let (server, _) = updated_box(&bundle, 15, &[(0, 100)], after);
    let out = laptop.roost(
        server.port,
        &["update", "--bundle", bundle.name(), "--yes", "--json"],
    );
    assert_eq!(out.status.code(), Some(4));
    let events: Vec<serde_json::Value> = String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is an event"))
        .collect();
    let find = |name: &str| events.iter().find(|e| e["event"] == name).unwrap();
    assert_eq!(find("offer")["outlook"]["offer"]["send"], 100);
    assert_eq!(find("check")["name"], "services ready");
    let result = find("result");
    assert_eq!(result["outcome"], "rolled_back");
    assert_eq!(result["sent_bytes"], 100);
    assert_eq!(
        result["account"]["rolled_back"]["checks"][1]["passed"],
        false
    );
    assert_eq!(find("error")["exit_code"], 4);
}

#[test]
fn who_says_no_has_changed_nothing() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |release| release.reversible = false);
    let (server, got) = updated_box(&bundle, 15, &[(0, 100)], Vec::new());
    let args = ["update", "--color", "never", "--bundle", bundle.name()];
    let (code, shown) = laptop.on_a_terminal(server.port, &args, "n");
    assert_eq!(code, Some(130));
    assert!(got.lock().unwrap().is_empty());
    // The question is drawn more than once; what counts is what stays.
    let shown = clean(
        &laptop,
        server.port,
        &anstream::adapter::strip_str(&shown).to_string(),
    );
    let lines: Vec<&str> = shown
        .split('\n')
        .map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap())
        .collect();
    insta::assert_snapshot!("declined", lines.join("\n"));
}

#[test]
fn without_a_terminal_somebody_must_have_said_yes() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |_| {});
    let (server, got) = updated_box(&bundle, 15, &[(0, 100)], Vec::new());
    let out = laptop.roost(server.port, &["update", "-q", "--bundle", bundle.name()]);
    insta::assert_snapshot!("unasked", screen(&laptop, server.port, &out));
    assert!(got.lock().unwrap().is_empty());
}

#[test]
fn what_needs_the_owners_word_is_refused_before_anything_is_sent() {
    let laptop = Laptop::new();
    let server = quiet_box(report());
    let older = laptop.bundle(12, |_| {});
    let out = laptop.roost(server.port, &["update", "--yes", "--bundle", older.name()]);
    insta::assert_snapshot!("downgrade", screen(&laptop, server.port, &out));
    let oneway = laptop.bundle(15, |release| release.reversible = false);
    let out = laptop.roost(server.port, &["update", "--yes", "--bundle", oneway.name()]);
    insta::assert_snapshot!("irreversible", screen(&laptop, server.port, &out));
    let server = quiet_box(on_trial(restarted(), 16, &[]));
    let bundle = laptop.bundle(17, |_| {});
    let out = laptop.roost(
        server.port,
        &["update", "-q", "--yes", "--bundle", bundle.name()],
    );
    insta::assert_snapshot!("trial_under_way", screen(&laptop, server.port, &out));
}

#[test]
fn a_damaged_bundle_is_found_on_this_machine() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |_| {});
    let port = 1;
    let damage = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bundle.bytes.clone();
        change(&mut bytes);
        std::fs::write(&bundle.path, &bytes).unwrap();
        let out = laptop.roost(port, &["update", "--bundle", bundle.name(), "--yes"]);
        insta::assert_snapshot!(name, screen(&laptop, port, &out));
    };
    damage("bundle_truncated", &|bytes| bytes.truncate(bytes.len() - 1));
    damage("bundle_flipped", &|bytes| bytes[50] ^= 1);
    damage("bundle_table", &|bytes| {
        bytes[bundle.head as usize - 1] ^= 1
    });
    damage("bundle_of_something_else", &|bytes| {
        bytes
            .splice(.., *b"#!/bin/sh\nexit 0\n# and on")
            .for_each(drop)
    });
}

#[test]
fn a_cut_connection_is_made_again_and_only_the_rest_is_sent() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |release| release.notes.clear());
    let got = Got::default();
    let log = got.clone();
    let head = bundle.head;
    let server = Server::start(BOX, LAPTOP, move |n, conn| {
        // The first time 50,000 bytes arrive, the second time the box is busy with the first.
        let ranges = if n == 0 {
            [(0, 200_000)]
        } else {
            [(50_000, 200_000)]
        };
        let offer = offer(14, 15, &ranges);
        let now = if n > 3 {
            kept(restarted(), 15)
        } else {
            report()
        };
        talk(conn, &now, |conn, call| {
            match call {
                Call::Offer { .. } => {
                    assert_eq!(conn.bytes(head).len() as u64, head);
                    if n == 1 {
                        conn.refuse("another update is being written", None);
                    } else {
                        conn.say(&Answer::Offer(offer.clone()));
                    }
                }
                Call::Write if n == 0 => {
                    conn.say(&Answer::Ok);
                    progress(conn, &offer, 0);
                    log.lock().unwrap().push(conn.bytes(50_000));
                    progress(conn, &offer, 50_000);
                    return Some(Then::Go);
                }
                Call::Write => take(conn, &offer, &log),
                Call::Trial => {
                    conn.say(&Answer::Ok);
                    return Some(Then::Away(Duration::from_millis(500)));
                }
                other => panic!("{other:?}"),
            }
            None
        })
    });
    let out = laptop.roost(server.port, &["update", "--bundle", bundle.name(), "--yes"]);
    insta::assert_snapshot!(resumed(&screen(&laptop, server.port, &out)));
    let got = got.lock().unwrap();
    assert!(got[0] == bundle.payload((0, 50_000)));
    assert!(got[1] == bundle.payload((50_000, 200_000)));
    assert_eq!(got.len(), 2);
}

/// How many bytes had left when the connection was cut is chance, as is how the cut is noticed.
fn resumed(text: &str) -> String {
    text.lines()
        .map(|line| {
            match (
                line.find("warning: the connection was cut"),
                line.find(" sent, "),
            ) {
                (Some(_), _) => {
                    let rest = line.find("; trying").map_or("", |at| &line[at..]);
                    format!("warning: the connection was cut: REASON{rest}\n")
                }
                (_, Some(at)) => {
                    let start = line[..at].rfind("TIME").unwrap();
                    format!("{}  BYTES{}\n", &line[..start + 4], &line[at..])
                }
                _ => format!("{line}\n"),
            }
        })
        .collect()
}

#[test]
fn a_box_that_refuses_is_not_asked_again() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |release| release.notes.clear());
    let head = bundle.head;
    let server = Server::start(BOX, LAPTOP, move |n, conn| {
        talk(conn, &report(), |conn, call| {
            match call {
                Call::Offer { .. } => {
                    conn.bytes(head);
                    if n == 0 {
                        conn.refuse(
                            "the bundle is signed by 5866…, which is not trusted here",
                            Some("sign with the key whose public half is in the box's image"),
                        );
                    } else {
                        conn.say(&Answer::Offer(offer(14, 15, &[(0, 400_000)])));
                    }
                }
                Call::Write => {
                    conn.say(&Answer::Ok);
                    conn.bytes(1000);
                    conn.refuse(
                        "cannot write the other slot: I/O error",
                        Some("look at the kernel's log: the card may be failing"),
                    );
                    // The laptop is in the middle of sending; it must still hear why.
                    conn.bytes(u64::MAX);
                    return Some(Then::Go);
                }
                other => panic!("{other:?}"),
            }
            None
        })
    });
    let args = ["update", "--bundle", bundle.name(), "--yes", "-q"];
    let out = laptop.roost(server.port, &args);
    insta::assert_snapshot!("refused_offer", screen(&laptop, server.port, &out));
    let out = laptop.roost(server.port, &args);
    insta::assert_snapshot!("refused_writing", screen(&laptop, server.port, &out));
}

/// An offer for bytes that the bundle does not have must not make the laptop read elsewhere.
#[test]
fn ranges_outside_of_the_bundle_are_refused() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |_| {});
    for range in [
        (0, bundle.payload_bytes() + 1),
        (10, 5),
        (u64::MAX - 1, u64::MAX),
    ] {
        let head = bundle.head;
        let server = Server::start(BOX, LAPTOP, move |_, conn| {
            talk(conn, &report(), |conn, _| {
                conn.bytes(head);
                let mut offer = offer(14, 15, &[]);
                offer.ranges = vec![range];
                conn.say(&Answer::Offer(offer));
                None
            })
        });
        let out = laptop.roost(server.port, &["update", "--bundle", bundle.name(), "--yes"]);
        let text = screen(&laptop, server.port, &out);
        assert_eq!(out.status.code(), Some(1), "{text}");
        assert!(
            text.contains("it asks for bytes that the bundle does not have"),
            "{text}"
        );
    }
}

/// Presses Ctrl-C when the box says so; gives the screen.
fn interrupted(laptop: &Laptop, server: &Server, bundle: &Bundle, now: &Receiver<()>) -> String {
    let child = laptop.start(
        server.port,
        &["update", "-q", "--bundle", bundle.name(), "--yes"],
    );
    now.recv_timeout(Duration::from_secs(20)).unwrap();
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    screen(laptop, server.port, &child.wait_with_output().unwrap())
}

#[test]
fn ctrl_c_says_in_what_state_the_box_is() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |_| {});
    let head = bundle.head;
    for name in ["ctrl_c_while_sending", "ctrl_c_on_trial"] {
        let while_sending = name == "ctrl_c_while_sending";
        let (tell, now) = signal();
        let server = Server::start(BOX, LAPTOP, move |n, conn| {
            let state = if n == 0 {
                report()
            } else {
                on_trial(restarted(), 15, &[])
            };
            if n == 2 {
                tell.send(()).unwrap();
            }
            talk(conn, &state, |conn, call| {
                let offer = offer(14, 15, &[(0, 400_000)]);
                match call {
                    Call::Offer { .. } => {
                        conn.bytes(head);
                        conn.say(&Answer::Offer(offer));
                    }
                    Call::Write if while_sending => {
                        conn.say(&Answer::Ok);
                        conn.bytes(1000);
                        tell.send(()).unwrap();
                        while !conn.bytes(10_000).is_empty() {}
                        return Some(Then::Go);
                    }
                    Call::Write => take(conn, &offer, &Got::default()),
                    Call::Trial => {
                        conn.say(&Answer::Ok);
                        return Some(Then::Go);
                    }
                    other => panic!("{other:?}"),
                }
                None
            })
        });
        insta::assert_snapshot!(name, interrupted(&laptop, &server, &bundle, &now));
    }
}
