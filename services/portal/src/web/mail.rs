//! Accounts, domains, queue: what the mail service does when it is asked
//! ([`crate::actions::mail`]). It checks names and limits itself; what it refuses is shown.

use super::page::{Field, Kind, Page, Tone, badge, fault, meter, note, sentence, token};
use super::visit::{Fields, Order, Signed};
use super::words::bytes;
use crate::actions::mail::{self, By, NewAccount, No, Waiting, overview};
use crate::app::App;
use crate::audit::{Actor, GB, gigabytes};
use crate::setup::MailPassword;
use crate::time::Wall;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use roost_service::mail::{Account, AppPassword, Domain, Overview, QueuedMessage};
use std::sync::Arc;

type Shell = State<Arc<App>>;

impl No {
    fn show(&self) -> Markup {
        match self {
            Self::Answer(no) => fault(
                no,
                Some(
                    "it may be starting: load this page again in a minute; the page Logs says more",
                ),
            ),
            Self::Refused {
                what,
                because,
                hint,
            } => fault(format!("{what}: {because}"), hint.as_deref()),
        }
    }
}

/// What is said above a page after an order.
enum Say {
    Nothing,
    Done(&'static str),
    /// A password that is shown once, and what it is for.
    Password(String, String),
    No(No),
}

/// Whoever sent this form.
fn by(order: &Order) -> By {
    By {
        who: Actor::Owner,
        from: order.by.place.from,
    }
}

impl Say {
    /// That it is done, or why not.
    fn done(result: Result<(), No>, what: &'static str) -> Self {
        match result {
            Ok(()) => Self::Done(what),
            Err(no) => Self::No(no),
        }
    }

    /// The password, or why there is none.
    fn password(result: Result<MailPassword, No>, what: String) -> Self {
        match result {
            Ok(password) => Self::Password(what, password.reveal().to_owned()),
            Err(no) => Self::No(no),
        }
    }

    fn show(&self) -> Markup {
        html! {
            @match self {
                Self::Nothing => {}
                Self::Done(what) => (note(Tone::Good, html! { p { (what) } })),
                Self::No(no) => (no.show()),
                Self::Password(what, password) => section.card {
                    h2 { (what) }
                    div.secret {
                        output #password { (password) }
                        button.quiet type="button" hidden data-copy="password" { "Copy" }
                    }
                    p { "Enter it where it is needed now: it is shown only this once." }
                }
            }
        }
    }
}

/// A value in a link.
pub fn quoted(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// A form with one button.
fn button(
    signed: &Signed,
    to: &str,
    fields: &[(&str, &str)],
    class: &str,
    name: &str,
    label: &str,
) -> Markup {
    html! {
        form method="post" action=(to) {
            (token(&signed.form))
            @for (field, value) in fields { (hidden(field, value)) }
            button class=(class) aria-label=(label) { (name) }
        }
    }
}

fn choose(id: &str, name: &str, label: &str, options: &[(&str, &str)], chosen: &str) -> Markup {
    html! {
        div.field {
            label for=(id) { (label) }
            select id=(id) name=(name) {
                @for (value, title) in options {
                    option value=(value) selected[*value == chosen] { (title) }
                }
            }
        }
    }
}

/// GET /mail
pub async fn accounts(State(app): Shell, signed: Signed) -> Response {
    accounts_page(&app, &signed, &Say::Nothing).await
}

async fn accounts_page(app: &App, signed: &Signed, say: &Say) -> Response {
    let content = match overview(app).await {
        Err(no) => No::Answer(no).show(),
        Ok(mail) => html! {
            (say.show())
            p.lead { "Everybody who has mail here. Programs and phones sign in with the account’s name or address at " strong { (mail.host) } "." }
            ul.rows {
                @for account in &mail.accounts {
                    li {
                        div {
                            a href={ "/mail/account?name=" (quoted(&account.name)) } { strong { (account.name) } }
                            @if !account.display_name.is_empty() { " " (account.display_name) }
                            @if account.first { " " (badge(Tone::Good, "first account")) }
                            p.detail { (account.addresses.join(", ")) }
                        }
                        div { (room(account)) }
                    }
                }
            }
            section.card {
                h2 { "New account" }
                form method="post" action="/mail" {
                    (token(&signed.form))
                    (Field { name: "name", label: "Name", help: Some("The part before the @, like bob. It is also the name to sign in with."), ..Field::default() }.show())
                    @let domains: Vec<_> = mail.domains.iter().map(|d| (d.name.as_str(), d.name.as_str())).collect();
                    (choose("domain", "domain", "Domain", &domains, ""))
                    (Field { name: "display_name", label: "The person’s name", required: false, ..Field::default() }.show())
                    (quota_field(None))
                    button { "Add the account" }
                }
                p.detail { "The box makes a password and shows it once." }
            }
        },
    };
    Page::new(app, signed, "/mail", "Accounts").show(content)
}

fn room(account: &Account) -> Markup {
    html! {
        @match account.quota {
            Some(quota) => {
                (meter("Mailbox", account.used, quota))
                p.detail { (bytes(account.used)) " of " (bytes(quota)) }
            }
            None => p.detail { (bytes(account.used)) },
        }
    }
}

fn quota_field(quota: Option<u64>) -> Markup {
    let value = quota.map(gigabytes).unwrap_or_default();
    Field {
        name: "quota",
        label: "Room in gigabytes",
        help: Some("Empty: as much as the card has."),
        kind: Kind::Number,
        value: &value,
        required: false,
        ..Field::default()
    }
    .show()
}

/// Reads what was typed into the quota's field.
fn quota(fields: &Fields) -> Result<Option<u64>, No> {
    let typed = fields.get("quota").trim().replace(',', ".");
    if typed.is_empty() {
        return Ok(None);
    }
    match typed.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e6 => Ok(Some((number * GB as f64) as u64)),
        _ => Err(No::Refused {
            what: "nothing was changed".into(),
            because: "the room is not a number of gigabytes".into(),
            hint: Some("write it like 5 or 0.5, or leave it empty".into()),
        }),
    }
}

/// POST /mail
pub async fn add_account(State(app): Shell, order: Order) -> Response {
    let fields = &order.fields;
    let name = fields.get("name").trim().to_owned();
    let say = match quota(fields) {
        Err(no) => Say::No(no),
        Ok(quota) => {
            let new = NewAccount {
                name: name.clone(),
                domain: fields.get("domain").to_owned(),
                display_name: fields.get("display_name").trim().to_owned(),
                quota,
            };
            let added = mail::add_account(&app, by(&order), new).await;
            Say::password(added, format!("Password of {name}"))
        }
    };
    accounts_page(&app, &order.by, &say).await
}

/// Which account.
#[derive(serde::Deserialize)]
pub struct Named {
    #[serde(default)]
    pub name: String,
}

/// GET /mail/account
pub async fn account(State(app): Shell, Query(named): Query<Named>, signed: Signed) -> Response {
    account_page(&app, &signed, &named.name, &Say::Nothing).await
}

async fn account_page(app: &App, signed: &Signed, name: &str, say: &Say) -> Response {
    let content = match (overview(app).await, mail::app_passwords(app, name).await) {
        (Err(no), _) => No::Answer(no).show(),
        (Ok(mail), passwords) => match mail.accounts.iter().find(|a| a.name == name) {
            None => {
                html! { (say.show()) p { "There is no such account. " a href="/mail" { "All accounts" } } }
            }
            Some(account) => account_body(signed, account, passwords, say),
        },
    };
    let title = if name.is_empty() { "Account" } else { name };
    Page::new(app, signed, "/mail", title).show(content)
}

fn account_body(
    signed: &Signed,
    account: &Account,
    passwords: Result<Vec<AppPassword>, No>,
    say: &Say,
) -> Markup {
    let name = account.name.as_str();
    let to = "/mail/account";
    let order =
        |what: &str| html! { (token(&signed.form)) (hidden("name", name)) (hidden("do", what)) };
    html! {
        (say.show())
        p { a href="/mail" { "All accounts" } }
        section.card {
            h2 { "Phones and mail programs" }
            p { "Settings to type in, a profile for iPhone and Mac, a QR code for Android." }
            p { a.button href={ "/mail/programs?name=" (quoted(name)) } { "Set up a program" } }
        }
        section.card {
            h2 { "Addresses" }
            ul.rows {
                @for (i, address) in account.addresses.iter().enumerate() {
                    li {
                        div { (address) }
                        @if i == 0 { span.detail { "the account’s own" } }
                        @else if is_needed(address) { span.detail { "every domain must have it" } }
                        @else { (button(signed, to, &[("name", name), ("do", "remove-alias"), ("address", address)], "quiet", "Remove", &format!("Remove {address}"))) }
                    }
                }
            }
            form method="post" action=(to) {
                (order("add-alias"))
                (Field { name: "address", label: "One more address", help: Some("Its domain must be one of the box’s."), ..Field::default() }.show())
                button { "Add the address" }
            }
        }
        section.card {
            h2 { "App passwords" }
            p { "One for each phone or program: when a phone is lost, only its password is taken away." }
            @match passwords {
                Ok(passwords) => (app_passwords(signed, name, &passwords)),
                Err(no) => (no.show()),
            }
            form method="post" action=(to) {
                (order("make-app-password"))
                (Field { name: "label", label: "What it is for", help: Some("Like phone, or Thunderbird on the laptop."), ..Field::default() }.show())
                button { "Make one" }
            }
        }
        section.card {
            h2 { "Name and room" }
            (room(account))
            form method="post" action=(to) {
                (order("change"))
                (Field { name: "display_name", label: "The person’s name", value: &account.display_name, required: false, ..Field::default() }.show())
                (quota_field(account.quota))
                button { "Save" }
            }
        }
        section.card {
            h2 { "Main password" }
            p { "The box makes a new one. Programs that use the old one ask for it then; app passwords stay." }
            form method="post" action=(to) { (order("set-password")) button.quiet { "Make a new password" } }
        }
        @if !account.first {
            section.card {
                h2 { "Remove" }
                p { "Deletes the account with all its mail, calendars and contacts, for good." }
                form method="post" action=(to) {
                    (order("remove"))
                    label.check { input type="checkbox" name="sure" value="yes" required; span { "I am sure" } }
                    button.danger { "Remove " (name) }
                }
            }
        }

    }
}

/// RFC 2142 asks every domain for these; they can only be given to another account.
fn is_needed(address: &str) -> bool {
    matches!(address.split('@').next(), Some("postmaster" | "abuse"))
}

fn app_passwords(signed: &Signed, name: &str, passwords: &[AppPassword]) -> Markup {
    html! {
        @if !passwords.is_empty() {
            ul.rows {
                @for password in passwords {
                    li {
                        div {
                            strong { (password.label) }
                            p.detail { "Made " (Wall(password.made)) }
                        }
                        (button(signed, "/mail/account", &[("name", name), ("do", "revoke-app-password"), ("id", &password.id)], "danger", "Revoke", &format!("Revoke {}", password.label)))
                    }
                }
            }
        }
    }
}

/// POST /mail/account
pub async fn change_account(State(app): Shell, order: Order) -> Response {
    let fields = &order.fields;
    let name = fields.get("name").to_owned();
    let field = |field: &str| fields.get(field).trim().to_owned();
    let by = by(&order);
    let of = name.clone();
    let say = match fields.get("do") {
        "add-alias" => {
            let done = mail::add_alias(&app, by, of, field("address")).await;
            Say::done(done, "The address is added.")
        }
        "remove-alias" => {
            let done = mail::remove_alias(&app, by, of, field("address")).await;
            Say::done(done, "The address is removed.")
        }
        "change" => match quota(fields) {
            Err(no) => Say::No(no),
            Ok(quota) => {
                // What the field shows is rounded: who leaves it as it is changes nothing.
                let quota = match mail::account(&app, &of).await {
                    Ok(Some(now)) if now.quota.map(gigabytes) == quota.map(gigabytes) => now.quota,
                    _ => quota,
                };
                let named = mail::set_display_name(&app, by, of.clone(), field("display_name"));
                let done = match named.await {
                    Ok(()) => mail::set_quota(&app, by, of, quota).await,
                    no => no,
                };
                Say::done(done, "Name and room are saved.")
            }
        },
        "set-password" => {
            let made = mail::set_password(&app, by, of).await;
            Say::password(made, format!("New password of {name}"))
        }
        "make-app-password" => {
            let label = field("label");
            match mail::make_app_password(&app, by, of, label.clone()).await {
                Ok((_, password)) => Say::Password(format!("App password for {label}"), password.0),
                Err(no) => Say::No(no),
            }
        }
        "revoke-app-password" => {
            let done = mail::revoke_app_password(&app, by, of, field("id")).await;
            Say::done(done, "That app password works no more.")
        }
        "remove" if fields.get("sure") == "yes" => {
            let done = mail::remove_account(&app, by, of).await;
            let say = Say::done(done, "The account is removed.");
            if matches!(say, Say::Done(_)) {
                return accounts_page(&app, &order.by, &say).await;
            }
            say
        }
        _ => Say::Nothing,
    };
    account_page(&app, &order.by, &name, &say).await
}

/// GET /mail/domains
pub async fn domains(State(app): Shell, signed: Signed) -> Response {
    domains_page(&app, &signed, &Say::Nothing).await
}

async fn domains_page(app: &App, signed: &Signed, say: &Say) -> Response {
    let content = match overview(app).await {
        Err(no) => No::Answer(no).show(),
        Ok(mail) => html! {
            (say.show())
            @for (i, domain) in mail.domains.iter().enumerate() { (domain_card(signed, &mail, domain, i)) }
            section.card {
                h2 { "One more domain" }
                form method="post" action="/mail/domains" {
                    (token(&signed.form))
                    (hidden("do", "add"))
                    (Field { name: "domain", label: "Domain", help: Some("One that you own, like example.net. Its DNS records are shown once it is added."), ..Field::default() }.show())
                    button { "Add the domain" }
                }
            }
        },
    };
    Page::new(app, signed, "/mail/domains", "Domains").show(content)
}

fn domain_card(signed: &Signed, mail: &Overview, domain: &Domain, i: usize) -> Markup {
    let mut catch: Vec<(&str, &str)> = vec![("", "nobody: it is refused")];
    catch.extend(
        mail.accounts
            .iter()
            .map(|a| (a.name.as_str(), a.name.as_str())),
    );
    let chosen = domain.catch_all.as_deref().unwrap_or("");
    html! {
        section.card {
            h2 { (domain.name) @if domain.main { " " (badge(Tone::Good, "the box’s own")) } }
            p { a href={ "/dns/zone?domain=" (quoted(&domain.name)) } aria-label={ "DNS records of " (domain.name) } { "DNS records" } }
            form.inline method="post" action="/mail/domains" {
                (token(&signed.form))
                (hidden("do", "catch-all"))
                (hidden("domain", &domain.name))
                (choose(&format!("catch-{i}"), "account", "Mail to addresses that nobody has goes to", &catch, chosen))
                button.quiet { "Save" }
            }
            @if !domain.main {
                details {
                    summary { "Remove " (domain.name) }
                    p { "No more mail is taken for it, and all accounts lose their addresses in it." }
                    (button(signed, "/mail/domains", &[("do", "remove"), ("domain", &domain.name)], "danger", "Remove", &format!("Remove {} now", domain.name)))
                }
            }
        }
    }
}

/// POST /mail/domains
pub async fn change_domains(State(app): Shell, order: Order) -> Response {
    let fields = &order.fields;
    let domain = fields.get("domain").trim().to_owned();
    let by = by(&order);
    let say = match fields.get("do") {
        "add" => Say::done(
            mail::add_domain(&app, by, domain).await,
            "The domain is added. Now set its DNS records.",
        ),
        "remove" => {
            let done = mail::remove_domain(&app, by, domain).await;
            Say::done(done, "The domain is removed.")
        }
        "catch-all" => {
            let account = Some(fields.get("account").to_owned()).filter(|name| !name.is_empty());
            let done = mail::set_catch_all(&app, by, domain, account).await;
            Say::done(done, "That is saved.")
        }
        _ => Say::Nothing,
    };
    domains_page(&app, &order.by, &say).await
}

/// Where a page of the queue begins.
#[derive(serde::Deserialize)]
pub struct After {
    after: Option<String>,
}

/// GET /mail/queue
pub async fn queue(State(app): Shell, Query(after): Query<After>, signed: Signed) -> Response {
    queue_page(&app, &signed, after.after, &Say::Nothing).await
}

async fn queue_page(app: &App, signed: &Signed, after: Option<String>, say: &Say) -> Response {
    let content = match mail::queue(app, after).await {
        Ok(Waiting { messages, more }) => html! {
            (say.show())
            @if messages.is_empty() {
                section.card { p { "Nothing waits: everything that was sent is delivered or was given up." } }
            } @else {
                p.lead { "Messages that are not delivered yet. The box tries again by itself, for some days." }
                ul.rows { @for message in &messages { (queued(signed, message)) } }
                @if more && let Some(last) = messages.last() {
                    p { a.button.quiet href={ "/mail/queue?after=" (quoted(&last.id)) } { "Later messages" } }
                }
            }
        },
        Err(no) => no.show(),
    };
    Page::new(app, signed, "/mail/queue", "Queue").show(content)
}

fn queued(signed: &Signed, message: &QueuedMessage) -> Markup {
    let from = if message.from.is_empty() {
        "the box itself"
    } else {
        &message.from
    };
    html! {
        li {
            div {
                strong { "From " (from) }
                p.detail { (bytes(message.size)) ", since " (Wall(message.came)) }
                @for to in &message.receivers {
                    p {
                        "To " (to.address) br;
                        span.detail {
                            @if let Some(fault) = &to.fault { (sentence(fault)) " " }
                            @match to.tries { 0 => "Not tried yet.", 1 => "Tried once.", n => { "Tried " (n) " times." } }
                            @if let Some(next) = to.next { " Again at " (Wall(next)) "." }
                            @if let Some(until) = to.until { " Given up at " (Wall(until)) "." }
                        }
                    }
                }
                @let others = message.waiting.saturating_sub(message.receivers.len() as u64);
                @if others > 0 { p.detail { "And " (others) " more receivers." } }
            }
            div.buttons {
                (button(signed, "/mail/queue", &[("do", "retry"), ("id", &message.id)], "quiet", "Try now", &format!("Try the message from {from} now")))
                (button(signed, "/mail/queue", &[("do", "delete"), ("id", &message.id)], "danger", "Delete", &format!("Delete the message from {from}")))
            }
        }
    }
}

/// POST /mail/queue
pub async fn change_queue(State(app): Shell, order: Order) -> Response {
    let id = order.fields.get("id").to_owned();
    let say = match order.fields.get("do") {
        "retry" => Say::done(
            mail::retry_queued(&app, id).await,
            "The box tries it now. Load this page again in a minute.",
        ),
        "delete" => Say::done(
            mail::delete_queued(&app, by(&order), id).await,
            "The message is deleted. Nobody is told.",
        ),
        _ => Say::Nothing,
    };
    queue_page(&app, &order.by, None, &say).await
}
