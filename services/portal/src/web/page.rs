//! What pages have in common: the frame, the fields, messages and refusals.

use super::assets::VERSION;
use super::visit::{Signed, TOKEN};
use crate::app::App;
use crate::csrf::FormToken;
use crate::init::AskError;
use crate::store::StoreError;
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use roost_service::names::Reason;
use std::fmt::Display;

/// Where the owner may go.
pub struct Place {
    pub path: &'static str,
    pub name: &'static str,
}

/// The pages in the menu, in groups.
pub const MENU: &[(&str, &[Place])] = &[
    (
        "Box",
        &[
            place("/", "Overview"),
            place("/health", "Health"),
            place("/relay", "Relay"),
            place("/dns", "DNS"),
            place("/certificates", "Certificates"),
            place("/backups", "Backups"),
            place("/updates", "Updates"),
            place("/logs", "Logs"),
            place("/laptops", "Laptops"),
        ],
    ),
    (
        "Mail",
        &[
            place("/mail", "Accounts"),
            place("/mail/domains", "Domains"),
            place("/mail/queue", "Queue"),
        ],
    ),
    (
        "You",
        &[
            place("/security", "Security"),
            place("/activity", "Activity"),
            place("/reset", "Reset"),
        ],
    ),
];

pub const fn place(path: &'static str, name: &'static str) -> Place {
    Place { path, name }
}

fn head(title: &str, box_name: &str, refresh: Option<u32>) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        // For browsers that run no script; the others look by themselves.
        @if let Some(seconds) = refresh {
            noscript { meta http-equiv="refresh" content=(seconds); }
        }
        title { (title) " · " (box_name) }
        link rel="icon" type="image/svg+xml" href={ "/assets/icon.svg?" (*VERSION) };
        link rel="stylesheet" href={ "/assets/portal.css?" (*VERSION) };
        script src={ "/assets/portal.js?" (*VERSION) } defer {}
    }
}

fn brand(box_name: &str) -> Markup {
    html! {
        img src={ "/assets/icon.svg?" (*VERSION) } alt="" width="28" height="28";
        span { (box_name) }
    }
}

/// A page of the owner.
pub struct Page<'a> {
    app: &'a App,
    signed: &'a Signed,
    path: &'static str,
    title: &'a str,
    refresh: Option<u32>,
}

impl<'a> Page<'a> {
    pub fn new(app: &'a App, signed: &'a Signed, path: &'static str, title: &'a str) -> Self {
        Self {
            app,
            signed,
            path,
            title,
            refresh: None,
        }
    }

    /// Looks again after so many seconds where no script runs.
    pub fn refresh(mut self, seconds: u32) -> Self {
        self.refresh = Some(seconds);
        self
    }

    pub fn show(self, content: Markup) -> Response {
        let name = &self.app.settings.name;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head { (head(self.title, name, self.refresh)) }
                body {
                    a.skip href="#main" { "Skip to the page" }
                    header.bar {
                        a.brand href="/" { (brand(name)) }
                        form method="post" action="/sign-out" {
                            (token(&self.signed.form))
                            button.quiet { "Sign out" }
                        }
                    }
                    div.frame {
                        nav aria-label="Pages" { details.menu {
                            summary { "Menu" }
                            @for (group, places) in MENU {
                                ul aria-label=(group) {
                                    @for place in *places {
                                        li {
                                            a href=(place.path) aria-current=[(place.path == self.path).then_some("page")] {
                                                (place.name)
                                            }
                                        }
                                    }
                                }
                            }
                        } }
                        main #main tabindex="-1" {
                            h1 { (self.title) }
                            (content)
                        }
                    }
                }
            }
        };
        Html(page.into_string()).into_response()
    }
}

/// A page for somebody who is not signed in: one card.
pub fn narrow(app: &App, title: &str, content: Markup) -> Response {
    Html(narrow_page(title, &app.settings.name, &content)).into_response()
}

pub fn narrow_page(title: &str, name: &str, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { (head(title, name, None)) }
            body.narrow {
                main {
                    p.brand { (brand(name)) }
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    page.into_string()
}

/// The hidden field that every form of the owner has.
pub fn token(form: &FormToken) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(form.as_str()); }
}

/// A message above a form.
#[derive(Clone, Copy)]
pub enum Tone {
    Good,
    Warning,
    Bad,
}

pub fn note(tone: Tone, content: Markup) -> Markup {
    let (class, role) = match tone {
        Tone::Good => ("note good", "status"),
        Tone::Warning => ("note warning", "status"),
        Tone::Bad => ("note bad", "alert"),
    };
    html! { div class=(class) role=(role) { (content) } }
}

/// A sentence that begins with a capital letter and ends with a full stop.
pub fn sentence(text: impl Display) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    let mut sentence: String = match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => return text,
    };
    if !sentence.ends_with(['.', '!', '?', '…', ':']) {
        sentence.push('.');
    }
    sentence
}

/// What went wrong, and what to do.
pub fn fault(what: impl Display, hint: Option<&str>) -> Markup {
    note(
        Tone::Bad,
        html! {
            p { strong { (sentence(what)) } }
            @if let Some(hint) = hint { p { (sentence_with_code(hint)) } }
        },
    )
}

/// Text in which what stands between backticks is a command.
pub fn with_code(text: &str) -> Markup {
    let parts = text.split('`').enumerate();
    html! {
        @for (i, part) in parts {
            @if i % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

pub fn sentence_with_code(text: &str) -> Markup {
    with_code(&sentence(text))
}

/// One field of a form, with its label, its help and what is wrong with it.
pub struct Field<'a> {
    /// Tells fields of the same name on one page apart.
    pub scope: &'a str,
    pub name: &'a str,
    pub label: &'a str,
    pub help: Option<&'a str>,
    pub kind: Kind,
    pub value: &'a str,
    pub wrong: Option<&'a Reason>,
    pub required: bool,
    pub complete: &'a str,
}

/// What is typed into it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Password,
    /// A code; not corrected, not remembered.
    Code,
    Digits,
    Number,
    Long,
}

impl Default for Field<'_> {
    fn default() -> Self {
        Self {
            scope: "f",
            name: "",
            label: "",
            help: None,
            kind: Kind::Text,
            value: "",
            wrong: None,
            required: true,
            complete: "off",
        }
    }
}

impl Field<'_> {
    pub fn show(&self) -> Markup {
        let id = format!("{}-{}", self.scope, self.name);
        let help_id = format!("{id}-help");
        let wrong_id = format!("{id}-wrong");
        let mut described = Vec::new();
        if self.wrong.is_some() {
            described.push(wrong_id.as_str());
        }
        if self.help.is_some() {
            described.push(help_id.as_str());
        }
        let described = (!described.is_empty()).then(|| described.join(" "));
        let invalid = self.wrong.map(|_| "true");
        let (kind, mode) = match self.kind {
            Kind::Password => ("password", None),
            Kind::Digits => ("text", Some("numeric")),
            Kind::Number => ("text", Some("decimal")),
            _ => ("text", None),
        };
        let plain = matches!(self.kind, Kind::Code | Kind::Digits);
        html! {
            div.field {
                label for=(id) {
                    (self.label)
                    @if !self.required { " " span.optional { "(optional)" } }
                }
                @if self.kind == Kind::Long {
                    textarea id=(id) name=(self.name) rows="4" spellcheck="false" autocomplete="off"
                        aria-describedby=[described] aria-invalid=[invalid] { (self.value) }
                } @else {
                    div.input {
                        input id=(id) name=(self.name) type=(kind) value=(self.value)
                            class=[plain.then_some("code")]
                            required[self.required] autocomplete=(self.complete) spellcheck="false"
                            autocapitalize=(if self.kind == Kind::Code { "characters" } else { "none" })
                            inputmode=[mode] aria-describedby=[described] aria-invalid=[invalid];
                        @if self.kind == Kind::Password {
                            button.reveal type="button" hidden aria-controls=(id) aria-pressed="false" { "Show" }
                        }
                    }
                }
                @if let Some(wrong) = self.wrong {
                    p.wrong id=(wrong_id) {
                        (sentence(&wrong.message))
                        @if let Some(hint) = &wrong.hint { " " (sentence_with_code(hint)) }
                    }
                }
                @if let Some(help) = self.help { p.help id=(help_id) { (with_code(help)) } }
            }
        }
    }
}

/// A word in a colour, which says the same as the colour.
pub fn badge(tone: Tone, text: &str) -> Markup {
    let class = match tone {
        Tone::Good => "badge good",
        Tone::Warning => "badge warning",
        Tone::Bad => "badge bad",
    };
    html! { span class=(class) { (text) } }
}

/// How full something is.
pub fn meter(label: &str, used: u64, total: u64) -> Markup {
    let share = used as f64 / total.max(1) as f64 * 100.0;
    html! {
        meter min="0" max="100" low="75" high="90" optimum="20" value=(format!("{share:.0}")) aria-label=(label) {
            (format!("{share:.0} %"))
        }
    }
}

/// A drawing from a library that escapes by itself.
pub fn drawing(svg: String, label: &str) -> Markup {
    html! { div.qr role="img" aria-label=(label) { (PreEscaped(svg)) } }
}

/// Why something is not done, on a page of its own.
pub struct Refusal {
    what: String,
    because: String,
    hint: Option<String>,
    link: (String, String),
}

impl Refusal {
    pub fn new(what: impl Display, because: impl Display) -> Self {
        Self {
            what: what.to_string(),
            because: because.to_string(),
            hint: None,
            link: ("/".into(), "Go to the first page".into()),
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    #[must_use]
    pub fn link(mut self, to: &str, name: &str) -> Self {
        self.link = (to.into(), name.into());
        self
    }
}

/// A page that says why not. It knows nothing of the box but what everybody may.
pub fn refusal_page(status: StatusCode, refusal: &Refusal) -> Response {
    let content = html! {
        p { (sentence_with_code(&refusal.because)) }
        @if let Some(hint) = &refusal.hint { p { (sentence_with_code(hint)) } }
        p { a.button href=(refusal.link.0) { (refusal.link.1) } }
    };
    let page = narrow_page(&refusal.what, "Roost", &content);
    (status, Html(page)).into_response()
}

/// Any address that there is not.
pub async fn not_found(uri: Uri) -> Response {
    let _ = uri;
    let refusal = Refusal::new("There is no such page", "the address leads nowhere")
        .hint("it may have been a page of another version");
    refusal_page(StatusCode::NOT_FOUND, &refusal)
}

/// A page could not be made.
pub enum Trouble {
    Store(StoreError),
    Init(AskError),
    Refused(StatusCode, Refusal),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<AskError> for Trouble {
    fn from(error: AskError) -> Self {
        Self::Init(error)
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let (status, refusal) = match self {
            Self::Store(error) => {
                eprintln!("portal: {error}");
                let refusal = Refusal::new("The box could not do that", error).hint(
                    "try again in a minute; `roost logs portal` shows more if it stays like this",
                );
                (StatusCode::SERVICE_UNAVAILABLE, refusal)
            }
            Self::Init(error) => (
                StatusCode::SERVICE_UNAVAILABLE,
                Refusal::new("The box could not do that", error).hint("try again in a minute"),
            ),
            Self::Refused(status, refusal) => (status, refusal),
        };
        refusal_page(status, &refusal)
    }
}

/// A piece of a page, for a script that puts it in its place.
pub fn piece(content: &Markup) -> Response {
    Html(content.0.clone()).into_response()
}
