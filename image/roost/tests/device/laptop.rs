//! The laptop: a folder with a roost.toml, a key and a bundle, and the program as people call it.

use crate::server::{identity, public};
use roost_bundle::{Builder, Component, Hash, Release, SigningKey};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Seed of the laptop's key.
pub const LAPTOP: u8 = 7;
/// Seed of the box's key.
pub const BOX: u8 = 9;

pub struct Laptop {
    dir: tempfile::TempDir,
}

impl Laptop {
    /// One whose key exists, and that has met no box.
    pub fn new() -> Self {
        let laptop = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let out = laptop
            .command(&[
                "init",
                "--domain",
                "example.org",
                "--account",
                "alice",
                "--generate-password",
            ])
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        laptop.know("roost", "127.0.0.1:1", BOX);
        laptop
    }

    /// Writes down that it is paired with a box.
    pub fn know(&self, name: &str, address: &str, seed: u8) {
        let record = serde_json::json!({
            "name": name,
            "address": address,
            "certificate": pem::encode(&pem::Pem::new("CERTIFICATE", identity(seed).0)),
            "laptop": "desk",
            "key": hex::encode([LAPTOP; 32]),
        });
        self.keep("boxes", seed, &record);
    }

    /// Writes down what `roost flash` leaves of a card.
    pub fn flashed(&self, name: &str, web: Option<String>, seed: u8) {
        let record = serde_json::json!({
            "name": name,
            "code": "A0B1C2D3",
            "fingerprint": fingerprint(seed),
            "web": web,
            "made": 1_790_000_000,
        });
        self.keep("cards", seed, &record);
    }

    /// The same for a card that says of this laptop by what it is known, and where the box's API is.
    pub fn flashed_for_itself(&self, name: &str, web: u16, api: u16, seed: u8) {
        let record = serde_json::json!({
            "name": name,
            "code": "A0B1C2D3",
            "fingerprint": fingerprint(seed),
            "web": format!("127.0.0.1:{web}"),
            "api_port": api,
            "lets_in": {
                "laptop": "desk",
                "key": hex::encode([LAPTOP; 32]),
                "certificate": pem::encode(&pem::Pem::new("CERTIFICATE", identity(seed).0)),
            },
            "made": 1_790_000_000,
        });
        self.keep("cards", seed, &record);
    }

    fn keep(&self, folder: &str, seed: u8, record: &serde_json::Value) {
        let folder = self.config().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(&fingerprint(seed)[..16]).with_extension("json");
        std::fs::write(file, record.to_string()).unwrap();
    }

    /// What is written down of boxes or cards.
    pub fn kept(&self, folder: &str) -> Vec<serde_json::Value> {
        let Ok(entries) = std::fs::read_dir(self.config().join(folder)) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| {
                let mode = path.metadata().unwrap().permissions().mode() & 0o777;
                assert!(mode == 0o600 || mode == 0o644, "{mode:o}");
                serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
            })
            .collect()
    }

    pub fn forget_all(&self) {
        std::fs::remove_dir_all(self.config().join("boxes")).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir().join("config/roost")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roost"));
        command
            .args(args)
            .current_dir(self.dir())
            .env("XDG_CONFIG_HOME", self.dir().join("config"))
            .env("XDG_STATE_HOME", self.dir().join("state"))
            .env_remove("ROOST_BOX")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it against the box at a port of this machine.
    pub fn roost(&self, port: u16, args: &[&str]) -> Output {
        self.start(port, args).wait_with_output().unwrap()
    }

    pub fn start(&self, port: u16, args: &[&str]) -> Child {
        self.command(args)
            .env("ROOST_BOX", format!("127.0.0.1:{port}"))
            .spawn()
            .unwrap()
    }

    /// Runs it on a terminal, answers its question, and gives its exit code and what it showed.
    pub fn on_a_terminal(&self, port: u16, args: &[&str], answer: &str) -> (Option<i32>, String) {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap();
        let terminal = || {
            std::fs::File::options()
                .read(true)
                .write(true)
                .open(name.to_str().unwrap())
                .unwrap()
        };
        let mut child = self
            .command(args)
            .env("ROOST_BOX", format!("127.0.0.1:{port}"))
            .stdin(terminal())
            .stderr(terminal())
            .spawn()
            .unwrap();
        let mut main = std::fs::File::from(main);
        let mut shown = Vec::new();
        let mut buffer = [0; 4096];
        let mut answered = false;
        // Reading fails when the program, and so the other end, is gone.
        while let Ok(n @ 1..) = main.read(&mut buffer) {
            shown.extend(&buffer[..n]);
            if !answered && String::from_utf8_lossy(&shown).contains("[y/N]") {
                main.write_all(answer.as_bytes()).unwrap();
                answered = true;
            }
        }
        let code = child.wait().unwrap().code();
        (code, String::from_utf8_lossy(&shown).into_owned())
    }

    /// A signed bundle of some version.
    pub fn bundle(&self, version: u64, change: impl FnOnce(&mut Release)) -> Bundle {
        let mut release = Release {
            boards: ["virt".to_owned()].into(),
            version,
            name: format!("0.1.0+{version}"),
            min_version: 0,
            created: 1_790_000_000,
            reversible: true,
            mail_store: 1,
            settings_format: 1,
            components: vec![
                component("init", &format!("0.1.{version}")),
                component("linux kernel", "7.3.4-1"),
            ],
            notes: "Sorts faster.\n".into(),
        };
        change(&mut release);
        let mut slot = Vec::new();
        for n in 0_u64..60_000 {
            // Bytes that do not compress, and differ from version to version.
            slot.extend(
                (n + version)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(29)
                    .wrapping_mul(n | 1)
                    .to_le_bytes(),
            );
        }
        slot.resize(slot.len().next_multiple_of(4096), 0);
        let key = SigningKey::from_seed(&[3; 32]);
        let mut bytes = Vec::new();
        let summary = Builder::new(release, Hash::of(b"root"), &key)
            .level(1)
            .write(&mut Cursor::new(slot), &mut [], &mut bytes)
            .unwrap();
        let path = self.dir().join(format!("{version}.bundle"));
        std::fs::write(&path, &bytes).unwrap();
        Bundle {
            path,
            head: summary.head,
            bytes,
        }
    }
}

pub struct Bundle {
    pub path: PathBuf,
    pub head: u64,
    pub bytes: Vec<u8>,
}

impl Bundle {
    pub fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub fn payload_bytes(&self) -> u64 {
        self.bytes.len() as u64 - self.head
    }

    /// Some bytes of the payloads.
    pub fn payload(&self, range: (u64, u64)) -> &[u8] {
        &self.bytes[(self.head + range.0) as usize..(self.head + range.1) as usize]
    }
}

/// The words of the certificate of a box.
pub fn words(seed: u8) -> String {
    let fingerprint = roost_service::fingerprint::Fingerprint::of(&identity(seed).0);
    fingerprint.words().join(" ")
}

/// SHA-256 of the certificate of a box.
pub fn fingerprint(seed: u8) -> String {
    Hash::of(&identity(seed).0).to_string()
}

pub fn component(name: &str, version: &str) -> Component {
    Component {
        name: name.into(),
        version: version.into(),
    }
}

/// What a program printed, without what differs from run to run.
pub fn screen(laptop: &Laptop, port: u16, out: &Output) -> String {
    let text = format!(
        "exit code {}\n--- standard output\n{}--- standard error\n{}",
        out.status.code().map_or("none".into(), |c| c.to_string()),
        String::from_utf8(out.stdout.clone()).unwrap(),
        String::from_utf8(out.stderr.clone()).unwrap()
    );
    clean(laptop, port, &text)
}

pub fn clean(laptop: &Laptop, port: u16, text: &str) -> String {
    let text = text
        .replace(&laptop.dir().display().to_string(), "DIR")
        .replace(&format!("127.0.0.1:{port}"), "127.0.0.1:PORT")
        .replace(&hex::encode(public(LAPTOP)), "LAPTOP");
    let text = [BOX, BOX + 1].iter().fold(text, |text, seed| {
        let mark = if *seed == BOX { "BOX" } else { "OTHER" };
        let text = text.replace(&words(*seed), &format!("WORDS OF THE {mark}"));
        text.replace(&fingerprint(*seed)[..16], &format!("FINGERPRINT-{mark}"))
    });
    let lines: Vec<String> = text.split('\n').map(without_time).collect();
    lines.join("\n")
}

/// The time of a finished step (`✓ name   12.3 s  summary`) as a word of its width.
fn without_time(line: &str) -> String {
    // The time is in 7 columns behind the name, which may be longer than its own.
    let end = format!("{line}  ").find(" s  ").map(|at| at + " s".len());
    let start = end.and_then(|end| end.checked_sub(7));
    match start.zip(end).and_then(|(start, end)| line.get(start..end)) {
        Some(time)
            if line.starts_with("  ✓ ") && time.trim_start().starts_with(char::is_numeric) =>
        {
            line.replacen(time, "   TIME", 1)
        }
        _ => line.to_owned(),
    }
}
