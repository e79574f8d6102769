//! Passkeys on the pages Security and Sign in. What a browser answers comes in a hidden field that the
//! script fills in.

use super::page::{Field, Page, Trouble, fault, sentence, token};
use super::security::{self, Say, prove, prove_fields};
use super::sign::{self, signed_in};
use super::visit::{Fields, Order, Signed, Visit};
use super::words::ago;
use crate::actions::pairing;
use crate::actions::passkeys::{self, NotIn, Try};
use crate::actions::sign_in::NotOwner;
use crate::app::App;
use crate::cookie::Cookie;
use crate::passkey::{MAX_PASSKEYS, Name, NotAdded, Passkey, PasskeyId, Refused, Site};
use crate::time::Now;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, SET_COOKIE};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::json;
use std::sync::Arc;

type Shell = State<Arc<App>>;

/// What the page Security says of passkeys.
pub fn section(
    app: &App,
    signed: &Signed,
    known: &[(PasskeyId, Passkey)],
    second: bool,
    now: Now,
) -> Markup {
    html! {
        section.card #passkeys {
            h2 { "Passkeys" }
            p {
                "With a passkey, the finger, face or PIN of your phone or computer signs you in, or a security key. "
                "It stands for the password and the code of the app, and nobody can watch you type it. "
                "Your password goes on working, so a lost passkey locks nobody out."
            }
            @if !known.is_empty() {
                ul.rows {
                    @for (_, passkey) in known {
                        li {
                            div {
                                strong { (passkey.name) }
                                p.detail {
                                    "For " code { (passkey.host) } ", added " (ago(passkey.made, now)) ", "
                                    @match passkey.used {
                                        Some(used) => { "last used " (ago(used, now)) }
                                        None => "not used yet"
                                    }
                                    "."
                                }
                            }
                        }
                    }
                }
                p.detail { "A passkey signs in only at the name that it was made for, and at no other name or address of the box." }
                details {
                    summary { "Remove a passkey" }
                    p { "It signs in no more, at once. Browsers that it has signed in stay so until you sign them out below." }
                    form method="post" action="/security/passkeys/remove" {
                        (token(&signed.form))
                        div.field {
                            label for="remove-passkey-id" { "Passkey" }
                            select #remove-passkey-id name="id" {
                                @for (id, passkey) in known {
                                    option value=(id.to_text()) { (passkey.name) " (" (passkey.host) ")" }
                                }
                            }
                        }
                        (prove_fields("remove-passkey", second))
                        button.danger { "Remove it" }
                    }
                }
            }
            @match &signed.site {
                None => { (by_address(app, "To add one, open")) }
                Some(_) if known.len() >= MAX_PASSKEYS => {
                    p { (sentence(NotAdded::TooMany)) " Remove one to add another." }
                }
                Some(site) => { (add_form(app, signed, site, second)) }
            }
        }
    }
}

/// What somebody is told who has typed an address of the box.
fn by_address(app: &App, to_do: &str) -> Markup {
    let name = match app.certificates.trusted() {
        Some(name) => name,
        None => format!("{}.local", app.host.borrow().as_str()),
    };
    let url = format!("https://{name}");
    html! {
        p {
            "This page was opened by an address, and passkeys belong to a name. " (to_do) " "
            a href=(url) { (url) } "."
        }
    }
}

fn add_form(app: &App, signed: &Signed, site: &Site, second: bool) -> Markup {
    let browser = signed.place.browser.to_string();
    html! {
        noscript { p { "Adding a passkey needs scripts, which this browser does not run." } }
        div data-passkey="look" {
            (explanations(site, app.certificates.trusted().as_deref()))
            details data-script data-part="form" hidden {
                summary { "Add a passkey" }
                p { "It will be for " code { (site.host()) } ", the name by which you have opened this page." }
                form method="post" action="/security/passkeys" {
                    (token(&signed.form))
                    (Field {
                        scope: "passkey",
                        name: "name",
                        label: "Name of the passkey",
                        help: Some("So that you know later which one it is."),
                        value: &browser,
                        ..Field::default()
                    }.show())
                    (prove_fields("passkey", second))
                    button { "Go on" }
                }
            }
        }
    }
}

/// What a script shows if the browser refuses. `trusted`: a name at which it would not.
fn explanations(site: &Site, trusted: Option<&str>) -> Markup {
    html! {
        div.note.warning role="alert" hidden data-part="none" {
            p { "This browser cannot use passkeys. Take a newer one, or go on with your password." }
        }
        div.note.warning role="alert" hidden data-part="untrusted" {
            p {
                strong { "Your browser does not trust this box's certificate yet." }
                " It has let you in all the same, but it uses passkeys only where it trusts the page. "
                "Until then your password signs you in. "
                @if let Some(name) = trusted.filter(|name| *name != site.host()) {
                    "At " a href={ "https://" (name) "/security" } { "https://" (name) } " it is trusted already: add the passkey there. "
                }
                "To have it trusted on this computer:"
            }
            ol {
                li { a href="/certificate" { "Save the certificate" } ". It vouches for this box and for nothing else." }
                li {
                    "Open it, and compare its SHA-256 fingerprint with the one that " code { "roost flash" } " printed. "
                    "A page cannot do that for you: whoever stood in between would write the page too."
                }
                li {
                    "Let it be trusted. Windows: choose “Install certificate” and the store “Trusted Root Certification Authorities”. "
                    "Mac: in Keychain Access choose “Always trust”. "
                    "Chrome or Chromium on Linux: Settings, Privacy and security, Security, Manage certificates, import it as trusted."
                }
                li { "Close the browser, and open " code { "https://" (site.host()) } " again. There must be no warning any more." }
            }
            p.detail { "The certificate holds until 2049, because a box may not know the date. Devices of Apple may refuse it for that reason." }
        }
    }
}

/// The button on the page Sign in, if there is a passkey for this name; else where there is one.
pub fn offer(site: Option<&Site>, known: &[(PasskeyId, Passkey)]) -> Markup {
    let here = site.filter(|site| known.iter().any(|(_, p)| p.host == site.host()));
    let mut elsewhere: Vec<&str> = known.iter().map(|(_, p)| p.host.as_str()).collect();
    elsewhere.sort_unstable();
    elsewhere.dedup();
    html! {
        @if let Some(site) = here {
            div.aside data-passkey="get" data-script hidden {
                (explanations(site, None))
                form method="post" action="/sign-in/passkey" {
                    input type="hidden" name="answer";
                    p.wrong role="alert" data-part="says" {}
                    button.quiet type="button" data-part="go" { "Sign in with a passkey" }
                }
            }
        } @else if !elsewhere.is_empty() {
            p.aside {
                "A passkey signs in only at the name that it was made for: "
                @for (i, host) in elsewhere.iter().enumerate() {
                    @if i > 0 { ", " }
                    a href={ "https://" (host) "/sign-in" } { (host) }
                }
                "."
            }
        }
    }
}

fn status(not: NotAdded) -> StatusCode {
    match not {
        NotAdded::TooMany | NotAdded::Twice | NotAdded::Late => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// What to do about it.
fn adding_hint(not: NotAdded) -> &'static str {
    match not {
        NotAdded::Name => "choose another name",
        NotAdded::NoName => "open the page by its name, as it stands below",
        NotAdded::Late => "begin again; nothing was added",
        NotAdded::Twice => "use it: it signs in already",
        NotAdded::TooMany => "remove one first",
        NotAdded::OtherSite => "open this page by its name yourself, and begin again",
        NotAdded::NotVerified => {
            "give the device a PIN, or set up its finger or face recognition, and begin again"
        }
        NotAdded::Unusable => "begin again, or use another device",
    }
}

async fn not_added(app: &Arc<App>, by: &Signed, not: NotAdded) -> Result<Response, Trouble> {
    let say = fault(not, Some(adding_hint(not)));
    security::page(app, by, Say::Fault(status(not), say)).await
}

/// POST /security/passkeys
pub async fn begin(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let name = match Name::new(order.fields.get("name")) {
        Ok(name) => name,
        Err(not) => return not_added(&app, &order.by, not).await,
    };
    let Some(site) = order.by.site.clone() else {
        return not_added(&app, &order.by, NotAdded::NoName).await;
    };
    let authenticated = match prove(&app, &order).await {
        Ok(authenticated) => authenticated,
        Err(NotOwner::Store(error)) => return Err(error.into()),
        Err(not) => return security::page(&app, &order.by, Say::NotOwner(&not)).await,
    };
    let by = &order.by;
    let options = passkeys::begin_adding(&app, authenticated, name, site.clone(), by.id).await?;
    let options = match options {
        Ok(options) => options,
        Err(not) => return not_added(&app, by, not).await,
    };
    let content = html! {
        section.card data-passkey="create" data-options=(options) {
            p { "Your browser asks now where the passkey is to be kept, and has a look at your finger, face or PIN. The box waits for two minutes." }
            (explanations(&site, app.certificates.trusted().as_deref()))
            noscript { p { "Adding a passkey needs scripts, which this browser does not run." } }
            form method="post" action="/security/passkeys/add" {
                (token(&by.form))
                input type="hidden" name="answer";
                p.wrong role="alert" data-part="says" {}
                div.buttons {
                    button type="button" data-part="go" data-script hidden { "Make the passkey" }
                    a.button.quiet href="/security" { "Not now" }
                }
            }
        }
    };
    Ok(Page::new(&app, by, "/security", "Make the passkey").show(content))
}

/// POST /security/passkeys/add
pub async fn add(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let Order { by, fields } = order;
    let answer = fields.get("answer").to_owned();
    match passkeys::add(&app, by.id, answer, by.place.from).await? {
        Ok(name) => {
            let say = format!("The passkey “{name}” is added: it signs you in from now on.");
            security::page(&app, &by, Say::Done(&say)).await
        }
        Err(not) => not_added(&app, &by, not).await,
    }
}

/// POST /security/passkeys/remove
pub async fn remove(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let authenticated = match prove(&app, &order).await {
        Ok(authenticated) => authenticated,
        Err(NotOwner::Store(error)) => return Err(error.into()),
        Err(not) => return security::page(&app, &order.by, Say::NotOwner(&not)).await,
    };
    let by = &order.by;
    // What is no id names no passkey.
    let removed = match PasskeyId::parse(order.fields.get("id")) {
        Some(id) => passkeys::remove(&app, authenticated, id, by.place.from).await?,
        None => None,
    };
    let say = match removed {
        Some(name) => format!(
            "The passkey “{name}” is removed. Your device may still offer it: delete it there too."
        ),
        None => "That passkey is not there any more.".to_owned(),
    };
    security::page(&app, by, Say::Done(&say)).await
}

/// POST /sign-in/passkey/begin
///
/// Answers the page's script in JSON.
pub async fn begin_sign_in(State(app): Shell, visit: Visit) -> Result<Response, Trouble> {
    if !pairing::is_finished(&app).await? {
        return Ok(Redirect::to("/pair").into_response());
    }
    let Some(site) = visit.site else {
        let why = json!({ "because": NotAdded::NoName.to_string() });
        return Ok((StatusCode::CONFLICT, Json(why)).into_response());
    };
    Ok(
        match passkeys::begin_sign_in(&app, site, visit.place.from) {
            Ok((token, options)) => {
                let headers = [
                    (SET_COOKIE, Cookie::Passkey.set(&token).as_str().to_owned()),
                    (CONTENT_TYPE, "application/json".to_owned()),
                ];
                (headers, options).into_response()
            }
            Err(refused) => {
                let why = json!({ "because": refused.to_string() });
                (StatusCode::INTERNAL_SERVER_ERROR, Json(why)).into_response()
            }
        },
    )
}

fn signing_hint(refused: &Refused) -> &'static str {
    match refused {
        Refused::Late => "try again",
        Refused::Unknown => {
            "it was removed, or it is of the time before a reset: delete it on your device, and sign in with your password"
        }
        Refused::OtherName(_) => "open the page by that name, or sign in with your password",
        Refused::OtherSite => "open this page by its name yourself",
        Refused::NotVerified => "give the device a PIN, or sign in with your password",
        Refused::Copied => {
            "sign in with your password, remove the passkey on the page Security, and add it again"
        }
        Refused::Wrong => "try again, or sign in with your password",
    }
}

/// POST /sign-in/passkey
pub async fn sign_in(State(app): Shell, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    if !pairing::is_finished(&app).await? {
        return Ok(Redirect::to("/pair").into_response());
    }
    let attempt = Try {
        place: visit.place,
        device: visit.token(Cookie::Device),
        challenge: visit.token(Cookie::Passkey),
        answer: fields.get("answer").to_owned(),
    };
    let mut answer = match passkeys::sign_in(&app, attempt, visit.token(Cookie::Session)).await {
        Ok(signed) => signed_in(&signed),
        Err(NotIn::Store(error)) => return Err(error.into()),
        Err(NotIn::Wait(wait)) => {
            sign::refuse(&app, visit.site.as_ref(), &NotOwner::Wait(wait)).await?
        }
        Err(NotIn::Refused(refused)) => {
            let say = fault(&refused, Some(signing_hint(&refused)));
            sign::with_fault(&app, visit.site.as_ref(), StatusCode::FORBIDDEN, say).await?
        }
    };
    // The challenge is used up, and its cookie with it.
    if let Ok(clear) = Cookie::Passkey.clear().parse() {
        answer.headers_mut().append(SET_COOKIE, clear);
    }
    Ok(answer)
}

/// GET /certificate
///
/// The box's own, which every connection shows: in DER (RFC 5280), which all systems open.
pub async fn certificate(State(app): Shell) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/x-x509-ca-cert".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.cer\"", app.settings.name),
        ),
    ];
    (headers, app.identity.certificate.as_ref().to_vec()).into_response()
}
