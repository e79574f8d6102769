//! `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` (RFC 8461, section 3.3), and nothing else at such a name.

use super::guard::host_name;
use crate::actions::sts::{self, Policy};
use crate::app::App;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Where the policy is, at its own host.
const PATH: &str = "/.well-known/mta-sts.txt";
/// Before the domain in the name of that host.
const PREFIX: &str = "mta-sts.";

/// Before everything else: answers what is asked of a policy host. Senders follow no redirect and want
/// `text/plain`; whoever they are, they learn nothing of the box's pages there.
pub async fn answer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let host = host_name(&request);
    let domain = host
        .as_deref()
        // A box may be called so: `mta-sts.local` is its pages' name then.
        .filter(|host| !app.is_own_name(host))
        .and_then(|host| host.strip_prefix(PREFIX));
    let Some(domain) = domain else {
        return next.run(request).await;
    };
    if request.uri().path() != PATH {
        return (
            StatusCode::NOT_FOUND,
            "There is nothing but a policy here.\n",
        )
            .into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response();
    }
    match sts::current(&app, domain).await {
        Policy::Text(text) => ([(CONTENT_TYPE, "text/plain")], text.to_string()).into_response(),
        Policy::None => (StatusCode::NOT_FOUND, "There is no such policy.\n").into_response(),
        Policy::Unknown => {
            let why = "The box is starting; try again in a minute.\n";
            (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
    }
}
