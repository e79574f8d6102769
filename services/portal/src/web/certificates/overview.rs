//! What the overview says of certificates.

use super::super::page::{Tone, badge, note, sentence};
use super::{FOR_TRYING_OUT, agreed, for_trying_out, settled};
use crate::actions::certificates::NotDone;
use maud::{Markup, html};
use roost_service::certificates::{self as service, Status};

/// What is to be said at the top of the overview, if something is not as it should be.
pub fn alarm(status: &Result<Status, NotDone>) -> Option<Markup> {
    let status = status.as_ref().ok()?;
    // Without a domain of its own zone a box cannot have any: that is told elsewhere.
    status.zones.as_ref()?;
    let link = html! { " " a href="/certificates" { "See the certificates" } "." };
    if !agreed(status) {
        return Some(note(
            Tone::Warning,
            html! { p { strong { "This box has no certificates yet, so browsers and mail programs warn of it." } (link) } },
        ));
    }
    let worst = |state| status.certificates.iter().find(|one| one.state == state);
    let (one, tone, what) = [
        (service::State::Expired, Tone::Bad, "has expired"),
        (service::State::Missing, Tone::Warning, "is not there yet"),
        (
            service::State::Failing,
            Tone::Warning,
            "cannot be renewed so far",
        ),
    ]
    .into_iter()
    .find_map(|(state, tone, what)| Some((worst(state)?, tone, what)))?;
    Some(note(
        tone,
        html! {
            p {
                strong { "The certificate for " (one.names.join(", ")) " " (what) "." }
                @if let Some(failure) = &one.failure { " " (sentence(&failure.why)) }
                (link)
            }
        },
    ))
}

/// A line for the overview's card.
pub fn line(status: &Result<Status, NotDone>) -> Markup {
    html! {
        @match status {
            Err(why) => p { (badge(Tone::Warning, "does not answer")) " " (sentence(why)) },
            Ok(status) if !agreed(status) => p { (badge(Tone::Warning, "none yet")) " Browsers and mail programs do not trust this box from outside." },
            Ok(status) if for_trying_out(status) => p { (badge(Tone::Warning, "for trying out")) " " (FOR_TRYING_OUT) },
            Ok(status) => p {
                @if settled(status) { (badge(Tone::Good, "trusted")) } @else { (badge(Tone::Warning, "look")) }
                " " (status.summary)
            },
        }
        p { a href="/certificates" { "All about certificates" } }
    }
}
