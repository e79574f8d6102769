//! `state.json` of any bytes: read or refused, never a panic, and what is read
//! and written again is read as the same. Whatever it says, a start makes
//! something of it that a second start does not take for news, and never
//! offers a slot that is half written. The first byte says what else is found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_board::Slot;
use roost_service::update::Version;
use roost_updater::engine::Staged;
use roost_updater::facts::Facts;
use roost_updater::reconcile;
use roost_updater::reconcile::Seen;
use roost_updater::state::{Installed, Stage, State};

fuzz_target!(|bytes: &[u8]| {
    let Some((&found, bytes)) = bytes.split_first() else {
        return;
    };
    let Ok(state) = State::parse(bytes) else {
        return;
    };
    assert_eq!(State::parse(&state.render()).as_ref(), Ok(&state));
    let slot = |bit: u8| if found & bit == 0 { Slot::A } else { Slot::B };
    let facts = Facts {
        board: "virt".into(),
        slot: slot(1),
        running: Installed {
            version: Version {
                number: 7,
                name: "7".into(),
            },
            root_hash: None,
            mail_store: 1,
        },
        settings_format: 1,
    };
    let seen = Seen {
        facts: &facts,
        on_trial: found & 2 != 0,
        selector: (found & 4 != 0).then(|| slot(8)),
        state: Some(&state),
        now: u64::from(found) << 30,
    };
    let first = reconcile(&seen);
    let after = &first.state;
    assert_eq!(State::parse(&after.render()).as_ref(), Ok(after));
    assert!(
        !matches!(after.stage, Stage::Writing { .. }),
        "nobody writes"
    );
    let there = after.slot(after.committed.other());
    for staged in [Staged::written(after), Staged::before(after, true)]
        .iter()
        .flatten()
    {
        assert_eq!(there.map(|there| &there.version), Some(staged.version()));
    }
    if Staged::before(after, false).is_ok() {
        let running = after.slot(after.committed);
        let stores = running
            .zip(there)
            .map(|(now, there)| (now.mail_store, there.mail_store));
        assert!(
            stores.is_none_or(|(now, there)| there >= now),
            "no mail is lost"
        );
    }
    let selector = first.heal.or(seen.selector);
    let second = reconcile(&Seen {
        selector,
        state: Some(after),
        ..seen.clone()
    });
    assert_eq!(&second.state, after);
    assert_eq!(second.heal, None);
});
