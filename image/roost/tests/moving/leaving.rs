//! `roost export`: what was packed is what was there, for Roost and for others.

use super::dovecot::{Dovecot, Mail, Setup};
use super::proxy::Proxy;
use super::{Place, assert_same, differences, import, new_server, old_mailbox, snapshot, told};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packs, unpacks with tar, checks the sums; the folder that comes out.
fn exported(place: &Place, old: &Dovecot, name: &str, options: &[&str]) -> PathBuf {
    let from = old.url("alice");
    let args = [
        &[
            "export",
            "--from",
            &from,
            "--fingerprint",
            &old.fingerprint,
            "--output",
            name,
        ],
        options,
    ]
    .concat();
    let done = place.run(&args);
    assert!(done.status.success(), "{}", told(&done));
    snapshot(
        &format!("exported_{}", name.replace('.', "_")),
        &told(&done),
    );
    let script = format!(
        "mkdir {name}.d && tar -C {name}.d -xf {name} && cd {name}.d/* && sha256sum --quiet --check SHA256SUMS && test -s README.txt"
    );
    let done = Command::new("sh")
        .args(["-ec", &script])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", told(&done));
    let inner = std::fs::read_dir(place.path().join(format!("{name}.d")))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    inner.path().join("mail/alice")
}

/// What is in `alice`'s mailbox, moved into another server straight from there.
fn straight(old: &Dovecot) -> Mail {
    let (new, place) = (new_server(), Place::new());
    let (from, to) = (old.url("alice"), new.url("bob"));
    let done = place.run(&import(&from, old, &to, &new));
    assert!(done.status.success(), "{}", told(&done));
    new.mail("bob")
}

fn from_files(place: &Place, folder: &Path) -> Mail {
    let new = new_server();
    place.forget();
    let (from, to) = (folder.display().to_string(), new.url("bob"));
    let done = place.run(&[
        "import",
        &from,
        "--to",
        &to,
        "--to-fingerprint",
        &new.fingerprint,
    ]);
    assert!(done.status.success(), "{}", told(&done));
    new.mail("bob")
}

#[test]
fn what_is_packed_is_the_same_mailbox_again() {
    // One for each look: from its cache, Dovecot tells dates before 1970 as if they were in 2106.
    let old = [(); 3].map(|()| {
        let old = Dovecot::start(Setup::default());
        // More than stays in memory.
        old_mailbox(&old, "alice", 5_000_000);
        old
    });
    let place = Place::new();
    let straight = straight(&old[0]);
    let maildir = exported(&place, &old[1], "a.tar.zst", &[]);
    assert_same(&straight, &from_files(&place, &maildir));
    // Dates are those of the old server, also where the new one would keep another.
    let late = std::fs::read_dir(maildir.join(".Archive.2019.Q1/cur"))
        .unwrap()
        .filter(|entry| {
            std::os::unix::fs::MetadataExt::mtime(&entry.as_ref().unwrap().metadata().unwrap())
                == (1 << 31) + 86_400
        });
    assert_eq!(late.count(), 1);

    // Another server takes the maildir as its own.
    let theirs = Dovecot::start(Setup {
        below_inbox: true,
        ..Setup::default()
    });
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&maildir)
        .arg(theirs.root("alice"))
        .status()
        .unwrap();
    assert!(copied.success());
    theirs.owned(&theirs.root("alice"));
    let new = new_server();
    let (from, to) = (theirs.url("alice"), new.url("bob"));
    let done = Place::new().run(&import(&from, &theirs, &to, &new));
    assert!(done.status.success(), "{}", told(&done));
    let mut expected = straight.clone();
    // A dot parts folders there.
    let work = expected.remove("Work \"quoted\" \\ v1.0").unwrap();
    expected.insert("Work \"quoted\" \\ v1_0".to_owned(), work);
    assert_same(&expected, &new.mail("bob"));

    // The other way that the README tells.
    let packed = new.root("packed");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&maildir)
        .arg(&packed)
        .status();
    assert!(copied.unwrap().success());
    new.owned(&packed);
    let location = format!("maildir:{}", packed.display());
    new.doveadm(&["import", "-u", "alice", &location, "", "all"]);
    let count = |mail: &Mail| mail.values().map(Vec::len).sum::<usize>();
    // It moves what is twice in a folder twice.
    assert_eq!(count(&new.mail("alice")), count(&straight) + 1);

    let mut expected = straight;
    let mbox = exported(&place, &old[2], "b.tar", &["--format", "mbox"]);
    // A file of mbox ends every message with a line's end, and `roost` names it as files can be called.
    for kept in expected.values_mut().flatten() {
        if !kept.bytes.ends_with(b"\n") {
            kept.bytes.push(b'\n');
        }
    }
    let work = expected.remove("Work \"quoted\" \\ v1.0").unwrap();
    expected.insert("Work _quoted_ _ v1.0".to_owned(), work);
    let mut there = from_files(&place, &mbox);
    there.values_mut().for_each(|kept| kept.sort());
    expected.values_mut().for_each(|kept| kept.sort());
    // Folders without mail have no first line that says what they are.
    expected.retain(|_, kept| !kept.is_empty());
    there.retain(|_, kept| !kept.is_empty());
    assert!(
        differences(&expected, &there).is_empty(),
        "{}",
        differences(&expected, &there)
    );
}

#[test]
fn there_is_a_whole_file_or_none() {
    let (old, place) = (Dovecot::start(Setup::default()), Place::new());
    old.folders("alice", &["INBOX"]);
    for number in 0..5 {
        let text = format!(
            "Message-ID: <{number}@x>\n\n{}\n",
            "x".repeat(if number == 3 { 300_000 } else { 10 })
        );
        old.put(
            "alice",
            "INBOX",
            (1_500_000_000 + number, ""),
            text.as_bytes(),
        );
    }
    // No connection has enough bytes for one of them.
    let proxy = Proxy::start(old.imaps, &[100_000; 100]);
    let from = format!("imaps://alice@127.0.0.1:{}", proxy.port);
    let args = [
        "export",
        "--from",
        &from,
        "--fingerprint",
        &old.fingerprint,
        "--output",
        "a.tar",
    ];
    let files = || -> Vec<String> {
        let all = std::fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        all.filter(|name| name.contains("tar") || name.contains("export"))
            .collect()
    };
    let done = place.run(&args);
    assert_eq!(done.status.code(), Some(1));
    snapshot("unreadable", &told(&done));
    assert_eq!(files(), Vec::<String>::new());
    let done = place.run(&[args.as_slice(), &["--without-unreadable"]].concat());
    assert!(done.status.success(), "{}", told(&done));
    snapshot("without_unreadable", &told(&done));
    assert_eq!(files(), ["a.tar"]);
    let before = std::fs::read(place.path().join("a.tar")).unwrap();
    assert!(
        String::from_utf8_lossy(&before).contains("are missing:"),
        "the README says it"
    );
    // Nothing is written over.
    let done = place.run(&args);
    assert_eq!(done.status.code(), Some(2));
    snapshot("exists", &told(&done));
    assert_eq!(std::fs::read(place.path().join("a.tar")).unwrap(), before);
    let done = place.run(&["export", "--from", &from, "--output", "a.zip"]);
    snapshot("no_archive", &told(&done));
    // No way to write there.
    let done = place.run(&["export", "--from", &from, "--output", "/proc/a.tar"]);
    assert_eq!(done.status.code(), Some(1));
}
