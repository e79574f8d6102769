//! Versions of the system.

use super::overview::slot;
use super::page::{self, Page, Refusal, Tone, Trouble, badge, fault, note, sentence, token};
use super::visit::{Order, Signed};
use super::words::rounded;
use crate::actions::updates::{self, NotDone, Report};
use crate::app::App;
use crate::audit::Actor;
use crate::time::Wall;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use roost_service::update::{Check, Outcome, Phase, UpdateStatus};
use std::sync::Arc;
use std::time::Duration;

type Shell = State<Arc<App>>;

/// What the updater or init said no to, on a page.
fn refused(what: &str, not: NotDone) -> Trouble {
    let mut refusal = Refusal::new(what, &not).link("/updates", "Back");
    let hint = match not {
        NotDone::Refused { hint, .. } => hint,
        _ => Some("try again in a minute".to_owned()),
    };
    if let Some(hint) = hint {
        refusal = refusal.hint(hint);
    }
    Trouble::Refused(StatusCode::CONFLICT, refusal)
}

/// A clock that was not set says something from 1970.
fn ended(outcome: &Outcome) -> Option<Wall> {
    (outcome.at > 1_600_000_000).then_some(Wall(outcome.at))
}

/// The updates before the last one, a line each.
fn earlier(outcomes: &[Outcome]) -> Markup {
    html! {
        section.card {
            h2 { "Earlier updates" }
            ul.steps {
                @for outcome in outcomes {
                    li {
                        span { (outcome.from.name) " to " (outcome.to.name) } " "
                        @match &outcome.rolled_back {
                            None => (badge(Tone::Good, "installed")),
                            Some(_) => (badge(Tone::Bad, "rolled back")),
                        }
                        @if let Some(reason) = &outcome.rolled_back { p.detail { (sentence(&reason.summary)) } }
                        @if let Some(at) = ended(outcome) { p.detail { (at) } }
                    }
                }
            }
        }
    }
}

/// How an update ended.
pub fn outcome(last: &Outcome) -> Markup {
    let took = rounded(Duration::from_secs(last.took_s));
    html! {
        @match &last.rolled_back {
            None => p { (badge(Tone::Good, "installed")) " " (last.to.name) " in place of " (last.from.name) ", after a trial of " (took) "." },
            Some(reason) => {
                p { (badge(Tone::Bad, "rolled back")) " " (last.to.name) " did not pass its trial, so " (last.from.name) " runs again." }
                p { strong { "Why: " } (sentence(&reason.summary)) }
                @if !reason.checks.is_empty() { (checks(&reason.checks)) }
                @if !reason.log.is_empty() {
                    details { summary { "Its last words" } pre.small { @for line in &reason.log { (line) "\n" } } }
                }
            }
        }
        @if let Some(at) = ended(last) { p.detail { "Ended " (at) "." } }
    }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        ul.steps {
            @for check in checks {
                li {
                    span { (check.name) } " "
                    @match check.passed {
                        Some(true) => (badge(Tone::Good, "passed")),
                        Some(false) => (badge(Tone::Bad, "failed")),
                        None => (badge(Tone::Warning, "not yet")),
                    }
                    @if !check.detail.is_empty() { p.detail { (sentence(&check.detail)) } }
                }
            }
        }
    }
}

fn phase(phase: &Phase) -> Markup {
    html! {
        @match phase {
            Phase::Idle => p { "Nothing is being installed." },
            Phase::Writing { version } => p { (badge(Tone::Warning, "writing")) " " (version.name) " is being written. The box works on meanwhile." },
            Phase::Staged { version } => p { (badge(Tone::Warning, "ready")) " " (version.name) " is written and is tried at the next restart." },
            Phase::Trial { version, from, checks: list } => {
                p { (badge(Tone::Warning, "on trial")) " " (version.name) " is tried. If a check fails, " (from.name) " comes back by itself." }
                (checks(list))
            }
        }
    }
}

/// What is being done, or how it ended: for a page that looks again while that changes.
fn stand(update: &UpdateStatus) -> Markup {
    html! {
        @match (&update.phase, &update.last) {
            (Phase::Idle, Some(last)) => (outcome(last)),
            (now, _) => (phase(now)),
        }
    }
}

/// GET /updates: a piece of it for a script.
pub async fn show(State(app): Shell, headers: HeaderMap, signed: Signed) -> Response {
    if headers.contains_key("x-roost-poll") {
        return match updates::status(&app).await {
            Ok(Report {
                update: Ok(update), ..
            }) => page::piece(&stand(&update)),
            _ => page::piece(&html! { p { "The box does not tell just now." } }),
        };
    }
    let failed = |why: NotDone| {
        html! {
            (fault(why, Some("the box may be restarting: load this page again in a minute")))
            (restart_card(&signed))
        }
    };
    let content = match updates::status(&app).await {
        Ok(Report {
            machine,
            update: Ok(update),
        }) => body(&signed, machine.slot, &update),
        Ok(Report {
            update: Err(why), ..
        })
        | Err(why) => failed(why),
    };
    Page::new(&app, &signed, "/updates", "Updates").show(content)
}

fn body(signed: &Signed, running: u8, update: &UpdateStatus) -> Markup {
    html! {
        div.cards {
            section.card {
                h2 { "Now" }
                dl {
                    dt { "Running" } dd { (update.running.name) " in slot " (slot(running)) }
                    dt { "Other slot" } dd { @match &update.other { Some(other) => (other.name), None => "nothing that could run" } }
                }
                @match &update.phase {
                    Phase::Idle => (phase(&update.phase)),
                    now => div aria-live="polite" data-poll="/updates" data-every="3" { (phase(now)) },
                }
                form method="post" action="/updates/look" {
                    (token(&signed.form))
                    button { "Look for an update now" }
                }
                p.detail { "The box looks where " code { "update.url" } " of " code { "roost.toml" } " says. From your laptop, " code { "roost update" } " brings one at any time." }
            }
            (file_card(signed))
            section.card {
                h2 { "Last update" }
                @match &update.last {
                    Some(last) => (outcome(last)),
                    None => p { "This box has not been updated yet." },
                }
            }
            @if !update.earlier.is_empty() { (earlier(&update.earlier)) }
            @if let Some(other) = &update.other {
                section.card {
                    h2 { "Go back" }
                    p { "The other slot has " strong { (other.name) } ". The box restarts into it on trial and keeps it if everything works." }
                    form method="post" action="/updates/rollback" {
                        (token(&signed.form))
                        label.check {
                            input type="checkbox" name="older" value="yes";
                            span { "Also if its mail store is older and lacks what came since the update" }
                        }
                        button.danger { "Go back to " (other.name) }
                    }
                }
            }
            (restart_card(signed))
        }
    }
}

/// The script does all of it: what is sent depends on what the box lacks.
fn file_card(signed: &Signed) -> Markup {
    html! {
        section.card {
            h2 { "Install an update from a file" }
            noscript { p { "This needs JavaScript. Without it, use " code { "roost update" } " on your laptop." } }
            div data-upload=(signed.form.as_str()) data-script hidden {
                div.field {
                    label for="bundle" { "Update file" }
                    input #bundle type="file" accept=".bundle" aria-describedby="bundle-help";
                    p.help #bundle-help { "Called " code { "roost.bundle" } ". Only what the box lacks is sent." }
                }
                div data-part="offer" hidden {
                    dl {
                        dt { "Runs now" } dd data-part="from" {}
                        dt { "Update to" } dd data-part="to" {}
                        dt { "To send" } dd data-part="send" {}
                        dt { "Mail is away" } dd data-part="away" {}
                    }
                    pre.small data-part="notes" hidden tabindex="0" aria-label="What is new" {}
                    p { "The box restarts into it on trial. If it does not pass, the version from now comes back by itself." }
                    div.buttons {
                        button type="button" data-part="install" { "Install" }
                        button.quiet type="button" data-part="cancel" { "Cancel" }
                    }
                }
                progress data-part="bar" max="100" value="0" aria-label="Sent" hidden {}
                p data-part="says" role="status" {}
            }
            p.detail { "An older version, or one without a way back, is installed with " code { "roost update --allow-downgrade" } " or " code { "--allow-irreversible" } " only." }
        }
    }
}

fn restart_card(signed: &Signed) -> Markup {
    html! {
        section.card {
            h2 { "Restart" }
            p { "Mail waits with its senders for the minute that it takes." }
            form method="post" action="/restart" { (token(&signed.form)) button.quiet { "Restart the box" } }
        }
    }
}

fn going_down(app: &App, signed: &Signed, why: &str) -> Response {
    let content = html! {
        (note(Tone::Good, html! { p { strong { (why) } } }))
        p { "It is back in about a minute; this page looks for it." }
        div data-back="/" aria-live="polite" { noscript { p { a.button href="/" { "See whether it is back" } } } }
    };
    Page::new(app, signed, "/updates", "The box restarts").show(content)
}

/// POST /updates/look
pub async fn look(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let Order { .. } = order;
    let no = |not| refused("The box does not look for an update", not);
    updates::look(&app).await.map_err(no)?;
    Ok(Redirect::to("/updates").into_response())
}

/// POST /updates/rollback
pub async fn roll_back(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let older = order.fields.get("older") == "yes";
    let by = &order.by;
    let no = |not| refused("The box does not go back", not);
    updates::roll_back(&app, older, Actor::Owner, by.place.from)
        .await
        .map_err(no)?;
    Ok(going_down(
        &app,
        by,
        "The box restarts into the other version.",
    ))
}

/// POST /restart
pub async fn restart(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let by = &order.by;
    let no = |not| refused("The box does not restart", not);
    updates::restart(&app, Actor::Owner, by.place.from)
        .await
        .map_err(no)?;
    Ok(going_down(&app, by, "The box restarts."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::update::{Reason, Version};

    #[test]
    fn earlier_updates_are_a_line_each() {
        let version = |number| Version {
            number,
            name: format!("0.1.0+{number}"),
        };
        let outcome = |number, at, why: Option<&str>| Outcome {
            from: version(number - 1),
            to: version(number),
            at,
            took_s: 60,
            rolled_back: why.map(|summary| Reason {
                summary: summary.to_owned(),
                checks: Vec::new(),
                log: Vec::new(),
            }),
        };
        let shown = earlier(&[
            outcome(3, 1_800_000_000, Some("mail did not <start>")),
            outcome(2, 12, None),
        ]);
        insta::assert_snapshot!(shown.into_string().replace("<li>", "\n<li>"));
    }
}
