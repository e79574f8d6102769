//! The zones of the box's domains: how they stand, what is in them, what each name server answers.
//!
//! The name server does what is asked for here ([`crate::actions::dns`]); what it refuses is shown, and
//! what was typed stays in its field.

mod change;
mod check;
mod records;
mod zone;

pub use change::change;
pub use check::check;
pub use zone::{export, show as zone};

use super::mail::quoted;
use super::page::{Page, Tone, badge, fault, note, sentence, sentence_with_code, with_code};
use super::visit::Signed;
use crate::actions::dns::{self, NotDone};
use crate::app::App;
use crate::time::Wall;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use roost_service::dns::{Delegation, DelegationState, Dmarc, DmarcState, Zone};
use std::sync::Arc;

type Shell = State<Arc<App>>;

/// Which zone.
#[derive(Debug, serde::Deserialize)]
pub struct Named {
    #[serde(default)]
    domain: String,
    /// For a file: whether with keys and signatures.
    #[serde(default)]
    signed: bool,
}

/// Why the name server did not do something.
fn no(not: &NotDone) -> Markup {
    let hint = match not {
        NotDone::NoAnswer(_) => {
            Some("it may be starting: load this page again in a minute; the page Logs says more")
        }
        _ => None,
    };
    fault(not, hint)
}

/// The status of an answer that says so.
fn status_of(not: &NotDone) -> StatusCode {
    match not {
        NotDone::NoAnswer(_) => StatusCode::SERVICE_UNAVAILABLE,
        NotDone::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        NotDone::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn with_status(mut page: Response, status: StatusCode) -> Response {
    *page.status_mut() = status;
    page
}

/// GET /dns
pub async fn show(State(app): Shell, signed: Signed) -> Response {
    let content = match dns::status(&app).await {
        Err(not) => no(&not),
        Ok(status) => html! {
            p.lead { "This box is the name server of its domains: it tells the world where their mail goes, and signs what it tells." }
            @if status.zones.is_empty() {
                section.card { p { "There is no domain yet. The first one is chosen when the box is paired; more are added on the page " a href="/mail/domains" { "Domains" } "." } }
            }
            @for zone in &status.zones { (card(&app, zone)) }
            p.detail { (sentence(&status.summary)) }
        },
    };
    Page::new(&app, &signed, "/dns", "DNS").show(content)
}

fn card(app: &App, zone: &Zone) -> Markup {
    let link = format!("/dns/zone?domain={}", quoted(&zone.domain));
    html! {
        section.card {
            h2 { (zone.domain) }
            (alarm(app, &zone.domain))
            (stand(zone))
            p { a.button href=(link) aria-label={ "Records and settings of " (zone.domain) } { "Records and settings" } }
        }
    }
}

/// What the box sees wrong with the answers of its own name server.
fn alarm(app: &App, domain: &str) -> Markup {
    html! {
        @if let Some(alarm) = app.signatures.alarm(domain) {
            (note(Tone::Bad, html! { p { strong { (with_code(&alarm)) } } }))
        }
    }
}

/// How a zone stands: what the registry says of it, and its figures.
fn stand(zone: &Zone) -> Markup {
    html! {
        (delegation(zone.delegation.as_ref()))
        @if let Some(fault) = &zone.fault { p { strong { (sentence_with_code(fault)) } } }
        dl {
            dt { "Serial number" }
            dd { @match zone.serial { Some(serial) => (serial), None => { (badge(Tone::Warning, "not served")) } } }
            @if let Some(until) = zone.signed_until { dt { "Signed until" } dd { (Wall(until)) } }
            @if !zone.keys.is_empty() {
                dt { "Keys" }
                dd { @for key in &zone.keys { (key.role) " " (key.tag) ": " (key.state) br; } }
            }
            dt { "Copies" }
            dd {
                @match &zone.secondary {
                    None => "nobody has any: without this box nobody answers",
                    Some(secondary) => {
                        @match (&secondary.fault, secondary.told) {
                            (Some(why), _) => { (badge(Tone::Bad, "no answer")) " " (secondary.address) ": " (why) },
                            (None, Some(told)) if Some(told) == zone.serial => { (badge(Tone::Good, "up to date")) " at " (secondary.address) },
                            (None, Some(told)) => { (badge(Tone::Warning, "older")) " " (secondary.address) " has " (told) },
                            (None, None) => { (badge(Tone::Warning, "not known")) " " (secondary.address) " has not answered yet" },
                        }
                    }
                }
            }
            @if let Some(state) = &zone.dmarc { dt { "Forged mail" } dd { (forged(state)) } }
        }
    }
}

/// What the registry says of the zone, in a word and with what to do.
fn delegation(delegation: Option<&Delegation>) -> Markup {
    let Some(said) = delegation else {
        return html! { p { (badge(Tone::Warning, "not asked yet")) " The box has not asked the registry yet what it says of this domain." } };
    };
    let (tone, word, what) = match said.state {
        DelegationState::Unknown => (
            Tone::Warning,
            "not known",
            "The registry could not be asked what it says of this domain.",
        ),
        DelegationState::Elsewhere => (
            Tone::Bad,
            "not here",
            "The registry does not name this box as the domain’s name server.",
        ),
        DelegationState::Unsigned => (
            Tone::Warning,
            "not proven",
            "The registry names this box, and no key of it: nobody can check its answers (DNSSEC).",
        ),
        DelegationState::Secure => (
            Tone::Good,
            "secure",
            "The registry names this box and its key: everybody can check its answers.",
        ),
        DelegationState::Broken => (
            Tone::Bad,
            "broken",
            "The registry names a key that this box does not have: whoever checks sees nothing of the domain.",
        ),
    };
    html! {
        p { (badge(tone, word)) " " (what) }
        @if !said.advice.is_empty() { p { (sentence_with_code(&said.advice)) } }
    }
}

/// What receivers do with forged mail, and from when on with more of it.
fn forged(state: &DmarcState) -> Markup {
    let now = match state.stage {
        Dmarc::None => "is only reported",
        Dmarc::Quarantine => "goes into the junk folder",
        Dmarc::Reject => "is refused",
    };
    html! {
        (now)
        @if state.chosen { ", as you chose" }
        @if let Some(at) = state.next_at { "; the box makes that stricter at " (Wall(at)) }
    }
}
