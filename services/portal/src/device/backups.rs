//! Backups: the backup service's own protocol is piped to laptops; beside that, what it does by itself
//! ([`crate::actions::backups`]).

use super::fault::{Asked, Fault};
use super::pipe::Who;
use super::who::Owner;
use crate::actions::{backups, updates};
use crate::app::App;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use roost_service::backup::{self, BackupStatus, HostKey, Secret, Target};
use roost_service::disk::Disk;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The paths about backups.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(backups, open))
        .routes(routes!(set_backup_target, remove_backup_target))
        .routes(routes!(backup_key))
        .routes(routes!(backup_host_key))
        .routes(routes!(backup_disks))
        .routes(routes!(back_up_now))
        .routes(routes!(prove_backup))
}

/// Where backups are to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTarget {
    /// The place.
    target: Target,
    /// The access key's secret half, or the password of an SFTP server; without, the box's own key signs in
    /// there. No answer ever has it.
    #[serde(default)]
    secret: Option<Secret>,
}

/// By what the box signs in at SFTP servers.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupKey {
    /// A line for the file `authorized_keys` of the account there.
    key: String,
}

/// An SFTP server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupServer {
    /// Its name or address; one of IPv6 without brackets.
    host: String,
    /// Its port; usually 22.
    port: u16,
}

/// Which host key an SFTP server shows.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupHostKey {
    /// Its fingerprint, as OpenSSH shows it.
    host_key: HostKey,
}

/// USB disks.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupDisks {
    /// Each disk, or each partition of one.
    disks: Vec<Disk>,
}

/// How backups stand.
#[utoipa::path(
    get,
    path = "/backup",
    tag = "backup",
    responses(
        (status = 200, body = BackupStatus),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn backups(State(app): State<Arc<App>>, _: Owner) -> Result<Json<BackupStatus>, Fault> {
    Ok(Json(backups::status(&app).await?))
}

/// Backs up to this place from now on.
///
/// The box lists it, writes a small file there and reads it back before it keeps anything. The first
/// backup begins at once.
#[utoipa::path(
    put,
    path = "/backup/target",
    tag = "backup",
    request_body = NewTarget,
    responses(
        (status = 204, description = "it works, and is kept"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "it is of no use; nothing was changed", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn set_backup_target(
    State(app): State<Arc<App>>,
    owner: Owner,
    Asked(asked): Asked<NewTarget>,
) -> Result<StatusCode, Fault> {
    backups::set(&app, asked.target, asked.secret, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The public half of the key by which the box signs in at SFTP servers.
#[utoipa::path(
    get,
    path = "/backup/key",
    tag = "backup",
    responses(
        (status = 200, body = BackupKey),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "there is none", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn backup_key(State(app): State<Arc<App>>, _: Owner) -> Result<Json<BackupKey>, Fault> {
    let key = backups::key(&app).await?;
    Ok(Json(BackupKey { key }))
}

/// Asks an SFTP server which host key it has, before anything is said there.
///
/// Whether that is the right one, the owner has to know; a target has it in it from then on.
#[utoipa::path(
    post,
    path = "/backup/host-key",
    tag = "backup",
    request_body = BackupServer,
    responses(
        (status = 200, body = BackupHostKey),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "the box does not reach it, or it is none", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn backup_host_key(
    State(app): State<Arc<App>>,
    _: Owner,
    Asked(asked): Asked<BackupServer>,
) -> Result<Json<BackupHostKey>, Fault> {
    let host_key = backups::host_key(&app, asked.host, asked.port).await?;
    Ok(Json(BackupHostKey { host_key }))
}

/// Which USB disks are plugged into the box, those that it cannot back up to among them.
///
/// Until this is first asked after a start, the box has no driver for any: it may take some seconds.
#[utoipa::path(
    get,
    path = "/backup/disks",
    tag = "backup",
    responses(
        (status = 200, body = BackupDisks),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "it cannot be told", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn backup_disks(
    State(app): State<Arc<App>>,
    _: Owner,
) -> Result<Json<BackupDisks>, Fault> {
    let disks = backups::disks(&app).await?;
    Ok(Json(BackupDisks { disks }))
}

/// Backs up to no place any more. What lies there stays.
#[utoipa::path(
    delete,
    path = "/backup/target",
    tag = "backup",
    responses(
        (status = 204, description = "it is forgotten, with its secret"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "it cannot be done", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn remove_backup_target(
    State(app): State<Arc<App>>,
    owner: Owner,
) -> Result<StatusCode, Fault> {
    backups::remove(&app, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins a backup at the target.
#[utoipa::path(
    post,
    path = "/backup/now",
    tag = "backup",
    responses(
        (status = 204, description = "it begins; GET /backup shows how far it is"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "there is no target, or the box is at it already", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn back_up_now(State(app): State<Arc<App>>, _: Owner) -> Result<StatusCode, Fault> {
    backups::begin(&app).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the newest backup at the target back, and compares it with what was noted when it was made.
#[utoipa::path(
    post,
    path = "/backup/prove",
    tag = "backup",
    responses(
        (status = 204, description = "it begins; GET /backup shows what was found"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "there is no backup, or the box is at it already", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn prove_backup(State(app): State<Arc<App>>, _: Owner) -> Result<StatusCode, Fault> {
    backups::prove(&app).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Fetch a backup, or the code that opens backups.
///
/// With `Connection: Upgrade` and `Upgrade: roost-backup/1` the connection becomes the backup service's,
/// as `services/backup/repository/src/wire.rs` describes. For laptops at port 7625 only. It is noted in
/// the activity: whoever has a backup and its code has everything.
#[utoipa::path(
    post,
    path = "/backup",
    tag = "backup",
    params(("upgrade" = String, Header, description = "`roost-backup/1`")),
    responses(
        (status = 101, description = "from here on the backup service's protocol"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "not by a laptop", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 426, description = "without the upgrade", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the backup service does not answer", body = Fault),
    )
)]
pub async fn open(
    State(app): State<Arc<App>>,
    owner: Owner,
    request: Request,
) -> Result<Response, Fault> {
    let who = Who {
        name: "the box's backup service",
        command: "roost backup",
        protocol: backup::UPGRADE,
        socket: &app.places.backup,
    };
    let answer = who.pipe(request).await?;
    if answer.status() == axum::http::StatusCode::SWITCHING_PROTOCOLS {
        updates::note_backup(&app, owner.who, owner.from).await?;
    }
    Ok(answer)
}
