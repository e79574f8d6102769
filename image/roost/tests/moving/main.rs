//! `roost import` and `roost export` between real servers: Dovecot at both ends.

mod cuts;
mod dovecot;
mod files;
mod leaving;
mod proxy;
mod refusals;

use dovecot::{Dovecot, Mail, PASSWORD, Setup};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A computer with a memory of its own.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        std::fs::write(dir.path().join("wrong"), "not the password\n").unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roost"));
        command
            .args(args)
            .current_dir(self.path())
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("ROOST_IMPORT_PASSWORD", PASSWORD)
            .env("ROOST_IMPORT_TO_PASSWORD", PASSWORD)
            .env("ROOST_EXPORT_PASSWORD", PASSWORD)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The result, and whether all went well.
    fn json(&self, args: &[&str]) -> (Value, bool) {
        let done = self.run(&[args, &["--json"]].concat());
        let text = String::from_utf8(done.stdout).unwrap();
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let result = events.iter().find(|event| event["event"] == "result");
        let result = result.unwrap_or_else(|| {
            panic!("no result: {text}{}", String::from_utf8_lossy(&done.stderr))
        });
        (result.clone(), done.status.success())
    }

    fn start(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Forgets what was moved.
    fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.path().join("state"));
    }
}

/// Arguments for an import from one server into another.
fn import<'a>(from: &'a str, old: &'a Dovecot, to: &'a str, new: &'a Dovecot) -> Vec<&'a str> {
    vec![
        "import",
        from,
        "--fingerprint",
        &old.fingerprint,
        "--to",
        to,
        "--to-fingerprint",
        &new.fingerprint,
    ]
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Snapshots without what differs from run to run.
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[port]");
    // With what is before it: figures stand to the right.
    settings.add_filter(r" *(\d+\.\d s|\d+ min \d+ s)", " [time]");
    settings.add_filter(r"/tmp/[^ /]*", "[folder]");
    settings.add_filter(r"\(\d[^)]* secs\)", "[time]");
    settings.add_filter(r"(\.tar|\.zst) \([^)]*\)", "$1 ([size])");
    settings.add_filter(r"(finish +\[time\]).*", "$1  [size]");
    settings.add_filter(r"[0-9a-f]{64}", "[SHA-256]");
    settings.add_filter(r"([0-9A-F]{2}:){15}[0-9A-F]{2}", "[16 bytes]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn sum(result: &Value, field: &str) -> u64 {
    result["folders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|folder| folder[field].as_u64().unwrap())
        .sum()
}

/// A mailbox with all that mailboxes have, one message of this many bytes among them.
fn old_mailbox(old: &Dovecot, user: &str, large: usize) {
    old.folders(
        user,
        &[
            "INBOX",
            "Sent",
            "Deleted",
            "Drafts",
            "Archive",
            "Archive/2019",
            "Archive/2019/Q1",
            "Work \"quoted\" \\ v1.0",
            "Entw&APw-rfe &- more",
            "&U,BTFw-/&ZeVnLIqe-",
            "Empty",
            "a*b%c",
        ],
    );
    let put = |folder: &str, about: (i64, &str), bytes: &[u8]| old.put(user, folder, about, bytes);
    put(
        "INBOX",
        (1_500_000_000, "S"),
        b"Message-ID: <1@x>\nSubject: one\n\nbody\n",
    );
    put(
        "INBOX",
        (1_500_000_001, ""),
        b"Message-ID: <2@x>\nSubject: two\n\nunseen\n",
    );
    // The same once more, and another one with the same id and size.
    put(
        "INBOX",
        (1_500_000_000, "S"),
        b"Message-ID: <3@x>\nSubject: twice\n\nbody\n",
    );
    put(
        "INBOX",
        (1_500_000_000, "S"),
        b"Message-ID: <3@x>\nSubject: twice\n\nbody\n",
    );
    put(
        "INBOX",
        (1_500_000_000, "S"),
        b"Message-ID: <3@x>\nSubject: twice\n\nbudy\n",
    );
    put(
        "INBOX",
        (1_500_000_002, "DFRSTabc"),
        b"Subject: all marks, no id\n\nbody\n",
    );
    put("INBOX", (1_500_000_003, ""), b"no header at all");
    put(
        "INBOX",
        (1_500_000_004, ""),
        "Message-ID: <4@x>\nSubject: 8 bit ü\nX-Latin1: \u{0}\n\n".as_bytes(),
    );
    put(
        "INBOX",
        (1_500_000_005, "F"),
        b"Message-ID: <5@x>\n\n8 bit \xfc\xff and \x00 NUL\nFrom here\n>From there\n.\n..\n",
    );
    put("INBOX", (1_500_000_006, ""), b"\n");
    put(
        "Sent",
        (86_400, "S"),
        b"Message-ID: <6@x>\n\nthe day after it began\n",
    );
    put(
        "Archive/2019/Q1",
        (-86_400, "S"),
        b"Message-ID: <7@x>\n\nbefore 1970\n",
    );
    put(
        "Archive/2019/Q1",
        ((1 << 31) + 86_400, "S"),
        b"Message-ID: <8@x>\n\nafter 2038\n",
    );
    put(
        "Deleted",
        (1_500_000_000, "T"),
        b"Message-ID: <9@x>\n\ndeleted\n",
    );
    put(
        "Work \"quoted\" \\ v1.0",
        (1_500_000_000, "b"),
        b"Message-ID: <10@x>\n\nquoted\n",
    );
    put(
        "Entw&APw-rfe &- more",
        (1_500_000_000, "D"),
        b"Message-ID: <11@x>\n\numlaut\n",
    );
    put(
        "&U,BTFw-/&ZeVnLIqe-",
        (1_500_000_000, ""),
        b"Message-ID: <12@x>\n\nTaipei\n",
    );
    put(
        "a*b%c",
        (1_500_000_000, ""),
        b"Message-ID: <14@x>\n\nwild\n",
    );
    let large = large_message(large);
    put("Archive", (1_500_000_000, "S"), &large);
}

/// In lines as attachments have them.
fn large_message(length: usize) -> Vec<u8> {
    let mut bytes = b"Message-ID: <large@x>\nSubject: large\n\n".to_vec();
    let mut number: u32 = 1;
    while bytes.len() < length {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend(format!("{number:076}\n").bytes());
    }
    bytes
}

/// What should be in the new mailbox.
fn expected(mut mail: Mail) -> Mail {
    let inbox = mail.get_mut("INBOX").unwrap();
    inbox.dedup();
    // Dovecot keeps no NUL of what it gives over IMAP.
    for kept in mail.values_mut().flatten() {
        kept.bytes
            .iter_mut()
            .filter(|byte| **byte == 0)
            .for_each(|byte| *byte = 0x80);
    }
    // It takes no date that is still to come, either.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    for kept in mail.values_mut().flatten() {
        kept.date = kept.date.min(now);
    }
    for (old, new) in [("Sent", "Sent Items"), ("Deleted", "Deleted Items")] {
        let folder = mail.remove(old).unwrap();
        mail.insert(new.to_owned(), folder);
    }
    // The names of folders that a server could take for something else.
    let wild = mail.remove("a*b%c").unwrap();
    mail.insert("a_b_c".to_owned(), wild);
    mail
}

fn new_server() -> Dovecot {
    Dovecot::start(Setup {
        like_the_box: true,
        ..Setup::default()
    })
}

fn differences(mine: &Mail, theirs: &Mail) -> String {
    let mut out = String::new();
    for name in mine
        .keys()
        .chain(theirs.keys())
        .collect::<std::collections::BTreeSet<_>>()
    {
        match (mine.get(name), theirs.get(name)) {
            (Some(a), Some(b))
                if a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)) => {}
            (a, b) => {
                let show = |kept: &dovecot::Kept| {
                    format!(
                        "{} [{}] {} bytes {:?}",
                        kept.date,
                        kept.flags,
                        kept.bytes.len(),
                        String::from_utf8_lossy(&kept.bytes[..kept.bytes.len().min(60)])
                    )
                };
                let list = |all: Option<&Vec<dovecot::Kept>>| {
                    all.map(|all| all.iter().map(show).collect::<Vec<_>>())
                };
                out += &format!(
                    "{name}:\n  expected {:#?}\n  there    {:#?}\n",
                    list(a),
                    list(b)
                );
            }
        }
    }
    out
}

/// But for the minute in which a server says that it is now.
fn same(a: &dovecot::Kept, b: &dovecot::Kept) -> bool {
    let near = a.date == b.date || a.date > 1_700_000_000 && (a.date - b.date).abs() < 600;
    near && a.flags == b.flags && a.bytes == b.bytes
}

fn assert_same(mine: &Mail, theirs: &Mail) {
    let differences = differences(mine, theirs);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_mailbox_moves_with_everything_and_only_once() {
    let (old, new, place) = (Dovecot::start(Setup::default()), new_server(), Place::new());
    old_mailbox(&old, "alice", 30_000_000);
    let (from, to) = (old.url("alice"), new.url("bob"));
    let args = import(&from, &old, &to, &new);
    let dry = place.run(&[args.as_slice(), &["--dry-run"]].concat());
    assert!(dry.status.success(), "{}", told(&dry));
    snapshot("dry_run", &told(&dry));
    assert!(
        !place.path().join("state").exists(),
        "a look leaves nothing behind"
    );
    assert_eq!(new.mail("bob").values().flatten().count(), 0);

    let done = place.run(&args);
    assert!(done.status.success(), "{}", told(&done));
    snapshot("moved", &told(&done));
    let expected = expected(old.mail("alice"));
    assert_same(&expected, &new.mail("bob"));

    // Once more: nothing to do, neither with a memory nor without.
    for forgets in [false, true] {
        if forgets {
            place.forget();
        }
        let (result, ok) = place.json(&args);
        assert!(ok);
        assert_eq!(
            (sum(&result, "moved"), sum(&result, "there")),
            (0, 19),
            "{result:#}"
        );
        assert_same(&expected, &new.mail("bob"));
    }
    // What has come meanwhile, and nothing else.
    old.put(
        "alice",
        "INBOX",
        (1_600_000_000, ""),
        b"Message-ID: <new@x>\n\nnew\n",
    );
    let (result, _) = place.json(&args);
    assert_eq!(
        (sum(&result, "moved"), sum(&result, "there")),
        (1, 19),
        "{result:#}"
    );
}
