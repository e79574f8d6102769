//! Password, second factor, passkeys, browsers that are signed in.

use super::page::{Field, Kind, Page, Refusal, Tone, Trouble, badge, drawing, fault, note, token};
use super::passkeys;
use super::sign::{self, has_second, second_field};
use super::visit::{Order, Signed};
use super::words::ago;
use crate::actions::sign_in::{self, NotOwner, Try};
use crate::actions::{self, sessions};
use crate::app::App;
use crate::cookie::Cookie;
use crate::owner::{Authenticated, SignedInBy};
use crate::password::NewPassword;
use crate::second::{NotSetUp, Pending, RECOVERY_CODES};
use crate::session::SessionId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use maud::{Markup, html};
use roost_service::names::Reason;
use std::sync::Arc;
use zeroize::Zeroizing;

type Shell = State<Arc<App>>;

/// What is said above the page.
pub enum Say<'a> {
    Nothing,
    Fault(StatusCode, Markup),
    Done(&'a str),
    NotOwner(&'a NotOwner),
    BadPassword(&'a Reason),
}

/// Fields by which the owner shows once more who they are.
pub fn prove_fields(scope: &str, second: bool) -> Markup {
    html! {
        (Field {
            scope,
            name: "password",
            label: "Your password now",
            kind: Kind::Password,
            complete: "current-password",
            ..Field::default()
        }.show())
        @if second { (second_field(scope)) }
    }
}

/// Checks those fields.
pub async fn prove(app: &Arc<App>, order: &Order) -> Result<Authenticated, NotOwner> {
    let attempt = Try {
        place: order.by.place,
        device: order.by.device.clone(),
        password: order.fields.secret("password"),
        second: order.fields.secret("second"),
    };
    sign_in::prove(app, attempt).await
}

pub async fn page(app: &Arc<App>, signed: &Signed, say: Say<'_>) -> Result<Response, Trouble> {
    let (sessions, now) = app
        .view(|store, now| Ok::<_, Trouble>((store.sessions()?, now)))
        .await?;
    let owner = app
        .view(|store, _| Ok::<_, Trouble>(store.owner()?))
        .await?;
    let second = owner.as_ref().and_then(|owner| owner.second());
    let left = second.map(|second| second.recovery_left());
    let known = actions::passkeys::list(app).await?;
    let id = signed.id;
    let wrong = match say {
        Say::BadPassword(reason) => Some(reason),
        _ => None,
    };
    let content = html! {
        @match &say {
            Say::Nothing => {}
            Say::Fault(_, fault) => (fault),
            Say::Done(what) => (note(Tone::Good, html! { p { (what) } })),
            Say::NotOwner(not) => (fault(*not, sign::hint(not))),
            Say::BadPassword(_) => (fault("The password was not changed", None)),
        }
        section.card {
            h2 { "App for codes" }
            @match left {
                None => {
                    p {
                        "With an app on your phone, signing in needs the phone as well as the password. "
                        "Somebody who has read your password over your shoulder then gets no further."
                    }
                    form method="post" action="/security/app" { (token(&signed.form)) button { "Set up an app" } }
                }
                Some(left) => {
                    p { (badge(Tone::Good, "on")) " Signing in needs a code of the app. " (recovery_left(left)) }
                    details {
                        summary { "New app or new recovery codes" }
                        p { "Setting it up again replaces the app and all recovery codes." }
                        form method="post" action="/security/app" { (token(&signed.form)) button.quiet { "Set up again" } }
                    }
                    details {
                        summary { "Sign in with the password alone" }
                        form method="post" action="/security/app/remove" {
                            (token(&signed.form))
                            (prove_fields("remove", true))
                            button.danger { "Turn the app off" }
                        }
                    }
                }
            }
        }
        (passkeys::section(app, signed, &known, left.is_some(), now))
        section.card {
            h2 { "Password" }
            p {
                "A new password signs out all other browsers."
                @if !known.is_empty() { " Passkeys go on working." }
            }
            form method="post" action="/security/password" {
                (token(&signed.form))
                (prove_fields("change", left.is_some()))
                (Field {
                    name: "new",
                    label: "New password",
                    kind: Kind::Password,
                    help: Some("At least ten letters; four words that have nothing to do with each other are good."),
                    complete: "new-password",
                    wrong,
                    ..Field::default()
                }.show())
                button { "Change the password" }
            }
        }
        section.card {
            h2 { "Signed-in browsers" }
            ul.rows {
                @for session in sessions.list(now.powered_on) {
                    li {
                        div {
                            strong { (session.browser) }
                            @if session.id == id { " " (badge(Tone::Good, "this one")) }
                            p.detail {
                                "From " (session.from) ", signed in " (how(session.by)) " " (ago(session.since, now))
                                ", last used " (ago(session.used, now)) "."
                            }
                        }
                        @if session.id != id {
                            form method="post" action="/security/end" {
                                (token(&signed.form))
                                input type="hidden" name="id" value=(session.id.0);
                                button.quiet aria-label={ "Sign out " (session.browser) " from " (session.from) } { "Sign out" }
                            }
                        }
                    }
                }
            }
            form method="post" action="/security/end-others" {
                (token(&signed.form))
                button.quiet { "Sign out all other browsers" }
            }
        }
    };
    let mut page = Page::new(app, signed, "/security", "Security").show(content);
    match say {
        Say::NotOwner(not) => *page.status_mut() = sign::status(not),
        Say::Fault(status, _) => *page.status_mut() = status,
        Say::BadPassword(_) => *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY,
        Say::Nothing | Say::Done(_) => {}
    }
    Ok(page)
}

fn recovery_left(left: usize) -> Markup {
    html! {
        @match left {
            0 => "You have no recovery code left: without the phone you cannot sign in any more. Set the app up again for new ones.",
            1 => "One recovery code is left. Set the app up again for new ones.",
            _ => { (left) " of " (RECOVERY_CODES) " recovery codes are left." }
        }
    }
}

fn how(by: SignedInBy) -> &'static str {
    match by {
        SignedInBy::Pairing => "by the pairing code",
        SignedInBy::Password => "with the password",
        SignedInBy::App => "with password and app",
        SignedInBy::Recovery => "with password and recovery code",
        SignedInBy::Passkey => "with a passkey",
    }
}

/// GET /security
pub async fn show(State(app): Shell, signed: Signed) -> Result<Response, Trouble> {
    page(&app, &signed, Say::Nothing).await
}

/// POST /security/password
pub async fn change_password(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let chosen = app.view(|store, _| store.settings()).await?;
    let known = [
        app.settings.name.clone(),
        chosen.domain.unwrap_or_default(),
        chosen.first_account.unwrap_or_default(),
    ];
    let new = order.fields.secret("new");
    // Judging a password takes a moment, so it takes its turn like hashing one.
    let chosen = app
        .hash(move || NewPassword::choose(&new, &known.each_ref().map(String::as_str)))
        .await;
    let new = match chosen {
        Ok(new) => new,
        Err(reason) => return page(&app, &order.by, Say::BadPassword(&reason)).await,
    };
    let authenticated = match prove(&app, &order).await {
        Ok(authenticated) => authenticated,
        Err(NotOwner::Store(error)) => return Err(error.into()),
        Err(not) => return page(&app, &order.by, Say::NotOwner(&not)).await,
    };
    let Order { by, .. } = order;
    let device =
        sign_in::change_password(&app, authenticated, new, by.session.clone(), by.place).await?;
    let say = Say::Done("The password is changed, and all other browsers are signed out.");
    let cookie = [(SET_COOKIE, Cookie::Device.set(&device).as_str().to_owned())];
    Ok((cookie, page(&app, &by, say).await?).into_response())
}

/// POST /security/app
pub async fn begin_app(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    match Pending::begin(App::random(), app.now().wall) {
        Ok(pending) => {
            app.begin_second(order.by.id, pending);
            Ok(Redirect::to("/security/app").into_response())
        }
        Err(why) => {
            let refusal = Refusal::new("The app was not set up", why)
                .hint("see on the overview whether the box reaches the internet")
                .link("/security", "Back");
            Err(Trouble::Refused(StatusCode::CONFLICT, refusal))
        }
    }
}

/// GET /security/app
pub async fn app(State(app): Shell, signed: Signed) -> Result<Response, Trouble> {
    match app.pending_second(signed.id) {
        Some(pending) => app_page(&app, &signed, &pending, None).await,
        None => Ok(Redirect::to("/security").into_response()),
    }
}

async fn app_page(
    app: &Arc<App>,
    signed: &Signed,
    pending: &Pending,
    wrong: Option<Markup>,
) -> Result<Response, Trouble> {
    let chosen = app.view(|store, _| store.settings()).await?;
    let domain = chosen.domain.unwrap_or_else(|| app.settings.name.clone());
    let url = pending.url(&app.settings.name, &domain);
    let code = fast_qr::QRBuilder::new(url.as_str()).build();
    let second = has_second(app).await?;
    let content = html! {
        @if let Some(wrong) = wrong { (wrong) }
        ol.steps-to-do {
            li {
                p { "Open an app for one-time codes on your phone and let it read this picture." }
                @if let Ok(code) = code {
                    (drawing(SvgBuilder::default().margin(4).to_str(&code), "QR code for the app"))
                }
                details {
                    summary { "Type it instead" }
                    p { "Choose “time based” and enter this key:" }
                    p.secret { output { (pending.text().as_str()) } }
                }
            }
            li {
                p { "Enter what the app shows now, and your password." }
                form method="post" action="/security/app/confirm" {
                    (token(&signed.form))
                    (Field {
                        name: "code",
                        label: "Six digits that the app shows",
                        kind: Kind::Digits,
                        complete: "one-time-code",
                        ..Field::default()
                    }.show())
                    (prove_fields("confirm", second))
                    button { "Turn it on" }
                    " " a.button.quiet href="/security" { "Not now" }
                }
            }
        }
    };
    Ok(Page::new(app, signed, "/security", "Set up an app for codes").show(content))
}

/// POST /security/app/confirm
pub async fn confirm_app(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let Some(pending) = app.pending_second(order.by.id) else {
        return Ok(Redirect::to("/security").into_response());
    };
    let refused = async |status: StatusCode, markup: Markup| -> Result<Response, Trouble> {
        let mut page = app_page(&app, &order.by, &pending, Some(markup)).await?;
        *page.status_mut() = status;
        Ok(page)
    };
    let authenticated = match prove(&app, &order).await {
        Ok(authenticated) => authenticated,
        Err(NotOwner::Store(error)) => return Err(error.into()),
        Err(not) => return refused(sign::status(&not), fault(&not, sign::hint(&not))).await,
    };
    let code: Zeroizing<String> = order.fields.secret("code");
    let set_up =
        sign_in::set_up_second(&app, authenticated, pending.clone(), code, order.by.place).await?;
    let codes = match set_up {
        Ok(codes) => codes,
        Err(not @ (NotSetUp::WrongCode | NotSetUp::NoClock)) => {
            return refused(StatusCode::UNPROCESSABLE_ENTITY, fault(not, None)).await;
        }
    };
    app.end_second(order.by.id);
    let content = html! {
        (note(Tone::Good, html! { p { strong { "The app is on." } " You need it from the next sign-in." } }))
        section.card {
            h2 { "Recovery codes" }
            p {
                "Each works once in place of the app, also while the box does not know the time. "
                "Write them down where you find them without the phone: they are shown only now."
            }
            ul.codes #recovery-codes {
                @for code in &codes { li { code { (code.reveal().as_str()) } } }
            }
            p {
                button.quiet type="button" hidden data-copy="recovery-codes" { "Copy all" } " "
                a.button href="/security" { "I have them" }
            }
        }
    };
    Ok(Page::new(&app, &order.by, "/security", "Recovery codes").show(content))
}

/// POST /security/app/remove
pub async fn remove_app(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    match prove(&app, &order).await {
        Ok(authenticated) => {
            sign_in::remove_second(&app, authenticated, order.by.place).await?;
            let say = Say::Done("The app is off: the password alone is enough from now on.");
            page(&app, &order.by, say).await
        }
        Err(NotOwner::Store(error)) => Err(error.into()),
        Err(not) => page(&app, &order.by, Say::NotOwner(&not)).await,
    }
}

/// POST /security/end
pub async fn end_session(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    // What is no number names no session.
    if let Ok(id) = order.fields.get("id").parse() {
        sessions::end(&app, SessionId(id), order.by.place.from).await?;
    }
    page(&app, &order.by, Say::Done("That browser is signed out.")).await
}

/// POST /security/end-others
pub async fn end_others(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let by = &order.by;
    sessions::end_others(&app, by.session.clone(), by.device.clone(), by.place.from).await?;
    page(&app, by, Say::Done("All other browsers are signed out.")).await
}
