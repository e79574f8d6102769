//! Power is cut at every write of two updates, a commit each, and a trial that fails.
//!
//! A layer below the engine records every write and sync of the three devices
//! and every step of the state file. Then the box is started from what a power
//! cut may leave behind at each point: of what was not synced, any sectors in
//! any order, the last one torn. The firmware's choice and `reconcile` must lead
//! to a slot that is whole and holds the version that may run at that point.

mod support;

use roost_board::Slot;
use roost_board::autoboot::{self, Autoboot};
use roost_updater::disk::{Block, Disk};
use roost_updater::engine::{Allowed, LastLook, Settled, examine};
use roost_updater::facts::Facts;
use roost_updater::reconcile::{Decision, Then};
use roost_updater::selector;
use roost_updater::state::{FILE, Folder, Found, Ledger, Stage, State};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use support::*;

const SECTOR: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Device {
    A,
    B,
    Selector,
}

#[derive(Debug, Clone)]
enum Op {
    Write(Device, usize, Vec<u8>),
    Sync(Device),
    File(String, Vec<u8>),
    Rename(String, String),
    Names,
    /// The box restarts in order, into this slot.
    Restart(Slot, bool),
}

/// The medium as the kernel shows it, and all that was done to it.
#[derive(Default)]
struct Medium {
    devices: BTreeMap<Device, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    log: Vec<Op>,
}

type Shared = Rc<RefCell<Medium>>;

struct Recorder {
    medium: Shared,
    device: Device,
    at: u64,
}

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let medium = self.medium.borrow();
        let mut cursor = Cursor::new(&medium.devices[&self.device]);
        cursor.set_position(self.at);
        let count = cursor.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut medium = self.medium.borrow_mut();
        let at = self.at as usize;
        let content = medium.devices.get_mut(&self.device).unwrap();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        medium.log.push(Op::Write(self.device, at, bytes.to_vec()));
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Recorder {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = self.medium.borrow().devices[&self.device].len() as u64;
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => len.saturating_add_signed(by),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

impl Block for Recorder {
    fn sync(&mut self) -> io::Result<()> {
        self.medium.borrow_mut().log.push(Op::Sync(self.device));
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct RecordedFolder(Shared);

impl Folder for RecordedFolder {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().files.get(name).cloned())
    }

    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut medium = self.0.borrow_mut();
        medium.files.insert(name.into(), bytes.into());
        medium.log.push(Op::File(name.into(), bytes.into()));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut medium = self.0.borrow_mut();
        let bytes = medium.files.remove(from).unwrap();
        medium.files.insert(to.into(), bytes);
        medium.log.push(Op::Rename(from.into(), to.into()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.borrow_mut().log.push(Op::Names);
        Ok(())
    }
}

fn disk(medium: &Shared, running: Slot) -> Disk<Recorder> {
    let open = |device| Recorder {
        medium: medium.clone(),
        device,
        at: 0,
    };
    Disk::new(
        open(device(running)),
        open(device(running.other())),
        open(Device::Selector),
    )
}

fn device(slot: Slot) -> Device {
    match slot {
        Slot::A => Device::A,
        Slot::B => Device::B,
    }
}

/// The images of the story by version.
struct Images {
    slots: BTreeMap<u64, Vec<u8>>,
    bundles: BTreeMap<u64, Vec<u8>>,
}

fn images() -> Images {
    let first = versions();
    let mut slots: BTreeMap<u64, Vec<u8>> = [(1, first.a.clone()), (2, first.b.clone())].into();
    let mut bundles: BTreeMap<u64, Vec<u8>> = [(2, first.deltas.clone())].into();
    for number in [3, 4] {
        let next = next_version(&slots[&(number - 1)], number);
        bundles.insert(number, bundle(number, &next, &[]));
        slots.insert(number, next);
    }
    Images { slots, bundles }
}

/// What the updater does when it starts.
fn start(medium: &Shared, facts: &Facts, on_trial: bool) -> (Ledger<RecordedFolder>, Then) {
    let found = Found::look(RecordedFolder(medium.clone()));
    assert_eq!(found.fault, None);
    let mut selector = Recorder {
        medium: medium.clone(),
        device: Device::Selector,
        at: 0,
    };
    let selected = selector::selected(&mut selector).ok();
    let Decision {
        heal, state, then, ..
    } = decide(facts, on_trial, selected, found.state.as_ref(), 1000);
    assert_eq!(heal, None);
    (found.go_on(state).unwrap(), then)
}

fn restart(medium: &Shared, slot: Slot, trial: bool) {
    medium.borrow_mut().log.push(Op::Restart(slot, trial));
}

/// Version `to` is written and put on trial in the slot that does not run.
fn update(medium: &Shared, images: &Images, running: Slot, from: u64, to: u64) {
    let facts = facts(running, from);
    let (ledger, then) = start(medium, &facts, false);
    assert!(matches!(then, Then::Nothing));
    let mut disk = disk(medium, running);
    let bundle = &images.bundles[&to];
    let head = &bundle[..head_bytes(bundle)];
    let planned = examine(
        head,
        &trusting(&[1]),
        &facts,
        Allowed::default(),
        &mut disk,
        &mut |_, _| {},
    )
    .unwrap();
    let sent = payloads(bundle, &planned.offer().ranges);
    let settled = Settled::check(&mut disk, &ledger.state(), &facts).unwrap();
    let staged = planned
        .write(settled, &mut disk, &ledger, &sent[..], &mut |_, _| {})
        .unwrap();
    staged.request(&ledger, 1000).unwrap();
    restart(medium, running.other(), true);
}

/// The trial boot, with a gate that ends as said.
fn try_out(medium: &Shared, slot: Slot, number: u64, healthy: bool) {
    let facts = facts(slot, number);
    let (ledger, then) = start(medium, &facts, true);
    let Then::Gate { trial, wrong: None } = then else {
        panic!("{then:?}");
    };
    let mut disk = disk(medium, slot);
    let look = LastLook {
        failed: None,
        checks: vec![],
        log: vec!["mail: ready".into()],
    };
    look.record(&ledger).unwrap();
    if healthy {
        let committed = trial.commit(passed(), &mut disk, &ledger, 1100).unwrap();
        assert!(committed.state.is_none());
    } else {
        let failed = Some("mail did not work".into());
        trial
            .give_up(
                &ledger,
                LastLook {
                    failed,
                    ..LastLook::default()
                },
            )
            .unwrap();
        restart(medium, slot.other(), false);
        let (ledger, _) = start(medium, &self::facts(slot.other(), number - 1), false);
        assert!(ledger.state().has_failed(number));
    }
}

/// Two updates that are committed, one each way, and one that is given up.
fn story(images: &Images) -> (BTreeMap<Device, Vec<u8>>, Vec<Op>) {
    let first: BTreeMap<Device, Vec<u8>> = [
        (Device::A, images.slots[&1].clone()),
        (Device::B, noise(77, BLOCKS)),
        (Device::Selector, selector_image(Slot::A)),
    ]
    .into();
    let medium: Shared = Rc::new(RefCell::new(Medium {
        devices: first.clone(),
        ..Medium::default()
    }));
    update(&medium, images, Slot::A, 1, 2);
    try_out(&medium, Slot::B, 2, true);
    restart(&medium, Slot::B, false);
    update(&medium, images, Slot::B, 2, 3);
    try_out(&medium, Slot::A, 3, true);
    restart(&medium, Slot::A, false);
    update(&medium, images, Slot::A, 3, 4);
    try_out(&medium, Slot::B, 4, false);
    let log = std::mem::take(&mut medium.borrow_mut().log);
    (first, log)
}

/// A small generator: the same points in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

/// What the medium holds for certain, and what may or may not have reached it.
#[derive(Clone)]
struct Platter {
    devices: BTreeMap<Device, Rc<Vec<u8>>>,
    pending: Vec<(Device, usize, Vec<u8>)>,
    files: BTreeMap<String, Vec<u8>>,
    renamed: Vec<(String, String)>,
}

impl Platter {
    fn take(&mut self, op: &Op) {
        match op {
            Op::Write(device, at, bytes) => self.pending.push((*device, *at, bytes.clone())),
            Op::Sync(device) => {
                let (done, left) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|(written, ..)| written == device);
                self.pending = left;
                for (device, at, bytes) in done {
                    self.put(device, at, &bytes);
                }
            }
            Op::File(name, bytes) => {
                self.files.insert(name.clone(), bytes.clone());
            }
            Op::Rename(from, to) => self.renamed.push((from.clone(), to.clone())),
            Op::Names => self.rename(),
            Op::Restart(..) => {
                // Init syncs everything before it restarts the box.
                for (device, at, bytes) in std::mem::take(&mut self.pending) {
                    self.put(device, at, &bytes);
                }
                self.rename();
            }
        }
    }

    fn put(&mut self, device: Device, at: usize, bytes: &[u8]) {
        let content = Rc::make_mut(self.devices.get_mut(&device).unwrap());
        content[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn rename(&mut self) {
        for (from, to) in std::mem::take(&mut self.renamed) {
            let bytes = self.files.remove(&from).unwrap();
            self.files.insert(to, bytes);
        }
    }

    /// Power is cut while `next` is under way: any sectors of what is pending
    /// have arrived, one of them torn.
    fn cut(&self, next: Option<&Op>, dice: &mut Dice) -> Self {
        let mut left = self.clone();
        let mut pending = std::mem::take(&mut left.pending);
        match next {
            Some(Op::Write(device, at, bytes)) => pending.push((*device, *at, bytes.clone())),
            Some(Op::File(name, bytes)) => {
                let end = dice.roll(bytes.len());
                left.files.insert(name.clone(), bytes[..end].to_vec());
            }
            Some(Op::Rename(from, to)) => left.renamed.push((from.clone(), to.clone())),
            _ => {}
        }
        if dice.roll(2) == 0 {
            left.rename();
        }
        left.renamed.clear();
        // None, all, or some of the sectors, in any order.
        let share = [0, 1, 2, 3, 4][dice.roll(5)];
        let mut sectors: Vec<(Device, usize, &[u8])> = pending
            .iter()
            .flat_map(|(device, at, bytes)| {
                let pieces = bytes.chunks(SECTOR).enumerate();
                pieces.map(move |(i, sector)| (*device, at + i * SECTOR, sector))
            })
            .filter(|_| dice.roll(4) < share)
            .collect();
        let torn = sectors.pop();
        for (device, at, sector) in sectors {
            left.put(device, at, sector);
        }
        if let Some((device, at, sector)) = torn {
            let end = dice.roll(SECTOR + 1);
            match dice.roll(4) {
                0 => left.put(device, at, &sector[..end]),
                1 => left.put(device, at + end, &sector[end..]),
                2 => left.put(device, at, &noise(dice.roll(1000) as u64, 1)[..SECTOR]),
                _ => left.put(device, at, sector),
            }
        }
        left
    }

    /// The slot that the firmware boots: by `autoboot.txt`, and without one that
    /// makes sense the first with firmware in it.
    fn firmware(&self) -> Slot {
        let sector = &self.devices[&Device::Selector][AUTOBOOT_AT..][..autoboot::SIZE];
        let choice = Autoboot::parse(sector).ok();
        let partition = choice.and_then(|choice| choice.partition(false));
        partition.and_then(Slot::from_partition).unwrap_or(Slot::A)
    }

    fn selected(&self) -> Option<Slot> {
        let mut file = ReadOnly(Cursor::new(&self.devices[&Device::Selector]));
        selector::selected(&mut file).ok()
    }

    fn version(&self, slot: Slot, images: &Images) -> Option<u64> {
        let content = &*self.devices[&device(slot)];
        let mut whole = images.slots.iter().filter(|(_, image)| *image == content);
        whole.next().map(|(number, _)| *number)
    }
}

struct ReadOnly<'a>(Cursor<&'a [u8]>);

impl Read for ReadOnly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
impl Write for ReadOnly<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
impl Seek for ReadOnly<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}
impl Block for ReadOnly<'_> {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The box comes up from this: which version runs, or what is wrong.
fn come_up(platter: &Platter, images: &Images) -> Result<u64, String> {
    let mut slot = platter.firmware();
    let mut platter = platter.clone();
    let mut runs = None;
    // A damaged selector may lead to the old version first; the next restart
    // counts. Everything is settled after the second.
    for boot in 1..=3 {
        let number = platter
            .version(slot, images)
            .ok_or_else(|| format!("boot {boot}: slot {slot} is not whole"))?;
        let state = match platter.files.get(FILE) {
            Some(bytes) => Some(State::parse(bytes).map_err(|e| format!("{FILE}: {e}"))?),
            None => None,
        };
        let facts = facts(slot, number);
        let decision = decide(&facts, false, platter.selected(), state.as_ref(), 5000);
        if let Some(healed) = decision.heal {
            platter.put(Device::Selector, AUTOBOOT_AT, &autoboot::render(healed));
        }
        for other in [Slot::A, Slot::B] {
            if let Some(claimed) = decision.state.slot(other)
                && platter.version(other, images) != Some(claimed.version.number)
            {
                return Err(format!(
                    "boot {boot}: slot {other} is said to hold version {}, but does not",
                    claimed.version.number
                ));
            }
        }
        if matches!(decision.state.stage, Stage::Writing { .. }) {
            return Err(format!("boot {boot}: nobody writes"));
        }
        // A gate that power was cut from runs again, and gives up at worst.
        platter.files.insert(FILE.into(), decision.state.render());
        let next = platter.firmware();
        if Some(next) != platter.selected() {
            return Err(format!("boot {boot}: the selector was not healed"));
        }
        if next == slot && boot > 1 {
            runs = Some(number);
        }
        slot = next;
    }
    runs.ok_or_else(|| "it never settles".into())
}

/// Cuts the power at every point of a story, `samples` times. Gives the number
/// of points, or what went wrong first.
fn cut_everywhere(
    first: &BTreeMap<Device, Vec<u8>>,
    log: &[Op],
    images: &Images,
    samples: usize,
) -> Result<usize, String> {
    let mut platter = Platter {
        devices: first
            .iter()
            .map(|(device, content)| (*device, Rc::new(content.clone())))
            .collect(),
        pending: vec![],
        files: BTreeMap::new(),
        renamed: vec![],
    };
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let mut count = 0;
    // The version that is committed, and the one that is just being committed.
    let (mut committed, mut coming) = (1, None);
    for (point, next) in log.iter().map(Some).chain([None]).enumerate() {
        if let Some(Op::Write(Device::Selector, ..)) = next {
            coming = Some(committed + 1);
        }
        for _ in 0..samples {
            let left = platter.cut(next, &mut dice);
            let at = format!("point {point} of {}", log.len());
            let runs = come_up(&left, images).map_err(|error| format!("{at}: {error}"))?;
            if runs != committed && Some(runs) != coming {
                return Err(format!("{at}: version {runs} runs, not {committed}"));
            }
            count += 1;
        }
        if let Some(op) = next {
            if let Op::Restart(slot, true) = op {
                // The trial boots from what is on the medium now.
                let lost = Platter {
                    pending: vec![],
                    ..platter.clone()
                };
                if lost.version(*slot, images).is_none() {
                    return Err(format!("point {point}: the trial's slot is not whole"));
                }
            }
            platter.take(op);
            if matches!(op, Op::Sync(Device::Selector)) {
                committed = coming.take().unwrap_or(committed);
            }
        }
    }
    Ok(count)
}

#[test]
fn power_cut_at_every_write_leaves_a_whole_slot() {
    let images = images();
    let (first, log) = story(&images);
    for op in &log {
        if let Op::Write(Device::Selector, at, bytes) = op {
            assert_eq!((*at, bytes.len()), (AUTOBOOT_AT, autoboot::SIZE));
        }
    }
    let writes = log.iter().filter(|op| matches!(op, Op::Write(..))).count();
    let count = cut_everywhere(&first, &log, &images, 60).unwrap_or_else(|e| panic!("{e}"));
    println!(
        "{count} power cuts at {} points, {writes} of them writes",
        log.len()
    );
    assert!(count > 5000, "{count}");
}

/// The model finds what it is there for.
#[test]
fn wrong_orders_are_found() {
    let images = images();
    let (first, log) = story(&images);
    let is_commit = |op: &Op| matches!(op, Op::Write(Device::Selector, ..));
    let find = |log: &[Op]| cut_everywhere(&first, log, &images, 20).unwrap_err();

    let mut early = log.clone();
    let at = early.iter().position(is_commit).unwrap();
    let commit = early.remove(at);
    early.insert(0, commit);
    let found = find(&early);
    assert!(found.contains("slot B is"), "{found}");

    let unsynced: Vec<Op> = log
        .iter()
        .filter(|op| !matches!(op, Op::Sync(Device::B)))
        .cloned()
        .collect();
    let found = find(&unsynced);
    assert!(found.contains("slot B is"), "{found}");

    // The state in place, not in a new file.
    let in_place: Vec<Op> = log
        .iter()
        .map(|op| match op {
            Op::File(_, bytes) => Op::File(FILE.into(), bytes.clone()),
            Op::Rename(..) => Op::Names,
            op => op.clone(),
        })
        .collect();
    let found = find(&in_place);
    assert!(found.contains(FILE), "{found}");

    // The old version of the other slot is not forgotten before it is overwritten.
    let names: Vec<usize> = log
        .iter()
        .enumerate()
        .filter(|(_, op)| matches!(op, Op::File(_, bytes) if String::from_utf8_lossy(bytes).contains("\"writing\"")))
        .map(|(i, _)| i)
        .collect();
    let mut claimed = log.clone();
    let second = names[1];
    claimed.drain(second..second + 3);
    let found = find(&claimed);
    assert!(found.contains("is said to hold"), "{found}");
}
