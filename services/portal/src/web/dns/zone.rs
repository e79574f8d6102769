//! One zone: its records, what the registrar needs, and what the owner may change.

use super::records::{all, count, lines, name_servers};
use super::{Named, Shell, alarm, no, stand, status_of, with_status};
use crate::actions::dns::{self, NotDone};
use crate::app::App;
use crate::web::mail::quoted;
use crate::web::page::{Page, Tone, note, sentence, token};
use crate::web::visit::Signed;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use roost_service::dns::{Dmarc, LeftOut, Record, Zone};

/// What is said above the page after an order, and what was typed.
#[derive(Default)]
pub(super) struct Say {
    pub above: Option<Markup>,
    /// What was typed as the owner's records, and why it cannot be kept: a line for each that is wrong.
    pub own: Option<(String, String)>,
    /// A zone file that cannot be read, and why.
    pub file: Option<(String, String)>,
    /// What of a zone file can be kept, and what not.
    pub divided: Option<(String, Vec<LeftOut>)>,
    pub status: Option<StatusCode>,
}

/// GET /dns/zone
pub async fn show(State(app): Shell, Query(named): Query<Named>, signed: Signed) -> Response {
    page(&app, &signed, &named.domain, Say::default()).await
}

/// GET /dns/export: the zone as a file.
pub async fn export(State(app): Shell, Query(named): Query<Named>, signed: Signed) -> Response {
    let domain = named.domain;
    match dns::export(&app, domain.clone(), named.signed).await {
        Ok(text) => {
            let mut answer = text.into_response();
            let headers = answer.headers_mut();
            // RFC 4027.
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/dns; charset=utf-8"),
            );
            let file = format!("attachment; filename=\"{domain}.zone\"");
            if let Ok(file) = HeaderValue::try_from(file) {
                headers.insert(CONTENT_DISPOSITION, file);
            }
            answer
        }
        Err(not) => {
            let say = Say {
                above: Some(no(&not)),
                status: Some(status_of(&not)),
                ..Say::default()
            };
            page(&app, &signed, &domain, say).await
        }
    }
}

pub(super) async fn page(app: &App, signed: &Signed, domain: &str, say: Say) -> Response {
    let content = match content(app, signed, domain, &say).await {
        Ok(Some(content)) => content,
        Ok(None) => html! { p { "There is no such zone. That of a new domain takes a minute." } },
        Err(not) => unshown(&not, &say),
    };
    let content = html! { p { a href="/dns" { "All zones" } } (content) };
    let title = if domain.is_empty() { "Zone" } else { domain };
    let page = Page::new(app, signed, "/dns", title).show(content);
    with_status(page, say.status.unwrap_or_default())
}

/// Instead of the page: why there is none, and what was typed into it.
fn unshown(not: &NotDone, say: &Say) -> Markup {
    let typed = say.own.as_ref().or(say.file.as_ref());
    html! {
        @if let Some(above) = &say.above { (above) }
        (no(not))
        @if let Some((typed, _)) = typed {
            section.card { h2 { "What you typed" } pre.small tabindex="0" { (typed) } }
        }
    }
}

async fn content(
    app: &App,
    signed: &Signed,
    domain: &str,
    say: &Say,
) -> Result<Option<Markup>, NotDone> {
    let status = dns::status(app).await?;
    let Some(zone) = status.zones.iter().find(|zone| zone.domain == domain) else {
        return Ok(None);
    };
    let (records, own) = tokio::join!(
        dns::records(app, zone.domain.clone()),
        dns::own(app, zone.domain.clone())
    );
    let (records, unread) = match records {
        Ok(records) => (records, None),
        Err(not) => (Vec::new(), Some(no(&not))),
    };
    let form = Form { signed, zone };
    Ok(Some(html! {
        @if let Some(above) = &say.above { (above) }
        (alarm(app, &zone.domain))
        section.card { h2 { "Now" } (stand(zone)) }
        (registrar(zone, &records))
        section.card {
            h2 { "Check" }
            p { "Asks this box, its relay and the registry what they answer, and compares that with what should be. It takes some seconds." }
            p { a.button href={ "/dns/check?domain=" (quoted(&zone.domain)) } { "Check now" } }
        }
        (form.dmarc())
        section.card {
            h2 { "Records" }
            @if let Some(unread) = unread { (unread) }
            @else if records.is_empty() { p { "There are none yet." } }
            @else { p { "Each says what it is for." } }
            (all(&records))
        }
        (form.own(own, say))
        (form.import(say))
        (export_card(zone, &records))
        @if !zone.keys.is_empty() { (form.key()) }
    }))
}

/// What is to be done where the domain was bought.
fn registrar(zone: &Zone, records: &[Record]) -> Markup {
    let servers = name_servers(&zone.domain, records);
    let nowhere = servers.iter().all(|(_, addresses)| addresses.is_empty());
    let parent = zone.delegation.as_ref();
    html! {
        section.card {
            h2 { "For your registrar" }
            p { "That is the company where you bought the domain. Its pages have a place for name servers and one for DNSSEC." }
            @if nowhere {
                (note(Tone::Warning, html! {
                    p { strong { "Make a relay first." } " This box has no address on the internet yet, so nobody could ask it. " a href="/relay" { "The page Relay" } " says how it stands." }
                }))
            } @else {
                h3 { "Name servers, with their addresses" }
                @for (i, (name, addresses)) in servers.iter().enumerate() {
                    (copied(&format!("server-{i}"), &format!("{name} {}", addresses.join(" "))))
                }
            }
            h3 { "DS record, once the name servers are in force" }
            @if zone.ds.is_empty() { p { "None yet: the box has not signed the zone so far." } }
            @for (i, ds) in zone.ds.iter().enumerate() { (copied(&format!("ds-{i}"), ds)) }
            @if let Some(parent) = parent && !(parent.name_servers.is_empty() && parent.ds.is_empty()) {
                h3 { "What the registry has now" }
                @for line in parent.name_servers.iter().chain(&parent.ds) { p.mono { (line) } }
            }
        }
    }
}

/// Text to be copied.
fn copied(id: &str, text: &str) -> Markup {
    html! {
        div.secret {
            output.long id=(id) { (text) }
            button.quiet type="button" hidden data-copy=(id) aria-label={ "Copy " (text) } { "Copy" }
        }
    }
}

fn export_card(zone: &Zone, records: &[Record]) -> Markup {
    let to = format!("/dns/export?domain={}", quoted(&zone.domain));
    html! {
        section.card {
            h2 { "Take the zone elsewhere" }
            @if zone.serial.is_some() {
                p { "A file that other name servers read." }
                div.buttons {
                    a.button.quiet href=(to) download { "Download the records" }
                    a.button.quiet href={ (to) "&signed=true" } download { "Download with signatures" }
                }
            } @else {
                p { "If another name server answers for the domain, enter these records there." }
            }
            @if !records.is_empty() {
                details { summary { (count(records.len())) " to enter by hand" } pre.small tabindex="0" { (lines(records)) } }
            }
        }
    }
}

/// The forms of a zone.
struct Form<'a> {
    signed: &'a Signed,
    zone: &'a Zone,
}

impl Form<'_> {
    fn fields(&self, what: &str) -> Markup {
        html! {
            (token(&self.signed.form))
            input type="hidden" name="domain" value=(self.zone.domain);
            input type="hidden" name="do" value=(what);
        }
    }

    fn dmarc(&self) -> Markup {
        let Some(state) = &self.zone.dmarc else {
            return html! {};
        };
        let chosen = state.chosen.then_some(state.stage);
        let stages = [
            (
                "automatic",
                None,
                "as the box thinks fit, more strictly as time goes by",
            ),
            ("none", Some(Dmarc::None), "only report it"),
            (
                "quarantine",
                Some(Dmarc::Quarantine),
                "put it into the junk folder",
            ),
            ("reject", Some(Dmarc::Reject), "refuse it"),
        ];
        html! {
            section.card {
                h2 { "Forged mail" }
                p { "Mail that claims to come from this domain and does not, now " (super::forged(state)) " (DMARC)." }
                form.inline method="post" action="/dns/zone" {
                    (self.fields("dmarc"))
                    div.field {
                        label for="stage" { "Receivers shall" }
                        select id="stage" name="stage" {
                            @for (value, stage, title) in stages { option value=(value) selected[stage == chosen] { (title) } }
                        }
                    }
                    button.quiet { "Save" }
                }
                p.detail { "Where it is refused, mailing lists that change messages lose yours." }
            }
        }
    }

    /// Without what is kept there is no field: whoever saves it empty would lose all of it.
    fn own(&self, kept: Result<String, NotDone>, say: &Say) -> Markup {
        let field = match (&say.own, kept) {
            (Some((typed, why)), _) => Ok((typed.clone(), Some(why))),
            (None, Ok(kept)) => Ok((kept, None)),
            (None, Err(not)) => Err(no(&not)),
        };
        html! {
            section.card {
                h2 { "Your own records" }
                p { "They stand beside those of the box. Nothing is changed unless every line can be taken." }
                @match field {
                    Ok((text, why)) => form method="post" action="/dns/zone" {
                        (self.fields("own"))
                        (area("own", "One record a line", "Like www 3600 IN A 192.0.2.80, or a name with a dot at its end.", &text, why))
                        button { "Save the records" }
                    },
                    Err(not) => (not),
                }
            }
        }
    }

    fn import(&self, say: &Say) -> Markup {
        let (text, why) = match &say.file {
            Some((typed, why)) => (typed.as_str(), Some(why)),
            None => ("", None),
        };
        html! {
            section.card {
                h2 { "Bring records from another name server" }
                @if let Some((keep, left_out)) = &say.divided {
                    div role="status" {
                        @if keep.trim().is_empty() { p { strong { "None of these records can be kept." } } }
                        @else {
                            p { strong { "These can be kept, and are not yet:" } }
                            pre.small tabindex="0" { (keep) }
                        }
                        @if !left_out.is_empty() {
                            p { strong { "These are left out:" } }
                            ul.rows { @for left in left_out { li { div { span.mono { (left.record) } p.detail { (sentence(&left.why)) } } } } }
                        }
                    }
                    @if !keep.trim().is_empty() {
                        form method="post" action="/dns/zone" {
                            (self.fields("keep"))
                            input type="hidden" name="keep" value=(keep);
                            button { "Add these to your own records" }
                        }
                    }
                }
                form method="post" action="/dns/zone" {
                    (self.fields("import"))
                    (area("file", "A zone file", "As other name servers export it (BIND’s form). The box first shows what of it can be kept.", text, why))
                    button.quiet { "Show what can be kept" }
                }
            }
        }
    }

    fn key(&self) -> Markup {
        html! {
            section.card {
                h2 { "Replace the key" }
                p { "Only if the key that the registrar knows may have become known to others; the key that signs the records is replaced by itself." }
                details {
                    summary { "Replace the key of " (self.zone.domain) }
                    form method="post" action="/dns/zone" {
                        (self.fields("replace-key"))
                        label.check { input type="checkbox" name="sure" value="yes" required; span { "I am sure, and will give my registrar the new DS record when this page shows it" } }
                        button.danger { "Replace the key" }
                    }
                }
            }
        }
    }
}

/// A field for many lines, with what is wrong beside it, line by line.
fn area(name: &str, label: &str, help: &str, text: &str, why: Option<&String>) -> Markup {
    let (help_id, wrong_id) = (format!("{name}-help"), format!("{name}-wrong"));
    let described = match why {
        Some(_) => format!("{wrong_id} {help_id}"),
        None => help_id.clone(),
    };
    html! {
        div.field {
            label for=(name) { (label) }
            // The first line feed behind the tag is not taken as text (HTML, "textarea").
            textarea.lines id=(name) name=(name) rows="10" spellcheck="false" autocomplete="off" autocapitalize="none"
                wrap="off" aria-describedby=(described) aria-invalid=[why.map(|_| "true")] { "\n" (text) }
            @if let Some(why) = why {
                div id=(wrong_id) { @for line in why.lines() { p.wrong { (sentence(line)) } } }
            }
            p.help id=(help_id) { (help) }
        }
    }
}
