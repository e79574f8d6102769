//! How mail programs are set up ([`crate::guide`]): a page for each account, and what programs ask for
//! before they have a password.

use super::mail;
use super::page::{Page, Trouble, drawing, fault};
use super::visit::Signed;
use crate::app::App;
use crate::guide::{Document, Guide, MAX_REQUEST, Person};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use fast_qr::QRBuilder;
use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use maud::html;
use roost_service::mail::Overview;
use std::sync::Arc;

type Shell = State<Arc<App>>;

/// What programs fetch, whatever name they know the box by: it is the same for everybody.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/.well-known/autoconfig/mail/config-v1.1.xml", any(answer))
        .route("/mail/config-v1.1.xml", any(answer))
        // Outlook writes this path in several ways.
        .route("/autodiscover/autodiscover.xml", any(answer))
        .route("/Autodiscover/Autodiscover.xml", any(answer))
        .route("/AutoDiscover/AutoDiscover.xml", any(answer))
        .route("/autodiscover/Autodiscover.xml", any(answer))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(from_fn(super::guard::whole_body))
}

async fn guide(app: &Arc<App>) -> Option<(Guide, Overview)> {
    let overview = crate::actions::mail::overview(app).await.ok()?;
    let domains = overview.domains.iter().map(|domain| domain.name.as_str());
    Some((Guide::new(&overview.host, domains)?, overview))
}

async fn answer(State(app): Shell, method: Method, uri: Uri, body: Bytes) -> Response {
    let Some((guide, _)) = guide(&app).await else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "The mail service does not answer.\n",
        )
            .into_response();
    };
    match guide.answer(method.as_str(), uri.path(), &body) {
        Some((status, document)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            (status, sent(document)).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn sent(document: Document) -> Response {
    let mut answer = document.body.into_response();
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(document.content_type),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Names of files are made of log-in names, which have no quotes.
    if let Some(name) = document.file_name
        && let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
    {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    answer
}

fn person(overview: &Overview, name: &str) -> Option<Person> {
    let account = overview
        .accounts
        .iter()
        .find(|account| account.name == name)?;
    Some(Person {
        login: account.name.clone(),
        address: account.addresses.first()?.clone(),
        display_name: account.display_name.clone(),
    })
}

/// GET /mail/programs
pub async fn show(State(app): Shell, Query(named): Query<mail::Named>, signed: Signed) -> Response {
    let found = guide(&app).await;
    let found = found
        .as_ref()
        .and_then(|(guide, overview)| Some((guide, person(overview, &named.name)?)));
    let content = match found {
        None => fault(
            "there is nothing to show: the mail service does not answer, or has no such account",
            Some("load this page again in a minute"),
        ),
        Some((guide, person)) => {
            let code = QRBuilder::new(guide.phone_code(&person)).build();
            html! {
                p { a href={ "/mail/account?name=" (mail::quoted(&person.login)) } { "Back to " (person.login) } }
                p.lead { "For " strong { (person.address) } ". Most programs find all of this by themselves: enter the address and the password." }
                div.cards {
                    section.card {
                        h2 { "To type in" }
                        dl { dt { "User name" } dd { (person.login) } dt { "Password" } dd { "the account’s, or better an app password" } }
                        @for setting in guide.settings().iter().filter(|setting| setting.first_choice) {
                            h3 { (setting.service) }
                            dl { dt { "Server" } dd { (setting.server) } dt { "Port" } dd { (setting.port) } dt { "Security" } dd { (setting.security.name()) } }
                        }
                        details {
                            summary { "Other ways" }
                            @for setting in guide.settings().iter().filter(|setting| !setting.first_choice) {
                                p { (setting.service) ": " (setting.server) ", port " (setting.port) ", " (setting.security.name()) }
                            }
                        }
                    }
                    section.card {
                        h2 { "iPhone, iPad, Mac" }
                        p { "Open this page on the device, load the profile, and install it in the settings. It asks for the password." }
                        p { a.button href={ "/mail/profile?name=" (mail::quoted(&person.login)) } { "Load the profile" } }
                    }
                    section.card {
                        h2 { "Thunderbird on Android" }
                        p { "In the settings, choose to import, and let it read this picture." }
                        @if let Ok(code) = code {
                            (drawing(SvgBuilder::default().margin(4).to_str(&code), "QR code for Thunderbird on Android"))
                        }
                    }
                    section.card {
                        h2 { "Calendars, contacts, files" }
                        dl { @for link in guide.links() { dt { (link.service) } dd { code { (link.url) } } } }
                    }
                }
            }
        }
    };
    Page::new(&app, &signed, "/mail", "Mail programs").show(content)
}

/// GET /mail/profile
pub async fn profile(
    State(app): Shell,
    Query(named): Query<mail::Named>,
    _: Signed,
) -> Result<Response, Trouble> {
    let found = guide(&app).await;
    let found = found.and_then(|(guide, overview)| Some((guide, person(&overview, &named.name)?)));
    match found {
        Some((guide, person)) => Ok(sent(guide.apple_profile(&person))),
        None => {
            let why = "the mail service does not answer, or has no such account";
            let refusal = super::page::Refusal::new("There is no profile", why)
                .hint("try again in a minute")
                .link("/mail", "Accounts");
            Err(Trouble::Refused(StatusCode::NOT_FOUND, refusal))
        }
    }
}
