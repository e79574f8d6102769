//! The store against the same values in memory.

use super::*;
use crate::session::Sessions;
use crate::throttle::Throttle;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Making them takes its time.
static PASSKEYS: LazyLock<Vec<(PasskeyId, Passkey)>> =
    LazyLock::new(|| (1..7).map(|n| passkey(&mut Device::new(n))).collect());

/// What the model does: one of these to the store and to values in memory.
#[derive(Debug, Clone)]
enum Act {
    Open(u8, u64),
    Use(u8, u64),
    Close(u8),
    Try(u64),
    Add(u8),
    Saw(u8, u64),
    Remove(u8),
    AddPasskey(u8),
    UsePasskey(u8, u64),
    RemovePasskey(u8),
    Save(u64),
    Domain(Option<String>),
    Refused(u8),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let n = 0..6_u8;
    prop_oneof![
        (n.clone(), 0..9000_u64).prop_map(|(n, at)| Act::Open(n, at)),
        (n.clone(), 0..9000_u64).prop_map(|(n, at)| Act::Use(n, at)),
        n.clone().prop_map(Act::Close),
        (0..4000_u64).prop_map(Act::Try),
        n.clone().prop_map(Act::Add),
        (n.clone(), 0..3000_u64).prop_map(|(n, at)| Act::Saw(n, at)),
        n.clone().prop_map(Act::Remove),
        n.clone().prop_map(Act::AddPasskey),
        (n.clone(), 0..3000_u64).prop_map(|(n, at)| Act::UsePasskey(n, at)),
        n.clone().prop_map(Act::RemovePasskey),
        (0..4000_u64).prop_map(Act::Save),
        proptest::option::of("[a-zä]{0,40}").prop_map(Act::Domain),
        n.prop_map(Act::Refused),
        Just(Act::Restart),
    ]
}

#[derive(Debug, Default)]
struct Model {
    sessions: Sessions,
    throttle: Throttle,
    powered_on: PoweredOn,
    laptops: BTreeMap<[u8; 32], Laptop>,
    passkeys: BTreeMap<[u8; 32], Passkey>,
    settings: Settings,
}

impl Model {
    /// As [`all`] gives it; the greatest key comes first.
    fn all(&self) -> Value {
        json!({
            "owner": null,
            "pairing": null,
            "sessions": self.sessions,
            "throttle": self.throttle,
            "powered_on": self.powered_on,
            "settings": self.settings,
            "laptops": self.laptops.iter().rev().collect::<Vec<_>>(),
            "passkeys": self.passkeys.iter().rev().collect::<Vec<_>>(),
            "audit": [],
        })
    }
}

fn attempt(throttle: &mut Throttle, now: u64) -> bool {
    let who = throttle.who(None, HOME);
    throttle
        .begin(who, Factor::Password, PoweredOn(now))
        .is_ok()
}

fn open_one(sessions: &mut Sessions, n: u8, now: u64) {
    let _ = sessions.open(by(), Some(&token(n)), [n; 32], place(), at(now));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_what_values_in_memory_would_be(acts in proptest::collection::vec(act(), 0..30)) {
        let (folder, mut store) = store();
        let mut model = Model::default();
        for act in acts {
            match act {
                Act::Open(n, now) => {
                    change(&store, |c| c.change_sessions(|s| open_one(s, n, now)));
                    open_one(&mut model.sessions, n, now);
                }
                Act::Use(n, now) => {
                    let kept = change(&store, |c| c.change_sessions(|s| s.used(&token(n), at(now))));
                    prop_assert_eq!(kept, model.sessions.used(&token(n), at(now)));
                }
                Act::Close(n) => {
                    let was = change(&store, |c| c.change_sessions(|s| s.close(&token(n))));
                    prop_assert_eq!(was, model.sessions.close(&token(n)));
                }
                Act::Try(now) => {
                    let through = change(&store, |c| c.change_throttle(|t| attempt(t, now)));
                    prop_assert_eq!(through, attempt(&mut model.throttle, now));
                }
                Act::Add(n) => {
                    let added = store.change(|c| c.add_laptop(&LaptopKey([n; 32]), &laptop("a")));
                    let known = model.laptops.contains_key(&[n; 32]);
                    prop_assert_eq!(matches!(added, Err(StoreError::Paired)), known);
                    model.laptops.entry([n; 32]).or_insert(laptop("a"));
                }
                Act::Saw(n, now) => {
                    let known = change(&store, |c| c.saw_laptop(&LaptopKey([n; 32]), at(now)));
                    let laptop = model.laptops.get_mut(&[n; 32]);
                    prop_assert_eq!(known, laptop.is_some());
                    if let Some(laptop) = laptop
                        && laptop.seen.is_none_or(|seen| {
                            now >= seen.powered_on.0 + SEEN_EVERY.as_secs()
                        })
                    {
                        laptop.seen = Some(at(now));
                    }
                }
                Act::Remove(n) => {
                    let was = change(&store, |c| c.remove_laptop(&LaptopKey([n; 32])));
                    prop_assert_eq!(was, model.laptops.remove(&[n; 32]).is_some());
                }
                Act::AddPasskey(n) => {
                    let (id, passkey) = &PASSKEYS[usize::from(n)];
                    let added = change(&store, |c| c.add_passkey(id, passkey));
                    prop_assert_eq!(added.is_err(), model.passkeys.contains_key(&id.0));
                    model.passkeys.entry(id.0).or_insert_with(|| passkey.clone());
                }
                Act::UsePasskey(n, now) => {
                    let (id, _) = &PASSKEYS[usize::from(n)];
                    let used = change(&store, |c| c.decide_passkey(id, |mut passkey| {
                        passkey.used = Some(at(now));
                        Decided::new(passkey, ())
                    }));
                    let passkey = model.passkeys.get_mut(&id.0);
                    prop_assert_eq!(used.is_some(), passkey.is_some());
                    if let Some(passkey) = passkey {
                        passkey.used = Some(at(now));
                    }
                }
                Act::RemovePasskey(n) => {
                    let (id, _) = &PASSKEYS[usize::from(n)];
                    let was = change(&store, |c| c.remove_passkey(by(), id));
                    prop_assert_eq!(was, model.passkeys.remove(&id.0).is_some());
                }
                Act::Save(now) => {
                    change(&store, |c| c.save_powered_on(PoweredOn(now)));
                    model.powered_on = model.powered_on.max(PoweredOn(now));
                }
                Act::Domain(domain) => {
                    model.settings.domain = domain;
                    change(&store, |c| c.set_settings(&model.settings));
                }
                Act::Refused(n) => {
                    let refused = store.change(|c| {
                        c.remove_laptop(&LaptopKey([n; 32]))?;
                        c.change_sessions(|s| s.revoke_others(None))?;
                        c.change_owner(|owner| owner)
                    });
                    prop_assert!(matches!(refused, Err(StoreError::NoOwner)));
                }
                Act::Restart => {
                    drop(store);
                    store = open(folder.path());
                }
            }
            prop_assert_eq!(all(&store), model.all());
        }
    }
}
