//! The relay: how the box reaches it, and which it is.

use super::health;
use super::page::{self, Field, Kind, Page, Tone, Trouble, fault, note, sentence, token};
use super::visit::{Order, Signed};
use super::words::{bytes, rounded};
use crate::actions::outside::{self, Standing};
use crate::actions::relay::{self, NotDone, Way};
use crate::app::App;
use crate::audit::Actor;
use crate::outside::blocklists::ListState;
use crate::outside::port25::PortState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use roost_service::names::Reason;
use roost_service::tunnel;
use std::sync::Arc;
use std::time::Duration;

type Shell = State<Arc<App>>;

/// What is said above the page after an order, and at the field.
#[derive(Default)]
struct Say {
    above: Option<Markup>,
    typed: String,
    wrong: Option<Reason>,
    standing: Option<Standing>,
}

impl Say {
    fn done(what: &str) -> Self {
        Self {
            above: Some(note(Tone::Good, html! { p { (what) } })),
            ..Self::default()
        }
    }

    fn no(not: &NotDone) -> Self {
        let hint = match not {
            NotDone::NoAnswer(_) => Some(
                "it may be starting: look below how it stands, and try again in a minute; the page Logs says more",
            ),
            _ => None,
        };
        Self {
            above: Some(fault(not, hint)),
            ..Self::default()
        }
    }
}

/// GET /relay: a piece of it for a script.
pub async fn show(
    State(app): Shell,
    headers: HeaderMap,
    signed: Signed,
) -> Result<Response, Trouble> {
    if headers.contains_key("x-roost-poll") {
        return Ok(page::piece(&stand(&relay::look(&app).await?)));
    }
    show_page(&app, &signed, &Say::default()).await
}

async fn show_page(app: &Arc<App>, signed: &Signed, say: &Say) -> Result<Response, Trouble> {
    let way = relay::look(app).await?;
    let has_one = way.given
        || (way.status.as_ref()).is_ok_and(|status| status.state != tunnel::State::Unconfigured);
    let is_up = (way.status.as_ref()).is_ok_and(|status| status.state == tunnel::State::Up);
    let content = html! {
        @if let Some(above) = &say.above { (above) }
        p.lead {
            "A relay is a small server with a public address. Mail from outside comes to it and through an "
            "encrypted tunnel to this box, and the box’s own mail leaves by it."
        }
        div.cards {
            section.card {
                h2 { "Now" }
                @if has_one && !is_up {
                    div aria-live="polite" data-poll="/relay" data-every="5" { (stand(&way)) }
                    noscript { p { a href="/relay" { "Look again" } } }
                } @else {
                    (stand(&way))
                }
            }
            @if is_up {
                section.card {
                    h2 { "What others make of your mail" }
                    @if let Some(standing) = &say.standing {
                        (others(standing))
                    } @else {
                        p { "Large receivers are tried, to see whether mail gets out, and the lists are asked by which receivers refuse addresses. That takes some seconds." }
                    }
                    form method="post" action="/relay" {
                        (token(&signed.form))
                        input type="hidden" name="do" value="look";
                        button.quiet { @if say.standing.is_some() { "Look again" } @else { "Look now" } }
                    }
                }
            }
            @if let Ok(status) = &way.status {
                section.card {
                    h2 { "This box’s key" }
                    p { "The relay lets in only boxes whose public key it knows. Give it this one. It is no secret: the other half never leaves the box." }
                    div.secret {
                        output.long #box-key { (status.public_key) }
                        button.quiet type="button" hidden data-copy="box-key" { "Copy" }
                    }
                }
            }
            @if way.status.as_ref().is_ok_and(|status| status.state == tunnel::State::Replaced) {
                section.card {
                    h2 { "Serve again" }
                    p { "This card takes back its place from the other with this box’s keys. That one stands down, and mail that it has taken stays there." }
                    form method="post" action="/relay" {
                        (token(&signed.form))
                        input type="hidden" name="do" value="takeover";
                        label.check { input type="checkbox" name="sure" value="yes" required; span { "I am sure" } }
                        button { "Have this card serve" }
                    }
                }
            }
            section.card {
                h2 { @if has_one { "Use another relay" } @else { "Set the relay" } }
                @if has_one { p { "It takes the place of the one from now. Connections through the tunnel are cut, and made anew within moments." } }
                form method="post" action="/relay" {
                    (token(&signed.form))
                    input type="hidden" name="do" value="set";
                    (Field { name: "relay", label: "The relay’s text", help: Some("Paste all of what you got where you made the relay."), kind: Kind::Long, value: &say.typed, wrong: say.wrong.as_ref(), ..Field::default() }.show())
                    button { "Use this relay" }
                }
            }
            @if has_one {
                section.card {
                    h2 { "Remove the relay" }
                    p { "Mail from outside then cannot arrive, unless your own connection has a public address. The relay itself goes on running, and costs what it costs." }
                    form method="post" action="/relay" {
                        (token(&signed.form))
                        input type="hidden" name="do" value="remove";
                        label.check { input type="checkbox" name="sure" value="yes" required; span { "I am sure" } }
                        button.danger { "Remove the relay" }
                    }
                }
            }
        }
    };
    Ok(Page::new(app, signed, "/relay", "Relay").show(content))
}

/// Whether mail gets out, and who has its address on a list.
fn others(standing: &Standing) -> Markup {
    html! {
        dl {
            dt { "Mail gets out" }
            dd {
                @match standing.port25.state {
                    PortState::Open => "yes",
                    PortState::Closed => "no, port 25 is blocked",
                    PortState::Unknown => "not known",
                }
                br; (sentence(&standing.port25.why))
            }
            @if let Some(lists) = &standing.lists {
                @for list in &lists.lists {
                    dt { (list.name) }
                    dd {
                        @match list.state {
                            ListState::Clear => "not listed",
                            ListState::Listed => {
                                "has " (lists.address) br; (sentence(&list.why)) br;
                                a href=(list.removal) rel="noreferrer" { "Have it taken off" }
                            }
                            ListState::Unanswered => { "not known" br; (sentence(&list.why)) }
                        }
                    }
                }
            } @else {
                dt { "Blocklists" } dd { "not asked: the relay’s text does not say by which address mail leaves" }
            }
        }
    }
}

/// How the tunnel stands, with figures.
fn stand(way: &Way) -> Markup {
    html! {
        (health::way(way))
        @if let Ok(status) = &way.status && status.state != tunnel::State::Unconfigured {
            dl {
                (health::line(status))
                @if let Some(endpoint) = &status.endpoint { dt { "Its address" } dd { (endpoint) } }
                dt { "Last handshake" }
                dd {
                    @match status.handshake_age_s {
                        Some(age) => { (rounded(Duration::from_secs(age))) " ago" },
                        None => "none yet",
                    }
                }
                dt { "Sent" } dd { (bytes(status.sent.bytes)) }
                dt { "Received" } dd { (bytes(status.received.bytes)) }
                @if !status.addresses.is_empty() {
                    dt { "This box in the tunnel" }
                    dd { @for address in &status.addresses { (address) br; } }
                }
                @if let Some(mtu) = status.mtu { dt { "Longest packet (MTU)" } dd { (mtu) " bytes" } }
                @if let Some(fault) = &status.send_fault { dt { "Sending failed" } dd { (sentence(fault)) } }
            }
        }
    }
}

/// POST /relay
pub async fn change(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let from = order.by.place.from;
    let mut status = StatusCode::OK;
    let result = match order.fields.get("do") {
        "set" => {
            let text = order.fields.get("relay");
            let done = relay::set(&app, text, Actor::Owner, from).await;
            done.map(|()| "The relay is set. The box calls it now; see below whether it answers.")
        }
        "remove" if order.fields.get("sure") == "yes" => {
            let done = relay::clear(&app, Actor::Owner, from).await;
            done.map(|()| "The relay is removed.")
        }
        "takeover" if order.fields.get("sure") == "yes" => {
            let done = relay::take_over(&app, Actor::Owner, from).await;
            done.map(|()| "This card takes back its place. It serves in about a minute, as soon as the other has surely stopped.")
        }
        "look" => {
            let way = relay::look(&app).await?;
            let say = Say {
                standing: Some(outside::look(&app, &way.outside).await),
                ..Say::default()
            };
            return show_page(&app, &order.by, &say).await;
        }
        _ => return show_page(&app, &order.by, &Say::default()).await,
    };
    let say = match result {
        Ok(what) => Say::done(what),
        Err(NotDone::Store(error)) => return Err(error.into()),
        Err(not) => {
            status = match &not {
                NotDone::NoAnswer(_) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            let typed = order.fields.get("relay").to_owned();
            match not {
                // Said at the field.
                NotDone::Unusable(reason) => Say {
                    above: Some(fault("The relay was not changed", None)),
                    typed,
                    wrong: Some(reason),
                    standing: None,
                },
                NotDone::Refused { why } if order.fields.get("do") == "set" => Say {
                    above: Some(fault("The relay was not changed", None)),
                    typed,
                    wrong: Some(Reason::new(why)),
                    standing: None,
                },
                not => Say {
                    typed,
                    ..Say::no(&not)
                },
            }
        }
    };
    let mut page = show_page(&app, &order.by, &say).await?;
    *page.status_mut() = status;
    Ok(page)
}
