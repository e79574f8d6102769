//! Cards that fail, lie and lose their power.

use super::*;
use crate::flash::image::tests::{Made, made};
use proptest::prelude::*;
use roost_board::mbr::Mbr;
use std::io;

const CARD: [u8; SIZE] = [b'c'; SIZE];

/// A card in memory. What is written is volatile until it is synced, and when the power goes, any
/// part of it may have arrived.
struct Fake {
    bytes: Vec<u8>,
    /// Written since the last sync: place and what was there before.
    volatile: Vec<(usize, Vec<u8>)>,
    /// Writes and syncs so far.
    steps: usize,
    writes: usize,
    /// The step that fails, and all after it.
    fails_at: Option<usize>,
    /// The write that is acknowledged and forgotten.
    lies_at: Option<usize>,
    /// A bit that turns over once everything is written and before it is read back.
    flips: Option<usize>,
    /// What is read through: the place of the last sync.
    syncs: usize,
}

impl Fake {
    /// A card that was used before.
    fn used(bytes: usize) -> Self {
        let mut old: Vec<u8> = (0..bytes).map(|n| (n / 7) as u8).collect();
        // Parts of it are blank already.
        old[2 * CHUNK..4 * CHUNK].fill(0);
        let table = roost_board::layout::Layout::STANDARD.mbr(0x0dd).to_bytes();
        old[..512].copy_from_slice(&table);
        Self {
            bytes: old,
            volatile: Vec::new(),
            steps: 0,
            writes: 0,
            fails_at: None,
            lies_at: None,
            flips: None,
            syncs: 0,
        }
    }

    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.fails_at {
            Some(n) if self.steps > n => Err(io::Error::other("the card was pulled out")),
            _ => Ok(()),
        }
    }

    /// What is there after a power cut, in which each unsynced sector arrived or not.
    fn after_power_cut(&self, mut arrived: impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (at, before) in self.volatile.iter().rev() {
            for (n, sector) in before.chunks(512).enumerate() {
                if !arrived() {
                    bytes[at + n * 512..][..sector.len()].copy_from_slice(sector);
                }
            }
        }
        bytes
    }
}

impl Target for Fake {
    fn is_blank(&self) -> bool {
        false
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(buffer.as_ptr().align_offset(BLOCK) == 0, "for direct I/O");
        buffer.copy_from_slice(&self.bytes[at as usize..][..buffer.len()]);
        Ok(())
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.as_ptr().align_offset(BLOCK) == 0, "for direct I/O");
        assert!(bytes.len().is_multiple_of(BLOCK) && at.is_multiple_of(BLOCK as u64));
        self.step()?;
        self.writes += 1;
        if self.lies_at == Some(self.writes) {
            return Ok(());
        }
        let place = &mut self.bytes[at as usize..][..bytes.len()];
        self.volatile.push((at as usize, place.to_vec()));
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.step()?;
        self.volatile.clear();
        self.syncs += 1;
        if let (2, Some(bit)) = (self.syncs, self.flips) {
            self.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        Ok(())
    }
}

/// Notes the stages, and stops after so many calls.
struct Notes {
    seen: Vec<(Stage, u64)>,
    left: std::cell::Cell<usize>,
}

impl Notes {
    fn new(left: usize) -> Self {
        Self {
            seen: Vec::new(),
            left: left.into(),
        }
    }
}

impl Watch for Notes {
    fn at(&mut self, stage: Stage, done: u64) {
        self.seen.push((stage, done));
    }

    fn stop(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left == 0
    }
}

fn flash(fake: &mut Fake, image: &Made) -> Result<Written, WriteError> {
    write(
        fake,
        &image.image,
        &image.scan,
        &CARD,
        &mut Notes::new(usize::MAX),
    )
}

/// What a card must hold at the end.
fn wanted(image: &Made) -> Vec<u8> {
    let mut bytes = image.bytes.clone();
    bytes[image.scan.card.at as usize..][..SIZE].copy_from_slice(&CARD);
    bytes
}

fn bootable(bytes: &[u8]) -> bool {
    Mbr::from_bytes(bytes[..512].try_into().unwrap()).is_ok()
}

#[test]
fn a_used_card_is_the_image_afterwards_and_zeros_are_written_only_where_needed() {
    for packed in [false, true] {
        let image = made(packed);
        let mut fake = Fake::used(image.bytes.len() + CHUNK);
        let old_end = fake.bytes[image.bytes.len()..].to_vec();
        let mut notes = Notes::new(usize::MAX);
        let written = write(&mut fake, &image.image, &image.scan, &CARD, &mut notes).unwrap();
        assert!(fake.bytes[..image.bytes.len()] == wanted(&image));
        assert!(
            fake.bytes[image.bytes.len()..] == old_end,
            "no byte behind it"
        );
        assert_eq!(written.skipped, 2 * CHUNK as u64);
        let all = image.bytes.len() as u64;
        assert_eq!(written.bytes, all - written.skipped + 2 * BLOCK as u64);
        let stages: Vec<Stage> = notes.seen.iter().map(|(stage, _)| *stage).collect();
        assert!(stages.is_sorted_by_key(|stage| *stage as u8), "{stages:?}");
        for stage in [Stage::Write, Stage::Verify] {
            let last = notes.seen.iter().rfind(|(s, _)| *s == stage).unwrap();
            assert_eq!(last.1, all);
        }
    }
}

/// The card is pulled out, or the power cut, at every single step.
#[test]
fn wherever_it_is_interrupted_the_card_boots_all_right_or_not_at_all() {
    let image = made(false);
    let wanted = wanted(&image);
    let mut whole = Fake::used(image.bytes.len());
    flash(&mut whole, &image).unwrap();
    let old = Fake::used(image.bytes.len()).bytes;
    let mut seed = 1_u32;
    let mut kept_old = 0;
    for step in 0..whole.steps {
        let mut fake = Fake::used(image.bytes.len());
        fake.fails_at = Some(step);
        flash(&mut fake, &image).unwrap_err();
        for round in 0..8 {
            let after = fake.after_power_cut(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match round {
                    0 => true,
                    1 => false,
                    _ => seed >> 31 == 0,
                }
            });
            if !bootable(&after) {
                continue;
            }
            // The last step is the wait for the boot block itself; before the end of the first
            // two, nothing but that block was touched.
            if step < 2 {
                assert!(after[BLOCK..] == old[BLOCK..], "step {step}");
                kept_old += 1;
            } else {
                assert!(after == wanted, "step {step} of {}", whole.steps);
            }
        }
    }
    assert!(
        kept_old > 0 && whole.steps > 8,
        "{kept_old} {}",
        whole.steps
    );
}

#[test]
fn ctrl_c_never_leaves_a_card_that_boots() {
    let image = made(false);
    let mut stops = 0;
    loop {
        let mut fake = Fake::used(image.bytes.len());
        let mut notes = Notes::new(stops);
        match write(&mut fake, &image.image, &image.scan, &CARD, &mut notes) {
            Ok(_) => break,
            Err(WriteError::Stopped) => {
                assert!(is_zero(&fake.bytes[..BLOCK]), "after {stops} pieces");
            }
            Err(other) => panic!("{other}"),
        }
        stops += 1;
    }
    assert_eq!(stops, 2 * image.scan.chunks.len() + 1);
}

#[test]
fn a_write_that_was_only_acknowledged_is_found_out() {
    let image = made(false);
    let mut whole = Fake::used(image.bytes.len());
    flash(&mut whole, &image).unwrap();
    for lie in 1..=whole.writes {
        let mut fake = Fake::used(image.bytes.len());
        fake.lies_at = Some(lie);
        let result = flash(&mut fake, &image);
        if lie == 1 {
            // The first piece is written over it anyway, with zeros in the boot block's place.
            result.unwrap();
            continue;
        }
        assert!(
            matches!(result, Err(WriteError::Differs { .. })),
            "{lie}: {result:?}"
        );
        assert!(is_zero(&fake.bytes[..BLOCK]), "{lie}");
    }
}

#[test]
fn an_image_that_changes_meanwhile_is_noticed() {
    let image = made(false);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&image.path)
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 5 * CHUNK as u64).unwrap();
    let mut fake = Fake::used(image.bytes.len());
    let result = flash(&mut fake, &image);
    assert!(
        matches!(result, Err(WriteError::ImageChanged)),
        "{result:?}"
    );
    assert!(is_zero(&fake.bytes[..BLOCK]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is(bit: prop::sample::Index) {
        let image = made(false);
        let mut fake = Fake::used(image.bytes.len());
        let bit = bit.index(image.bytes.len() * 8);
        fake.flips = Some(bit);
        let result = flash(&mut fake, &image);
        let Err(WriteError::Differs { from, to }) = result else {
            panic!("{result:?}");
        };
        prop_assert!((from..to).contains(&(bit as u64 / 8)));
        prop_assert!(is_zero(&fake.bytes[512..BLOCK]) || bit / 8 < BLOCK);
        prop_assert!(!bootable(&fake.bytes));
    }

    #[test]
    fn the_cards_own_file_lands_where_it_belongs_whatever_the_pieces(place in 0_u64..200_000, piece in 1_usize..70_000) {
        let mut bytes = vec![0; 250_000];
        let mut at = 0;
        for piece in bytes.chunks_mut(piece) {
            overlay(piece, at, &CARD, place);
            at += piece.len() as u64;
        }
        let place = place as usize;
        prop_assert!(bytes[place..place + SIZE] == CARD);
        prop_assert!(is_zero(&bytes[..place]) && is_zero(&bytes[place + SIZE..]));
    }
}
