//! The zones of the box's domains; the name server does what is asked here ([`roost_service::dns`]).

use super::entry;
use crate::app::App;
use crate::audit::{Actor, Event};
use crate::sockets::{self, NoAnswer};
use crate::store::StoreError;
use roost_service::dns::{Answer, Call, Check, Dmarc, LeftOut, Record, Status};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// Who is asked, as the owner knows it.
const WHO: &str = "the name server";

/// Why something about the zones came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// The name server cannot be asked.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The name server said no.
    #[error("{why}")]
    Refused {
        /// Why, in whole sentences.
        why: String,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the zones stand.
///
/// # Errors
/// [`NotDone::NoAnswer`].
pub async fn status(app: &App) -> Result<Status, NotDone> {
    match ask(app, &Call::Status).await? {
        Answer::Status(status) => Ok(status),
        _ => Err(strange()),
    }
}

/// The records of a zone.
///
/// # Errors
/// [`NotDone`].
pub async fn records(app: &App, domain: String) -> Result<Vec<Record>, NotDone> {
    match ask(app, &Call::Records { domain }).await? {
        Answer::Records { records } => Ok(records),
        _ => Err(strange()),
    }
}

/// A zone as a file for other name servers.
///
/// # Errors
/// [`NotDone`].
pub async fn export(app: &App, domain: String, signed: bool) -> Result<String, NotDone> {
    text(app, &Call::Export { domain, signed }).await
}

/// The owner's own records.
///
/// # Errors
/// [`NotDone`].
pub async fn own(app: &App, domain: String) -> Result<String, NotDone> {
    text(app, &Call::OwnRecords { domain }).await
}

/// What of another server's zone file can be kept, and what not.
///
/// # Errors
/// [`NotDone`].
pub async fn import(
    app: &App,
    domain: String,
    text: String,
) -> Result<(String, Vec<LeftOut>), NotDone> {
    match ask(app, &Call::Import { domain, text }).await? {
        Answer::Import { keep, left_out } => Ok((keep, left_out)),
        _ => Err(strange()),
    }
}

/// What is answered for a zone, and what should be; takes some seconds.
///
/// # Errors
/// [`NotDone`].
pub async fn check(app: &App, domain: String) -> Result<Check, NotDone> {
    match ask(app, &Call::Check { domain }).await? {
        Answer::Check(check) => Ok(*check),
        _ => Err(strange()),
    }
}

/// Other records of the owner's own in place of those before.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn set_own(
    app: &Arc<App>,
    domain: String,
    text: String,
    who: Actor,
    from: IpAddr,
) -> Result<(), NotDone> {
    let zone = domain.clone();
    let what = |known| Event::RecordsSet {
        domain: zone,
        known,
    };
    change(app, Call::SetOwnRecords { domain, text }, who, from, what).await
}

/// Begins to replace the key that the registrar knows.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn replace_key(
    app: &Arc<App>,
    domain: String,
    who: Actor,
    from: IpAddr,
) -> Result<(), NotDone> {
    let zone = domain.clone();
    let what = |known| Event::KeyReplaced {
        domain: zone,
        known,
    };
    change(app, Call::ReplaceKey { domain }, who, from, what).await
}

/// What receivers shall do with mail that is forged in the domain's name; `None`: the box chooses.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn set_dmarc(
    app: &Arc<App>,
    domain: String,
    stage: Option<Dmarc>,
    who: Actor,
    from: IpAddr,
) -> Result<(), NotDone> {
    let zone = domain.clone();
    let what = move |known| Event::DmarcSet {
        domain: zone,
        stage,
        known,
    };
    change(app, Call::SetDmarc { domain, stage }, who, from, what).await
}

/// The task is not the visitor's: what was done is in the log though somebody hangs up.
async fn change(
    app: &Arc<App>,
    call: Call,
    who: Actor,
    from: IpAddr,
    what: impl FnOnce(bool) -> Event + Send + 'static,
) -> Result<(), NotDone> {
    let app = app.clone();
    let done = tokio::spawn(async move {
        let answer = match ask(&app, &call).await {
            Ok(Answer::Done) => Ok(()),
            Ok(_) => Err(strange()),
            Err(why) => Err(why),
        };
        let known = match &answer {
            Ok(()) => true,
            Err(NotDone::NoAnswer(no)) if no.may_have_been_done() => false,
            Err(_) => return answer,
        };
        app.change(move |store, now| store.audit_entry(&entry(now, who, from, what(known))))
            .await?;
        answer
    });
    match done.await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn text(app: &App, call: &Call) -> Result<String, NotDone> {
    match ask(app, call).await? {
        Answer::Text { text } => Ok(text),
        _ => Err(strange()),
    }
}

async fn ask(app: &App, call: &Call) -> Result<Answer, NotDone> {
    match sockets::ask(WHO, &app.places.dns, call).await? {
        Answer::Refused { why } => Err(NotDone::Refused { why }),
        answer => Ok(answer),
    }
}

fn strange() -> NotDone {
    NotDone::NoAnswer(NoAnswer {
        who: WHO,
        why: io::ErrorKind::InvalidData.into(),
    })
}
