//! Backups of made-up services in real repositories.

mod made;

use bytes::Bytes;
use made::{noise, stream};
use roost_backup_repository::code::Code;
use roost_backup_repository::contents::{Contents, Service};
use roost_backup_repository::folder::Folder;
use roost_backup_repository::repository::{About, Backup, Error, Repository, compare};
use roost_backup_repository::source::Stream;
use roost_backup_repository::store::{Kind, Name, Store};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Files of services by their paths below `data`.
type Files = BTreeMap<String, Vec<u8>>;

fn the_box() -> Files {
    [
        ("services/mail/mail.sqlite3", noise(1, 3_000_000)),
        ("services/mail/keys/dkim.pem", noise(2, 1700)),
        ("services/dns/zone", b"example.org.".to_vec()),
        ("services/dns/empty", Vec::new()),
        ("services/dns/keys/ksk", noise(3, 100)),
        ("settings/chosen.json", b"{}".to_vec()),
    ]
    .into_iter()
    .map(|(path, bytes)| (path.to_owned(), bytes))
    .collect()
}

/// What the service with this folder sends.
fn sent(files: &Files, folder: &str) -> Vec<u8> {
    made::sent(files.iter().filter_map(|(path, bytes)| {
        let path = path.strip_prefix(&format!("{folder}/"))?;
        Some((path, 0o600, bytes.clone()))
    }))
}

fn streams(files: &Files) -> Vec<Stream> {
    // `void` keeps nothing.
    [
        ("settings", 0),
        ("services/mail", 800),
        ("services/void", 1),
        ("services/dns", 850),
    ]
    .map(|(folder, user)| stream(folder, user, sent(files, folder)))
    .into()
}

/// What is known of a box's backup, an hour after the one before.
fn about() -> About {
    static HOUR: AtomicU64 = AtomicU64::new(0);
    About {
        name: "attic".into(),
        version: "0.1.0+7".into(),
        made_s: 1_700_000_000 + 3600 * HOUR.fetch_add(1, Ordering::SeqCst),
        services: vec![Service {
            name: "mail".into(),
            data_format: 1,
        }],
    }
}

fn back_up(store: Arc<dyn Store>, code: &Code, files: &Files) -> Result<(Backup, Contents), Error> {
    Repository::open_or_begin(store, code)?.back_up(about(), streams(files), |_, _| {})
}

fn restored(store: &Arc<dyn Store>, code: &Code, id: &str) -> Files {
    let scratch = tempfile::tempdir().unwrap();
    let (backup, contents) = Repository::open(store.clone(), code)
        .unwrap()
        .restore(Some(id), scratch.path(), |_, _| {})
        .unwrap();
    assert_eq!(backup.id, id);
    contents
        .files
        .iter()
        .map(|file| {
            let path = scratch.path().join("data").join(&file.path);
            (file.path.clone(), std::fs::read(path).unwrap())
        })
        .collect()
}

fn folder(path: &Path) -> Arc<dyn Store> {
    Arc::new(Folder::new(path))
}

fn bytes_in(path: &Path) -> u64 {
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => bytes_in(&entry.path()),
                false => entry.metadata().unwrap().len(),
            }
        })
        .sum()
}

#[test]
fn what_went_in_comes_out_and_only_changes_are_added() {
    let dir = tempfile::tempdir().unwrap();
    let (store, code) = (folder(dir.path()), Code::random().unwrap());
    assert!(matches!(
        Repository::open(store.clone(), &code),
        Err(Error::Nothing(_))
    ));
    let first = the_box();
    let (one, contents) = back_up(store.clone(), &code, &first).unwrap();
    assert_eq!((one.name.as_str(), one.files), ("attic", 7));
    assert_eq!(
        contents.bytes(),
        first.values().map(|bytes| bytes.len() as u64).sum::<u64>()
    );
    assert_eq!(
        contents
            .files
            .iter()
            .filter(|file| file.mode == 0o600)
            .count(),
        6
    );
    let before = bytes_in(dir.path());
    assert!(before > 3_000_000, "{before}");

    // A few pages of the store, and a new file.
    let mut second = first.clone();
    let mail = second.get_mut("services/mail/mail.sqlite3").unwrap();
    mail[1_000_000..1_004_096].copy_from_slice(&noise(9, 4096));
    mail.extend(noise(10, 4096));
    second.insert("services/mail/mail.sqlite3-wal".into(), noise(11, 8192));
    let (two, _) = back_up(store.clone(), &code, &second).unwrap();
    let grown = bytes_in(dir.path()) - before;
    assert!(grown < 1_200_000, "{grown} bytes for three pages");
    assert!(two.added > 0 && two.added < 1_200_000, "{two:?}");

    let list = Repository::open(store.clone(), &code)
        .unwrap()
        .list()
        .unwrap();
    assert_eq!(list, [one.clone(), two.clone()]);
    Repository::open(store.clone(), &code)
        .unwrap()
        .check()
        .unwrap();
    assert_eq!(restored(&store, &code, &one.id), first);
    assert_eq!(restored(&store, &code, &two.id), second);

    let other = Code::random().unwrap();
    assert!(matches!(
        Repository::open(store.clone(), &other),
        Err(Error::WrongCode(_))
    ));
    assert!(matches!(
        back_up(store.clone(), &other, &first),
        Err(Error::WrongCode(_))
    ));
    let scratch = tempfile::tempdir().unwrap();
    let unknown =
        Repository::open(store, &code)
            .unwrap()
            .restore(Some("no"), scratch.path(), |_, _| {});
    assert!(matches!(unknown, Err(Error::Unknown(_))));
}

#[test]
fn a_service_that_breaks_off_makes_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (store, code) = (folder(dir.path()), Code::random().unwrap());
    let files = the_box();
    let (one, _) = back_up(store.clone(), &code, &files).unwrap();
    let whole = sent(&files, "services/mail");
    let head = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in [head, head + 1, head + 1700, head + 100_000, whole.len() - 1] {
        let mut streams = streams(&files);
        streams.retain(|stream| stream.folder != "services/mail");
        streams.push(stream("services/mail", 800, whole[..end].to_vec()));
        let repository = Repository::open(store.clone(), &code).unwrap();
        let error = repository.back_up(about(), streams, |_, _| {}).unwrap_err();
        assert!(matches!(error, Error::NotWhole(_)), "cut at {end}: {error}");
        let list = Repository::open(store.clone(), &code)
            .unwrap()
            .list()
            .unwrap();
        assert_eq!(list, std::slice::from_ref(&one));
    }
    Repository::open(store.clone(), &code)
        .unwrap()
        .check()
        .unwrap();
    assert_eq!(restored(&store, &code, &one.id), files);
}

/// A disk whose power is cut before its n-th write.
struct Cut {
    folder: Folder,
    left: AtomicI64,
}

impl Store for Cut {
    fn place(&self) -> String {
        self.folder.place()
    }
    fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>> {
        self.folder.list(kind)
    }
    fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes> {
        self.folder.read(kind, name, part)
    }
    fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::Error::other("the power is gone"));
        }
        self.folder.write(kind, name, pieces)
    }
}

#[test]
fn wherever_a_backup_is_cut_the_earlier_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let code = Code::random().unwrap();
    let (first, mut second) = (the_box(), the_box());
    second.insert("services/mail/more".into(), noise(20, 20_000_000));
    let mut made: Vec<Backup> = Vec::new();
    // The first backup, into nothing, and then a second one beside it.
    for files in [&first, &second] {
        let mut writes = 0;
        loop {
            let store = Arc::new(Cut {
                folder: Folder::new(dir.path()),
                left: AtomicI64::new(writes),
            });
            let result = back_up(store, &code, files);
            let plain = folder(dir.path());
            let list = match Repository::open(plain.clone(), &code) {
                Ok(repository) => {
                    repository.check().unwrap();
                    repository.list().unwrap()
                }
                Err(Error::Nothing(_)) if made.is_empty() => Vec::new(),
                Err(error) => panic!("cut at write {writes}: {error}"),
            };
            if let Ok((backup, _)) = result {
                made.push(backup);
                assert_eq!(list, made);
                break;
            }
            assert_eq!(list, made, "cut at write {writes}");
            writes += 1;
        }
        assert!(writes >= 4, "key, config, pack, index, snapshot: {writes}");
    }
    let store = folder(dir.path());
    assert_eq!(restored(&store, &code, &made[0].id), first);
    assert_eq!(restored(&store, &code, &made[1].id), second);
}

#[test]
fn damage_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (store, code) = (folder(dir.path()), Code::random().unwrap());
    back_up(store.clone(), &code, &the_box()).unwrap();
    // One bit of a pack.
    let (name, size) = store
        .list(Kind::Pack)
        .unwrap()
        .into_iter()
        .max_by_key(|(_, size)| *size)
        .unwrap();
    let digits = name.to_string();
    let path = dir.path().join("data").join(&digits[..2]).join(&digits);
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), size as usize);
    bytes[size as usize / 2] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let repository = Repository::open(store.clone(), &code).unwrap();
    assert!(matches!(repository.check(), Err(Error::Differs(_))));
    let scratch = tempfile::tempdir().unwrap();
    assert!(repository.restore(None, scratch.path(), |_, _| {}).is_err());
    // A pack that is gone.
    std::fs::remove_file(&path).unwrap();
    let repository = Repository::open(store, &code).unwrap();
    assert!(matches!(repository.check(), Err(Error::Differs(_))));
}

#[test]
fn the_proof_fails_on_any_difference() {
    let dir = tempfile::tempdir().unwrap();
    let (store, code) = (folder(dir.path()), Code::random().unwrap());
    back_up(store.clone(), &code, &the_box()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let (_, contents) = Repository::open(store, &code)
        .unwrap()
        .restore(None, scratch.path(), |_, _| {})
        .unwrap();
    let data = scratch.path().join("data");
    compare(&contents, &data).unwrap();
    let told = |contents: &Contents| compare(contents, &data).unwrap_err().to_string();
    let zone = data.join("services/dns/zone");
    std::fs::write(&zone, "example.net.").unwrap();
    insta::assert_snapshot!(told(&contents), @"services/dns/zone is not what went in");
    std::fs::rename(&zone, data.join("services/dns/zoned")).unwrap();
    insta::assert_snapshot!(told(&contents), @"services/dns/zone did not come back");
    std::fs::remove_file(data.join("services/dns/zoned")).unwrap();
    insta::assert_snapshot!(told(&contents), @"5 files came back, and 6 went in");
}
