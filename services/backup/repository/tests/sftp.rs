//! A repository in a folder of an SFTP server: OpenSSH's own; restic as the judge of what lies there then.

mod asking;
mod made;
mod sshd;

use asking::{Asking, Asks, PASSWORD};
use bytes::Bytes;
use made::{BEGIN, back_up, noise};
use roost_backup_repository::ahead::Ahead;
use roost_backup_repository::code::Code;
use roost_backup_repository::folder::Folder;
use roost_backup_repository::repository::{Repository, compare};
use roost_backup_repository::s3::Patience;
use roost_backup_repository::sftp::{Key, Login, Sftp, host_key};
use roost_backup_repository::store::{Kind, Name, Store};
use roost_service::backup::{Secret, SftpTarget};
use sshd::{Sshd, Wire};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is said of a server, without what is another in each run.
fn plain(error: &io::Error, server: &Sshd) -> String {
    let home = server.home().display().to_string();
    let text = error.to_string().replace(&home, "HOME");
    text.replace(&server.host_key.to_string(), "SHA256:…")
}

#[test]
fn files_come_back_and_stay_as_they_were_first_written() {
    let server = Sshd::start();
    let store = server.sftp("a/b", Patience::Long);
    let mut file = Bytes::new();
    for kind in Kind::ALL {
        assert_eq!(store.list(kind).unwrap(), []);
        let pieces = [Bytes::from("hello "), Bytes::from(kind.folder())];
        let name = Name::of(&pieces);
        store.write(kind, name, &pieces).unwrap();
        // Once more, as after a connection that broke off before the answer.
        store.write(kind, name, &pieces).unwrap();
        // A bad box, or a second one: what is there is never overwritten.
        let error = store.write(kind, name, &["other".into()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        file = [&pieces[0][..], &pieces[1]].concat().into();
        assert_eq!(store.list(kind).unwrap().len(), 1);
        assert_eq!(store.read(kind, name, None).unwrap(), file);
        assert_eq!(store.read(kind, name, Some((1, 3))).unwrap(), "ell");
        assert_eq!(store.read(kind, name, Some((1, 0))).unwrap(), "");
        for part in [(1, 300), (300, 1)] {
            let error = store.read(kind, name, Some(part)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
    let missing = store.read(Kind::Pack, Name([1; 32]), None).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    // Where restic looks for them too, and for nobody else to read.
    let folder = Folder::new(server.home().join("a/b"));
    assert_eq!(
        folder.list(Kind::Pack).unwrap(),
        store.list(Kind::Pack).unwrap()
    );
    let (name, _) = store.list(Kind::Pack).unwrap()[0];
    let path = |name: &Name| {
        let digits = name.to_string();
        server
            .home()
            .join("a/b/data")
            .join(&digits[..2])
            .join(digits)
    };
    assert_eq!(fs::read(path(&name)).unwrap(), file);
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&path(&name)), 0o600);
    assert_eq!(mode(&server.home().join("a/b/data")), 0o700);

    // More folders than are read at once, files of every length around that of a packet, and what is none of ours.
    let mut names = store.list(Kind::Pack).unwrap();
    for (number, length) in [0, 1, 32_767, 32_768, 32_769, 3_000_000]
        .into_iter()
        .enumerate()
    {
        let pieces = [Bytes::from(noise(number as u64, length))];
        store.write(Kind::Pack, Name::of(&pieces), &pieces).unwrap();
        let back = store.read(Kind::Pack, Name::of(&pieces), None).unwrap();
        assert!(back == pieces[0], "{length}");
        names.push((Name::of(&pieces), length as u32));
    }
    for number in 0..60_u8 {
        let name = Name([number; 32]);
        fs::create_dir_all(path(&name).parent().unwrap()).unwrap();
        fs::write(path(&name), vec![0; number.into()]).unwrap();
        names.push((name, number.into()));
    }
    fs::write(server.home().join("a/b/data/notes.txt"), "x").unwrap();
    fs::write(path(&name).with_file_name("notes.txt"), "x").unwrap();
    // In the wrong folder, as a file in place of a folder, as a folder in place of a file.
    fs::write(
        path(&name).with_file_name(Name([0xfe; 32]).to_string()),
        "x",
    )
    .unwrap();
    fs::write(server.home().join("a/b/data/fd"), "x").unwrap();
    fs::create_dir_all(path(&Name([0xfc; 32]))).unwrap();
    let mut listed = store.list(Kind::Pack).unwrap();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, names);
    for _ in 0..2 {
        store.remove(Kind::Pack, name).unwrap();
        assert!(!path(&name).exists());
    }
    assert_eq!(
        server.sftp("a", Patience::Long).list(Kind::Pack).unwrap(),
        []
    );
}

#[test]
fn what_a_cut_has_left_is_not_taken_for_a_file() {
    let server = Sshd::start();
    let store = server.sftp("attic", Patience::Short);
    let pieces = [Bytes::from(noise(1, 100_000))];
    let name = Name::of(&pieces);
    let digits = name.to_string();
    let folder = server.home().join("attic/data").join(&digits[..2]);
    fs::create_dir_all(&folder).unwrap();
    // Written so far, under the name that such a file has until it is whole.
    let unfinished = folder.join(format!(".unfinished-{digits}"));
    fs::write(&unfinished, &pieces[0][..50_000]).unwrap();
    assert_eq!(store.list(Kind::Pack).unwrap(), []);
    store.write(Kind::Pack, name, &pieces).unwrap();
    assert_eq!(store.list(Kind::Pack).unwrap(), [(name, 100_000)]);
    assert!(store.read(Kind::Pack, name, None).unwrap() == pieces[0]);
    assert!(!unfinished.exists());
    // A server without a wish to sync has lost what it had in memory when its own power went.
    fs::write(folder.join(&digits), &pieces[0][..50_000]).unwrap();
    let error = store.write(Kind::Pack, name, &pieces).unwrap_err();
    let told = error
        .to_string()
        .replace(&digits, "NAME")
        .replace(&digits[..2], "NA");
    insta::assert_snapshot!(told, @"attic/data/NA/NAME is there already, with 50000 bytes instead of 100000; it is left as it is");
    assert_eq!(fs::read(folder.join(&digits)).unwrap().len(), 50_000);
}

#[test]
fn a_server_is_tried_before_it_is_trusted() {
    let server = Sshd::start();
    let hasty = |target: &SftpTarget, login: Login| {
        let store = Sftp::new(target, login, Patience::Short).unwrap();
        store.try_out()
    };
    let target = server.target("attic");
    assert!(hasty(&target, server.login()).unwrap());
    assert_eq!(
        fs::read_dir(server.home().join("attic")).unwrap().count(),
        0
    );
    let told =
        |target: &SftpTarget, login: Login| plain(&hasty(target, login).unwrap_err(), &server);
    // Who signs in.
    let stranger = Login::Key(Key::random().unwrap());
    insta::assert_snapshot!(told(&target, stranger), @"the server does not take the key: its public half has to be in the account's authorized_keys");
    let wrong = Login::Password(Secret::password("open sesame").unwrap());
    insta::assert_snapshot!(told(&target, wrong.clone()), @"the server does not take the password");
    // Whom it signs in at: nothing is said to another server, not even who would sign in.
    assert_eq!(host_key("127.0.0.1", server.port).unwrap(), server.host_key);
    let other = Sshd::start();
    let before = server.log();
    let mut mixed = target.clone();
    mixed.host_key = other.host_key.clone();
    let text = told(&mixed, wrong);
    insta::assert_snapshot!(text.replace(&other.host_key.to_string(), "SHA256:other"), @"this is not the server that was confirmed: it shows the host key SHA256:… instead of SHA256:other");
    let said = server.log().replace(&before, "");
    assert!(
        !said.contains("password") && !said.contains(&sshd::user()),
        "{said}"
    );
    // What it may do there.
    let reader = Sshd::with("-R");
    let error = hasty(&reader.target("attic"), reader.login()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    insta::assert_snapshot!(plain(&error, &reader), @"a file cannot be written: the account may not do that (Permission denied)");
    let keeper = Sshd::with("-P remove");
    assert!(!hasty(&keeper.target("attic"), keeper.login()).unwrap());
    fs::write(server.home().join("file"), "").unwrap();
    let inside = server.target("file/attic");
    insta::assert_snapshot!(told(&inside, server.login()), @"a file cannot be written: the folder file cannot be made: the server did not do it (Failure)");
    // Nobody, and somebody who speaks something else.
    let mut nobody = target.clone();
    nobody.port = 1;
    insta::assert_snapshot!(told(&nobody, server.login()), @"the server takes no connection");
    nobody.host = "nobody.invalid".into();
    insta::assert_snapshot!(told(&nobody, server.login()), @"the server's name is not known, or the network is not reached");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::Write;
        for connection in listener.incoming() {
            let _ = connection
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let mut web = target.clone();
    web.port = port;
    let text = told(&web, server.login());
    assert!(text.starts_with("the connection broke off"), "{text}");
    // Somebody who says nothing at all: a person waits for it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    web.port = silent.local_addr().unwrap().port();
    let begun = Instant::now();
    insta::assert_snapshot!(told(&web, server.login()), @"the server does not answer in time");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn servers_that_know_less_are_enough() {
    // No fsync, and no hard links, as of one that is not OpenSSH's on a disk with FAT.
    let server = Sshd::with("-P fsync,hardlink,statvfs,limits");
    assert!(server.sftp("attic", Patience::Short).try_out().unwrap());
    let code = Code::random().unwrap();
    let store = server.sftp("attic", Patience::Long);
    back_up(Arc::new(store), &code, BEGIN, b"x").unwrap();
    let store = Arc::new(server.sftp("attic", Patience::Long));
    Repository::open(store, &code).unwrap().check().unwrap();
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half() {
    let server = Sshd::start();
    let store = server.sftp("attic", Patience::Short);
    let pieces = [Bytes::from(noise(1, 100_000))];
    let name = Name::of(&pieces);
    store
        .write(Kind::Index, Name([1; 32]), &["x".into()])
        .unwrap();
    let unfinished = server
        .home()
        .join(format!("attic/index/.unfinished-{name}"));
    // What is written there does not go onto any disk (full(4)).
    std::os::unix::fs::symlink("/dev/full", &unfinished).unwrap();
    let error = store.write(Kind::Index, name, &pieces).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    insta::assert_snapshot!(error, @"the server does not write on: its disk, or what this account may take of it, seems to be full: the server did not do it (Failure)");
    assert_eq!(store.list(Kind::Index).unwrap(), [(Name([1; 32]), 1)]);
    assert!(!unfinished.is_symlink());
    // With room again, on the same connection.
    store.write(Kind::Index, name, &pieces).unwrap();
    assert_eq!(store.list(Kind::Index).unwrap().len(), 2);
}

#[test]
fn a_backup_is_proven_and_restored_and_restic_agrees() {
    let server = Sshd::start();
    let code = Code::random().unwrap();
    let store = Arc::new(server.sftp("attic", Patience::Long));
    let mut file = noise(1, 12_000_000);
    let (one, _) = back_up(store.clone(), &code, BEGIN, &file).unwrap();
    file[5_000_000..5_004_096].copy_from_slice(&noise(2, 4096));
    let (two, contents) = back_up(store.clone(), &code, BEGIN + 86_400, &file).unwrap();
    assert!(two.added < 1_000_000, "{two:?}");
    let open = || {
        let store = Arc::new(Ahead::new(store.clone()));
        Repository::open(store, &code).unwrap()
    };
    let listed = open().list().unwrap();
    assert_eq!(listed, [one.clone(), two.clone()]);
    open().check().unwrap();
    let (proven, found, _) = open().prove(None, |_, _| {}).unwrap();
    assert_eq!((&proven, &found), (&two, &contents));
    assert_eq!(open().prove(Some(&one.id), |_, _| {}).unwrap().0, one);
    let into = tempfile::tempdir().unwrap();
    open().restore(None, into.path(), |_, _| {}).unwrap();
    let back = fs::read(into.path().join("data/services/mail/mail.sqlite3")).unwrap();
    assert!(back == file);

    let (repository, restored) = (server.home().join("attic"), tempfile::tempdir().unwrap());
    let to = restored.path().to_str().unwrap();
    for arguments in [
        &["check", "--read-data"][..],
        &["restore", "latest", "--target", to],
    ] {
        let out = Command::new("restic")
            .args(["--no-cache", "--repo"])
            .arg(&repository)
            .args(arguments)
            .env("RESTIC_PASSWORD", code.as_str())
            .output()
            .expect("restic is installed (scripts/setup test)");
        assert!(out.status.success(), "restic {arguments:?}: {out:?}");
    }
    compare(&contents, &restored.path().join("data")).unwrap();

    // What is no longer needed goes, if the account may remove it.
    back_up(store.clone(), &code, BEGIN + 86_400 + 3600, b"x").unwrap();
    assert_eq!(Repository::forget(store.clone(), &code, 0).unwrap(), 1);
    open().check().unwrap();
    // A pack that somebody has changed.
    let mut packs = store.list(Kind::Pack).unwrap();
    packs.sort_by_key(|(_, size)| *size);
    let digits = packs.pop().unwrap().0.to_string();
    let path = repository.join("data").join(&digits[..2]).join(&digits);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(open().check().is_err());
}

#[test]
fn a_server_that_goes_away_in_the_middle_costs_nothing_but_time() {
    let server = Sshd::start();
    let wire = Wire::to(server.port);
    // Each in a repository of its own: the same goes over the wire up to the cut.
    let at = |folder: &str| {
        let mut target = server.target(folder);
        target.port = wire.port;
        Arc::new(Sftp::new(&target, server.login(), Patience::Long).unwrap())
    };
    let (code, file) = (Code::random().unwrap(), noise(1, 3_000_000));
    wire.cut_after(i64::MAX / 2);
    back_up(at("whole"), &code, BEGIN, &file).unwrap();
    let all = i64::MAX / 2 - wire.left();
    assert!((3_000_000..4_000_000).contains(&all), "{all}");

    let mut sent = Vec::new();
    // Long before the end, and in the last of it: the index or the snapshot.
    for (folder, cut) in [("half", all / 2), ("nearly", all - 3_000)] {
        wire.cut_after(cut);
        let error = back_up(at(folder), &code, BEGIN, &file).unwrap_err();
        assert!(
            error.to_string().contains("the connection broke off"),
            "{error}"
        );
        wire.mend();
        let open = Repository::open(at(folder), &code);
        assert_eq!(open.unwrap().list().unwrap(), [], "after {cut}");
        let packs = at(folder).list(Kind::Pack).unwrap();
        sent.push(packs.iter().map(|(_, size)| u64::from(*size)).sum::<u64>());
    }
    let store = || at("nearly");
    // The next one is whole. What is there without an index it does not count on, and forgetting removes that.
    let (backup, _) = back_up(store(), &code, BEGIN + 60, &file).unwrap();
    let repository = Repository::open(store(), &code).unwrap();
    repository.check().unwrap();
    repository.prove(None, |_, _| {}).unwrap();
    println!(
        "there after each cut: {sent:?}; the next one added {}",
        backup.added
    );
}

#[test]
fn a_connection_that_breaks_is_made_anew() {
    let mut server = Sshd::start();
    let store = server.sftp("attic", Patience::Long);
    let pieces = [Bytes::from(noise(1, 200_000))];
    store
        .write(Kind::Index, Name::of(&pieces), &pieces)
        .unwrap();
    // The server's machine restarts. Its processes for a connection end with that.
    let wire = Wire::to(server.port);
    let mut target = server.target("attic");
    target.port = wire.port;
    let through = Sftp::new(&target, server.login(), Patience::Long).unwrap();
    assert_eq!(through.list(Kind::Index).unwrap().len(), 1);
    wire.cut_after(1000);
    let mended = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        wire.mend();
        wire
    });
    let more = [Bytes::from(noise(2, 200_000))];
    through.write(Kind::Index, Name::of(&more), &more).unwrap();
    let _wire = mended.join().unwrap();
    assert_eq!(through.list(Kind::Index).unwrap().len(), 2);
    // From then on somebody else answers: never again.
    server.change_host_key();
    let fresh = Sftp::new(&target, server.login(), Patience::Long).unwrap();
    let error = fresh.list(Kind::Index).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("this is not the server that was confirmed"),
        "{error}"
    );
}

#[test]
fn a_beginning_that_was_cut_short_is_no_obstacle() {
    let server = Sshd::start();
    let code = Code::random().unwrap();
    let sftp = |folder: &str| Arc::new(server.sftp(folder, Patience::Long));
    // A key without a config: another beginning's, with the same code.
    back_up(sftp("other"), &code, BEGIN, b"x").unwrap();
    let (stale, _) = sftp("other").list(Kind::Key).unwrap()[0];
    let key = sftp("other").read(Kind::Key, stale, None).unwrap();
    sftp("one").write(Kind::Key, stale, &[key]).unwrap();
    back_up(sftp("one"), &code, BEGIN, b"y").unwrap();
    assert_eq!(sftp("one").list(Kind::Key).unwrap().len(), 1);
    Repository::open(sftp("one"), &code)
        .unwrap()
        .check()
        .unwrap();
}

#[test]
fn a_password_opens_however_it_is_asked_for() {
    let login = |text: &str| Login::Password(Secret::password(text).unwrap());
    let tried = |asks: Asks, password: &str| {
        let server = Asking::start(asks);
        let store = Sftp::new(&server.target("attic"), login(password), Patience::Short).unwrap();
        let removes = store.try_out().map_err(|error| error.to_string())?;
        assert!(removes && server.home().join("attic").is_dir());
        Ok::<_, String>(())
    };
    for asks in [Asks::Plainly, Asks::Question] {
        assert_eq!(tried(asks, PASSWORD), Ok(()));
        let no = tried(asks, "open sesame").unwrap_err();
        assert_eq!(no, "the server does not take the password");
    }
    // What a box cannot answer by itself at night.
    insta::assert_snapshot!(tried(Asks::Two, PASSWORD).unwrap_err(), @"the server asks for more than a password");
    insta::assert_snapshot!(tried(Asks::More, PASSWORD).unwrap_err(), @"the server wants more than one proof of who signs in");
    insta::assert_snapshot!(tried(Asks::NoSftp, PASSWORD).unwrap_err(), @"the server does not offer SFTP to this account");
    // A key where only passwords are taken.
    let server = Asking::start(Asks::Plainly);
    let key = Login::Key(Key::random().unwrap());
    let store = Sftp::new(&server.target("attic"), key, Patience::Short).unwrap();
    let no = store.try_out().unwrap_err().to_string();
    assert!(no.starts_with("the server does not take the key"), "{no}");
}
