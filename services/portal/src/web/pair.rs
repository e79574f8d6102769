//! The first pages: code, form, done.

use super::page::{
    Field, Kind, Page, Refusal, Tone, Trouble, fault, narrow, note, refusal_page, sentence,
    sentence_with_code, token,
};
use super::visit::{Fields, Order, Signed, TOKEN, Visit};
use super::{health, page};
use crate::actions::{backups, pairing};
use crate::app::{App, Shown};
use crate::audit::Actor;
use crate::cookie::Cookie;
use crate::csrf::FormToken;
use crate::pairing::{Refusal as No, View};
use crate::setup::{self, Fault, Form, Known};
use crate::store::Settings;
use axum::extract::State;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use std::sync::Arc;

type Shell = State<Arc<App>>;

/// GET /pair
pub async fn show(State(app): Shell, visit: Visit) -> Result<Response, Trouble> {
    let grant = visit.token(Cookie::Pairing);
    let view = pairing::look(&app, grant.clone(), visit.place.from).await?;
    Ok(match (view, grant) {
        (View::AskCode { wait, .. }, _) => {
            let note = (!wait.is_zero()).then_some(No::Wait { wait });
            code_page(&app, note)
        }
        (View::Form, Some(grant)) => {
            let form = FormToken::of(&grant);
            setup_page(&app, &form, &Form::default(), &[])
        }
        (View::Form, None) => code_page(&app, None),
        (View::Closed(No::Finished), _) => Redirect::to("/sign-in").into_response(),
        (View::Closed(no), _) => closed_page(&app, no),
    })
}

fn closed_page(app: &App, no: No) -> Response {
    let content = html! {
        p { (sentence(no)) }
        p { (sentence_with_code(no.hint())) }
        p { a.button href="/pair" { "Look again" } }
    };
    narrow(app, "This box is waiting", content)
}

fn code_page(app: &App, no: Option<No>) -> Response {
    let field = setup::Field::Code;
    let content = html! {
        p.lead { "Welcome. Let’s make this box yours: it takes three minutes." }
        @if let Some(no) = no { (fault(no, Some(no.hint()))) }
        form method="post" action="/pair" data-code-form {
            (Field {
                name: field.name(),
                label: field.label(),
                help: Some(field.help()),
                kind: Kind::Code,
                ..Field::default()
            }.show())
            button { "Continue" }
        }
        p.aside {
            "Your browser warns that it does not know this box: nobody but the box itself vouches for it yet. "
            "It is the right one if the browser’s details of the certificate show the fingerprint that "
            code { "roost flash" } " has printed."
        }
    };
    let mut page = narrow(app, "Pair with this box", content);
    match no {
        None => {}
        Some(No::Wait { wait } | No::WrongThenWait { wait }) => {
            *page.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            let seconds = HeaderValue::from(wait.as_secs().max(1));
            page.headers_mut().insert(RETRY_AFTER, seconds);
        }
        Some(_) => *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY,
    }
    page
}

/// POST /pair
pub async fn enter(State(app): Shell, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let typed = fields.get(setup::Field::Code.name()).to_owned();
    Ok(match pairing::enter(&app, typed, visit.place).await? {
        Ok(grant) => {
            let cookie = Cookie::Pairing.set(&grant);
            (
                [(SET_COOKIE, cookie.as_str().to_owned())],
                Redirect::to("/pair"),
            )
                .into_response()
        }
        Err(No::Finished) => Redirect::to("/sign-in").into_response(),
        Err(no @ (No::Elsewhere | No::Expired)) => closed_page(&app, no),
        Err(no) => code_page(&app, Some(no)),
    })
}

fn setup_page(app: &App, token_of: &FormToken, form: &Form<'_>, faults: &[Fault]) -> Response {
    let image = &app.settings;
    let mailbox = image.mailbox.as_ref();
    let wrong = |field| {
        let fault = faults.iter().find(|fault| fault.field == field);
        fault.map(|fault| &fault.reason)
    };
    let field = |field: setup::Field, kind, value, required, complete| {
        Field {
            scope: "f",
            name: field.name(),
            label: field.label(),
            help: Some(field.help()),
            kind,
            value,
            wrong: wrong(field),
            required,
            complete,
        }
        .show()
    };
    let or = |typed, known| if str::is_empty(typed) { known } else { typed };
    let domain = or(form.domain, mailbox.map_or("", |mailbox| &mailbox.domain));
    let account = or(
        form.account,
        mailbox.map_or("", |mailbox| &mailbox.account.name),
    );
    let content = html! {
        p.lead { "The code is right. Three things about you, and the box starts to work." }
        @if !faults.is_empty() {
            (fault("One of the answers cannot be used; nothing was changed", None))
        }
        form method="post" action="/pair/setup" {
            (token(token_of))
            (field(setup::Field::Password, Kind::Password, "", true, "new-password"))
            (field(setup::Field::Domain, Kind::Text, domain, true, "off"))
            (field(setup::Field::Account, Kind::Text, account, true, "username"))
            (field(setup::Field::Relay, Kind::Long, form.relay, false, "off"))
            @if let Some(computer) = &app.card.computer {
                p.detail {
                    "The computer that wrote the card, " strong { (computer.name()) } ", may update this box and look into it from "
                    "then on, without a password. The page Laptops removes it."
                }
            }
            button { "Finish" }
        }
    };
    let mut page = narrow(app, "Set up your box", content);
    if !faults.is_empty() {
        *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    page
}

/// POST /pair/setup
pub async fn set_up(State(app): Shell, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let grant = visit.token(Cookie::Pairing);
    let view = pairing::look(&app, grant.clone(), visit.place.from).await?;
    let grant = match (view, grant) {
        (View::Form, Some(grant)) => grant,
        (View::Closed(No::Finished), _) => return Ok(Redirect::to("/sign-in").into_response()),
        (View::Closed(no), _) => return Ok(closed_page(&app, no)),
        _ => return Ok(code_page(&app, Some(No::NoGrant))),
    };
    let token_of = FormToken::of(&grant);
    if let Err(foreign) = token_of.check(fields.get(TOKEN)) {
        let refusal =
            Refusal::new("Nothing was done", foreign).link("/pair", "Load the form again");
        return Ok(refusal_page(StatusCode::FORBIDDEN, &refusal));
    }
    // Judging a password takes a moment, so it takes its turn like hashing one.
    let (shared, sent) = (app.clone(), fields.clone());
    let checked = app.hash(move || read(&sent).check(known(&shared))).await;
    let setup = match checked {
        Ok(setup) => setup,
        Err(faults) => return Ok(setup_page(&app, &token_of, &read(&fields), &faults)),
    };
    let mut settings = Settings::from(&setup);
    let image = app.settings.mailbox.as_ref();
    let as_in_image = image.is_some_and(|image| {
        image.domain == setup.domain.as_str() && image.account.name == setup.account.as_str()
    });
    let mut shown = Shown::OfImage;
    if !as_in_image {
        let (password, hash) = pairing::mail_password(&app).await;
        settings.mail_password = Some(hash);
        shown = Shown::Password(password);
    }
    let finished = pairing::finish(&app, Some(grant), setup.password, settings, visit.place);
    match finished.await? {
        Ok(finished) => {
            app.show_once(&finished.session, shown);
            let cookies = AppendHeaders([
                (
                    SET_COOKIE,
                    Cookie::Session.set(&finished.session).as_str().to_owned(),
                ),
                (
                    SET_COOKIE,
                    Cookie::Device.set(&finished.device).as_str().to_owned(),
                ),
                (SET_COOKIE, Cookie::Pairing.clear()),
            ]);
            Ok((cookies, Redirect::to("/welcome")).into_response())
        }
        Err(No::Finished) => Ok(Redirect::to("/sign-in").into_response()),
        Err(no) => Ok(closed_page(&app, no)),
    }
}

fn read(fields: &Fields) -> Form<'_> {
    Form {
        password: fields.get(setup::Field::Password.name()),
        domain: fields.get(setup::Field::Domain.name()),
        account: fields.get(setup::Field::Account.name()),
        relay: fields.get(setup::Field::Relay.name()),
    }
}

fn known(app: &App) -> Known<'_> {
    let mailbox = app.settings.mailbox.as_ref();
    Known {
        box_name: &app.settings.name,
        domain: mailbox.map_or("", |mailbox| &mailbox.domain),
        account: mailbox.map_or("", |mailbox| &mailbox.account.name),
        code: app.card.code.as_ref(),
    }
}

/// GET /welcome: the mail password, until the owner has it, and what the box is doing.
pub async fn welcome(State(app): Shell, signed: Signed) -> Result<Response, Trouble> {
    let chosen = app.view(|store, _| store.settings()).await?;
    let address = match (&chosen.first_account, &chosen.domain) {
        (Some(account), Some(domain)) => format!("{account}@{domain}"),
        _ => String::new(),
    };
    let password = app.shown(&signed.session, |shown| match shown {
        Some(Shown::Password(password)) => html! {
            section.card {
                h2 { "Your mail password" }
                p {
                    "For " strong { (address) } " in every mail program. Write it down or copy it into your "
                    "programs now: it is shown only here, and for a quarter of an hour at most."
                }
                div.secret {
                    output #mail-password { (password.reveal()) }
                    button.quiet type="button" hidden data-copy="mail-password" { "Copy" }
                }
                form method="post" action="/welcome" {
                    (token(&signed.form))
                    button { "I have it" }
                }
            }
        },
        Some(Shown::OfImage) => html! {
            section.card {
                h2 { "Your mail password" }
                p { "It is the one that " code { "roost.toml" } " was given for " strong { (address) } "." }
            }
        },
        None => html! {},
    });
    let progress = health::progress(&app).await;
    // Until the password was taken, and not again: whoever comes by later finds it on the page Backups.
    let is_new = app.shown(&signed.session, |shown| shown.is_some());
    let code = match is_new {
        true => backups::code(&app, Actor::Owner, signed.place.from)
            .await
            .ok(),
        false => None,
    };
    let content = html! {
        (note(Tone::Good, html! { p { strong { "This box is yours." } " You are signed in in this browser." } }))
        (password)
        @if let Some(code) = &code {
            section.card {
                h2 { "Your recovery code" }
                p {
                    "It opens every backup of this box. Write the words on paper, and keep that away from the box: without them a "
                    "backup is lost. The page " a href="/backups" { "Backups" } " shows them again, and sets where backups go."
                }
                (super::backups::words(code))
            }
        }
        section.card {
            h2 { "What the box is doing" }
            (live_progress(&progress))
            noscript { p { a href="/progress" { "Follow it on a page that looks again by itself" } } }
        }
        p { a.button href="/" { "Go to the overview" } }
    };
    Ok(Page::new(&app, &signed, "", "All set").show(content))
}

fn live_progress(progress: &Markup) -> Markup {
    html! { div #progress aria-live="polite" data-poll="/progress" data-every="3" { (progress) } }
}

/// POST /welcome
pub async fn forget_password(State(app): Shell, order: Order) -> Response {
    app.show_no_more(&order.by.session);
    Redirect::to("/welcome").into_response()
}

/// GET /progress: a piece of a page for a script, a page for a browser without.
pub async fn progress(
    State(app): Shell,
    headers: axum::http::HeaderMap,
    signed: Signed,
) -> Response {
    let progress = health::progress(&app).await;
    if headers.contains_key("x-roost-poll") {
        return page::piece(&progress);
    }
    let content = html! {
        (live_progress(&progress))
        p { a.button href="/" { "Go to the overview" } }
    };
    Page::new(&app, &signed, "", "What the box is doing")
        .refresh(5)
        .show(content)
}
