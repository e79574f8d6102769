//! The pages.
//!
//! Every request goes through `guard`: whose it is, how large, how long, and which headers the
//! answer has. A page that only the owner may see takes a `visit::Signed`, one that changes something a
//! `visit::Order`, which holds only what came with the session's token in its form: a handler
//! that forgets to check does not compile.

mod activity;
mod assets;
mod backups;
mod certificates;
mod checks;
pub mod closed;
mod dns;
mod forward;
mod guard;
mod health;
mod laptops;
mod logs;
mod mail;
mod overview;
mod page;
mod pair;
mod passkeys;
pub mod plain;
mod programs;
mod relay;
mod reset;
mod security;
mod sign;
mod sts;
mod updates;
mod upload;
mod visit;
mod words;

pub use guard::MAX_BODY;
pub(crate) use guard::is_own_host;
pub(crate) use words::{bytes, rounded, times};

use crate::app::App;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tower_service::Service;

/// A router as [`crate::listen::serve`] takes it.
pub fn service(router: Router) -> impl Fn(Request<Body>) -> Answer + Clone + Send + Sync + 'static {
    move |request| {
        let answer = router.clone().call(request);
        Box::pin(async move {
            match answer.await {
                Ok(answer) => answer,
                Err(never) => match never {},
            }
        })
    }
}

/// An answer that is on its way.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// All that is served on 443.
pub fn router(app: Arc<App>) -> Router {
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/pair", get(pair::show).post(pair::enter))
        .route("/pair/setup", post(pair::set_up))
        .route("/welcome", get(pair::welcome).post(pair::forget_password))
        .route("/progress", get(pair::progress))
        .route("/sign-in", get(sign::show).post(sign::sign_in))
        .route("/sign-in/passkey", post(passkeys::sign_in))
        .route("/sign-in/passkey/begin", post(passkeys::begin_sign_in))
        .route("/sign-out", post(sign::sign_out))
        .route("/certificate", get(passkeys::certificate))
        .route("/security", get(security::show))
        .route("/security/password", post(security::change_password))
        .route(
            "/security/app",
            get(security::app).post(security::begin_app),
        )
        .route("/security/app/confirm", post(security::confirm_app))
        .route("/security/app/remove", post(security::remove_app))
        .route("/security/passkeys", post(passkeys::begin))
        .route("/security/passkeys/add", post(passkeys::add))
        .route("/security/passkeys/remove", post(passkeys::remove))
        .route("/security/end", post(security::end_session))
        .route("/security/end-others", post(security::end_others))
        .route("/activity", get(activity::show))
        .route("/laptops", get(laptops::show).post(laptops::revoke))
        .route("/logs", get(logs::show))
        .route("/updates", get(updates::show))
        .route("/updates/look", post(updates::look))
        .route("/updates/rollback", post(updates::roll_back))
        .route("/restart", post(updates::restart))
        .route("/relay", get(relay::show).post(relay::change))
        .route(
            "/certificates",
            get(certificates::show).post(certificates::change),
        )
        .route("/backups", get(backups::show).post(backups::change))
        .route("/health", get(checks::show).post(checks::look_now))
        .route("/dns", get(dns::show))
        .route("/dns/zone", get(dns::zone).post(dns::change))
        .route("/dns/check", get(dns::check))
        .route("/dns/export", get(dns::export))
        .route("/reset", get(reset::show).post(reset::reset))
        .route("/mail", get(mail::accounts).post(mail::add_account))
        .route(
            "/mail/account",
            get(mail::account).post(mail::change_account),
        )
        .route(
            "/mail/domains",
            get(mail::domains).post(mail::change_domains),
        )
        .route("/mail/programs", get(programs::show))
        .route("/mail/profile", get(programs::profile))
        .route("/mail/queue", get(mail::queue).post(mail::change_queue))
        .fallback(page::not_found)
        .layer(from_fn(guard::whole_body))
        .layer(from_fn_with_state(app.clone(), guard::check_site));
    let all = Router::new()
        .merge(assets::router())
        .merge(pages)
        .merge(forward::router())
        .merge(programs::router())
        .merge(upload::router())
        .layer(from_fn(guard::add_headers));
    all.with_state(app.clone())
        .merge(crate::device::router(app.clone()))
        .layer(from_fn_with_state(app, sts::answer))
}
