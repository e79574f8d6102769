//! What happened to the box's doors.

use super::page::{Page, Tone, Trouble, badge};
use super::security::moment;
use super::visit::Signed;
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
        div.scroll tabindex="0" role="region" aria-label="Activity" {
            table {
                thead { tr { th scope="col" { "What" } th scope="col" { "From" } th scope="col" { "When" } } }
                tbody {
                    @for entry in &entries {
                        tr {
                            td {
                                @if entry.what.is_alarming() { (badge(Tone::Warning, "look")) " " }
                                (entry.who) " " (entry.what) "."
                            }
                            td { @match entry.from { Some(from) => (from), None => "the box itself" } }
                            td { (moment(entry.at, now)) }
                        }
                    }
                }
            }
        }
        p.detail { "“Look” marks what you should know you did yourself. If you did not: change the password on the page Security, which signs out everybody else." }
    };
    Ok(Page::new(&app, &signed, "/activity", "Activity").show(content))
}
