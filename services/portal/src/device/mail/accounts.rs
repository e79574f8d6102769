//! Mail accounts, their addresses, room and passwords.

use super::{About, by, named, told};
use crate::actions::mail;
use crate::app::App;
use crate::device::fault::{Asked, Fault};
use crate::device::who::Owner;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use roost_service::mail::Account;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// All mail accounts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accounts {
    /// Name of the mail server, e.g. `mail.example.org`.
    host: String,
    /// By log-in name, the box's first account first.
    accounts: Vec<Account>,
}

/// The mail accounts.
#[utoipa::path(
    get,
    path = "/mail/accounts",
    tag = "mail",
    responses(
        (status = 200, body = Accounts),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn accounts(State(app): State<Arc<App>>, _: Owner) -> Result<Json<Accounts>, Fault> {
    let overview = mail::look(&app).await?;
    Ok(Json(Accounts {
        host: overview.host,
        accounts: overview.accounts,
    }))
}

/// One mail account.
#[utoipa::path(
    get,
    path = "/mail/accounts/{name}",
    tag = "mail",
    params(("name" = String, Path, description = "log-in name of the account")),
    responses(
        (status = 200, body = Account),
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
pub async fn account(
    State(app): State<Arc<App>>,
    _: Owner,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Account>, Fault> {
    let name = named(name)?;
    match mail::account(&app, &name).await? {
        Some(account) => Ok(Json(account)),
        None => Err(Fault::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "the box has no such account",
        )),
    }
}

/// A new mail account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Log-in name, and what stands before the `@`: letters from a to z, digits and `. _ -`.
    #[schema(example = "bob")]
    name: String,
    /// One of the box's domains.
    #[schema(example = "example.org")]
    domain: String,
    /// The person's name; may be missing.
    #[serde(default)]
    display_name: String,
    /// Most bytes that it may hold; missing or `null`: as many as the card.
    #[serde(default)]
    quota: Option<u64>,
}

/// A password that the box has made.
#[derive(Serialize, ToSchema)]
pub struct MadePassword {
    /// For mail programs. Nobody can ask for it again.
    password: String,
}

/// Make a mail account.
///
/// The box makes its password and shows it in this answer only.
#[utoipa::path(
    post,
    path = "/mail/accounts",
    tag = "mail",
    request_body = NewAccount,
    responses(
        (status = 201, body = MadePassword),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn add_account(
    State(app): State<Arc<App>>,
    owner: Owner,
    Asked(asked): Asked<NewAccount>,
) -> Result<(StatusCode, Json<MadePassword>), Fault> {
    let new = mail::NewAccount {
        name: asked.name,
        domain: asked.domain,
        display_name: asked.display_name,
        quota: asked.quota,
    };
    let password = mail::add_account(&app, by(&owner), new).await?;
    let password = password.reveal().to_owned();
    Ok((StatusCode::CREATED, Json(MadePassword { password })))
}

/// Delete a mail account with all its mail, calendars and contacts, for good.
///
/// The box's first account stays.
#[utoipa::path(
    delete,
    path = "/mail/accounts/{name}",
    tag = "mail",
    params(("name" = String, Path, description = "log-in name of the account")),
    responses(
        (status = 204, description = "done"),
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
pub async fn remove_account(
    State(app): State<Arc<App>>,
    owner: Owner,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Fault> {
    let name = named(name)?;
    let done = mail::remove_account(&app, by(&owner), name.clone()).await;
    told(&app, About::Account(&name), done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How much an account may hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Most bytes; `null`: as many as the card.
    // Forgotten is not the same as no limit.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    quota: Option<u64>,
}

/// Set how much a mail account may hold.
#[utoipa::path(
    put,
    path = "/mail/accounts/{name}/quota",
    tag = "mail",
    params(("name" = String, Path, description = "log-in name of the account")),
    request_body = Quota,
    responses(
        (status = 204, description = "done"),
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
pub async fn set_quota(
    State(app): State<Arc<App>>,
    owner: Owner,
    name: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<Quota>,
) -> Result<StatusCode, Fault> {
    let name = named(name)?;
    let done = mail::set_quota(&app, by(&owner), name.clone(), asked.quota).await;
    told(&app, About::Account(&name), done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The name of a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisplayName {
    /// At most 60 letters; may be empty.
    display_name: String,
}

/// Set the name of the person whose mail account it is.
#[utoipa::path(
    put,
    path = "/mail/accounts/{name}/display-name",
    tag = "mail",
    params(("name" = String, Path, description = "log-in name of the account")),
    request_body = DisplayName,
    responses(
        (status = 204, description = "done"),
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
pub async fn set_display_name(
    State(app): State<Arc<App>>,
    owner: Owner,
    name: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<DisplayName>,
) -> Result<StatusCode, Fault> {
    let name = named(name)?;
    let done = mail::set_display_name(&app, by(&owner), name.clone(), asked.display_name).await;
    told(&app, About::Account(&name), done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make another password for a mail account.
///
/// The box shows it in this answer only. Programs that use the old one ask for it then; app passwords
/// stay.
#[utoipa::path(
    post,
    path = "/mail/accounts/{name}/password",
    tag = "mail",
    params(("name" = String, Path, description = "log-in name of the account")),
    responses(
        (status = 200, body = MadePassword),
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
pub async fn make_password(
    State(app): State<Arc<App>>,
    owner: Owner,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<MadePassword>, Fault> {
    let name = named(name)?;
    let made = mail::set_password(&app, by(&owner), name.clone()).await;
    let password = told(&app, About::Account(&name), made).await?;
    let password = password.reveal().to_owned();
    Ok(Json(MadePassword { password }))
}

/// An address.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// Its domain is one of the box's.
    #[schema(example = "sales@example.org")]
    address: String,
}

/// Give a mail account one more address.
///
/// `postmaster@` and `abuse@`, which each domain must have, are taken from the account that has them.
#[utoipa::path(
    post,
    path = "/mail/accounts/{name}/aliases",
    tag = "mail",
    params(("name" = String, Path, description = "log-in name of the account")),
    request_body = Alias,
    responses(
        (status = 204, description = "done"),
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
pub async fn add_alias(
    State(app): State<Arc<App>>,
    owner: Owner,
    name: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<Alias>,
) -> Result<StatusCode, Fault> {
    let name = named(name)?;
    let done = mail::add_alias(&app, by(&owner), name.clone(), asked.address).await;
    told(&app, About::Account(&name), done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take an address from a mail account.
///
/// Its own address stays, and so do `postmaster@` and `abuse@`, which can be given to another account.
#[utoipa::path(
    delete,
    path = "/mail/accounts/{name}/aliases/{address}",
    tag = "mail",
    params(
        ("name" = String, Path, description = "log-in name of the account"),
        ("address" = String, Path, description = "one of its addresses"),
    ),
    responses(
        (status = 204, description = "done"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "there is no such account, or it does not have the address", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn remove_alias(
    State(app): State<Arc<App>>,
    owner: Owner,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Fault> {
    let (name, address) = named(path)?;
    let done = mail::remove_alias(&app, by(&owner), name.clone(), address.clone()).await;
    told(&app, About::Alias(&name, &address), done).await?;
    Ok(StatusCode::NO_CONTENT)
}
