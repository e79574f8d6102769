//! Domains that the box has mail for.

use super::{About, by, named, told};
use crate::actions::mail;
use crate::app::App;
use crate::device::fault::{Asked, Fault};
use crate::device::who::Owner;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use roost_service::mail::Domain;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// All mail domains.
#[derive(Debug, Serialize, ToSchema)]
pub struct Domains {
    /// By name, the box's own first.
    domains: Vec<Domain>,
}

/// The mail domains.
#[utoipa::path(
    get,
    path = "/mail/domains",
    tag = "mail",
    responses(
        (status = 200, body = Domains),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn domains(State(app): State<Arc<App>>, _: Owner) -> Result<Json<Domains>, Fault> {
    let domains = mail::look(&app).await?.domains;
    Ok(Json(Domains { domains }))
}

/// A new mail domain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDomain {
    /// One that the owner has.
    #[schema(example = "example.net")]
    domain: String,
}

/// Take mail for one more domain.
///
/// Its `postmaster@` and `abuse@` go to the box's first account. Next, its registrar is given the box's name servers.
#[utoipa::path(
    post,
    path = "/mail/domains",
    tag = "mail",
    request_body = NewDomain,
    responses(
        (status = 204, description = "done"),
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
pub async fn add_domain(
    State(app): State<Arc<App>>,
    owner: Owner,
    Asked(asked): Asked<NewDomain>,
) -> Result<StatusCode, Fault> {
    mail::add_domain(&app, by(&owner), asked.domain).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take no more mail for a domain, and all addresses in it from their accounts.
///
/// The box's own domain stays, and one in which an account has its own address.
#[utoipa::path(
    delete,
    path = "/mail/domains/{domain}",
    tag = "mail",
    params(("domain" = String, Path, description = "one of the box's domains")),
    responses(
        (status = 204, description = "done"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "there is no such domain", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn remove_domain(
    State(app): State<Arc<App>>,
    owner: Owner,
    domain: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Fault> {
    let domain = named(domain)?;
    let done = mail::remove_domain(&app, by(&owner), domain.clone()).await;
    told(&app, About::Domain(&domain), done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who gets mail to addresses that nobody has.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CatchAll {
    /// Log-in name; `null`: such mail is refused.
    // Forgotten is not the same as nobody.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    account: Option<String>,
}

/// Choose who gets mail to addresses of a domain that nobody has.
#[utoipa::path(
    put,
    path = "/mail/domains/{domain}/catch-all",
    tag = "mail",
    params(("domain" = String, Path, description = "one of the box's domains")),
    request_body = CatchAll,
    responses(
        (status = 204, description = "done"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "there is no such domain", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn set_catch_all(
    State(app): State<Arc<App>>,
    owner: Owner,
    domain: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<CatchAll>,
) -> Result<StatusCode, Fault> {
    let domain = named(domain)?;
    let done = mail::set_catch_all(&app, by(&owner), domain.clone(), asked.account).await;
    told(&app, About::Domain(&domain), done).await?;
    Ok(StatusCode::NO_CONTENT)
}
