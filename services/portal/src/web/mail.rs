//! Accounts, domains, DNS records, queue: what the mail service does when it is asked
//! ([`roost_service::mail`]). It checks names and limits itself; what it refuses is shown.

use super::page::{Field, Kind, Page, Tone, badge, fault, meter, note, sentence, token};
use super::visit::{Fields, Order, Signed};
use super::words::bytes;
use crate::actions::pairing::mail_password;
use crate::app::App;
use crate::lookup::{self, Found};
use crate::sockets::{NoAnswer, ask};
use crate::time::Wall;
use axum::extract::{Query, State};
use axum::response::Response;
use domain::resolv::stub::conf::ResolvConf;
use maud::{Markup, html};
use roost_service::mail::{
    Account, Answer, AppPassword, Call, DnsRecord, Domain, Overview, QueuedMessage, Secret,
};
use std::io;
use std::sync::Arc;

type Shell = State<Arc<App>>;

const WHO: &str = "the mail service";
/// Bytes of a gigabyte, as owners and sellers of cards count.
const GB: u64 = 1_000_000_000;

/// Why a page or an order about mail came to nothing.
enum No {
    Answer(NoAnswer),
    Refused {
        what: String,
        because: String,
        hint: Option<String>,
    },
}

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

async fn call(app: &App, call: &Call) -> Result<Answer, No> {
    match ask(WHO, &app.places.mail, call).await {
        Ok(Answer::Error {
            what,
            because,
            hint,
        }) => Err(No::Refused {
            what,
            because,
            hint,
        }),
        Ok(answer) => Ok(answer),
        Err(no) => Err(No::Answer(no)),
    }
}

fn strange() -> No {
    No::Answer(NoAnswer {
        who: WHO,
        why: io::Error::other("it answers something else"),
    })
}

/// Accounts and domains.
pub async fn overview(app: &App) -> Result<Overview, NoAnswer> {
    match call(app, &Call::Overview).await {
        Ok(Answer::Overview(overview)) => Ok(overview),
        Err(No::Answer(no)) => Err(no),
        Err(No::Refused { what, because, .. }) => Err(NoAnswer {
            who: WHO,
            why: io::Error::other(format!("{what}: {because}")),
        }),
        Ok(_) => Err(NoAnswer {
            who: WHO,
            why: io::ErrorKind::InvalidData.into(),
        }),
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

impl Say {
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

fn gigabytes(bytes: u64) -> String {
    let text = format!("{:.3}", bytes as f64 / GB as f64);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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
            let (password, hash) = mail_password(&app).await;
            let add = Call::AddAccount {
                name: name.clone(),
                domain: fields.get("domain").to_owned(),
                display_name: fields.get("display_name").trim().to_owned(),
                password_hash: Secret(hash.into()),
                quota,
            };
            match call(&app, &add).await {
                Ok(_) => Say::Password(format!("Password of {name}"), password.reveal().to_owned()),
                Err(no) => Say::No(no),
            }
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
    let of = Call::AppPasswords {
        name: name.to_owned(),
    };
    let content = match (overview(app).await, call(app, &of).await) {
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
    passwords: Result<Answer, No>,
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
                Ok(Answer::AppPasswords { passwords }) => (app_passwords(signed, name, &passwords)),
                Ok(_) => (strange().show()),
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
    let done = async |orders: &[Call], what| {
        for order in orders {
            if let Err(no) = call(&app, order).await {
                return Say::No(no);
            }
        }
        Say::Done(what)
    };
    let say = match fields.get("do") {
        "add-alias" => {
            let address = field("address");
            done(
                &[Call::AddAlias {
                    name: name.clone(),
                    address,
                }],
                "The address is added.",
            )
            .await
        }
        "remove-alias" => {
            let address = field("address");
            done(
                &[Call::RemoveAlias {
                    name: name.clone(),
                    address,
                }],
                "The address is removed.",
            )
            .await
        }
        "change" => match quota(fields) {
            Err(no) => Say::No(no),
            Ok(quota) => {
                let display_name = field("display_name");
                let orders = [
                    Call::SetDisplayName {
                        name: name.clone(),
                        display_name,
                    },
                    Call::SetQuota {
                        name: name.clone(),
                        quota,
                    },
                ];
                done(&orders, "Name and room are saved.").await
            }
        },
        "set-password" => {
            let (password, hash) = mail_password(&app).await;
            let password_hash = Secret(hash.into());
            match call(
                &app,
                &Call::SetPassword {
                    name: name.clone(),
                    password_hash,
                },
            )
            .await
            {
                Ok(_) => Say::Password(
                    format!("New password of {name}"),
                    password.reveal().to_owned(),
                ),
                Err(no) => Say::No(no),
            }
        }
        "make-app-password" => {
            let label = field("label");
            match call(
                &app,
                &Call::MakeAppPassword {
                    name: name.clone(),
                    label: label.clone(),
                },
            )
            .await
            {
                Ok(Answer::AppPassword { password, .. }) => {
                    Say::Password(format!("App password for {label}"), password.0)
                }
                Ok(_) => Say::No(strange()),
                Err(no) => Say::No(no),
            }
        }
        "revoke-app-password" => {
            let id = field("id");
            done(
                &[Call::RevokeAppPassword {
                    name: name.clone(),
                    id,
                }],
                "That app password works no more.",
            )
            .await
        }
        "remove" if fields.get("sure") == "yes" => {
            let say = done(
                &[Call::RemoveAccount { name: name.clone() }],
                "The account is removed.",
            )
            .await;
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
            p { a href={ "/mail/dns?name=" (quoted(&domain.name)) } aria-label={ "DNS records of " (domain.name) } { "DNS records" } }
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
    let (order_, what) = match fields.get("do") {
        "add" => {
            let account = None;
            (
                Call::AddDomain { domain, account },
                "The domain is added. Now set its DNS records.",
            )
        }
        "remove" => (Call::RemoveDomain { domain }, "The domain is removed."),
        "catch-all" => {
            let account = Some(fields.get("account").to_owned()).filter(|name| !name.is_empty());
            (Call::SetCatchAll { domain, account }, "That is saved.")
        }
        _ => return domains_page(&app, &order.by, &Say::Nothing).await,
    };
    let say = match call(&app, &order_).await {
        Ok(_) => Say::Done(what),
        Err(no) => Say::No(no),
    };
    domains_page(&app, &order.by, &say).await
}

/// GET /mail/dns
pub async fn dns(State(app): Shell, Query(named): Query<Named>, signed: Signed) -> Response {
    let of = Call::Dns {
        domain: named.name.clone(),
    };
    let content = match call(&app, &of).await {
        Ok(Answer::Dns { records }) => {
            let found = lookup::look_up(ResolvConf::default(), &records).await;
            html! {
                p.lead { "What the name servers of " strong { (named.name) } " should say, and what they say now. Enter these where you manage the domain." }
                @let nothing = found.iter().all(|found| matches!(found, Found::NotTold(_)));
                (dns_summary(&records, &found))
                @for (i, (record, found)) in records.iter().zip(&found).enumerate() { (record_card(record, (!nothing).then_some(found), i)) }
            }
        }
        Ok(_) => strange().show(),
        Err(no) => no.show(),
    };
    let content = html! { p { a href="/mail/domains" { "All domains" } } (content) };
    Page::new(&app, &signed, "/mail/domains", "DNS records").show(content)
}

fn dns_summary(records: &[DnsRecord], found: &[Found]) -> Markup {
    let there = |found: &Found| matches!(found, Found::Right | Found::Something(_));
    let missing = (records.iter().zip(found))
        .filter(|(record, found)| record.needed && !there(found))
        .count();
    let right = found.iter().filter(|found| there(found)).count();
    html! {
        @if found.iter().all(|found| matches!(found, Found::NotTold(_))) {
            (note(Tone::Warning, html! {
                p { strong { "The box cannot see what the DNS says now." } " It asks the resolver of its network; see whether the internet connection works." }
            }))
        } @else if missing > 0 {
            (note(Tone::Bad, html! {
                p { strong { (missing) " of the records that mail needs " (if missing == 1 { "is" } else { "are" }) " not there yet." } " A change may take an hour to be seen here." }
            }))
        } @else {
            (note(Tone::Good, html! {
                p { strong { "All that mail needs is there." } " " (right) " of " (records.len()) " records are." }
            }))
        }
    }
}

fn found_badge(record: &DnsRecord, found: &Found) -> Markup {
    match found {
        Found::Right => badge(Tone::Good, "as it should be"),
        Found::Something(_) => badge(Tone::Good, "there"),
        Found::Wrong(_) => badge(Tone::Bad, "differs"),
        Found::Nothing if record.needed => badge(Tone::Bad, "missing"),
        Found::Nothing => badge(Tone::Warning, "missing"),
        Found::NotTold(_) => badge(Tone::Warning, "not known"),
    }
}

/// Without what was found when nobody told anything: the page says that once.
fn record_card(record: &DnsRecord, found: Option<&Found>, i: usize) -> Markup {
    let id = format!("record-{i}");
    html! {
        section.card {
            h2 {
                (record.kind) " " span.plain { (record.name) } " "
                @if record.needed { (badge(Tone::Warning, "needed")) " " }
                @if let Some(found) = found { (found_badge(record, found)) }
            }
            p { (sentence(&record.purpose)) }
            @match found {
                Some(Found::Wrong(there) | Found::Something(there)) => p {
                    "Found: " @for (i, value) in there.iter().enumerate() { @if i > 0 { ", " } code.long { (value) } }
                },
                Some(Found::NotTold(why)) => p.detail { (sentence(why)) },
                Some(Found::Right | Found::Nothing) | None => {}
            }
            @match &record.value {
                Some(value) => div.secret {
                    output.long id=(id) { (value) }
                    button.quiet type="button" hidden data-copy=(id) aria-label={ "Copy " (record.kind) " of " (record.name) } { "Copy" }
                },
                None => p { "Your public address: that of your relay, or of your router." },
            }
        }
    }
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
    let content = match call(app, &Call::Queue { after }).await {
        Ok(Answer::Queue { messages, more }) => html! {
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
        Ok(_) => strange().show(),
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
    let (order_, what) = match order.fields.get("do") {
        "retry" => (
            Call::RetryQueued { id },
            "The box tries it now. Load this page again in a minute.",
        ),
        "delete" => (
            Call::DeleteQueued { id },
            "The message is deleted. Nobody is told.",
        ),
        _ => return queue_page(&app, &order.by, None, &Say::Nothing).await,
    };
    let say = match call(&app, &order_).await {
        Ok(_) => Say::Done(what),
        Err(no) => Say::No(no),
    };
    queue_page(&app, &order.by, None, &say).await
}
