//! What the store promises, without a power cut: `tests/power_cut.rs` has those.

mod model;

use super::*;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tempfile::TempDir;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 7));

fn open(folder: &Path) -> Store {
    Store::open(&DataFolder(folder.into())).unwrap()
}

fn refusal(folder: &Path) -> OpenError {
    Store::open(&DataFolder(folder.into())).unwrap_err()
}

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    (folder, store)
}

fn change<T>(store: &Store, change: impl FnOnce(&mut Change<'_>) -> Result<T, StoreError>) -> T {
    store.change(change).unwrap()
}

fn view<T>(store: &Store, look: impl FnOnce(&View<'_>) -> Result<T, StoreError>) -> T {
    store.view(look).unwrap()
}

fn session(at: u64) -> Session {
    Session {
        created: at,
        last_seen: at,
        user_agent: "Firefox".into(),
        address: HOME,
    }
}

fn laptop(name: &str) -> Laptop {
    Laptop {
        name: name.into(),
        paired_at: 1,
        last_seen: None,
    }
}

fn entry(at: u64) -> Entry {
    Entry {
        at,
        who: "owner".into(),
        address: Some(HOME),
        what: "logged in".into(),
    }
}

#[test]
fn a_new_box_has_nothing_and_its_file_is_for_the_portal_alone() {
    let (folder, store) = store();
    assert_eq!(view(&store, |v| v.owner()), None);
    assert_eq!(view(&store, |v| v.pairing()), Pairing::default());
    assert_eq!(view(&store, |v| v.settings()), Settings::default());
    assert_eq!(view(&store, |v| v.audit(10)), []);
    drop(store);

    let path = folder.path().join(FILE);
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(folder.path()));
    assert_eq!(mode(), 0o600);
    assert!(!folder.path().join(NEW).exists());
}

#[test]
fn pairing_is_all_or_nothing_and_once() {
    let (folder, store) = store();
    let key = LaptopKey([1; 32]);
    let pair = |at| {
        store.change(|c| {
            c.redeem_code(at)?;
            c.create_owner("$argon2id$".into())?;
            c.add_laptop(&key, &laptop("desk"))
        })
    };
    change(&store, |c| c.change_pairing(|pairing| pairing.tries = 3));
    pair(7).unwrap();
    assert!(matches!(pair(8), Err(StoreError::CodeUsed)));
    let pairing = view(&store, |v| v.pairing());
    assert_eq!((pairing.used_at, pairing.tries), (Some(7), 0));

    // A new code that gives what is there already is not used up.
    change(&store, |c| {
        c.change_pairing(|pairing| pairing.used_at = None)
    });
    assert!(matches!(pair(9), Err(StoreError::Owned)));
    assert_eq!(view(&store, |v| v.pairing()).used_at, None);
    drop(store);
    assert_eq!(
        view(&open(folder.path()), |v| v.laptops()),
        [(key, laptop("desk"))]
    );
}

#[test]
fn a_one_time_password_is_taken_once() {
    let (_folder, store) = store();
    let step = |step| store.change(|c| c.use_totp_step(step));
    assert!(matches!(step(5), Err(StoreError::NoOwner)));
    change(&store, |c| c.create_owner("$argon2id$".into()));
    assert!(!step(5).unwrap());
    change(&store, |c| c.set_totp(Some(vec![1; 20])));
    assert_eq!(
        [5, 5, 4, 6].map(|n| step(n).unwrap()),
        [true, false, false, true]
    );
    change(&store, |c| c.set_password("$argon2id$2".into()));
    assert!(!step(6).unwrap());
    let shown = format!("{:?}", view(&store, |v| v.owner()));
    assert_eq!(
        shown,
        "Some(Owner { totp: Some(Totp { last_step: Some(6), .. }), .. })"
    );
}

#[test]
fn sessions_are_bounded_and_expire() {
    let (_folder, store) = store();
    let token = |n: usize| TokenHash([n as u8; 32]);
    for n in 0..=MAX_SESSIONS {
        let at = 1000 + n as u64;
        change(&store, |c| c.begin_session(&token(n), session(at)));
    }
    assert_eq!(view(&store, |v| v.sessions()).len(), MAX_SESSIONS);
    assert_eq!(view(&store, |v| v.session(&token(0))), None);
    // The same again is no further one.
    change(&store, |c| c.begin_session(&token(5), session(1005)));
    assert!(view(&store, |v| v.session(&token(1))).is_some());

    let seen = |n, at| change(&store, |c| c.saw_session(&token(n), at));
    let last = |n| view(&store, |v| v.session(&token(n))).unwrap().last_seen;
    assert!(!seen(0, 2000));
    assert!(seen(1, 1001 + SEEN_EVERY_S - 1));
    assert_eq!(last(1), 1001);
    assert!(seen(1, 2000) && seen(1, 500));
    assert_eq!(last(1), 2000);

    let expire = |at, idle, age| change(&store, |c| c.expire_sessions(at, idle, age));
    assert_eq!(expire(2000, 1000, 10_000), 0);
    assert_eq!(expire(2100, 1000, 10_000), MAX_SESSIONS - 1);
    assert_eq!(expire(2100, 1000, 1000), 1);
    // The clock was in the future when this one began.
    change(&store, |c| c.begin_session(&token(1), session(9_000_000)));
    assert_eq!(expire(9_000_000 - CLOCK_SLACK_S, 10, 10), 0);
    assert_eq!(expire(2100, 10, 10), 1);

    change(&store, |c| c.begin_session(&token(1), session(1)));
    change(&store, |c| c.begin_session(&token(2), session(1)));
    assert_eq!(change(&store, |c| c.end_other_sessions(Some(&token(2)))), 1);
    assert_eq!(view(&store, |v| v.sessions())[0].0, token(2));
}

#[test]
fn what_is_too_much_is_refused_or_cut() {
    let (_folder, store) = store();
    let long = "ä".repeat(MAX_TEXT);
    let key = |n: usize| LaptopKey([n as u8; 32]);
    let refused = |result: Result<(), StoreError>| result.unwrap_err().to_string();
    let add = |n, name: &str| store.change(|c| c.add_laptop(&key(n), &laptop(name)));
    (0..MAX_LAPTOPS).for_each(|n| add(n, "x").unwrap());
    let list = [
        refused(add(1, "x")),
        refused(add(MAX_LAPTOPS, "x")),
        refused(add(1, &long)),
        refused(store.change(|c| c.create_owner("$".repeat(MAX_PASSWORD_HASH + 1)))),
        refused(store.change(|c| {
            let domain = Some("x".repeat(MAX_SETTINGS));
            c.set_settings(&Settings {
                domain,
                ..Settings::default()
            })
        })),
    ];
    insta::assert_snapshot!(list.join("\n"), @r"
    this laptop is paired already
    64 laptops are the most that can be kept
    the laptop's name: more than 64 bytes
    the password's hash: more than 512 bytes
    the settings: more than 65536 bytes
    ");
    change(&store, |c| {
        c.audit_entry(Entry {
            what: format!("x{long}"),
            ..entry(1)
        })
    });
    assert_eq!(view(&store, |v| v.audit(1))[0].what.len(), MAX_TEXT - 1);
}

#[test]
fn the_audit_log_is_a_ring_and_the_file_stays_small() {
    let (folder, store) = store();
    // Many in one change: a sync each would take minutes on a slow disk.
    for round in 0..30 {
        change(&store, |c| {
            (0..100).try_for_each(|n| {
                c.audit_entry(Entry {
                    who: "w".repeat(MAX_TEXT),
                    what: "x".repeat(MAX_TEXT),
                    ..entry(round * 100 + n)
                })
            })
        });
    }
    for n in 0..100 {
        change(&store, |c| c.audit_entry(entry(3000 + n)));
    }
    let kept = view(&store, |v| v.audit(usize::MAX));
    assert_eq!(kept.len() as u64, MAX_AUDIT);
    let times: Vec<u64> = kept.iter().map(|entry| entry.at).collect();
    assert!(times.iter().rev().copied().eq(2100..3100));
    assert_eq!(view(&store, |v| v.audit(2)), kept[..2]);
    let size = fs::metadata(folder.path().join(FILE)).unwrap().len();
    println!("{size} bytes with a full audit log");
    assert!(size <= 4 << 20, "{size}");
}

#[test]
fn what_changes_nothing_is_not_written() {
    let (folder, store) = store();
    let bytes = || fs::read(folder.path().join(FILE)).unwrap();
    let before = bytes();
    change(&store, |c| c.change_pairing(|_| ()));
    assert!(!change(&store, |c| c.end_session(&TokenHash([0; 32]))));
    assert_eq!(change(&store, |c| c.expire_sessions(1, 1, 1)), 0);
    assert!(bytes() == before);
}

#[test]
fn a_panic_within_a_change_undoes_it() {
    let (_folder, store) = store();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        change(&store, |c| -> Result<(), _> {
            c.create_owner("$argon2id$".into())?;
            panic!("in the middle");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(view(&store, |v| v.owner()), None);
    change(&store, |c| c.create_owner("$argon2id$".into()));
}

#[test]
fn a_store_is_opened_once() {
    let (folder, _store) = store();
    assert!(matches!(refusal(folder.path()), OpenError::InUse));
}

#[test]
fn a_store_that_cannot_be_read_is_left_as_it_is() {
    let (folder, store) = store();
    change(&store, |c| c.create_owner("$argon2id$".into()));
    drop(store);
    let path = folder.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    for bad in [&b""[..], b"not a store", &whole[..100], &whole[..5000]] {
        fs::write(&path, bad).unwrap();
        let error = refusal(folder.path());
        assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
        assert!(fs::read(&path).unwrap() == bad);
    }
}

/// A bit that turns over is found, or stands where nothing is kept.
#[test]
fn a_damaged_page_is_never_taken_for_whole() {
    let (folder, store) = store();
    change(&store, |c| c.create_owner("$argon2id$".into()));
    change(&store, |c| c.audit_entry(entry(1)));
    drop(store);
    let path = folder.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    let mut found = 0;
    for at in (0..whole.len().min(200_000)).step_by(397) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        match Store::open(&DataFolder(folder.path().into())) {
            Err(OpenError::Damaged(_)) => {
                found += 1;
                assert!(fs::read(&path).unwrap() == bytes, "byte {at}");
            }
            Err(error) => panic!("byte {at}: {error:?}"),
            Ok(store) => {
                let owner = view(&store, |v| v.owner());
                assert!(owner.is_some(), "byte {at}");
                assert_eq!(view(&store, |v| v.audit(9)), [entry(1)], "byte {at}");
            }
        }
    }
    println!("{found} of the turned bits refused");
    assert!(found > 0);
}

#[test]
fn what_the_owner_is_told_when_it_does_not_open() {
    let list = [
        OpenError::Damaged("DB corrupted".into()),
        OpenError::Newer { found: 2, known: 1 },
        OpenError::InUse,
        OpenError::Io(io::ErrorKind::StorageFull.into()),
    ];
    let list = list.map(|error| format!("{error}\n  {}\n", error.hint()));
    insta::assert_snapshot!(list.concat(), @r"
    the portal's store (portal.redb) is damaged: DB corrupted
      Mail goes on working. Who owns the box, its laptops and what was chosen in the browser cannot be read. Only a factory reset (flash the card again) begins anew, and it deletes the mail too: copy that first, with any mail program.
    the portal's store (portal.redb) has schema 2, but this version reads up to 1
      The box went back to an older version. Install the newer one again with `roost update`.
    the portal's store (portal.redb) is in use by another program
      Restart the box.
    cannot open the portal's store (portal.redb)
      The card may be full or worn out; `roost status` shows its free space. Restart the box once it has some.
    ");
}
