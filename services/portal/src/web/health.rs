//! How the box is, in words.

use super::page::{Tone, badge, sentence};
use crate::app::App;
use maud::{Markup, html};
use roost_service::control::ServiceStatus;
use std::sync::Arc;

/// What a service is for, as the owner knows it.
pub fn known_as(service: &str) -> &str {
    match service {
        "mail" => "Mail",
        "updater" => "Updates",
        "portal" => "These pages",
        "dns" => "Name server",
        "tunnel" => "Way to the relay",
        other => other,
    }
}

/// A service's state in a word.
pub fn state(service: &ServiceStatus) -> (Tone, &'static str) {
    match service.state.as_str() {
        "ready" => (Tone::Good, "works"),
        "starting" => (Tone::Warning, "is starting"),
        "waiting" => (Tone::Warning, "waits"),
        "stopping" => (Tone::Warning, "is stopping"),
        "backoff" => (Tone::Bad, "starts again soon"),
        "stopped" => (Tone::Bad, "is stopped"),
        _ => (Tone::Bad, "has failed"),
    }
}

/// What the box is doing after the pairing.
pub async fn progress(app: &Arc<App>) -> Markup {
    let chosen = app.view(|store, _| store.settings()).await;
    let status = app.init.status().await;
    let taken = match &chosen {
        Ok(chosen) if chosen.mail_password.is_none() => (Tone::Good, "done", None),
        _ => (Tone::Warning, "under way", app.unconfigured()),
    };
    html! {
        ul.steps {
            li {
                span { "Domain and account are set up" }
                " "
                (badge(taken.0, taken.1))
                @if let Some(why) = taken.2 { p.detail { (sentence(why)) " The box tries again by itself." } }
            }
            @match status {
                Ok(status) => {
                    li {
                        span { "The clock is set from the internet" }
                        " "
                        @if status.clock_synced { (badge(Tone::Good, "done")) }
                        @else { (badge(Tone::Warning, "under way")) }
                    }
                    @for service in &status.services {
                        @let (tone, word) = state(service);
                        li {
                            span { (known_as(&service.name)) } " "
                            (badge(tone, word))
                            @if !service.detail.is_empty() && service.state != "ready" {
                                p.detail { (sentence(&service.detail)) }
                            }
                        }
                    }
                }
                Err(why) => {
                    li {
                        span { "The box itself" } " "
                        (badge(Tone::Bad, "does not answer"))
                        p.detail { (sentence(why)) " If it stays like this, take the box’s power away and give it back." }
                    }
                }
            }
        }
    }
}
