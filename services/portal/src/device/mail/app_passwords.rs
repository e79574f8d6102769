//! Passwords of single devices and programs.

use super::{About, by, named, told};
use crate::actions::mail;
use crate::app::App;
use crate::device::fault::{Asked, Fault};
use crate::device::who::Owner;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use roost_service::mail::AppPassword;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The app passwords of a mail account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppPasswords {
    /// The oldest first, without the passwords themselves.
    app_passwords: Vec<AppPassword>,
}

/// The app passwords of a mail account.
#[utoipa::path(
    get,
    path = "/mail/accounts/{name}/app-passwords",
    tag = "mail",
    params(("name" = String, Path, description = "log-in name of the account")),
    responses(
        (status = 200, body = AppPasswords),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "there is no such account", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn app_passwords(
    State(app): State<Arc<App>>,
    _: Owner,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<AppPasswords>, Fault> {
    let name = named(name)?;
    let all = mail::app_passwords(&app, &name).await;
    let app_passwords = told(&app, About::Account(&name), all).await?;
    Ok(Json(AppPasswords { app_passwords }))
}

/// A new app password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAppPassword {
    /// What it is for: 1 to 60 letters.
    #[schema(example = "phone")]
    label: String,
}

/// An app password that the box has made.
#[derive(Serialize, ToSchema)]
pub struct MadeAppPassword {
    /// Names it when it is revoked.
    id: String,
    /// For the mail program. Nobody can ask for it again.
    password: String,
}

/// Make a password for one phone or program.
///
/// The box shows it in this answer only.
#[utoipa::path(
    post,
    path = "/mail/accounts/{name}/app-passwords",
    tag = "mail",
    params(("name" = String, Path, description = "log-in name of the account")),
    request_body = NewAppPassword,
    responses(
        (status = 201, body = MadeAppPassword),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "there is no such account", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn make_app_password(
    State(app): State<Arc<App>>,
    owner: Owner,
    name: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<NewAppPassword>,
) -> Result<(StatusCode, Json<MadeAppPassword>), Fault> {
    let name = named(name)?;
    let made = mail::make_app_password(&app, by(&owner), name.clone(), asked.label).await;
    let (id, password) = told(&app, About::Account(&name), made).await?;
    let password = password.0;
    Ok((StatusCode::CREATED, Json(MadeAppPassword { id, password })))
}

/// Make an app password useless.
#[utoipa::path(
    delete,
    path = "/mail/accounts/{name}/app-passwords/{id}",
    tag = "mail",
    params(
        ("name" = String, Path, description = "log-in name of the account"),
        ("id" = String, Path, description = "the app password's id"),
    ),
    responses(
        (status = 204, description = "done"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "there is no such account, or no such app password", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn revoke_app_password(
    State(app): State<Arc<App>>,
    owner: Owner,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Fault> {
    let (name, id) = named(path)?;
    let done = mail::revoke_app_password(&app, by(&owner), name.clone(), id.clone()).await;
    told(&app, About::AppPassword(&name, &id), done).await?;
    Ok(StatusCode::NO_CONTENT)
}
