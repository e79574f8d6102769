//! Bytes that somebody changed, cut off or made up.

use super::{build, build_with, key, noise, open, release, trusting};
use crate::envelope::seal;
use crate::limits::{BLOCK, CHUNK_ROW, DELTA_ROW, HEADER_BYTES, MAX_MANIFEST, SIGNATURE_BYTES};
use crate::payload::unpack_frame;
use crate::tables::{encode_chunks, encode_deltas};
use crate::{
    Chunk, Delta, Error, Hash, Manifest, PayloadsAt, Tables, Unverified, apply, decode_delta, plan,
};
use proptest::prelude::*;
use std::io::Cursor;

/// Reads a whole bundle as a box with an empty running slot would, then every
/// delta against `base`.
fn read_all(bundle: &[u8], base: &[u8]) -> Result<Vec<u8>, Error> {
    let mut from = bundle;
    let verified = Unverified::read(&mut from)?.verify(&trusting(&[1]))?;
    verified.check_length(bundle.len() as u64)?;
    let tables = verified.read_tables(&mut from)?;
    unpack_all(bundle, base, verified.payload_start() as usize, &tables)
}

fn unpack_all(bundle: &[u8], base: &[u8], start: usize, tables: &Tables) -> Result<Vec<u8>, Error> {
    let mut payloads = PayloadsAt::new(Cursor::new(bundle), start as u64);
    let mut out = Cursor::new(Vec::new());
    for action in plan(tables, &mut ()).actions {
        apply(
            &action,
            tables,
            &mut Cursor::new([]),
            &mut payloads,
            &mut out,
        )?;
    }
    for delta in tables.deltas() {
        let at = start + delta.payload as usize;
        let row = delta.chunk as usize;
        let start = delta.base as usize;
        decode_delta(
            row,
            &tables.chunks()[row],
            delta,
            &base[start..start + delta.base_len as usize],
            &bundle[at..at + delta.stored as usize],
        )?;
    }
    Ok(out.into_inner())
}

/// A small bundle with a delta, its slot and the base.
fn small() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let base = noise(1, 2);
    let mut slot = base.clone();
    slot[77] ^= 1;
    // Only a little noise: every byte of the bundle is turned over below.
    slot[600..].fill(7);
    let mut base = slot.clone();
    base[99] ^= 1;
    slot.extend([0; BLOCK]);
    let bundle = build(&slot, &[&base]);
    (bundle, slot, base)
}

#[test]
fn no_byte_can_be_changed() {
    let (bundle, slot, base) = small();
    assert_eq!(
        open(&bundle).1.deltas().len(),
        1,
        "a delta is among the bytes"
    );
    assert!(read_all(&bundle, &base).expect("good") == slot);
    let (verified, tables) = open(&bundle);
    let payloads = verified.payload_start() as usize;
    let tables_at = payloads - tables.chunks().len() * CHUNK_ROW - DELTA_ROW;
    for at in 0..bundle.len() {
        let mut bad = bundle.clone();
        bad[at] ^= 1 << (at % 8);
        // Each part alone, because an Ed25519 check is slow in a test.
        let refused = if at < tables_at {
            Unverified::read(&mut &bad[..])
                .and_then(|b| b.verify(&trusting(&[1])))
                .is_err()
        } else if at < payloads {
            verified.read_tables(&mut &bad[tables_at..]).is_err()
        } else {
            unpack_all(&bad, &base, payloads, &tables).is_err()
        };
        assert!(refused, "byte {at}");
    }
}

#[test]
fn no_byte_can_be_missing_or_added() {
    let (bundle, _, base) = small();
    for len in 0..bundle.len() {
        assert!(read_all(&bundle[..len], &base).is_err(), "{len} bytes");
    }
    // Without a known length, as in a stream, the tables are still found cut off.
    let head = open(&bundle).0.payload_start() as usize;
    for len in 0..head {
        let mut from = &bundle[..len];
        let error = Unverified::read(&mut from)
            .and_then(|b| b.verify(&trusting(&[1])))
            .and_then(|b| b.read_tables(&mut from));
        assert!(matches!(error, Err(Error::Truncated { .. })), "{len} bytes");
    }
    let longer = [&bundle[..], b"x"].concat();
    assert!(matches!(
        read_all(&longer, &base),
        Err(Error::Length { .. })
    ));
}

#[test]
fn signatures_cannot_be_taken_away_added_exchanged_or_swapped() {
    let new = key(2);
    let both = {
        let mut out = Vec::new();
        let old = key(1);
        crate::Builder::new(release(7), Hash([9; 32]), &old)
            .new_key(&new)
            .write(&mut Cursor::new(&noise(1, 4)[..]), &mut [], &mut out)
            .expect("a bundle");
        out
    };
    let verify = |bundle: &[u8]| Unverified::read(&mut &bundle[..])?.verify(&trusting(&[1]));
    verify(&both).expect("good");
    let (one, two) = (
        HEADER_BYTES + SIGNATURE_BYTES,
        HEADER_BYTES + 2 * SIGNATURE_BYTES,
    );

    let mut stripped = [&both[..one], &both[two..]].concat();
    stripped[10] = 1;
    assert!(matches!(verify(&stripped), Err(Error::Signature { .. })));

    let swapped = [
        &both[..HEADER_BYTES],
        &both[one..two],
        &both[HEADER_BYTES..one],
        &both[two..],
    ];
    assert!(matches!(
        verify(&swapped.concat()),
        Err(Error::Signature { .. })
    ));

    // A stranger signs the same manifest and puts his signature in the second place.
    let manifest = &both[two..two + manifest_len(&both)];
    let strangers = seal(manifest, &[&key(1), &key(3)]);
    let mut exchanged = both.clone();
    exchanged[one..two].copy_from_slice(&strangers[one..two]);
    assert!(matches!(verify(&exchanged), Err(Error::Signature { .. })));

    let twice = [&both[..one], &both[HEADER_BYTES..one], &both[two..]].concat();
    assert!(matches!(verify(&twice), Err(Error::SameSigner { .. })));

    let single = build(&noise(1, 4), &[]);
    let mut added = [&single[..one], &strangers[one..two], &single[one..]].concat();
    added[10] = 2;
    assert!(matches!(verify(&added), Err(Error::Signature { .. })));
}

fn manifest_len(bundle: &[u8]) -> usize {
    u32::from_le_bytes([bundle[12], bundle[13], bundle[14], bundle[15]]) as usize
}

#[test]
fn keys_without_strength_are_never_signers() {
    // The neutral element: cofactored checks accept its "signatures" of anything.
    let mut bundle = build(&noise(1, 4), &[]);
    let mut weak = [0; 32];
    weak[0] = 1;
    bundle[16..48].copy_from_slice(&weak);
    bundle[48..80].copy_from_slice(&weak);
    bundle[80..112].fill(0);
    let trusted = crate::TrustedKeys::new([crate::PublicKey(weak)]);
    let error = Unverified::read(&mut &bundle[..]).and_then(|b| b.verify(&trusted));
    assert!(matches!(error, Err(Error::Signature { .. })), "{error:?}");
}

#[test]
fn a_key_change_must_be_told_the_same_way_twice() {
    let good = open(&build(&noise(1, 4), &[])).0.manifest().clone();
    let verify = |new_key: Option<u8>, signers: &[u8]| {
        let manifest = Manifest {
            new_key: new_key.map(|n| key(n).public()),
            ..good.clone()
        };
        let keys: Vec<_> = signers.iter().map(|n| key(*n)).collect();
        let json = serde_json::to_vec(&manifest).expect("JSON");
        let bundle = seal(&json, &keys.iter().collect::<Vec<_>>());
        Unverified::read(&mut &bundle[..])?.verify(&trusting(&[1]))
    };
    verify(None, &[1]).expect("no change");
    verify(Some(2), &[1, 2]).expect("a change");
    verify(Some(2), &[2, 1]).expect("in either order");
    for (new_key, signers) in [
        (Some(2), &[1][..]),
        (Some(1), &[1]),
        (None, &[1, 2]),
        (Some(3), &[1, 2]),
    ] {
        let error = verify(new_key, signers);
        assert!(matches!(error, Err(Error::Rotation { .. })), "{error:?}");
    }
}

#[test]
fn a_signed_manifest_is_still_checked() {
    let good = open(&build(&noise(1, 4), &[])).0.manifest().clone();
    let json = serde_json::to_string(&good).expect("JSON");
    let verify = |json: &str| {
        let bundle = seal(json.as_bytes(), &[&key(1)]);
        Unverified::read(&mut &bundle[..])?.verify(&trusting(&[1]))
    };
    verify(&json).expect("good");
    let hash = "09".repeat(32);
    let changes = [
        (r#"{"release""#, r#"{"extra":1,"release""#),
        (r#""bytes":16384"#, r#""bytes":16385"#),
        (r#""bytes":16384"#, r#""bytes":0"#),
        (r#""bytes":16384"#, r#""bytes":-1"#),
        (r#""bytes":16384"#, r#""bytes":1e3"#),
        (r#""bytes":16384"#, r#""bytes":16384,"bytes":4096"#),
        (r#""bytes":16384"#, r#""bytes":1152921504606846976"#),
        (r#"["rpi4","virt"]"#, "[]"),
        (r#"["rpi4","virt"]"#, r#"["RPI 4"]"#),
        (r#""name":"2026.7""#, r#""name":"""#),
        (r#""name":"2026.7""#, "\"name\":\"\\u001b[2J\""),
        (r#""notes":"First"#, "\"notes\":\"\\u001b[2J"),
        (r#""min_version":1"#, r#""min_version":8"#),
        (r#""rows":0"#, r#""rows":16385"#),
        (&hash, "0A"),
        (&hash, &hash.replace('0', "A")),
    ];
    for (from, to) in changes {
        assert!(json.contains(from), "{from} in {json}");
        let error = verify(&json.replacen(from, to, 1));
        assert!(
            matches!(error, Err(Error::Manifest { .. })),
            "{to}: {error:?}"
        );
    }
    let deep = "[".repeat(MAX_MANIFEST as usize);
    assert!(matches!(verify(&deep), Err(Error::Manifest { .. })));
}

/// Good tables, for changing.
fn good_tables() -> (Vec<Chunk>, Vec<Delta>, u64, u64) {
    let base = noise(1, 200);
    let mut slot = base.clone();
    for at in (0..slot.len()).step_by(BLOCK) {
        slot[at] ^= 1;
    }
    slot.extend(vec![0; 5 * BLOCK]);
    let (verified, tables) = open(&build(&slot, &[&base]));
    assert!(tables.chunks().len() > 2 && tables.deltas().len() > 1);
    (
        tables.chunks().to_vec(),
        tables.deltas().to_vec(),
        slot.len() as u64,
        verified.manifest().payload_bytes,
    )
}

#[test]
fn signed_tables_are_still_checked() {
    type Change = fn(&mut Vec<Chunk>, &mut Vec<Delta>);
    let changes: &[(&str, Change)] = &[
        ("no chunk", |c, _| c.clear()),
        ("a chunk of no bytes", |c, _| c[0].len = 0),
        ("a chunk of half a block", |c, _| c[0].len += 2048),
        ("a chunk of 4 GiB", |c, _| c[0].len = u32::MAX),
        ("a chunk too long for the slot", |c, _| c[0].len += 4096),
        ("a chunk missing", |c, _| {
            c.pop();
        }),
        ("a payload of 4 GiB", |c, _| c[0].stored = u32::MAX),
        ("a payload longer than its chunk can be", |c, _| {
            c[0].stored = crate::limits::max_stored(c[0].len) + 1;
        }),
        ("a payload at the end of the numbers", |c, _| {
            c[0].payload = u64::MAX
        }),
        ("a payload that overlaps", |c, _| c[1].payload -= 1),
        ("a payload left out", |c, _| c[0].stored -= 1),
        ("zeros that name a payload", |c, _| {
            c.last_mut().expect("zeros").payload = 1;
        }),
        ("data that claim to be zeros", |c, _| {
            (c[0].stored, c[0].payload, c[0].check) = (0, 0, crate::Check::NONE);
        }),
        ("one hash with two payloads", |c, _| c[1].hash = c[0].hash),
        ("a delta for no chunk", |_, d| d[0].chunk = u32::MAX),
        ("deltas in disorder", |_, d| d.reverse()),
        ("a base of no bytes", |_, d| d[0].base_len = 0),
        ("a base of 4 GiB", |_, d| d[0].base_len = u32::MAX),
        ("a base of half a block", |_, d| d[0].base_len += 1),
        ("a base at half a block", |_, d| d[0].base += 1),
        ("a base at the end of the numbers", |_, d| {
            d[0].base = u64::MAX - 4095;
        }),
        ("a delta without payload", |_, d| d[0].stored = 0),
        ("a delta outside of the bundle", |_, d| {
            d[0].payload = 1 << 40
        }),
        ("a delta missing", |_, d| {
            d.pop();
        }),
    ];
    let (chunks, deltas, slot, payload) = good_tables();
    let parse = |chunks: &[Chunk], deltas: &[Delta]| {
        Tables::parse(
            slot,
            payload,
            &encode_chunks(chunks),
            &encode_deltas(deltas),
        )
    };
    parse(&chunks, &deltas).expect("good");
    let mut told = String::new();
    for (name, change) in changes {
        let (mut chunks, mut deltas) = (chunks.clone(), deltas.clone());
        change(&mut chunks, &mut deltas);
        let error = parse(&chunks, &deltas).expect_err(name);
        told += &format!("{name}\n    {error}\n");
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_frame_cannot_unpack_to_more_than_the_table_says() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).expect("a frame");
    assert!(bomb.len() < 10_000);
    let error = unpack_frame(&bomb, &[], 4096).expect_err("too long");
    assert!(error.contains("too small"), "{error}");
    let two = [&bomb[..], &bomb].concat();
    unpack_frame(&two, &[], 4096).expect_err("too long");
    // A skippable frame and one of zstd 0.1.
    unpack_frame(b"\x50\x2a\x4d\x18\x00\x00\x00\x00", &[], 4096).expect_err("no frame");
    unpack_frame(b"\x1e\xb5\x2f\xfd\x00\x00\x00\x00", &[], 4096).expect_err("no frame");
}

#[test]
fn unsigned_bytes_never_reach_zstd() {
    let bundle = build_with(&noise(1, 4), &[], |b| b);
    let (verified, tables) = open(&bundle);
    let start = verified.payload_start() as usize;
    let error = crate::decode_chunk(0, &tables.chunks()[0], &bundle[start + 1..]);
    assert!(
        matches!(error, Err(Error::Payload { chunk: 0 })),
        "{error:?}"
    );
    let error = crate::decode_chunk(0, &tables.chunks()[0], &[]);
    assert!(
        matches!(error, Err(Error::Payload { chunk: 0 })),
        "{error:?}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400), good in 0usize..17) {
        let mut bytes = bytes;
        let header = build_header(300);
        let n = good.min(bytes.len());
        bytes[..n].copy_from_slice(&header[..n]);
        prop_assert!(Unverified::read(&mut &bytes[..]).and_then(|b| b.verify(&trusting(&[1]))).is_err());
    }

    #[test]
    fn any_tables_are_answered(
        chunks in prop::collection::vec(any::<u8>(), 0..20 * CHUNK_ROW),
        deltas in prop::collection::vec(any::<u8>(), 0..300),
        slot in any::<u64>(),
        payload in any::<u64>(),
    ) {
        let chunks = &chunks[..chunks.len() / CHUNK_ROW * CHUNK_ROW];
        let _ = Tables::parse(slot, payload, chunks, &deltas);
    }

    #[test]
    fn any_frame_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..400), base in 0usize..3) {
        let frame = [&0xFD2F_B528_u32.to_le_bytes()[..], &bytes].concat();
        if let Ok(raw) = unpack_frame(&frame, &noise(1, base), 8192) {
            prop_assert!(raw.len() <= 8192);
        }
    }
}

fn build_header(manifest: u32) -> Vec<u8> {
    let mut header = b"ROOSTBDL\x01\x00\x01\x00".to_vec();
    header.extend(manifest.to_le_bytes());
    header.push(0);
    header
}
