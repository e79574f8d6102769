//! What all connections, the trial and the pull share.

use crate::control::{AskError, Init, words};
use crate::disk::{Disk, OpenError};
use crate::engine::{
    Allowed, LastLook, NotSettled, NothingStaged, Planned, Refused, Settled, Staged, WriteError,
    examine,
};
use crate::facts::Facts;
use crate::feed::FromChannel;
use crate::state::{DataFolder, Ledger, SaveError, Stage};
use roost_bundle::{PublicKey, TrustedKeys, Unverified, Verified};
use roost_service::control::{BoxStatus, Request};
use roost_service::update::{Check, Phase, UpdateStatus};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Where things are; elsewhere in tests.
#[derive(Debug, Clone)]
pub struct Places {
    /// Folder of the device nodes.
    pub devices: PathBuf,
    /// Init's socket.
    pub control: PathBuf,
    /// The probe socket of a service.
    pub probe: fn(&str) -> PathBuf,
}

/// A refusal, as the owner reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Said {
    /// A refusal without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn of(error: &dyn std::error::Error, hint: Option<&str>) -> Self {
        Self {
            message: words(error),
            hint: hint.map(str::to_owned),
        }
    }
}

macro_rules! said {
    ($($error:ty => $hint:expr),* $(,)?) => {$(
        impl From<$error> for Said {
            fn from(error: $error) -> Self {
                let hint: fn(&$error) -> Option<&'static str> = $hint;
                Self::of(&error, hint(&error))
            }
        }
    )*};
}

said! {
    Refused => Refused::hint,
    WriteError => WriteError::hint,
    NotSettled => NotSettled::hint,
    NothingStaged => |error| match error {
        NothingStaged::NotWritten => Some("run `roost update` again: it goes on where it ended"),
        NothingStaged::Untried(_) => Some("run `roost update` to try it, or to install another version"),
        NothingStaged::OlderMail(_) => Some("if you want that, add --allow-older-mail; the newer mail stays on the card for 30 days"),
        NothingStaged::NoOther | NothingStaged::OnTrial(_) => None,
    },
    OpenError => |_| None,
    SaveError => |_| Some("look whether the data partition is full (`roost status`)"),
    AskError => |_| None,
}

/// The right to plan and write; there is one.
#[derive(Debug)]
pub struct Turn(
    #[expect(dead_code, reason = "dropping it gives the right back")] OwnedSemaphorePermit,
);

/// An offer that was made, with the right to write it.
#[derive(Debug)]
pub struct Offered {
    /// The plan.
    pub planned: Planned,
    turn: Turn,
}

/// Writing that has begun in a thread of its own.
#[derive(Debug)]
pub struct Writing {
    /// Takes the payloads. Bounded: what is not written yet is not read either.
    /// Dropping it ends the stream.
    pub payloads: Option<mpsc::Sender<Vec<u8>>>,
    /// Bytes of the slot that are right, and all bytes of it.
    pub progress: watch::Receiver<(u64, u64)>,
    /// Ends with the thread.
    pub done: tokio::task::JoinHandle<Result<Staged, Said>>,
}

/// Pieces that wait for the thread that writes. With pieces of at most 64 KiB
/// this is half a megabyte: enough that network and card work at the same time.
const QUEUE: usize = 8;

/// Bytes of the data partition that must be free before anything is written: for
/// the state, logs and the mail that comes during a trial. (The slots are not on it.)
const MIN_FREE: u64 = 16 << 20;

/// The update service without its doors.
#[derive(Debug)]
pub struct Updater {
    /// This boot.
    pub facts: Facts,
    /// What is remembered.
    pub ledger: Ledger<DataFolder>,
    /// Init.
    pub init: Init,
    /// Where things are.
    pub places: Places,
    keys: TrustedKeys,
    turns: Arc<Semaphore>,
    checks: Mutex<Vec<Check>>,
    /// Wakes whoever follows a URL, if somebody does.
    follower: OnceLock<Arc<Notify>>,
}

impl Updater {
    /// Takes bundles that one of `keys` has signed.
    pub fn new(
        facts: Facts,
        ledger: Ledger<DataFolder>,
        places: Places,
        keys: impl IntoIterator<Item = PublicKey>,
    ) -> Self {
        Self {
            facts,
            ledger,
            init: Init(places.control.clone()),
            places,
            keys: TrustedKeys::new(keys),
            turns: Arc::new(Semaphore::new(1)),
            checks: Mutex::new(Vec::new()),
            follower: OnceLock::new(),
        }
    }

    /// A URL is followed from now on; gives what tells that the owner wants a look at once.
    pub fn follow(&self) -> Arc<Notify> {
        self.follower.get_or_init(Arc::default).clone()
    }

    /// Looks at the URL now.
    ///
    /// # Errors
    /// When none is followed.
    pub fn look_now(&self) -> Result<(), Said> {
        let Some(follower) = self.follower.get() else {
            return Err(Said::new("this box follows no address for updates")
                .hint("send it one with `roost update`, or set `url` under [update] in roost.toml and update it once"));
        };
        follower.notify_one();
        Ok(())
    }

    /// Reads and checks the first part of a bundle.
    ///
    /// # Errors
    /// When it is damaged, or no key that is trusted here has signed it.
    pub fn verify(&self, from: &mut impl Read) -> Result<Verified, roost_bundle::Error> {
        Unverified::read(from)?.verify(&self.keys)
    }

    /// Where updates stand.
    pub fn status(&self) -> UpdateStatus {
        let state = self.ledger.state();
        let other = state.slot(self.facts.slot.other());
        let other = other.map(|installed| installed.version.clone());
        let phase = match state.stage {
            Stage::Idle => Phase::Idle,
            Stage::Writing { version } => Phase::Writing { version },
            Stage::Staged => match &other {
                Some(version) => Phase::Staged {
                    version: version.clone(),
                },
                None => Phase::Idle,
            },
            Stage::Trial(trial) if trial.slot == self.facts.slot => Phase::Trial {
                version: trial.to.version,
                from: trial.from,
                checks: self.checks(),
            },
            // Asked for; the box is about to restart into it.
            Stage::Trial(trial) => Phase::Staged {
                version: trial.to.version,
            },
        };
        UpdateStatus {
            running: self.facts.running.version.clone(),
            other,
            phase,
            last: state.last,
            earlier: state.earlier,
        }
    }

    /// How the checks of the trial stand.
    pub fn checks(&self) -> Vec<Check> {
        let checks = self.checks.lock();
        checks.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows how the checks of the trial stand.
    pub fn set_checks(&self, checks: Vec<Check>) {
        *self.checks.lock().unwrap_or_else(PoisonError::into_inner) = checks;
    }

    /// Waits for the right to plan and write. Waiting a little helps a laptop
    /// whose line was cut: the writing that it left behind ends in a moment.
    ///
    /// # Errors
    /// When somebody else keeps it.
    pub async fn turn(&self, patience: Duration) -> Result<Turn, Said> {
        let turn = self.turns.clone().acquire_owned();
        match tokio::time::timeout(patience, turn).await {
            Ok(Ok(permit)) => Ok(Turn(permit)),
            _ => Err(Said::new("another update is under way on this box")
                .hint("wait until it has ended, or end the other `roost update`")),
        }
    }

    /// Checks a bundle by its beginning and works out what it takes. Writes
    /// nothing. `tell` hears bytes that were read, and all that will be.
    ///
    /// # Errors
    /// Why not.
    pub async fn offer(
        self: &Arc<Self>,
        turn: Turn,
        head: Vec<u8>,
        allowed: Allowed,
        tell: watch::Sender<(u64, u64)>,
    ) -> Result<Offered, Said> {
        let this = self.clone();
        let offered = blocking(move || {
            let mut disk = this.disk()?;
            let planned = examine(
                &head,
                &this.keys,
                &this.facts,
                allowed,
                &mut disk,
                &mut |done, total| {
                    tell.send_replace((done, total));
                },
            )?;
            Ok(Offered { planned, turn })
        })
        .await?;
        room(&self.init.status().await?, offered.planned.migrates())?;
        Ok(offered)
    }

    /// Begins to write what was offered.
    ///
    /// # Errors
    /// Why the other slot must not be touched now.
    pub async fn write(self: &Arc<Self>, offered: Offered) -> Result<Writing, Said> {
        let this = self.clone();
        let (mut disk, settled) = blocking(move || {
            let mut disk = this.disk()?;
            let settled = Settled::check(&mut disk, &this.ledger.state(), &this.facts)?;
            Ok((disk, settled))
        })
        .await?;
        let this = self.clone();
        let (payloads, received) = mpsc::channel(QUEUE);
        let (tell, progress) = watch::channel((0, 0));
        let done = tokio::task::spawn_blocking(move || {
            let Offered { planned, turn } = offered;
            let name = planned.offer().to.name.clone();
            println!("updater: writing version {name}");
            let result = planned.write(
                settled,
                &mut disk,
                &this.ledger,
                FromChannel::new(received),
                &mut |done, total| {
                    tell.send_replace((done, total));
                },
            );
            drop(turn);
            let result = result.map_err(Said::from);
            match &result {
                Ok(_) => println!("updater: version {name} is written and was read back"),
                Err(said) => println!("updater: version {name} was not written: {}", said.message),
            }
            result
        });
        Ok(Writing {
            payloads: Some(payloads),
            progress,
            done,
        })
    }

    /// Puts a slot on trial: records it, then has init restart the box.
    ///
    /// # Errors
    /// When it cannot be recorded, or init refuses; the state is as before then.
    pub async fn try_out(&self, staged: Staged) -> Result<(), Said> {
        let name = staged.version().name.clone();
        let requested = staged.request(&self.ledger, now())?;
        match self.init.ask(&Request::Reboot { trial: true }).await {
            Ok(_) => {
                println!("updater: restarting to try version {name}");
                Ok(())
            }
            Err(error) => {
                requested.withdraw(&self.ledger)?;
                Err(error.into())
            }
        }
    }

    /// Restarts the box. During a trial this leads back to the committed version.
    ///
    /// # Errors
    /// When init refuses.
    pub async fn reboot(&self) -> Result<(), Said> {
        if let Phase::Trial { checks, .. } = self.status().phase {
            LastLook {
                failed: Some("the owner restarted the box during the trial".into()),
                checks,
                log: Vec::new(),
            }
            .record(&self.ledger)?;
        }
        self.init.ask(&Request::Reboot { trial: false }).await?;
        Ok(())
    }

    /// The three devices, opened anew: their nodes may not change, but what a
    /// descriptor has in memory might.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn disk(&self) -> Result<Disk<File>, OpenError> {
        Disk::open(&self.places.devices)
    }
}

/// Whether the data partition has room for an update. `migrates`: with a copy of the mail store.
fn room(status: &BoxStatus, migrates: bool) -> Result<(), Said> {
    // The store is most of what is there; how large it is alone, only the mail service may see.
    let store = if migrates {
        status.data_total.saturating_sub(status.data_free)
    } else {
        0
    };
    let wanted = MIN_FREE + store;
    if status.data_free >= wanted {
        return Ok(());
    }
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let why = if migrates {
        " for a copy of the mail, which this version stores in another way"
    } else {
        ""
    };
    Err(Said::new(format!(
        "the data partition has {} MB free, and the update needs {} MB{why}",
        status.data_free / 1_000_000,
        megabytes(wanted),
    ))
    .hint("delete mail or files, then run `roost update` again"))
}

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Said> + Send + 'static,
) -> Result<T, Said> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Said::new("the updater has a fault; its log says more")))
}

/// Seconds since 1970 by the box's clock.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
