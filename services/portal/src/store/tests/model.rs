//! The store against plain maps.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// What the model does: one of these to the store and to plain maps.
#[derive(Debug, Clone)]
enum Act {
    Begin(u8, u64),
    End(u8),
    Expire(u64),
    Add(u8),
    Saw(u8, u64),
    Remove(u8),
    Try,
    Domain(Option<String>),
    Refused(u8),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let n = 0..6_u8;
    prop_oneof![
        (n.clone(), 0..3000_u64).prop_map(|(n, at)| Act::Begin(n, at)),
        n.clone().prop_map(Act::End),
        (0..4000_u64).prop_map(Act::Expire),
        n.clone().prop_map(Act::Add),
        (n.clone(), 0..3000_u64).prop_map(|(n, at)| Act::Saw(n, at)),
        n.clone().prop_map(Act::Remove),
        Just(Act::Try),
        proptest::option::of("[a-zä]{0,40}").prop_map(Act::Domain),
        n.prop_map(Act::Refused),
        Just(Act::Restart),
    ]
}

#[derive(Debug, Default, PartialEq)]
struct Model {
    sessions: HashMap<TokenHash, Session>,
    laptops: HashMap<LaptopKey, Laptop>,
    tries: u32,
    domain: Option<String>,
}

impl Model {
    fn of(store: &Store) -> Self {
        view(store, |v| {
            Ok(Self {
                sessions: v.sessions()?.into_iter().collect(),
                laptops: v.laptops()?.into_iter().collect(),
                tries: v.pairing()?.tries,
                domain: v.settings()?.domain,
            })
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_what_maps_in_memory_would_be(acts in proptest::collection::vec(act(), 0..30)) {
        let (folder, mut store) = store();
        let mut model = Model::default();
        for act in acts {
            match act {
                Act::Begin(n, at) => {
                    change(&store, |c| c.begin_session(&TokenHash([n; 32]), session(at)));
                    model.sessions.insert(TokenHash([n; 32]), session(at));
                }
                Act::End(n) => {
                    let was = change(&store, |c| c.end_session(&TokenHash([n; 32])));
                    prop_assert_eq!(was, model.sessions.remove(&TokenHash([n; 32])).is_some());
                }
                Act::Expire(at) => {
                    let ended = change(&store, |c| c.expire_sessions(at, 1000, 2000));
                    let before = model.sessions.len();
                    model.sessions.retain(|_, s| s.last_seen + 1000 >= at && s.created + 2000 >= at);
                    prop_assert_eq!(ended, before - model.sessions.len());
                }
                Act::Add(n) => {
                    let added = store.change(|c| c.add_laptop(&LaptopKey([n; 32]), &laptop("a")));
                    let known = model.laptops.contains_key(&LaptopKey([n; 32]));
                    prop_assert_eq!(matches!(added, Err(StoreError::Paired)), known);
                    model.laptops.entry(LaptopKey([n; 32])).or_insert(laptop("a"));
                }
                Act::Saw(n, at) => {
                    let known = change(&store, |c| c.saw_laptop(&LaptopKey([n; 32]), at));
                    let laptop = model.laptops.get_mut(&LaptopKey([n; 32]));
                    prop_assert_eq!(known, laptop.is_some());
                    if let Some(laptop) = laptop
                        && laptop.last_seen.is_none_or(|last| at >= last + SEEN_EVERY_S)
                    {
                        laptop.last_seen = Some(at);
                    }
                }
                Act::Remove(n) => {
                    let was = change(&store, |c| c.remove_laptop(&LaptopKey([n; 32])));
                    prop_assert_eq!(was, model.laptops.remove(&LaptopKey([n; 32])).is_some());
                }
                Act::Try => {
                    change(&store, |c| c.change_pairing(|pairing| pairing.tries += 1));
                    model.tries += 1;
                }
                Act::Domain(domain) => {
                    let settings = Settings { domain: domain.clone(), ..Settings::default() };
                    change(&store, |c| c.set_settings(&settings));
                    model.domain = domain;
                }
                Act::Refused(n) => {
                    let refused = store.change(|c| {
                        c.remove_laptop(&LaptopKey([n; 32]))?;
                        c.end_other_sessions(None)?;
                        c.set_password(String::new())
                    });
                    prop_assert!(matches!(refused, Err(StoreError::NoOwner)));
                }
                Act::Restart => {
                    drop(store);
                    store = open(folder.path());
                }
            }
            prop_assert_eq!(&Model::of(&store), &model);
        }
    }
}
