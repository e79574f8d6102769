//! What the pages show and do about mail ([`crate::actions::mail`]), for programs.

mod accounts;
mod app_passwords;
mod certificate;
mod domains;
mod queue;

use super::fault::{Fault, misspelt};
use super::who::Owner;
use crate::actions::mail::{self, By, No};
use crate::app::App;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The paths about mail.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(accounts::accounts, accounts::add_account))
        .routes(routes!(accounts::account, accounts::remove_account))
        .routes(routes!(accounts::set_quota))
        .routes(routes!(accounts::set_display_name))
        .routes(routes!(accounts::make_password))
        .routes(routes!(accounts::add_alias))
        .routes(routes!(accounts::remove_alias))
        .routes(routes!(
            app_passwords::app_passwords,
            app_passwords::make_app_password
        ))
        .routes(routes!(app_passwords::revoke_app_password))
        .routes(routes!(domains::domains, domains::add_domain))
        .routes(routes!(domains::remove_domain))
        .routes(routes!(domains::set_catch_all))
        .routes(routes!(certificate::mail_certificate))
        .routes(routes!(queue::queue))
        .routes(routes!(queue::retry_queued))
        .routes(routes!(queue::delete_queued))
}

fn by(owner: &Owner) -> By {
    By {
        who: owner.who,
        from: owner.from,
    }
}

/// What stands in the path.
fn named<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Fault> {
    match path {
        Ok(Path(named)) => Ok(named),
        Err(no) => Err(misspelt(no.body_text())),
    }
}

/// What a path names.
#[derive(Debug, Clone, Copy)]
enum About<'a> {
    Account(&'a str),
    /// Of this account, this address.
    Alias(&'a str, &'a str),
    /// Of this account, the one with this id.
    AppPassword(&'a str, &'a str),
    Domain(&'a str),
}

impl About<'_> {
    /// Whether the box has it; it also has what it does not tell of.
    async fn is_there(self, app: &App) -> bool {
        match self {
            Self::Account(name) => !matches!(mail::account(app, name).await, Ok(None)),
            Self::Alias(name, address) => match mail::account(app, name).await {
                Ok(Some(account)) => mail::has_address(&account, address),
                Ok(None) => false,
                Err(_) => true,
            },
            Self::AppPassword(name, id) => match mail::app_passwords(app, name).await {
                Ok(all) => all.iter().any(|password| password.id == id),
                Err(_) => !matches!(mail::account(app, name).await, Ok(None)),
            },
            Self::Domain(name) => match mail::look(app).await {
                Ok(overview) => mail::has_domain(&overview, name),
                Err(_) => true,
            },
        }
    }
}

/// What came of it. The mail service refuses in words alone; whether what the path names is there at
/// all is looked up then.
async fn told<T>(app: &App, about: About<'_>, result: Result<T, No>) -> Result<T, Fault> {
    match result {
        Ok(done) => Ok(done),
        Err(no @ No::Refused { .. }) if !about.is_there(app).await => {
            Err(Fault::from(no).not_there())
        }
        Err(no) => Err(no.into()),
    }
}
