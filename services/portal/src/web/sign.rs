//! Signing in and out.

use super::page::{Field, Kind, Trouble, fault, narrow};
use super::passkeys;
use super::visit::{Fields, Order, Visit};
use crate::actions::sign_in::{self, NotOwner, SignedIn, Try};
use crate::actions::{self, pairing, sessions};
use crate::app::App;
use crate::cookie::Cookie;
use crate::passkey::Site;
use crate::second::Refused;
use axum::extract::State;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use std::sync::Arc;

type Shell = State<Arc<App>>;

/// What to do about a sign-in that failed.
pub fn hint(not: &NotOwner) -> Option<&'static str> {
    match not {
        NotOwner::Password(_) => Some(
            "it is the one that you chose when the box was paired, not that of your mail; if it is lost, only a factory reset helps, which deletes the mail too",
        ),
        NotOwner::Wait(_) => Some(
            "somebody on your network entered wrong passwords; a browser in which you have signed in before does not wait for the others",
        ),
        NotOwner::Second(Refused::Wrong) => {
            Some("see that the phone sets its time by itself, or use one of the recovery codes")
        }
        NotOwner::Second(_) => None,
        NotOwner::Store(_) => Some("try again in a minute"),
    }
}

/// The status that says the same to programs.
pub fn status(not: &NotOwner) -> StatusCode {
    match not {
        NotOwner::Wait(_) => StatusCode::TOO_MANY_REQUESTS,
        NotOwner::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        NotOwner::Password(_) | NotOwner::Second(_) => StatusCode::FORBIDDEN,
    }
}

async fn page(
    app: &Arc<App>,
    site: Option<&Site>,
    wrong: Option<Markup>,
) -> Result<Response, Trouble> {
    let second = has_second(app).await?;
    let known = actions::passkeys::list(app).await?;
    let content = html! {
        @if let Some(wrong) = wrong { (wrong) }
        form method="post" action="/sign-in" {
            (Field {
                name: "password",
                label: "Admin password",
                kind: Kind::Password,
                complete: "current-password",
                ..Field::default()
            }.show())
            @if second { (second_field("f")) }
            button { "Sign in" }
        }
        (passkeys::offer(site, &known))
    };
    Ok(narrow(app, "Sign in", content))
}

/// The page again, with what is wrong.
pub async fn with_fault(
    app: &Arc<App>,
    site: Option<&Site>,
    status: StatusCode,
    wrong: Markup,
) -> Result<Response, Trouble> {
    let mut page = page(app, site, Some(wrong)).await?;
    *page.status_mut() = status;
    Ok(page)
}

/// The page again, with why somebody is not the owner.
pub async fn refuse(
    app: &Arc<App>,
    site: Option<&Site>,
    not: &NotOwner,
) -> Result<Response, Trouble> {
    let mut page = with_fault(app, site, status(not), fault(not, hint(not))).await?;
    if let NotOwner::Wait(wait) = not {
        let seconds = HeaderValue::from(wait.wait.as_secs().max(1));
        page.headers_mut().insert(RETRY_AFTER, seconds);
    }
    Ok(page)
}

/// Hands a browser what it is known by, and leads it in.
pub fn signed_in(signed: &SignedIn) -> Response {
    let cookies = AppendHeaders([
        (
            SET_COOKIE,
            Cookie::Session.set(&signed.session).as_str().to_owned(),
        ),
        (
            SET_COOKIE,
            Cookie::Device.set(&signed.device).as_str().to_owned(),
        ),
    ]);
    (cookies, Redirect::to("/")).into_response()
}

/// Asks for the second factor.
pub fn second_field(scope: &str) -> maud::Markup {
    Field {
        scope,
        name: "second",
        label: "Code of the app",
        help: Some("Six digits, or one of your recovery codes."),
        kind: Kind::Code,
        complete: "one-time-code",
        ..Field::default()
    }
    .show()
}

/// Whether there is a second factor.
pub async fn has_second(app: &Arc<App>) -> Result<bool, Trouble> {
    let look = app.view(|store, _| {
        let owner = store.owner()?;
        Ok::<_, Trouble>(owner.is_some_and(|owner| owner.second().is_some()))
    });
    look.await
}

/// GET /sign-in
pub async fn show(State(app): Shell, visit: Visit) -> Result<Response, Trouble> {
    if !pairing::is_finished(&app).await? {
        return Ok(Redirect::to("/pair").into_response());
    }
    if let Some(session) = visit.token(Cookie::Session)
        && sessions::find(&app, session, false).await?.is_some()
    {
        return Ok(Redirect::to("/").into_response());
    }
    page(&app, visit.site.as_ref(), None).await
}

/// POST /sign-in
pub async fn sign_in(State(app): Shell, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    if !pairing::is_finished(&app).await? {
        return Ok(Redirect::to("/pair").into_response());
    }
    let attempt = Try {
        place: visit.place,
        device: visit.token(Cookie::Device),
        password: fields.secret("password"),
        second: fields.secret("second"),
    };
    match sign_in::sign_in(&app, attempt, visit.token(Cookie::Session)).await {
        Ok(signed) => Ok(signed_in(&signed)),
        Err(NotOwner::Store(error)) => Err(error.into()),
        Err(not) => refuse(&app, visit.site.as_ref(), &not).await,
    }
}

/// POST /sign-out
pub async fn sign_out(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    sessions::sign_out(&app, order.by.session, order.by.place.from).await?;
    let clear = [(SET_COOKIE, Cookie::Session.clear())];
    Ok((clear, Redirect::to("/sign-in")).into_response())
}
