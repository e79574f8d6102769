//! Certificates that others trust: how they stand, and how they are got.

mod choice;
mod overview;

use super::page::{
    self, Page, Tone, Trouble, badge, fault, note, sentence, sentence_with_code, token,
};
use super::visit::{Order, Signed};
use super::words::times;
use crate::actions::certificates::{self, NotDone};
use crate::app::App;
use crate::audit::Actor;
use crate::time::Wall;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use choice::Typed;
use maud::{Markup, html};
pub use overview::{alarm, line};
use roost_service::certificates::{
    self as service, CertificateStatus, Directory, Failure, Role, Status,
};
use std::sync::Arc;

type Shell = State<Arc<App>>;

/// What is said above the page after an order, and what was typed.
#[derive(Default)]
struct Say {
    above: Option<Markup>,
    typed: Option<Typed>,
}

/// GET /certificates: a piece of it for a script.
pub async fn show(State(app): Shell, headers: HeaderMap, signed: Signed) -> Response {
    let status = certificates::status(&app).await;
    if headers.contains_key("x-roost-poll") {
        return page::piece(&stand(&status));
    }
    show_page(&app, &signed, &status, &Say::default())
}

fn show_page(app: &App, signed: &Signed, status: &Result<Status, NotDone>, say: &Say) -> Response {
    let content = html! {
        @if let Some(above) = &say.above { (above) }
        p.lead {
            "A certificate shows others that they talk to this box and to nobody else. Without one, browsers and "
            "mail programs warn, and other mail servers cannot tell."
        }
        div.cards {
            @match status {
                Err(_) => section.card { h2 { "Now" } (stand(status)) noscript { (again()) } },
                Ok(known) => {
                    @if !agreed(known) { (gains()) }
                    section.card {
                        h2 { "Now" }
                        @if settled(known) {
                            (stand(status))
                        } @else {
                            div aria-live="polite" data-poll="/certificates" data-every="5" { (stand(status)) }
                            noscript { (again()) }
                        }
                    }
                    (choice::card(signed, known, say.typed.as_ref()))
                    @if agreed(known) && !known.certificates.is_empty() { (orders(signed, known)) }
                }
            }
        }
    };
    Page::new(app, signed, "/certificates", "Certificates").show(content)
}

fn again() -> Markup {
    html! { p { a href="/certificates" { "Look again" } } }
}

fn agreed(status: &Status) -> bool {
    (status.choice.as_ref()).is_some_and(|choice| choice.terms_agreed)
}

const FOR_TRYING_OUT: &str =
    "Browsers do not trust these certificates: they come from Let’s Encrypt’s place for tests.";

fn for_trying_out(status: &Status) -> bool {
    let choice = status.choice.as_ref();
    choice.is_some_and(|choice| choice.directory == Directory::LetsEncryptStaging)
}

/// Whether nothing is under way.
fn settled(status: &Status) -> bool {
    let mut all = status.certificates.iter();
    !agreed(status) || all.all(|one| one.state == service::State::Valid)
}

/// What certificates are good for, for somebody who has not agreed yet.
fn gains() -> Markup {
    html! {
        section.card {
            h2 { "What you gain" }
            ul {
                li { "Browsers and mail programs trust the box, wherever you are: no more warnings, and passkeys work." }
                li { "Other mail servers can see that they talk to your box, and nobody can listen in on the way (MTA-STS and DANE)." }
            }
            h3 { "What it takes" }
            p {
                "Your domain must be delegated to this box, which proves to the certificate authority that it is yours: "
                "the page " a href="/dns" { "DNS" } " shows how. The box does the rest by itself, now and every few weeks."
            }
        }
    }
}

/// How certificates stand.
fn stand(status: &Result<Status, NotDone>) -> Markup {
    let status = match status {
        Ok(status) => status,
        Err(why) => {
            return html! {
                p { (badge(Tone::Bad, "does not answer")) " " (sentence(why)) }
                p { "The box goes on with the certificates that it has. " a href={ "/logs?service=" (service::SERVICE) } { "Its log" } " says more." }
            };
        }
    };
    html! {
        p { (status.summary) }
        @if for_trying_out(status) {
            p { (badge(Tone::Warning, "for trying out")) " " (FOR_TRYING_OUT) }
        }
        @for one in &status.certificates {
            @let (tone, word) = state(one.state);
            h3 { (title(&one.id)) " " (badge(tone, word)) }
            dl {
                dt { "Names" } dd { @for name in &one.names { (name) br; } }
                @if let Some((_, until)) = one.valid { dt { "Valid until" } dd { (Wall(until)) } }
                @if let Some(next) = one.next_at { dt { (next_title(one)) } dd { (Wall(next)) } }
            }
            @match &one.failure {
                Some(failure) => (failed(failure)),
                None => p.detail { (sentence(&one.summary)) },
            }
        }
    }
}

fn next_title(one: &CertificateStatus) -> &'static str {
    match one.failure {
        Some(_) => "Next try",
        None => "Next look",
    }
}

fn failed(failure: &Failure) -> Markup {
    html! {
        p {
            strong { (sentence(format!("{} failed", failure.what))) } " "
            @if let Some(name) = &failure.name { "The name was " code { (name) } ". " }
            "It failed " (times(failure.times)) ", last at " (Wall(failure.at)) "."
        }
        p { strong { "Why: " } (sentence(&failure.why)) }
        p { strong { "What to do: " } (sentence_with_code(&failure.hint)) }
    }
}

/// What a certificate is for.
fn title(id: &str) -> String {
    match id {
        service::MAIL => "Mail server".to_owned(),
        service::PORTAL => "These pages".to_owned(),
        domain => format!("Set-up pages of {domain}"),
    }
}

fn state(state: service::State) -> (Tone, &'static str) {
    match state {
        service::State::Missing => (Tone::Warning, "not there yet"),
        service::State::Valid => (Tone::Good, "holds"),
        service::State::Failing => (Tone::Warning, "holds, but its renewal fails"),
        service::State::Expired => (Tone::Bad, "has expired"),
    }
}

/// What can be done about each certificate.
fn orders(signed: &Signed, status: &Status) -> Markup {
    html! {
        section.card {
            h2 { "By hand" }
            p { "The box renews certificates by itself, long before they end. Nothing of this is needed in everyday life." }
            @for one in &status.certificates {
                @let name = title(&one.id);
                details {
                    summary { (name) }
                    (order(signed, "renew", &one.id, html! {
                        p { "Orders a new certificate for the same key now, whatever the box was waiting for. If the authority has named a time, that stays." }
                        button.quiet aria-label={ "Renew now: " (name) } { "Renew now" }
                    }))
                    h3 { "Another key" }
                    @for key in &one.tls_keys {
                        p.detail {
                            (role(key.role)) ": " code.long { (key.sha256) }
                            @match key.published_since {
                                Some(since) => { ", in the zone since " (Wall(since)) }
                                None => ", not in the zone yet"
                            }
                        }
                    }
                    (order(signed, "switch-key", &one.id, html! {
                        p { "The next key takes over once other mail servers have had time to see it in the zone; that takes some hours. The box does that once a year by itself." }
                        button.quiet aria-label={ "Take the next key: " (name) } { "Take the next key" }
                    }))
                    @if one.serial.is_some() {
                        h3 { "Revoke" }
                        (order(signed, "revoke", &one.id, html! {
                            p { "The authority then says to everybody that this certificate is void. The box gets another one with the next key; until that is there, programs may refuse to talk to the box." }
                            label.check { input type="checkbox" name="compromised" value="yes"; span { "Somebody else may have its key" } }
                            label.check { input type="checkbox" name="sure" value="yes" required; span { "I am sure" } }
                            button.danger aria-label={ "Revoke: " (name) } { "Revoke it" }
                        }))
                    }
                }
            }
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Current => "Key now",
        Role::Next => "Next key",
        Role::Previous => "Key before",
    }
}

fn order(signed: &Signed, what: &str, id: &str, content: Markup) -> Markup {
    html! {
        form method="post" action="/certificates" {
            (token(&signed.form))
            input type="hidden" name="do" value=(what);
            input type="hidden" name="id" value=(id);
            (content)
        }
    }
}

/// POST /certificates
pub async fn change(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let from = order.by.place.from;
    let fields = &order.fields;
    let id = fields.get("id").to_owned();
    let owner = Actor::Owner;
    let mut typed = None;
    let result = match fields.get("do") {
        "set" if fields.get("agree") == "yes" => {
            let given = typed.insert(Typed::of(fields));
            let before = certificates::status(&app).await;
            match before {
                Ok(before) => {
                    let choice = given.choice(before.choice.as_ref());
                    let done = certificates::set(&app, choice, owner, from).await;
                    done.map(|()| "It is kept. The box orders certificates now; see below how that goes.")
                }
                Err(not) => Err(not),
            }
        }
        "set" => {
            typed = Some(Typed::of(fields));
            Err(NotDone::Refused {
                why: "nothing is ordered without your consent to the authority’s terms".into(),
            })
        }
        "renew" => {
            let done = certificates::renew(&app, id, owner, from).await;
            done.map(|()| "A new certificate is being ordered; see below what comes of it.")
        }
        "switch-key" => {
            let done = certificates::switch_key(&app, id, owner, from).await;
            done.map(|()| "The next key takes over as soon as that does no harm.")
        }
        "revoke" if fields.get("sure") == "yes" => {
            let compromised = fields.get("compromised") == "yes";
            let done = certificates::revoke(&app, id, compromised, owner, from).await;
            done.map(|()| "The certificate is being revoked, and another one ordered.")
        }
        _ => {
            let status = certificates::status(&app).await;
            return Ok(show_page(&app, &order.by, &status, &Say::default()));
        }
    };
    let (code, say) = match result {
        Ok(what) => {
            let above = Some(note(Tone::Good, html! { p { (what) } }));
            (StatusCode::OK, Say { above, typed: None })
        }
        Err(NotDone::Store(error)) => return Err(error.into()),
        Err(not) => {
            let (code, hint) = match &not {
                NotDone::NoAnswer(_) => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    Some(
                        "it may be starting: look below how it stands, and try again in a minute; the page Logs says more",
                    ),
                ),
                _ => (StatusCode::UNPROCESSABLE_ENTITY, None),
            };
            let above = Some(fault(&not, hint));
            (code, Say { above, typed })
        }
    };
    let status = certificates::status(&app).await;
    let mut page = show_page(&app, &order.by, &status, &say);
    *page.status_mut() = code;
    Ok(page)
}
