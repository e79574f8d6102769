//! What the owner orders on the page of a zone.

use super::zone::{Say, page};
use super::{Shell, no, status_of};
use crate::actions::dns::{self, NotDone};
use crate::app::App;
use crate::audit::Actor;
use crate::web::page::{Tone, Trouble, fault, note};
use crate::web::visit::Order;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;
use roost_service::dns::Dmarc;
use std::sync::Arc;

/// POST /dns/zone
pub async fn change(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let domain = order.fields.get("domain").to_owned();
    let say = match perform(&app, &order, &domain).await {
        Err(NotDone::Store(error)) => return Err(error.into()),
        Err(not) => Say {
            above: Some(no(&not)),
            status: Some(status_of(&not)),
            ..Say::default()
        },
        Ok(say) => say,
    };
    Ok(page(&app, &order.by, &domain, say).await)
}

fn done(what: &str) -> Say {
    Say {
        above: Some(note(Tone::Good, html! { p { (what) } })),
        ..Say::default()
    }
}

/// Something typed was refused: it stays in its field, with the reason.
fn refused(what: &str) -> Say {
    Say {
        above: Some(fault(what, Some("see below what is wrong"))),
        status: Some(StatusCode::UNPROCESSABLE_ENTITY),
        ..Say::default()
    }
}

async fn perform(app: &Arc<App>, order: &Order, domain: &str) -> Result<Say, NotDone> {
    let (fields, from) = (&order.fields, order.by.place.from);
    let zone = || domain.to_owned();
    match fields.get("do") {
        "dmarc" => {
            let stage = match fields.get("stage") {
                "automatic" => None,
                "none" => Some(Dmarc::None),
                "quarantine" => Some(Dmarc::Quarantine),
                "reject" => Some(Dmarc::Reject),
                _ => return Ok(Say::default()),
            };
            dns::set_dmarc(app, zone(), stage, Actor::Owner, from).await?;
            Ok(done("That is saved. Receivers hear of it within hours."))
        }
        "own" => set_own(app, order, domain, plain(fields.get("own"))).await,
        "keep" => {
            let mut own = dns::own(app, zone()).await?;
            if !own.is_empty() && !own.ends_with('\n') {
                own.push('\n');
            }
            own += &plain(fields.get("keep"));
            set_own(app, order, domain, own).await
        }
        "import" => {
            let text = plain(fields.get("file"));
            match dns::import(app, zone(), text.clone()).await {
                Ok(divided) => Ok(Say {
                    divided: Some(divided),
                    ..done("Nothing is kept yet: see below what of the file can be.")
                }),
                Err(NotDone::Refused { why }) => Ok(Say {
                    file: Some((text, why)),
                    ..refused("the zone file cannot be read")
                }),
                Err(not) => Ok(Say {
                    file: Some((text, not.to_string())),
                    status: Some(status_of(&not)),
                    ..refused("nothing was done")
                }),
            }
        }
        "replace-key" if fields.get("sure") == "yes" => {
            dns::replace_key(app, zone(), Actor::Owner, from).await?;
            Ok(done(
                "It has begun. This page says when your registrar can be given the new DS record.",
            ))
        }
        _ => Ok(Say::default()),
    }
}

async fn set_own(
    app: &Arc<App>,
    order: &Order,
    domain: &str,
    text: String,
) -> Result<Say, NotDone> {
    let from = order.by.place.from;
    match dns::set_own(app, domain.to_owned(), text.clone(), Actor::Owner, from).await {
        Ok(()) => Ok(done("Your records are kept, and served.")),
        Err(NotDone::Store(error)) => Err(error.into()),
        Err(NotDone::Refused { why }) => Ok(Say {
            own: Some((text, why)),
            ..refused("nothing was changed")
        }),
        Err(not) => Ok(Say {
            own: Some((text, not.to_string())),
            status: Some(status_of(&not)),
            ..refused("your records may not be kept")
        }),
    }
}

/// Browsers end lines of a field with CR LF (HTML, "constructing entry list").
fn plain(text: &str) -> String {
    text.replace("\r\n", "\n")
}
