//! From the code to an owner; what is decided and why is told in [`crate::pairing`].

use super::entry;
use crate::app::App;
use crate::audit::{Actor, Entry, Event};
use crate::code::Code;
use crate::owner::SignedInBy;
use crate::pairing::{Pairing, Refusal, View};
use crate::password::{NewPassword, PasswordHash};
use crate::session::Place;
use crate::setup::MailPassword;
use crate::store::{Settings, StoreError};
use crate::token::SecretToken;
use std::net::IpAddr;
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;

/// What a browser with this grant may see. A grant that is shown is claimed.
///
/// # Errors
/// When the store cannot be used.
pub async fn look(app: &Arc<App>, grant: Option<Arc<SecretToken>>, from: IpAddr) -> Result<View> {
    let view = match grant {
        // Strangers look as often as they like: that takes no turn of those who change something.
        None => {
            app.view(move |store, now| {
                let pairing = store.pairing()?.ok_or(StoreError::NotBegun)?;
                Result::Ok(pairing.view(None, from, now.powered_on))
            })
            .await?
        }
        Some(grant) => {
            app.change(move |store, now| {
                // A refusal is what `view` says as well.
                let _ = store.decide_pairing(|pairing| pairing.claim(&grant, now.powered_on))?;
                let pairing = store.pairing()?.ok_or(StoreError::NotBegun)?;
                Result::Ok(pairing.view(Some(&grant), from, now.powered_on))
            })
            .await?
        }
    };
    if !matches!(view, View::AskCode { .. }) && app.code().is_some() {
        app.set_code(None);
    }
    Ok(view)
}

/// Whether the box has an owner.
///
/// # Errors
/// When the store cannot be used.
pub async fn is_finished(app: &Arc<App>) -> Result<bool> {
    app.view(|store, _| Result::Ok(store.owner()?.is_some()))
        .await
}

/// Somebody enters a code, and gets a grant if it is the right one.
///
/// # Errors
/// When the store cannot be used.
pub async fn enter(
    app: &Arc<App>,
    typed: String,
    place: Place,
) -> Result<std::result::Result<SecretToken, Refusal>> {
    app.change(move |store, now| {
        let Place { from, browser } = place;
        let answer = store
            .decide_pairing(|pairing| pairing.enter(&typed, from, App::random(), now.powered_on))?;
        let event = match &answer {
            Ok(_) => Some(Event::CodeRight { browser }),
            Err(Refusal::Wrong { .. } | Refusal::WrongThenWait { .. }) => Some(Event::CodeWrong),
            Err(_) => None,
        };
        if let Some(event) = event {
            store.audit_entry(&entry(now, Actor::Somebody, from, event))?;
        }
        Ok(answer)
    })
    .await
}

/// What a finished pairing gives to the browser that has finished it.
#[derive(Debug)]
pub struct Finished {
    /// Its session.
    pub session: SecretToken,
    /// By which the limits of sign-in know it.
    pub device: SecretToken,
}

/// The form is complete. The computer that wrote the card is paired in the same change.
///
/// # Errors
/// When the store cannot be used.
pub async fn finish(
    app: &Arc<App>,
    grant: Option<Arc<SecretToken>>,
    password: NewPassword,
    settings: Settings,
    place: Place,
) -> Result<std::result::Result<Finished, Refusal>> {
    let password = app.hash(move || password.hash(App::random())).await;
    let of_card = app.card.computer.clone();
    let finished = app
        .change(move |store, now| {
            let authenticated =
                match store.finish_pairing(grant.as_deref(), password, &settings, now)? {
                    Ok(authenticated) => authenticated,
                    Err(refusal) => return Result::Ok(Err(refusal)),
                };
            let device = SecretToken::from_random(App::random());
            let session = store.change_sessions(|sessions| {
                sessions.open(authenticated, None, App::random(), place, now)
            })?;
            store.change_throttle(|throttle| throttle.remember(device.hash(), now.powered_on))?;
            let signed_in = Event::SignedIn {
                by: SignedInBy::Pairing,
                browser: place.browser,
            };
            for event in [Event::Paired, signed_in] {
                store.audit_entry(&entry(now, Actor::Owner, place.from, event))?;
            }
            if let Some(computer) = of_card {
                computer.enrol_of_card(store, now)?;
            }
            Ok(Ok(Finished { session, device }))
        })
        .await?;
    if finished.is_ok() {
        app.set_code(None);
        app.changed.notify_one();
        app.relay.given();
    }
    Ok(finished)
}

/// A password for mail programs and its hash, which init hands to the mail service.
pub async fn mail_password(app: &App) -> (MailPassword, PasswordHash) {
    app.hash(|| {
        let password = MailPassword::from_random(App::random());
        let hash = password.hash(App::random());
        (password, hash)
    })
    .await
}

/// Makes a new code when the old one has expired. `true` if it did.
///
/// # Errors
/// When the store cannot be used.
pub async fn renew_expired(app: &Arc<App>) -> Result<bool> {
    let expired = app
        .view(|store, now| {
            let pairing = store
                .pairing()?
                .map(|pairing| pairing.settle(now.powered_on));
            Result::Ok(matches!(pairing, Some(Pairing::Expired { .. })))
        })
        .await?;
    if !expired {
        return Ok(false);
    }
    let code = Code::from_random(App::random());
    let shown = code.clone();
    let renewed = app
        .change(move |store, now| {
            let renewed = store.decide_pairing(|pairing| pairing.renew(code, now.powered_on))?;
            if renewed {
                for what in [Event::CodeExpired, Event::CodeRenewed] {
                    let (at, who, from) = (now, Actor::Box, None);
                    store.audit_entry(&Entry {
                        at,
                        who,
                        from,
                        what,
                    })?;
                }
            }
            Result::Ok(renewed)
        })
        .await?;
    if renewed {
        app.set_code(Some(shown));
    }
    Ok(renewed)
}
