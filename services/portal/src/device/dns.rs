//! The zones of the box's domains ([`crate::actions::dns`]), for programs.

use super::fault::{Asked, Fault, misspelt};
use super::refusals::{NotTaken, Refused};
use super::who::Owner;
use crate::actions::dns;
use crate::app::App;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use roost_service::dns::{Dmarc, LeftOut, Place, Record, Row, Zone};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The paths about zones.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(records))
        .routes(routes!(export))
        .routes(routes!(own, set_own))
        .routes(routes!(import))
        .routes(routes!(replace_key))
        .routes(routes!(check))
        .routes(routes!(set_dmarc))
}

/// How the name server stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct NameServer {
    /// In one sentence for people.
    summary: String,
    /// Addresses where it answers.
    addresses: Vec<String>,
    /// The zones, the box's own first.
    zones: Vec<WatchedZone>,
}

/// A zone, and what another part of the box sees of its answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct WatchedZone {
    #[serde(flatten)]
    zone: Zone,
    /// What is wrong with the answers of the name server, and what to do, in whole sentences. It is looked at
    /// once an hour over the network, as everybody sees it.
    alarm: Option<String>,
}

/// Records of a zone, without DNSSEC's.
#[derive(Debug, Serialize, ToSchema)]
pub struct Records {
    /// Each with its reason.
    records: Vec<Record>,
}

/// Lines as in a zone file (RFC 1035, section 5).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneText {
    /// The lines.
    #[schema(example = "www 3600 IN A 192.0.2.1\n")]
    text: String,
}

/// What of a zone file can be kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct Import {
    /// Lines that can be kept as the owner's own. They are not yet.
    keep: String,
    /// The others, each with the reason.
    left_out: Vec<LeftOut>,
}

/// What should be answered for a zone, and what is.
// Updates have a `Check` in the document too.
#[derive(Debug, Serialize, ToSchema)]
pub struct ZoneCheck {
    /// The zone.
    domain: String,
    /// When it was looked at, in seconds since 1970.
    at: u64,
    /// Who was asked: the columns.
    places: Vec<Place>,
    /// What was asked: the rows.
    rows: Vec<Row>,
}

/// How a zone is given out.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct As {
    /// Whether with keys and signatures, as it is served.
    #[serde(default)]
    signed: bool,
}

fn named(domain: Result<Path<String>, PathRejection>) -> Result<String, Fault> {
    let Path(domain) = domain.map_err(|no| misspelt(no.body_text()))?;
    Ok(domain.to_ascii_lowercase())
}

/// How the name server and its zones stand.
#[utoipa::path(
    get,
    path = "/dns",
    tag = "dns",
    responses(
        (status = 200, body = NameServer),
        Refused,
    )
)]
pub async fn status(State(app): State<Arc<App>>, _: Owner) -> Result<Json<NameServer>, Fault> {
    let status = dns::status(&app).await?;
    Ok(Json(NameServer {
        summary: status.summary,
        addresses: status.addresses.iter().map(ToString::to_string).collect(),
        zones: (status.zones.into_iter())
            .map(|zone| WatchedZone {
                alarm: app.signatures.alarm(&zone.domain),
                zone,
            })
            .collect(),
    }))
}

/// The records of a zone, each with its reason.
#[utoipa::path(
    get,
    path = "/dns/{domain}/records",
    tag = "dns",
    params(("domain" = String, Path, description = "one of the box's domains")),
    responses(
        (status = 200, body = Records),
        (status = 422, description = "there is no such zone", body = Fault),
        (status = 400, description = "not understood", body = Fault),
        Refused,
    )
)]
pub async fn records(
    State(app): State<Arc<App>>,
    _: Owner,
    domain: Result<Path<String>, PathRejection>,
) -> Result<Json<Records>, Fault> {
    let records = dns::records(&app, named(domain)?).await?;
    Ok(Json(Records { records }))
}

/// A zone as a file that other name servers read.
#[utoipa::path(
    get,
    path = "/dns/{domain}/zone",
    tag = "dns",
    params(("domain" = String, Path, description = "one of the box's domains"), As),
    responses(
        (status = 200, body = ZoneText),
        (status = 422, description = "there is no such zone, or it is not served yet", body = Fault),
        (status = 400, description = "not understood", body = Fault),
        Refused,
    )
)]
pub async fn export(
    State(app): State<Arc<App>>,
    _: Owner,
    domain: Result<Path<String>, PathRejection>,
    how: Result<Query<As>, QueryRejection>,
) -> Result<Json<ZoneText>, Fault> {
    let Query(how) = how.map_err(|no| misspelt(no.body_text()))?;
    let text = dns::export(&app, named(domain)?, how.signed).await?;
    Ok(Json(ZoneText { text }))
}

/// The owner's own records, as they were given.
#[utoipa::path(
    get,
    path = "/dns/{domain}/own",
    tag = "dns",
    params(("domain" = String, Path, description = "one of the box's domains")),
    responses(
        (status = 200, body = ZoneText),
        (status = 422, description = "there is no such zone", body = Fault),
        (status = 400, description = "not understood", body = Fault),
        Refused,
    )
)]
pub async fn own(
    State(app): State<Arc<App>>,
    _: Owner,
    domain: Result<Path<String>, PathRejection>,
) -> Result<Json<ZoneText>, Fault> {
    let text = dns::own(&app, named(domain)?).await?;
    Ok(Json(ZoneText { text }))
}

/// Other records of the owner's own in place of those before.
///
/// Names are relative to the domain, or have a dot at their end. Nothing is changed unless every line can
/// be taken; the answer then names all that cannot.
#[utoipa::path(
    put,
    path = "/dns/{domain}/own",
    tag = "dns",
    params(("domain" = String, Path, description = "one of the box's domains")),
    request_body = ZoneText,
    responses(
        (status = 204, description = "they are kept, and served"),
        (status = 422, description = "there is no such zone, or a line cannot be taken", body = Fault),
        (status = 400, description = "not understood", body = Fault),
        Refused,
        NotTaken,
    )
)]
pub async fn set_own(
    State(app): State<Arc<App>>,
    owner: Owner,
    domain: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<ZoneText>,
) -> Result<StatusCode, Fault> {
    dns::set_own(&app, named(domain)?, asked.text, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which records of another name server's zone file can be kept. Nothing is changed.
#[utoipa::path(
    post,
    path = "/dns/{domain}/import",
    tag = "dns",
    params(("domain" = String, Path, description = "one of the box's domains")),
    request_body = ZoneText,
    responses(
        (status = 200, body = Import),
        (status = 422, description = "there is no such zone, or this is no zone file", body = Fault),
        (status = 400, description = "not understood", body = Fault),
        Refused,
        NotTaken,
    )
)]
pub async fn import(
    State(app): State<Arc<App>>,
    _: Owner,
    domain: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<ZoneText>,
) -> Result<Json<Import>, Fault> {
    let (keep, left_out) = dns::import(&app, named(domain)?, asked.text).await?;
    Ok(Json(Import { keep, left_out }))
}

/// Begins to replace the key that the registrar knows (the KSK).
#[utoipa::path(
    post,
    path = "/dns/{domain}/replace-key",
    tag = "dns",
    params(("domain" = String, Path, description = "one of the box's domains")),
    responses(
        (status = 204, description = "it has begun; GET /dns shows how it goes on"),
        (status = 422, description = "there is no such zone, or its key cannot be replaced now", body = Fault),
        (status = 400, description = "not understood", body = Fault),
        Refused,
    )
)]
pub async fn replace_key(
    State(app): State<Arc<App>>,
    owner: Owner,
    domain: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Fault> {
    dns::replace_key(&app, named(domain)?, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What should be answered for a zone, what each name server answers, and what its parent says.
///
/// The box asks others for it, which takes up to ten seconds.
#[utoipa::path(
    get,
    path = "/dns/{domain}/check",
    tag = "dns",
    params(("domain" = String, Path, description = "one of the box's domains")),
    responses(
        (status = 200, body = ZoneCheck),
        (status = 422, description = "there is no such zone, or it is not served yet", body = Fault),
        (status = 400, description = "not understood", body = Fault),
        Refused,
    )
)]
pub async fn check(
    State(app): State<Arc<App>>,
    _: Owner,
    domain: Result<Path<String>, PathRejection>,
) -> Result<Json<ZoneCheck>, Fault> {
    let check = dns::check(&app, named(domain)?).await?;
    Ok(Json(ZoneCheck {
        domain: check.domain,
        at: check.at,
        places: check.places,
        rows: check.rows,
    }))
}

/// What receivers shall do with mail that is forged in a domain's name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DmarcStage {
    /// `null`: as the box thinks fit, more strictly as time goes by.
    // Forgotten is not the same as left to the box.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    stage: Option<Dmarc>,
}

/// Chooses what receivers shall do with mail that is forged in the domain's name (DMARC, RFC 7489).
#[utoipa::path(
    put,
    path = "/dns/{domain}/dmarc",
    tag = "dns",
    params(("domain" = String, Path, description = "one of the box's domains")),
    request_body = DmarcStage,
    responses(
        (status = 204, description = "it is kept, and served"),
        (status = 422, description = "there is no such zone", body = Fault),
        (status = 400, description = "not understood", body = Fault),
        Refused,
        NotTaken,
    )
)]
pub async fn set_dmarc(
    State(app): State<Arc<App>>,
    owner: Owner,
    domain: Result<Path<String>, PathRejection>,
    Asked(asked): Asked<DmarcStage>,
) -> Result<StatusCode, Fault> {
    dns::set_dmarc(&app, named(domain)?, asked.stage, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}
