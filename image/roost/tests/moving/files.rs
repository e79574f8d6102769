//! Mail out of files: maildirs, and mbox files of several mailers.

use super::dovecot::{Dovecot, Kept, Setup};
use super::{Place, assert_same, new_server, snapshot, sum, told};
use std::fs;
use std::path::Path;

fn into<'a>(from: &'a str, to: &'a str, new: &'a Dovecot) -> Vec<&'a str> {
    vec![
        "import",
        from,
        "--to",
        to,
        "--to-fingerprint",
        &new.fingerprint,
    ]
}

/// A provider's store: Maildir++ with all folders below the inbox, copied to this computer.
#[test]
fn a_maildir_moves() {
    let old = Dovecot::start(Setup {
        below_inbox: true,
        ..Setup::default()
    });
    old.folders("alice", &["INBOX", "Sent", "Work.Old", "Entw&APw-rfe"]);
    old.put("alice", "INBOX", (-5, "Sac"), b"Message-ID: <1@x>\n\none\n");
    old.put(
        "alice",
        "Sent",
        (1_500_000_000, "S"),
        b"Message-ID: <2@x>\n\ntwo\n",
    );
    old.put(
        "alice",
        "Work.Old",
        (1_500_000_000, ""),
        b"Message-ID: <3@x>\r\n\r\nCRLF\r\nand a bare\nline\r\n",
    );
    old.put(
        "alice",
        "Entw&APw-rfe",
        (1_500_000_000, "D"),
        b"Message-ID: <4@x>\n\n",
    );
    let (new, place) = (new_server(), Place::new());
    let (from, to) = (old.root("alice").display().to_string(), new.url("bob"));
    let (result, ok) = place.json(&into(&from, &to, &new));
    assert!(ok, "{result:#}");
    let mut expected = old.mail("alice");
    for (from, to) in [
        ("Sent", "Sent Items"),
        ("Entw&APw-rfe", "Drafts"),
        ("Work.Old", "Work/Old"),
    ] {
        let folder = expected.remove(from).unwrap();
        expected.insert(to.to_owned(), folder);
    }
    let mut there = new.mail("bob");
    there.retain(|_, kept| !kept.is_empty());
    // Dovecot keeps files with line feeds alone.
    expected.get_mut("Work/Old").unwrap()[0]
        .bytes
        .retain(|byte| *byte != b'\r');
    assert_same(&expected, &there);
    // By the server itself, which calls them INBOX.Sent and so on: the same, so there is nothing to do.
    let url = old.url("alice");
    let (result, ok) = place.json(
        &[
            into(&url, &to, &new),
            vec!["--fingerprint", &old.fingerprint],
        ]
        .concat(),
    );
    assert!(ok);
    // Even the one with a bare line feed, which both servers have corrected.
    assert_eq!(
        (sum(&result, "moved"), sum(&result, "there")),
        (0, 4),
        "{result:#}"
    );
}

fn tree(root: &Path) {
    let file = |name: &str, bytes: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let message = |id: &str, head: &str| {
        format!("From - Fri Nov 27 08:50:09 2026\n{head}Message-ID: <{id}@x>\n\n>From {id}\n\n")
    };
    // As Thunderbird has them.
    file(
        "Inbox",
        &(message("1", "X-Mozilla-Status: 0001\n")
            + &message("gone", "X-Mozilla-Status: 0009\n")
            + &message("2", "")),
    );
    file("Inbox.msf", "// <!-- <mdb:mork:z v=\"1.4\"/> -->\n");
    file("Inbox.sbd/Work", &message("3", ""));
    file("Inbox.sbd/Empty", "");
    file(
        "Inbox.sbd/Empty.msf",
        "// <!-- <mdb:mork:z v=\"1.4\"/> -->\n",
    );
    file("msgFilterRules.dat", "version=\"9\"\n");
    // As Apple has them, and somebody's maildir.
    file("Archives.mbox/mbox", &message("4", "Status: RO\n"));
    file("old/cur/1.2.3:2,S", "Message-ID: <5@x>\n\nx\n");
    fs::create_dir_all(root.join("old/new")).unwrap();
    fs::write(root.join("old/new/2.2.3"), b"\x1f\x8bpacked").unwrap();
}

#[test]
fn folders_of_mbox_files_move() {
    let (new, place) = (new_server(), Place::new());
    let root = place.path().join("profile");
    tree(&root);
    let (from, to) = (root.display().to_string(), new.url("bob"));
    let done = place.run(&into(&from, &to, &new));
    assert_eq!(done.status.code(), Some(1), "one file is packed");
    snapshot(
        "mbox_files",
        &told(&done).replace(&place.path().display().to_string(), "[place]"),
    );
    let mail = new.mail("bob");
    let bodies = |folder: &str| {
        let mut all: Vec<String> = mail[folder]
            .iter()
            .map(|Kept { bytes, flags, .. }| {
                format!("{} [{flags}]", String::from_utf8_lossy(bytes))
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(
        bodies("INBOX"),
        [
            "Message-ID: <1@x>\n\nFrom 1\n [S]",
            "Message-ID: <2@x>\n\nFrom 2\n []"
        ]
    );
    assert_eq!(bodies("INBOX/Work"), ["Message-ID: <3@x>\n\nFrom 3\n []"]);
    assert_eq!(bodies("Archive"), ["Message-ID: <4@x>\n\nFrom 4\n [S]"]);
    assert_eq!(bodies("old"), ["Message-ID: <5@x>\n\nx\n [S]"]);
    assert_eq!(mail["INBOX/Empty"], []);
    assert_eq!(mail["INBOX"][1].date, 1_795_769_409);
    // Some of it, somewhere else.
    let args = [
        into(&from, &to, &new),
        vec![
            "--folder",
            "inbox",
            "--exclude",
            "Inbox/Empty",
            "--into",
            "Old/laptop",
        ],
    ]
    .concat();
    let (result, ok) = place.json(&args);
    assert!(ok, "{result:#}");
    assert_eq!(sum(&result, "moved"), 3);
    assert_eq!(new.mail("bob")["Old/laptop/Inbox/Work"].len(), 1);
    let done = place.run(&[into(&from, &to, &new), vec!["--folder", "Nowhere"]].concat());
    snapshot("no_such_folder", &told(&done));
}

#[test]
fn what_is_no_mail_is_said() {
    let (new, place) = (new_server(), Place::new());
    let to = new.url("bob");
    fs::create_dir(place.path().join("empty")).unwrap();
    fs::write(
        place.path().join("packed.tar.zst"),
        [0x28, 0xb5, 0x2f, 0xfd, 0],
    )
    .unwrap();
    fs::write(place.path().join("letter.txt"), "Dear all,\n").unwrap();
    let told: Vec<String> = ["empty", "packed.tar.zst", "letter.txt", "missing"]
        .iter()
        .map(|from| {
            let done = place.run(&into(from, &to, &new));
            assert_eq!(done.status.code(), Some(2));
            told(&done)
        })
        .collect();
    snapshot(
        "no_mail",
        &told
            .concat()
            .replace(&place.path().display().to_string(), "[place]"),
    );
}
