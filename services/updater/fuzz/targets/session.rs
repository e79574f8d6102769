//! All that a laptop may send, any bytes: calls, the beginning of a bundle, its
//! payloads. Never a panic; every answer is one that the laptop can read; only
//! the other slot is ever written, and where an answer or the state says that
//! it is whole, it is, to the last byte. After all of it the box still takes
//! an update.
//!
//! So that a fuzzer gets past the signature, some bytes stand for more: 1 for
//! the offer of a bundle with its beginning, 2 for the payloads of that offer,
//! 3 for the first half of them.
#![no_main]

mod made;

use libfuzzer_sys::fuzz_target;
use made::{Made, facts, installed, signer, state};
use roost_board::Slot;
use roost_bundle::{TrustedKeys, Unverified};
use roost_service::control::{BoxStatus, Request, Response};
use roost_service::update::{Answer, Call};
use roost_updater::api::{Limits, talk};
use roost_updater::disk::Disk;
use roost_updater::engine::{Allowed, examine};
use roost_updater::state::{DataFolder, Found};
use roost_updater::updater::{Places, Updater};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

const LIMITS: Limits = Limits {
    connections: 1,
    idle: Duration::from_secs(1),
    stalled: Duration::from_secs(1),
    turn: Duration::from_secs(1),
    heartbeat: Duration::from_secs(1),
};

/// A box of files, as it is before each input.
struct Played {
    made: Made,
    folder: TempDir,
    runtime: Runtime,
    updater: Arc<Updater>,
    active_written: SystemTime,
    selector_written: SystemTime,
    /// What 1 and 2 stand for.
    offer: Vec<u8>,
    payloads: Vec<u8>,
}

impl Played {
    fn new() -> Self {
        let made = Made::new();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("active_slot"), &made.a).expect("a slot");
        fs::write(folder.path().join("selector"), &made.selector).expect("a selector");
        play_init(&folder.path().join("control"));
        let (updater, keys) = (Self::fresh(&folder, &made), TrustedKeys::new([signer()]));
        let start = Unverified::read(&mut &made.bundle[..])
            .and_then(|bundle| bundle.verify(&keys))
            .expect("a bundle")
            .payload_start() as usize;
        let head = &made.bundle[..start];
        let call = Call::Offer {
            head_bytes: start as u64,
            allow_downgrade: false,
            allow_irreversible: false,
        };
        let line = serde_json::to_vec(&call).expect("a line");
        let offer = [&line, &b"\n"[..], head].concat();
        let mut disk = Disk::open(folder.path()).expect("the devices");
        let allowed = Allowed::default();
        let planned = examine(head, &keys, &facts(), allowed, &mut disk, &mut |_, _| {});
        let ranges = planned.expect("a plan").offer().ranges.clone();
        let range = |(from, to): &(u64, u64)| &made.bundle[start..][*from as usize..*to as usize];
        let payloads = ranges.iter().map(range).collect::<Vec<_>>().concat();
        assert!(payloads.len() > 1000);
        let runtime = Builder::new_current_thread().enable_all().build();
        let mut played = Self {
            offer,
            payloads,
            made,
            folder,
            runtime: runtime.expect("a runtime"),
            updater,
            active_written: SystemTime::UNIX_EPOCH,
            selector_written: SystemTime::UNIX_EPOCH,
        };
        played.active_written = played.written("active_slot");
        played.selector_written = played.written("selector");
        played
    }

    /// An updater that has seen nothing, with the old version in the other slot.
    fn fresh(folder: &TempDir, made: &Made) -> Arc<Updater> {
        fs::write(folder.path().join("inactive_slot"), &made.a).expect("a slot");
        let ledger = Found::look(DataFolder(folder.path().into())).go_on(state());
        let places = Places {
            devices: folder.path().into(),
            control: folder.path().join("control"),
            probe: |_| PathBuf::new(),
        };
        let ledger = ledger.expect("a state");
        Arc::new(Updater::new(facts(), ledger, places, [signer()]))
    }

    /// What the box answers to all of it.
    fn answers(&self, sent: &[u8]) -> Vec<Answer> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (mut read, mut write) = tokio::io::split(theirs);
        let (_keep, stop) = watch::channel(false);
        let mut text = Vec::new();
        let laptop_sends = async {
            // The box may close before it has read everything.
            let _ = write.write_all(sent).await;
            let _ = write.shutdown().await;
        };
        self.runtime.block_on(async {
            let (_, read, ()) = tokio::join!(
                talk(self.updater.clone(), ours, LIMITS, stop),
                read.read_to_end(&mut text),
                laptop_sends,
            );
            read.expect("a duplex does not break");
        });
        let read = |line: &[u8]| serde_json::from_slice(line).expect("an answer");
        let lines = text.split(|byte| *byte == b'\n');
        lines.filter(|line| !line.is_empty()).map(read).collect()
    }

    /// When a file was last written.
    fn written(&self, name: &str) -> SystemTime {
        let metadata = fs::metadata(self.folder.path().join(name));
        metadata.and_then(|file| file.modified()).expect("a file")
    }

    /// Asserts what must hold after anything.
    fn check(&self, answers: &[Answer]) {
        assert_eq!(self.written("active_slot"), self.active_written);
        assert_eq!(self.written("selector"), self.selector_written);
        let state = self.updater.ledger.state();
        let other = state.slot(Slot::B);
        // An error behind it may be the one of a second attempt.
        let ends = |answer: &&Answer| matches!(answer, Answer::Staged | Answer::Error { .. });
        if answers.iter().rfind(ends) == Some(&Answer::Staged) {
            assert_eq!(other.map(|other| other.version.number), Some(2));
        }
        if let Some(other) = other {
            let right = match other.version.number {
                1 => &self.made.a,
                _ => &self.made.b,
            };
            let slot = fs::read(self.folder.path().join("inactive_slot"));
            assert!(slot.expect("a slot") == *right);
        }
    }
}

/// Init's side of its socket: a box with room, whose restart never comes.
fn play_init(path: &Path) {
    let listener = UnixListener::bind(path).expect("a socket");
    let status = BoxStatus {
        name: "roost".into(),
        version: "1".into(),
        slot: Slot::A.partition(),
        trial_left_s: None,
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
    };
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let response = match serde_json::from_str(&line) {
                Ok(Request::Status) => Response::Status(status.clone()),
                Ok(Request::Logs { .. }) => Response::Logs {
                    lines: vec!["a line".into(); 3],
                },
                _ => Response::Error {
                    message: "not now".into(),
                },
            };
            let response = serde_json::to_string(&response).expect("a line");
            let _ = writeln!(stream, "{response}");
        }
    });
}

static PLAYED: OnceLock<Mutex<Played>> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let played = PLAYED.get_or_init(|| Mutex::new(Played::new()));
    let mut played = played.lock().expect("nothing panicked");
    let mut sent = Vec::new();
    for byte in bytes {
        match byte {
            // More of them prove nothing more.
            1..4 if sent.len() > 1 << 20 => {}
            1 => sent.extend(&played.offer),
            2 => sent.extend(&played.payloads),
            3 => sent.extend(&played.payloads[..played.payloads.len() / 2]),
            byte => sent.push(*byte),
        }
    }
    let answers = played.answers(&sent);
    played.check(&answers);
    if played.updater.ledger.state() == state() {
        return;
    }
    // Something was written. It is never in the way of the next update.
    let answers = played.answers(&played.offer);
    let offered = |answer: &Answer| matches!(answer, Answer::Offer(_));
    assert!(answers.iter().any(offered), "{answers:?}");
    played.updater = Played::fresh(&played.folder, &played.made);
    assert_eq!(
        played.updater.ledger.state().slot(Slot::B),
        Some(&installed(1))
    );
});
