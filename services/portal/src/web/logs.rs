//! What the services say.

use super::health::known_as;
use super::page::{Page, fault, piece};
use super::visit::Signed;
use crate::app::App;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};
use std::sync::Arc;

/// Lines that are shown, of the running boot: a page that asks every other second reads nothing
/// from the card. `roost logs` shows more, and those of earlier boots.
const LINES: usize = 300;

/// What is looked at.
#[derive(serde::Deserialize)]
pub struct Which {
    #[serde(default)]
    service: String,
}

/// GET /logs: a page, or the lines for a script.
pub async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(which): Query<Which>,
    signed: Signed,
) -> Response {
    // Without init there are no lines either; the page says so where they would be.
    let status = app.init.status().await;
    let services = status.iter().flat_map(|status| &status.services);
    let mut names: Vec<&str> = services.map(|service| service.name.as_str()).collect();
    names.extend(["init", "kernel"]);
    // Only what there is: the name goes into a request to init.
    let service = names
        .iter()
        .find(|name| **name == which.service)
        .or(names.first())
        .map_or("init", |name| name);
    let lines = lines(&app, service).await;
    if headers.contains_key("x-roost-poll") {
        return piece(&lines);
    }
    let from = format!("/logs?service={service}");
    let content = html! {
        form.inline method="get" action="/logs" {
            div.field {
                label for="service" { "Whose" }
                select #service name="service" {
                    @for name in &names {
                        option value=(name) selected[*name == service] {
                            @let title = match *name { "init" => "Start and supervision", "kernel" => "Kernel", name => known_as(name) };
                            (title) @if title != *name { " (" (name) ")" }
                        }
                    }
                }
            }
            button { "Show" }
        }
        div.log #log tabindex="0" role="region" aria-label="Log lines" data-poll=(from) data-every="2" data-follow {
            (lines)
        }
        p.detail {
            span data-script hidden { "New lines appear by themselves. " button.quiet type="button" data-pause="log" aria-pressed="false" { "Pause" } }
            noscript { a href=(from) { "Look again" } }
        }
    };
    Page::new(&app, &signed, "/logs", "Logs")
        .refresh(10)
        .show(content)
}

async fn lines(app: &App, service: &str) -> Markup {
    match app.init.logs(service, LINES, Some(0)).await {
        Ok(lines) if lines.is_empty() => html! { p { "Nothing was said yet." } },
        Ok(lines) => html! { pre { @for line in &lines { (line) "\n" } } },
        Err(why) => fault(why, Some("try again in a minute")),
    }
}
