//! From image to bundle to image.

use super::{build, build_with, key, noise, open, release, trusting};
use crate::limits::BLOCK;
use crate::{
    Action, ActiveSlot, BuildError, Builder, Error, Hash, PayloadsAt, Source, Unverified,
    already_right, apply, plan, resume,
};
use proptest::prelude::*;
use std::io::Cursor;

/// Installs on a box that runs `active` and returns the new slot and the bytes sent.
fn install(bundle: &[u8], active: &[u8], mut target: Vec<u8>) -> (Vec<u8>, u64) {
    let (verified, tables) = open(bundle);
    let mut local = ActiveSlot::read(Cursor::new(active)).expect("a slot");
    let plan = plan(&tables, &mut local);
    let mut active = local.into_inner();
    let mut payloads = PayloadsAt::new(Cursor::new(bundle), verified.payload_start());
    let mut out = Cursor::new(&mut target);
    for action in &plan.actions {
        apply(action, &tables, &mut active, &mut payloads, &mut out).expect("a step");
    }
    let right = already_right(&tables, &mut Cursor::new(&target)).expect("a slot");
    assert!(right.iter().all(|right| *right));
    assert!(resume(&tables, &mut (), &right).is_empty());
    (target, plan.send)
}

#[test]
fn an_empty_box_gets_everything_and_zeros_cost_nothing() {
    let mut slot = noise(1, 40);
    slot.extend(vec![0; 600 * BLOCK]);
    let bundle = build(&slot, &[]);
    let (target, sent) = install(&bundle, &[], vec![0xaa; slot.len()]);
    assert!(target == slot);
    assert!(sent < 41 * BLOCK as u64, "{sent} bytes sent");
}

#[test]
fn the_same_slot_costs_nothing() {
    let slot = noise(2, 100);
    let (target, sent) = install(&build(&slot, &[]), &slot, Vec::new());
    assert!(target == slot);
    assert_eq!(sent, 0);
}

#[test]
fn equal_chunks_are_sent_once_and_copied() {
    let part = [noise(3, 64), vec![0; 8 * BLOCK]].concat();
    let slot = [&part[..], &part].concat();
    let bundle = build(&slot, &[]);
    let (_, tables) = open(&bundle);
    let plan = plan(&tables, &mut ());
    assert!(plan.actions.iter().any(|action| matches!(
        action,
        Action::Copy {
            source: Source::Target,
            ..
        }
    )));
    let (target, sent) = install(&bundle, &[], Vec::new());
    assert!(target == slot);
    assert!(
        sent < part.len() as u64 + 4 * BLOCK as u64,
        "{sent} bytes sent"
    );
}

/// A new build of a program: addresses in it move, so every block changes a little.
fn relinked(program: &[u8]) -> Vec<u8> {
    let mut new = program.to_vec();
    for word in new.chunks_exact_mut(1024) {
        word[100] ^= 0x55;
    }
    new
}

#[test]
fn a_program_of_which_every_block_changed_costs_its_delta() {
    let (before, program, behind) = (noise(4, 50), noise(5, 200), noise(6, 50));
    let old = [&before[..], &program, &behind].concat();
    let new = [&before[..], &relinked(&program), &behind].concat();
    let bundle = build(&new, &[&old]);
    let (target, sent) = install(&bundle, &old, Vec::new());
    assert!(target == new);
    assert!(sent < program.len() as u64 / 20, "{sent} bytes sent");
    // A box that runs something else takes the plain chunks of the same bundle.
    let other = [noise(7, 10), before].concat();
    let (target, sent) = install(&bundle, &other, Vec::new());
    assert!(target == new);
    assert!(sent > program.len() as u64, "{sent} bytes sent");
}

#[test]
fn deltas_find_text_that_moved() {
    let (before, program, behind) = (noise(4, 50), noise(5, 200), noise(6, 50));
    let old = [&before[..], &program, &behind].concat();
    let new = [&noise(8, 33)[..], &before, &relinked(&program), &behind].concat();
    let (target, sent) = install(&build(&new, &[&old]), &old, Vec::new());
    assert!(target == new);
    assert!(sent < 60 * BLOCK as u64, "{sent} bytes sent");
}

#[test]
fn a_change_longer_than_a_base_range_has_deltas_all_along() {
    let (before, long) = (noise(4, 50), noise(5, 1100));
    let old = [&before[..], &long].concat();
    let new = [&before[..], &relinked(&long)].concat();
    let (target, sent) = install(&build(&new, &[&old]), &old, Vec::new());
    assert!(target == new);
    assert!(sent < long.len() as u64 / 20, "{sent} bytes sent");
}

#[test]
fn a_bundle_serves_boxes_of_two_versions() {
    let oldest = noise(9, 120);
    let old = relinked(&oldest);
    let new = relinked(&[&noise(10, 3)[..], &old].concat());
    let bundle = build(&new, &[&old, &oldest]);
    for base in [&old, &oldest] {
        let (target, sent) = install(&bundle, base, Vec::new());
        assert!(target == new);
        assert!(sent < new.len() as u64 / 5, "{sent} bytes sent");
    }
}

#[test]
fn a_cut_off_installation_goes_on_where_it_ended() {
    let slot = [noise(11, 100), vec![0; 10 * BLOCK], noise(12, 100)].concat();
    let bundle = build(&slot, &[]);
    let (verified, tables) = open(&bundle);
    let all = plan(&tables, &mut ());
    for cut in [0, 1, BLOCK, slot.len() / 3, slot.len() - 1, slot.len()] {
        let mut target = slot.clone();
        target.truncate(cut);
        let right = already_right(&tables, &mut Cursor::new(&target)).expect("a slot");
        let rest = resume(&tables, &mut (), &right);
        assert!(rest.write <= (slot.len() - cut) as u64 + (1 << 20));
        assert!(rest.send <= all.send);
        let mut payloads = PayloadsAt::new(Cursor::new(&bundle), verified.payload_start());
        let mut out = Cursor::new(target);
        for action in &rest.actions {
            apply(
                action,
                &tables,
                &mut Cursor::new([]),
                &mut payloads,
                &mut out,
            )
            .expect("a step");
        }
        assert!(out.into_inner() == slot);
    }
}

#[test]
fn equal_input_gives_equal_bytes_on_any_number_of_threads() {
    let old = noise(13, 150);
    let new = relinked(&old);
    let one = build(&new, &[&old]);
    let four = build_with(&new, &[&old], |builder| builder.threads(4));
    assert!(one == four);
}

#[test]
fn known_payloads_are_used_if_they_are_right() {
    let slot = [noise(15, 200), noise(16, 100)].concat();
    let (_, tables) = open(&build(&slot, &[]));
    let first = tables.chunks()[0];
    // Another level gives other bytes, so that it can be seen where they come from.
    let other = crate::payload::pack(&slot[..first.len as usize], &[], -20).expect("packed");
    let wrong = crate::payload::pack(&noise(17, 3), &[], -20).expect("packed");
    let known = |hash: &Hash| match *hash == first.hash {
        true => Some(other.clone()),
        false => Some(wrong.clone()),
    };
    let bundle = build_with(&slot, &[], |builder| builder.known(&known));
    let (verified, again) = open(&bundle);
    let start = verified.payload_start() as usize;
    assert!(bundle[start..].starts_with(&other));
    assert_eq!(again.chunks()[1].stored, tables.chunks()[1].stored);
    let (target, _) = install(&bundle, &[], Vec::new());
    assert!(target == slot);
}

#[test]
fn a_running_slot_that_lies_is_found_out_before_writing() {
    let old = noise(14, 60);
    let bundle = build(&relinked(&old), &[&old]);
    let (verified, tables) = open(&bundle);
    let plan = plan(
        &tables,
        &mut ActiveSlot::read(Cursor::new(&old)).expect("a slot"),
    );
    let mut payloads = PayloadsAt::new(Cursor::new(&bundle), verified.payload_start());
    let mut rotten = Cursor::new(vec![1; old.len()]);
    let mut out = Cursor::new(Vec::new());
    let error = apply(
        &plan.actions[0],
        &tables,
        &mut rotten,
        &mut payloads,
        &mut out,
    );
    assert!(matches!(error, Err(Error::Base { chunk: 0 })), "{error:?}");
    let copy = Action::Copy {
        chunks: 0..1,
        source: Source::Active,
        from: 0,
    };
    let error = apply(&copy, &tables, &mut rotten, &mut payloads, &mut out);
    assert!(
        matches!(error, Err(Error::Content { chunk: 0, .. })),
        "{error:?}"
    );
    assert!(out.into_inner().is_empty());
}

#[test]
fn a_key_changes_with_two_signatures() {
    let (old, new) = (key(1), key(2));
    let mut bundle = Vec::new();
    Builder::new(release(7), Hash([9; 32]), &old)
        .new_key(&new)
        .write(&mut Cursor::new(&noise(1, 4)[..]), &mut [], &mut bundle)
        .expect("a bundle");
    let read = |trusted: &[u8]| {
        Unverified::read(&mut &bundle[..]).and_then(|b| b.verify(&trusting(trusted)))
    };
    let before = read(&[1]).expect("trusted by the old key");
    assert_eq!(before.signed_by(), old.public());
    assert_eq!(before.new_key(), Some(new.public()));
    let after = read(&[2]).expect("trusted by the new key");
    assert_eq!(after.signed_by(), new.public());
    assert_eq!(after.new_key(), None, "it changed already");
    assert!(matches!(read(&[3]), Err(Error::UnknownSigner { .. })));
    assert!(matches!(read(&[]), Err(Error::UnknownSigner { .. })));
    let same = Builder::new(release(7), Hash([9; 32]), &old)
        .new_key(&old)
        .write(&mut Cursor::new(&noise(1, 4)[..]), &mut [], &mut bundle);
    assert!(matches!(same, Err(BuildError::SameKey)));
}

/// An edit of a slot, in blocks.
#[derive(Debug, Clone)]
enum Edit {
    Overwrite(usize, u64, usize),
    Insert(usize, u64, usize),
    Remove(usize, usize),
    Clear(usize, usize),
    Touch(usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = || 0usize..200;
    prop::collection::vec(
        prop_oneof![
            (at(), any::<u64>(), 1usize..20).prop_map(|(a, s, n)| Edit::Overwrite(a, s, n)),
            (at(), any::<u64>(), 1usize..20).prop_map(|(a, s, n)| Edit::Insert(a, s, n)),
            (at(), 1usize..20).prop_map(|(a, n)| Edit::Remove(a, n)),
            (at(), 1usize..20).prop_map(|(a, n)| Edit::Clear(a, n)),
            at().prop_map(Edit::Touch),
        ],
        0..8,
    )
}

fn edited(slot: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut new = slot.to_vec();
    for edit in edits {
        let place = |at: &usize, len: usize| (at * BLOCK).min(len);
        let len = new.len();
        match edit {
            Edit::Overwrite(at, seed, n) => {
                let start = place(at, len);
                let end = (start + n * BLOCK).min(len);
                new.splice(start..end, noise(*seed, *n));
            }
            Edit::Insert(at, seed, n) => {
                let start = place(at, len);
                new.splice(start..start, noise(*seed, *n));
            }
            Edit::Remove(at, n) => {
                let start = place(at, len);
                new.drain(start..(start + n * BLOCK).min(len));
            }
            Edit::Clear(at, n) => {
                let start = place(at, len);
                new[start..(start + n * BLOCK).min(len)].fill(0);
            }
            Edit::Touch(at) => {
                if let Some(byte) = new.get_mut(at * BLOCK + 17) {
                    *byte = byte.wrapping_add(1);
                }
            }
        }
    }
    if new.is_empty() {
        new = noise(1, 1);
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_edit_installs_from_any_state(
        seed in any::<u64>(),
        blocks in 1usize..200,
        edits in edits(),
        other in edits(),
        with_base in any::<bool>(),
    ) {
        let old = noise(seed, blocks);
        let new = edited(&old, &edits);
        let bases: &[&[u8]] = if with_base { &[&old] } else { &[] };
        let bundle = build(&new, bases);
        // Over any content of the target, and with a running slot that is not
        // the one that the deltas were made against.
        let (target, _) = install(&bundle, &old, edited(&old, &other)[..0].to_vec());
        prop_assert!(target == new);
        let unrelated = edited(&old, &other);
        let mut dirty = unrelated.clone();
        dirty.truncate(new.len());
        let (target, _) = install(&bundle, &unrelated, dirty);
        prop_assert!(target == new);
    }
}
