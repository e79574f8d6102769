//! An update that a browser sends: the portal hands it on to the updater, which decides.
//!
//! The browser sends the beginning of the bundle twice: once to learn what the box lacks, and once
//! in front of just that, because an offer is good for one connection to the updater. Nothing is
//! kept between the two, so a page that is left open holds nothing on the box.

use super::entry;
use super::updates::NotDone;
use crate::app::App;
use crate::audit::{Actor, Event};
use crate::sockets::NoAnswer;
use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use roost_service::update::{Answer, Call, MAX_HEAD, Offer};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Longest rest in what a browser sends.
const STALLED: Duration = Duration::from_secs(60);
/// Longest silence of the updater while it compares slots, and until it takes what is sent.
const PATIENCE: Duration = Duration::from_secs(90);
/// After the last byte the updater reads the whole slot back, and says nothing meanwhile.
const READ_BACK: Duration = Duration::from_secs(300);
/// All that the updater says on one connection, in bytes: two short lines a second, for hours.
const MAX_SAID: u64 = 16 << 20;
/// Bytes in front of the bundle's beginning that say how long it is, least significant first.
const LENGTH: usize = 4;

/// Why an update was not taken from a browser.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The updater or the store does not do it.
    #[error(transparent)]
    NotDone(#[from] NotDone),
    /// Another browser's is being taken.
    #[error("an update is being sent from a browser already")]
    Busy,
    /// Nothing came for too long.
    #[error("nothing came from the browser for a minute")]
    Slow,
    /// It broke off.
    #[error("what the browser sent broke off")]
    Broken,
    /// The beginning is too long for any bundle.
    #[error("the file's beginning is longer than that of any update")]
    Head,
    /// It is not as long as what the box lacks.
    #[error("{found} bytes were sent, and the box needs {needed}")]
    Length {
        /// As the request says.
        found: u64,
        /// As the box's offer says, with what stands in front.
        needed: u64,
    },
}

fn no_answer(why: io::Error) -> NotTaken {
    let who = super::updates::UPDATER;
    NotTaken::NotDone(NoAnswer { who, why }.into())
}

/// What a browser sends, piece by piece.
#[derive(Debug)]
pub struct Sent {
    body: Body,
    rest: Bytes,
}

impl Sent {
    /// Nothing is read yet.
    pub fn new(body: Body) -> Self {
        Self {
            body,
            rest: Bytes::new(),
        }
    }

    /// The next piece; none at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, NotTaken> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        loop {
            let frame = timeout(STALLED, self.body.frame()).await;
            match frame.map_err(|_| NotTaken::Slow)? {
                None => return Ok(None),
                Some(Err(_)) => return Err(NotTaken::Broken),
                // What is no data is a trailer.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, NotTaken> {
        let mut read = Vec::new();
        while read.len() < count {
            let mut piece = self.piece().await?.ok_or(NotTaken::Broken)?;
            let taken = piece.split_to(piece.len().min(count - read.len()));
            read.extend_from_slice(&taken);
            self.rest = piece;
        }
        Ok(read)
    }

    /// Throws the rest away for some seconds, so that the browser gets to read the answer.
    pub async fn drain(mut self) {
        let all = async { while let Ok(Some(_)) = self.piece().await {} };
        let _ = timeout(Duration::from_secs(5), all).await;
    }
}

/// A connection to the updater.
struct Talk {
    from: Lines<BufReader<Take<OwnedReadHalf>>>,
    to: OwnedWriteHalf,
}

impl Talk {
    async fn open(app: &App) -> Result<Self, NotTaken> {
        let stream = UnixStream::connect(&app.places.updater).await;
        let (from, to) = stream.map_err(no_answer)?.into_split();
        let from = BufReader::new(from.take(MAX_SAID)).lines();
        Ok(Self { from, to })
    }

    async fn call(&mut self, call: &Call, bytes: &[u8]) -> Result<(), NotTaken> {
        let mut line = serde_json::to_vec(call).map_err(|why| no_answer(why.into()))?;
        line.push(b'\n');
        push(&mut self.to, &line).await?;
        push(&mut self.to, bytes).await
    }

    /// What the updater compares the bundle with takes a while; nothing is written.
    async fn offer(&mut self, head: &[u8]) -> Result<Offer, NotTaken> {
        let call = Call::Offer {
            head_bytes: head.len() as u64,
            allow_downgrade: false,
            allow_irreversible: false,
        };
        self.call(&call, head).await?;
        loop {
            match hear(&mut self.from, PATIENCE).await? {
                Answer::Progress { .. } => {}
                Answer::Offer(offer) => return Ok(offer),
                _ => return Err(NotDone::Strange.into()),
            }
        }
    }

    async fn demand(&mut self, call: &Call) -> Result<(), NotTaken> {
        self.call(call, &[]).await?;
        match hear(&mut self.from, PATIENCE).await? {
            Answer::Ok => Ok(()),
            _ => Err(NotDone::Strange.into()),
        }
    }

    /// Hands on what the browser sends, until the updater has written it all and read it back.
    async fn stage(&mut self, sent: &mut Sent, bytes: u64) -> Result<(), NotTaken> {
        let Self { from, to } = self;
        let mut passing = pin!(pass_on(sent, to, bytes));
        let mut passed = false;
        loop {
            // Where bytes still come, the browser's rests are what is limited.
            let patience = if passed { READ_BACK } else { Duration::MAX };
            tokio::select! {
                biased;
                answer = hear(from, patience) => match answer? {
                    Answer::Progress { .. } => {}
                    Answer::Staged if passed => return Ok(()),
                    _ => return Err(NotDone::Strange.into()),
                },
                end = &mut passing, if !passed => match end {
                    Ok(()) => passed = true,
                    // It does not take more: it says why.
                    Err(NotTaken::NotDone(_)) => {
                        while let Answer::Progress { .. } = hear(from, PATIENCE).await? {}
                        return Err(NotDone::Strange.into());
                    }
                    Err(why) => return Err(why),
                },
            }
        }
    }
}

async fn push(to: &mut OwnedWriteHalf, bytes: &[u8]) -> Result<(), NotTaken> {
    let late = || Err(io::Error::from(io::ErrorKind::TimedOut));
    let pushed = timeout(PATIENCE, to.write_all(bytes)).await;
    pushed.unwrap_or_else(|_| late()).map_err(no_answer)
}

async fn hear(
    from: &mut Lines<BufReader<Take<OwnedReadHalf>>>,
    patience: Duration,
) -> Result<Answer, NotTaken> {
    let late = || Err(io::Error::from(io::ErrorKind::TimedOut));
    let line = timeout(patience, from.next_line()).await;
    let line = line.unwrap_or_else(|_| late()).map_err(no_answer)?;
    let line = line.ok_or_else(|| no_answer(io::ErrorKind::UnexpectedEof.into()))?;
    match serde_json::from_str(&line) {
        Ok(Answer::Error { message, hint }) => Err(NotDone::Refused { message, hint }.into()),
        Ok(answer) => Ok(answer),
        Err(_) => Err(NotDone::Strange.into()),
    }
}

async fn pass_on(sent: &mut Sent, to: &mut OwnedWriteHalf, mut left: u64) -> Result<(), NotTaken> {
    while left > 0 {
        let piece = sent.piece().await?.ok_or(NotTaken::Broken)?;
        // The request's length was compared, so there is no more than that.
        left = left.saturating_sub(piece.len() as u64);
        push(to, &piece).await?;
    }
    Ok(())
}

/// Asks what an update would do. `length` is that of the body, which is the bundle's beginning.
///
/// # Errors
/// [`NotTaken`].
pub async fn offer(app: &App, length: u64, sent: &mut Sent) -> Result<Offer, NotTaken> {
    // Its memory is what is limited.
    let _turn = app.upload.try_lock().map_err(|_| NotTaken::Busy)?;
    let head = sent.exactly(head_length(length)?).await?;
    Talk::open(app).await?.offer(&head).await
}

fn head_length(length: u64) -> Result<usize, NotTaken> {
    match usize::try_from(length) {
        Ok(count) if (1..=MAX_HEAD).contains(&length) => Ok(count),
        _ => Err(NotTaken::Head),
    }
}

/// Takes an update and has it tried: the body is the length of the bundle's beginning, that
/// beginning, and then what the box lacks. `length` is that of the body.
///
/// # Errors
/// [`NotTaken`].
pub async fn install(
    app: &Arc<App>,
    length: u64,
    sent: &mut Sent,
    from: IpAddr,
) -> Result<Offer, NotTaken> {
    let _turn = app.upload.try_lock().map_err(|_| NotTaken::Busy)?;
    let mut count = [0; LENGTH];
    count.copy_from_slice(&sent.exactly(LENGTH).await?);
    let count = u64::from(u32::from_le_bytes(count));
    let head = sent.exactly(head_length(count)?).await?;
    let mut talk = Talk::open(app).await?;
    let offer = talk.offer(&head).await?;
    drop(head);
    let needed = (LENGTH as u64 + count).saturating_add(offer.send);
    if length != needed {
        return Err(NotTaken::Length {
            found: length,
            needed,
        });
    }
    let version = offer.to.name.clone();
    let what = Event::UpdateSent { version };
    app.change(move |store, now| store.audit_entry(&entry(now, Actor::Owner, from, what)))
        .await
        .map_err(NotDone::Store)?;
    talk.demand(&Call::Write).await?;
    talk.stage(sent, offer.send).await?;
    talk.demand(&Call::Trial).await?;
    Ok(offer)
}
