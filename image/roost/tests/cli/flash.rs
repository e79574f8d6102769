//! `roost flash` into files: what scripts see, and what is in the file afterwards.

use super::{Place, json, roost, text};
use roost_board::mbr::{Kind, Mbr, Partition};
use roost_service::card::{self, Card};
use roost_service::settings::Network;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Output;

const MIB: usize = 1 << 20;
/// Where the test's image has its data partition, and in it the placeholder.
const DATA: usize = 8 * MIB;
const CARD_AT: usize = DATA + 3 * MIB - 4096;

/// An image in little, with next to nothing in it; `mib` long.
fn image_of(dir: &Path, mib: usize) -> Vec<u8> {
    let mut bytes = vec![0; mib * MIB];
    let partition = |start: usize, end: usize, kind| {
        Some(Partition {
            kind,
            active: false,
            start: (start / 512) as u32,
            sectors: ((end - start) / 512) as u32,
        })
    };
    let mbr = Mbr::new(
        0x1234,
        [
            partition(MIB, 2 * MIB, Kind::Fat32),
            partition(2 * MIB, 5 * MIB, Kind::Fat32),
            partition(5 * MIB, DATA, Kind::Fat32),
            partition(DATA, bytes.len(), Kind::Linux),
        ],
    );
    bytes[..512].copy_from_slice(&mbr.unwrap().to_bytes());
    bytes[2 * MIB..4 * MIB].fill(0xa5);
    bytes[CARD_AT..CARD_AT + card::SIZE].copy_from_slice(&card::placeholder());
    let build = dir.join("build");
    std::fs::create_dir_all(&build).unwrap();
    std::fs::write(build.join("roost.img"), &bytes).unwrap();
    bytes
}

fn image(dir: &Path) -> Vec<u8> {
    image_of(dir, 32)
}

/// Digits behind which time and chance stand.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        // Times stand in a column of their own: "  ✓ write   0.4 s  …".
        if line.trim_start().starts_with('✓') {
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut kept: Vec<&str> = Vec::new();
            for (n, word) in words.iter().enumerate() {
                let next = words.get(n + 1).copied().unwrap_or_default();
                let rate = next.ends_with("/s");
                let time = next == "s" && word.parse::<f64>().is_ok();
                kept.push(if rate || time { "N" } else { word });
            }
            line = kept.join(" ").replace("N GB/s", "N MB/s");
        }
        out += &line;
        out.push('\n');
    }
    out
}

fn flash(dir: &Path, args: &[&str]) -> Output {
    roost(dir, &[&["flash"][..], args].concat())
}

#[test]
fn a_file_becomes_a_card_of_its_own() {
    let dir = Place::new();
    let mut wanted = image(dir.path());
    let out = flash(
        dir.path(),
        &[
            "card.img",
            "--name",
            "attic",
            "--static",
            "192.168.1.5/24",
            "--gateway",
            "192.168.1.1",
            "--laptop",
            "desk",
        ],
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
    insta::assert_snapshot!("flash_steps", steady(text(&out.stderr)));
    let shown = text(&out.stdout);
    assert!(!shown.contains('█'), "no QR code in a pipe");

    let mut got = std::fs::read(dir.path().join("card.img")).unwrap();
    let file: Vec<u8> = got[CARD_AT..CARD_AT + card::SIZE].to_vec();
    let personal: Card = card::parse(&file).unwrap().unwrap();
    assert_eq!(personal.name.as_deref(), Some("attic"));
    assert!(matches!(
        personal.network,
        Some(Network::Static { prefix: 24, .. })
    ));
    let code = card::display_code(&personal.pairing.unwrap().code);
    assert!(
        shown.contains(&code) && shown.contains("https://attic.local"),
        "{shown}"
    );
    // Nothing else differs.
    for bytes in [&mut wanted, &mut got] {
        bytes[CARD_AT..CARD_AT + card::SIZE].fill(0);
    }
    assert!(wanted == got);

    // What is there is not replaced unasked.
    let out = flash(dir.path(), &["card.img", "--name", "attic"]);
    assert_eq!(out.status.code(), Some(2));
    insta::assert_snapshot!("flash_asks_first", text(&out.stderr));
    assert_eq!(
        std::fs::read(dir.path().join("card.img")).unwrap().len(),
        got.len()
    );
}

#[test]
fn scripts_hear_of_progress_and_get_the_papers() {
    let dir = Place::new();
    image(dir.path());
    std::fs::write(dir.path().join("card.img"), "old").unwrap();
    let out = flash(
        dir.path(),
        &["card.img", "--name", "attic", "--yes", "--json"],
    );
    assert!(out.status.success(), "{}", text(&out.stdout));
    let events: Vec<serde_json::Value> = text(&out.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let steps: Vec<String> = events
        .iter()
        .filter(|event| event["event"] == "step")
        .filter(|event| event["state"] != "running")
        .map(|event| {
            format!(
                "{} {}",
                event["name"].as_str().unwrap(),
                event["state"].as_str().unwrap()
            )
        })
        .collect();
    insta::assert_snapshot!("flash_events", steps.join("\n"));
    let result = json(&out);
    assert_eq!(
        (&result["event"], &result["device"]),
        (&"result".into(), &"card.img".into())
    );
    assert_eq!(result["fingerprint_words"].as_array().unwrap().len(), 6);
    assert_eq!(result["network"], serde_json::Value::Null);
    let code = result["pairing_code"].as_str().unwrap();
    assert_eq!(
        result["pairing_address"],
        format!("https://attic.local/pair#{code}")
    );
    assert_eq!(result["fingerprint"].as_str().unwrap().len(), 64);
    // A MiB that holds something is written, and the rest is zero already.
    assert!(
        result["written_bytes"].as_u64().unwrap() < 8 << 20,
        "{result}"
    );
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let meta = std::fs::metadata(dir.path().join("card.img")).unwrap();
    assert!(meta.blocks() * 512 < 16 << 20, "it is sparse");
    assert_eq!(
        meta.permissions().mode() & 0o777,
        0o600,
        "it holds a private key, so an old file is closed to others"
    );
}

#[test]
fn an_interrupted_file_does_not_boot() {
    use std::process::{Command, Stdio};
    let dir = Place::new();
    // Long enough not to be complete before the signal comes.
    image_of(dir.path(), 600);
    let mut child = Command::new(env!("CARGO_BIN_EXE_roost"))
        .args(["flash", "card.img", "--name", "attic", "--json"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let wrote = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("\"write\""));
    assert!(wrote);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let last = lines.map_while(Result::ok).last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{last}");
    assert!(last.contains("does not boot"), "{last}");
    let mut sector = [0; 512];
    let file = std::fs::File::open(dir.path().join("card.img")).unwrap();
    file.read_exact_at(&mut sector, 0).unwrap();
    assert!(Mbr::from_bytes(&sector).is_err());
}

/// What `roost pair` and all commands after it know of the card.
fn kept(dir: &Path) -> Vec<serde_json::Value> {
    let Ok(entries) = std::fs::read_dir(super::config_home(dir).join("roost/cards")) else {
        return Vec::new();
    };
    let read = |path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

#[test]
fn the_box_learns_of_this_computer_by_its_card() {
    let dir = Place::new();
    image(dir.path());
    let on_card = |options: &[&str]| {
        let args = [&["card.img", "--name", "attic", "--yes", "--json"], options].concat();
        let out = flash(dir.path(), &args);
        assert!(out.status.success(), "{}", text(&out.stdout));
        let bytes = std::fs::read(dir.path().join("card.img")).unwrap();
        let card = card::parse(&bytes[CARD_AT..CARD_AT + card::SIZE]).unwrap();
        (
            json(&out)["laptop"].clone(),
            card.unwrap().computer,
            text(&out.stdout).to_owned(),
        )
    };
    let (shown, computer, _) = on_card(&["--laptop", "desk"]);
    let computer = computer.unwrap();
    assert_eq!((shown, computer.name.as_str()), ("desk".into(), "desk"));
    let kept_card = kept(dir.path()).remove(0);
    assert_eq!(kept_card["lets_in"]["laptop"], "desk");
    let secret = kept_card["lets_in"]["key"].as_str().unwrap();
    assert_eq!(secret.len(), 64);
    assert_ne!(secret, computer.key, "the secret half stays here");
    // Nobody has to be let in; and an older image's box would not understand it.
    assert_eq!(on_card(&["--no-laptop"]).1, None);
    let path = dir.path().join("build/roost.img");
    let mut old = std::fs::read(&path).unwrap();
    old[CARD_AT..CARD_AT + card::SIZE].copy_from_slice(&card::placeholder_of(1));
    std::fs::write(&path, old).unwrap();
    let (shown, computer, said) = on_card(&[]);
    assert_eq!((shown, computer), (serde_json::Value::Null, None));
    assert!(said.contains("the image is of an older roost"), "{said}");
    let with: Vec<bool> = (kept(dir.path()).iter())
        .map(|card| card.get("lets_in").is_some())
        .collect();
    assert_eq!(with.iter().filter(|with| **with).count(), 1, "{with:?}");
}

#[test]
fn an_image_that_is_missing_is_made_and_one_that_is_old_is_told() {
    let dir = Place::new();
    let args = [&super::INIT[..], &["--generate-password"]].concat();
    assert!(roost(dir.path(), &args).status.success());
    // In an empty cache nothing can be made without the network.
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_roost"))
        .args(["flash", "card.img", "--offline"])
        .current_dir(dir.path())
        .env("XDG_CONFIG_HOME", super::config_home(dir.path()))
        .env("ROOST_CACHE", dir.path().join("cache"))
        .output()
        .unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "{said}");
    assert!(
        said.contains("There is no build/roost.img yet: it is made first, as by `roost build`."),
        "{said}"
    );
    assert!(!dir.path().join("card.img").exists());
    image(dir.path());
    let warned = || {
        let out = flash(dir.path(), &["card.img", "--yes"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let warnings = text(&out.stderr)
            .lines()
            .filter(|line| line.starts_with("warning:"));
        warnings.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(warned(), "");
    let config = std::fs::File::options()
        .write(true)
        .open(dir.path().join("roost.toml"))
        .unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    config.set_modified(later).unwrap();
    insta::assert_snapshot!("flash_of_an_old_image", warned());
}

/// Everything that is wrong before anything is written, one text after the other.
#[test]
fn what_cannot_be_flashed_is_refused_with_a_way_out() {
    let dir = Place::new();
    let mut said = String::new();
    let mut refuse = |args: &[&str], code: i32| {
        let out = flash(dir.path(), args);
        assert_eq!(
            out.status.code(),
            Some(code),
            "{args:?}: {}",
            text(&out.stderr)
        );
        said += &format!("$ roost flash {}\n{}\n", args.join(" "), text(&out.stderr));
    };
    refuse(&["card.img", "--name", "attic"], 1);
    refuse(&["card.img"], 2);
    image(dir.path());
    refuse(&["card.img", "--name", "My Box"], 2);
    let fixed = [
        "card.img",
        "--name",
        "a",
        "--static",
        "192.168.1.5/24",
        "--gateway",
    ];
    refuse(&[&fixed[..], &["10.0.0.1"]].concat(), 2);
    refuse(&[&fixed[..], &["192.168.1.1", "--dns", "one"]].concat(), 2);
    refuse(&["build/roost.img", "--name", "attic", "--yes"], 2);
    refuse(&[".", "--name", "attic", "--yes"], 2);
    std::fs::write(dir.path().join("text"), "no image").unwrap();
    refuse(&["card.img", "--name", "attic", "--image", "text"], 1);
    // The list of this machine's disks, which comes before, is not the same everywhere.
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("  Built in") && !line.starts_with("No card"))
        .filter(|line| !line.starts_with("  disk ") && !line.starts_with("  /dev/"))
        .collect();
    insta::assert_snapshot!("flash_refusals", said.join("\n"));
    assert!(!dir.path().join("card.img").exists());
}

#[test]
fn without_a_terminal_a_card_must_be_named() {
    let dir = Place::new();
    image(dir.path());
    let out = flash(dir.path(), &["--name", "attic"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("try: name it, e.g.  roost flash /dev/sdb --yes"));
    let out = flash(dir.path(), &["--list", "--json"]);
    assert!(out.status.success());
    assert!(json(&out)["disks"].is_array());
}
