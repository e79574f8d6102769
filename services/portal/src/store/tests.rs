//! What the store promises, without a power cut: `tests/power_cut.rs` has those.

mod model;

use super::*;
use crate::audit::{Actor, Entry, Event, MailChange};
use crate::authenticator::Device;
use crate::code::Code;
use crate::decided::Decided;
use crate::owner::{Authenticated, Owner, SignedInBy, check_password};
use crate::pairing::Refusal;
use crate::passkey::{
    Adding, Claim, MAX_PASSKEYS, Name, NotAdded, Passkey, PasskeyId, Signing, Site,
};
use crate::password::{NewPassword, PasswordHash};
use crate::session::{Place, SessionId};
use crate::throttle::Factor;
use crate::time::{Now, PoweredOn};
use crate::token::SecretToken;
use crate::visitor::Browser;
use serde_json::{Value, json};
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

fn at(seconds: u64) -> Now {
    Now {
        powered_on: PoweredOn(seconds),
        wall: None,
    }
}

fn token(n: u8) -> SecretToken {
    SecretToken::from_random([n; 32])
}

fn by() -> Authenticated {
    Authenticated::new(SignedInBy::Password)
}

fn place() -> Place {
    Place {
        from: HOME,
        browser: Browser::recognise("(X11; Linux) Firefox/140.0"),
    }
}

/// A hash like another: computing one takes its time.
fn hash(salt: u32) -> PasswordHash {
    let text = format!(
        "$argon2id$v=19$m=7168,t=5,p=1${salt:04}ZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
    );
    PasswordHash::try_from(text).unwrap()
}

fn settings(domain: &str) -> Settings {
    Settings {
        domain: Some(domain.into()),
        ..Settings::default()
    }
}

fn laptop(name: &str) -> Laptop {
    Laptop {
        name: name.into(),
        paired: at(1),
        seen: None,
    }
}

fn site() -> Site {
    Site::of("roost.local").unwrap()
}

fn passkey(device: &mut Device) -> (PasskeyId, Passkey) {
    let name = Name::new("phone").unwrap();
    let begun = Adding::begin(by(), name, site(), "roost", &[], [7; 16], PoweredOn(1));
    let (adding, options) = begun.unwrap();
    let answer = device.create(&options, "https://roost.local");
    adding.finish(&answer, at(1)).unwrap()
}

fn entry(seconds: u64) -> Entry {
    Entry {
        at: at(seconds),
        who: Actor::Owner,
        from: Some(HOME),
        what: Event::SignedOut,
    }
}

fn begin(store: &Store) -> bool {
    let code = Code::parse("K7Q2-M9XP").unwrap();
    change(store, |c| c.begin_pairing(code, PoweredOn(0)))
}

/// Enters a code, and shows the grant if it was the right one.
fn enter(store: &Store, typed: &str) -> Result<SecretToken, Refusal> {
    change(store, |c| {
        c.decide_pairing(|pairing| pairing.enter(typed, HOME, [9; 32], PoweredOn(1)))
    })
    .inspect(|grant| {
        change(store, |c| {
            c.decide_pairing(|p| p.claim(grant, PoweredOn(2)))
        })
        .unwrap();
    })
}

fn finish(
    store: &Store,
    grant: &SecretToken,
    password: PasswordHash,
    settings: &Settings,
) -> Result<Result<Authenticated, Refusal>, StoreError> {
    store.change(|c| {
        let answer = c.finish_pairing(Some(grant), password, settings, at(3))?;
        c.audit_entry(&Entry {
            what: Event::Paired,
            ..entry(3)
        })?;
        Ok(answer)
    })
}

/// A box with an owner.
fn paired(store: &Store, password: PasswordHash) {
    assert!(begin(store));
    let grant = enter(store, "K7Q2-M9XP").unwrap();
    finish(store, &grant, password, &settings("example.org"))
        .unwrap()
        .unwrap();
}

fn owner(store: &Store) -> Option<Owner> {
    view(store, |v| v.owner())
}

/// All that a store holds, to be compared.
fn all(store: &Store) -> Value {
    view(store, |v| {
        let laptops = v.laptops()?.into_iter();
        let passkeys = v.passkeys()?.into_iter();
        Ok(json!({
            "owner": v.owner()?,
            "pairing": v.pairing()?,
            "sessions": v.sessions()?,
            "throttle": v.throttle()?,
            "powered_on": v.powered_on()?,
            "settings": v.settings()?,
            "laptops": laptops.map(|(key, laptop)| (key.0, laptop)).collect::<Vec<_>>(),
            "passkeys": passkeys.map(|(id, passkey)| (id.0, passkey)).collect::<Vec<_>>(),
            "audit": v.audit(usize::MAX)?,
        }))
    })
}

#[test]
fn a_new_box_has_nothing_and_its_file_is_for_the_portal_alone() {
    let (folder, store) = store();
    assert!(owner(&store).is_none());
    assert!(view(&store, |v| v.pairing()).is_none());
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
fn pairing_owner_and_settings_change_together_and_once() {
    let (folder, store) = store();
    let decide = store.change(|c| c.decide_pairing(|p| p.claim(&token(9), PoweredOn(1))));
    assert!(matches!(decide, Err(StoreError::NotBegun)));
    assert!(begin(&store) && !begin(&store));
    let grant = enter(&store, "K7Q2-M9XP").unwrap();

    // Another browser finishes nothing.
    let refused = finish(&store, &token(8), hash(1), &settings("evil.example")).unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::Elsewhere);
    assert!(owner(&store).is_none());
    assert_eq!(view(&store, |v| v.settings()), Settings::default());

    // The last of the three does not fit: none of them is there, nor the line of the log.
    let before = all(&store);
    let long = settings(&"x".repeat(MAX_SETTINGS));
    let failed = finish(&store, &grant, hash(1), &long);
    assert!(matches!(failed, Err(StoreError::TooLong { .. })));
    assert_eq!(all(&store), before);

    let answer = finish(&store, &grant, hash(1), &settings("example.org")).unwrap();
    assert_eq!(answer.unwrap().by(), SignedInBy::Pairing);
    let refused = finish(&store, &grant, hash(2), &settings("evil.example")).unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::Finished);
    assert!(!begin(&store));

    let before = all(&store);
    drop(store);
    let store = open(folder.path());
    assert_eq!(all(&store), before);
    assert_eq!(before["settings"]["domain"], "example.org");
    assert_eq!(before["pairing"]["state"], "finished");
    let kept = serde_json::to_value(hash(1)).unwrap();
    assert_eq!(before["owner"]["password"], kept);
}

/// What a damaged card or a mistake in the code could make of it: an owner is never replaced.
#[test]
fn a_box_that_has_an_owner_is_never_paired_anew() {
    let (_folder, store) = store();
    paired(&store, hash(1));
    // The pairing alone goes back to its beginning.
    change(&store, |c| {
        c.decide_pairing(|_| {
            let code = Code::parse("K7Q2-M9XP").unwrap();
            Decided::new(crate::pairing::Pairing::begin(code, PoweredOn(0)), ())
        })
    });
    let grant = enter(&store, "K7Q2-M9XP").unwrap();
    let before = all(&store);
    let again = finish(&store, &grant, hash(2), &settings("evil.example"));
    assert!(matches!(again, Err(StoreError::Owned)));
    assert_eq!(all(&store), before);
}

#[test]
fn a_wrong_code_is_counted_when_it_is_answered() {
    let (folder, store) = store();
    begin(&store);
    for left in [4, 3] {
        let refused = enter(&store, "AAAA-AAAA").unwrap_err();
        assert_eq!(refused, Refusal::Wrong { left });
    }
    // What is no code is no try, and is not written.
    let before = fs::read(folder.path().join(FILE)).unwrap();
    assert!(matches!(enter(&store, "AAAA"), Err(Refusal::NotACode(_))));
    assert!(fs::read(folder.path().join(FILE)).unwrap() == before);
    drop(store);
    let store = open(folder.path());
    let refused = enter(&store, "AAAA-AAAA").unwrap_err();
    assert_eq!(refused, Refusal::Wrong { left: 2 });
}

#[test]
fn a_recovery_code_is_used_up_when_it_is_answered() {
    let (folder, store) = store();
    let password = NewPassword::choose("trout-lamp-river", &[]).unwrap();
    let none = store.change(|c| c.change_owner(|owner| owner.with_second(by(), None)));
    assert!(matches!(none, Err(StoreError::NoOwner)));
    paired(&store, password.hash([1; 16]));
    let second = json!({
        "secret": "00".repeat(20),
        "last": 0,
        // Of AAAAAAAA01.
        "recovery": [hex::encode(<sha2::Sha256 as sha2::Digest>::digest("AAAAAAAA01"))],
    });
    let second = serde_json::from_value(second).unwrap();
    change(&store, |c| {
        c.change_owner(|o| o.with_second(by(), Some(second)))
    });

    let sign_in = |store: &Store| {
        let owner = owner(store);
        let Ok(crate::owner::Next::Second(right)) =
            check_password(owner.as_ref(), "trout-lamp-river")
        else {
            panic!("the password is right, and there is a second factor");
        };
        change(store, |c| {
            c.decide_owner(|owner| owner.check_second(right, "aaaaa-aaa01", None))
        })
    };
    assert_eq!(sign_in(&store).unwrap().by(), SignedInBy::Recovery);
    drop(store);
    assert!(sign_in(&open(folder.path())).is_err());
}

#[test]
fn sessions_and_limits_outlive_a_restart() {
    let (folder, store) = store();
    let opened = change(&store, |c| {
        c.change_sessions(|s| s.open(by(), None, [1; 32], place(), at(10)))
    });
    for _ in 0..5 {
        let attempt = change(&store, |c| {
            c.change_throttle(|t| t.begin(t.who(None, HOME), Factor::Password, PoweredOn(20)))
        });
        assert!(attempt.is_ok());
    }
    change(&store, |c| c.save_powered_on(PoweredOn(20)));
    change(&store, |c| c.save_powered_on(PoweredOn(15)));
    drop(store);
    let store = open(folder.path());
    assert_eq!(view(&store, |v| v.powered_on()), PoweredOn(20));
    let sessions = view(&store, |v| v.sessions());
    assert_eq!(
        sessions.find(&opened, PoweredOn(30)).unwrap().id,
        SessionId(0)
    );
    let attempt = change(&store, |c| {
        c.change_throttle(|t| t.begin(t.who(None, HOME), Factor::Password, PoweredOn(21)))
    });
    assert!(attempt.is_err());
    assert!(change(&store, |c| c.change_sessions(|s| s.close(&opened))));
    let sessions = view(&store, |v| v.sessions());
    assert!(sessions.find(&opened, PoweredOn(30)).is_none());
}

#[test]
fn a_laptop_is_seen_now_and_then() {
    let (_folder, store) = store();
    let key = LaptopKey([1; 32]);
    let saw = |seconds| change(&store, |c| c.saw_laptop(&key, at(seconds)));
    assert!(!saw(10));
    change(&store, |c| c.add_laptop(&key, &laptop("desk")));
    let seen = || view(&store, |v| v.laptop(&key)).unwrap().seen;
    let every = SEEN_EVERY.as_secs();
    for (now, then) in [
        (10, 10),
        (9 + every, 10),
        (10 + every, 10 + every),
        (5, 10 + every),
    ] {
        assert!(saw(now));
        assert_eq!(seen(), Some(at(then)), "{now}");
    }
}

#[test]
fn a_counter_is_kept_when_the_passkey_is_taken() {
    let (folder, store) = store();
    let mut device = Device::new(1);
    let (id, added) = passkey(&mut device);
    assert!(change(&store, |c| c.add_passkey(&id, &added)).is_ok());
    let sign_in = |store: &Store, device: &mut Device| {
        let (signing, options) = Signing::begin(site(), PoweredOn(1)).unwrap();
        let claim = Claim::parse(&device.get(&options, "https://roost.local")).unwrap();
        assert_eq!(claim.id(), id);
        change(store, |c| {
            c.decide_passkey(&id, |passkey| signing.finish(&claim, passkey, at(2)))
        })
        .map(|answer| answer.is_ok())
    };
    device.counter = 1;
    assert_eq!(sign_in(&store, &mut device), Some(true));
    drop(store);
    let store = open(folder.path());
    assert_eq!(sign_in(&store, &mut device), Some(false), "the same again");
    device.counter = 2;
    assert_eq!(sign_in(&store, &mut device), Some(true));
    assert!(change(&store, |c| c.remove_passkey(by(), &id)));
    assert!(!change(&store, |c| c.remove_passkey(by(), &id)));
    device.counter = 3;
    assert_eq!(sign_in(&store, &mut device), None);
}

#[test]
fn a_passkey_is_added_once_and_not_one_too_many() {
    let (_folder, store) = store();
    let (_, one) = passkey(&mut Device::new(1));
    let add = |n: usize| change(&store, |c| c.add_passkey(&PasskeyId([n as u8; 32]), &one));
    assert_eq!(add(0), Ok(()));
    assert_eq!(add(0), Err(NotAdded::Twice));
    (1..MAX_PASSKEYS).for_each(|n| assert_eq!(add(n), Ok(())));
    assert_eq!(add(MAX_PASSKEYS), Err(NotAdded::TooMany));
    let mut long = one.clone();
    long.name = "x".repeat(MAX_PASSKEY);
    let long = store.change(|c| c.add_passkey(&PasskeyId([0; 32]), &long).map(|_| ()));
    assert!(matches!(long, Err(StoreError::TooLong { .. })));
}

#[test]
fn what_is_too_much_is_refused() {
    let (_folder, store) = store();
    let long = "ä".repeat(MAX_NAME);
    let key = |n: usize| LaptopKey([n as u8; 32]);
    let refused = |result: Result<(), StoreError>| result.unwrap_err().to_string();
    let add = |n, name: &str| store.change(|c| c.add_laptop(&key(n), &laptop(name)));
    (0..MAX_LAPTOPS).for_each(|n| add(n, "x").unwrap());
    let list = [
        refused(add(1, "x")),
        refused(add(MAX_LAPTOPS, "x")),
        refused(add(1, &long)),
        refused(store.change(|c| c.set_settings(&settings(&"x".repeat(MAX_SETTINGS))))),
    ];
    insta::assert_snapshot!(list.join("\n"), @r"
    this laptop is paired already
    64 laptops are the most that can be kept
    the laptop's name: more than 64 bytes
    the settings: more than 65536 bytes
    ");
}

#[test]
fn the_audit_log_is_a_ring_and_the_file_stays_small() {
    let (folder, store) = store();
    // Many in one change: a sync each would take minutes on a slow disk.
    for round in 0..30 {
        change(&store, |c| {
            (0..100).try_for_each(|n| {
                c.audit_entry(&Entry {
                    // The longest one.
                    what: Event::Mail {
                        change: MailChange::AddressAdded {
                            account: "a".repeat(64),
                            address: "a".repeat(320),
                        },
                        known: false,
                    },
                    ..entry(round * 100 + n)
                })
            })
        });
    }
    for n in 0..100 {
        change(&store, |c| c.audit_entry(&entry(3000 + n)));
    }
    let kept = view(&store, |v| v.audit(usize::MAX));
    assert_eq!(kept.len() as u64, MAX_AUDIT);
    let times: Vec<u64> = kept.iter().map(|entry| entry.at.powered_on.0).collect();
    assert!(times.iter().rev().copied().eq(2100..3100));
    assert_eq!(view(&store, |v| v.audit(2)), kept[..2]);
    let size = fs::metadata(folder.path().join(FILE)).unwrap().len();
    println!("{size} bytes with a full audit log");
    assert!(size <= 4 << 20, "{size}");
}

/// After a rollback the log ends with what the newer version has written.
#[test]
fn the_audit_log_takes_kinds_that_it_does_not_know() {
    let (folder, store) = store();
    let newer = json!({ "event": "moved_house", "to": { "floor": 3 } });
    let newer = Entry {
        what: serde_json::from_value(newer).unwrap(),
        ..entry(1)
    };
    change(&store, |c| c.audit_entry(&newer));
    drop(store);
    let store = open(folder.path());
    change(&store, |c| c.audit_entry(&entry(2)));
    assert_eq!(view(&store, |v| v.audit(9)), [entry(2), newer]);
}

#[test]
fn what_changes_nothing_is_not_written() {
    let (folder, store) = store();
    let bytes = || fs::read(folder.path().join(FILE)).unwrap();
    begin(&store);
    let used = |seconds| {
        let token = token(1);
        change(&store, |c| {
            c.change_sessions(|s| s.used(&token, at(seconds)))
        })
    };
    change(&store, |c| {
        c.change_sessions(|s| s.open(by(), None, [1; 32], place(), at(0)))
    });
    let before = bytes();
    begin(&store);
    assert!(!used(5));
    let refused = enter(&store, "no code").unwrap_err();
    assert!(matches!(refused, Refusal::NotACode(_)));
    assert!(!change(&store, |c| c.remove_laptop(&LaptopKey([0; 32]))));
    assert!(bytes() == before);
}

#[test]
fn a_panic_within_a_change_undoes_it() {
    let (_folder, store) = store();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        change(&store, |c| -> Result<(), _> {
            c.set_settings(&settings("example.org"))?;
            panic!("in the middle");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(view(&store, |v| v.settings()), Settings::default());
    change(&store, |c| c.set_settings(&settings("example.org")));
}

#[test]
fn a_store_is_opened_once() {
    let (folder, _store) = store();
    assert!(matches!(refusal(folder.path()), OpenError::InUse));
}

#[test]
fn a_store_that_cannot_be_read_is_left_as_it_is() {
    let (folder, store) = store();
    paired(&store, hash(1));
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
    paired(&store, hash(1));
    let kept = all(&store);
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
                assert_eq!(all(&store), kept, "byte {at}");
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

#[test]
fn a_backup_of_the_store_is_of_one_moment_while_it_changes() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(&DataFolder(folder.path().into())).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut age = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                age += 1;
                let age = PoweredOn(age);
                store
                    .change(|change| {
                        change.save_powered_on(age)?;
                        Ok::<_, StoreError>(())
                    })
                    .unwrap();
            }
        });
        for _ in 0..20 {
            let bytes = store.bytes(folder.path()).unwrap();
            std::fs::write(copy.path().join(FILE), bytes).unwrap();
            // Opening checks every page.
            Store::open(&DataFolder(copy.path().into())).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
