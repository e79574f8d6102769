//! An update from a file in the browser. The script of the page asks here; answers are JSON, and
//! refusals those of the API.

use crate::actions::upload::{self, NotTaken, Sent};
use crate::app::App;
use crate::device::fault::Fault;
use crate::device::who::Owner;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use roost_service::update::Offer;
use serde_json::json;
use std::sync::Arc;

/// From the restart until the kernel runs, beside what the services take, in seconds; `roost update`
/// reckons with the same.
const RESTART_S: f64 = 15.0;

/// What takes its body in pieces.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/updates/offer", post(offer))
        .route("/updates/install", post(install))
}

impl From<NotTaken> for Fault {
    fn from(not: NotTaken) -> Self {
        let (status, code) = match not {
            NotTaken::NotDone(not) => return not.into(),
            NotTaken::Busy => (StatusCode::CONFLICT, "busy"),
            NotTaken::Slow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            NotTaken::Broken => (StatusCode::BAD_REQUEST, "broken_off"),
            NotTaken::Head => (StatusCode::PAYLOAD_TOO_LARGE, "too_long"),
            NotTaken::Length { .. } => (StatusCode::BAD_REQUEST, "wrong_length"),
        };
        let hint = match not {
            NotTaken::Busy => "wait until that has ended",
            NotTaken::Head => "choose the file `roost.bundle`",
            _ => "choose the file again: only what is still missing is sent",
        };
        Self::new(status, code, "the update was not taken")
            .because(not)
            .hint(hint)
    }
}

/// The length of the body, without which nobody knows whether it came whole.
fn length(headers: &HeaderMap) -> Result<u64, Fault> {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.ok_or_else(|| {
        Fault::new(
            StatusCode::LENGTH_REQUIRED,
            "length_needed",
            "the update was not taken",
        )
        .because("the request does not say how long it is")
    })
}

/// Answers; what a refusal leaves unread is thrown away, and the connection with it.
async fn answer<T>(result: Result<T, NotTaken>, sent: Sent) -> Result<T, Response> {
    match result {
        Ok(done) => Ok(done),
        Err(not) => {
            sent.drain().await;
            let mut answer = Fault::from(not).into_response();
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
            Err(answer)
        }
    }
}

fn told(offer: &Offer, downtime_s: Option<f64>) -> Json<serde_json::Value> {
    Json(json!({
        "from": offer.from,
        "to": offer.to,
        "ranges": offer.ranges,
        "send": offer.send,
        "downtime_s": downtime_s,
    }))
}

fn body(request: Request) -> (HeaderMap, Sent) {
    let (head, body): (_, Body) = request.into_parts();
    (head.headers, Sent::new(body))
}

/// POST /updates/offer
async fn offer(
    State(app): State<Arc<App>>,
    _: Owner,
    request: Request,
) -> Result<Response, Response> {
    let (headers, mut sent) = body(request);
    let length = length(&headers).map_err(IntoResponse::into_response)?;
    let offer = upload::offer(&app, length, &mut sent).await;
    let offer = answer(offer, sent).await?;
    // An estimate: the box restarts as it did last time.
    let status = app.init.status().await.ok();
    let ready = status.and_then(|status| status.ready_after_s);
    Ok(told(&offer, ready.map(|ready| ready + RESTART_S)).into_response())
}

/// POST /updates/install
async fn install(
    State(app): State<Arc<App>>,
    owner: Owner,
    request: Request,
) -> Result<Response, Response> {
    let (headers, mut sent) = body(request);
    let length = length(&headers).map_err(IntoResponse::into_response)?;
    let done = upload::install(&app, length, &mut sent, owner.from).await;
    let offer = answer(done, sent).await?;
    Ok(told(&offer, None).into_response())
}
