//! What the tests of this crate share: small slots, bundles, a selector.

#![allow(dead_code, reason = "each test program uses a part of it")]

use roost_board::{Slot, autoboot};
use roost_bundle::{Builder, Hash, PublicKey, Release, SigningKey, TrustedKeys, Unverified};
use roost_service::boot_times::{BootMark, BootTimes};
use roost_service::control::{BoxStatus, Request, Response};
use roost_service::update::Version;
use roost_updater::disk::Disk;
use roost_updater::facts::Facts;
use roost_updater::reconcile;
use roost_updater::reconcile::{Decision, Seen};
use roost_updater::selector;
use roost_updater::state::{DataFolder, Found, Installed, Ledger, State};
use std::fs::File;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// Bytes of a block of a slot.
pub const BLOCK: usize = 4096;

/// Pseudo-random blocks that do not compress.
pub fn noise(seed: u64, blocks: usize) -> Vec<u8> {
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

/// The next version of a slot: some blocks changed, some moved, some new, zeros at the end.
pub fn next_version(old: &[u8], seed: u64) -> Vec<u8> {
    let mut new = noise(seed, 13);
    new.extend(&old[20 * BLOCK..100 * BLOCK]);
    new.extend(vec![0; 9 * BLOCK]);
    new.extend(noise(seed, 13));
    let mut changed = old[100 * BLOCK..].to_vec();
    for block in changed.chunks_mut(3 * BLOCK) {
        block[100] ^= 0x55;
    }
    new.extend(changed);
    new.resize(old.len(), 0);
    new
}

pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub fn trusting(keys: &[u8]) -> TrustedKeys {
    TrustedKeys::new(keys.iter().map(|n| key(*n).public()))
}

pub fn public(n: u8) -> PublicKey {
    key(n).public()
}

pub fn release(version: u64) -> Release {
    Release {
        boards: ["virt".to_owned()].into(),
        version,
        name: name(version),
        min_version: 1,
        created: 1_790_000_000,
        reversible: true,
        mail_store: 1,
        settings_format: 1,
        components: vec![],
        notes: String::new(),
    }
}

pub fn name(version: u64) -> String {
    format!("0.1.0+{version}")
}

/// A bundle of `release` with this slot, signed by key `signer`.
pub fn bundle_of(release: Release, slot: &[u8], bases: &[&[u8]], signer: u8) -> Vec<u8> {
    let mut bases: Vec<_> = bases.iter().map(|base| Cursor::new(*base)).collect();
    let mut out = Vec::new();
    let hash = root_hash(release.version);
    Builder::new(release, hash, &key(signer))
        .level(3)
        .write(&mut Cursor::new(slot), &mut bases, &mut out)
        .expect("a bundle");
    out
}

pub fn bundle(version: u64, slot: &[u8], bases: &[&[u8]]) -> Vec<u8> {
    bundle_of(release(version), slot, bases, 1)
}

/// Version 1, version 2, and a bundle of it with and one without deltas. Made once:
/// packing takes a while in a test build.
pub struct Versions {
    pub a: Vec<u8>,
    pub b: Vec<u8>,
    pub deltas: Vec<u8>,
    pub plain: Vec<u8>,
}

/// Blocks of the slots of [`versions`].
pub const BLOCKS: usize = 160;

pub fn versions() -> &'static Versions {
    static VERSIONS: OnceLock<Versions> = OnceLock::new();
    VERSIONS.get_or_init(|| {
        let a = noise(1, BLOCKS);
        let b = next_version(&a, 2);
        Versions {
            deltas: bundle(2, &b, &[&a]),
            plain: bundle(2, &b, &[]),
            a,
            b,
        }
    })
}

/// Bytes before the payloads.
pub fn head_bytes(bundle: &[u8]) -> usize {
    let mut from = bundle;
    let unverified = Unverified::read(&mut from).expect("a bundle");
    let signer = unverified.claimed_signers().next().expect("a signer");
    let verified = unverified
        .verify(&TrustedKeys::new([signer]))
        .expect("its own key is trusted");
    verified.payload_start() as usize
}

/// The ranges of an offer, cut out of a bundle.
pub fn payloads(bundle: &[u8], ranges: &[(u64, u64)]) -> Vec<u8> {
    let start = head_bytes(bundle);
    let mut out = Vec::new();
    for (from, to) in ranges {
        out.extend(&bundle[start + *from as usize..start + *to as usize]);
    }
    out
}

pub fn root_hash(version: u64) -> Hash {
    Hash([version as u8; 32])
}

pub fn version(number: u64) -> Version {
    Version {
        number,
        name: name(number),
    }
}

pub fn installed(number: u64) -> Installed {
    Installed {
        version: version(number),
        root_hash: Some(root_hash(number)),
        mail_store: 1,
    }
}

pub fn facts(slot: Slot, number: u64) -> Facts {
    Facts {
        board: "virt".into(),
        slot,
        running: installed(number),
        settings_format: 1,
    }
}

/// Where `autoboot.txt` lies in [`selector_image`].
pub const AUTOBOOT_AT: usize = 19 * 512;

/// A small FAT16 file system with nothing but `autoboot.txt`.
pub fn selector_image(slot: Slot) -> Vec<u8> {
    const SECTORS: u16 = 4119;
    let mut image = vec![0; SECTORS as usize * 512];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0xeb, 0x3c, 0x90]);
    put(3, b"MSDOS5.0");
    put(11, &512u16.to_le_bytes());
    // One sector a cluster, one reserved, one FAT of 17 sectors, 16 root entries.
    put(13, &[1]);
    put(14, &1u16.to_le_bytes());
    put(16, &[1]);
    put(17, &16u16.to_le_bytes());
    put(19, &SECTORS.to_le_bytes());
    put(21, &[0xf8]);
    put(22, &17u16.to_le_bytes());
    put(510, &[0x55, 0xaa]);
    put(512, &[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let folder = 18 * 512;
    put(folder, b"AUTOBOOTTXT\x20");
    put(folder + 26, &2u16.to_le_bytes());
    put(folder + 28, &512u32.to_le_bytes());
    put(AUTOBOOT_AT, &autoboot::render(slot));
    image
}

/// A box of plain files: slot A, slot B, selector, data folder.
pub struct BoxOfFiles {
    pub folder: tempfile::TempDir,
}

impl BoxOfFiles {
    /// Slot A holds `a` and is committed; slot B holds `b`.
    pub fn new(a: &[u8], b: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        };
        write("slot_a", a);
        write("slot_b", b);
        write("selector", &selector_image(Slot::A));
        std::fs::create_dir(folder.path().join("data")).expect("a folder");
        std::fs::create_dir(folder.path().join("dev")).expect("a folder");
        let it = Self { folder };
        it.boot(Slot::A);
        it
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn devices(&self) -> PathBuf {
        self.path("dev")
    }

    /// Makes the nodes as init does in a boot of `slot`.
    pub fn boot(&self, slot: Slot) {
        let (active, inactive) = match slot {
            Slot::A => ("slot_a", "slot_b"),
            Slot::B => ("slot_b", "slot_a"),
        };
        for (node, target) in [
            ("active_slot", active),
            ("inactive_slot", inactive),
            ("selector", "selector"),
        ] {
            let node = self.devices().join(node);
            let _ = std::fs::remove_file(&node);
            std::os::unix::fs::symlink(self.path(target), node).expect("a link");
        }
    }

    pub fn disk(&self) -> Disk<File> {
        Disk::open(&self.devices()).expect("the devices")
    }

    pub fn found(&self) -> Found<DataFolder> {
        Found::look(DataFolder(self.path("data")))
    }

    pub fn selected(&self) -> Option<Slot> {
        let mut file = File::open(self.path("selector")).expect("the selector");
        selector::selected(&mut file).ok()
    }

    /// What the updater does when it starts, without its gate.
    pub fn start(&self, facts: &Facts, on_trial: bool, now: u64) -> (Ledger<DataFolder>, Decision) {
        let found = self.found();
        let decision = decide(facts, on_trial, self.selected(), found.state.as_ref(), now);
        if let Some(slot) = decision.heal {
            let mut file = File::options()
                .read(true)
                .write(true)
                .open(self.path("selector"))
                .expect("the selector");
            selector::commit(&mut file, slot).expect("it heals");
        }
        let ledger = found.go_on(decision.state.clone()).expect("it is kept");
        (ledger, decision)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }
}

pub fn decide(
    facts: &Facts,
    on_trial: bool,
    selector: Option<Slot>,
    state: Option<&State>,
    now: u64,
) -> Decision {
    reconcile(&Seen {
        facts,
        on_trial,
        selector,
        state,
        now,
    })
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// A gate that everything has passed.
pub fn passed() -> roost_updater::gate::Passed {
    use roost_updater::gate::{Gate, Next};
    use std::time::Duration;
    let mut gate = Gate::new(&[]);
    let mut now = Duration::from_secs(20);
    loop {
        match gate.next(now) {
            Next::AskStatus => gate.status(now, Ok(&status(2, Some(580.0)))),
            Next::WaitUntil(then) => now = then,
            Next::Pass(passed) => return passed,
            other => panic!("{other:?}"),
        }
    }
}

/// What init says of a healthy box without services.
pub fn status(slot: u8, trial_left_s: Option<f64>) -> BoxStatus {
    BoxStatus {
        name: "roost".into(),
        version: "0.1.0".into(),
        slot,
        trial_left_s,
        uptime_s: 20.0,
        rescue: None,
        ready: true,
        ready_after_s: Some(15.0),
        clock_synced: true,
        addresses: vec![],
        memory_total: 1 << 30,
        memory_available: 1 << 29,
        data_total: 1 << 34,
        data_free: 1 << 33,
        data_written: 1 << 20,
        services: vec![],
    }
}

/// A boot of which init noted one thing.
pub fn boot_times() -> BootTimes {
    BootTimes {
        version: "0.1.0".into(),
        steps: vec![],
        marks: vec![BootMark {
            name: "services ready".into(),
            at_us: 15_000_000,
        }],
    }
}

/// Init's side of the control socket.
pub struct PlayedInit {
    pub asked: Vec<Request>,
    pub logs: Vec<String>,
    pub refuses: Option<String>,
    pub status: BoxStatus,
}

/// As init does for who follows a log.
fn tell_new_lines(
    mut stream: std::os::unix::net::UnixStream,
    init: Arc<Mutex<PlayedInit>>,
    mut told: usize,
) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let lines = init.lock().unwrap().logs[told..].to_vec();
            if lines.is_empty() {
                continue;
            }
            told += lines.len();
            let mut line = serde_json::to_vec(&Response::Logs { lines }).unwrap();
            line.push(b'\n');
            if stream.write_all(&line).is_err() {
                return;
            }
        }
    });
}

pub fn play_init(path: &Path) -> Arc<Mutex<PlayedInit>> {
    use std::io::BufRead;
    let init = Arc::new(Mutex::new(PlayedInit {
        asked: vec![],
        logs: vec![],
        refuses: None,
        status: status(2, None),
    }));
    let shared = init.clone();
    let listener = std::os::unix::net::UnixListener::bind(path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut line = String::new();
            let _ = std::io::BufReader::new(&stream).read_line(&mut line);
            let request: Request = serde_json::from_str(&line).expect("a request");
            let mut init = shared.lock().unwrap();
            init.asked.push(request.clone());
            let response = match (&init.refuses, request) {
                (_, Request::Status) => Response::Status(init.status.clone()),
                (_, Request::BootTimes) => Response::BootTimes(boot_times()),
                (_, Request::Logs { service, .. }) if service == "nobody" => Response::Error {
                    message: "there is no service \"nobody\"".into(),
                },
                (_, Request::Logs { lines, follow, .. }) => {
                    let from = init.logs.len().saturating_sub(lines);
                    if follow {
                        let (stream, told) = (stream.try_clone().unwrap(), init.logs.len());
                        tell_new_lines(stream, shared.clone(), told);
                    }
                    Response::Logs {
                        lines: init.logs[from..].to_vec(),
                    }
                }
                (Some(message), _) => Response::Error {
                    message: message.clone(),
                },
                _ => Response::Ok,
            };
            let mut line = serde_json::to_vec(&response).unwrap();
            line.push(b'\n');
            let _ = stream.write_all(&line);
        }
    });
    init
}
