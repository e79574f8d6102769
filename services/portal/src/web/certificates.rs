//! Certificates that others trust: how they stand, and how they are got.

use super::page::{
    self, Field, Kind, Page, Tone, Trouble, badge, fault, note, sentence, sentence_with_code, token,
};
use super::visit::{Fields, Order, Signed};
use super::words::times;
use crate::actions::certificates::{self, NotDone};
use crate::app::App;
use crate::audit::Actor;
use crate::time::Wall;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use roost_service::certificates::{
    self as service, CertificateStatus, Choice, Directory, Failure, Role, Status,
};
use std::sync::Arc;

type Shell = State<Arc<App>>;

/// Where Let's Encrypt's terms of service are.
const TERMS: &str = "https://letsencrypt.org/repository/";
/// The values of the field `authority`, and what people read.
const AUTHORITIES: [(&str, &str); 3] = [
    ("letsencrypt", "Let’s Encrypt"),
    (
        "staging",
        "Let’s Encrypt, for trying out: browsers do not trust it",
    ),
    ("other", "Another, by its address"),
];

/// What is said above the page after an order, and what was typed.
#[derive(Default)]
struct Say {
    above: Option<Markup>,
    typed: Option<Typed>,
}

/// The fields of the choice.
struct Typed {
    authority: String,
    directory: String,
    roots: String,
    contact: String,
    portal: String,
}

impl Typed {
    fn of(fields: &Fields) -> Self {
        let text = |name| fields.get(name).trim().to_owned();
        Self {
            authority: text("authority"),
            directory: text("directory"),
            roots: text("roots"),
            contact: text("contact"),
            portal: text("portal"),
        }
    }

    /// What stands in the form before anything is typed.
    fn before(choice: Option<&Choice>) -> Self {
        let choice = choice.cloned().unwrap_or_default();
        let (authority, directory) = match choice.directory {
            Directory::LetsEncrypt => ("letsencrypt", String::new()),
            Directory::LetsEncryptStaging => ("staging", String::new()),
            Directory::Url(url) => ("other", url),
        };
        Self {
            authority: authority.to_owned(),
            directory,
            roots: choice.roots_pem.unwrap_or_default(),
            contact: choice.contact.unwrap_or_default(),
            portal: choice.portal.unwrap_or_default(),
        }
    }

    /// With the owner's consent. A profile is of one authority; at the same one it stays.
    fn choice(&self, before: Option<&Choice>) -> Choice {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let other = self.authority == "other";
        let directory = match self.authority.as_str() {
            "other" => Directory::Url(self.directory.clone()),
            "staging" => Directory::LetsEncryptStaging,
            _ => Directory::LetsEncrypt,
        };
        let same = before.filter(|before| before.directory == directory);
        Choice {
            profile: same.and_then(|before| before.profile.clone()),
            roots_pem: given(&self.roots).filter(|_| other),
            directory,
            terms_agreed: true,
            portal: given(&self.portal).map(|name| name.to_ascii_lowercase()),
            contact: given(&self.contact),
        }
    }
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
                    (choice_card(signed, known, say))
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
                "the page Domains shows how. The box does the rest by itself, now and every few weeks."
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
        p { (sentence(&status.summary)) }
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

/// How certificates are got: the owner's choice, with consent.
fn choice_card(signed: &Signed, status: &Status, say: &Say) -> Markup {
    let before;
    let typed = match &say.typed {
        Some(typed) => typed,
        None => {
            before = Typed::before(status.choice.as_ref());
            &before
        }
    };
    let form = html! {
        form method="post" action="/certificates" {
            (token(&signed.form))
            input type="hidden" name="do" value="set";
            @if agreed(status) {
                (choice_fields(typed))
            } @else {
                details open[say.typed.is_some() || typed.authority != "letsencrypt"] {
                    summary { "Another authority, a contact, a name for these pages" }
                    (choice_fields(typed))
                }
            }
            label.check {
                input type="checkbox" name="agree" value="yes" required;
                span { "I agree to " a href=(TERMS) rel="noreferrer" { "Let’s Encrypt’s terms of service" } ", or to those of the authority that I chose" }
            }
            button { @if agreed(status) { "Save" } @else { "Get certificates" } }
        }
    };
    html! {
        section.card {
            @if agreed(status) {
                h2 { "How they are got" }
                dl {
                    @if let Some(directory) = &status.directory { dt { "From" } dd { (directory) } }
                    @if let Some(account) = &status.account { dt { "Account" } dd { (account) } }
                }
                details open[say.typed.is_some()] { summary { "Change it" } (form) }
            } @else {
                h2 { "Get certificates" }
                p { "They come from Let’s Encrypt, which is run for the public good and costs nothing." }
                (form)
            }
        }
    }
}

fn choice_fields(typed: &Typed) -> Markup {
    html! {
        div.field {
            label for="authority" { "Certificate authority" }
            select #authority name="authority" {
                @for (value, name) in AUTHORITIES {
                    option value=(value) selected[value == typed.authority] { (name) }
                }
            }
        }
        (Field { name: "directory", label: "Address of another authority", help: Some("Of its ACME directory, e.g. `https://ca.example/directory`."), value: &typed.directory, required: false, ..Field::default() }.show())
        (Field { name: "roots", label: "Whom to trust on the way to it", help: Some("Certificates as PEM, if that authority is not publicly known."), kind: Kind::Long, value: &typed.roots, required: false, ..Field::default() }.show())
        (Field { name: "contact", label: "Your mail address for it", help: Some("It may write there if something is wrong. Take one that does not depend on this box."), value: &typed.contact, required: false, complete: "email", ..Field::default() }.show())
        (Field { name: "portal", label: "A name of its own for these pages", help: Some("In one of your domains, e.g. `box.example.org`. Without one they are at the mail server’s name."), value: &typed.portal, required: false, ..Field::default() }.show())
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

/// What is to be said at the top of the overview, if something is not as it should be.
pub fn alarm(status: &Result<Status, NotDone>) -> Option<Markup> {
    let status = status.as_ref().ok()?;
    // Without a domain of its own zone a box cannot have any: that is told elsewhere.
    status.zones.as_ref()?;
    let link = html! { " " a href="/certificates" { "See the certificates" } "." };
    if !agreed(status) {
        return Some(note(
            Tone::Warning,
            html! { p { strong { "This box has no certificates yet, so browsers and mail programs warn of it." } (link) } },
        ));
    }
    let worst = |state| status.certificates.iter().find(|one| one.state == state);
    let (one, tone, what) = [
        (service::State::Expired, Tone::Bad, "has expired"),
        (service::State::Missing, Tone::Warning, "is not there yet"),
        (
            service::State::Failing,
            Tone::Warning,
            "cannot be renewed so far",
        ),
    ]
    .into_iter()
    .find_map(|(state, tone, what)| Some((worst(state)?, tone, what)))?;
    Some(note(
        tone,
        html! {
            p {
                strong { "The certificate for " (one.names.join(", ")) " " (what) "." }
                @if let Some(failure) = &one.failure { " " (sentence(&failure.why)) }
                (link)
            }
        },
    ))
}

/// A line for the overview's card.
pub fn line(status: &Result<Status, NotDone>) -> Markup {
    html! {
        @match status {
            Err(why) => p { (badge(Tone::Warning, "does not answer")) " " (sentence(why)) },
            Ok(status) if !agreed(status) => p { (badge(Tone::Warning, "none yet")) " Browsers and mail programs do not trust this box from outside." },
            Ok(status) => p {
                @if settled(status) { (badge(Tone::Good, "trusted")) } @else { (badge(Tone::Warning, "look")) }
                " " (sentence(&status.summary))
            },
        }
        p { a href="/certificates" { "All about certificates" } }
    }
}
