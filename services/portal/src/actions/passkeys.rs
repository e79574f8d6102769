//! Passkeys: adding, using and removing them.

use super::entry;
use super::sign_in::{SignedIn, open_session};
use crate::app::App;
use crate::audit::{Actor, Event};
use crate::owner::Authenticated;
use crate::passkey::{
    Adding, Claim, Name, NotAdded, Options, Passkey, PasskeyId, Refused, Signing, Site,
};
use crate::session::{Place, SessionId};
use crate::store::StoreError;
use crate::throttle::{Factor, Wait, Who};
use crate::token::SecretToken;
use std::net::IpAddr;
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;

/// All that there are, the oldest first.
///
/// # Errors
/// When the store cannot be used.
pub async fn list(app: &Arc<App>) -> Result<Vec<(PasskeyId, Passkey)>> {
    let mut all = app.view(|store, _| store.passkeys()).await?;
    all.sort_by_key(|(id, passkey)| (passkey.made.powered_on, *id));
    Ok(all)
}

/// The owner, who has just shown who they are, adds a passkey in this session. Gives what the
/// browser is asked.
///
/// # Errors
/// When the store cannot be used; within, why not.
pub async fn begin_adding(
    app: &Arc<App>,
    authenticated: Authenticated,
    name: Name,
    site: Site,
    session: SessionId,
) -> Result<std::result::Result<Options, NotAdded>> {
    let known: Vec<Passkey> = list(app).await?.into_iter().map(|(_, p)| p).collect();
    let begun = Adding::begin(
        authenticated,
        name,
        site,
        &app.settings.name,
        &known,
        App::random(),
        app.now().powered_on,
    );
    Ok(begun.map(|(adding, options)| {
        app.passkeys().add(session, adding);
        options
    }))
}

/// The browser has answered. Gives the passkey's name.
///
/// # Errors
/// When the store cannot be used; within, why not.
pub async fn add(
    app: &Arc<App>,
    session: SessionId,
    answer: String,
    from: IpAddr,
) -> Result<std::result::Result<String, NotAdded>> {
    let Some(adding) = app.passkeys().take_adding(session) else {
        return Ok(Err(NotAdded::Late));
    };
    app.change(move |store, now| {
        let (id, passkey) = match adding.finish(&answer, now) {
            Ok(added) => added,
            Err(not) => return Ok(Err(not)),
        };
        match store.add_passkey(&id, &passkey) {
            Ok(Ok(())) => {}
            Ok(Err(not)) => return Ok(Err(not)),
            Err(StoreError::TooLong { .. }) => return Ok(Err(NotAdded::Unusable)),
            Err(error) => return Err(error),
        }
        let what = Event::PasskeyAdded {
            passkey: passkey.name.clone(),
        };
        store.audit_entry(&entry(now, Actor::Owner, from, what))?;
        Ok(Ok(passkey.name))
    })
    .await
}

/// The owner, who has just shown who they are, removes a passkey. Gives its name; `None` if there is
/// none.
///
/// # Errors
/// When the store cannot be used.
pub async fn remove(
    app: &Arc<App>,
    authenticated: Authenticated,
    id: PasskeyId,
    from: IpAddr,
) -> Result<Option<String>> {
    app.change(move |store, now| {
        let Some(Passkey { name, .. }) = store.passkey(&id)? else {
            return Result::Ok(None);
        };
        store.remove_passkey(authenticated, &id)?;
        let passkey = name.clone();
        let what = Event::PasskeyRemoved { passkey };
        store.audit_entry(&entry(now, Actor::Owner, from, what))?;
        Ok(Some(name))
    })
    .await
}

/// Somebody wants to sign in with a passkey. Gives what the browser is asked, and the token by which it
/// will be known. Nothing is written, so asking costs the card nothing.
///
/// # Errors
/// [`Refused`].
pub fn begin_sign_in(
    app: &App,
    site: Site,
    from: IpAddr,
) -> std::result::Result<(SecretToken, Options), Refused> {
    let (signing, options) = Signing::begin(site, app.now().powered_on)?;
    let token = SecretToken::from_random(App::random());
    app.passkeys().sign(token.hash(), from.into(), signing);
    Ok((token, options))
}

/// Who tries, and what they show.
#[derive(Debug)]
pub struct Try {
    /// Where.
    pub place: Place,
    /// The cookie of a browser in which the owner has signed in before.
    pub device: Option<Arc<SecretToken>>,
    /// The cookie of a browser that was asked.
    pub challenge: Option<Arc<SecretToken>>,
    /// What it answers.
    pub answer: String,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum NotIn {
    /// Not let through.
    #[error("{0}")]
    Wait(#[from] Wait),
    /// Looked at, and refused.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Signs in with a passkey, within the limits that passwords have: a new session, and the one
/// that the browser had is ended.
///
/// # Errors
/// [`NotIn`].
pub async fn sign_in(
    app: &Arc<App>,
    attempt: Try,
    old: Option<Arc<SecretToken>>,
) -> std::result::Result<SignedIn, NotIn> {
    let challenge = attempt.challenge.as_deref();
    // Without a challenge nothing is guessed, so nothing is counted.
    let signing = challenge
        .and_then(|token| app.passkeys().take_signing(token))
        .ok_or(Refused::Late)?;
    app.change(move |store, now| {
        let Place { from, browser } = attempt.place;
        let (who, counted) = store.change_throttle(|throttle| {
            let who = throttle.who(attempt.device.as_deref(), from);
            let counted = throttle.begin(who, Factor::Password, now.powered_on)?;
            std::result::Result::<_, NotIn>::Ok((who, counted))
        })??;
        let mut name = String::new();
        let checked = match Claim::parse(&attempt.answer) {
            Ok(claim) => store
                .decide_passkey(&claim.id(), |passkey| {
                    name.clone_from(&passkey.name);
                    signing.finish(&claim, passkey, now)
                })?
                .unwrap_or(Err(Refused::Unknown)),
            Err(refused) => Err(refused),
        };
        let authenticated = match checked {
            Ok(authenticated) => authenticated,
            Err(refused) => {
                let known_browser = matches!(who, Who::Device(_));
                let what = match refused {
                    Refused::Copied => Event::PasskeyCopied { passkey: name },
                    _ => Event::PasskeyWrong { known_browser },
                };
                store.audit_entry(&entry(now, Actor::Somebody, from, what))?;
                return Ok::<_, NotIn>(Err(refused.into()));
            }
        };
        store.change_throttle(|throttle| throttle.right(counted))?;
        let passkey = name;
        let what = Event::PasskeyUsed { passkey, browser };
        let signed = open_session(
            store,
            authenticated,
            old.as_deref(),
            attempt.place,
            now,
            what,
        );
        Ok(Ok(signed?))
    })
    .await?
}
