//! Messages that wait for delivery.

use super::{by, named};
use crate::actions::mail;
use crate::app::App;
use crate::device::fault::{Fault, misspelt};
use crate::device::who::Owner;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use roost_service::mail::QueuedMessage;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Which page of the queue.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct After {
    /// The page begins behind the message with this id; missing: with the first.
    #[param(required = false)]
    after: Option<String>,
}

/// A page of the queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct Queue {
    /// Up to 50 messages, the oldest first.
    messages: Vec<QueuedMessage>,
    /// Whether more follow.
    more: bool,
}

/// Messages that wait for delivery.
#[utoipa::path(
    get,
    path = "/mail/queue",
    tag = "mail",
    params(After),
    responses(
        (status = 200, body = Queue),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn queue(
    State(app): State<Arc<App>>,
    _: Owner,
    after: Result<Query<After>, QueryRejection>,
) -> Result<Json<Queue>, Fault> {
    let Query(after) = after.map_err(|no| misspelt(no.body_text()))?;
    let waiting = mail::queue(&app, after.after).await?;
    Ok(Json(Queue {
        messages: waiting.messages,
        more: waiting.more,
    }))
}

/// Try to deliver a message now.
///
/// Refused if it does not wait any more.
#[utoipa::path(
    post,
    path = "/mail/queue/{id}/retry",
    tag = "mail",
    params(("id" = String, Path, description = "the message's id")),
    responses(
        (status = 202, description = "the box tries"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn retry_queued(
    State(app): State<Arc<App>>,
    _: Owner,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Fault> {
    mail::retry_queued(&app, named(id)?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Delete a message that waits; nobody is told.
///
/// Refused if it does not wait any more.
#[utoipa::path(
    delete,
    path = "/mail/queue/{id}",
    tag = "mail",
    params(("id" = String, Path, description = "the message's id")),
    responses(
        (status = 204, description = "done"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn delete_queued(
    State(app): State<Arc<App>>,
    owner: Owner,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Fault> {
    mail::delete_queued(&app, by(&owner), named(id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
