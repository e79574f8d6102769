//! Back to a new box.

use super::page::{Field, Kind};
use super::page::{Page, Tone, Trouble, fault, note, token};
use super::security::prove;
use super::sign::{self, has_second, second_field};
use super::visit::{Order, Signed};
use crate::actions::reset::factory_reset;
use crate::actions::sign_in::NotOwner;
use crate::app::App;
use crate::audit::Actor;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use roost_service::names::Reason;
use std::sync::Arc;

type Shell = State<Arc<App>>;

async fn page(
    app: &Arc<App>,
    signed: &Signed,
    say: Option<Markup>,
    wrong: Option<&Reason>,
) -> Result<Response, Trouble> {
    let name = &app.settings.name;
    let help = format!("“{name}”, so that nobody does this by accident.");
    let content = html! {
        @if let Some(say) = say { (say) }
        (note(Tone::Warning, html! {
            p { strong { "This deletes all mail, calendars, contacts, accounts and settings on this box, for good." } }
            p { "Name, network and certificate stay, and so does the installed version. Copy your mail first, with any mail program." }
        }))
        section.card {
            form method="post" action="/reset" {
                (token(&signed.form))
                (Field { name: "name", label: "Name of this box", help: Some(&help), wrong, ..Field::default() }.show())
                (Field { name: "password", label: "Admin password", kind: Kind::Password, complete: "current-password", ..Field::default() }.show())
                @if has_second(app).await? { (second_field("f")) }
                button.danger { "Delete everything" }
            }
        }
    };
    Ok(Page::new(app, signed, "/reset", "Factory reset").show(content))
}

/// GET /reset
pub async fn show(State(app): Shell, signed: Signed) -> Result<Response, Trouble> {
    page(&app, &signed, None, None).await
}

/// POST /reset
pub async fn reset(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    if order.fields.get("name").trim() != app.settings.name {
        let wrong = Reason::new("this is not the name of this box; nothing was deleted");
        return page(&app, &order.by, None, Some(&wrong)).await;
    }
    match prove(&app, &order).await {
        Ok(_) => {}
        Err(NotOwner::Store(error)) => return Err(error.into()),
        Err(not) => {
            let mut page = page(&app, &order.by, Some(fault(&not, sign::hint(&not))), None).await?;
            *page.status_mut() = sign::status(&not);
            return Ok(page);
        }
    }
    let code = factory_reset::<Trouble>(&app, Actor::Owner, order.by.place.from).await?;
    let shown = code.reveal();
    let name = &app.settings.name;
    let content = html! {
        (note(Tone::Good, html! { p { strong { "The box restarts and deletes everything." } " Leave its power on until it is back." } }))
        section.card {
            h2 { "Your new pairing code" }
            div.secret { output #new-code { (shown) } button.quiet type="button" hidden data-copy="new-code" { "Copy" } }
            p { "Write it down: it is shown only here, and on a screen at the box. In two minutes or so, open " a href="/pair" { "https://" (name) ".local" } " and pair the box again." }
        }
    };
    Ok(Page::new(&app, &order.by, "/reset", "Factory reset").show(content))
}
