//! The relay, by which mail reaches the box from outside; the tunnel service does what is asked here
//! ([`roost_service::tunnel`]). It checks the fields of a relay's text itself; what it refuses is told.
//!
//! The store keeps the text as well, from the pairing on: the tunnel may not be there yet, and
//! [`hand_over`] gives it the text once it is. A relay that the tunnel has is never replaced by that.

use super::entry;
use crate::app::App;
use crate::audit::{Actor, Event};
use crate::setup::RelayText;
use crate::sockets::{self, NoAnswer};
use crate::store::StoreError;
use roost_service::names::Reason;
use roost_service::tunnel::{Answer, Call, State, Status};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Who is asked, as the owner knows it.
const WHO: &str = "the tunnel service";
/// How long [`hand_over`] waits before it asks again.
const AGAIN: Duration = Duration::from_secs(3);

/// Why something about the relay came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// The tunnel service cannot be asked.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// What was given is no relay's text.
    #[error("{}", .0.message)]
    Unusable(Reason),
    /// The tunnel service said no.
    #[error("{why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the program remembers of the relay while it runs.
#[derive(Debug, Default)]
pub struct Care {
    /// Held while tunnel and store are made to agree: one at a time.
    turn: tokio::sync::Mutex<()>,
    /// The store has a text that the tunnel may not have.
    given: Notify,
    /// Why the tunnel does not take the store's text.
    refused: Mutex<Option<String>>,
}

impl Care {
    /// The store may have got a text: the tunnel is to have it.
    pub fn given(&self) {
        self.given.notify_one();
    }

    fn refused(&self) -> MutexGuard<'_, Option<String>> {
        // Nothing is half done in it when a thread panics.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the box reaches its relay.
#[derive(Debug)]
pub struct Way {
    /// What the tunnel service says.
    pub status: Result<Status, NotDone>,
    /// Whether the store has a relay's text.
    pub given: bool,
    /// Where the internet reaches the box, if that text says so.
    pub outside: Vec<IpAddr>,
    /// Why the tunnel service does not take that, if it does not.
    pub refused: Option<String>,
}

/// How the tunnel stands.
///
/// # Errors
/// [`NotDone::NoAnswer`].
pub async fn status(app: &App) -> Result<Status, NotDone> {
    match ask(app, &Call::Status).await? {
        Answer::Status(status) => Ok(*status),
        _ => Err(strange()),
    }
}

/// How the box reaches its relay, for pages.
///
/// # Errors
/// When the store cannot be used.
pub async fn look(app: &Arc<App>) -> Result<Way, StoreError> {
    let (status, settings) = tokio::join!(status(app), app.view(|store, _| store.settings()));
    let given = settings?.relay;
    let text = given
        .as_deref()
        .and_then(|text| RelayText::parse(text).ok());
    let outside = text.and_then(|text| text.tunnel().outside.clone());
    Ok(Way {
        status,
        given: given.is_some(),
        outside: outside.map(|outside| outside.addresses).unwrap_or_default(),
        refused: app.relay.refused().clone(),
    })
}

/// Uses this relay from now on.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn set(app: &Arc<App>, text: &str, who: Actor, from: IpAddr) -> Result<(), NotDone> {
    let text = RelayText::parse(text).map_err(NotDone::Unusable)?;
    let tunnel = Box::new(text.tunnel().clone());
    let keep = Some(text.as_str().to_owned());
    let what = |known| Event::RelaySet { known };
    perform(app, Call::Set { tunnel }, keep, who, from, what).await
}

/// Uses no relay any more.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn clear(app: &Arc<App>, who: Actor, from: IpAddr) -> Result<(), NotDone> {
    let what = |known| Event::RelayRemoved { known };
    perform(app, Call::Clear, None, who, from, what).await
}

/// Has this card serve again, though another with the same keys has taken its place.
///
/// # Errors
/// [`NotDone`]; it was not replaced, if the service refuses.
pub async fn take_over(app: &Arc<App>, who: Actor, from: IpAddr) -> Result<(), NotDone> {
    let answer = change(app, &Call::TakeOver).await;
    let known = match &answer {
        Ok(()) => true,
        Err(NotDone::NoAnswer(no)) if no.may_have_been_done() => false,
        Err(_) => return answer,
    };
    let what = Event::TakenOver { known };
    app.change(move |store, now| store.audit_entry(&entry(now, who, from, what)))
        .await?;
    answer
}

/// Has the tunnel changed, and keeps the same in the store. The task is not the visitor's: nobody
/// leaves the two different by hanging up.
async fn perform(
    app: &Arc<App>,
    call: Call,
    keep: Option<String>,
    who: Actor,
    from: IpAddr,
    what: impl FnOnce(bool) -> Event + Send + 'static,
) -> Result<(), NotDone> {
    let app = app.clone();
    let done = tokio::spawn(async move {
        let _turn = app.relay.turn.lock().await;
        let answer = change(&app, &call).await;
        let known = match &answer {
            Ok(()) => true,
            // Kept all the same: a relay that was removed must not come back at the next start.
            Err(NotDone::NoAnswer(no)) if no.may_have_been_done() => false,
            Err(_) => return answer,
        };
        app.relay.refused().take();
        app.change(move |store, now| {
            store.set_relay(keep)?;
            store.audit_entry(&entry(now, who, from, what(known)))
        })
        .await?;
        answer
    });
    match done.await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Sees to it that the tunnel has the relay that the store has, at the start and whenever
/// [`Care::given`] says so, until the program ends.
pub async fn hand_over(app: Arc<App>) {
    loop {
        let mut said = String::new();
        while let Err(why) = try_hand_over(&app).await {
            let why = why.to_string();
            // While a service starts it says the same for a long time.
            if why != said {
                eprintln!("portal: the relay waits to be set up: {why}");
                said = why;
            }
            tokio::time::sleep(AGAIN).await;
        }
        app.relay.given.notified().await;
    }
}

/// An error may be gone the next time; a refusal is kept for the page, and no error.
async fn try_hand_over(app: &Arc<App>) -> Result<(), NotDone> {
    let _turn = app.relay.turn.lock().await;
    let Some(text) = app.view(|store, _| store.settings()).await?.relay else {
        return Ok(());
    };
    if status(app).await?.state != State::Unconfigured {
        return Ok(());
    }
    let set = async {
        // A version before this one kept texts that nobody had read.
        let text = RelayText::parse(&text).map_err(NotDone::Unusable)?;
        let tunnel = Box::new(text.tunnel().clone());
        change(app, &Call::Set { tunnel }).await
    };
    match set.await {
        Err(why @ (NotDone::Refused { .. } | NotDone::Unusable(_))) => {
            eprintln!("portal: the tunnel does not take the relay: {why}");
            *app.relay.refused() = Some(why.to_string());
            Ok(())
        }
        done => {
            app.relay.refused().take();
            done
        }
    }
}

async fn change(app: &App, call: &Call) -> Result<(), NotDone> {
    match ask(app, call).await? {
        Answer::Done => Ok(()),
        Answer::Refused { why } => Err(NotDone::Refused { why }),
        Answer::Status(_) | Answer::Outside { .. } => Err(strange()),
    }
}

async fn ask(app: &App, call: &Call) -> Result<Answer, NotDone> {
    Ok(sockets::ask(WHO, &app.places.tunnel, call).await?)
}

fn strange() -> NotDone {
    NotDone::NoAnswer(NoAnswer {
        who: WHO,
        why: io::ErrorKind::InvalidData.into(),
    })
}
