//! A whole update from its beginning to the read-back, with a bundle that was
//! signed damaged, payloads that come damaged, and slots that hold anything.
//! Never a panic. The running slot and the selector stay as they are; the state
//! says "staged" exactly when the slot holds what was signed, and otherwise
//! that it holds nothing; and what a damaged stream has left never keeps the
//! next one from finishing the slot.
//!
//! The input is a list of damages: what, three bytes of where, one byte of how.
#![no_main]

mod made;

use ed25519_dalek::{Signer, SigningKey};
use libfuzzer_sys::fuzz_target;
use made::{BLOCK, Made, facts, signer, state};
use roost_board::Slot;
use roost_bundle::limits::{CHUNK_ROW, DELTA_ROW, DOMAIN, HEADER_BYTES, SIGNATURE_BYTES};
use roost_bundle::{Hash, Tables, TrustedKeys, Unverified, is_zero};
use roost_updater::disk::{Block, Disk};
use roost_updater::engine::{Allowed, Planned, Refused, Settled, Staged, examine};
use roost_updater::state::{Folder, Found, Ledger, Stage};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::rc::Rc;
use std::sync::OnceLock;

/// A partition in memory that can be looked at from outside.
#[derive(Clone)]
struct Memory {
    content: Rc<RefCell<Cow<'static, [u8]>>>,
    at: u64,
    written: Rc<Cell<bool>>,
}

impl Memory {
    fn new(content: impl Into<Cow<'static, [u8]>>) -> Self {
        Self {
            content: Rc::new(RefCell::new(content.into())),
            at: 0,
            written: Rc::default(),
        }
    }

    fn range(&self, wanted: usize) -> Range<usize> {
        let end = self.content.borrow().len();
        let from = end.min(self.at as usize);
        from..end.min(from + wanted)
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let range = self.range(buffer.len());
        buffer[..range.len()].copy_from_slice(&self.content.borrow()[range.clone()]);
        self.at += range.len() as u64;
        Ok(range.len())
    }
}

impl Write for Memory {
    /// A partition does not grow.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let range = self.range(bytes.len());
        self.content.borrow_mut().to_mut()[range.clone()].copy_from_slice(&bytes[..range.len()]);
        self.at += range.len() as u64;
        self.written.set(true);
        Ok(range.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => (self.content.borrow().len() as u64).checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl Block for Memory {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder that is never read again.
struct Nowhere;

impl Folder for Nowhere {
    fn read(&mut self, _: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn write_synced(&mut self, _: &str, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bundle, taken apart.
#[derive(Clone)]
struct Parts {
    manifest: serde_json::Value,
    chunks: Vec<u8>,
    deltas: Vec<u8>,
    payloads: Vec<u8>,
}

impl Parts {
    fn of(bundle: &[u8]) -> Self {
        let length = bundle[12..16].try_into().expect("four bytes");
        let (manifest, rest) =
            bundle[HEADER_BYTES + SIGNATURE_BYTES..].split_at(u32::from_le_bytes(length) as usize);
        let manifest: serde_json::Value = serde_json::from_slice(manifest).expect("a manifest");
        let rows = |table: &str| manifest[table]["rows"].as_u64().expect("a count") as usize;
        let (chunks, rest) = rest.split_at(rows("chunks") * CHUNK_ROW);
        let (deltas, payloads) = rest.split_at(rows("deltas") * DELTA_ROW);
        assert!(!deltas.is_empty(), "there is something to test");
        Self {
            chunks: chunks.into(),
            deltas: deltas.into(),
            payloads: payloads.into(),
            manifest,
        }
    }

    /// Everything before the payloads, signed as it is now.
    fn head(&self) -> Vec<u8> {
        let mut manifest = self.manifest.clone();
        manifest["chunks"]["hash"] = serde_json::json!(Hash::of(&self.chunks));
        manifest["deltas"]["hash"] = serde_json::json!(Hash::of(&self.deltas));
        let manifest = manifest.to_string();
        let mut header = roost_bundle::limits::MAGIC.to_vec();
        header.extend(roost_bundle::limits::FORMAT.to_le_bytes());
        header.extend(1_u16.to_le_bytes());
        header.extend((manifest.len() as u32).to_le_bytes());
        let public = signer().0;
        let message = [DOMAIN, &header, &public, manifest.as_bytes()].concat();
        let signature = SigningKey::from_bytes(&[1; 32]).sign(&message).to_bytes();
        let parts = [&header[..], &public, &signature, manifest.as_bytes()];
        [&parts.concat()[..], &self.chunks, &self.deltas].concat()
    }

    fn tables(&self) -> Tables {
        let head = self.head();
        let mut from = &head[..];
        let verified = Unverified::read(&mut from)
            .and_then(|bundle| bundle.verify(&TrustedKeys::new([signer()])))
            .expect("it is signed");
        verified.read_tables(&mut from).expect("it was admitted")
    }

    fn stream(&self, ranges: &[(u64, u64)]) -> Vec<u8> {
        let range = |(from, to): &(u64, u64)| {
            let to = (*to as usize).min(self.payloads.len());
            &self.payloads[(*from as usize).min(to)..to]
        };
        ranges.iter().map(range).collect::<Vec<_>>().concat()
    }
}

/// The box, without its bundle.
struct Played {
    active: Memory,
    inactive: Memory,
    selector: Memory,
    disk: Disk<Memory>,
    ledger: Ledger<Nowhere>,
}

impl Played {
    fn new(active: Vec<u8>, inactive: Vec<u8>, selector: &'static [u8]) -> Self {
        let (active, inactive) = (Memory::new(active), Memory::new(inactive));
        let selector = Memory::new(selector);
        Self {
            disk: Disk::new(active.clone(), inactive.clone(), selector.clone()),
            active,
            inactive,
            selector,
            ledger: Found::look(Nowhere).go_on(state()).expect("a state"),
        }
    }

    fn examine(&mut self, parts: &Parts) -> Result<Planned, Refused> {
        let keys = TrustedKeys::new([signer()]);
        let (head, allowed) = (parts.head(), Allowed::default());
        let mut last = 0;
        let mut progress = |done: u64, all: u64| {
            assert!(last <= done && done <= all);
            last = done;
        };
        let disk = &mut self.disk;
        examine(&head, &keys, &facts(), allowed, disk, &mut progress)
    }

    /// Writes, and asserts that state and slot agree on the result.
    fn write(&mut self, planned: Planned, stream: &[u8], parts: &Parts) -> bool {
        let settled = Settled::check(&mut self.disk, &self.ledger.state(), &facts());
        let settled = settled.expect("no trial is under way");
        let (mut last, mut total) = (0, 0);
        let mut progress = |done: u64, all: u64| {
            assert!(last <= done && done <= all);
            (last, total) = (done, all);
        };
        let result = planned.write(settled, &mut self.disk, &self.ledger, stream, &mut progress);
        assert!(!self.active.written.get() && !self.selector.written.get());
        let state = self.ledger.state();
        assert_eq!(result.is_ok(), state.stage == Stage::Staged);
        assert_eq!(result.is_ok(), state.slot(Slot::B).is_some());
        assert_eq!(result.is_ok(), Staged::written(&state).is_ok());
        if result.is_ok() {
            assert_eq!(last, total);
            assert!(whole(&self.inactive.content.borrow(), &parts.tables()));
        } else {
            assert_eq!(state.stage, Stage::Idle);
        }
        result.is_ok()
    }
}

/// Whether a slot holds what was signed, by another way than the engine's.
fn whole(slot: &[u8], tables: &Tables) -> bool {
    let place = |at: u64, len: u32| -> Range<usize> { at as usize..at as usize + len as usize };
    let right = |chunk: &roost_bundle::Chunk| {
        let bytes = &slot[place(chunk.at, chunk.len)];
        match chunk.is_zero() {
            true => is_zero(bytes),
            false => Hash::of(bytes) == chunk.hash,
        }
    };
    slot.len() as u64 == tables.slot_bytes() && tables.chunks().iter().all(right)
}

fn change(bytes: &mut [u8], at: usize, by: u8) {
    if !bytes.is_empty() {
        let at = at % bytes.len();
        bytes[at] ^= by;
    }
}

static MADE: OnceLock<(Made, Parts)> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let (made, good) = MADE.get_or_init(|| {
        let made = Made::new();
        let parts = Parts::of(&made.bundle);
        (made, parts)
    });
    let mut parts = good.clone();
    let (mut active, mut inactive) = (made.a.clone(), made.a.clone());
    let mut stream_damages = Vec::new();
    let mut signed_as_made = true;
    for [what, place @ .., how] in input.as_chunks::<5>().0.iter().take(32) {
        let at = u32::from_le_bytes([place[0], place[1], place[2], 0]) as usize;
        match what % 8 {
            0..3 => stream_damages.push((what % 8, at, *how)),
            3 => change(&mut active, at, *how),
            4 => change(&mut inactive, at, *how),
            5 => {
                // Blocks of the new version, as an earlier transfer has left them.
                let from = at % made.b.len() / BLOCK * BLOCK;
                let to = made.b.len().min(from + usize::from(*how) * BLOCK / 8);
                inactive[from..to].copy_from_slice(&made.b[from..to]);
            }
            6 => {
                change(&mut parts.chunks, at, *how);
                signed_as_made = false;
            }
            _ => {
                change(&mut parts.deltas, at, *how);
                signed_as_made = false;
            }
        }
    }
    let mut played = Played::new(active, inactive, &made.selector);
    let planned = match played.examine(&parts) {
        Ok(planned) => planned,
        Err(error) => {
            assert!(!signed_as_made, "{error}");
            return assert_eq!(played.ledger.state(), state());
        }
    };
    let offer = planned.offer().clone();
    let sent: u64 = offer.ranges.iter().map(|(from, to)| to - from).sum();
    assert_eq!(offer.send, sent);
    let mut stream = parts.stream(&offer.ranges);
    for (what, at, how) in &stream_damages {
        let at = at % (stream.len() + 1);
        match what {
            0 => change(&mut stream, at, *how),
            1 => stream.truncate(at),
            _ if how & 1 == 0 => stream.insert(at, *how),
            _ => drop(stream.drain(at..stream.len().min(at + usize::from(*how)))),
        }
    }
    let done = played.write(planned, &stream, &parts);
    if stream_damages.is_empty() && signed_as_made {
        assert!(done, "nothing was damaged");
    }
    // The next attempt, with the bundle as it was made.
    if !done {
        let planned = played.examine(good).expect("it is admitted");
        let stream = good.stream(&planned.offer().ranges);
        assert!(played.write(planned, &stream, good));
    }
    // Tables that were signed in another way may ask for another slot.
    assert!(done && !signed_as_made || *played.inactive.content.borrow() == made.b);
});
