//! A repository in a folder of an SFTP server, as restic lays it out.
//!
//! SSH is russh's ([`ssh`]), what is said over it is in [`packet`] and [`session`]; here is when to say what. A
//! file is written under another name, put on the medium, and gets its own only when it is whole, by the protocol's
//! own renaming, which fails where there is one already: nothing is ever overwritten, and what a cut leaves is
//! not taken for a file.
//!
//! One connection for all threads, one request of theirs after the other; in each, many packets are on their way
//! at once. It is made when it is needed, and anew after whatever has broken it.

mod key;
mod packet;
mod session;
mod ssh;

use crate::s3::Patience;
use crate::store::{Kind, Name, Store, clear_beginning};
use bytes::Bytes;
pub use key::{Key, NoKey};
use packet::Entry;
use roost_service::backup::{HostKey, NoTarget, Secret, SftpTarget};
use session::{Session, Wait, is_lost};
use ssh::Connection;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// What stands before the name of a file that is being written, as in a laptop's folder: names of 64 digits alone are looked at,
/// here and in restic.
const UNFINISHED: &str = ".unfinished-";
/// What a trial's file begins with.
const TRIAL: &str = "roost-trial-";
/// Whoever waits does so for 20 s.
const SHORT: Duration = Duration::from_secs(18);
/// Longest silence while somebody waits.
const SHORT_SILENCE: Duration = Duration::from_secs(6);
/// Longest silence while nobody does: a disk that has slept turns on first, and a busy one writes slowly.
const LONG_SILENCE: Duration = Duration::from_secs(120);
/// Rests before something is tried again that failed as it may on a bad day.
const RESTS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
];

/// By what somebody signs in.
#[derive(Clone)]
pub enum Login {
    /// A key.
    Key(Key),
    /// A password.
    Password(Secret),
}

/// The folder.
pub struct Sftp {
    target: SftpTarget,
    login: Login,
    path: String,
    place: String,
    patience: Patience,
    begun: Instant,
    connection: Mutex<Option<Connection>>,
    runtime: Runtime,
}

impl Drop for Sftp {
    fn drop(&mut self) {
        // It says goodbye by a task.
        let _inside = self.runtime.enter();
        self.connection
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// One thread beside those that wait: it answers the server while nobody asks anything.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("sftp")
        .enable_all()
        .build()
}

fn wait(patience: Patience, begun: Instant) -> Wait {
    match patience {
        Patience::Long => Wait {
            silence: LONG_SILENCE,
            until: None,
        },
        Patience::Short => Wait {
            silence: SHORT_SILENCE,
            until: Some(begun + SHORT),
        },
    }
}

/// The fingerprint of the host key that this server shows to whoever asks. Nobody signs in.
///
/// # Errors
/// Why the server is not reached, in plain words.
pub fn host_key(host: &str, port: u16) -> io::Result<HostKey> {
    let wait = wait(Patience::Short, Instant::now());
    runtime()?.block_on(ssh::host_key(host, port, wait))
}

/// Why there is nothing to be had of a server.
#[derive(Debug, thiserror::Error)]
pub enum NoSftp {
    /// It can be none.
    #[error(transparent)]
    Target(#[from] NoTarget),
    /// There is no thread for it.
    #[error("no thread can be started: {0}")]
    Thread(#[from] io::Error),
}

impl Sftp {
    /// This one. Nothing is asked yet.
    ///
    /// # Errors
    /// [`NoSftp`].
    pub fn new(target: &SftpTarget, login: Login, patience: Patience) -> Result<Self, NoSftp> {
        target.check()?;
        Ok(Self {
            target: target.clone(),
            login,
            path: target.place().path().to_owned(),
            place: target.to_string(),
            patience,
            begun: Instant::now(),
            connection: Mutex::new(None),
            runtime: runtime()?,
        })
    }

    /// Does once all that a backup needs: lists, writes a small file, reads it back, and removes it. Tells
    /// whether the account may remove files; one that may not is enough for backups, and safer.
    ///
    /// # Errors
    /// What did not work, in plain words.
    pub fn try_out(&self) -> io::Result<bool> {
        let told = |what: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        // What goes wrong here is the server's, and said as it is.
        self.ask(async |_| Ok(()))?;
        self.list(Kind::Config)
            .map_err(told("its files cannot be listed"))?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = format!("{}/{TRIAL}{}", self.path, hex::encode(random));
        self.ask(async |server| put(server, &path, &random).await)
            .map_err(told("a file cannot be written"))?;
        let back = self
            .ask(async |server| server.read(&path, None).await)
            .map_err(told("a file just written cannot be read back"))?;
        if back != random {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a file just written comes back with other bytes",
            ));
        }
        match self.ask(async |server| server.remove(&path).await) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(told("a file cannot be removed")(error)),
        }
    }

    /// Does something at the server, as often as it fails as it may on a bad day. All that is done there can be done twice.
    fn ask<T>(&self, work: impl AsyncFn(&mut Server) -> io::Result<T>) -> io::Result<T> {
        let mut rests = match self.patience {
            Patience::Long => RESTS.iter(),
            Patience::Short => [].iter(),
        };
        let mut slot = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            let done = self.runtime.block_on(async {
                let connection = match &mut *slot {
                    Some(connection) => connection,
                    none => {
                        let wait = wait(self.patience, self.begun);
                        none.insert(ssh::connect(&self.target, &self.login, wait).await?)
                    }
                };
                work(&mut connection.session).await
            });
            let Err(error) = done else { return done };
            if is_lost(&error) {
                let _inside = self.runtime.enter();
                slot.take();
            }
            match (may_pass(&error), rests.next()) {
                (true, Some(rest)) => std::thread::sleep(*rest),
                _ => return Err(error),
            }
        }
    }

    /// As restic names them: packs below 256 folders, by the first digits.
    fn file(&self, kind: Kind, name: Name) -> String {
        let (path, folder, digits) = (&self.path, kind.folder(), name.to_string());
        match kind {
            Kind::Config => format!("{path}/{folder}"),
            Kind::Pack => format!(
                "{path}/{folder}/{}/{digits}",
                digits.get(..2).unwrap_or_default()
            ),
            _ => format!("{path}/{folder}/{digits}"),
        }
    }
}

/// What is spoken with.
type Server = Session<russh::ChannelStream<russh::client::Msg>>;

/// Whether it may work a moment later.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::TimedOut | Kind::ConnectionReset | Kind::ConnectionRefused
    )
}

/// Puts a file there whole, or not at all. One that is there already stays, and has to be as long as this one: what
/// is in it tells its name.
async fn put<S: AsyncRead + AsyncWrite + Unpin>(
    server: &mut Session<S>,
    path: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let is_there = async |server: &mut Session<S>| match server.size(path).await? {
        None => Ok(false),
        Some(length) if length == bytes.len() as u64 => Ok(true),
        Some(length) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "{path} is there already, with {length} bytes instead of {}; it is left as it is",
                bytes.len()
            ),
        )),
    };
    if is_there(server).await? {
        return Ok(());
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let unfinished = format!("{folder}/{UNFINISHED}{name}");
    let written = match server.write(&unfinished, bytes).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            server.make_folders(folder).await?;
            server.write(&unfinished, bytes).await
        }
        written => written,
    };
    if let Err(error) = written {
        // On a full disk half a file is in everybody's way. The first fault is the one to be told.
        if !is_lost(&error) {
            let _ = server.remove(&unfinished).await;
        }
        return Err(error);
    }
    if let Err(error) = server.rename(&unfinished, path).await {
        // Somebody else was faster.
        if is_lost(&error) || !is_there(server).await? {
            let text = format!("a file that was written cannot get its name: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
    }
    server.sync_folder(folder).await
}

/// Files with names of a repository, and their lengths.
fn named(entries: &[Entry], kind: Kind, of: Option<&str>) -> io::Result<Vec<(Name, u32)>> {
    let mut found = Vec::new();
    for Entry { name, attributes } in entries {
        let Some(digits) = std::str::from_utf8(name).ok() else {
            continue;
        };
        // Whatever else lies there is no file of a repository.
        let Ok(name) = digits.parse() else { continue };
        if attributes.is_folder == Some(true)
            || of.is_some_and(|of| !digits.starts_with(of))
            || digits != Name::to_string(&name)
        {
            continue;
        }
        found.push((name, length(kind, attributes.size)?));
    }
    Ok(found)
}

fn length(kind: Kind, size: Option<u64>) -> io::Result<u32> {
    let bad = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let size = size.ok_or_else(|| bad(format!("no length of a file in {}", kind.folder())))?;
    u32::try_from(size).map_err(|_| bad("a file of 4 GiB or more".to_owned()))
}

impl Store for Sftp {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>> {
        let folder = format!("{}/{}", self.path, kind.folder());
        if kind == Kind::Config {
            let size = self.ask(async |server| server.size(&folder).await)?;
            return match size {
                None => Ok(Vec::new()),
                size => Ok(vec![(Name::default(), length(kind, size)?)]),
            };
        }
        let here = self.ask(async |server| server.list(std::slice::from_ref(&folder)).await)?;
        let here = here.into_iter().next().unwrap_or_default();
        if kind != Kind::Pack {
            return named(&here, kind, None);
        }
        // Packs lie in folders by the first two digits of their names.
        let mut found = Vec::new();
        let digits: Vec<&str> = here
            .iter()
            .filter(|entry| entry.attributes.is_folder != Some(false))
            .filter_map(|entry| std::str::from_utf8(&entry.name).ok())
            .filter(|name| name.len() == 2 && name.bytes().all(|c| c.is_ascii_hexdigit()))
            .collect();
        let folders: Vec<String> = digits
            .iter()
            .map(|digits| format!("{folder}/{digits}"))
            .collect();
        let all = self.ask(async |server| server.list(&folders).await)?;
        for (digits, entries) in digits.iter().zip(&all) {
            found.extend(named(entries, kind, Some(digits))?);
        }
        Ok(found)
    }

    fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes> {
        let path = self.file(kind, name);
        let bytes = self.ask(async |server| server.read(&path, part).await)?;
        Ok(bytes.into())
    }

    fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()> {
        if kind == Kind::Key {
            clear_beginning(self)?;
        }
        let (path, bytes) = (self.file(kind, name), pieces.concat());
        self.ask(async |server| put(server, &path, &bytes).await)
    }

    fn remove(&self, kind: Kind, name: Name) -> io::Result<()> {
        let path = self.file(kind, name);
        self.ask(async |server| server.remove(&path).await)
    }
}
