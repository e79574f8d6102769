//! What happened to the box's doors.

use super::page::{Page, Tone, Trouble, badge};

use super::visit::Signed;
use super::words::ago;
use crate::app::App;
use axum::extract::State;
use axum::response::Response;
use maud::html;
use std::sync::Arc;

/// Lines that are shown: some months of an ordinary home.
const LINES: usize = 200;

/// GET /activity
pub async fn show(State(app): State<Arc<App>>, signed: Signed) -> Result<Response, Trouble> {
    let (entries, now) = app
        .view(|store, now| Ok::<_, Trouble>((store.audit(LINES)?, now)))
        .await?;
    let content = html! {
        p.lead { "Who signed in, who tried, and what changed. The newest is first." }
        ul.rows {
            @for entry in &entries {
                li {
                    div {
                        (entry.who) " " (entry.what) "."
                        @if entry.what.is_alarming() { " " (badge(Tone::Warning, "look")) }
                        p.detail {
                            @if let Some(from) = entry.from { "From " (from) ", " }
                            (ago(entry.at, now)) @if let Some(wall) = entry.at.wall { " (" (wall) ")" } "."
                        }
                    }
                }
            }
        }
        p.detail { "“Look” marks what you should know you did yourself. If you did not: on the page Security, remove passkeys that are not yours, and change the password, which signs out everybody else." }
    };
    Ok(Page::new(&app, &signed, "/activity", "Activity").show(content))
}
