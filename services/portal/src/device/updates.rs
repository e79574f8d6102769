//! Which version the box runs. The updater's own line protocol is piped to laptops.

use super::fault::{Asked, Fault};
use super::pipe::Who;
use super::who::Owner;
use crate::actions::updates;
use crate::app::App;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use roost_service::update;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Talk to the updater.
///
/// With `Connection: Upgrade` and `Upgrade: roost-update/1` the connection becomes the updater's: one
/// JSON object a line, as `services/service/src/update.rs` describes. For laptops at port 7625 only.
#[utoipa::path(
    post,
    path = "/updates",
    tag = "updates",
    params(("upgrade" = String, Header, description = "`roost-update/1`")),
    responses(
        (status = 101, description = "from here on the updater's lines"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "not by a laptop", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 426, description = "without the upgrade", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the updater does not answer", body = Fault),
    )
)]
pub async fn open(
    State(app): State<Arc<App>>,
    _: Owner,
    request: Request,
) -> Result<Response, Fault> {
    let who = Who {
        name: "the box's updater",
        command: "roost update",
        protocol: update::UPGRADE,
        socket: &app.places.updater,
    };
    who.pipe(request).await
}

/// Look for an update now, and install a newer version at once.
#[utoipa::path(
    post,
    path = "/updates/check",
    tag = "updates",
    responses(
        (status = 202, description = "it looks; how that ends is in the updater's log"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 409, description = "the box follows no address", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the updater does not answer", body = Fault),
    )
)]
pub async fn check(State(app): State<Arc<App>>, _: Owner) -> Result<StatusCode, Fault> {
    updates::look(&app).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Going back to the version in the other slot.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// The owner wants it though that version has an older mail store, in which what came since the
    /// update is missing.
    #[serde(default)]
    allow_older_mail: bool,
}

/// Boot the version in the other slot on trial.
#[utoipa::path(
    post,
    path = "/rollback",
    tag = "updates",
    request_body = RollBack,
    responses(
        (status = 202, description = "it goes down within some seconds"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "a part of the box does not answer", body = Fault),
    )
)]
pub async fn roll_back(
    State(app): State<Arc<App>>,
    owner: Owner,
    Asked(asked): Asked<RollBack>,
) -> Result<StatusCode, Fault> {
    updates::roll_back(&app, asked.allow_older_mail, owner.who, owner.from).await?;
    Ok(StatusCode::ACCEPTED)
}
