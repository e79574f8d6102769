//! The admin socket (`roost_service::mail`): who may speak, and in which order things happen.
//!
//! What is done about a call is decided in `roost_mail_config::admin`. Calls that change
//! something are done one after the other, whoever sends them: between reading the directory
//! and changing it nobody else changes it.

use crate::ledger::Ledger;
use crate::socket;
use anyhow::{Context, Result};
use roost_mail_config::admin::{self, Decision, Fresh, Topic};
use roost_mail_config::app_password;
use roost_mail_config::keys::{self, PublicKey};
use roost_mail_config::setup::Setup;
use roost_mail_server::queue::{Outcome, Receiver, Waiting};
use roost_service::mail::{
    Answer, Call, MAX_CALL, MAX_CONNECTIONS, MAX_REPLY, QUEUE_PAGE, QUEUE_RECEIVERS, QueuedMessage,
    QueuedReceiver, line,
};
use roost_service::spec::{self, ServiceSpec};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// The service that may ask for everything.
const PORTAL: &str = roost_service::update::PORTAL;
/// The service that may ask what the DNS is to say.
const DNS: &str = roost_service::dns::SERVICE;
/// Another table of services than the image's, for tests.
const SERVICES_ENV: &str = "ROOST_SERVICES";

/// Longest silence between two calls; the portal opens a connection when it needs one.
const IDLE: Duration = Duration::from_secs(60);
/// Longest time for a call to arrive, once it has begun, and for its answer to be taken.
const STALLED: Duration = Duration::from_secs(10);
/// After a failed `accept`, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers calls.
pub struct Admin {
    ledger: Mutex<Ledger>,
    setup: Setup,
    keys: Vec<PublicKey>,
}

impl Admin {
    /// Of a mail server that serves.
    pub fn new(ledger: Ledger, setup: Setup, keys: Vec<PublicKey>) -> Self {
        Admin {
            ledger: Mutex::new(ledger),
            setup,
            keys,
        }
    }

    async fn answer(&self, call: &Call) -> Answer {
        match self.try_answer(call).await {
            Ok(answer) => answer,
            Err(error) => {
                eprintln!("mail: {}: {error:#}", admin::not_done(call));
                Answer::Error {
                    what: admin::not_done(call),
                    because: format!("{error:#}"),
                    hint: Some("look at the page again, then try once more".into()),
                }
            }
        }
    }

    async fn try_answer(&self, call: &Call) -> Result<Answer> {
        let topic = match admin::topic(call) {
            Ok(topic) => topic,
            Err(refused) => return Ok(refused),
        };
        let ledger = self.ledger.lock().await;
        let outcome = match topic {
            Topic::Queue { after } => {
                // One more than a page tells whether there is another.
                let mut found = ledger
                    .queue
                    .list(after, QUEUE_PAGE + 1, QUEUE_RECEIVERS)
                    .await?;
                let more = found.len() > QUEUE_PAGE;
                found.truncate(QUEUE_PAGE);
                return Ok(Answer::Queue {
                    messages: found.into_iter().map(shown).collect(),
                    more,
                });
            }
            Topic::Retry { id } => ledger.queue.retry(id).await?,
            Topic::Forget { id } => ledger.queue.forget(id).await?,
            Topic::Directory => {
                let book = ledger.read().await?;
                let queued = match call {
                    Call::Overview => ledger.queue.length().await?,
                    _ => 0,
                };
                return Ok(
                    match admin::decide(call, &book, &self.setup, queued, fresh()?) {
                        Err(refused) => refused,
                        Ok(Decision { steps, answer }) => {
                            for step in steps {
                                ledger.perform(step).await?;
                            }
                            self.with_keys(answer)
                        }
                    },
                );
            }
        };
        Ok(match outcome {
            Outcome::Done => Answer::Done,
            Outcome::Absent => Answer::Error {
                what: admin::not_done(call),
                because: "it does not wait any more".into(),
                hint: Some("it was delivered or given up meanwhile: load the page anew".into()),
            },
            Outcome::Busy => Answer::Error {
                what: admin::not_done(call),
                because: "it is being delivered at this moment".into(),
                hint: Some("look again in a minute".into()),
            },
        })
    }

    fn with_keys(&self, answer: Answer) -> Answer {
        let Answer::Published(mut published) = answer else {
            return answer;
        };
        published.dkim = keys::published(&self.keys);
        Answer::Published(published)
    }
}

fn shown(message: Waiting) -> QueuedMessage {
    QueuedMessage {
        id: message.id.to_string(),
        from: message.from,
        size: message.size,
        came: message.came,
        receivers: message.receivers.into_iter().map(receiver).collect(),
        waiting: message.waiting,
    }
}

fn receiver(receiver: Receiver) -> QueuedReceiver {
    QueuedReceiver {
        address: receiver.address,
        tries: receiver.tries,
        next: receiver.next,
        until: receiver.until,
        fault: receiver
            .fault
            .map(|fault| admin::plain_line(&fault, MAX_REPLY)),
    }
}

fn fresh() -> Result<Fresh> {
    let mut random = [0; app_password::RANDOM];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("read random bytes")?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Ok(Fresh { random, now })
}

/// Answers the portal until it is aborted; without `admin` the box has no domain yet.
///
/// Mail matters more than its pages, so nothing here keeps the program from serving.
pub fn open(folder: &Path, admin: Option<Admin>) -> Option<AbortHandle> {
    match listen(folder) {
        Ok(Some((listener, guests))) => {
            Some(tokio::spawn(serve(listener, guests, Arc::new(admin))).abort_handle())
        }
        Ok(None) => {
            println!("mail: this image has no portal: nobody can look after accounts");
            None
        }
        Err(error) => {
            eprintln!("mail: nobody can look after accounts: {error:#}");
            None
        }
    }
}

/// Users that may connect.
#[derive(Clone, Copy)]
struct Guests {
    portal: u32,
    dns: Option<u32>,
}

fn listen(folder: &Path) -> Result<Option<(UnixListener, Guests)>> {
    let path = std::env::var(SERVICES_ENV).unwrap_or_else(|_| spec::PATH.to_owned());
    let table = std::fs::read(&path).with_context(|| format!("read {path}"))?;
    let table: Vec<ServiceSpec> =
        serde_json::from_slice(&table).with_context(|| format!("read {path}"))?;
    let user = |name| {
        table
            .iter()
            .find(|service| service.name == name)
            .map(|service| service.user)
    };
    let Some(portal) = user(PORTAL) else {
        return Ok(None);
    };
    let guests = Guests {
        portal,
        dns: user(DNS),
    };
    let path = roost_service::mail::socket();
    let listener = socket::listen(&folder.join(path.file_name().unwrap_or_default()))?;
    Ok(Some((listener, guests)))
}

async fn serve(listener: UnixListener, guests: Guests, admin: Arc<Option<Admin>>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(peer) if peer.uid() == guests.portal || Some(peer.uid()) == guests.dns => {
                    let all = peer.uid() == guests.portal;
                    let admin = admin.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        // A portal that hangs up is everyday life.
                        let _ = converse(stream, all, &admin).await;
                    });
                }
                Ok(peer) => println!("mail: user {} was not let in", peer.uid()),
                Err(error) => println!("mail: nobody knows who has connected: {error}"),
            },
            Err(error) => {
                eprintln!("mail: accept on the admin socket: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// `all`: whether it may ask for everything.
async fn converse(stream: UnixStream, all: bool, admin: &Option<Admin>) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let begun = timeout(IDLE, reader.fill_buf()).await??;
        if begun.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        // One byte more than is allowed shows that it is too long.
        let most = MAX_CALL as u64 + 1;
        timeout(
            STALLED,
            (&mut reader).take(most).read_until(b'\n', &mut text),
        )
        .await??;
        let whole = text.ends_with(b"\n") && text.len() <= MAX_CALL;
        let answer = match Call::read(&text) {
            _ if !whole => refused("the line was too long or was cut off"),
            Err(reason) => refused(&reason),
            Ok(call) if !all && call != Call::Published => {
                refused("only the portal may ask for that")
            }
            Ok(call) => match admin {
                None => admin::waiting(),
                Some(admin) => admin.answer(&call).await,
            },
        };
        timeout(STALLED, writer.write_all(line(&answer)?.as_bytes())).await??;
        if !whole {
            return Ok(());
        }
    }
}

fn refused(reason: &str) -> Answer {
    Answer::Error {
        what: "the call was not understood".into(),
        because: reason.into(),
        hint: None,
    }
}
