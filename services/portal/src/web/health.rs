//! How the box is, in words.

use super::page::{Tone, badge, sentence};
use super::words::rounded;
use crate::actions::relay::Way;
use crate::app::App;
use maud::{Markup, html};
use roost_service::control::ServiceStatus;
use roost_service::tunnel::{Guard, SERVICE, State, Status};
use std::sync::Arc;
use std::time::Duration;

/// What a service is for, as the owner knows it.
pub fn known_as(service: &str) -> &str {
    match service {
        "mail" => "Mail",
        "updater" => "Updates",
        "backup" => "Backups",
        "portal" => "These pages",
        "dns" => "Name server",
        "resolver" => "Look-ups of names",
        "tunnel" => "Way to the relay",
        "certificates" => "Certificates",
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

/// How the box reaches its relay, on a card.
pub fn relay(way: &Way) -> Markup {
    html! {
        section.card {
            h2 { (known_as(SERVICE)) }
            (self::way(way))
            @match &way.status {
                Ok(status) if status.state == State::Up => dl { (line(status)) },
                _ => {}
            }
            p { a href="/relay" { "All about the relay" } }
        }
    }
}

/// Whether the box reaches its relay, what that means, and what to do.
pub fn way(way: &Way) -> Markup {
    let status = match &way.status {
        Ok(status) => status,
        Err(why) => {
            return html! {
                p { (badge(Tone::Bad, "does not answer")) " " (sentence(why)) }
                p {
                    "Nobody knows now whether mail from outside arrives. It may be starting: load this page again in a minute. "
                    a href={ "/logs?service=" (SERVICE) } { "Its log" } " says more."
                }
            };
        }
    };
    let since = rounded(Duration::from_secs(status.since_s));
    html! {
        @match (status.state, &way.refused) {
            (State::Unconfigured, Some(why)) => {
                p { (badge(Tone::Bad, "relay not usable")) " The relay’s text that this box was given cannot be used, so mail from outside cannot arrive." }
                p { strong { "Why: " } (sentence(why)) }
                p { "Paste the text again on the page Relay, as you got it where you made the relay." }
            },
            (State::Unconfigured, None) if way.given => {
                p { (badge(Tone::Warning, "is being set up")) " The box hands the relay that it was given to the tunnel. That takes some seconds." }
            },
            (State::Unconfigured, None) => {
                p { (badge(Tone::Warning, "no relay yet")) }
                p { "Mail from outside cannot arrive, unless your own connection has a public address. At home the box works all the same." }
            },
            (State::Up, _) => {
                p { (badge(Tone::Good, "connected")) " for " (since) "." }
            },
            (State::Down, _) if status.guard == Some(Guard::Waiting) => {
                p { (badge(Tone::Warning, "takes over")) " " (sentence(&status.summary)) }
                p { "Mail from outside waits with its senders meanwhile. Nothing is to be done." }
            },
            (State::Replaced, _) => {
                p { (badge(Tone::Bad, "stood down")) " " (sentence(&status.summary)) }
                p {
                    "Both are the same box, and if both served, mail would arrive now here, now there. So none comes or goes "
                    "here any more; what is here can be read. If the other is the one that you want, switch this one off for good, "
                    "or give it a new card. If it is this one, say so on the page Relay."
                }
            },
            (State::Down, _) => {
                p { (badge(Tone::Bad, "not connected")) " for " (since) ". " (sentence(&status.summary)) }
                p {
                    "Mail from outside waits with its senders meanwhile, for some days. See whether the internet works at home, "
                    "whether the relay runs, and whether it knows this box’s key, which the page Relay shows. The box tries again by itself."
                }
            },
        }
    }
}

/// Which relay, and how good the line to it is: terms and what they are.
pub fn line(status: &Status) -> Markup {
    html! {
        @if let Some(relay) = &status.relay { dt { "Relay" } dd { (relay) } }
        dt { "Round trip" }
        dd {
            @match status.rtt_ms {
                Some(ms) => { (format!("{ms:.*}", usize::from(ms < 9.95))) " ms" },
                None => "not measured",
            }
        }
        dt { "Packets lost" }
        dd { @match status.probe_loss { Some(share) => (percent(share)), None => "not measured" } }
    }
}

/// A share as people read it.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 {
        return "less than 1 %".to_owned();
    }
    format!("{percent:.0} %")
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
