//! Backups: the backup service's own protocol is piped to laptops.

use super::fault::Fault;
use super::pipe::Who;
use super::who::Owner;
use crate::actions::updates;
use crate::app::App;
use axum::extract::{Request, State};
use axum::response::Response;
use roost_service::backup;
use std::sync::Arc;

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
