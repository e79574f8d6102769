//! Messages that wait for delivery, and how further domains are signed.

use crate::Later;
use anyhow::{Result, anyhow, bail};
use stalwart_lib::common::config::smtp::auth::LazySignature;
use stalwart_lib::common::config::smtp::queue::{ArchivedQueueExpiry, QueueExpiry, QueueName};
use stalwart_lib::common::core::BuildServer;
use stalwart_lib::common::ipc::QueueEvent;
use stalwart_lib::common::{Inner, Server};
use stalwart_lib::smtp::queue::spool::SmtpSpool;
use stalwart_lib::smtp::queue::{ArchivedMessage, ArchivedStatus, Message, Status};
use stalwart_lib::store::write::key::DeserializeBigEndian;
use stalwart_lib::store::write::{AlignedBytes, Archive, QueueClass, ValueClass, now};
use stalwart_lib::store::{Deserialize, IterateParams, ValueKey};
use stalwart_lib::utils::config::Config;
use std::sync::Arc;

/// After this many more attempts a message that was tried by hand is given up.
const MORE_ATTEMPTS: u32 = 10;

/// The delivery queue.
pub struct Queue(Arc<Inner>);

/// A message that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its number in the queue; later ones have higher numbers.
    pub id: u64,
    /// The sender's address; empty for a message about a message.
    pub from: String,
    /// Bytes.
    pub size: u64,
    /// When it came, in seconds since 1970.
    pub came: u64,
    /// The first receivers that have not got it.
    pub receivers: Vec<Receiver>,
    /// How many have not got it.
    pub waiting: u64,
}

/// One receiver.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// The address.
    pub address: String,
    /// How often delivery was tried.
    pub tries: u32,
    /// When it is tried next, in seconds since 1970.
    pub next: Option<u64>,
    /// When it is given up, in seconds since 1970.
    pub until: Option<u64>,
    /// What went wrong last.
    pub fault: Option<String>,
}

impl Queue {
    pub(crate) fn new(inner: &Arc<Inner>) -> Self {
        Queue(inner.clone())
    }

    /// How many messages wait.
    pub fn length(&self) -> Later<'_, Result<u64>> {
        Box::pin(async {
            let mut length = 0;
            self.0
                .build_server()
                .store()
                .iterate(
                    IterateParams::new(key(0), key(u64::MAX))
                        .ascending()
                        .no_values(),
                    |_, _| {
                        length += 1;
                        Ok(true)
                    },
                )
                .await
                .map_err(|error| anyhow!("count the queue: {error}"))?;
            Ok(length)
        })
    }

    /// Up to `most` messages with higher numbers than `after`, with up to `receivers` of each.
    pub fn list(
        &self,
        after: Option<u64>,
        most: usize,
        receivers: usize,
    ) -> Later<'_, Result<Vec<Waiting>>> {
        Box::pin(async move {
            let first = match after {
                Some(u64::MAX) => return Ok(Vec::new()),
                Some(after) => after + 1,
                None => 0,
            };
            let mut messages = Vec::new();
            if most == 0 {
                return Ok(messages);
            }
            self.0
                .build_server()
                .store()
                .iterate(
                    IterateParams::new(key(first), key(u64::MAX)).ascending(),
                    |key, value| {
                        let kept = <Archive<AlignedBytes> as Deserialize>::deserialize(value)?;
                        let message = kept.unarchive::<Message>()?;
                        messages.push(waiting(key.deserialize_be_u64(0)?, message, receivers));
                        Ok(messages.len() < most)
                    },
                )
                .await
                .map_err(|error| anyhow!("read the queue: {error}"))?;
            Ok(messages)
        })
    }

    /// Tries to deliver a message now.
    pub fn retry(&self, id: u64) -> Later<'_, Result<Outcome>> {
        Box::pin(async move {
            let server = self.0.build_server();
            let locked = Locked::take(&server, id).await;
            let outcome = match &locked {
                Ok(Some(_)) => retry(&server, id).await,
                Ok(None) => Ok(Outcome::Absent),
                Err(_) => Ok(Outcome::Busy),
            };
            Locked::give_back(&server, id, locked).await;
            // The queue is looked at again within minutes, whatever becomes of this.
            let _ = self.0.ipc.queue_tx.send(QueueEvent::Refresh).await;
            outcome
        })
    }

    /// Forgets a message and tells nobody.
    pub fn forget(&self, id: u64) -> Later<'_, Result<Outcome>> {
        Box::pin(async move {
            let server = self.0.build_server();
            let locked = Locked::take(&server, id).await;
            let outcome = match &locked {
                Ok(Some(_)) => forget(&server, id).await,
                Ok(None) => Ok(Outcome::Absent),
                Err(_) => Ok(Outcome::Busy),
            };
            Locked::give_back(&server, id, locked).await;
            outcome
        })
    }

    /// From now on signs mail as the tables `[signature."id"]` of `text` say, besides the
    /// signatures that are there.
    pub fn sign<'a>(&'a self, text: &'a str) -> Later<'a, Result<()>> {
        Box::pin(async move {
            let mut config = Config::default();
            config
                .parse(text)
                .map_err(|reason| anyhow!("rendered signatures: {reason}"))?;
            config.resolve_macros(&["file"]).await;
            if !config.errors.is_empty() {
                bail!("rendered signatures: {:?}", config.errors);
            }
            let mut core = self.0.shared_core.load().as_ref().clone();
            for id in config.sub_keys("signature", ".algorithm") {
                let pending = Arc::new(LazySignature::Pending(config.clone()));
                core.smtp
                    .mail_auth
                    .signatures
                    .insert(id, Arc::new(pending.into()));
            }
            self.0.shared_core.store(core.into());
            Ok(())
        })
    }
}

/// What came of a change of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// There is no message of this number: it is delivered, or given up.
    Absent,
    /// It is being delivered at this moment.
    Busy,
}

/// The right to change a message. A delivery in progress has it, and would be undone otherwise.
struct Locked(Vec<QueueName>);

impl Locked {
    /// `Ok(None)`: there is no such message. `Err`: a delivery has some of it.
    async fn take(server: &Server, id: u64) -> Result<Option<Locked>, Locked> {
        let Some(message) = server.read_message(id, QueueName::default()).await else {
            return Ok(None);
        };
        let mut locked = Locked(Vec::new());
        for receiver in &message.message.recipients {
            if locked.0.contains(&receiver.queue) {
                continue;
            }
            if !server.try_lock_event(id, receiver.queue).await {
                return Err(locked);
            }
            locked.0.push(receiver.queue);
        }
        Ok(Some(locked))
    }

    async fn give_back(server: &Server, id: u64, locked: Result<Option<Locked>, Locked>) {
        let (Ok(Some(locked)) | Err(locked)) = locked else {
            return;
        };
        for queue in locked.0 {
            server.unlock_event(id, queue).await;
        }
    }
}

async fn retry(server: &Server, id: u64) -> Result<Outcome> {
    let Some(mut message) = server.read_message(id, QueueName::default()).await else {
        return Ok(Outcome::Absent);
    };
    let (now, created) = (now(), message.message.created);
    let mut due = false;
    for receiver in &mut message.message.recipients {
        if !matches!(
            receiver.status,
            Status::Scheduled | Status::TemporaryFailure(_)
        ) {
            continue;
        }
        due = true;
        receiver.retry.due = now;
        if receiver
            .expiration_time(created)
            .is_some_and(|expires| expires <= now)
        {
            // It would be given up before it is tried.
            receiver.expires = QueueExpiry::Attempts(receiver.retry.inner + MORE_ATTEMPTS);
        }
    }
    if !due {
        return Ok(Outcome::Absent);
    }
    // Several queues share a message: a plain write, as all of them are locked.
    message.is_multi_queue = false;
    if !message.save_changes(server, None).await {
        bail!("the mail store did not take the change");
    }
    Ok(Outcome::Done)
}

async fn forget(server: &Server, id: u64) -> Result<Outcome> {
    let Some(message) = server.read_message(id, QueueName::default()).await else {
        return Ok(Outcome::Absent);
    };
    if !message.remove(server, None).await {
        bail!("the mail store did not take the change");
    }
    Ok(Outcome::Done)
}

fn key(id: u64) -> ValueKey<ValueClass> {
    ValueKey::from(ValueClass::Queue(QueueClass::Message(id)))
}

fn waiting(id: u64, message: &ArchivedMessage, most: usize) -> Waiting {
    let mut waiting = Waiting {
        id,
        from: message.return_path.to_string(),
        size: message.size.into(),
        came: message.created.into(),
        receivers: Vec::new(),
        waiting: 0,
    };
    for receiver in message.recipients.iter() {
        let fault = match &receiver.status {
            ArchivedStatus::Completed(_) => continue,
            ArchivedStatus::Scheduled => None,
            ArchivedStatus::TemporaryFailure(fault) | ArchivedStatus::PermanentFailure(fault) => {
                Some(fault.to_string())
            }
        };
        waiting.waiting += 1;
        if waiting.receivers.len() == most {
            continue;
        }
        let over = matches!(receiver.status, ArchivedStatus::PermanentFailure(_));
        waiting.receivers.push(Receiver {
            address: receiver.address().to_string(),
            tries: receiver.retry.inner.into(),
            next: (!over).then(|| receiver.retry.due.into()),
            until: match &receiver.expires {
                ArchivedQueueExpiry::Ttl(seconds) => {
                    Some(waiting.came.saturating_add((*seconds).into()))
                }
                ArchivedQueueExpiry::Attempts(_) => None,
            },
            fault,
        });
    }
    waiting
}
