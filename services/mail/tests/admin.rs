//! The portal's calls, one after the other, to a mail server that runs: what was changed is seen
//! where mail comes in (port 25) and where people log in (JMAP).
//!
//! Needs Linux's `unshare` and `ip`: the server has its own ports in a network of its own. Users
//! but one cannot be had there, so the portal is user 0; that others are hung up on is tried
//! with a table in which it is somebody else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use roost_service::mail::{Answer, Call, Overview, QueuedMessage, Secret, line};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Set where the test runs in its own network.
const INSIDE: &str = "ROOST_TEST_INSIDE";
/// The start makes an RSA key, in a debug build.
const PATIENCE: Duration = Duration::from_secs(180);
/// Of `lab-password-4711`.
const HASH: &str = "$argon2id$v=19$m=7168,t=5,p=1$C2AAgiXVu3C+1mS93h5weQ$EKQjgyY4ompe/7QWt/Gos0UWfMjVp69mvaTTs74YKRI";
const PASSWORD: &str = "lab-password-4711";
/// Of `another pass`.
const OTHER_HASH: &str = "$6$abcdefgh$UuKHVycmCKdWPXBjEECkNN447O8PCrWu3.O7W.rTVOehLlD4xxm24HFiu9/M/71BB2BCleS7jBJgCAYm9vE8R0";
const OTHER_PASSWORD: &str = "another pass";

/// Runs a test of this file again, in a network of its own, and says how it went.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--", "sh", "-c"])
        .arg("ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture")
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its own network");
    false
}

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("roost-mail-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A mail server and its folders.
struct Box_ {
    folder: PathBuf,
    child: Child,
}

impl Drop for Box_ {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Box_ {
    fn start(folder: &Path, portal: u32, mailbox: bool) -> Self {
        for name in ["data", "run"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let _ = fs::remove_file(folder.join("run/admin.sock"));
        let write =
            |name: &str, value: Value| fs::write(folder.join(name), value.to_string()).unwrap();
        write(
            "services.json",
            json!([{
                "name": "portal", "description": "p", "program": "/bin/portal", "user": portal,
                "required": true, "ready_timeout_s": 60, "stop_timeout_s": 10,
            }]),
        );
        let account = json!({"name": "alice", "display_name": "Alice", "password_hash": HASH});
        write(
            "settings.json",
            json!({
                "name": "box",
                "mailbox": mailbox.then(|| json!({"domain": "example.org", "account": account})),
                "network": {"mode": "dhcp"},
                "time_servers": ["192.0.2.1"],
                "mail": {"host": null, "max_message_size": 4 << 20, "spam_filter": false},
            }),
        );
        // Cargo's variable with this path has a hyphen in its name, which `services/mail/rustc`,
        // a shell script, does not hand on.
        let tests = std::env::current_exe().unwrap();
        let program = tests.ancestors().nth(2).unwrap().join("roost-mail");
        let child = Command::new(program)
            .env("ROOST_DATA", folder.join("data"))
            .env("ROOST_RUN", folder.join("run"))
            .env("ROOST_SETTINGS", folder.join("settings.json"))
            .env("ROOST_CHOSEN", folder.join("none.json"))
            .env("ROOST_SERVICES", folder.join("services.json"))
            .env("ROOST_SHARE", concat!(env!("CARGO_MANIFEST_DIR"), "/share"))
            .spawn()
            .unwrap();
        Box_ {
            folder: folder.to_owned(),
            child,
        }
    }

    fn connect(&mut self) -> Portal {
        let began = Instant::now();
        loop {
            assert_eq!(self.child.try_wait().unwrap(), None, "mail ended");
            match UnixStream::connect(self.folder.join("run/admin.sock")) {
                Ok(stream) => return Portal(BufReader::new(stream)),
                Err(_) if began.elapsed() < PATIENCE => sleep(Duration::from_millis(100)),
                Err(error) => panic!("no socket: {error}"),
            }
        }
    }
}

/// The portal's end of the socket.
struct Portal(BufReader<UnixStream>);

impl Portal {
    fn send(&mut self, text: &str) -> Option<Answer> {
        self.0.get_mut().write_all(text.as_bytes()).ok()?;
        let mut answer = Vec::new();
        self.0.read_until(b'\n', &mut answer).ok()?;
        (!answer.is_empty()).then(|| Answer::read(&answer).unwrap())
    }

    fn call(&mut self, call: &Call) -> Answer {
        self.send(&line(call).unwrap()).expect("an answer")
    }

    fn done(&mut self, call: Call) {
        assert_eq!(self.call(&call), Answer::Done, "{call:?}");
    }

    fn refused(&mut self, call: Call) -> String {
        match self.call(&call) {
            Answer::Error { because, .. } => because,
            other => panic!("{call:?}: {other:?}"),
        }
    }

    fn overview(&mut self) -> Overview {
        match self.call(&Call::Overview) {
            Answer::Overview(overview) => overview,
            other => panic!("{other:?}"),
        }
    }

    fn queue(&mut self) -> Vec<QueuedMessage> {
        match self.call(&Call::Queue { after: None }) {
            Answer::Queue { messages, more } => {
                assert!(!more);
                messages
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A request of a browser at `from`, by way of the portal: status and body.
fn http(
    method: &str,
    path: &str,
    login: Option<(&str, &str)>,
    body: &str,
    from: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect("127.0.0.1:8080").unwrap();
    let authorization = login.map_or_else(String::new, |(name, password)| {
        let both = BASE64_STANDARD.encode(format!("{name}:{password}"));
        format!("Authorization: Basic {both}\r\n")
    });
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: mail.example.org\r\nConnection: close\r\n\
         X-Forwarded-For: {from}\r\n{authorization}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn logs_in(name: &str, password: &str) -> bool {
    match http(
        "GET",
        "/jmap/session",
        Some((name, password)),
        "",
        "192.168.7.9",
    )
    .0
    {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

/// A conversation with port 25, as a stranger's.
struct Smtp(BufReader<TcpStream>);

impl Smtp {
    fn begin() -> Self {
        let mut smtp = Smtp(BufReader::new(TcpStream::connect("127.0.0.1:25").unwrap()));
        assert_eq!(smtp.reply(), 220);
        assert_eq!(smtp.command("EHLO stranger.example.com"), 250);
        assert_eq!(smtp.command("MAIL FROM:<>"), 250);
        smtp
    }

    fn command(&mut self, command: &str) -> u16 {
        self.0
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        self.reply()
    }

    fn reply(&mut self) -> u16 {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if line.as_bytes()[3] == b' ' {
                return line[..3].parse().unwrap();
            }
        }
    }
}

fn takes_mail(address: &str) -> bool {
    match Smtp::begin().command(&format!("RCPT TO:<{address}>")) {
        250 => true,
        550 => false,
        other => panic!("{address}: {other}"),
    }
}

fn deliver(address: &str, bytes: usize) {
    let mut smtp = Smtp::begin();
    assert_eq!(smtp.command(&format!("RCPT TO:<{address}>")), 250);
    assert_eq!(smtp.command("DATA"), 354);
    let text = "word word\r\n".repeat(bytes / 11 + 1);
    let message = format!(
        "From: x@example.com\r\nTo: {address}\r\nSubject: hello\r\n\
         Date: Thu, 26 Nov 2026 00:00:00 +0000\r\nMessage-ID: <{bytes}.{address}>\r\n\r\n{text}."
    );
    assert_eq!(smtp.command(&message), 250);
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited in vain: {what}"
        );
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_box_without_a_domain_says_so_to_the_portal_alone() {
    if !inside("a_box_without_a_domain_says_so_to_the_portal_alone") {
        return;
    }
    let folder = Folder::new("waiting");
    let mut box_ = Box_::start(&folder.0, 0, false);
    let mut portal = box_.connect();
    assert_eq!(portal.refused(Call::Overview), "this box has no domain yet");
    for port in [25, 143, 993, 8080] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{port}");
    }
    drop(box_);

    let mut box_ = Box_::start(&folder.0, 820, false);
    let mut stranger = box_.connect();
    assert_eq!(stranger.send("{\"op\":\"overview\"}\n"), None);
}

#[test]
fn what_the_portal_changes_holds_at_once_and_after_a_restart() {
    if !inside("what_the_portal_changes_holds_at_once_and_after_a_restart") {
        return;
    }
    let folder = Folder::new("serving");
    let mut box_ = Box_::start(&folder.0, 0, true);
    let mut portal = box_.connect();
    let bob = || "bob".to_owned();
    let secret = |hash: &str| Secret(hash.into());
    let account = |name: &str, domain: &str| Call::AddAccount {
        name: name.into(),
        domain: domain.into(),
        display_name: String::new(),
        password_hash: secret(HASH),
        quota: Some(1 << 20),
    };
    let alias = |name: &str, address: &str| Call::AddAlias {
        name: name.into(),
        address: address.into(),
    };

    // An account, its addresses.
    assert!(!logs_in("bob", PASSWORD) && !takes_mail("bob@example.org"));
    portal.done(account("bob", "example.org"));
    assert!(logs_in("bob", PASSWORD) && takes_mail("bob@example.org"));
    assert!(!takes_mail("sales@example.org"));
    portal.done(alias("bob", "sales@example.org"));
    assert!(takes_mail("sales@example.org"));
    deliver("sales@example.org", 100);
    wait_until("mail to the alias is in bob's mailbox", || {
        portal.overview().accounts[1].used > 0
    });
    portal.done(Call::RemoveAlias {
        name: bob(),
        address: "sales@example.org".into(),
    });
    assert!(!takes_mail("sales@example.org"));
    portal.done(alias("bob", "postmaster@example.org"));

    // A catch-all.
    for (account, taken) in [(Some(bob()), true), (None, false)] {
        portal.done(Call::SetCatchAll {
            domain: "example.org".into(),
            account,
        });
        assert_eq!(takes_mail("anything@example.org"), taken);
    }

    // Passwords.
    let make = Call::MakeAppPassword {
        name: bob(),
        label: "phone".into(),
    };
    let Answer::AppPassword { id, password } = portal.call(&make) else {
        panic!();
    };
    assert!(logs_in("bob", &password.0) && !logs_in("alice", &password.0));
    portal.done(Call::SetPassword {
        name: bob(),
        password_hash: secret(OTHER_HASH),
    });
    assert!(logs_in("bob", OTHER_PASSWORD) && !logs_in("bob", PASSWORD));
    assert!(logs_in("bob", &password.0));
    portal.done(Call::RevokeAppPassword { name: bob(), id });
    assert!(logs_in("bob", OTHER_PASSWORD) && !logs_in("bob", &password.0));

    // A message that does not fit waits, is tried again, and goes when bob has space.
    deliver("bob@example.org", 1_200_000);
    wait_until(
        "the message waits",
        || matches!(&portal.queue()[..], [message] if message.receivers[0].tries > 0),
    );
    let message = portal.queue().remove(0);
    assert_eq!(message.receivers[0].address, "bob@example.org");
    assert!(message.receivers[0].fault.is_some(), "{message:?}");
    assert_eq!(portal.overview().queued, 1);
    portal.done(Call::SetQuota {
        name: bob(),
        quota: None,
    });
    portal.done(Call::RetryQueued {
        id: message.id.clone(),
    });
    wait_until("the message is delivered", || portal.queue().is_empty());
    assert!(portal.overview().accounts[1].used > 1_200_000);
    portal.refused(Call::DeleteQueued { id: message.id });
    portal.done(Call::SetQuota {
        name: bob(),
        quota: Some(1 << 20),
    });
    deliver("bob@example.org", 1_100_000);
    wait_until("another waits", || portal.queue().len() == 1);
    wait_until("it can be deleted", || {
        let id = portal.queue().remove(0).id;
        portal.call(&Call::DeleteQueued { id }) == Answer::Done
    });
    assert_eq!(portal.queue(), []);

    // Domains.
    portal.done(Call::AddDomain {
        domain: "example.net".into(),
        account: None,
    });
    assert!(takes_mail("abuse@example.net"));
    portal.done(account("carol", "example.net"));
    assert!(takes_mail("carol@example.net"));
    let Answer::Published(published) = portal.call(&Call::Published) else {
        panic!();
    };
    assert!(published.domains.contains(&"example.net".to_owned()));
    assert_eq!(published.dkim.len(), 2);

    // Nothing of it is undone by a restart.
    let before = portal.overview();
    drop(portal);
    drop(box_);
    let mut box_ = Box_::start(&folder.0, 0, true);
    let mut portal = box_.connect();
    assert_eq!(portal.overview(), before);
    assert!(logs_in("bob", OTHER_PASSWORD) && logs_in("carol", PASSWORD));

    // What goes is gone, and what must exist comes back.
    portal.done(Call::RemoveAccount { name: bob() });
    assert!(!logs_in("bob", OTHER_PASSWORD) && !takes_mail("bob@example.org"));
    assert!(takes_mail("postmaster@example.org"));
    portal.refused(Call::RemoveDomain {
        domain: "example.net".into(),
    });
    portal.done(Call::RemoveAccount {
        name: "carol".into(),
    });
    portal.done(Call::RemoveDomain {
        domain: "example.net".into(),
    });
    assert!(!takes_mail("abuse@example.net"));

    // Whoever guesses is banned, and nobody else, though all come from the portal.
    let guess = |from: &str, password: &str| {
        let login = Some(("alice", password));
        http("GET", "/jmap/session", login, "", from).0
    };
    assert!((0..200).any(|_| guess("203.0.113.5", "wrong") == 403));
    assert_eq!(guess("203.0.113.5", PASSWORD), 403);
    assert_eq!(guess("203.0.113.5, 203.0.113.6", PASSWORD), 200);

    // Lines that are no calls.
    assert!(matches!(portal.send("{}\n"), Some(Answer::Error { .. })));
    let long = "x".repeat(roost_service::mail::MAX_CALL + 1);
    assert!(matches!(
        portal.send(&format!("{long}\n")),
        Some(Answer::Error { .. })
    ));
    assert_eq!(portal.send("{\"op\":\"overview\"}\n"), None);
}
