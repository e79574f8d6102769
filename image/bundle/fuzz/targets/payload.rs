//! A signed payload of any bytes, plain and over a base range.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_bundle::limits::BLOCK;
use roost_bundle::{Check, Chunk, Delta, Hash, decode_chunk, decode_delta};

fuzz_target!(|bytes: &[u8]| {
    // The frame's magic is given, so that every input reaches zstd.
    let stored = [&0xFD2F_B528_u32.to_le_bytes()[..], bytes].concat();
    let chunk = Chunk {
        hash: Hash([0; 32]),
        check: Check::of(&stored),
        payload: 0,
        at: 0,
        len: 4 * BLOCK as u32,
        stored: stored.len() as u32,
    };
    assert!(
        decode_chunk(0, &chunk, &stored).is_err(),
        "no preimage of zero"
    );
    let base: Vec<u8> = (0..2 * BLOCK).map(|i| (i * i >> 5) as u8).collect();
    let delta = Delta {
        base_hash: Hash::of(&base),
        check: chunk.check,
        base: 0,
        payload: 0,
        chunk: 0,
        base_len: base.len() as u32,
        stored: chunk.stored,
    };
    assert!(decode_delta(0, &chunk, &delta, &base, &stored).is_err());
});
