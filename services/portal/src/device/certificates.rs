//! Certificates that others trust ([`crate::actions::certificates`]), for programs.

use super::fault::{Asked, Fault, misspelt};
use super::who::Owner;
use crate::actions::certificates;
use crate::app::App;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use roost_service::certificates::{CertificateStatus, Choice};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The paths about certificates.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(certificates, choose_certificates))
        .routes(routes!(renew_certificate))
        .routes(routes!(switch_certificate_key))
        .routes(routes!(revoke_certificate))
}

/// How certificates stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct Certificates {
    /// In one sentence for people.
    summary: String,
    /// The owner's choice; `null` before there is one.
    choice: Option<Choice>,
    /// Full name of the mail server; `null` before the name server has told it.
    mail_host: Option<String>,
    /// The domains that certificates are for.
    domains: Vec<String>,
    /// Address of the certificate authority's directory.
    directory: Option<String>,
    /// The account's address at the certificate authority.
    account: Option<String>,
    /// One each.
    certificates: Vec<CertificateStatus>,
}

/// Why a certificate is revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Whether somebody else may have the private key. It is then never used again.
    key_compromised: bool,
}

fn named(id: Result<Path<String>, PathRejection>) -> Result<String, Fault> {
    let Path(id) = id.map_err(|no| misspelt(no.body_text()))?;
    Ok(id.to_ascii_lowercase())
}

/// How certificates stand.
#[utoipa::path(
    get,
    path = "/certificates",
    tag = "certificates",
    responses(
        (status = 200, body = Certificates),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the certificate service does not answer", body = Fault),
    )
)]
pub async fn certificates(
    State(app): State<Arc<App>>,
    _: Owner,
) -> Result<Json<Certificates>, Fault> {
    let status = certificates::status(&app).await?;
    let (mail_host, domains) = match status.zones {
        Some(zones) => (Some(zones.mail_host), zones.domains),
        None => (None, Vec::new()),
    };
    Ok(Json(Certificates {
        summary: status.summary,
        choice: status.choice,
        mail_host,
        domains,
        directory: status.directory,
        account: status.account,
        certificates: status.certificates,
    }))
}

/// Gets certificates this way from now on.
///
/// `terms_agreed` is the owner's word that they agree to the terms of that authority; nothing is ordered
/// without it. What is left out is as if it had never been chosen.
#[utoipa::path(
    put,
    path = "/certificates",
    tag = "certificates",
    request_body = Choice,
    responses(
        (status = 204, description = "it is kept; GET /certificates shows how it goes on"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "it cannot be done this way", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the certificate service does not answer", body = Fault),
    )
)]
pub async fn choose_certificates(
    State(app): State<Arc<App>>,
    owner: Owner,
    Asked(choice): Asked<Choice>,
) -> Result<StatusCode, Fault> {
    certificates::set(&app, choice, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tries to renew a certificate now. A time that the authority named stays.
#[utoipa::path(
    post,
    path = "/certificates/{id}/renew",
    tag = "certificates",
    params(("id" = String, Path, description = "`mail`, `portal`, or a domain")),
    responses(
        (status = 204, description = "it is under way; GET /certificates shows what comes of it"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "there is no such certificate, or it is not its time", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the certificate service does not answer", body = Fault),
    )
)]
pub async fn renew_certificate(
    State(app): State<Arc<App>>,
    owner: Owner,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Fault> {
    certificates::renew(&app, named(id)?, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a certificate's next key, once its hash has been in the zone for long enough.
#[utoipa::path(
    post,
    path = "/certificates/{id}/switch-key",
    tag = "certificates",
    params(("id" = String, Path, description = "`mail`, `portal`, or a domain")),
    responses(
        (status = 204, description = "it is done as soon as it may be"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "there is no such certificate", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the certificate service does not answer", body = Fault),
    )
)]
pub async fn switch_certificate_key(
    State(app): State<Arc<App>>,
    owner: Owner,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Fault> {
    certificates::switch_key(&app, named(id)?, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes a certificate and gets another one with the next key.
#[utoipa::path(
    post,
    path = "/certificates/{id}/revoke",
    tag = "certificates",
    params(("id" = String, Path, description = "`mail`, `portal`, or a domain")),
    request_body = Revocation,
    responses(
        (status = 204, description = "it is under way; GET /certificates shows what comes of it"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "there is no such certificate, or none to revoke", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the certificate service does not answer", body = Fault),
    )
)]
pub async fn revoke_certificate(
    State(app): State<Arc<App>>,
    owner: Owner,
    id: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<Revocation>,
) -> Result<StatusCode, Fault> {
    let (id, compromised) = (named(id)?, asked.key_compromised);
    certificates::revoke(&app, id, compromised, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}
