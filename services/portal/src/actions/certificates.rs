//! Certificates that others trust; the certificate service gets them and does what is asked here
//! ([`roost_service::certificates`]). [`crate::tls`] shows them.

use super::entry;
use crate::app::App;
use crate::audit::{Actor, CertificateChange, Event};
use crate::sockets::{self, NoAnswer};
use crate::store::StoreError;
use roost_service::certificates::{Answer, Call, Certificate, Choice, Directory, State, Status};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;

/// Who is asked, as the owner knows it.
const WHO: &str = "the certificate service";

/// Why something about certificates came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// The certificate service cannot be asked.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The certificate service said no.
    #[error("{why}")]
    Refused {
        /// Why, in plain words.
        why: String,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the program remembers of certificates while it runs.
#[derive(Debug, Default)]
pub struct Care {
    /// The owner has changed something: it is time to look.
    pub changed: Notify,
    /// What the service said last about the portal's names.
    public: RwLock<Public>,
}

/// The portal's names on the internet.
#[derive(Debug, Default)]
struct Public {
    /// In lower case: the mail host, and the portal's own name if it has one.
    names: Vec<String>,
    /// The one that the owner should use, once browsers trust the portal there.
    trusted: Option<String>,
}

impl Care {
    /// Takes from the service's word by which names browsers may reach the portal.
    pub(crate) fn learn(&self, status: &Status) {
        let own = status.choice.as_ref().and_then(|c| c.portal.as_deref());
        let host = status.zones.as_ref().map(|zones| zones.mail_host.as_str());
        let names: Vec<String> = (own.into_iter().chain(host))
            .map(str::to_ascii_lowercase)
            .collect();
        // Of another authority nobody here knows whom browsers trust; they do not trust one
        // that needs certificates of its own to be reached.
        let for_real = status.choice.as_ref().is_some_and(|choice| {
            choice.directory != Directory::LetsEncryptStaging && choice.roots_pem.is_none()
        });
        let holds = |name: &&String| {
            let mut all = status.certificates.iter();
            all.any(|one| holds(one.state) && one.names.contains(name))
        };
        let trusted = names.iter().find(|name| for_real && holds(name)).cloned();
        *self.public.write().unwrap_or_else(PoisonError::into_inner) = Public { names, trusted };
    }

    /// Whether it is a name of the portal on the internet, in lower case.
    pub(crate) fn is_own_name(&self, host: &str) -> bool {
        let public = self.public.read().unwrap_or_else(PoisonError::into_inner);
        public.names.iter().any(|name| name == host)
    }

    /// A name of the portal at which browsers trust it.
    pub fn trusted(&self) -> Option<String> {
        let public = self.public.read().unwrap_or_else(PoisonError::into_inner);
        public.trusted.clone()
    }
}

fn holds(state: State) -> bool {
    matches!(state, State::Valid | State::Failing)
}

/// How certificates stand.
///
/// # Errors
/// [`NotDone::NoAnswer`].
pub async fn status(app: &App) -> Result<Status, NotDone> {
    match ask(app, &Call::Status).await? {
        Answer::Status(status) => Ok(*status),
        _ => Err(strange()),
    }
}

/// The newest certificate with its key.
///
/// # Errors
/// [`NotDone`].
pub async fn get(app: &App, id: String) -> Result<Certificate, NotDone> {
    match ask(app, &Call::Get { id }).await? {
        Answer::Certificate(certificate) => Ok(*certificate),
        _ => Err(strange()),
    }
}

/// Gets certificates this way from now on.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn set(app: &Arc<App>, choice: Choice, who: Actor, from: IpAddr) -> Result<(), NotDone> {
    let what = CertificateChange::Chosen {
        directory: choice.directory.url().to_owned(),
        terms_agreed: choice.terms_agreed,
    };
    let choice = Box::new(choice);
    change(app, Call::Set { choice }, who, from, what).await
}

/// Has a certificate renewed now.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn renew(app: &Arc<App>, id: String, who: Actor, from: IpAddr) -> Result<(), NotDone> {
    let what = CertificateChange::Renewed { id: id.clone() };
    change(app, Call::Renew { id }, who, from, what).await
}

/// Has the next key taken as soon as it may be.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn switch_key(
    app: &Arc<App>,
    id: String,
    who: Actor,
    from: IpAddr,
) -> Result<(), NotDone> {
    let what = CertificateChange::KeySwitched { id: id.clone() };
    change(app, Call::SwitchKey { id }, who, from, what).await
}

/// Has a certificate revoked and another one made.
///
/// # Errors
/// [`NotDone`]; unless the service broke off, nothing was changed then.
pub async fn revoke(
    app: &Arc<App>,
    id: String,
    key_compromised: bool,
    who: Actor,
    from: IpAddr,
) -> Result<(), NotDone> {
    let what = CertificateChange::Revoked {
        id: id.clone(),
        key_compromised,
    };
    let call = Call::Revoke {
        id,
        key_compromised,
    };
    change(app, call, who, from, what).await
}

/// The task is not the visitor's: what was done is in the log though somebody hangs up.
async fn change(
    app: &Arc<App>,
    call: Call,
    who: Actor,
    from: IpAddr,
    change: CertificateChange,
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
        app.certificates.changed.notify_one();
        let what = Event::Certificates { change, known };
        app.change(move |store, now| store.audit_entry(&entry(now, who, from, what)))
            .await?;
        answer
    });
    match done.await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn ask(app: &App, call: &Call) -> Result<Answer, NotDone> {
    match sockets::ask(WHO, &app.places.certificates, call).await? {
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
