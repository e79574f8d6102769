//! The socket ([`roost_service::certificates`]): who is there is asked of the kernel, and what they may
//! is decided here.
//!
//! It is not [`roost_service::door`], which hands one question after the other to a service that
//! answers at once. Here a guest may wait an hour for each of its certificates: it has places of its own,
//! so that it cannot take those of others; whoever hangs up frees theirs; and private keys that were sent
//! are wiped from memory.

use crate::book::Desk;
use crate::clock::Clock;
use crate::keys::Published;
use crate::status::status;
use crate::zone;
use roost_service::certificates::{Answer, Call, MAX_LINE, MAX_WAIT_S};
use roost_service::spec::ServiceSpec;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Services of the table that may connect.
const GUESTS: [&str; 3] = ["portal", "dns", "mail"];
/// Longest that somebody may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);
/// Connections of one guest at a time; more wait. One for each certificate that it waits for.
const PLACES: usize = 64;

/// What answers are made from.
pub struct Counter {
    /// What is known.
    pub desk: Arc<Desk>,
    /// Whether the clock is set.
    pub clock: Arc<Clock>,
    /// The TSIG key's secret, in base64.
    pub secret: zeroize::Zeroizing<String>,
}

/// Makes the socket; what an earlier run left there is in the way and goes. Listens from then on.
///
/// # Errors
/// When the folder is not there, or is not this service's.
pub fn open(path: &Path, table: &[ServiceSpec], counter: Arc<Counter>) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // Whoever connects needs the right to write (unix(7)). Who it is is asked of the kernel.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
    let guests = GUESTS.iter().filter_map(|name| {
        let spec = table.iter().find(|spec| spec.name == *name)?;
        Some((spec.user, *name, Arc::new(Semaphore::new(PLACES))))
    });
    tokio::spawn(listen(listener, guests.collect(), counter));
    Ok(())
}

/// A guest's user, name and places.
type Guest = (u32, &'static str, Arc<Semaphore>);

async fn listen(listener: UnixListener, guests: Vec<Guest>, counter: Arc<Counter>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(BREATHER).await;
            continue;
        };
        let user = match stream.peer_cred() {
            Ok(peer) => peer.uid(),
            Err(error) => {
                println!("certificates: nobody knows who has connected: {error}");
                continue;
            }
        };
        // In a test all guests may be one user: the first is who it is.
        let Some((_, name, places)) = guests.iter().find(|(of, ..)| *of == user) else {
            println!("certificates: user {user} was not let in");
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            println!("certificates: {name} has too many connections");
            continue;
        };
        let (name, counter) = (*name, counter.clone());
        tokio::spawn(async move {
            let _place = place;
            // A connection that broke is no event: whoever it was asks again.
            let _ = talk(stream, name, &counter).await;
        });
    }
}

async fn talk(mut stream: UnixStream, guest: &str, counter: &Counter) -> io::Result<()> {
    let mut line = Vec::new();
    let mut limited = BufReader::new((&mut stream).take(MAX_LINE as u64));
    timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice(&line) {
        Ok(call) => {
            let mut byte = [0];
            tokio::select! {
                answer = counter.answer(guest, call) => answer,
                // Nobody waits for the answer any more.
                _ = stream.read(&mut byte) => return Ok(()),
            }
        }
        Err(error) => refused(format!("this is no call: {error}")),
    };
    let mut line = zeroize::Zeroizing::new(serde_json::to_vec(&answer)?);
    line.push(b'\n');
    timeout(PATIENCE, async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    })
    .await?
}

fn refused(why: impl Into<String>) -> Answer {
    Answer::Refused { why: why.into() }
}

fn told(told: Result<(), String>) -> Answer {
    match told {
        Ok(()) => Answer::Done,
        Err(why) => refused(why),
    }
}

impl Counter {
    /// Answers one of the guests.
    async fn answer(&self, guest: &str, call: Call) -> Answer {
        let desk = &self.desk;
        match (guest, call) {
            (_, Call::Status) => Answer::Status(Box::new(status(desk, self.clock.last()))),
            (_, Call::Get { id }) => self.get(guest, &id),
            (_, Call::Wait { id, after }) => self.wait(guest, &id, &after).await,
            ("portal", Call::Set { choice }) => told(desk.set(*choice)),
            ("dns", Call::Serve { zones }) => told(desk.serve(zones)),
            ("portal", Call::Renew { id }) => told(desk.ask(&id, |kept| kept.asked = true)),
            ("portal", Call::SwitchKey { id }) => told(desk.ask(&id, |kept| kept.keys.ask(false))),
            (
                "portal",
                Call::Revoke {
                    id,
                    key_compromised,
                },
            ) => told(desk.revoke(&id, key_compromised)),
            (
                "dns",
                Call::Published {
                    sha256,
                    since,
                    ttl_s,
                },
            ) => told(desk.published(&sha256, Published { since, ttl_s })),
            ("dns", Call::DnsKey) => Answer::DnsKey {
                name: zone::KEY_NAME.into(),
                algorithm: zone::ALGORITHM.into(),
                secret: self.secret.to_string(),
            },
            (guest, _) => refused(format!("{guest} may not ask for this")),
        }
    }

    fn get(&self, guest: &str, id: &str) -> Answer {
        match self.desk.find(id) {
            Some(wanted) if wanted.readers.contains(&guest) => {}
            Some(_) => return refused(format!("{guest} may not have the certificate {id:?}")),
            None => return refused(format!("there is no certificate {id:?}")),
        }
        match self.desk.certificate(id) {
            Some(certificate) => Answer::Certificate(Box::new(certificate)),
            None => refused(format!("the certificate {id:?} is not there yet")),
        }
    }

    /// Waits for another certificate; for one that nobody may have, or that is not wanted, not at all.
    async fn wait(&self, guest: &str, id: &str, after: &str) -> Answer {
        // Before the first look: no change is missed.
        let mut changed = self.desk.watch();
        let there = async {
            loop {
                match self.get(guest, id) {
                    Answer::Certificate(certificate) if certificate.version == after => {}
                    Answer::Refused { .. } if self.may_come(guest, id) => {}
                    answer => return answer,
                }
                if changed.changed().await.is_err() {
                    return refused("the service stops");
                }
            }
        };
        (timeout(Duration::from_secs(MAX_WAIT_S), there).await).unwrap_or(Answer::Unchanged)
    }

    /// Whether a certificate that is not there may come: before all was told, any may.
    fn may_come(&self, guest: &str, id: &str) -> bool {
        match self.desk.find(id) {
            Some(wanted) => wanted.readers.contains(&guest),
            None => self.desk.setup().is_none(),
        }
    }
}
