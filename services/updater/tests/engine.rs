//! From a bundle to a committed slot, on plain files.

mod support;

use proptest::prelude::*;
use roost_board::Slot;
use roost_bundle::Release;
use roost_updater::engine::{
    Allowed, NotSettled, NothingStaged, Planned, Refused, Settled, Staged, WriteError, examine,
};
use roost_updater::reconcile::Then;
use roost_updater::state::{Installed, Stage, State};
use std::io::Read;
use support::*;

fn box_with_a() -> BoxOfFiles {
    BoxOfFiles::new(&versions().a, &noise(99, BLOCKS))
}

fn offer(on: &BoxOfFiles, bundle: &[u8], allowed: Allowed) -> Result<Planned, Refused> {
    examine(
        &bundle[..head_bytes(bundle)],
        &trusting(&[1]),
        &facts(Slot::A, 1),
        allowed,
        &mut on.disk(),
        &mut |_, _| {},
    )
}

#[test]
fn a_box_goes_from_a_to_b_and_back_to_a() {
    let on = box_with_a();
    let Versions {
        a,
        b,
        deltas: bundle,
        ..
    } = versions();
    let (ledger, decision) = on.start(&facts(Slot::A, 1), false, 1000);
    assert!(matches!(decision.then, Then::Nothing));
    let planned = offer(&on, bundle, Allowed::default()).expect("an offer");
    let offered = planned.offer().clone();
    assert_eq!((offered.from.number, offered.to.number), (1, 2));
    assert!(offered.copied > 30 * BLOCK as u64, "{offered:?}");
    assert!(offered.send < b.len() as u64 / 4, "{offered:?}");
    let sent = payloads(bundle, &offered.ranges);
    assert_eq!(sent.len() as u64, offered.send);

    let mut seen = Vec::new();
    let mut disk = on.disk();
    let settled = Settled::check(&mut disk, &ledger.state(), &facts(Slot::A, 1)).expect("settled");
    let staged = planned
        .write(
            settled,
            &mut disk,
            &ledger,
            &sent[..],
            &mut |done, total| {
                seen.push((done, total));
            },
        )
        .expect("written");
    assert!(on.read("slot_b") == *b && on.read("slot_a") == *a);
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&(b.len() as u64, b.len() as u64)));
    assert_eq!(ledger.state().slot(Slot::B), Some(&installed(2)));
    assert_eq!(on.selected(), Some(Slot::A), "nothing is committed yet");
    staged.request(&ledger, 1100).expect("on record");
    let busy = Settled::check(&mut on.disk(), &ledger.state(), &facts(Slot::A, 1));
    assert!(matches!(busy, Err(NotSettled::OnTrial(v)) if v.number == 2));

    // The trial boot.
    on.boot(Slot::B);
    let (ledger, decision) = on.start(&facts(Slot::B, 2), true, 1130);
    let Then::Gate { trial, wrong: None } = decision.then else {
        panic!("{decision:?}");
    };
    let refused = Settled::check(&mut on.disk(), &ledger.state(), &facts(Slot::B, 2));
    assert!(matches!(refused, Err(NotSettled::OnTrial(v)) if v.number == 2));
    let committed = trial
        .commit(passed(), &mut on.disk(), &ledger, 1190)
        .expect("committed");
    assert!(committed.state.is_none());
    assert_eq!(on.selected(), Some(Slot::B));
    let last = ledger.state().last.expect("an outcome");
    assert_eq!((last.took_s, last.rolled_back), (90, None));

    // Back to A, by hand: a trial again.
    let (ledger, decision) = on.start(&facts(Slot::B, 2), false, 2000);
    assert!(matches!(decision.then, Then::Nothing));
    let before = Staged::before(&ledger.state(), false).expect("A is whole");
    assert_eq!(before.version().number, 1);
    before.request(&ledger, 2010).expect("on record");
    on.boot(Slot::A);
    let (ledger, decision) = on.start(&facts(Slot::A, 1), true, 2040);
    let Then::Gate { trial, wrong: None } = decision.then else {
        panic!("{decision:?}");
    };
    let _ = trial
        .commit(passed(), &mut on.disk(), &ledger, 2060)
        .expect("committed");
    assert_eq!(on.selected(), Some(Slot::A));
    assert!(on.read("slot_b") == *b && on.read("slot_a") == *a);
}

#[test]
fn what_cannot_be_of_use_is_not_read() {
    let Versions { b, plain, .. } = versions();
    // A slot whose only file ends early; what an earlier version has left lies behind it.
    let mut a = selector_image(Slot::A);
    let used = (AUTOBOOT_AT + 512).next_multiple_of(BLOCK) as u64;
    a.extend(noise(3, BLOCKS));
    let reads = |other: &[u8]| {
        let on = BoxOfFiles::new(&a, other);
        let mut told = Vec::new();
        let planned = examine(
            &plain[..head_bytes(plain)],
            &trusting(&[1]),
            &facts(Slot::A, 1),
            Allowed::default(),
            &mut on.disk(),
            &mut |done, total| told.push((done, total)),
        )
        .expect("an offer");
        let last = *told.last().expect("it is told");
        assert_eq!(last.0, last.1);
        (last.1, planned.offer().write)
    };
    let slot = b.len() as u64;
    // Nothing was written there yet; another version, begun.
    assert_eq!(reads(&vec![0; a.len()]), (used, slot));
    let mut begun = vec![0; a.len()];
    begun[..40 * BLOCK].copy_from_slice(&b[..40 * BLOCK]);
    let (read, write) = reads(&begun);
    assert_eq!(read, slot + used);
    // All but the chunk that is not whole.
    assert!((slot / 2..slot).contains(&write), "{write}");
}

#[test]
fn the_same_slot_is_neither_sent_nor_written_again() {
    let on = box_with_a();
    let Versions {
        b, plain: bundle, ..
    } = versions();
    std::fs::write(on.path("slot_b"), b).expect("a slot");
    let planned = offer(&on, bundle, Allowed::default()).expect("an offer");
    assert_eq!((planned.offer().send, planned.offer().write), (0, 0));
    let (ledger, _) = on.start(&facts(Slot::A, 1), false, 1000);
    let mut disk = on.disk();
    let settled = Settled::check(&mut disk, &ledger.state(), &facts(Slot::A, 1)).expect("settled");
    planned
        .write(settled, &mut disk, &ledger, &[][..], &mut |_, _| {})
        .expect("it is whole already");
    assert_eq!(ledger.state().stage, Stage::Staged);
}

/// Each of these is refused, in words, before a byte is written.
#[test]
fn what_is_not_for_this_box_is_refused_and_touches_nothing() {
    let on = box_with_a();
    let Versions {
        a, b, deltas: good, ..
    } = versions();
    let head = head_bytes(good);
    let with = |change: &dyn Fn(&mut Release)| {
        let mut release = release(2);
        change(&mut release);
        bundle_of(release, b, &[], 1)
    };
    let flipped = |at: usize| {
        let mut bundle = good[..head].to_vec();
        bundle[at] ^= 0x10;
        bundle
    };
    let cut = |bundle: Vec<u8>| bundle[..head_bytes(&bundle)].to_vec();
    let larger = [&b[..], &noise(5, 4)].concat();
    let heads: Vec<(&str, Vec<u8>)> = vec![
        (
            "no bundle",
            b"GIF89a, of the right length and more".to_vec(),
        ),
        ("wrong key", cut(bundle_of(release(2), b, &[], 7))),
        ("flip in the key", flipped(16 + 5)),
        ("flip in the signature", flipped(16 + 40)),
        ("flip in the manifest", flipped(16 + 96 + 60)),
        ("flip in a table", flipped(head - 30)),
        ("cut in the manifest", good[..200].to_vec()),
        ("cut in a table", good[..head - 1].to_vec()),
        ("longer than its head", good[..head + 1].to_vec()),
        (
            "wrong board",
            cut(with(&|r| r.boards = ["rpi5".to_owned()].into())),
        ),
        ("same version", cut(with(&|r| r.version = 1))),
        ("needs a step", cut(with(&|r| r.min_version = 2))),
        ("no way back", cut(with(&|r| r.reversible = false))),
        ("older mail store", cut(with(&|r| r.mail_store = 0))),
        (
            "slot too small",
            cut(bundle_of(release(2), &larger, &[], 1)),
        ),
    ];
    let mut told = String::new();
    for (what, head) in heads {
        let error = examine(
            &head,
            &trusting(&[1]),
            &facts(Slot::A, 1),
            Allowed::default(),
            &mut on.disk(),
            &mut |_, _| {},
        )
        .expect_err(what);
        told += &format!("{what}: {error}\n    {}\n", error.hint().unwrap_or("-"));
    }
    let older = examine(
        &cut(good.clone()),
        &trusting(&[1]),
        &facts(Slot::A, 3),
        Allowed::default(),
        &mut on.disk(),
        &mut |_, _| {},
    );
    told += &format!("older: {}\n", older.expect_err("older"));
    insta::assert_snapshot!(told);
    assert!(on.read("slot_b") == noise(99, BLOCKS) && on.read("slot_a") == *a);
    assert!(!exists(&on.path("data/state.json")));

    // The owner's word lets two of them through.
    let allowed = Allowed {
        downgrade: true,
        irreversible: true,
    };
    offer(&on, &with(&|r| r.reversible = false), allowed).expect("allowed");
    examine(
        &cut(good.clone()),
        &trusting(&[1]),
        &facts(Slot::A, 3),
        allowed,
        &mut on.disk(),
        &mut |_, _| {},
    )
    .expect("allowed");
}

#[test]
fn a_damaged_payload_ends_the_writing_and_leaves_no_version() {
    let on = box_with_a();
    let Versions {
        a, plain: bundle, ..
    } = versions();
    let (ledger, _) = on.start(&facts(Slot::A, 1), false, 1000);
    let planned = offer(&on, bundle, Allowed::default()).expect("an offer");
    let mut sent = payloads(bundle, &planned.offer().ranges);
    let middle = sent.len() / 2;
    sent[middle] ^= 1;
    let mut disk = on.disk();
    let settled = Settled::check(&mut disk, &ledger.state(), &facts(Slot::A, 1)).expect("settled");
    let error = planned
        .write(settled, &mut disk, &ledger, &sent[..], &mut |_, _| {})
        .expect_err("damaged");
    assert!(
        matches!(error, WriteError::Step(roost_bundle::Error::Payload { .. })),
        "{error}"
    );
    assert_eq!(ledger.state().slot(Slot::B), None);
    assert_eq!(
        Staged::written(&ledger.state()),
        Err(NothingStaged::NotWritten)
    );
    assert_eq!(
        Staged::before(&ledger.state(), true),
        Err(NothingStaged::NoOther)
    );
    assert!(on.read("slot_a") == *a);
}

#[test]
fn a_slot_that_changes_behind_our_back_is_found_when_it_is_read_back() {
    let on = box_with_a();
    let Versions { deltas: bundle, .. } = versions();
    let (ledger, _) = on.start(&facts(Slot::A, 1), false, 1000);
    let planned = offer(&on, bundle, Allowed::default()).expect("an offer");
    let sent = payloads(bundle, &planned.offer().ranges);
    let mut disk = on.disk();
    let settled = Settled::check(&mut disk, &ledger.state(), &facts(Slot::A, 1)).expect("settled");
    let path = on.path("slot_b");
    let error = planned
        .write(
            settled,
            &mut disk,
            &ledger,
            &sent[..],
            &mut |done, total| {
                if done == total {
                    use std::os::unix::fs::FileExt;
                    let file = std::fs::File::options().write(true).open(&path);
                    file.and_then(|file| file.write_all_at(b"rot", 5000))
                        .expect("rot");
                }
            },
        )
        .expect_err("rotten");
    assert!(
        matches!(error, WriteError::ReadBack { wrong: 1, .. }),
        "{error}"
    );
    assert_eq!(ledger.state().slot(Slot::B), None);
}

#[test]
fn nothing_is_written_unless_the_running_slot_is_the_committed_one() {
    let on = box_with_a();
    let (ledger, _) = on.start(&facts(Slot::A, 1), false, 1000);
    // Somebody has damaged the selector since the start.
    std::fs::write(on.path("selector"), selector_image(Slot::B)).expect("a selector");
    let refused = Settled::check(&mut on.disk(), &ledger.state(), &facts(Slot::A, 1));
    assert!(matches!(refused, Err(NotSettled::Otherwise(Slot::A))));
    std::fs::write(on.path("selector"), vec![0; 4096]).expect("a selector");
    let refused = Settled::check(&mut on.disk(), &ledger.state(), &facts(Slot::A, 1));
    assert!(matches!(refused, Err(NotSettled::Selector(_))));
}

/// A stream that ends early.
struct Cut<'a>(&'a [u8], usize);

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.1.min(buffer.len());
        let count = (&self.0[..left.min(self.0.len())]).read(buffer)?;
        self.0 = &self.0[count..];
        self.1 -= count;
        Ok(count)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// However often a transfer is cut off: the next one sends only the rest,
    /// and in the end the slot is right.
    #[test]
    fn a_cut_transfer_sends_only_the_rest(cuts in prop::collection::vec(0.0f64..1.0, 1..5), with_base: bool) {
        let on = box_with_a();
        let Versions { b, deltas, plain, .. } = versions();
        let bundle = if with_base { deltas } else { plain };
        let (ledger, _) = on.start(&facts(Slot::A, 1), false, 1000);
        let chunk = 65 * BLOCK as u64;
        let mut left = u64::MAX;
        for cut in cuts {
            let planned = offer(&on, bundle, Allowed::default()).expect("an offer");
            let offered = planned.offer().clone();
            prop_assert!(offered.send <= left, "{} after {left}", offered.send);
            let sent = payloads(bundle, &offered.ranges);
            let at = (sent.len() as f64 * cut) as usize;
            let mut disk = on.disk();
            let settled = Settled::check(&mut disk, &ledger.state(), &facts(Slot::A, 1)).expect("settled");
            let result = planned.write(settled, &mut disk, &ledger, Cut(&sent, at), &mut |_, _| {});
            if result.is_ok() {
                // Nothing was behind the cut.
                prop_assert_eq!(at, sent.len());
            }
            // All that came, but for the chunk that was under way, need not come again.
            left = offered.send - (at as u64).saturating_sub(chunk);
        }
        let planned = offer(&on, bundle, Allowed::default()).expect("an offer");
        prop_assert!(planned.offer().send <= left);
        let sent = payloads(bundle, &planned.offer().ranges);
        let mut disk = on.disk();
        let settled = Settled::check(&mut disk, &ledger.state(), &facts(Slot::A, 1)).expect("settled");
        planned.write(settled, &mut disk, &ledger, &sent[..], &mut |_, _| {}).expect("written");
        prop_assert!(on.read("slot_b") == *b);
    }
}

#[test]
fn a_version_with_an_older_mail_store_is_returned_to_only_if_the_owner_insists() {
    let mut state = State::new(Slot::A);
    let with_store = |number, mail_store| Installed {
        mail_store,
        ..installed(number)
    };
    for (running, other, refused) in [(1, 1, false), (1, 2, false), (2, 1, true)] {
        state.set_slot(Slot::A, Some(with_store(2, running)));
        state.set_slot(Slot::B, Some(with_store(1, other)));
        let found = Staged::before(&state, false);
        assert_eq!(
            found == Err(NothingStaged::OlderMail(version(1))),
            refused,
            "{found:?}"
        );
        assert!(Staged::before(&state, true).is_ok());
    }
}
