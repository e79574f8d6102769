//! The pages.
//!
//! Every answer goes through [`guard`]: whose request it is, how large, how long, and which headers
//! the answer has.

use crate::app::App;
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use std::sync::Arc;

/// All that is served on 443.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(
            "/",
            get(|| async { Html("<!doctype html><title>Roost</title><h1>Roost</h1>") }),
        )
        .with_state(app)
}
