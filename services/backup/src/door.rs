//! The socket for laptops, to which the portal pipes them, and what is done for them.

use crate::collect::Box_;
use anyhow::{Context, Result};
use roost_backup_repository::code::Code;
use roost_backup_repository::repository::{Error, Repository};
use roost_backup_repository::store::Store;
use roost_backup_repository::wire::{Ask, Call, MAX_CALL, Remote, read_line};
use roost_service::spec::RUN_ENV;
use roost_service::{backup, update};
use rustix::net::sockopt::socket_peercred;
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);
/// Longest time in which a laptop says and takes nothing while something is expected of it: it may be
/// writing to a slow disk.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a laptop is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

struct House {
    what: Box_,
    code: Code,
    /// Held while a backup is made: two at a time would only be slower.
    turn: Mutex<()>,
}

/// Why no backup was made.
struct Fault {
    message: String,
    hint: Option<String>,
}

/// Opens the socket and serves laptops in threads of their own.
///
/// # Errors
/// When the folder is not there, or is not this service's.
pub fn open(what: Box_, code: Code) -> Result<()> {
    let portal = what.table.iter().find(|spec| spec.name == update::PORTAL);
    let Some(portal) = portal.map(|spec| spec.user) else {
        println!("backup: this image has no portal: nobody can ask for backups");
        return Ok(());
    };
    let socket = backup::socket();
    let socket = match (std::env::var_os(RUN_ENV), socket.file_name()) {
        (Some(folder), Some(name)) => Path::new(&folder).join(name),
        _ => socket,
    };
    let listener = listen(&socket).with_context(|| format!("listen on {}", socket.display()))?;
    let house = Arc::new(House {
        what,
        code,
        turn: Mutex::new(()),
    });
    std::thread::Builder::new()
        .name("door".to_owned())
        .spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else {
                    std::thread::sleep(BREATHER);
                    continue;
                };
                match socket_peercred(&connection) {
                    Ok(peer) if peer.uid.as_raw() == portal => {}
                    _ => {
                        println!("backup: a stranger was not let in");
                        continue;
                    }
                }
                let house = house.clone();
                let spawned =
                    std::thread::Builder::new()
                        .name("laptop".to_owned())
                        .spawn(move || {
                            // A laptop that hangs up is everyday life.
                            if let Err(error) = house.talk(connection) {
                                println!("backup: a laptop was lost: {error}");
                            }
                        });
                if spawned.is_err() {
                    std::thread::sleep(BREATHER);
                }
            }
        })
        .context("start a thread")?;
    Ok(())
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // Whoever connects needs the right to write (unix(7)). Who it is is asked of the kernel.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
    Ok(listener)
}

impl House {
    fn talk(&self, connection: UnixStream) -> io::Result<()> {
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let mut connection = BufReader::new(connection);
        let call = read_line(&mut connection, MAX_CALL);
        let remote = Arc::new(Remote::new(connection));
        let last = match call {
            Ok(Call::Code) => Ask::Code {
                words: self.code.as_str().to_owned(),
            },
            Ok(Call::BackUp { now_s }) => match self.back_up(&remote, now_s) {
                Ok(done) => done,
                Err(Fault { message, hint }) => {
                    println!("backup: none was made: {message}");
                    Ask::Failed { message, hint }
                }
            },
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => Ask::Failed {
                message: format!("the box does not understand this laptop: {error}"),
                hint: Some("use the version of roost that the box's image was built with".into()),
            },
        };
        remote.tell(&last)
    }

    fn back_up(&self, remote: &Arc<Remote<UnixStream>>, now_s: u64) -> Result<Ask, Fault> {
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(std::sync::TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => {
                return Err(Fault {
                    message: "another backup is being made".into(),
                    hint: Some("run the same command again when it has ended".into()),
                });
            }
        };
        println!("backup: begins, for a laptop");
        let store: Arc<dyn Store> = remote.clone();
        let repository = Repository::open_or_begin(store, &self.code).map_err(told)?;
        // After the repository is open: nobody has to hold still for that.
        let streams = self.what.collect().map_err(|error| Fault {
            message: format!("{error:#}"),
            hint: Some(
                "see `roost status` and `roost logs`; if it does not come back, restart the box"
                    .into(),
            ),
        })?;
        let (telling, last) = (remote.clone(), Mutex::new(Instant::now()));
        let seen = move |read, of| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() > TELL_EVERY {
                *last = Instant::now();
                // Whether anybody listens is found out by the next write.
                let _ = telling.tell(&Ask::Progress { read, of });
            }
        };
        let about = self.what.about(now_s);
        let (backup, contents) = repository.back_up(about, streams, seen).map_err(told)?;
        println!(
            "backup: made {}: {} files, {} bytes, of which {} are new",
            backup.id.get(..8).unwrap_or_default(),
            contents.files.len(),
            contents.bytes(),
            backup.added
        );
        Ok(Ask::Done { backup, contents })
    }
}

fn told(error: Error) -> Fault {
    let hint = match &error {
        Error::WrongCode(_) => Some(
            "this folder has the backups of another box, or of this one from before a factory reset; \
             choose another folder",
        ),
        Error::NotWhole(_) => {
            Some("run the same command again: what was sent already is not sent again")
        }
        _ => None,
    };
    Fault {
        message: error.to_string(),
        hint: hint.map(str::to_owned),
    }
}
