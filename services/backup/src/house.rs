//! What the service knows, and what it does: backups for laptops, and backups, proofs and forgetting at the
//! target that the box writes to by itself. When these are due is [`crate::schedule`]'s.

use crate::clock::Clock;
use crate::collect::Box_;
use crate::key;
use crate::schedule::{FIRST, State, again, between};
use crate::usb::{self, OnDisk, Trouble};
use anyhow::{Context, Result};
use roost_backup_repository::ahead::Ahead;
use roost_backup_repository::code::Code;
use roost_backup_repository::contents::Contents;
use roost_backup_repository::place::{Opener, Place};
use roost_backup_repository::repository::{Backup, Error, LEAVE_H, Repository};
use roost_backup_repository::s3::Patience;
use roost_backup_repository::sftp;
use roost_backup_repository::store::{Kind, Store};
use roost_service::backup::{
    Answer, BackupStatus as Status, Call, Kept, Made, Proof, Running, SFTP, Secret, SftpPlace,
    TARGET_FILE, Target, Work,
};
use roost_service::files;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// What is kept over restarts.
const STATE_FILE: &str = "state.json";
/// Another rest after a start, in seconds, for tests.
const REST_ENV: &str = "ROOST_BACKUP_REST_S";
/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(60);
/// What to do when a server is not reached.
const AWAY: &str =
    "is the address right, and does the box reach the internet? `roost doctor` says more";
/// The same, of a server that may be in the house.
const OFF: &str = "is the address right, is the server on, and does the box reach it? `roost doctor` says more of the box's network";
/// Why nothing else is begun, and what to do.
const BUSY: &str = "the box is at it already";
const HOW_FAR: &str = "`roost backup status` says how far it is";
/// Why nothing can be done at a target.
const NO_CLOCK: &str = "the box's clock is not set yet";

/// The service.
pub struct House {
    /// What the box is.
    pub what: Box_,
    /// Its recovery code.
    pub code: Code,
    data: PathBuf,
    clock: Clock,
    /// Held while a backup is made or read: two at a time would only be slower.
    turn: Mutex<()>,
    inner: Mutex<Inner>,
    /// Somebody wants something of the keeper.
    bell: Condvar,
}

struct Inner {
    target: Option<Kept>,
    state: State,
    running: Option<Running>,
    /// What somebody has asked for.
    wanted: Option<Work>,
    /// When the schedule begins.
    from: Instant,
}

/// Why something was not done.
#[derive(Debug)]
pub struct Fault {
    /// What went wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Fault {
    /// With something to do.
    pub fn new(message: impl Into<String>, hint: &str) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.to_owned()),
        }
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self::Refused {
            why: fault.message,
            hint: fault.hint,
        }
    }
}

impl House {
    /// With what an earlier start has kept in this folder.
    pub fn open(what: Box_, code: Code, data: PathBuf) -> Arc<Self> {
        let rest = std::env::var(REST_ENV).ok();
        let rest = rest.and_then(|text| text.parse().ok());
        let rest = Duration::from_secs(rest.unwrap_or_else(|| between(FIRST, chance())));
        let inner = Inner {
            target: load(&data.join(TARGET_FILE)),
            state: load(&data.join(STATE_FILE)).unwrap_or_default(),
            running: None,
            wanted: None,
            from: Instant::now() + rest,
        };
        Arc::new(Self {
            what,
            code,
            data,
            clock: Clock::new(),
            turn: Mutex::new(()),
            inner: Mutex::new(inner),
            bell: Condvar::new(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing is half done in it when a thread panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Changes what is kept, and writes it down. What cannot be written holds until the next start.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut inner = self.inner();
        change(&mut inner.state);
        if let Err(error) = save(&self.data.join(STATE_FILE), &inner.state) {
            println!("backup: how backups stand cannot be kept: {error}");
        }
    }

    /// Answers the portal.
    pub fn answer(&self, call: Call) -> Answer {
        let done = match call {
            Call::Status => return Answer::Status(Box::new(self.status())),
            Call::Code => {
                return Answer::Code {
                    words: self.code.as_str().to_owned(),
                };
            }
            Call::Key => {
                return match self.key() {
                    Ok(key) => Answer::Key { line: key.line() },
                    Err(fault) => fault.into(),
                };
            }
            Call::HostKey { host, port } => return host_key(host, port),
            Call::Disks => {
                return match usb::disks() {
                    Ok(disks) => Answer::Disks { disks },
                    Err(fault) => fault.into(),
                };
            }
            Call::Set { target, secret } => self.set(target, secret),
            Call::Remove => self.remove(),
            Call::Now => self.want(Work::Backup),
            Call::Prove => self.want(Work::Proof),
        };
        match done {
            Ok(()) => Answer::Done,
            Err(fault) => fault.into(),
        }
    }

    fn status(&self) -> Status {
        let is_set = self.clock.now().is_some();
        let inner = self.inner();
        let state = inner.state.clone();
        Status {
            target: inner.target.as_ref().map(|kept| kept.target.clone()),
            forgets: inner.target.as_ref().is_some_and(|kept| kept.removes),
            made: state.made,
            failure: state.failure,
            proof: state.proof,
            proof_failure: state.proof_failure,
            forgotten_at: state.forgotten_at,
            forget_failure: state.forget_failure,
            next_at: state.due_at.filter(|_| is_set && inner.target.is_some()),
            waits_since: state.waits_since,
            running: inner.running.clone(),
            fetched: state.fetched,
        }
    }

    /// The key for SFTP servers.
    fn key(&self) -> Result<sftp::Key, Fault> {
        // Two that ask first at a time get the same one.
        static MAKING: Mutex<()> = Mutex::new(());
        let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        key::load_or_make(&self.data).map_err(|error| {
            let hint = "the card may be full or failing: `roost doctor` says more";
            Fault::new(
                format!("the box has no key for SFTP servers: {error:#}"),
                hint,
            )
        })
    }

    /// The place, with what opens it.
    fn open_place(
        &self,
        target: &Target,
        secret: Option<Secret>,
        patience: Patience,
    ) -> Result<Place, Fault> {
        let opener = match (secret, target) {
            (Some(secret), _) => Opener::Secret(secret),
            (None, Target::Sftp(_)) => Opener::Key(self.key()?),
            (None, Target::S3(_)) => {
                let hint = "give the secret key of the bucket's access key with it";
                return Err(Fault::new("a bucket is opened by a secret key", hint));
            }
            (None, Target::Usb(_)) => {
                return Err(Fault::new("a USB disk is no server", no_use(target)));
            }
        };
        Place::new(target, opener, patience)
            .map_err(|error| Fault::new(error.to_string(), no_use(target)))
    }

    /// Tries a target, and keeps it only if it works.
    fn set(&self, target: Target, secret: Option<Secret>) -> Result<(), Fault> {
        if self.clock.now().is_none() {
            let hint = "wait some minutes: the box asks time servers, and what it does at a target has a time";
            return Err(Fault::new(NO_CLOCK, hint));
        }
        if let Target::Usb(usb) = &target {
            usb.check()
                .map_err(|error| Fault::new(error.to_string(), no_use(&target)))?;
            // A disk has no secret.
            if secret.is_some() {
                return Err(Fault::new("a USB disk has no secret", "leave it out"));
            }
            let Some(turn) = self.turn() else {
                return Err(Fault::new(BUSY, HOW_FAR));
            };
            let disk = OnDisk::take(usb)?;
            disk.try_out().map_err(|error| {
                let fault = Fault::new(format!("{target} is of no use: {error}"), no_use(&target));
                disk.trouble().explain(&usb.disk, fault)
            })?;
            drop(disk);
            // Whoever is woken for the first backup takes it.
            drop(turn);
            return self.use_it(Kept {
                target,
                secret: None,
                removes: true,
            });
        }
        let place = self.open_place(&target, secret.clone(), Patience::Short)?;
        let removes = place.try_out().map_err(|error| {
            let hint = match (error.kind(), &target) {
                (
                    io::ErrorKind::TimedOut
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset,
                    target,
                ) => match target {
                    Target::S3(_) => AWAY,
                    Target::Sftp(_) => OFF,
                    Target::Usb(_) => no_use(target),
                },
                (io::ErrorKind::PermissionDenied, Target::S3(_)) => {
                    "the key needs the rights to list the bucket, to read and to write; to remove only if the box shall forget old backups"
                }
                (io::ErrorKind::PermissionDenied, Target::Sftp(_)) => {
                    "the account needs a folder in which it may write; to remove only if the box shall forget old backups"
                }
                (io::ErrorKind::StorageFull, _) => "make room there, or choose another place",
                _ => no_use(&target),
            };
            Fault::new(format!("{target} is of no use: {error}"), hint)
        })?;
        drop(place);
        self.use_it(Kept {
            target,
            secret,
            removes,
        })
    }

    /// Keeps a target that was tried, and backs up there.
    fn use_it(&self, kept: Kept) -> Result<(), Fault> {
        let mut inner = self.inner();
        save(&self.data.join(TARGET_FILE), &kept).map_err(not_kept)?;
        let is_same = (inner.target.as_ref()).is_some_and(|before| same_place(before, &kept));
        println!("backup: backs up to {} from now on", kept.target);
        inner.target = Some(kept);
        inner.wanted = Some(Work::Backup);
        drop(inner);
        if !is_same {
            self.change(|state| *state = state.at_another_target());
        }
        self.bell.notify_all();
        Ok(())
    }

    fn remove(&self) -> Result<(), Fault> {
        let mut inner = self.inner();
        files::remove(&self.data.join(TARGET_FILE)).map_err(not_kept)?;
        (inner.target, inner.wanted) = (None, None);
        drop(inner);
        println!("backup: backs up to no target any more");
        self.change(|state| *state = state.at_another_target());
        Ok(())
    }

    fn want(&self, work: Work) -> Result<(), Fault> {
        let is_set = self.clock.now().is_some();
        let mut inner = self.inner();
        if inner.target.is_none() {
            let hint = "set one: `roost backup target set`, or the page Backups";
            return Err(Fault::new("no target is set", hint));
        }
        if !is_set {
            return Err(Fault::new(NO_CLOCK, "try again in some minutes"));
        }
        if work == Work::Proof && inner.state.made.is_none() {
            let hint = "make one first: `roost backup now`";
            return Err(Fault::new("there is no backup yet", hint));
        }
        if inner.running.is_none() {
            if let Some(Target::Usb(usb)) = inner.target.as_ref().map(|kept| &kept.target) {
                let mark = usb.disk.clone();
                // It may take seconds.
                drop(inner);
                if !usb::is_there(&mark)? {
                    return Err(usb::away(&mark));
                }
                inner = self.inner();
            }
            inner.wanted = Some(work);
            drop(inner);
            self.bell.notify_all();
            return Ok(());
        }
        Err(Fault::new(BUSY, HOW_FAR))
    }

    /// Does what is due, for ever, in a thread of its own.
    ///
    /// # Errors
    /// When that cannot be started.
    pub fn keep(self: &Arc<Self>) -> Result<()> {
        let this = self.clone();
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || {
                loop {
                    let busy = this.look();
                    let inner = this.inner();
                    if inner.wanted.is_none() || busy {
                        // Whoever rings, or nobody: it is looked again.
                        drop(this.bell.wait_timeout(inner, TICK));
                    }
                }
            })
            .context("start a thread")?;
        Ok(())
    }

    /// Does what is due now. Tells whether somebody else is at it.
    fn look(self: &Arc<Self>) -> bool {
        let now = self.clock.now();
        let (kept, work, asked) = {
            let inner = self.inner();
            let (Some(kept), Some(now)) = (inner.target.clone(), now) else {
                return true;
            };
            let scheduled = || {
                let due = inner.state.due(now, kept.removes);
                due.filter(|_| inner.from <= Instant::now())
            };
            let Some(work) = inner.wanted.or_else(scheduled) else {
                return false;
            };
            (kept, work, inner.wanted.is_some())
        };
        let Some(now) = now else { return true };
        if !asked && !self.can_begin(&kept, now) {
            return false;
        }
        // Who asked has been told when the disk is away.
        if self.inner().state.waits_since.is_some() {
            self.came_of(&kept, |state| state.waits_since = None);
        }
        let Some(turn) = self.turn() else { return true };
        {
            let mut inner = self.inner();
            inner.wanted = None;
            inner.running = Some(Running {
                what: work,
                read: 0,
                of: 0,
            });
        }
        match work {
            Work::Backup => self.back_up_there(&kept, now),
            Work::Proof => self.prove(&kept, now),
            Work::Forgetting => self.forget(&kept, now),
        }
        drop(turn);
        self.inner().running = None;
        false
    }

    /// Whether the target's disk is plugged in, if it is one. Since when it is waited for is kept, and said once.
    fn can_begin(&self, kept: &Kept, now: u64) -> bool {
        let Target::Usb(usb) = &kept.target else {
            return true;
        };
        // When init cannot tell, the try itself finds out why.
        let is_there = usb::is_there(&usb.disk).unwrap_or(true);
        if !is_there && self.inner().state.waits_since.is_none() {
            println!("backup: waits for the disk {}", usb.disk);
            self.came_of(kept, |state| state.waits_since = Some(now));
        }
        is_there
    }

    /// Keeps what came of something, unless the owner has chosen another target meanwhile.
    fn came_of(&self, kept: &Kept, change: impl FnOnce(&mut State)) {
        let is_same = (self.inner().target.as_ref()).is_some_and(|now| same_place(now, kept));
        if is_same {
            self.change(change);
        }
    }

    /// Does something at the target. Of a USB disk, what was wrong with that is told in place of what came of it.
    fn at<T>(
        &self,
        kept: &Kept,
        work: impl FnOnce(Arc<dyn Store>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Target::Usb(usb) = &kept.target else {
            let place = self.open_place(&kept.target, kept.secret.clone(), Patience::Long)?;
            return work(place.into_store());
        };
        let disk = OnDisk::take(usb)?;
        let trouble: Trouble = disk.trouble();
        // It is unmounted at the end of this.
        let done = work(Arc::new(disk));
        done.map_err(|fault| trouble.explain(&usb.disk, fault))
    }

    fn back_up_there(self: &Arc<Self>, kept: &Kept, now: u64) {
        println!("backup: begins, at {}", kept.target);
        let this = self.clone();
        let seen = move |read, of| this.progress(read, of);
        let done = self.at(kept, |store| self.make(store, now, seen));
        let at = self.clock.now().unwrap_or(now);
        match done {
            Ok((backup, contents)) => {
                let made = made(&backup, &contents, now);
                self.came_of(kept, |state| state.was_made(made, chance()));
            }
            Err(Fault { message, hint }) => {
                println!("backup: none was made: {message}");
                self.came_of(kept, |state| {
                    state.was_not_made(at, message, hint, chance());
                });
            }
        }
    }

    fn progress(&self, read: u64, of: u64) {
        if let Some(running) = &mut self.inner().running {
            (running.read, running.of) = (read, of);
        }
    }

    /// Reads the newest backup back, and compares it with what was noted when it was made: by itself, and
    /// here.
    fn prove(self: &Arc<Self>, kept: &Kept, now: u64) {
        let Some(made) = self.inner().state.made.clone() else {
            return;
        };
        println!(
            "backup: reads {} back from {}",
            short(&made.id),
            kept.target
        );
        let proven = self.at(kept, |store| {
            let ahead = Arc::new(Ahead::new(store.clone()));
            let proven = Repository::open(ahead, &self.code).and_then(|repository| {
                repository.prove(Some(&made.id), |read, of| self.progress(read, of))
            });
            match proven {
                Ok((_, _, manifest)) if manifest != made.manifest => Ok(Some(
                    "its list of files is not the one that the box made".to_owned(),
                )),
                Ok(_) => Ok(None),
                Err(error) => {
                    let is_away = match &kept.target {
                        Target::Usb(usb) => !usb::is_there(&usb.disk).unwrap_or(true),
                        _ => false,
                    };
                    let way = store.list(Kind::Config).err();
                    unproven(&error, is_away, way)
                }
            }
        });
        let at = self.clock.now().unwrap_or(now);
        match proven {
            Ok(fault) => {
                match &fault {
                    None => println!("backup: {} came back whole", short(&made.id)),
                    Some(fault) => println!("backup: {} is not sound: {fault}", short(&made.id)),
                }
                let (files, bytes) = match &fault {
                    None => (made.files, made.bytes),
                    Some(_) => (0, 0),
                };
                let proof = Proof {
                    at,
                    id: made.id,
                    files,
                    bytes,
                    fault,
                };
                self.came_of(kept, |state| {
                    state.proof = Some(proof);
                    state.proof_failure = None;
                });
            }
            Err(Fault { message, hint }) => {
                println!("backup: nothing was proven: {message}");
                self.came_of(kept, |state| {
                    let failure = again(state.proof_failure.as_ref(), at, message, hint);
                    state.proof_failure = Some(failure);
                });
            }
        }
    }

    fn forget(&self, kept: &Kept, now: u64) {
        let done = self.at(kept, |store| {
            Repository::forget(store, &self.code, LEAVE_H).map_err(told)
        });
        match done {
            Ok(gone) => {
                println!("backup: {gone} old backups were forgotten");
                self.came_of(kept, |state| {
                    state.forgotten_at = Some(now);
                    state.forget_failure = None;
                });
            }
            Err(Fault { message, hint }) => {
                println!("backup: old backups were not forgotten: {message}");
                self.came_of(kept, |state| {
                    let failure = again(state.forget_failure.as_ref(), now, message, hint);
                    state.forget_failure = Some(failure);
                });
            }
        }
    }

    /// Makes a backup in this place, if nobody else is at it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn back_up(
        &self,
        store: Arc<dyn Store>,
        now_s: u64,
        seen: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<(Backup, Contents), Fault> {
        let Some(_turn) = self.turn() else {
            return Err(Fault::new(
                "another backup is being made",
                "run the same command again when it has ended",
            ));
        };
        self.make(store, now_s, seen)
    }

    fn make(
        &self,
        store: Arc<dyn Store>,
        now_s: u64,
        seen: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<(Backup, Contents), Fault> {
        let repository = Repository::open_or_begin(store, &self.code).map_err(told)?;
        // After the repository is open: nobody has to hold still for that.
        let streams = self.what.collect().map_err(|error| {
            Fault::new(
                format!("{error:#}"),
                "see `roost status` and `roost logs`; if it does not come back, restart the box",
            )
        })?;
        let about = self.what.about(now_s);
        let (backup, contents) = repository.back_up(about, streams, seen).map_err(told)?;
        println!(
            "backup: made {}: {} files, {} bytes, of which {} are new",
            short(&backup.id),
            contents.files.len(),
            contents.bytes(),
            backup.added
        );
        Ok((backup, contents))
    }

    /// Notes that a laptop has one.
    pub fn was_fetched(&self, backup: &Backup, contents: &Contents) {
        // The laptop's clock is the one in the backup; the box's is better, if it is set.
        let at = self.clock.now().unwrap_or(contents.made_s);
        let fetched = made(backup, contents, at);
        self.change(|state| state.fetched = Some(fetched));
    }
}

fn made(backup: &Backup, contents: &Contents, at: u64) -> Made {
    Made {
        at,
        id: backup.id.clone(),
        files: contents.files.len() as u64,
        bytes: contents.bytes(),
        added: backup.added,
        manifest: hex::encode(Sha256::digest(contents.to_json())),
    }
}

/// Whether two keys are for the same backups.
fn same_place(one: &Kept, other: &Kept) -> bool {
    let place = |kept: &Kept| (kept.target.server(), kept.target.to_string());
    place(one) == place(other)
}

/// What to look at when a target is of no use.
fn no_use(target: &Target) -> &'static str {
    match target {
        Target::S3(_) => "look at the server's own page for the bucket and its access key",
        Target::Sftp(_) => {
            "look at the account on the server; `roost backup target key` shows the line for its authorized_keys"
        }
        Target::Usb(_) => "look which disks are plugged in: `roost backup target disks`",
    }
}

/// Which host key a server shows.
fn host_key(host: String, port: u16) -> Answer {
    let place = SftpPlace {
        host,
        port,
        // Nobody signs in, and nothing is looked at.
        user: "nobody".to_owned(),
        folder: "/nothing".to_owned(),
    };
    let shown = place
        .check()
        .map_err(|error| {
            Fault::new(
                error.to_string(),
                "give it as in sftp://USER@HOST:PORT/FOLDER",
            )
        })
        .and_then(|()| {
            sftp::host_key(&place.host, place.port).map_err(|error| {
                Fault::new(
                    format!("{SFTP}{} is of no use: {error}", place.address()),
                    OFF,
                )
            })
        });
    match shown {
        Ok(host_key) => Answer::HostKey { host_key },
        Err(fault) => fault.into(),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or_default()
}

/// What an error while a backup was read back says: of the backup (`Ok`), or of the way to it, which is `is_away` if it
/// is a disk that was pulled out; `way` is what came of looking at the target afterwards. By what Linux remembers of it
/// such a disk looks as if it were there, or as if it were empty.
fn unproven(error: &Error, is_away: bool, way: Option<io::Error>) -> Result<Option<String>, Fault> {
    let of_way = |message: String| Fault {
        message,
        hint: None,
    };
    match (error, way) {
        (error, _) if is_away => Err(of_way(error.to_string())),
        (Error::Unknown(_) | Error::Nothing(_), _) => {
            Ok(Some("it is not there any more".to_owned()))
        }
        (error, None) => Ok(Some(error.to_string())),
        (_, Some(error)) => Err(of_way(error.to_string())),
    }
}

fn told(error: Error) -> Fault {
    let hint = match &error {
        Error::WrongCode(_) => Some(
            "this place has the backups of another box, or of this one from before a factory reset; \
             choose another",
        ),
        Error::NotWhole(_) => Some("try the same again: what was sent already is not sent again"),
        _ => None,
    };
    Fault {
        message: error.to_string(),
        hint: hint.map(str::to_owned),
    }
}

fn not_kept(error: io::Error) -> Fault {
    Fault::new(
        format!("it cannot be written down: {error}"),
        "the card may be full or failing: `roost doctor` says more",
    )
}

/// A random number; without random bytes, always the same.
fn chance() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// What is kept in a file. A damaged one is told in the log, and is as none.
fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            println!("backup: {} cannot be read: {error}", path.display());
            return None;
        }
    };
    let parsed = serde_json::from_slice(&text);
    if parsed.is_err() {
        // Without its words: they may have a secret in them.
        println!("backup: {} is damaged", path.display());
    }
    parsed.ok()
}

fn save(path: &Path, what: &impl Serialize) -> io::Result<()> {
    files::write(path, &serde_json::to_vec(what)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_away_is_no_backup_that_is_lost() {
        let lost = Error::Unknown("1234".to_owned());
        let gone = unproven(&lost, false, None).ok().flatten();
        assert_eq!(gone.as_deref(), Some("it is not there any more"));
        assert!(unproven(&lost, true, None).is_err());
        let failed = || io::Error::other("the server does not answer");
        assert_eq!(unproven(&lost, false, Some(failed())).ok().flatten(), gone);
        let damaged = Error::Nothing("here".to_owned());
        assert!(unproven(&damaged, true, Some(failed())).is_err());
    }
}
