//! Backups; the backup service makes them and does what is asked here ([`roost_service::backup`]).

use super::entry;
use crate::app::App;
use crate::audit::{Actor, BackupChange, Event};
use crate::sockets::{self, NoAnswer};
use crate::store::StoreError;
use roost_service::backup::{Answer, BackupStatus as Status, Call, HostKey, Secret, Target};
use roost_service::disk::Disk;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Who is asked, as the owner knows it.
const WHO: &str = "the backup service";
/// Longest wait where a USB disk is looked for, or tried: its drivers are loaded first, and it has to spin up.
const DISK_PATIENCE: Duration = Duration::from_secs(60);

/// Why something about backups came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// The backup service cannot be asked.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The backup service said no.
    #[error("{why}")]
    Refused {
        /// Why, in plain words.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How backups stand.
///
/// # Errors
/// [`NotDone::NoAnswer`].
pub async fn status(app: &App) -> Result<Status, NotDone> {
    match ask(app, &Call::Status).await? {
        Answer::Status(status) => Ok(*status),
        _ => Err(strange()),
    }
}

/// The words of the recovery code. That somebody sees them is in the log before they do.
///
/// # Errors
/// [`NotDone`].
pub async fn code(app: &Arc<App>, who: Actor, from: IpAddr) -> Result<Zeroizing<String>, NotDone> {
    let Answer::Code { words } = ask(app, &Call::Code).await? else {
        return Err(strange());
    };
    let words = Zeroizing::new(words);
    note(app, who, from, Event::BackedUp).await?;
    Ok(words)
}

/// The line that lets the box sign in at an SFTP server, for `authorized_keys` there.
///
/// # Errors
/// [`NotDone`].
pub async fn key(app: &App) -> Result<String, NotDone> {
    match ask(app, &Call::Key).await? {
        Answer::Key { line } => Ok(line),
        _ => Err(strange()),
    }
}

/// Which host key an SFTP server shows to the box.
///
/// # Errors
/// [`NotDone`].
pub async fn host_key(app: &App, host: String, port: u16) -> Result<HostKey, NotDone> {
    match ask(app, &Call::HostKey { host, port }).await? {
        Answer::HostKey { host_key } => Ok(host_key),
        _ => Err(strange()),
    }
}

/// Which USB disks are plugged into the box.
///
/// # Errors
/// [`NotDone`].
pub async fn disks(app: &App) -> Result<Vec<Disk>, NotDone> {
    match ask(app, &Call::Disks).await? {
        Answer::Disks { disks } => Ok(disks),
        _ => Err(strange()),
    }
}

/// Has a target tried, and used from then on.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn set(
    app: &Arc<App>,
    target: Target,
    secret: Option<Secret>,
    who: Actor,
    from: IpAddr,
) -> Result<(), NotDone> {
    let what = BackupChange::TargetSet {
        endpoint: target.server(),
        place: target.to_string(),
    };
    change(app, Call::Set { target, secret }, what, who, from).await
}

/// Has no target used any more.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn remove(app: &Arc<App>, who: Actor, from: IpAddr) -> Result<(), NotDone> {
    change(app, Call::Remove, BackupChange::TargetRemoved, who, from).await
}

/// Has a backup begun at the target.
///
/// # Errors
/// [`NotDone`].
pub async fn begin(app: &Arc<App>) -> Result<(), NotDone> {
    done(app, &Call::Now).await
}

/// Has the newest backup at the target read back.
///
/// # Errors
/// [`NotDone`].
pub async fn prove(app: &Arc<App>) -> Result<(), NotDone> {
    done(app, &Call::Prove).await
}

/// The task is not the visitor's: what was done is in the log though somebody hangs up.
async fn change(
    app: &Arc<App>,
    call: Call,
    change: BackupChange,
    who: Actor,
    from: IpAddr,
) -> Result<(), NotDone> {
    let app = app.clone();
    let task = tokio::spawn(async move {
        let answer = done(&app, &call).await;
        let known = match &answer {
            Ok(()) => true,
            Err(NotDone::NoAnswer(no)) if no.may_have_been_done() => false,
            Err(_) => return answer,
        };
        note(&app, who, from, Event::Backups { change, known }).await?;
        answer
    });
    match task.await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn note(app: &Arc<App>, who: Actor, from: IpAddr, what: Event) -> Result<(), StoreError> {
    app.change(move |store, now| store.audit_entry(&entry(now, who, from, what)))
        .await
}

async fn done(app: &App, call: &Call) -> Result<(), NotDone> {
    match ask(app, call).await? {
        Answer::Done => Ok(()),
        _ => Err(strange()),
    }
}

async fn ask(app: &App, call: &Call) -> Result<Answer, NotDone> {
    let patience = match call {
        Call::Disks | Call::Set { .. } | Call::Now | Call::Prove => DISK_PATIENCE,
        _ => sockets::PATIENCE,
    };
    match sockets::ask_within(WHO, &app.places.backup_door, call, patience).await? {
        Answer::Refused { why, hint } => Err(NotDone::Refused { why, hint }),
        answer => Ok(answer),
    }
}

fn strange() -> NotDone {
    NotDone::NoAnswer(NoAnswer {
        who: WHO,
        why: io::ErrorKind::InvalidData.into(),
    })
}
