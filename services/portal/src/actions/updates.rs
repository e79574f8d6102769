//! How the box is, and which version it runs; the updater does what is asked here.

use super::entry;
use crate::app::App;
use crate::audit::{Actor, Event};
use crate::init::AskError;
use crate::sockets::{self, NoAnswer};
use crate::store::StoreError;
use roost_service::control::{BoxStatus, Request};
use roost_service::update::{Answer, Call, UpdateStatus};
use std::net::IpAddr;
use std::sync::Arc;

/// Who is asked, as the owner knows it.
pub(super) const UPDATER: &str = "the box's updater";

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// The updater cannot be asked.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// It said no.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The answer is none to this question.
    #[error("the box's updater answers something else")]
    Strange,
    /// Init cannot be asked, or said no.
    #[error(transparent)]
    Init(#[from] AskError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the box is. Where updates stand is missing if the updater does not answer: it is not needed
/// for anything else.
#[derive(Debug)]
pub struct Report {
    /// What init knows.
    pub machine: BoxStatus,
    /// Where updates stand.
    pub update: Result<UpdateStatus, NotDone>,
}

/// How the box is.
///
/// # Errors
/// When init does not answer.
pub async fn status(app: &App) -> Result<Report, NotDone> {
    let (machine, update) = tokio::join!(app.init.status(), ask(app, &Call::Status));
    let update = match update {
        Ok(Answer::Status(report)) => Ok(report.update),
        Ok(_) => Err(NotDone::Strange),
        Err(not) => Err(not),
    };
    Ok(Report {
        machine: machine?,
        update,
    })
}

/// Notes that somebody has fetched what the box keeps.
///
/// # Errors
/// [`NotDone::Store`].
pub async fn note_backup(app: &Arc<App>, who: Actor, from: IpAddr) -> Result<(), NotDone> {
    Ok(log(app, who, from, Event::BackedUp).await?)
}

/// Restarts the box. It goes down some seconds later.
///
/// # Errors
/// [`NotDone`].
pub async fn restart(app: &Arc<App>, who: Actor, from: IpAddr) -> Result<(), NotDone> {
    log(app, who, from, Event::Restarted).await?;
    app.init.ask(&Request::Reboot { trial: false }).await?;
    Ok(())
}

/// Boots the version in the other slot on trial.
///
/// # Errors
/// [`NotDone`].
pub async fn roll_back(
    app: &Arc<App>,
    allow_older_mail: bool,
    who: Actor,
    from: IpAddr,
) -> Result<(), NotDone> {
    log(app, who, from, Event::RolledBack).await?;
    demand(app, &Call::Rollback { allow_older_mail }).await
}

/// Looks for an update at the address that the box follows, and installs a newer one at once.
///
/// # Errors
/// [`NotDone`].
pub async fn look(app: &App) -> Result<(), NotDone> {
    demand(app, &Call::Look).await
}

async fn demand(app: &App, call: &Call) -> Result<(), NotDone> {
    match ask(app, call).await? {
        Answer::Ok => Ok(()),
        _ => Err(NotDone::Strange),
    }
}

async fn ask(app: &App, call: &Call) -> Result<Answer, NotDone> {
    match sockets::ask(UPDATER, &app.places.updater, call).await? {
        Answer::Error { message, hint } => Err(NotDone::Refused { message, hint }),
        answer => Ok(answer),
    }
}

async fn log(app: &Arc<App>, who: Actor, from: IpAddr, what: Event) -> Result<(), StoreError> {
    app.change(move |store, now| store.audit_entry(&entry(now, who, from, what)))
        .await
}
