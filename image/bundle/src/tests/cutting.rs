//! Where slots are cut.

use super::noise;
use crate::chunker::{MAX_DATA, TAIL, mark};
use crate::limits::{BLOCK, MAX_CHUNK};
use crate::local::pieces;
use crate::{Chunker, Hash, is_zero};
use proptest::prelude::*;
use std::collections::HashSet;

fn lengths(slot: &[u8]) -> Vec<usize> {
    let pieces = pieces(slot).expect("a slot");
    pieces.iter().map(|p| p.len as usize / BLOCK).collect()
}

#[test]
fn marks_stay_the_same_for_ever() {
    // A box cuts its slot as the laptop cut it, perhaps years ago.
    insta::assert_snapshot!(format!(
        "{:016x} {:016x} {:?}",
        mark(&[0; BLOCK]),
        mark(&noise(1, 1)),
        lengths(&noise(1, 200))
    ));
}

#[test]
fn the_average_is_near_300_kib() {
    let chunks = lengths(&noise(3, 12_000));
    let average = 12_000 / chunks.len();
    assert!((65..=85).contains(&average), "{average} blocks");
}

#[test]
fn zeros_are_chunks_of_their_own() {
    let slot = [noise(1, 3), vec![0; 700 * BLOCK], noise(2, 3)].concat();
    assert_eq!(lengths(&slot), [3 + TAIL, 256, 256, 700 - TAIL - 512, 3]);
    // A few zeros within data are data.
    let slot = [noise(1, 2), vec![0; BLOCK], noise(2, 2)].concat();
    assert!(!pieces(&slot[..]).expect("a slot")[0].zero);
    assert_eq!(lengths(&[]), [0usize; 0]);
}

#[test]
fn equal_blocks_that_are_no_zeros_are_cut_too() {
    let slot = vec![0x41; 300 * BLOCK];
    let chunks = lengths(&slot);
    assert!(chunks.iter().all(|len| *len <= MAX_DATA), "{chunks:?}");
}

/// The chunk it fell into and, rarely, some more until marks agree again.
#[test]
fn an_insertion_costs_few_chunks() {
    let mut cost = 0;
    for seed in 1..=16 {
        let old = noise(seed, 1000);
        let mut new = old.clone();
        let at = seed as usize * 61 * BLOCK;
        new.splice(at..at, noise(!seed, 1 + seed as usize % 11));
        let known: HashSet<Hash> = pieces(&old[..])
            .expect("a slot")
            .iter()
            .map(|p| p.hash)
            .collect();
        let pieces = pieces(&new[..]).expect("a slot");
        let fresh = pieces.iter().filter(|p| !known.contains(&p.hash));
        cost += fresh.map(|p| p.len as usize / BLOCK).sum::<usize>();
    }
    assert!(cost / 16 <= 150, "{} blocks of 1000", cost / 16);
}

#[test]
fn an_incomplete_block_is_refused() {
    let error = pieces(&noise(1, 2)[1..]).expect_err("an odd length");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn zeros_are_told_from_data() {
    for len in [0, 1, 15, 16, 17, 4096, 4099] {
        let mut bytes = vec![0; len];
        assert!(is_zero(&bytes));
        for at in [0, len / 2, len.saturating_sub(1)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = 1;
                assert!(!is_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunks_are_the_slot(seed in any::<u64>(), runs in prop::collection::vec((any::<bool>(), 1usize..90), 0..8)) {
        let slot: Vec<u8> = runs.iter().enumerate().flat_map(|(i, (zero, n))| {
            if *zero { vec![0; n * BLOCK] } else { noise(seed.wrapping_add(i as u64), *n) }
        }).collect();
        let mut chunker = Chunker::new(&slot[..]);
        let (mut chunk, mut all) = (Vec::new(), Vec::<u8>::new());
        while chunker.next_into(&mut chunk).expect("a slot") {
            prop_assert!(!chunk.is_empty() && chunk.len() <= MAX_CHUNK as usize);
            prop_assert!(is_zero(&chunk) || chunk.len() <= MAX_DATA * BLOCK);
            all.extend(&chunk);
        }
        prop_assert!(all == slot);
    }
}
