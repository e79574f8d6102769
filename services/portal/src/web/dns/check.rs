//! What each name server answers, beside what it should.

use super::{Named, Shell, no, status_of, with_status};
use crate::actions::dns;
use crate::time::Wall;
use crate::web::mail::quoted;
use crate::web::page::{Page, Tone, badge, note, sentence, sentence_with_code};
use crate::web::visit::Signed;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use roost_service::dns::{Check, Place, Row};

/// GET /dns/check: takes some seconds.
pub async fn check(State(app): Shell, Query(named): Query<Named>, signed: Signed) -> Response {
    let domain = named.domain;
    let (content, status) = match dns::check(&app, domain.clone()).await {
        Ok(check) => (table(&check), StatusCode::OK),
        Err(not) => (no(&not), status_of(&not)),
    };
    let content = html! {
        p { a href={ "/dns/zone?domain=" (quoted(&domain)) } { "Back to " (domain) } }
        (content)
        p { a.button.quiet href={ "/dns/check?domain=" (quoted(&domain)) } { "Check again" } }
    };
    with_status(
        Page::new(&app, &signed, "/dns", "Check of the DNS").show(content),
        status,
    )
}

fn table(check: &Check) -> Markup {
    let wrong: Vec<&Row> = check.rows.iter().filter(|row| !row.right).collect();
    html! {
        p.lead { "What is answered for " strong { (check.domain) } " and what should be, looked up at " (Wall(check.at)) "." }
        @if wrong.is_empty() {
            (note(Tone::Good, html! { p { strong { "All is as it should be." } } }))
        } @else {
            (note(Tone::Bad, html! { p { strong { (wrong.len()) " of " (check.rows.len()) " are not as they should be." } } }))
        }
        section.card {
            h2 { "Who was asked" }
            ul.rows { @for place in &check.places { li { (asked(place)) } } }
        }
        @for row in &wrong { (detail(check, row)) }
        section.card {
            h2 { "Everything" }
            // It may be wider than a phone; keys can move it.
            div.table tabindex="0" role="region" aria-label="Everything" {
                table {
                    thead { tr {
                        th scope="col" { "Name" }
                        th scope="col" { "Type" }
                        @for place in &check.places { th scope="col" { (known_as(&place.name)) } }
                    } }
                    tbody { @for row in &check.rows { tr {
                        th scope="row" { (row.name) }
                        td { (row.kind) }
                        @for (i, _) in check.places.iter().enumerate() { td { (mark(row, i)) } }
                    } } }
                }
            }
            p.detail { "✓ as it should be, ✗ different or missing, – not asked or no answer" }
        }
    }
}

/// A place as the owner knows it.
fn known_as(place: &str) -> &str {
    match place {
        "box" => "This box",
        "secondary" => "Relay",
        "parent" => "Registry",
        other => other,
    }
}

fn asked(place: &Place) -> Markup {
    html! {
        div {
            strong { (known_as(&place.name)) }
            @if let Some(address) = &place.address { " " (address) }
            @if let Some(fault) = &place.fault { p.detail { (sentence(fault)) } }
        }
        div {
            @match (place.serial, &place.fault) {
                (_, Some(_)) => (badge(Tone::Bad, "no answer")),
                (Some(serial), None) => { "serial number " (serial) },
                (None, None) => (badge(Tone::Good, "answers")),
            }
        }
    }
}

fn is_same(row: &Row, found: &[String]) -> bool {
    row.right
        || (found.len() == row.expected.len()
            && found.iter().all(|value| row.expected.contains(value)))
}

fn mark(row: &Row, place: usize) -> Markup {
    let (sign, what) = match row.found.get(place) {
        Some(Some(found)) if is_same(row, found) => ("✓", "right"),
        Some(Some(_)) => ("✗", "wrong"),
        Some(None) | None => ("–", "no answer"),
    };
    html! { span role="img" aria-label=(what) { (sign) } }
}

/// A name and type that is wrong somewhere, with what to do.
fn detail(check: &Check, row: &Row) -> Markup {
    html! {
        section.card {
            h2 { (row.kind) " " span.plain { (row.name) } }
            @if !row.advice.is_empty() { p { strong { (sentence_with_code(&row.advice)) } } }
            dl {
                dt { "Should be" } dd { (values(&row.expected)) }
                @for (place, found) in check.places.iter().zip(&row.found) {
                    @if let Some(found) = found && !is_same(row, found) {
                        dt { (known_as(&place.name)) } dd { (values(found)) }
                    }
                }
            }
        }
    }
}

fn values(values: &[String]) -> Markup {
    html! {
        @if values.is_empty() { "nothing" }
        @for value in values { span.mono { (value) } br; }
    }
}
