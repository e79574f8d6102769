//! The example in docs/bundle-format.md is what this crate writes and reads.

use super::{key, open};
use crate::limits::{self, BLOCK};
use crate::{Builder, Component, Hash, Release};
use std::fmt::Write;
use std::io::Cursor;

const PAGE: &str = include_str!("../../../../docs/bundle-format.md");

/// The example's slot: a block of zeros and a block of text.
fn slot() -> Vec<u8> {
    let mut slot = vec![0; BLOCK];
    slot.extend(b"Roost.\n\0".repeat(BLOCK / 8));
    slot
}

fn example() -> Vec<u8> {
    let release = Release {
        boards: ["rpi4".to_owned()].into(),
        version: 2,
        name: "1.1".into(),
        min_version: 1,
        created: 1_790_000_000,
        reversible: true,
        mail_store: 1,
        settings_format: 1,
        components: vec![Component {
            name: "linux".into(),
            version: "6.12".into(),
        }],
        notes: "Faster.\n".into(),
    };
    let mut bundle = Vec::new();
    Builder::new(release, Hash([0xab; 32]), &key(1))
        .write(&mut Cursor::new(slot()), &mut [], &mut bundle)
        .expect("a bundle");
    bundle
}

fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let digits: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(text, "{:04x}  {}", line * 16, digits.join(" ")).expect("text");
    }
    text
}

#[test]
fn the_example_is_what_is_written_and_can_be_read() {
    let (_, rest) = PAGE.split_once("```hex\n").expect("a block of digits");
    let (written, _) = rest.split_once("```").expect("its end");
    let bundle = example();
    assert!(
        written == dump(&bundle),
        "docs/bundle-format.md should show this (after a new version of zstd, \
         the payload at the end may differ):\n{}",
        dump(&bundle)
    );
    let digits: String = written
        .lines()
        .filter_map(|line| line.split_once("  "))
        .flat_map(|(_, digits)| digits.split(' '))
        .collect();
    let bytes = hex::decode(digits).expect("digits");
    let (verified, tables) = open(&bytes);
    assert_eq!(verified.signed_by(), key(1).public());
    assert!(PAGE.contains(&key(1).public().to_string()));
    assert!(tables.chunks()[0].is_zero());
    let stored = &bytes[verified.payload_start() as usize..];
    let raw = crate::decode_chunk(1, &tables.chunks()[1], stored).expect("the chunk");
    assert_eq!(raw, slot()[BLOCK..]);
    // The page's manifest, written in many lines, is the one in the bytes.
    let (_, rest) = PAGE.split_once("```json\n").expect("a manifest");
    let (json, _) = rest.split_once("```").expect("its end");
    let shown: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let real = serde_json::to_value(verified.manifest()).expect("JSON");
    assert_eq!(shown, real, "{real:#}");
}

#[test]
fn the_limits_on_the_page_are_those_of_the_code() {
    let mib = |n: u64| format!("{} MiB", n >> 20);
    let rows = [
        ("manifest", format!("{} KiB", limits::MAX_MANIFEST >> 10)),
        ("slot", mib(limits::MAX_SLOT)),
        ("chunk", mib(limits::MAX_CHUNK.into())),
        ("base range", mib(limits::MAX_BASE.into())),
        ("all payloads", mib(limits::MAX_PAYLOAD)),
        ("rows of the chunk table", limits::MAX_CHUNKS.to_string()),
        ("rows of the delta table", limits::MAX_DELTAS.to_string()),
    ];
    for (name, value) in rows {
        let row = format!("| {name} | {value} |");
        assert!(PAGE.contains(&row), "{row}");
    }
    assert!(PAGE.contains(&format!("{} bytes each", limits::CHUNK_ROW)));
    assert!(PAGE.contains(&format!("{} bytes each", limits::DELTA_ROW)));
}
