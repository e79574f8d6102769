//! Tests of the whole crate, and what they share.

mod admission;
mod cutting;
mod docs;
mod errors;
mod hostile;
mod planning;
mod round_trip;

use crate::limits::BLOCK;
use crate::{Builder, Component, Hash, Release, SigningKey, TrustedKeys, Unverified, Verified};
use std::io::Cursor;
use std::sync::LazyLock;

/// The lowest level that finds what noise shares with a base range.
const LEVEL: i32 = 6;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn trusting(keys: &[u8]) -> TrustedKeys {
    TrustedKeys::new(keys.iter().map(|n| key(*n).public()))
}

fn release(version: u64) -> Release {
    Release {
        boards: ["rpi4".to_owned(), "virt".to_owned()].into(),
        version,
        name: format!("2026.{version}"),
        min_version: 1,
        created: 1_790_000_000,
        reversible: true,
        mail_store: 3,
        settings_format: 2,
        components: vec![Component {
            name: "linux".into(),
            version: "6.12.48-1".into(),
        }],
        notes: "First line.\nSecond line.\n".into(),
    }
}

/// Pseudo-random blocks that do not compress; the seed decides them.
fn noise(seed: u64, blocks: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(blocks * BLOCK);
    for _ in 0..blocks * BLOCK / 8 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend(x.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out
}

fn build(slot: &[u8], bases: &[&[u8]]) -> Vec<u8> {
    build_with(slot, bases, |builder| builder)
}

fn build_with<'a>(
    slot: &[u8],
    bases: &[&[u8]],
    change: impl FnOnce(Builder<'a>) -> Builder<'a>,
) -> Vec<u8> {
    static KEY: LazyLock<SigningKey> = LazyLock::new(|| key(1));
    let builder = change(Builder::new(release(7), Hash([9; 32]), &KEY).level(LEVEL));
    let mut bases: Vec<_> = bases.iter().map(|base| Cursor::new(*base)).collect();
    let mut out = Vec::new();
    let summary = builder
        .write(&mut Cursor::new(slot), &mut bases, &mut out)
        .expect("a bundle");
    assert_eq!(
        summary.head + summary.plain + summary.delta,
        out.len() as u64
    );
    out
}

/// Opens a bundle of key 1.
fn open(bundle: &[u8]) -> (Verified, crate::Tables) {
    let mut from = bundle;
    let verified = Unverified::read(&mut from)
        .and_then(|unverified| unverified.verify(&trusting(&[1])))
        .expect("a good bundle");
    verified
        .check_length(bundle.len() as u64)
        .expect("its length");
    let tables = verified.read_tables(&mut from).expect("good tables");
    assert_eq!(bundle.len() - from.len(), verified.payload_start() as usize);
    (verified, tables)
}
