//! How the box is, check by check ([`crate::health`]), for programs.

use super::fault::{Fault, misspelt};
use super::who::Owner;
use crate::app::App;
use crate::health::look;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use roost_service::health::Health;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Which look.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichLook {
    /// The last one that there was, at once, instead of a new one.
    #[serde(default)]
    last: bool,
}

/// How the box is, check by check.
///
/// The box looks at everything anew: it asks its services, the DNS, its relay, and others how they see it. That
/// takes up to 25 seconds; whoever asks meanwhile waits for one look more. `docs/doctor.md` tells of each check.
#[utoipa::path(
    get,
    path = "/health",
    tag = "machine",
    params(WhichLook),
    responses(
        (status = 200, body = Health),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "there was no look yet", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
    )
)]
pub async fn health(
    State(app): State<Arc<App>>,
    _: Owner,
    which: Result<Query<WhichLook>, QueryRejection>,
) -> Result<Json<Health>, Fault> {
    let Query(which) = which.map_err(|no| misspelt(no.body_text()))?;
    if !which.last {
        return Ok(Json(look(&app).await));
    }
    let last = app.health.last().ok_or_else(|| {
        Fault::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "nobody has looked at the box yet",
        )
        .hint("ask without `last`: then it is looked at now")
    })?;
    Ok(Json(last.health))
}
