//! Who asks, and what they send.

use super::page::{Refusal, refusal_page};
use crate::actions::{pairing, sessions};
use crate::app::App;
use crate::cookie::Cookie;
use crate::csrf::FormToken;
use crate::listen::Peer;
use crate::passkey::Site;
use crate::session::{Place, SessionId};
use crate::token::SecretToken;
use crate::visitor::Browser;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{COOKIE, HOST, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Name of the hidden field with the form's token.
pub const TOKEN: &str = "form";

/// Anybody.
pub struct Visit {
    pub place: Place,
    /// The name by which the page was opened; `None` for an address.
    pub site: Option<Site>,
    cookies: Zeroizing<String>,
}

impl Visit {
    fn of(head: &Parts) -> Self {
        let peer = head.extensions.get::<Peer>();
        let from = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            place: Place {
                from,
                browser: Browser::recognise(text(USER_AGENT).unwrap_or_default()),
            },
            // `guard` has seen that it is there once, and is the box's own.
            site: text(HOST).and_then(Site::of),
            cookies: Zeroizing::new(text(COOKIE).unwrap_or_default().to_owned()),
        }
    }

    pub fn token(&self, cookie: Cookie) -> Option<Arc<SecretToken>> {
        cookie.find(&self.cookies).map(Arc::new)
    }
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        head: &mut Parts,
        _: &Arc<App>,
    ) -> Result<Self, std::convert::Infallible> {
        Ok(Self::of(head))
    }
}

/// What a form holds. Its values may be passwords and are cleared.
#[derive(Clone)]
pub struct Fields(Vec<(String, String)>);

impl Drop for Fields {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            value.zeroize();
        }
    }
}

impl Fields {
    /// The value; empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        let mut fields = self.0.iter();
        fields
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    pub fn secret(&self, name: &str) -> Zeroizing<String> {
        Zeroizing::new(self.get(name).to_owned())
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match axum::Form::<Vec<(String, String)>>::from_request(request, state).await {
            Ok(axum::Form(fields)) => Ok(Self(fields)),
            Err(rejection) => {
                let refusal = Refusal::new("The form was not taken", rejection.body_text());
                Err(refusal_page(rejection.status(), &refusal))
            }
        }
    }
}

/// The owner, in a session.
pub struct Signed {
    pub place: Place,
    pub session: Arc<SecretToken>,
    pub id: SessionId,
    pub device: Option<Arc<SecretToken>>,
    /// The name by which the page was opened; `None` for an address.
    pub site: Option<Site>,
    /// For the forms of the page.
    pub form: FormToken,
}

impl FromRequestParts<Arc<App>> for Signed {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let visit = Visit::of(head);
        let session = visit.token(Cookie::Session);
        // A page that looks by itself says so, and keeps nobody signed in.
        let click = !head.headers.contains_key("x-roost-poll");
        let failed = |error| super::page::Trouble::from(error).into_response();
        if let Some(session) = session {
            let found = sessions::find(app, session.clone(), click)
                .await
                .map_err(failed)?;
            if let Some(id) = found {
                return Ok(Self {
                    place: visit.place,
                    id,
                    device: visit.token(Cookie::Device),
                    site: visit.site,
                    form: FormToken::of(&session),
                    session,
                });
            }
        }
        let to = match pairing::is_finished(app).await.map_err(failed)? {
            true => "/sign-in",
            false => "/pair",
        };
        if head.method == Method::GET && click {
            return Err(Redirect::to(to).into_response());
        }
        let refusal = Refusal::new("Nothing was done", "you are not signed in any more")
            .hint("sign in and try again")
            .link(to, "Sign in");
        Err(refusal_page(StatusCode::UNAUTHORIZED, &refusal))
    }
}

/// The owner wants something done: a form of this session.
pub struct Order {
    pub by: Signed,
    pub fields: Fields,
}

impl FromRequest<Arc<App>> for Order {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut head, body) = request.into_parts();
        let by = Signed::from_request_parts(&mut head, app).await?;
        let fields = Fields::from_request(Request::from_parts(head, body), app).await?;
        match by.form.check(fields.get(TOKEN)) {
            Ok(()) => Ok(Self { by, fields }),
            Err(foreign) => {
                let refusal = Refusal::new("Nothing was done", foreign);
                Err(refusal_page(StatusCode::FORBIDDEN, &refusal))
            }
        }
    }
}
