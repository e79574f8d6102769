//! Browsers that are signed in.

use super::entry;
use crate::app::App;
use crate::audit::{Actor, Event};
use crate::session::SessionId;
use crate::store::StoreError;
use crate::token::SecretToken;
use std::net::IpAddr;
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;

/// The session of this token, if it is not over. `click`: the owner did something, a page that looks
/// by itself is no click.
///
/// # Errors
/// When the store cannot be used.
pub async fn find(
    app: &Arc<App>,
    token: Arc<SecretToken>,
    click: bool,
) -> Result<Option<SessionId>> {
    let seen = token.clone();
    let found = app
        .view(move |store, now| {
            let sessions = store.sessions()?;
            let session = sessions.find(&seen, now.powered_on);
            Result::Ok(session.map(|session| session.id))
        })
        .await?;
    if click && found.is_some() {
        app.change(move |store, now| {
            store.change_sessions(|sessions| sessions.used(&token, now))?;
            Result::Ok(())
        })
        .await?;
    }
    Ok(found)
}

/// Signs this browser out.
///
/// # Errors
/// When the store cannot be used.
pub async fn sign_out(app: &Arc<App>, token: Arc<SecretToken>, from: IpAddr) -> Result<()> {
    app.change(move |store, now| {
        if store.change_sessions(|sessions| sessions.close(&token))? {
            store.audit_entry(&entry(now, Actor::Owner, from, Event::SignedOut))?;
        }
        Result::Ok(())
    })
    .await
}

/// Ends a session of the list; `false` if there is none.
///
/// # Errors
/// When the store cannot be used.
pub async fn end(app: &Arc<App>, id: SessionId, from: IpAddr) -> Result<bool> {
    app.change(move |store, now| {
        let sessions = store.sessions()?;
        let session = sessions.list(now.powered_on).find(|s| s.id == id);
        let Some(browser) = session.map(|session| session.browser) else {
            return Result::Ok(false);
        };
        store.change_sessions(|sessions| sessions.revoke(id))?;
        let what = Event::SessionEnded { browser };
        store.audit_entry(&entry(now, Actor::Owner, from, what))?;
        Ok(true)
    })
    .await
}

/// Ends all sessions but this one, and knows no other browser any more.
///
/// # Errors
/// When the store cannot be used.
pub async fn end_others(
    app: &Arc<App>,
    token: Arc<SecretToken>,
    device: Option<Arc<SecretToken>>,
    from: IpAddr,
) -> Result<()> {
    app.change(move |store, now| {
        store.change_sessions(|sessions| sessions.revoke_others(Some(&token)))?;
        store.change_throttle(|throttle| {
            throttle.forget_devices();
            if let Some(device) = &device {
                throttle.remember(device.hash(), now.powered_on);
            }
        })?;
        store.audit_entry(&entry(now, Actor::Owner, from, Event::OthersEnded))
    })
    .await
}
