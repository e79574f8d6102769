//! Which laptops the box knows.

use super::fault::{Asked, Fault, misspelt};
use super::pair::Laptop;
use super::who::{Anybody, Owner};
use crate::actions::{laptops, pairing, sign_in};
use crate::app::App;
use crate::store::StoreError;
use crate::time::{Now, words};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A laptop that the box knows.
#[derive(Debug, Serialize, ToSchema)]
pub struct Known {
    /// What the owner calls it.
    name: String,
    /// Its Ed25519 public key in hexadecimal digits.
    key: String,
    /// When it was paired, in words.
    paired: String,
    /// When it was here last, in words, within five minutes.
    seen: Option<String>,
    /// Whether it is the one that asks.
    this: bool,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct All {
    /// By name.
    laptops: Vec<Known>,
}

/// The time, or how long ago in powered-on time if the clock was not set.
fn when(then: Now, now: Now) -> String {
    match then.wall {
        Some(wall) => wall.to_string(),
        None => format!("{} ago", words(now.powered_on.since(then.powered_on))),
    }
}

/// The laptops that the box knows.
#[utoipa::path(
    get,
    path = "/laptops",
    tag = "laptops",
    responses(
        (status = 200, body = All),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
    )
)]
pub async fn list(State(app): State<Arc<App>>, owner: Owner) -> Result<Json<All>, Fault> {
    let now = app.now();
    let all = laptops::list(&app).await?;
    let laptops = all.into_iter().map(|(key, laptop)| Known {
        name: laptop.name,
        key: hex::encode(key.0),
        paired: when(laptop.paired, now),
        seen: laptop.seen.map(|seen| when(seen, now)),
        this: owner.laptop == Some(key),
    });
    Ok(Json(All {
        laptops: laptops.collect(),
    }))
}

/// One more laptop of the owner.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The admin password.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
    /// Six digits of the owner's app or a recovery code, if the owner has set that up.
    #[schema(value_type = Option<String>)]
    second: Option<Zeroizing<String>>,
    /// Who asks.
    laptop: Laptop,
}

/// What it gets.
#[derive(Debug, Serialize, ToSchema)]
pub struct Joined {
    /// Name of the box.
    name: String,
}

/// Pair one more laptop, with the owner's password.
///
/// Counted as a sign-in on the box's pages is. Doing it again with the same key changes nothing.
#[utoipa::path(
    post,
    path = "/laptops",
    tag = "laptops",
    request_body = Join,
    responses(
        (status = 201, body = Joined),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "the second factor is missing", body = Fault),
        (status = 403, description = "wrong password or second factor, or another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 409, description = "no owner yet, or too many laptops", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "a value cannot be used", body = Fault),
        (status = 429, description = "too many tries", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
    )
)]
pub async fn join(
    State(app): State<Arc<App>>,
    Anybody(place): Anybody,
    Asked(asked): Asked<Join>,
) -> Result<(StatusCode, Json<Joined>), Fault> {
    let laptop = asked.laptop.check()?;
    if !pairing::is_finished(&app).await? {
        return Err(StoreError::NoOwner.into());
    }
    let attempt = sign_in::Try {
        place,
        device: None,
        password: asked.password,
        second: asked.second.unwrap_or_default(),
    };
    let owner = sign_in::prove(&app, attempt)
        .await
        .map_err(Fault::of_sign_in)?;
    laptops::pair(&app, owner, laptop, place).await?;
    let name = app.settings.name.clone();
    Ok((StatusCode::CREATED, Json(Joined { name })))
}

/// Forget a laptop, and cut its connections.
#[utoipa::path(
    delete,
    path = "/laptops/{key}",
    tag = "laptops",
    params(("key" = String, Path, description = "its public key, 64 hexadecimal digits")),
    responses(
        (status = 204, description = "done"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "the box does not know it", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
    )
)]
pub async fn revoke(
    State(app): State<Arc<App>>,
    owner: Owner,
    key: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Fault> {
    let Path(key) = key.map_err(|no| misspelt(no.body_text()))?;
    let key = laptops::parse_key(&key)
        .ok_or_else(|| misspelt("a laptop's key has 64 hexadecimal digits"))?;
    match laptops::revoke(&app, key, owner.who, owner.from).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(Fault::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "the box knows no laptop with this key",
        )),
    }
}
