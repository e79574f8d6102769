//! Power is cut at every write of a story: a store is made, a box paired and used, the portal
//! restarted in order and killed.
//!
//! A folder below the store records every write, change of length, sync and rename. Then the
//! store is opened from what a power cut may leave behind at each point: of what was not synced,
//! any sectors, the last one torn, new lengths and names or not. It must open, with every change
//! that was acknowledged and no half of another; and again if power is cut while it recovers.

#[path = "web/authenticator.rs"]
#[allow(dead_code, reason = "the tests of passkeys use the rest")]
mod authenticator;

use authenticator::Device;
use redb::StorageBackend;
use roost_portal::audit::{Actor, Entry, Event};
use roost_portal::code::Code;
use roost_portal::owner::{Authenticated, Next, check_password};
use roost_portal::passkey::{Adding, Claim, Name, PasskeyId, Signing, Site};
use roost_portal::password::NewPassword;
use roost_portal::second::SecondFactor;
use roost_portal::session::Place;
use roost_portal::store::*;
use roost_portal::throttle::Factor;
use roost_portal::time::{Now, PoweredOn};
use roost_portal::token::SecretToken;
use roost_portal::visitor::Browser;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// Which file, whatever its name.
type Inode = usize;

#[derive(Debug, Clone)]
enum Op {
    Create(String, Inode),
    Write(Inode, usize, Vec<u8>),
    Length(Inode, usize),
    Sync(Inode),
    Rename(String, String),
    Names,
}

/// The medium as the kernel shows it, and all that was done to it.
#[derive(Debug, Default)]
struct Medium {
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, Inode>,
    log: Vec<Op>,
}

#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Medium>>);

#[derive(Debug)]
struct RecordedFile(Recorder, Inode);

impl Recorder {
    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.0.lock().unwrap()
    }
}

impl Folder for Recorder {
    type File = RecordedFile;

    fn open(&self, name: &str) -> io::Result<Option<RecordedFile>> {
        let inode = self.medium().names.get(name).copied();
        Ok(inode.map(|inode| RecordedFile(self.clone(), inode)))
    }

    fn create(&self, name: &str) -> io::Result<RecordedFile> {
        let mut medium = self.medium();
        let inode = medium.files.len();
        medium.files.push(vec![]);
        medium.names.insert(name.into(), inode);
        medium.log.push(Op::Create(name.into(), inode));
        Ok(RecordedFile(self.clone(), inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut medium = self.medium();
        let inode = medium.names.remove(from).unwrap();
        medium.names.insert(to.into(), inode);
        medium.log.push(Op::Rename(from.into(), to.into()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.medium().log.push(Op::Names);
        Ok(())
    }
}

impl StorageBackend for RecordedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.medium().files[self.1].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let medium = self.0.medium();
        let bytes = medium.files[self.1].get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut medium = self.0.medium();
        medium.files[self.1].resize(len as usize, 0);
        medium.log.push(Op::Length(self.1, len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.medium().log.push(Op::Sync(self.1));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut medium = self.0.medium();
        put(&mut medium.files[self.1], offset as usize, data);
        let op = Op::Write(self.1, offset as usize, data.to_vec());
        medium.log.push(op);
        Ok(())
    }
}

/// Writing behind the end makes a file longer.
fn put(file: &mut Vec<u8>, at: usize, data: &[u8]) {
    if file.len() < at + data.len() {
        file.resize(at + data.len(), 0);
    }
    file[at..at + data.len()].copy_from_slice(data);
}

/// All that a store holds.
type All = Value;

fn all(store: &Store) -> Result<All, StoreError> {
    store.view(|view| {
        let laptops = view.laptops()?.into_iter();
        let passkeys = view.passkeys()?.into_iter();
        Ok(json!({
            "owner": view.owner()?,
            "pairing": view.pairing()?,
            "sessions": view.sessions()?,
            "throttle": view.throttle()?,
            "powered_on": view.powered_on()?,
            "settings": view.settings()?,
            "laptops": laptops.map(|(key, laptop)| (key.0, laptop)).collect::<Vec<_>>(),
            "passkeys": passkeys.map(|(id, passkey)| (id.0, passkey)).collect::<Vec<_>>(),
            "audit": view.audit(usize::MAX)?,
        }))
    })
}

/// What was on record when so many operations were done: the story's promises.
struct Promise {
    after: usize,
    all: All,
}

const STEPS: u64 = 30;
const CODE: &str = "K7Q2-M9XP";
const PASSWORD: &str = "trout-lamp-river";

fn recovery_code(n: usize) -> String {
    format!("AAAAAAAA0{n}")
}

fn second_factor() -> SecondFactor {
    let hash = |n| hex::encode(Sha256::digest(recovery_code(n)));
    let recovery: Vec<String> = (0..8).map(hash).collect();
    let kept = json!({ "secret": "07".repeat(20), "last": 0, "recovery": recovery });
    serde_json::from_value(kept).unwrap()
}

/// The owner signs in, and uses a recovery code up if there is a second factor.
fn sign_in(change: &mut Change<'_>) -> Result<Authenticated, StoreError> {
    let owner = change.owner()?.unwrap();
    Ok(match check_password(Some(&owner), PASSWORD).unwrap() {
        Next::SignedIn(by) => by,
        Next::Second(right) => {
            let code = recovery_code(8 - owner.second().unwrap().recovery_left());
            let answer = change.decide_owner(|owner| owner.check_second(right, &code, None))?;
            answer.unwrap()
        }
    })
}

/// The owner's phone, which counts.
fn phone(counter: u64) -> Device {
    let mut phone = Device::new(1);
    phone.counter = u32::try_from(counter).unwrap();
    // The user handle that it was given.
    phone.user = Some("BwcHBwcHBwcHBwcHBwcHBw".into());
    phone
}

fn site() -> Site {
    Site::of("roost.local").unwrap()
}

const ORIGIN: &str = "https://roost.local";

/// The owner adds the phone.
fn add_phone(change: &mut Change<'_>, number: u64, now: Now) -> Result<(), StoreError> {
    let by = sign_in(change)?;
    let name = Name::new("phone").unwrap();
    let begun = Adding::begin(by, name, site(), "roost", &[], [7; 16], now.powered_on);
    let (adding, options) = begun.unwrap();
    let answer = phone(number).create(&options, ORIGIN);
    let (id, passkey) = adding.finish(&answer, now).unwrap();
    change.add_passkey(&id, &passkey)?.unwrap();
    Ok(())
}

/// The owner signs in with the phone, and at the end removes it.
fn use_phone(change: &mut Change<'_>, number: u64, now: Now) -> Result<(), StoreError> {
    let known: Vec<PasskeyId> = change.passkeys()?.into_iter().map(|(id, _)| id).collect();
    let Some(id) = known.first() else {
        return Ok(());
    };
    let (signing, options) = Signing::begin(site(), now.powered_on).unwrap();
    let claim = Claim::parse(&phone(number).get(&options, ORIGIN)).unwrap();
    let answer = change.decide_passkey(id, |p| signing.finish(&claim, p, now))?;
    let by = answer.unwrap().unwrap();
    if number == 21 {
        assert!(change.remove_passkey(by, id)?);
    }
    Ok(())
}

/// One change of the story, over several records.
fn step(change: &mut Change<'_>, number: u64) -> Result<(), StoreError> {
    let from = IpAddr::V4(Ipv4Addr::new(192, 168, 1, number as u8));
    let powered_on = PoweredOn(number * 60);
    let now = Now {
        powered_on,
        wall: None,
    };
    let place = Place {
        from,
        browser: Browser::recognise("(X11; Linux) Firefox/140.0"),
    };
    let laptop = Laptop {
        name: format!("laptop {number}"),
        paired: now,
        seen: None,
    };
    let settings = |aliases| Settings {
        domain: Some(format!("{number}.example")),
        first_account: Some("anna".into()),
        mail_password: None,
        relay: None,
        aliases: (0..aliases)
            .map(|i| Alias {
                name: format!("alias{i}"),
                account: "anna".into(),
            })
            .collect(),
    };
    let password = || NewPassword::choose(PASSWORD, &[]).unwrap();
    let random = [number as u8; 32];
    let key = |number| LaptopKey([number as u8; 32]);
    match number {
        0 => {
            assert!(change.begin_pairing(Code::parse(CODE).unwrap(), powered_on)?);
            let wrong = change
                .decide_pairing(|pairing| pairing.enter("AAAA-AAAA", from, random, powered_on))?;
            assert!(wrong.is_err());
        }
        1 => {
            let grant = change
                .decide_pairing(|pairing| pairing.enter(CODE, from, random, powered_on))?
                .unwrap();
            let claimed = change.decide_pairing(|pairing| pairing.claim(&grant, powered_on))?;
            assert_eq!(claimed, Ok(()));
            let hash = password().hash([1; 16]);
            let by = change.finish_pairing(Some(&grant), hash, &settings(0), now)?;
            change.change_sessions(|s| s.open(by.unwrap(), None, random, place, now))?;
            change.add_laptop(&key(1), &laptop)?;
        }
        2 => {
            add_phone(change, number, now)?;
            let by = sign_in(change)?;
            change.change_owner(|owner| owner.with_second(by, Some(second_factor())))?;
        }
        _ => match number % 6 {
            0 => {
                let by = sign_in(change)?;
                let hash = password().hash([number as u8; 16]);
                change.change_owner(|owner| owner.with_password(by, hash))?;
                let kept = SecretToken::from_random([number as u8 - 4; 32]);
                change.change_sessions(|s| s.revoke_others(Some(&kept)))?;
            }
            1 => change.add_laptop(&key(number), &laptop)?,
            2 => {
                let by = sign_in(change)?;
                let token = change.change_sessions(|s| s.open(by, None, random, place, now))?;
                change.change_throttle(|t| t.remember(token.hash(), powered_on))?;
            }
            3 => {
                change.set_settings(&settings(number * 4))?;
                use_phone(change, number, now)?;
            }
            4 => assert!(change.remove_laptop(&key(number - 3))?),
            _ => {
                let through = change.change_throttle(|t| {
                    let who = t.who(None, from);
                    t.begin(who, Factor::Password, powered_on).is_ok()
                })?;
                assert!(through);
            }
        },
    }
    change.save_powered_on(powered_on)?;
    change.audit_entry(&Entry {
        at: now,
        who: Actor::Owner,
        from: Some(from),
        what: Event::PasswordWrong {
            known_browser: number.is_multiple_of(2),
        },
    })
}

/// Every step of the story, and what was promised after each.
fn story() -> (Vec<Op>, Vec<Promise>) {
    let folder = Recorder::default();
    let mut promises = vec![];
    let mut store = Store::open(&folder).unwrap();
    let mut promise = |store: &Store| {
        let after = folder.medium().log.len();
        let all = all(store).unwrap();
        promises.push(Promise { after, all });
    };
    promise(&store);
    for number in 0..STEPS {
        match number % 10 {
            4 => {
                drop(store);
                store = Store::open(&folder).unwrap();
            }
            // The portal is killed: nothing is closed.
            8 => {
                std::mem::forget(store);
                store = Store::open(&folder).unwrap();
            }
            _ => {}
        }
        store.change(|change| step(change, number)).unwrap();
        promise(&store);
        // What is refused half way through leaves nothing behind.
        let refused: Result<(), StoreError> = store.change(|change| {
            change.set_settings(&Settings::default())?;
            Err(StoreError::Owned)
        });
        assert!(refused.is_err());
    }
    drop(store);
    let log = std::mem::take(&mut folder.medium().log);
    (log, promises)
}

/// A small generator: the same points in every run.
struct Dice(Cell<u64>);

impl Dice {
    fn roll(&self, sides: usize) -> usize {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

/// What the medium holds for certain, and what may or may not have reached it.
#[derive(Clone, Default)]
struct Platter {
    files: BTreeMap<Inode, Arc<Vec<u8>>>,
    names: BTreeMap<String, Inode>,
    pending: Vec<Op>,
    pending_names: Vec<Op>,
}

/// A part of a write that arrives as a whole, or not.
enum Piece<'a> {
    Sector(Inode, usize, &'a [u8]),
    Length(Inode, usize),
}

impl Platter {
    fn take(&mut self, op: &Op) {
        match op {
            Op::Write(..) | Op::Length(..) => self.pending.push(op.clone()),
            Op::Create(..) | Op::Rename(..) => self.pending_names.push(op.clone()),
            Op::Sync(synced) => {
                let (done, left) = std::mem::take(&mut self.pending).into_iter().partition(|op| {
                    matches!(op, Op::Write(inode, ..) | Op::Length(inode, _) if inode == synced)
                });
                self.pending = left;
                let done: Vec<Op> = done;
                for op in &done {
                    match op {
                        Op::Write(inode, at, bytes) => put(self.file(*inode), *at, bytes),
                        Op::Length(inode, len) => self.file(*inode).resize(*len, 0),
                        _ => unreachable!(),
                    }
                }
            }
            Op::Names => {
                let done = std::mem::take(&mut self.pending_names);
                self.name(&done);
            }
        }
    }

    fn file(&mut self, inode: Inode) -> &mut Vec<u8> {
        Arc::make_mut(self.files.entry(inode).or_default())
    }

    fn name(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Create(name, inode) => self.names.insert(name.clone(), *inode),
                Op::Rename(from, to) => {
                    let inode = self.names.remove(from).unwrap();
                    self.names.insert(to.clone(), inode)
                }
                _ => unreachable!(),
            };
        }
    }

    /// Power is cut while `next` is under way: any sectors of what is pending
    /// have arrived, one of them torn.
    fn cut(&self, next: Option<&Op>, dice: &Dice) -> Self {
        let mut left = self.clone();
        if let Some(op @ (Op::Write(..) | Op::Length(..) | Op::Create(..) | Op::Rename(..))) = next
        {
            left.take(op);
        }
        let pending = std::mem::take(&mut left.pending);
        // The file system's journal keeps the order of names.
        let names = std::mem::take(&mut left.pending_names);
        left.name(&names[..dice.roll(names.len() + 1)]);
        // None, all, or some of the sectors.
        let share = dice.roll(5);
        let mut pieces: Vec<Piece<'_>> = pending.iter().flat_map(pieces).collect();
        pieces.retain(|_| dice.roll(4) < share);
        let torn = pieces.pop();
        for piece in pieces {
            match piece {
                Piece::Sector(inode, at, bytes) => put(left.file(inode), at, bytes),
                Piece::Length(inode, len) => left.file(inode).resize(len, 0),
            }
        }
        match torn {
            Some(Piece::Sector(inode, at, bytes)) => {
                let end = dice.roll(bytes.len() + 1);
                match dice.roll(4) {
                    0 => put(left.file(inode), at, &bytes[..end]),
                    1 => put(left.file(inode), at + end, &bytes[end..]),
                    // The first sector cannot be made good: see `a_first_sector_of_garbage...`.
                    2 if at >= SECTOR => put(left.file(inode), at, &vec![0xa5; bytes.len()]),
                    _ => put(left.file(inode), at, bytes),
                }
            }
            Some(Piece::Length(inode, len)) => left.file(inode).resize(len, 0),
            None => {}
        }
        left
    }

    /// What the kernel shows after the cut.
    fn medium(&self) -> Recorder {
        let last = self.names.values().max().map_or(0, |inode| inode + 1);
        let content = |inode| self.files.get(&inode).map(|file| file.to_vec());
        Recorder(Arc::new(Mutex::new(Medium {
            files: (0..last)
                .map(|inode| content(inode).unwrap_or_default())
                .collect(),
            names: self.names.clone(),
            log: vec![],
        })))
    }

    /// The same as certain, for a second cut.
    fn of(medium: &Medium) -> Self {
        let files = medium.files.iter().cloned().map(Arc::new);
        Self {
            files: files.enumerate().collect(),
            names: medium.names.clone(),
            ..Self::default()
        }
    }
}

fn pieces(op: &Op) -> Vec<Piece<'_>> {
    match op {
        Op::Write(inode, at, bytes) => {
            let mut list = vec![];
            let mut from = 0;
            while from < bytes.len() {
                let to = ((at + from) / SECTOR * SECTOR + SECTOR - at).min(bytes.len());
                list.push(Piece::Sector(*inode, at + from, &bytes[from..to]));
                from = to;
            }
            list
        }
        Op::Length(inode, len) => vec![Piece::Length(*inode, *len)],
        _ => vec![],
    }
}

/// The box comes up: what the store holds, or why it does not open.
fn come_up(folder: &Recorder) -> Result<All, String> {
    let store = Store::open(folder).map_err(|error| format!("it does not open: {error}"))?;
    all(&store).map_err(|error| format!("it cannot be read: {error}"))
}

/// Cuts the power at every point of the story, `samples` times. Gives the numbers of cuts in it
/// and in the recovery from one, or what went wrong first.
fn cut_everywhere(
    log: &[Op],
    promises: &[Promise],
    samples: usize,
) -> Result<(usize, usize), String> {
    let mut platter = Platter::default();
    let dice = Dice(Cell::new(0x1234_5678_9abc_def1));
    let (mut cuts, mut second) = (0, 0);
    let nothing = All::default();
    for (point, next) in log.iter().map(Some).chain([None]).enumerate() {
        let kept = promises
            .iter()
            .take_while(|promise| promise.after <= point)
            .count();
        // Before the first promise there may be no store; a new one is made then.
        let last = kept.checked_sub(1).map_or(&nothing, |i| &promises[i].all);
        let coming = promises.get(kept).map(|promise| &promise.all);
        for _ in 0..samples {
            let at = |error| format!("point {point} of {}: {error}", log.len());
            let left = platter.cut(next, &dice);
            let folder = left.medium();
            let found = come_up(&folder).map_err(at)?;
            if found != *last && Some(&found) != coming {
                let steps = found["audit"].as_array().map_or(0, Vec::len);
                return Err(at(format!(
                    "an acknowledged change is lost ({steps} steps left)"
                )));
            }
            cuts += 1;
            if dice.roll(8) == 0 {
                // And again, somewhere in the recovery.
                let log = std::mem::take(&mut folder.medium().log);
                let mut again = Platter::of(&left.medium().medium());
                let until = dice.roll(log.len() + 1);
                log[..until].iter().for_each(|op| again.take(op));
                let recovered = come_up(&again.cut(log.get(until), &dice).medium());
                if recovered.map_err(|error| at(format!("recovery: {error}")))? != found {
                    return Err(at("what was recovered is lost".into()));
                }
                second += 1;
            }
        }
        if let Some(op) = next {
            platter.take(op);
        }
    }
    Ok((cuts, second))
}

#[test]
fn power_cut_at_every_write_loses_no_acknowledged_change() {
    let (log, promises) = story();
    let (cuts, second) =
        cut_everywhere(&log, &promises, 24).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{cuts} power cuts at {} points of {} changes, {second} more while recovering",
        log.len(),
        promises.len()
    );
    assert!(cuts > 10_000, "{cuts}");
}

/// The model finds what it is there for.
#[test]
fn wrong_orders_are_found() {
    let (log, promises) = story();
    // Syncs are left out; each is replaced so that the promises' places stay right.
    let broken = |wrong: fn(&Op) -> Option<Op>| -> Vec<Op> {
        log.iter()
            .map(|op| wrong(op).unwrap_or_else(|| op.clone()))
            .collect()
    };
    let find = |log: &[Op]| cut_everywhere(log, &promises, 8).unwrap_err();

    let unsynced = broken(|op| matches!(op, Op::Sync(_)).then_some(Op::Names));
    let found = find(&unsynced);
    assert!(found.contains("it does not open"), "{found}");

    // Made in place: a cut leaves a part of it.
    let in_place = broken(|op| match op {
        Op::Create(_, inode) => Some(Op::Create(FILE.into(), *inode)),
        Op::Rename(..) => Some(Op::Names),
        _ => None,
    });
    let found = find(&in_place);
    assert!(found.contains("it does not open"), "{found}");

    // Acknowledged before the last sync of each change.
    let promises: Vec<Promise> = promises
        .iter()
        .map(|promise| Promise {
            after: promise.after - 1,
            all: promise.all.clone(),
        })
        .collect();
    let found = cut_everywhere(&log, &promises, 8).unwrap_err();
    assert!(found.contains("is lost"), "{found}");
}

/// What no cut of the model does, but a card may: it is said, and nothing begins anew.
#[test]
fn a_first_sector_of_garbage_is_damage() {
    let folder = Recorder::default();
    drop(Store::open(&folder).unwrap());
    let inode = folder.medium().names[FILE];
    folder.medium().files[inode][..SECTOR].fill(0xa5);
    let error = Store::open(&folder).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
}
