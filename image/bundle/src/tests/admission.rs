//! Which box takes which bundle.

use super::{key, noise, release, trusting};
use crate::{BoxState, Builder, Hash, Refusal, Release, Unverified, Verified, admit};
use std::fmt::Write;
use std::io::Cursor;

fn verified(release: Release) -> Verified {
    let mut bundle = Vec::new();
    Builder::new(release, Hash([9; 32]), &key(1))
        .write(&mut Cursor::new(&noise(1, 4)[..]), &mut [], &mut bundle)
        .expect("a bundle");
    Unverified::read(&mut &bundle[..])
        .and_then(|bundle| bundle.verify(&trusting(&[1])))
        .expect("a good bundle")
}

fn state() -> BoxState {
    BoxState {
        board: "rpi4".into(),
        version: 6,
        slot_bytes: 1 << 20,
        mail_store: 3,
        settings_format: 2,
        allow_downgrade: false,
        allow_irreversible: false,
    }
}

#[test]
fn matrix() {
    type Change = fn(&mut Release, &mut BoxState);
    let cases: &[(&str, Change)] = &[
        ("the next version", |_, _| {}),
        ("a jump", |_, b| b.version = 1),
        ("another board", |_, b| b.board = "rpi3".into()),
        ("a small slot", |_, b| b.slot_bytes = 8192),
        ("a slot just large enough", |_, b| b.slot_bytes = 16384),
        ("the same version", |_, b| b.version = 7),
        ("the same version, downgrade allowed", |_, b| {
            (b.version, b.allow_downgrade) = (7, true);
        }),
        ("an older version", |_, b| b.version = 8),
        ("an older version, allowed", |_, b| {
            (b.version, b.allow_downgrade) = (8, true);
        }),
        (
            "an older version that cannot read the mail, allowed",
            |_, b| {
                (b.version, b.allow_downgrade, b.mail_store) = (8, true, 4);
            },
        ),
        (
            "an older version that cannot read the settings, allowed",
            |_, b| {
                (b.version, b.allow_downgrade, b.settings_format) = (8, true, 3);
            },
        ),
        ("a step left out", |r, _| r.min_version = 7),
        ("a step left out, downgrade allowed", |r, b| {
            (r.min_version, b.allow_downgrade) = (7, true);
        }),
        ("an older version with a step, allowed", |r, b| {
            (r.min_version, b.version, b.allow_downgrade) = (7, 8, true);
        }),
        ("a newer mail store", |r, _| r.mail_store = 4),
        ("no way back", |r, _| r.reversible = false),
        ("no way back, allowed", |r, b| {
            (r.reversible, b.allow_irreversible) = (false, true);
        }),
        ("the highest version", |r, b| {
            (r.version, b.version) = (u64::MAX, u64::MAX - 1)
        }),
        ("another board and older", |_, b| {
            (b.board, b.version) = ("rpi3".into(), 8);
        }),
    ];
    let mut told = String::new();
    for (name, change) in cases {
        let (mut release, mut state) = (release(7), state());
        change(&mut release, &mut state);
        writeln!(told, "{name}").expect("text");
        match admit(&verified(release), &state) {
            Ok(_) => writeln!(told, "    admitted").expect("text"),
            Err(no) => {
                writeln!(told, "    {no}").expect("text");
                if let Some(hint) = no.hint() {
                    writeln!(told, "    try: {hint}").expect("text");
                }
            }
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn without_the_owners_word_nothing_older_is_ever_admitted() {
    for bundle in 1..6 {
        for running in 1..6 {
            let bundle = verified(Release {
                version: bundle,
                ..release(7)
            });
            let state = BoxState {
                version: running,
                ..state()
            };
            let version = bundle.manifest().release.version;
            match admit(&bundle, &state) {
                Ok(admitted) => {
                    assert!(version > running);
                    assert_eq!(admitted.manifest().release.version, version);
                }
                Err(Refusal::Same { .. }) => assert_eq!(version, running),
                Err(Refusal::Downgrade { .. }) => assert!(version < running),
                Err(other) => panic!("{other}"),
            }
        }
    }
}
