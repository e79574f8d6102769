//! What others say of the box's mail ([`crate::actions::outside`]), for programs.

use super::fault::{Fault, misspelt};
use super::who::Owner;
use crate::actions::outside;
use crate::app::App;
use crate::outside::blocklists::{Blocklists, PublicAddress};
use crate::outside::port25::Port25;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Whether receivers' blocklists have an address.
///
/// The box asks all of them at once, through the resolver of its network, and answers within ten
/// seconds, unless it has to wait for another such call. It says `unanswered` of a list that
/// does not answer, refuses to, or does not work: that is neither `clear` nor `listed`.
#[utoipa::path(
    get,
    path = "/blocklists/{address}",
    tag = "outside",
    params(("address" = String, Path, format = Ipv4, description = "a public IPv4 address, e.g. the relay's")),
    responses(
        (status = 200, body = Blocklists),
        (status = 400, description = "no public IPv4 address", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
    )
)]
pub async fn blocklists(
    State(app): State<Arc<App>>,
    _: Owner,
    address: Result<Path<String>, PathRejection>,
) -> Result<Json<Blocklists>, Fault> {
    let Path(address) = address.map_err(|no| misspelt(no.body_text()))?;
    let hint = "a public IPv4 address is needed, e.g. the relay's";
    let address: Ipv4Addr = (address.parse())
        .map_err(|_| misspelt(format!("{address:?} is no IPv4 address")).hint(hint))?;
    let public = PublicAddress::new(address).map_err(|what| {
        Fault::new(StatusCode::BAD_REQUEST, "not_public", "no list was asked")
            .because(format!(
                "{address} is {what}; mail comes from public addresses alone"
            ))
            .hint(hint)
    })?;
    Ok(Json(outside::check_lists(&app, public).await))
}

/// Whether mail gets out.
///
/// The box connects to port 25 of the first mail server of three large receivers, by the way that its
/// mail takes, waits for the greeting, and sends nothing. It answers within ten seconds, unless it has
/// to wait for another such call.
#[utoipa::path(
    get,
    path = "/port25",
    tag = "outside",
    responses(
        (status = 200, body = Port25),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
    )
)]
pub async fn port25(State(app): State<Arc<App>>, _: Owner) -> Result<Json<Port25>, Fault> {
    Ok(Json(outside::try_port25(&app).await))
}
