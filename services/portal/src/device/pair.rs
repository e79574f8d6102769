//! What anybody may ask: what the box is, and to become its owner by the code of its card.

use super::fault::{Asked, Fault};
use super::tunnel::Relay;
use super::who::Anybody;
use crate::actions::{laptops, pairing};
use crate::app::App;
use crate::setup::{self, Form, Known};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Number of the API's version.
const API: u32 = 1;
/// Who says hello does not wait for init longer than this.
const INIT_TIME: Duration = Duration::from_secs(2);

/// What a box says of itself to anybody on its network.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hello {
    /// Name of the box.
    name: String,
    /// Version of its system; missing if that is not known just now.
    version: Option<String>,
    /// Version of the API.
    api: u32,
    /// Whether it has an owner.
    paired: bool,
    /// Whether its image names no domain and no first account, so that pairing has to.
    needs_mailbox: bool,
}

/// What this box is.
#[utoipa::path(get, path = "/hello", tag = "pairing", responses((status = 200, body = Hello)))]
pub async fn hello(State(app): State<Arc<App>>, _: Anybody) -> Result<Json<Hello>, Fault> {
    let status = timeout(INIT_TIME, app.init.status()).await;
    Ok(Json(Hello {
        name: app.settings.name.clone(),
        version: status.ok().and_then(|s| s.ok()).map(|s| s.version),
        api: API,
        paired: pairing::is_finished(&app).await?,
        needs_mailbox: app.settings.mailbox.is_none(),
    }))
}

/// A laptop that wants to be paired.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Laptop {
    /// What the owner calls it.
    #[schema(min_length = 1, max_length = 64, example = "desk")]
    name: String,
    /// Its Ed25519 public key in hexadecimal digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    key: String,
}

impl Laptop {
    /// With a usable name and key.
    ///
    /// # Errors
    /// A [`Fault`] that says what is wrong.
    pub fn check(&self) -> Result<laptops::Applicant, Fault> {
        laptops::Applicant::new(&self.name, &self.key).map_err(|why| {
            Fault::unusable("laptop_refused", "the laptop was not paired").because(why)
        })
    }
}

/// Becoming the owner of a new box.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The code of the card, as `roost flash` and the box's screen show it.
    #[schema(value_type = String, example = "A0B1-C2D3")]
    code: Zeroizing<String>,
    /// The admin password that the box gets.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
    /// The mail domain; may be missing if the image names one.
    domain: Option<String>,
    /// The first mail account; may be missing if the image names one.
    account: Option<String>,
    /// The relay by which mail reaches the box; may be missing, and set later.
    #[schema(value_type = Option<Relay>)]
    relay: Option<Value>,
    /// Who asks.
    laptop: Laptop,
}

/// What the new owner gets.
#[derive(Serialize, ToSchema)]
pub struct Paired {
    /// Name of the box.
    name: String,
    /// Address of the first mail account.
    account: String,
    /// Its password for mail programs, if the box has made one. Nobody can ask for it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_password: Option<String>,
}

/// Become the owner of a new box, with this laptop.
///
/// Tries of the code are counted together with those on the pairing page: five, then a growing delay
/// for everybody. What else is wrong in the call costs no try.
#[utoipa::path(
    post,
    path = "/pair",
    tag = "pairing",
    request_body = Pair,
    responses(
        (status = 201, body = Paired),
        (status = 400, description = "not understood", body = Fault),
        (status = 403, description = "wrong code, or another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 409, description = "it has an owner, or another browser is at it", body = Fault),
        (status = 410, description = "the code has expired", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "a value cannot be used", body = Fault),
        (status = 429, description = "too many tries", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
    )
)]
pub async fn pair(
    State(app): State<Arc<App>>,
    Anybody(place): Anybody,
    Asked(asked): Asked<Pair>,
) -> Result<(StatusCode, Json<Paired>), Fault> {
    let laptop = asked.laptop.check()?;
    if pairing::is_finished(&app).await? {
        return Err(Fault::of_pairing(crate::pairing::Refusal::Finished));
    }
    let code = asked.code.to_string();
    // Judging a password takes a moment, so it takes its turn like hashing one.
    let checked = {
        let with = app.clone();
        let relay = asked
            .relay
            .map_or_else(String::new, |text| text.to_string());
        let check = move || {
            let form = Form {
                password: &asked.password,
                domain: asked.domain.as_deref().unwrap_or_default(),
                account: asked.account.as_deref().unwrap_or_default(),
                relay: &relay,
            };
            let mailbox = with.settings.mailbox.as_ref();
            form.check(Known {
                box_name: &with.settings.name,
                domain: mailbox.map_or("", |mailbox| &mailbox.domain),
                account: mailbox.map_or("", |mailbox| &mailbox.account.name),
                code: with.card.code.as_ref(),
            })
        };
        app.hash(check).await
    };
    let setup = checked.map_err(|faults| of_form(&faults))?;
    let owned = laptops::become_owner(&app, code, setup, laptop, place)
        .await?
        .map_err(Fault::of_pairing)?;
    let paired = Paired {
        name: app.settings.name.clone(),
        account: owned.address,
        mail_password: owned.mail_password.map(|made| made.reveal().to_owned()),
    };
    Ok((StatusCode::CREATED, Json(paired)))
}

/// The first field that cannot be used.
fn of_form(faults: &[setup::Fault]) -> Fault {
    let what = "the box was not paired";
    let Some(fault) = faults.first() else {
        return Fault::unusable("refused", what);
    };
    let code = match fault.field {
        setup::Field::Password => "password_refused",
        setup::Field::Domain => "domain_refused",
        setup::Field::Account => "account_refused",
        setup::Field::Relay => "relay_refused",
        setup::Field::Code => "refused",
    };
    let told = Fault::unusable(code, what).because(format!(
        "{}: {}",
        fault.field.label().to_lowercase(),
        fault.reason.message
    ));
    match &fault.reason.hint {
        Some(hint) => told.hint(hint.clone()),
        None => told,
    }
}
