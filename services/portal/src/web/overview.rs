//! The page that the owner comes back to.

use super::certificates;
use super::checks;
use super::health::{self, known_as, state};
use super::page::{Page, Tone, Trouble, badge, fault, meter, note, sentence, with_code};
use super::updates::outcome;
use super::visit::Signed;
use super::words::{bytes, rounded, times};
use crate::actions::certificates::NotDone;
use crate::actions::mail::overview;
use crate::actions::relay::{self, Way};
use crate::actions::updates::{self, Report};
use crate::app::App;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use roost_service::certificates::Status;
use roost_service::mail::Overview;
use std::sync::Arc;
use std::time::Duration;

/// Free space below this share of the card is worth a word.
const LITTLE: f64 = 0.1;
/// Where Linux tells how warm the processor is, in thousandths of a degree.
const TEMPERATURE: &str = "/sys/class/thermal/thermal_zone0/temp";
/// From here on a Pi slows itself down.
const HOT: f64 = 80.0;

/// GET /
pub async fn show(State(app): State<Arc<App>>, signed: Signed) -> Result<Response, Trouble> {
    let (report, mail, way, trust) = tokio::join!(
        updates::status(&app),
        overview(&app),
        relay::look(&app),
        crate::actions::certificates::status(&app),
    );
    let way = way?;
    let settings = app.view(|store, _| store.settings()).await?;
    let alarming = app
        .view(|store, now| {
            let entries = store.audit(50)?;
            let recent = entries.into_iter().filter(|entry| {
                let day = Duration::from_secs(86_400);
                entry.what.is_alarming() && now.powered_on.since(entry.at.powered_on) < day
            });
            Ok::<_, Trouble>(recent.count())
        })
        .await?;
    let content = html! {
        @if alarming > 0 {
            (note(Tone::Warning, html! { p { strong { "Something happened at the box’s doors that you should know of." } " " a href="/activity" { "See the activity" } "." } }))
        }
        @for alarm in app.signatures.alarms() {
            (note(Tone::Bad, html! { p { strong { (with_code(&alarm)) } " " a href="/dns" { "See the DNS" } "." } }))
        }
        @if let Some(why) = app.unconfigured() {
            (fault(format!("domain and account are not set up yet: {why}"), Some("the box tries again by itself; if it stays like this, restart it on the page Updates")))
        }
        @if settings.domain.is_none() && app.settings.mailbox.is_none() {
            (note(Tone::Warning, html! { p { "This box has no domain yet, so it takes no mail." } }))
        }
        @match &report {
            Ok(report) => (machine(&app, report, mail.as_ref().ok(), &way, &trust)),
            Err(why) => (fault(why, Some("the box may be restarting: load this page again in a minute; if it stays like this, take its power away and give it back"))),
        }
    };
    Ok(Page::new(&app, &signed, "/", "Overview").show(content))
}

fn machine(
    app: &App,
    report: &Report,
    mail: Option<&Overview>,
    way: &Way,
    trust: &Result<Status, NotDone>,
) -> Markup {
    let status = &report.machine;
    let broken: Vec<_> = status
        .services
        .iter()
        .filter(|s| s.state != "ready")
        .collect();
    let full = (status.data_free as f64) < status.data_total as f64 * LITTLE;
    html! {
        @if let Some(why) = &status.rescue {
            (fault(format!("the box is in its rescue state: {why}"), Some("restart it; if that does not help, roll the last update back on the page Updates")))
        } @else if !broken.is_empty() {
            (note(Tone::Warning, html! {
                p { strong { "Not everything works yet." } " See below what is missing; the box starts by itself again what has failed." }
            }))
        } @else if app.signatures.alarms().is_empty() {
            (note(Tone::Good, html! { p { strong { "Everything works." } } }))
        }
        @if let Some(alarm) = certificates::alarm(trust) { (alarm) }
        @if full {
            (fault("the card is almost full", Some("delete mail that is not needed any more, or move to a larger card: without space the box takes no mail")))
        }
        div.cards {
            section.card {
                h2 { "Services" }
                ul.steps {
                    @for service in &status.services {
                        @let (tone, word) = state(service);
                        li {
                            span { (known_as(&service.name)) } " "
                            (badge(tone, word))
                            @if !service.detail.is_empty() { p.detail { (sentence(&service.detail)) } }
                            @if service.restarts > 0 {
                                p.detail { "Was started again " (times(service.restarts)) " since the box was switched on. " a href={ "/logs?service=" (service.name) } { "See why" } "." }
                            }
                        }
                    }
                }
            }
            section.card {
                h2 { "Mail" }
                @match mail {
                    Some(mail) => dl {
                        dt { "Server" } dd { (mail.host) }
                        dt { "Accounts" } dd { (mail.accounts.len()) }
                        dt { "Domains" } dd { (mail.domains.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ")) }
                        dt { "Waiting to be sent" }
                        dd {
                            @if mail.queued == 0 { "nothing" } @else { a href="/mail/queue" { (mail.queued) " messages" } }
                        }
                    },
                    None => p { "The mail service does not answer yet." },
                }
            }
            (health::relay(way))
            section.card {
                h2 { "Room" }
                (meter("Card", status.data_total - status.data_free.min(status.data_total), status.data_total))
                p { (bytes(status.data_free)) " of " (bytes(status.data_total)) " on the card are free." }
                (meter("Memory", status.memory_total - status.memory_available.min(status.memory_total), status.memory_total))
                p { (bytes(status.memory_available)) " of " (bytes(status.memory_total)) " memory are free." }
                @if let Some(degrees) = temperature() {
                    p {
                        "The processor has " (format!("{degrees:.0}")) " °C. "
                        @if degrees >= HOT { (badge(Tone::Bad, "hot")) " It slows itself down: give the box air." }
                    }
                }
            }
            section.card {
                h2 { "System" }
                dl {
                    dt { "Version" } dd { (status.version) }
                    dt { "Slot" } dd { (slot(status.slot)) @if status.trial_left_s.is_some() { " " (badge(Tone::Warning, "on trial")) } }
                    dt { "Switched on" } dd { (rounded(Duration::from_secs_f64(status.uptime_s.max(0.0)))) " ago" }
                    dt { "Clock" } dd {
                        @if status.clock_synced { "set from the internet" } @else { (badge(Tone::Warning, "not set")) " no time server has answered yet" }
                    }
                    dt { "Addresses" } dd { (status.addresses.join(", ")) }
                }
            }
            section.card {
                h2 { "Health" }
                (checks::overview(app))
                p { a href="/health" { "All checks" } }
            }
            section.card {
                h2 { "Updates" }
                @match &report.update {
                    Ok(update) => {
                        @match &update.last {
                            Some(last) => (outcome(last)),
                            None => p { "This box has not been updated yet." },
                        }
                        p { a href="/updates" { "All about updates" } }
                    }
                    Err(why) => p { (sentence(why)) },
                }
            }
            section.card {
                h2 { "Certificates" }
                (certificates::line(trust))
                p { "At home this box also vouches for itself. Its fingerprint as words:" }
                p.words { (app.identity.fingerprint().words().join(" ")) }
                details {
                    summary { "As browsers show it" }
                    p.mono { @for line in app.identity.fingerprint().lines() { (line) br; } }
                }
            }
        }
    }
}

/// A slot's letter.
pub fn slot(partition: u8) -> &'static str {
    match partition {
        2 => "A",
        3 => "B",
        _ => "none",
    }
}

/// Degrees Celsius, where the machine tells.
fn temperature() -> Option<f64> {
    let text = std::fs::read_to_string(TEMPERATURE).ok()?;
    let thousandths: f64 = text.trim().parse().ok()?;
    Some(thousandths / 1000.0)
}
