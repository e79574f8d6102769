//! One caller: reads calls, does them one after the other, answers.

use crate::api::Limits;
use crate::engine::{Allowed, Staged};
use crate::logs;
use crate::updater::{Offered, Said, Updater, Writing};
use crate::wire::{PIECE, Wire};
use roost_service::control::{Request, Response};
use roost_service::update::{Answer, Call, MAX_HEAD, Report};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// Most log lines of one question; init has no more.
const MAX_LINES: usize = 5000;
/// Time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// After a failure, how long the rest of what the laptop sends is thrown away,
/// so that it gets to read why.
const DRAIN: Duration = Duration::from_secs(10);

/// What follows a call.
enum After {
    /// The next call.
    Next,
    /// Nothing: the two sides have lost each other, or it is over.
    Close,
}

/// A connection that was let in.
pub(crate) struct Session<S> {
    updater: Arc<Updater>,
    wire: Wire<S>,
    limits: Limits,
    stop: watch::Receiver<bool>,
    offered: Option<Offered>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) fn new(
        updater: Arc<Updater>,
        stream: S,
        limits: Limits,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            updater,
            wire: Wire::new(stream),
            limits,
            stop,
            offered: None,
        }
    }

    /// Answers until either side closes. Whatever it has reserved is free then.
    pub(crate) async fn run(mut self) {
        // A connection that broke is no event: the laptop comes again.
        let _ = self.calls().await;
        self.wire.close().await;
    }

    async fn calls(&mut self) -> io::Result<()> {
        loop {
            let line = tokio::select! {
                line = timeout(self.limits.idle, self.wire.line()) => line,
                () = stopped(&mut self.stop) => return Ok(()),
            };
            let line = match line {
                Ok(Ok(Some(line))) => line,
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return self.refuse(Said::new(error.to_string())).await;
                }
                _ => return Ok(()),
            };
            let after = match serde_json::from_slice(&line) {
                Ok(call) => self.call(call).await?,
                Err(error) => {
                    let said = Said::new(format!("this is no call: {error}"))
                        .hint("use a `roost` that fits the box's version");
                    self.refuse(said).await?;
                    After::Close
                }
            };
            if let After::Close = after {
                return Ok(());
            }
        }
    }

    async fn call(&mut self, call: Call) -> io::Result<After> {
        let answer = match call {
            Call::Status => self.status().await,
            Call::BootTimes => self.boot_times().await,
            Call::Logs {
                service,
                lines,
                boot,
                follow,
            } => {
                let lines = lines.min(MAX_LINES);
                return self.logs(&service, lines, boot, follow).await;
            }
            Call::Reboot => self.updater.reboot().await.map(|()| Answer::Ok),
            Call::Look => self.updater.look_now().map(|()| Answer::Ok),
            Call::Offer {
                head_bytes,
                allow_downgrade,
                allow_irreversible,
            } => {
                let allowed = Allowed {
                    downgrade: allow_downgrade,
                    irreversible: allow_irreversible,
                };
                return self.offer(head_bytes, allowed).await;
            }
            Call::Write => return self.write().await,
            Call::Trial => self.try_out(Staged::written).await,
            Call::Rollback { allow_older_mail } => {
                self.try_out(|state| Staged::before(state, allow_older_mail))
                    .await
            }
        };
        match answer {
            Ok(answer) => self.wire.send(&answer).await?,
            Err(said) => self.refuse(said).await?,
        }
        Ok(After::Next)
    }

    async fn refuse(&mut self, said: Said) -> io::Result<()> {
        let Said { message, hint } = said;
        self.wire.send(&Answer::Error { message, hint }).await
    }

    async fn status(&self) -> Result<Answer, Said> {
        let machine = self.updater.init.status().await?;
        let update = self.updater.status();
        Ok(Answer::Status(Box::new(Report { machine, update })))
    }

    async fn boot_times(&self) -> Result<Answer, Said> {
        match self.updater.init.ask(&Request::BootTimes).await? {
            Response::BootTimes(times) => Ok(Answer::BootTimes(times)),
            _ => Err(Said::new("init answers something else")),
        }
    }

    async fn try_out(
        &mut self,
        find: impl FnOnce(&crate::state::State) -> Result<Staged, crate::engine::NothingStaged>,
    ) -> Result<Answer, Said> {
        self.offered = None;
        // Kept until the box goes down or init has refused: nobody may write
        // to the slot that is about to boot.
        let _turn = self.updater.turn(self.limits.turn).await?;
        let staged = find(&self.updater.ledger.state())?;
        self.updater.try_out(staged).await?;
        Ok(Answer::Ok)
    }

    async fn logs(
        &mut self,
        service: &str,
        lines: usize,
        boot: Option<u32>,
        follow: bool,
    ) -> io::Result<After> {
        if !follow {
            let answer = match self.updater.init.logs(service, lines, boot).await {
                Ok(found) => Ok(Answer::Logs {
                    lines: logs::fitting(&found).to_vec(),
                }),
                Err(error) => Err(Said::from(error)),
            };
            match answer {
                Ok(answer) => self.wire.send(&answer).await?,
                Err(said) => self.refuse(said).await?,
            }
            return Ok(After::Next);
        }
        let (found, mut log) = match self.updater.init.follow(service, lines, boot).await {
            Ok(begun) => begun,
            Err(error) => {
                self.refuse(error.into()).await?;
                return Ok(After::Next);
            }
        };
        let told = Answer::Logs {
            lines: logs::fitting(&found).to_vec(),
        };
        self.wire.send(&told).await?;
        loop {
            let new = tokio::select! {
                () = self.wire.stirs() => return Ok(After::Close),
                () = stopped(&mut self.stop) => return Ok(After::Close),
                new = timeout(self.limits.heartbeat, log.next()) => new,
            };
            let answers = match new {
                Ok(Ok(lines)) => logs::answers(&lines),
                // Whoever follows comes again, if init does.
                Ok(Err(_)) => return Ok(After::Close),
                Err(_) => vec![Vec::new()],
            };
            for lines in answers {
                self.wire.send(&Answer::Logs { lines }).await?;
            }
        }
    }

    async fn offer(&mut self, head_bytes: u64, allowed: Allowed) -> io::Result<After> {
        self.offered = None;
        if head_bytes > MAX_HEAD {
            let said = Said::new(format!(
                "the bundle's beginning has {head_bytes} bytes; {MAX_HEAD} are possible"
            ));
            self.refuse(said).await?;
            return Ok(After::Close);
        }
        let head = self.wire.exactly(head_bytes, self.limits.stalled).await?;
        let offered = match self.updater.turn(self.limits.turn).await {
            Ok(turn) => {
                let (tell, mut read) = watch::channel((0, 0));
                let updater = self.updater.clone();
                let offer = updater.offer(turn, head, allowed, tell);
                tokio::pin!(offer);
                let mut ticks = interval(PROGRESS_EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        offered = &mut offer => break offered,
                        _ = ticks.tick() => {
                            if read.has_changed().unwrap_or(false) {
                                let (done, total) = *read.borrow_and_update();
                                self.wire.send(&Answer::Progress { done, total }).await?;
                            }
                        }
                    }
                }
            }
            Err(said) => Err(said),
        };
        match offered {
            Ok(offered) => {
                let answer = Answer::Offer(offered.planned.offer().clone());
                self.offered = Some(offered);
                self.wire.send(&answer).await?;
            }
            Err(said) => self.refuse(said).await?,
        }
        Ok(After::Next)
    }

    async fn write(&mut self) -> io::Result<After> {
        let Some(offered) = self.offered.take() else {
            let said = Said::new("nothing was offered on this connection");
            self.refuse(said).await?;
            return Ok(After::Next);
        };
        let bytes = offered.planned.offer().send;
        let writing = match self.updater.write(offered).await {
            Ok(writing) => writing,
            Err(said) => {
                self.refuse(said).await?;
                return Ok(After::Next);
            }
        };
        self.wire.send(&Answer::Ok).await?;
        self.pass_on(writing, bytes).await
    }

    /// Hands the payloads to the thread that writes, and tells how far it is.
    async fn pass_on(&mut self, mut writing: Writing, mut left: u64) -> io::Result<After> {
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut room = None;
        let mut stalled = Instant::now() + self.limits.stalled;
        // The line or the laptop failed; the thread notices by its stream's end.
        let mut lost = false;
        let result = loop {
            if left == 0 || lost {
                room = None;
                writing.payloads = None;
            }
            tokio::select! {
                // The end first: after it nothing else is of interest.
                biased;
                result = &mut writing.done => {
                    break result.unwrap_or_else(|_| {
                        Err(Said::new("the updater has a fault; its log says more"))
                    });
                }
                () = stopped(&mut self.stop), if !lost => lost = true,
                reserved = reserve(writing.payloads.clone()), if writing.payloads.is_some() && room.is_none() => {
                    match reserved {
                        Some(permit) => {
                            room = Some(permit);
                            stalled = Instant::now() + self.limits.stalled;
                        }
                        // It ended; its result comes next.
                        None => writing.payloads = None,
                    }
                }
                piece = self.wire.some(left.min(PIECE as u64)), if room.is_some() => {
                    match piece {
                        Ok(piece) if !piece.is_empty() => {
                            left -= piece.len() as u64;
                            if let Some(permit) = room.take() {
                                permit.send(piece);
                            }
                        }
                        _ => lost = true,
                    }
                }
                () = sleep_until(stalled), if room.is_some() => lost = true,
                _ = ticks.tick(), if !lost => {
                    if writing.progress.has_changed().unwrap_or(false) {
                        let (done, total) = *writing.progress.borrow_and_update();
                        lost = self.wire.send(&Answer::Progress { done, total }).await.is_err();
                    }
                }
            }
        };
        if lost {
            return Ok(After::Close);
        }
        match result {
            Ok(_) => {
                let (done, total) = *writing.progress.borrow();
                self.wire.send(&Answer::Progress { done, total }).await?;
                self.wire.send(&Answer::Staged).await?;
                Ok(After::Next)
            }
            Err(said) => {
                self.refuse(said).await?;
                let drain = async {
                    while left > 0 {
                        match self.wire.some(left).await {
                            Ok(piece) if !piece.is_empty() => left -= piece.len() as u64,
                            _ => break,
                        }
                    }
                };
                let _ = timeout(DRAIN, drain).await;
                Ok(After::Close)
            }
        }
    }
}

/// Returns when the service stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

type Room = tokio::sync::mpsc::OwnedPermit<Vec<u8>>;

async fn reserve(payloads: Option<tokio::sync::mpsc::Sender<Vec<u8>>>) -> Option<Room> {
    payloads?.reserve_owned().await.ok()
}
