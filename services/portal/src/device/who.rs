//! Who asks.
//!
//! On 443 a browser carries its session's cookie wherever it is sent from, so [`crate::csrf`] has to
//! be content, and what changes something also shows the session's token, which no other site
//! can know. A laptop on 7625 has shown its key; nothing in its requests can say otherwise.

use super::door::ByLaptop;
use super::fault::Fault;
use crate::actions::sessions;
use crate::app::App;
use crate::audit::Actor;
use crate::cookie::Cookie;
use crate::csrf::{self, Foreign, FormToken, Head};
use crate::listen::Peer;
use crate::session::Place;
use crate::store::LaptopKey;
use crate::visitor::Browser;
use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, HOST, HeaderName, ORIGIN, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The header with the session's token, which the pages' scripts send.
pub const FORM: &str = "x-roost-form";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The owner.
#[derive(Debug, Clone)]
pub struct Owner {
    /// How the log names who asks.
    pub who: Actor,
    /// From where.
    pub from: IpAddr,
    /// The laptop's key, if it is one.
    pub laptop: Option<LaptopKey>,
}

/// Anybody, but no browser that another site has sent.
#[derive(Debug, Clone, Copy)]
pub struct Anybody(pub Place);

fn place(head: &Parts) -> Place {
    let peer = head.extensions.get::<Peer>();
    let agent = head.headers.get(USER_AGENT);
    Place {
        from: peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0),
        browser: Browser::recognise(agent.and_then(|a| a.to_str().ok()).unwrap_or_default()),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    let one = all.next()?;
    // Twice is none: programs that disagree on which one counts are a way in.
    match all.next() {
        Some(_) => None,
        None => one.to_str().ok(),
    }
}

fn check_site(app: &App, head: &Parts) -> Result<(), Foreign> {
    let headers = &head.headers;
    let host = text(headers, &HOST).ok_or(Foreign::Host)?.to_lowercase();
    if !crate::web::is_own_host(app, &host) {
        return Err(Foreign::Host);
    }
    let own = host.strip_suffix(":443").unwrap_or(&host);
    let said = Head {
        method: head.method.as_str(),
        host: Some(&host),
        origin: text(headers, &ORIGIN),
        fetch_site: text(headers, &FETCH_SITE),
        fetch_mode: text(headers, &FETCH_MODE),
    };
    csrf::check(said, &[own])
}

impl FromRequestParts<Arc<App>> for Anybody {
    type Rejection = Fault;

    async fn from_request_parts(head: &mut Parts, app: &Arc<App>) -> Result<Self, Fault> {
        // Only browsers say so, and all of them do. A program carries no cookies that it does not
        // know of, and may know the box by a name that the box does not.
        if head.headers.contains_key(&FETCH_SITE) || head.headers.contains_key(ORIGIN) {
            check_site(app, head)?;
        }
        Ok(Self(place(head)))
    }
}

impl FromRequestParts<Arc<App>> for Owner {
    type Rejection = Fault;

    async fn from_request_parts(head: &mut Parts, app: &Arc<App>) -> Result<Self, Fault> {
        let from = place(head).from;
        if let Some(laptop) = head.extensions.get::<ByLaptop>() {
            return Ok(Self {
                who: Actor::Laptop,
                from,
                laptop: Some(laptop.key),
            });
        }
        check_site(app, head)?;
        let cookies = Zeroizing::new(text(&head.headers, &COOKIE).unwrap_or_default().to_owned());
        let nobody = || {
            Fault::new(
                StatusCode::UNAUTHORIZED,
                "sign_in",
                "the call was not taken",
            )
            .because("nobody is signed in")
            .hint("sign in with a browser; a laptop asks at port 7625")
        };
        let session = Cookie::Session.find(&cookies).map(Arc::new);
        let session = session.ok_or_else(nobody)?;
        // Scripts look by themselves; that keeps nobody signed in.
        let click = !head.method.is_safe();
        let found = sessions::find(app, session.clone(), click).await?;
        found.ok_or_else(nobody)?;
        if !head.method.is_safe() {
            let sent = head.headers.get(FORM).and_then(|form| form.to_str().ok());
            FormToken::of(&session).check(sent.unwrap_or_default())?;
        }
        Ok(Self {
            who: Actor::Owner,
            from,
            laptop: None,
        })
    }
}
