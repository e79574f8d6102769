//! A repository in a bucket, at a real S3 server; restic itself as the judge of its names.

mod made;
mod moto;

use bytes::Bytes;
use made::{BEGIN, back_up, noise};
use moto::Moto;
use roost_backup_repository::ahead::Ahead;
use roost_backup_repository::code::Code;
use roost_backup_repository::repository::{LEAVE_H, Repository, compare};
use roost_backup_repository::s3::{Patience, S3};
use roost_backup_repository::store::{Kind, Name, Store};
use roost_service::backup::Target;
use sha2::{Digest, Sha256};
use std::io;
use std::process::Command;
use std::sync::Arc;

const DAY: u64 = 86_400;
fn open(target: &Target, patience: Patience) -> S3 {
    let Target::S3(bucket) = target else {
        panic!("no bucket")
    };
    S3::new(bucket, &Moto::secret(), patience).unwrap()
}

fn s3(target: &Target) -> Arc<S3> {
    Arc::new(open(target, Patience::Long))
}

/// As somebody sees it who waits.
fn hasty(target: &Target) -> S3 {
    open(target, Patience::Short)
}

#[test]
fn files_come_back_and_stay_as_they_were_first_written() {
    let Some(moto) = Moto::start() else { return };
    let target = moto.target("s3://backups/a/b");
    let store = s3(&target);
    for kind in Kind::ALL {
        assert_eq!(store.list(kind).unwrap(), []);
        let pieces = [Bytes::from("hello "), Bytes::from(kind.folder())];
        let name = Name::of(&pieces);
        store.write(kind, name, &pieces).unwrap();
        // A bad box, or a second one: what is there is never overwritten.
        store.write(kind, name, &["other".into()]).unwrap();
        assert_eq!(store.list(kind).unwrap().len(), 1);
        assert_eq!(
            store.read(kind, name, None).unwrap(),
            [&pieces[0][..], &pieces[1]].concat()
        );
        assert_eq!(store.read(kind, name, Some((1, 3))).unwrap(), "ell");
        assert_eq!(store.read(kind, name, Some((1, 0))).unwrap(), "");
        for part in [(1, 300), (300, 1)] {
            let error = store.read(kind, name, Some(part)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
    let missing = store.read(Kind::Pack, Name([1; 32]), None).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    // More than a page of them, and what is none of ours between them.
    let mut names = store.list(Kind::Pack).unwrap();
    for number in 0..23_u8 {
        let pieces = [Bytes::from(vec![number; usize::from(number)])];
        store.write(Kind::Pack, Name::of(&pieces), &pieces).unwrap();
        names.push((Name::of(&pieces), number.into()));
    }
    let (first, _) = names[0];
    moto.put("backups/a/b/data/notes.txt", "x").unwrap();
    moto.put(&format!("backups/a/b/data/{first}"), "x").unwrap();
    moto.put("backups/a/b/configuration", "x").unwrap();
    let mut listed = store.list(Kind::Pack).unwrap();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, names);
    assert_eq!(store.list(Kind::Config).unwrap().len(), 1);
    // Removed for good, and as often as one likes.
    for _ in 0..2 {
        store.remove(Kind::Pack, first).unwrap();
        assert_eq!(store.list(Kind::Pack).unwrap().len(), names.len() - 1);
    }
    // Beside it, nothing was touched.
    assert_eq!(
        s3(&moto.target("s3://backups/a")).list(Kind::Pack).unwrap(),
        []
    );
}

#[test]
fn a_target_is_tried_before_it_is_trusted() {
    let Some(moto) = Moto::start() else { return };
    assert!(hasty(&moto.target("s3://backups/x")).try_out().unwrap());
    let told = |target: &Target| hasty(target).try_out().unwrap_err().to_string();
    insta::assert_snapshot!(told(&moto.target("s3://nobody")), @"its files cannot be listed: there is no such bucket (404 NoSuchBucket)");
    // A key that may not remove anything is enough.
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
        "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::backups/*"}]}"#;
    moto.put("backups?policy", policy).unwrap();
    assert!(!hasty(&moto.target("s3://backups/x")).try_out().unwrap());
    let policy = policy.replace("DeleteObject", "PutObject");
    moto.put("backups?policy", &policy).unwrap();
    insta::assert_snapshot!(told(&moto.target("s3://backups/x")), @"a file cannot be written: the access key may not do that (403)");
    let gone = moto.target("s3://backups/x");
    drop(moto);
    insta::assert_snapshot!(told(&gone), @"its files cannot be listed: the server takes no connection");
}

#[test]
fn a_backup_is_proven_and_restored_and_restic_agrees() {
    let Some(moto) = Moto::start() else { return };
    let target = moto.target("s3://backups/attic");
    let (store, code) = (s3(&target), Code::random().unwrap());
    let mut file = noise(1, 12_000_000);
    let (one, _) = back_up(store.clone(), &code, BEGIN, &file).unwrap();
    file[5_000_000..5_004_096].copy_from_slice(&noise(2, 4096));
    let (two, contents) = back_up(store.clone(), &code, BEGIN + DAY, &file).unwrap();
    assert!(two.added < 1_000_000, "{two:?}");
    let open = || {
        let store = Arc::new(Ahead::new(store.clone()));
        Repository::open(store, &code).unwrap()
    };
    let mut last = (0, 0);
    let (proven, found, manifest) = open().prove(None, |at, of| last = (at, of)).unwrap();
    assert_eq!((&proven, &found), (&two, &contents));
    assert_eq!(last, (contents.bytes(), contents.bytes()));
    let noted = hex::encode(Sha256::digest(contents.to_json()));
    assert_eq!(manifest, noted, "what the box can note when it makes one");
    assert_eq!(open().prove(Some(&one.id), |_, _| {}).unwrap().0, one);
    let into = tempfile::tempdir().unwrap();
    open().restore(None, into.path(), |_, _| {}).unwrap();
    let back = std::fs::read(into.path().join("data/services/mail/mail.sqlite3")).unwrap();
    assert!(back == file);

    let restored = tempfile::tempdir().unwrap();
    for arguments in [
        &["check", "--read-data"][..],
        &[
            "restore",
            "latest",
            "--target",
            restored.path().to_str().unwrap(),
        ],
    ] {
        let out = Command::new("restic")
            .args(["--no-cache", "--repo"])
            .arg(format!("s3:{}/backups/attic", moto.url))
            .args(arguments)
            .env("RESTIC_PASSWORD", code.as_str())
            .env("AWS_ACCESS_KEY_ID", "AKIA1")
            .env("AWS_SECRET_ACCESS_KEY", Moto::secret().reveal())
            .output()
            .expect("restic is installed (scripts/setup test)");
        assert!(out.status.success(), "restic {arguments:?}: {out:?}");
    }
    compare(&contents, &restored.path().join("data")).unwrap();

    // One pack is lost, then another is somebody else's bytes.
    let mut packs = store.list(Kind::Pack).unwrap();
    packs.sort_by_key(|(_, size)| *size);
    let (largest, _) = packs.pop().unwrap();
    let kept = store.read(Kind::Pack, largest, None).unwrap();
    store.remove(Kind::Pack, largest).unwrap();
    assert!(open().prove(None, |_, _| {}).is_err());
    let mut bad = kept.to_vec();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    store.write(Kind::Pack, largest, &[bad.into()]).unwrap();
    assert!(open().prove(None, |_, _| {}).is_err());
    store.remove(Kind::Pack, largest).unwrap();
    store.write(Kind::Pack, largest, &[kept]).unwrap();
    open().prove(None, |_, _| {}).unwrap();
}

#[test]
fn old_backups_are_forgotten_and_what_they_alone_needed_goes() {
    let Some(moto) = Moto::start() else { return };
    let target = moto.target("s3://backups/attic");
    let (store, code) = (s3(&target), Code::random().unwrap());
    // All on one day, of which the newest stays, and the oldest of all while there are few.
    for hour in 0..4 {
        let file = noise(hour, 60_000);
        back_up(store.clone(), &code, BEGIN + hour * 3600, &file).unwrap();
    }
    let bytes = || -> u64 {
        let packs = store.list(Kind::Pack).unwrap();
        packs.iter().map(|(_, size)| u64::from(*size)).sum()
    };
    let before = bytes();
    assert_eq!(Repository::forget(store.clone(), &code, 0).unwrap(), 2);
    // Marked at first, then removed; what is left is whole.
    assert_eq!(Repository::forget(store.clone(), &code, 0).unwrap(), 0);
    assert!(bytes() < before * 3 / 4, "{} of {before}", bytes());
    let open = || Repository::open(store.clone(), &code).unwrap();
    open().check().unwrap();
    open().prove(None, |_, _| {}).unwrap();
    // What has just been written is left alone, as in everyday life.
    back_up(store.clone(), &code, BEGIN + 4 * 3600, &noise(9, 60_000)).unwrap();
    let kept = bytes();
    assert_eq!(
        Repository::forget(store.clone(), &code, LEAVE_H).unwrap(),
        1
    );
    assert!(bytes() >= kept, "{} of {kept}", bytes());
    // A key that may not remove says so, and nothing is half done.
    back_up(store.clone(), &code, BEGIN + 5 * 3600, b"x").unwrap();
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
        "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::backups/*"}]}"#;
    moto.put("backups?policy", policy).unwrap();
    let error = Repository::forget(store.clone(), &code, 0).unwrap_err();
    insta::assert_snapshot!(error, @"cannot remove a snapshot: the access key may not do that (403)");
    open().check().unwrap();
}

#[test]
fn a_beginning_that_was_cut_short_is_no_obstacle() {
    let Some(moto) = Moto::start() else { return };
    let (one, other) = (
        moto.target("s3://backups/one"),
        moto.target("s3://backups/other"),
    );
    let code = Code::random().unwrap();
    // A key without a config: another beginning's, with the same code.
    back_up(s3(&other), &code, BEGIN, b"x").unwrap();
    let (stale, _) = s3(&other).list(Kind::Key).unwrap()[0];
    let key = s3(&other).read(Kind::Key, stale, None).unwrap();
    s3(&one).write(Kind::Key, stale, &[key]).unwrap();
    back_up(s3(&one), &code, BEGIN, b"y").unwrap();
    assert_eq!(s3(&one).list(Kind::Key).unwrap().len(), 1);
    Repository::open(s3(&one), &code).unwrap().check().unwrap();
}
