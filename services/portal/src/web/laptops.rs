//! Laptops that may update the box.

use super::page::{Page, Tone, Trouble, note, token};
use super::visit::{Order, Signed};
use super::words::ago;
use crate::actions::laptops;
use crate::app::App;
use crate::audit::Actor;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use std::sync::Arc;

type Shell = State<Arc<App>>;

async fn page(app: &Arc<App>, signed: &Signed, say: Option<Markup>) -> Result<Response, Trouble> {
    let laptops = laptops::list(app).await?;
    let now = app.now();
    let content = html! {
        @if let Some(say) = say { (note(Tone::Good, say)) }
        p.lead { "Laptops with the command " code { "roost" } " that may update this box and look into it, without a password." }
        @if laptops.is_empty() {
            section.card {
                p { "There is none. On your laptop, run " code { "roost pair" } " to add it." }
            }
        } @else {
            ul.rows {
                @for (key, laptop) in &laptops {
                    li {
                        div {
                            strong { (laptop.name) }
                            p.detail {
                                "Paired " (ago(laptop.paired, now)) ", "
                                @match laptop.seen { Some(seen) => { "last seen " (ago(seen, now)) }, None => "never seen since" }
                                ". Key " code { (hex::encode(&key.0[..6])) } "…"
                            }
                        }
                        form method="post" action="/laptops" {
                            (token(&signed.form))
                            input type="hidden" name="key" value=(hex::encode(key.0));
                            button.danger aria-label={ "Remove " (laptop.name) } { "Remove" }
                        }
                    }
                }
            }
            p.detail { "A laptop that is removed can do nothing any more, at once. " code { "roost pair" } " on it asks for your password to add it again." }
        }
    };
    Ok(Page::new(app, signed, "/laptops", "Laptops").show(content))
}

/// GET /laptops
pub async fn show(State(app): Shell, signed: Signed) -> Result<Response, Trouble> {
    page(&app, &signed, None).await
}

/// POST /laptops
pub async fn revoke(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    // What is no key names no laptop.
    if let Some(key) = laptops::parse_key(order.fields.get("key")) {
        laptops::revoke(&app, key, Actor::Owner, order.by.place.from).await?;
    }
    page(
        &app,
        &order.by,
        Some(html! { p { "That laptop is removed." } }),
    )
    .await
}
