//! Showing who one is, and changing by what.

use super::entry;
use crate::app::App;
use crate::audit::{Actor, Event};
use crate::owner::{self, Authenticated, Next, SignedInBy};
use crate::password::NewPassword;
use crate::second::{NotSetUp, Pending, RecoveryCode, Refused};
use crate::session::Place;
use crate::store::{Change, StoreError};
use crate::throttle::{Factor, Wait, Who};
use crate::time::Now;
use crate::token::SecretToken;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Who tries, and what they say.
#[derive(Debug)]
pub struct Try {
    /// Where.
    pub place: Place,
    /// The cookie of a browser in which the owner has signed in before.
    pub device: Option<Arc<SecretToken>>,
    /// The password.
    pub password: Zeroizing<String>,
    /// The second factor; empty for none.
    pub second: Zeroizing<String>,
}

/// Why somebody is not the owner.
#[derive(Debug, thiserror::Error)]
pub enum NotOwner {
    /// Not let through.
    #[error("{0}")]
    Wait(#[from] Wait),
    /// The first factor.
    #[error("{0}")]
    Password(#[from] owner::WrongPassword),
    /// The second factor, after the right password.
    #[error("{0}")]
    Second(#[from] Refused),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Checks both factors within the limits of sign-in; everything is counted before it is checked.
///
/// # Errors
/// [`NotOwner`].
pub async fn prove(app: &Arc<App>, mut attempt: Try) -> Result<Authenticated, NotOwner> {
    let Place { from, .. } = attempt.place;
    let device = attempt.device.take();
    let (who, counted) = app
        .change(move |store, now| {
            store.change_throttle(|throttle| {
                let who = throttle.who(device.as_deref(), from);
                let counted = throttle.begin(who, Factor::Password, now.powered_on)?;
                Ok::<_, NotOwner>((who, counted))
            })?
        })
        .await?;
    let known_browser = matches!(who, Who::Device(_));

    let owner = app
        .view(|store, _| Ok::<_, NotOwner>(store.owner()?))
        .await?;
    let Try {
        password, second, ..
    } = attempt;
    let next = app
        .hash(move || owner::check_password(owner.as_ref(), &password))
        .await;
    app.change(move |store, now| {
        let next = match next {
            Ok(next) => next,
            Err(wrong) => {
                let what = Event::PasswordWrong { known_browser };
                store.audit_entry(&entry(now, Actor::Somebody, from, what))?;
                return Ok::<_, NotOwner>(Err(wrong.into()));
            }
        };
        store.change_throttle(|throttle| throttle.right(counted))?;
        let right = match next {
            Next::SignedIn(authenticated) => return Ok(Ok(authenticated)),
            Next::Second(right) => right,
        };
        // Nothing was guessed yet.
        if second.trim().is_empty() {
            return Ok(Err(Refused::Missing.into()));
        }
        let begun = store
            .change_throttle(|throttle| throttle.begin(who, Factor::Second, now.powered_on))?;
        let counted = match begun {
            Ok(counted) => counted,
            Err(wait) => return Ok(Err(wait.into())),
        };
        match store.decide_owner(|owner| owner.check_second(right, &second, now.wall))? {
            Ok(authenticated) => {
                store.change_throttle(|throttle| throttle.right(counted))?;
                if authenticated.by() == SignedInBy::Recovery {
                    let owner = store.owner()?;
                    let second = owner.as_ref().and_then(|owner| owner.second());
                    let left = second.map_or(0, |second| second.recovery_left());
                    let what = Event::RecoveryUsed { left };
                    store.audit_entry(&entry(now, Actor::Owner, from, what))?;
                }
                Ok(Ok(authenticated))
            }
            // The box could not look: nothing was guessed.
            Err(Refused::NoClock) => {
                store.change_throttle(|throttle| throttle.right(counted))?;
                Ok(Err(Refused::NoClock.into()))
            }
            Err(refused) => {
                let what = Event::SecondWrong { known_browser };
                store.audit_entry(&entry(now, Actor::Somebody, from, what))?;
                Ok(Err(refused.into()))
            }
        }
    })
    .await?
}

/// What a browser gets that has signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// Its session.
    pub session: SecretToken,
    /// By which the limits of sign-in know it.
    pub device: SecretToken,
}

/// Signs in: a new session, and the one that the browser had is ended.
///
/// # Errors
/// [`NotOwner`].
pub async fn sign_in(
    app: &Arc<App>,
    attempt: Try,
    old: Option<Arc<SecretToken>>,
) -> Result<SignedIn, NotOwner> {
    let place = attempt.place;
    let authenticated = prove(app, attempt).await?;
    app.change(move |store, now| {
        let (by, browser) = (authenticated.by(), place.browser);
        let what = Event::SignedIn { by, browser };
        let signed = open_session(store, authenticated, old.as_deref(), place, now, what);
        Ok(signed?)
    })
    .await
}

/// A session for who has shown that they are the owner, and a line of the log about it.
pub(super) fn open_session(
    store: &mut Change<'_>,
    authenticated: Authenticated,
    old: Option<&SecretToken>,
    place: Place,
    now: Now,
    what: Event,
) -> Result<SignedIn, StoreError> {
    let session = store
        .change_sessions(|sessions| sessions.open(authenticated, old, App::random(), place, now))?;
    let device = SecretToken::from_random(App::random());
    store.change_throttle(|throttle| throttle.remember(device.hash(), now.powered_on))?;
    store.audit_entry(&entry(now, Actor::Owner, place.from, what))?;
    Ok(SignedIn { session, device })
}

/// Changes the password, ends all other sessions and knows no other browser any more. Gives
/// what this browser is known by from now on.
///
/// # Errors
/// When the store cannot be used.
pub async fn change_password(
    app: &Arc<App>,
    authenticated: Authenticated,
    password: NewPassword,
    session: Arc<SecretToken>,
    place: Place,
) -> Result<SecretToken, StoreError> {
    let password = app.hash(move || password.hash(App::random())).await;
    app.change(move |store, now| {
        store.change_owner(|owner| owner.with_password(authenticated, password))?;
        store.change_sessions(|sessions| sessions.revoke_others(Some(&session)))?;
        let device = SecretToken::from_random(App::random());
        store.change_throttle(|throttle| {
            throttle.forget_devices();
            throttle.remember(device.hash(), now.powered_on);
        })?;
        let what = Event::PasswordChanged;
        store.audit_entry(&entry(now, Actor::Owner, place.from, what))?;
        Ok(device)
    })
    .await
}

/// The app has shown that it has the secret: it is needed from now on. Gives the recovery codes.
///
/// # Errors
/// When the store cannot be used; within, when the code is not right.
pub async fn set_up_second(
    app: &Arc<App>,
    authenticated: Authenticated,
    pending: Pending,
    code: Zeroizing<String>,
    place: Place,
) -> Result<Result<Vec<RecoveryCode>, NotSetUp>, StoreError> {
    app.change(move |store, now| {
        let (factor, codes) = match pending.confirm(&code, App::random(), now.wall) {
            Ok(confirmed) => confirmed,
            Err(not) => return Ok(Err(not)),
        };
        store.change_owner(|owner| owner.with_second(authenticated, Some(factor)))?;
        let what = Event::SecondSetUp;
        store.audit_entry(&entry(now, Actor::Owner, place.from, what))?;
        Ok(Ok(codes.into()))
    })
    .await
}

/// The password is enough from now on.
///
/// # Errors
/// When the store cannot be used.
pub async fn remove_second(
    app: &Arc<App>,
    authenticated: Authenticated,
    place: Place,
) -> Result<(), StoreError> {
    app.change(move |store, now| {
        store.change_owner(|owner| owner.with_second(authenticated, None))?;
        let what = Event::SecondRemoved;
        store.audit_entry(&entry(now, Actor::Owner, place.from, what))
    })
    .await
}
