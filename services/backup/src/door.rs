//! The sockets: one for laptops, to which the portal pipes them, and one for the portal's own questions.

use crate::house::{Fault, House};
use anyhow::{Context, Result};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use roost_backup_repository::wire::{Ask, Call, MAX_CALL, Remote, line, read_line};
use roost_service::spec::RUN_ENV;
use roost_service::{backup, update};
use std::io::{self, BufReader, Write};
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

/// Opens the sockets for laptops and for the portal's own questions, each call in a thread of its own.
///
/// # Errors
/// When the folder is not there, or is not this service's.
pub fn open(house: &Arc<House>) -> Result<()> {
    let table = &house.what.table;
    let portal = table.iter().find(|spec| spec.name == update::PORTAL);
    let Some(portal) = portal.map(|spec| spec.user) else {
        println!("backup: this image has no portal: nobody can ask for backups");
        return Ok(());
    };
    serve("laptop", &backup::socket(), portal, house, talk)?;
    serve("portal", &backup::door(), portal, house, answer)
}

fn serve(
    name: &'static str,
    socket: &Path,
    portal: u32,
    house: &Arc<House>,
    talk: fn(&House, UnixStream) -> io::Result<()>,
) -> Result<()> {
    let socket = match (std::env::var_os(RUN_ENV), socket.file_name()) {
        (Some(folder), Some(name)) => Path::new(&folder).join(name),
        _ => socket.to_owned(),
    };
    let listener = listen(&socket).with_context(|| format!("listen on {}", socket.display()))?;
    let house = house.clone();
    std::thread::Builder::new()
        .name("door".to_owned())
        .spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else {
                    std::thread::sleep(BREATHER);
                    continue;
                };
                // Not by rustix, whose process numbers cannot be 0: that of another container is.
                match getsockopt(&connection, PeerCredentials) {
                    Ok(peer) if peer.uid() == portal => {}
                    Ok(peer) => {
                        println!("backup: user {} was not let in", peer.uid());
                        continue;
                    }
                    Err(error) => {
                        println!("backup: somebody was not let in: {error}");
                        continue;
                    }
                }
                let house = house.clone();
                let spawned = std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(move || {
                        // Somebody who hangs up is everyday life.
                        if let Err(error) = talk(&house, connection) {
                            println!("backup: a {name} was lost: {error}");
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

/// A laptop.
fn talk(house: &House, connection: UnixStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut connection = BufReader::new(connection);
    let call = read_line(&mut connection, MAX_CALL);
    let remote = Arc::new(Remote::new(connection));
    let last = match call {
        Ok(Call::Code) => Ask::Code {
            words: house.code.as_str().to_owned(),
        },
        Ok(Call::BackUp { now_s }) => match fetch(house, &remote, now_s) {
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

fn fetch(house: &House, remote: &Arc<Remote<UnixStream>>, now_s: u64) -> Result<Ask, Fault> {
    println!("backup: begins, for a laptop");
    let (telling, last) = (remote.clone(), Mutex::new(Instant::now()));
    let seen = move |read, of| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() > TELL_EVERY {
            *last = Instant::now();
            // Whether anybody listens is found out by the next write.
            let _ = telling.tell(&Ask::Progress { read, of });
        }
    };
    let (backup, contents) = house.back_up(remote.clone(), now_s, seen)?;
    house.was_fetched(&backup, &contents);
    Ok(Ask::Done { backup, contents })
}

/// The portal's own question.
fn answer(house: &House, mut connection: UnixStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let call = read_line(&mut BufReader::new(&connection), backup::MAX_CALL);
    let answer = match call {
        Ok(call) => house.answer(call),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        // What was sent may have a secret in it, and serde tells of what it stumbled over.
        Err(_) => backup::Answer::Refused {
            why: "this is no call".to_owned(),
            hint: None,
        },
    };
    connection.write_all(&line(&answer)?)
}
