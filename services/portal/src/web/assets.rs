//! Style, script and icon, which are in the program.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("portal.css");
const SCRIPT: &str = include_str!("portal.js");
const ICON: &str = include_str!("icon.svg");

/// Changes with what is in them, so that browsers may keep them.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = Sha256::new_with_prefix(STYLE)
        .chain_update(SCRIPT)
        .chain_update(ICON)
        .finalize();
    hex::encode(&all[..6])
});

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let asset = |kind: &'static str, text: &'static str| {
        get(move || async move {
            let headers = [
                (CONTENT_TYPE, kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, text).into_response()
        })
    };
    Router::new()
        .route(
            "/assets/portal.css",
            asset("text/css; charset=utf-8", STYLE),
        )
        .route(
            "/assets/portal.js",
            asset("text/javascript; charset=utf-8", SCRIPT),
        )
        .route("/assets/icon.svg", asset("image/svg+xml", ICON))
        .route("/favicon.ico", asset("image/svg+xml", ICON))
}
