//! Signed tables: the input is one byte for the number of delta rows, four for
//! the payloads' length, then the delta table and the chunk table.
#![no_main]

mod sign;

use libfuzzer_sys::fuzz_target;
use roost_bundle::limits::{CHUNK_ROW, DELTA_ROW};
use roost_bundle::{Hash, plan};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_first_chunk::<5>() else {
        return;
    };
    let [rows, length @ ..] = *head;
    let Some((deltas, chunks)) = rest.split_at_checked(usize::from(rows) * DELTA_ROW) else {
        return;
    };
    let chunks = &chunks[..chunks.len() / CHUNK_ROW * CHUNK_ROW];
    // The slot is as long as the chunks say, so that this check is passed.
    let slot: u64 = chunks
        .chunks_exact(CHUNK_ROW)
        .map(|row| u64::from(u32::from_le_bytes([row[56], row[57], row[58], row[59]])))
        .sum();
    let manifest = serde_json::json!({
        "release": {
            "boards": ["virt"], "version": 2, "name": "2", "min_version": 1, "created": 0,
            "reversible": true, "mail_store": 1, "settings_format": 1, "components": [],
            "notes": "",
        },
        "slot": { "bytes": slot, "root_hash": Hash([0; 32]) },
        "chunks": { "rows": chunks.len() / CHUNK_ROW, "hash": Hash::of(chunks) },
        "deltas": { "rows": rows, "hash": Hash::of(deltas) },
        "payload_bytes": u32::from_le_bytes(length),
    });
    let Ok(verified) = sign::signed(manifest.to_string().as_bytes()) else {
        return;
    };
    let both = [chunks, deltas].concat();
    if let Ok(tables) = verified.read_tables(&mut &both[..]) {
        assert_eq!(tables.slot_bytes(), slot);
        let plan = plan(&tables, &mut ());
        assert_eq!(plan.write, slot);
        for payload in plan.actions.iter().filter_map(|action| action.payload()) {
            assert!(payload.start < payload.end);
            assert!(payload.end <= verified.manifest().payload_bytes);
        }
    }
});
