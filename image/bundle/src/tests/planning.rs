//! Steps are few and say what they cost.

use super::{build, noise, open};
use crate::limits::BLOCK;
use crate::{Action, ActiveSlot, Hash, Local, Source, plan, resume};
use std::io::Cursor;

#[test]
fn steps_merge() {
    let slot = [noise(1, 300), vec![0; 700 * BLOCK], noise(2, 300)].concat();
    let bundle = build(&slot, &[]);
    let (_, tables) = open(&bundle);
    let all = plan(&tables, &mut ());
    let kinds: Vec<_> = all.actions.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 3, "{:?}", all.actions);
    assert_eq!(all.write, slot.len() as u64);
    let paid: u64 = all
        .actions
        .iter()
        .filter_map(Action::payload)
        .map(|range| range.end - range.start)
        .sum();
    assert_eq!(all.send, paid);
    assert!(matches!(&all.actions[1], Action::Zero { chunks } if chunks.len() == 3));

    let mut local = ActiveSlot::read(Cursor::new(&slot)).expect("a slot");
    let copies = plan(&tables, &mut local);
    assert_eq!(copies.actions.len(), 3, "{:?}", copies.actions);
    // The chunk before the zeros holds the first four blocks of them.
    assert_eq!((copies.send, copies.copied), (0, 604 * BLOCK as u64));
}

#[test]
fn what_is_done_is_left_out_and_copied_from() {
    let part = noise(3, 300);
    let slot = [part.clone(), vec![0; 8 * BLOCK], part].concat();
    let bundle = build(&slot, &[]);
    let (_, tables) = open(&bundle);
    // The second half is right already: the first is copied from there.
    let zero = tables.chunks().iter().rposition(|c| c.is_zero());
    let zero = zero.expect("zeros");
    let done: Vec<bool> = (0..tables.chunks().len()).map(|row| row > zero).collect();
    let rest = resume(&tables, &mut (), &done);
    let from_target = rest.actions.iter().any(|action| {
        matches!(action, Action::Copy { source: Source::Target, from, .. } if *from > tables.chunks()[zero].at)
    });
    assert!(from_target, "{:?}", rest.actions);
    assert!(resume(&tables, &mut (), &vec![true; 1000]).is_empty());
    assert_eq!(resume(&tables, &mut (), &[]), plan(&tables, &mut ()));
}

/// A box that counts how often its card is read for a base range.
struct Counting(usize);

impl Local for Counting {
    fn find(&mut self, _: &Hash, _: u32) -> Option<u64> {
        None
    }

    fn has_base(&mut self, _: u64, _: u32, _: &Hash) -> bool {
        self.0 += 1;
        true
    }
}

#[test]
fn the_smallest_delta_that_fits_is_taken_and_no_other_is_looked_at() {
    let older = noise(5, 16);
    let mut old = older.clone();
    old[100..3000].copy_from_slice(&noise(6, 1)[..2900]);
    let mut new = old.clone();
    new[5000] ^= 1;
    let bundle = build(&new, &[&older, &old]);
    let (_, tables) = open(&bundle);
    assert!(tables.deltas().len() > tables.deltas_of(0).count() || tables.chunks().len() == 1);
    let mut local = Counting(0);
    let plan = plan(&tables, &mut local);
    assert!(local.0 <= tables.chunks().len());
    let Action::Delta { delta, .. } = plan.actions[0] else {
        panic!("{:?}", plan.actions);
    };
    let smallest = tables.deltas_of(0).map(|(_, d)| d.stored).min();
    assert_eq!(Some(tables.deltas()[delta].stored), smallest);
}
