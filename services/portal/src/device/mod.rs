//! The device API, version 1: what the owner's laptop and the pages' scripts may ask, as JSON over
//! HTTP/1.1. `docs/openapi.json` is made from it.
//!
//! | Door | Who | By what |
//! |---|---|---|
//! | 443 | anybody | `hello`; `pair` with the card's code; `laptops` with the owner's password |
//! | 443 | the owner in a browser | the session's cookie; what changes something, also the session's token in [`who::FORM`] |
//! | 7625 | a paired laptop | its Ed25519 key, in the TLS handshake ([`door`]) |
//!
//! Errors are [`fault::Fault`]s: what, because, hint.

mod backups;
mod certificates;
mod dns;
pub mod door;
pub(crate) mod fault;
mod health;
mod laptops;
mod machine;
mod mail;
mod outside;
mod pair;
mod pipe;
mod refusals;
mod tunnel;
mod updates;
pub mod who;

use crate::app::App;
use axum::Router;
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Before every path.
pub const BASE: &str = "/api/v1";

/// What the document says about itself.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roost device API",
        version = "1",
        description = "What a Roost box answers to its owner's laptop (TCP 7625, TLS 1.3, a client certificate \
                       with a paired Ed25519 key) and to its own pages (TCP 443). Errors tell what failed, why, \
                       and what to do.",
    ),
    tags(
        (name = "pairing", description = "Becoming known to a box"),
        (name = "laptops", description = "Which laptops the box knows"),
        (name = "machine", description = "How the box is"),
        (name = "updates", description = "Which version it runs"),
        (name = "backup", description = "What the box keeps, in a repository of the owner's own"),
        (name = "relay", description = "By which way mail reaches it from outside"),
        (name = "outside", description = "Whether mail gets out, and whether receivers may refuse it"),
        (name = "certificates", description = "Who vouches for the box's names"),
        (name = "dns", description = "The zones of its domains"),
        (name = "mail", description = "Accounts, addresses, passwords, domains and what waits for delivery"),
    )
)]
struct Document;

fn routes() -> OpenApiRouter<Arc<App>> {
    let api = OpenApiRouter::new()
        .routes(routes!(pair::hello))
        .routes(routes!(pair::pair))
        .routes(routes!(laptops::list, laptops::join))
        .routes(routes!(laptops::revoke))
        .routes(routes!(machine::status))
        .routes(routes!(machine::boot))
        .routes(routes!(health::health))
        .routes(routes!(machine::logs))
        .routes(routes!(machine::audit))
        .routes(routes!(machine::reboot))
        .routes(routes!(machine::reset))
        .routes(routes!(updates::open))
        .routes(routes!(updates::check))
        .routes(routes!(updates::roll_back))
        .routes(routes!(tunnel::tunnel_status))
        .routes(routes!(tunnel::set_relay, tunnel::remove_relay))
        .routes(routes!(tunnel::take_over))
        .routes(routes!(outside::blocklists))
        .routes(routes!(outside::port25))
        .merge(backups::routes())
        .merge(certificates::routes())
        .merge(dns::routes())
        .routes(routes!(document))
        .merge(mail::routes());
    OpenApiRouter::with_openapi(Document::openapi()).nest(BASE, api)
}

/// All paths of the API. Who asks is found out by each ([`who`]).
pub fn router(app: Arc<App>) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .route("/api/{*rest}", axum::routing::any(fault::not_found))
        .method_not_allowed_fallback(fault::not_allowed)
        .layer(axum::middleware::from_fn(fault::add_headers))
        .with_state(app)
}

/// The document, as `docs/openapi.json` has it.
///
/// # Panics
/// Never: the document is plain data.
pub fn openapi() -> String {
    let (_, document) = routes().split_for_parts();
    let mut text = document
        .to_pretty_json()
        .expect("the document is plain data");
    text.push('\n');
    text
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "machine",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object))
)]
async fn document() -> impl axum::response::IntoResponse {
    let json = axum::http::HeaderValue::from_static("application/json");
    ([(axum::http::header::CONTENT_TYPE, json)], openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_DOCS=1 cargo nextest run -p roost-portal openapi` writes it anew.
    #[test]
    fn the_kept_openapi_document_is_that_of_the_code() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, openapi()).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == openapi(),
            "docs/openapi.json is out of date; write it anew with UPDATE_DOCS=1"
        );
    }
}
