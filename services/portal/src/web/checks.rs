//! How the box is, check by check: the last look, and a button for another.

use super::page::{Page, Tone, Trouble, badge, note, token, with_code};
use super::visit::{Order, Signed};
use super::words::ago;
use crate::app::App;
use crate::health::kept::Looked;
use crate::health::look;
use crate::health::table::GROUPS;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use roost_service::health::{Checked, Health, Level};
use std::sync::Arc;

/// GET /health
pub async fn show(State(app): State<Arc<App>>, signed: Signed) -> Result<Response, Trouble> {
    let last = app.health.last();
    let content = html! {
        p.lead {
            "Everything that the box can find out about itself and about how others see it. It looks once a day, and writes "
            "to you when something has become worse or better."
        }
        @match &last {
            Some(looked) => (summary(looked, &app)),
            None => (note(Tone::Warning, html! { p { "The box has not looked at itself since its card was written." } })),
        }
        form method="post" action="/health" {
            (token(&signed.form))
            button { @if last.is_some() { "Look again" } @else { "Look now" } }
            p.detail { "That takes up to half a minute." }
        }
        @if let Some(Looked { health, .. }) = &last { (all(health)) }
    };
    Ok(Page::new(&app, &signed, "/health", "Health").show(content))
}

/// POST /health: looks now.
pub async fn look_now(State(app): State<Arc<App>>, order: Order) -> Response {
    let _ = order;
    look(&app).await;
    Redirect::to("/health").into_response()
}

fn summary(looked: &Looked, app: &App) -> Markup {
    let health = &looked.health;
    let tone = if health.count(Level::Failed) > 0 {
        Tone::Bad
    } else if health.count(Level::Warning) > 0 {
        Tone::Warning
    } else {
        Tone::Good
    };
    note(
        tone,
        html! { p { strong { (health.summary()) } " Looked at " (ago(looked.at, app.now())) "." } },
    )
}

fn all(health: &Health) -> Markup {
    let bad: Vec<&Checked> = [Level::Failed, Level::Warning]
        .iter()
        .flat_map(|level| health.checks.iter().filter(move |one| one.level == *level))
        .collect();
    // As they stand in the table, and whatever an older version had after them.
    let mut groups: Vec<&str> = Vec::new();
    for checked in &health.checks {
        if !groups.contains(&checked.group.as_str()) {
            groups.push(&checked.group);
        }
    }
    html! {
        @if !bad.is_empty() {
            section.card.checks {
                h2 { "What wants you" }
                ul.steps { @for checked in bad { li { (line(checked)) (advice(checked)) } } }
            }
        }
        div.cards {
            @for group in groups {
                section.card.checks {
                    h2 { (group) }
                    ul.steps {
                        @for checked in health.checks.iter().filter(|one| one.group == group) {
                            li id=(checked.id) { (about(checked)) }
                        }
                    }
                }
            }
        }
    }
}

/// What was checked, how it stands, and what was found.
fn line(checked: &Checked) -> Markup {
    html! {
        span { (checked.what) } " "
        (mark(checked.level))
        p.detail { (checked.found) }
    }
}

fn mark(level: Level) -> Markup {
    let tone = match level {
        Level::Ok => Tone::Good,
        Level::Warning => Tone::Warning,
        Level::Failed => Tone::Bad,
        Level::Note | Level::Unknown => return html! { span.badge.plain { (level.word()) } },
    };
    badge(tone, level.word())
}

fn advice(checked: &Checked) -> Markup {
    html! {
        p { strong { "What to do: " } (with_code(&checked.to_do)) }
        p { a href={ "#about-" (checked.id) } { "How it is checked" } }
    }
}

/// The same, and behind it what the documentation says, for who has only the box at hand.
fn about(checked: &Checked) -> Markup {
    let mut all = GROUPS.iter().flat_map(|group| group.checks);
    html! {
        details.check {
            summary {
                span { (checked.what) }
                (mark(checked.level))
                span.detail { (checked.found) }
            }
            @if let Some(check) = all.find(|check| check.id == checked.id) {
                // Browsers open what a link leads into.
                p.detail id={ "about-" (checked.id) } { (with_code(check.how)) }
                p.detail { strong { "If it is not so: " } (with_code(check.to_do)) }
            }
            p.detail { "In the documentation: " code { (checked.docs) } }
        }
    }
}

/// For the first page: how the last look ended, in one line.
pub fn overview(app: &App) -> Markup {
    match app.health.last() {
        None => html! { p { "The box looks at itself soon." } },
        Some(looked) => {
            let health = &looked.health;
            html! {
                p {
                    @match (health.count(Level::Failed), health.count(Level::Warning)) {
                        (0, 0) => (badge(Tone::Good, "well")),
                        (0, _) => (badge(Tone::Warning, "warnings")),
                        _ => (badge(Tone::Bad, "failures")),
                    }
                    " " (health.summary())
                }
            }
        }
    }
}
