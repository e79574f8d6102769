//! The one page that there is while the store does not open: nobody is let in.

use super::page::{narrow_page, sentence, sentence_with_code};
use super::{assets, guard};
use crate::store::OpenError;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse};
use maud::html;

/// Serves it for every address.
pub fn router(name: &str, why: &OpenError) -> Router {
    let content = html! {
        p { strong { (sentence(why)) } }
        p { (sentence_with_code(why.hint())) }
        p.detail { "Nobody can pair with this box or sign in to it until then." }
    };
    let page = narrow_page("This box cannot open what it remembers", name, &content);
    let answer =
        move || async move { (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response() };
    assets::router()
        .fallback(answer)
        .layer(axum::middleware::from_fn(guard::add_headers))
}
