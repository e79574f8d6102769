//! Following a URL, with a web server over loopback.

mod support;

use roost_board::Slot;
use roost_service::control::Request;
use roost_service::update::Phase;
use roost_updater::pull::{Look, Remote, install};
use roost_updater::updater::{Places, Updater};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use support::*;

/// A server of one file.
#[derive(Default)]
struct Server {
    file: Vec<u8>,
    tag: String,
    /// Knows no ranges.
    simple: bool,
    /// Breaks off after so many bytes, all answers together.
    breaks_after: Option<usize>,
    sent: usize,
}

fn serve(file: Vec<u8>) -> (Arc<Mutex<Server>>, String) {
    let server = Arc::new(Mutex::new(Server {
        file,
        tag: "\"one\"".into(),
        ..Server::default()
    }));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/roost.bundle", listener.local_addr().unwrap());
    let shared = server.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = shared.clone();
            std::thread::spawn(move || while answer(stream.as_ref().unwrap(), &shared) {});
        }
    });
    (server, url)
}

/// One request. Says whether there may be another.
fn answer(mut stream: &TcpStream, server: &Mutex<Server>) -> bool {
    let mut headers = Vec::new();
    for line in BufReader::new(stream).lines() {
        match line {
            Ok(line) if line.is_empty() => break,
            Ok(line) => headers.push(line.to_lowercase()),
            Err(_) => return false,
        }
    }
    if headers.is_empty() {
        return false;
    }
    let header = |name: &str| {
        let line = headers.iter().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let mut server = server.lock().unwrap();
    if header("if-none-match:").is_some_and(|tag| tag == server.tag) {
        return stream
            .write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n")
            .is_ok();
    }
    let range = header("range:").unwrap();
    let (first, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let total = server.file.len();
    let first: usize = first.parse().unwrap();
    let end = (last.parse::<usize>().unwrap() + 1).min(total);
    let status = if server.simple {
        "200 OK"
    } else {
        "206 Partial Content"
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: {}\r\nContent-Range: bytes {first}-{}/{total}\r\nContent-Length: {}\r\n\r\n",
        server.tag,
        end - 1,
        end - first
    );
    let mut body = server.file[first..end].to_vec();
    if let Some(limit) = server.breaks_after {
        body.truncate(limit.saturating_sub(server.sent));
    }
    server.sent += body.len();
    let whole = body.len() == end - first;
    stream.write_all(head.as_bytes()).is_ok() && stream.write_all(&body).is_ok() && whole && {
        stream.flush().is_ok()
    } || {
        let _ = stream.shutdown(std::net::Shutdown::Both);
        false
    }
}

fn a_box() -> (BoxOfFiles, Arc<Mutex<PlayedInit>>, Arc<Updater>) {
    let on = BoxOfFiles::new(&versions().a, &noise(99, BLOCKS));
    let init = play_init(&on.path("control.sock"));
    let (ledger, _) = on.start(&facts(Slot::A, 1), false, 1000);
    let places = Places {
        devices: on.devices(),
        control: on.path("control.sock"),
        probe: |_| "/nowhere".into(),
    };
    let updater = Updater::new(facts(Slot::A, 1), ledger, places, [public(1)]);
    (on, init, Arc::new(updater))
}

fn look(remote: &mut Remote, updater: &Updater) -> String {
    match remote.look(updater) {
        Ok(Look::Newer(candidate)) => format!("newer: {}", candidate.version.name),
        Ok(other) => format!("{other:?}"),
        Err(said) => said.message,
    }
}

#[tokio::test]
async fn a_newer_bundle_is_installed_and_tried() {
    let (on, init, updater) = a_box();
    let (server, url) = serve(versions().deltas.clone());
    let mut remote = Remote::new(&url);
    let Ok(Look::Newer(candidate)) = remote.look(&updater) else {
        panic!("nothing newer");
    };
    install(&updater, &remote, candidate)
        .await
        .expect("installed");
    assert!(on.read("slot_b") == versions().b);
    assert!(
        init.lock()
            .unwrap()
            .asked
            .contains(&Request::Reboot { trial: true })
    );
    assert_eq!(
        updater.status().phase,
        Phase::Staged {
            version: version(2)
        }
    );
    let sent = server.lock().unwrap().sent;
    assert!(sent < versions().b.len() / 2, "{sent} bytes for a delta");
}

#[tokio::test]
async fn a_broken_line_costs_only_the_rest() {
    let (on, _, updater) = a_box();
    let (server, url) = serve(versions().plain.clone());
    let half = versions().plain.len() / 2;
    server.lock().unwrap().breaks_after = Some(half);
    let mut remote = Remote::new(&url);
    let Ok(Look::Newer(candidate)) = remote.look(&updater) else {
        panic!("nothing newer");
    };
    let said = install(&updater, &remote, candidate).await.unwrap_err();
    assert!(said.message.starts_with("the server broke off"), "{said:?}");
    assert_eq!(updater.status().phase, Phase::Idle);
    {
        let mut server = server.lock().unwrap();
        server.breaks_after = None;
        server.sent = 0;
    }
    let Ok(Look::Newer(candidate)) = remote.look(&updater) else {
        panic!("nothing newer");
    };
    install(&updater, &remote, candidate)
        .await
        .expect("installed");
    assert!(on.read("slot_b") == versions().b);
    let sent = server.lock().unwrap().sent;
    assert!(sent < versions().plain.len() * 7 / 10, "{sent} bytes again");
}

#[test]
fn what_is_old_bad_foreign_or_not_given_in_ranges_is_left_alone() {
    let (on, _, updater) = a_box();
    let (server, url) = serve(versions().plain.clone());
    let mut remote = Remote::new(&url);
    let mut told = Vec::new();
    let set = |change: &dyn Fn(&mut Server)| change(&mut server.lock().unwrap());
    set(&|server| server.file = bundle(1, &versions().a, &[]));
    told.push(look(&mut remote, &updater));
    // The server says that nothing has changed.
    told.push(look(&mut remote, &updater));
    set(&|server| {
        server.tag = "\"two\"".into();
        server.file = bundle_of(release(2), &versions().b, &[], 9);
    });
    told.push(look(&mut remote, &updater));
    set(&|server| {
        server.file = versions().plain.clone();
        server.file.pop();
    });
    told.push(look(&mut remote, &updater));
    set(&|server| server.file = b"<html>not found</html>".repeat(10));
    told.push(look(&mut remote, &updater));
    set(&|server| {
        server.file = versions().plain.clone();
        server.simple = true;
    });
    told.push(look(&mut remote, &updater));
    set(&|server| server.simple = false);
    told.push(look(&mut remote, &updater));
    updater.ledger.change(|state| state.add_failed(2)).unwrap();
    told.push(look(&mut remote, &updater));
    let told = told.join("\n").replace(&url, "URL");
    insta::assert_snapshot!(told);
    assert!(on.read("slot_b") == noise(99, BLOCKS));
}
