//! `roost bundle`, with slots made here in place of built ones.

use super::{INIT, Place, json, roost, text};
use std::path::Path;
use std::process::Output;

const BLOCK: usize = 4096;

/// Bytes that do not compress; the seed decides them.
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

/// A box with keys.
fn place() -> Place {
    let place = Place::new();
    let out = roost(
        place.path(),
        &[&INIT[..], &["--generate-password"]].concat(),
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
    place
}

/// Packs `slot` as release `number` into `out`.
fn make(dir: &Path, out: &str, slot: &[u8], number: &str, more: &[&str]) -> Output {
    std::fs::write(dir.join("slot.img"), slot).unwrap();
    let root_hash = "ab".repeat(32);
    let args = [
        "bundle",
        "make",
        "--output",
        out,
        "--slot",
        "slot.img",
        "--root-hash",
        &root_hash,
        "--release",
        number,
    ];
    roost(dir, &[&args[..], more].concat())
}

/// What is shown, without what differs from run to run.
fn stable(shown: &str) -> String {
    let hidden = |line: &str| {
        let line = line.trim_start();
        ["made ", "signed by ", "took "]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let lines: Vec<&str> = shown.lines().filter(|line| !hidden(line)).collect();
    lines
        .join("\n")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// The texts of a failure, without keys and places that differ from run to run.
fn failure(dir: &Path, out: &Output, code: i32) -> String {
    let shown = text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{shown}");
    let outside = dir.parent().unwrap().display().to_string();
    let words: Vec<String> = shown
        .replace(&outside, "OUTSIDE")
        .split(' ')
        .map(|word| {
            let digits: String = word.chars().filter(char::is_ascii_hexdigit).collect();
            match digits.len() {
                64 => word.replace(&digits, "KEY"),
                _ => word.to_owned(),
            }
        })
        .collect();
    words.join(" ")
}

#[test]
fn a_bundle_is_made_shown_and_found_whole() {
    let place = place();
    let dir = place.path();
    let slot = [noise(1, 200), vec![0; 20 * BLOCK], noise(2, 100)].concat();
    let out = make(dir, "one", &slot, "1", &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));

    let mut changed = slot.clone();
    changed[50 * BLOCK] ^= 1;
    let out = make(
        dir,
        "two",
        &changed,
        "2",
        &[
            "--base",
            "one/roost.bundle",
            "--notes",
            "Faster.\nAnd a leak less.",
            "--irreversible",
        ],
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
    insta::assert_snapshot!("made", stable(text(&out.stdout)));
    // Nothing but the bundle and what is known of it.
    assert_eq!(std::fs::read_dir(dir.join("two")).unwrap().count(), 2);

    let out = roost(dir, &["bundle", "inspect", "two/roost.bundle"]);
    insta::assert_snapshot!("inspected", stable(text(&out.stdout)));
    let out = roost(dir, &["bundle", "inspect", "two/roost.bundle", "--json"]);
    let event = json(&out);
    assert_eq!(event["release"]["version"], 2);
    assert_eq!(event["release"]["boards"].as_array().unwrap().len(), 4);
    assert_eq!(event["slot_bytes"], changed.len());

    let out = roost(dir, &["bundle", "verify", "two/roost.bundle", "--json"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let event = json(&out);
    assert_eq!(event["number"], 2);
    let key = event["signed_by"].as_str().unwrap();
    let out = roost(dir, &["bundle", "verify", "two/roost.bundle", "--key", key]);
    let shown = text(&out.stdout).replace(key, "KEY");
    assert_eq!(
        shown,
        format!(
            "two/roost.bundle is whole: release {}+2, signed by KEY\n",
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn the_key_changes_with_a_bundle_that_both_have_signed() {
    let place = place();
    let dir = place.path();
    let new = format!("# the next key\n{}\n", "07".repeat(32));
    std::fs::write(dir.join("new.key"), new).unwrap();
    let slot = noise(3, 20);
    let out = make(dir, "out", &slot, "5", &["--new-key", "new.key"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("can be read by others"));
    let out = roost(dir, &["bundle", "verify", "out/roost.bundle"]);
    assert!(text(&out.stdout).contains("\nAfter it the box trusts ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c instead.\n"));
    let out = roost(dir, &["bundle", "inspect", "out/roost.bundle"]);
    assert_eq!(text(&out.stdout).matches("signed by").count(), 2);

    let own = super::config_home(dir).join("roost/example.org/update.key");
    let own = own.to_str().unwrap();
    let out = make(dir, "out", &slot, "6", &["--new-key", own]);
    insta::assert_snapshot!("same_key", failure(dir, &out, 2));
}

#[test]
fn what_is_no_good_bundle_is_refused_with_the_reason() {
    let place = place();
    let dir = place.path();
    let slot = [noise(4, 100), vec![0; 20 * BLOCK]].concat();
    let out = make(dir, "out", &slot, "3", &["--base", "slot.img"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let good = std::fs::read(dir.join("out/roost.bundle")).unwrap();
    let verify = |name: &str, bytes: &[u8], args: &[&str]| {
        std::fs::write(dir.join("bad.bundle"), bytes).unwrap();
        let out = roost(dir, &[&["bundle", "verify", "bad.bundle"], args].concat());
        insta::assert_snapshot!(name, failure(dir, &out, 1));
    };
    verify(
        "bundle_of_another_kind",
        b"PK\x03\x04 and so on, longer",
        &[],
    );
    verify("bundle_cut_off", &good[..good.len() - 1], &[]);
    let changed = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    verify("bundle_manifest_changed", &changed(150), &[]);
    verify("bundle_chunk_changed", &changed(good.len() - 1), &[]);
    let other = "2cbc975c77416f3831b2af4e6321a84a38b8595b1d47c88c0084f34749f3340d";
    verify("bundle_of_a_stranger", &good, &["--key", other]);

    let out = roost(dir, &["bundle", "inspect", "none.bundle"]);
    insta::assert_snapshot!("bundle_missing", failure(dir, &out, 1));
    let out = roost(
        dir,
        &["bundle", "verify", "bad.bundle", "--config", "no.toml"],
    );
    insta::assert_snapshot!("bundle_without_keys", failure(dir, &out, 2));
    let out = roost(dir, &["bundle", "verify", "bad.bundle", "--key", "abc"]);
    insta::assert_snapshot!("bundle_key_is_none", failure(dir, &out, 2));
}

#[test]
fn without_the_right_key_no_bundle_is_made() {
    let place = place();
    let dir = place.path();
    // Before anything is built: the key of another box does not fit.
    std::fs::write(dir.join("other.key"), "08".repeat(32)).unwrap();
    let out = roost(
        dir,
        &["bundle", "make", "--quiet", "--signing-key", "other.key"],
    );
    insta::assert_snapshot!("other_key", failure(dir, &out, 2));
    std::fs::remove_dir_all(super::config_home(dir)).unwrap();
    let out = roost(dir, &["bundle", "make"]);
    insta::assert_snapshot!("no_key", failure(dir, &out, 1));
    let out = make(
        dir,
        "out",
        &noise(1, 5)[1..],
        "1",
        &["--signing-key", "other.key"],
    );
    insta::assert_snapshot!("odd_slot", failure(dir, &out, 1));
    let long = ["--signing-key", "other.key", "--notes", "bell \u{7}"];
    let out = make(dir, "out", &noise(1, 5), "1", &long);
    insta::assert_snapshot!("bad_notes", failure(dir, &out, 2));
    let left: Vec<_> = std::fs::read_dir(dir.join("out")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
