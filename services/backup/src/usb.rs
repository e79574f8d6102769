//! A USB disk at the box: init lends a folder of it, in which the repository lies, and takes it back.
//!
//! It is lent over a connection to init's socket, for as long as that is open: however this service ends, the disk is
//! unmounted then, and can be pulled out.

use crate::clock;
use crate::house::Fault;
use bytes::Bytes;
use roost_backup_repository::folder::Folder;
use roost_backup_repository::store::{Kind, Name, Store};
use roost_service::backup::UsbTarget;
use roost_service::control::{Request, Response};
use roost_service::disk::{self, Disk, DiskMark};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Another folder than the one that init lends, for tests.
const LENT_ENV: &str = "ROOST_DISK";
/// Longest silence of init, whose child may wait for a slow disk: the first question after a start loads drivers, and
/// the last brings onto the disk what the memory still holds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest answer of init, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// What a file's name begins with that is written to see whether it can be.
const TRIAL: &str = ".trial-";
/// What to do when a disk is away.
const PLUG_IN: &str = "plug it in; what is due begins by itself within a minute";
/// What to do when it went away.
const PLUG_AGAIN: &str = "plug it in again: what is on it already is not written again. It can be pulled out while nothing is at work";

/// init lends to one at a time, and looks for disks for one.
static TURN: Mutex<()> = Mutex::new(());

/// A connection to init.
struct Init(BufReader<UnixStream>);

impl Init {
    fn connect() -> io::Result<Self> {
        let stream = UnixStream::connect(clock::socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, request: &Request) -> io::Result<Response> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line)?;
        let mut answer = Vec::new();
        (&mut self.0)
            .take(MAX_ANSWER)
            .read_until(b'\n', &mut answer)?;
        match answer.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(serde_json::from_slice(&answer)?),
        }
    }
}

fn no_answer(error: &io::Error) -> Fault {
    let hint = "it may be busy with a disk that does not answer: pull it out, and try again";
    Fault::new(format!("init does not answer about disks: {error}"), hint)
}

fn refused(response: Response) -> Fault {
    let (message, hint) = match response {
        Response::DiskRefused { why, hint } => (why, hint),
        Response::Error { message } => (message, None),
        _ => ("init answers something else about disks".to_owned(), None),
    };
    Fault { message, hint }
}

/// Which are plugged in.
///
/// # Errors
/// [`Fault`].
pub fn disks() -> Result<Vec<Disk>, Fault> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = Init::connect().and_then(|mut init| init.ask(&Request::Disks));
    match answer.map_err(|error| no_answer(&error))? {
        Response::Disks { disks } => Ok(disks),
        other => Err(refused(other)),
    }
}

/// Whether this one is plugged in. That it can be used is another question.
///
/// # Errors
/// [`Fault`].
pub fn is_there(mark: &DiskMark) -> Result<bool, Fault> {
    Ok(disks()?.iter().any(|disk| disk.mark.as_ref() == Some(mark)))
}

/// Why nothing can be done at a disk that is not plugged in.
pub fn away(mark: &DiskMark) -> Fault {
    Fault::new(format!("the disk {mark} is not plugged in"), PLUG_IN)
}

/// What was wrong first, for people: what comes after it is a consequence.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<Fault>>>);

impl Trouble {
    fn note(&self, error: &io::Error, disk: &DiskMark) {
        let fault = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::new(
                format!("the disk {disk} is full"),
                "make room on it at a computer, or choose another disk",
            ),
            io::ErrorKind::ReadOnlyFilesystem => Fault::new(
                format!(
                    "nothing more can be written to the disk {disk}: its file system is damaged, or it was pulled out"
                ),
                "plug it in again; if that does not help, have a computer check and repair its file system",
            ),
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => return,
            _ => Fault::new(format!("the disk {disk} fails: {error}"), PLUG_AGAIN),
        };
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(fault);
    }

    /// What was wrong with the disk, if something was: more than what came of it says.
    pub fn explain(&self, disk: &DiskMark, fault: Fault) -> Fault {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(first) = first else {
            return fault;
        };
        match is_there(disk) {
            Ok(false) => Fault::new(
                format!("the disk {disk} was pulled out before it was done"),
                PLUG_AGAIN,
            ),
            _ => first,
        }
    }
}

/// A folder of a disk that init has lent. When this is dropped, the disk is unmounted.
pub struct OnDisk {
    target: UsbTarget,
    path: PathBuf,
    folder: Folder,
    trouble: Trouble,
    init: Mutex<Init>,
}

impl OnDisk {
    /// Has it lent.
    ///
    /// # Errors
    /// [`Fault`]: it is not plugged in, or cannot be used.
    pub fn take(target: &UsbTarget) -> Result<Self, Fault> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut init = Init::connect().map_err(|error| no_answer(&error))?;
        let request = Request::TakeDisk {
            disk: target.disk.clone(),
            folder: target.folder.clone(),
        };
        match init.ask(&request).map_err(|error| no_answer(&error))? {
            Response::Ok => {}
            other => return Err(refused(other)),
        }
        let path = std::env::var_os(LENT_ENV).map_or_else(|| disk::LENT.into(), PathBuf::from);
        Ok(Self {
            target: target.clone(),
            folder: Folder::new(&path),
            path,
            trouble: Trouble::default(),
            init: Mutex::new(init),
        })
    }

    /// What goes wrong with the disk is noted here.
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Does once all that a backup needs.
    ///
    /// # Errors
    /// What did not work, in plain words.
    pub fn try_out(&self) -> io::Result<()> {
        let told = |what: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        self.list(Kind::Config)
            .map_err(told("its files cannot be listed"))?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = self.path.join(format!("{TRIAL}{}", hex::encode(random)));
        let written = write(&path, &random).and_then(|()| std::fs::read(&path));
        let removed = std::fs::remove_file(&path);
        let back = written
            .inspect_err(|error| self.trouble.note(error, &self.target.disk))
            .map_err(told("a file cannot be written"))?;
        if back != random {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a file just written comes back with other bytes",
            ));
        }
        removed.map_err(told("a file cannot be removed"))
    }

    fn noted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| self.trouble.note(error, &self.target.disk))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let init = self.init.get_mut().unwrap_or_else(PoisonError::into_inner);
        // If nobody answers, the connection's end does the same, only unseen.
        match init.ask(&Request::ReleaseDisk) {
            Ok(Response::Ok) => {}
            Ok(other) => println!(
                "backup: the disk was let go, but: {}",
                refused(other).message
            ),
            Err(error) => {
                println!("backup: init does not tell whether the disk is unmounted: {error}")
            }
        }
    }
}

impl Store for OnDisk {
    fn place(&self) -> String {
        self.target.to_string()
    }

    fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>> {
        self.noted(self.folder.list(kind))
    }

    fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes> {
        self.noted(self.folder.read(kind, name, part))
    }

    fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()> {
        self.noted(self.folder.write(kind, name, pieces))
    }

    fn remove(&self, kind: Kind, name: Name) -> io::Result<()> {
        self.noted(self.folder.erase(kind, name))
    }
}
