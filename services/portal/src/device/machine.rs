//! How the box is, and what it can be told to do as a whole.

use super::fault::{Asked, Fault, misspelt};
use super::who::Owner;
use crate::actions::logs::{self, MAX_LINES};
use crate::actions::reset::factory_reset;
use crate::actions::updates::{self, NotDone};
use crate::app::App;
use crate::init::AskError;
use crate::listen::Busy;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http_body_util::channel::Channel;
use hyper::body::Bytes;
use roost_service::boot_times::BootTimes;
use roost_service::card::display_code;
use roost_service::control::BoxStatus;
use roost_service::update::{Answer, Call, MAX_LINE, UpdateStatus};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

/// Lines of a log if the call does not say how many.
const LINES: usize = 100;
/// Entries of the log of doors that are given away at most.
const ENTRIES: usize = 1000;
/// The updater tells at least once a minute that it is there.
const FOLLOW_TIME: Duration = Duration::from_secs(150);

/// How the box is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// The machine and its services.
    machine: BoxStatus,
    /// Where updates stand; missing if the updater does not answer.
    update: Option<UpdateStatus>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    update_fault: Option<String>,
}

/// How the box is.
#[utoipa::path(
    get,
    path = "/status",
    tag = "machine",
    responses(
        (status = 200, body = Status),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "a part of the box does not answer", body = Fault),
    )
)]
pub async fn status(State(app): State<Arc<App>>, _: Owner) -> Result<Json<Status>, Fault> {
    let report = updates::status(&app).await?;
    let (update, update_fault) = match report.update {
        Ok(update) => (Some(update), None),
        Err(not) => (None, Some(not.to_string())),
    };
    Ok(Json(Status {
        machine: report.machine,
        update,
        update_fault,
    }))
}

/// When which part of the box's last start began and ended.
#[utoipa::path(
    get,
    path = "/boot",
    tag = "machine",
    responses(
        (status = 200, body = BootTimes),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "a part of the box does not answer", body = Fault),
    )
)]
pub async fn boot(State(app): State<Arc<App>>, _: Owner) -> Result<Json<BootTimes>, Fault> {
    let times = app.init.boot_times().await;
    times.map(Json).map_err(|error| Fault::of_init(&error))
}

/// Which lines of which log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// A service's name, `init` or `kernel`.
    service: String,
    /// How many lines at most.
    #[serde(default)]
    #[param(minimum = 0, maximum = 5000)]
    lines: Option<usize>,
    /// Of which start of the box: 0 is the running one, 1 the one before. Missing: of the running
    /// one, and with what room there is left, of those before it.
    #[serde(default)]
    #[param(minimum = 0)]
    boot: Option<u32>,
    /// Whether to go on with what comes.
    #[serde(default)]
    follow: bool,
}

/// Lines of a log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lines {
    /// Oldest first.
    lines: Vec<String>,
}

/// What a service has logged.
///
/// With `follow` the answer goes on, one JSON object a line (`application/x-ndjson`), for as long as
/// the connection is open.
#[utoipa::path(
    get,
    path = "/logs",
    tag = "machine",
    params(Which),
    responses(
        (status = 200, body = Lines),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 404, description = "there is no such service", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "a part of the box does not answer", body = Fault),
    )
)]
pub async fn logs(
    State(app): State<Arc<App>>,
    _: Owner,
    which: Result<Query<Which>, QueryRejection>,
    busy: Option<Extension<Arc<Busy>>>,
) -> Result<Response, Fault> {
    let Query(which) = which.map_err(|no| misspelt(no.body_text()))?;
    let lines = which.lines.unwrap_or(LINES).min(MAX_LINES);
    if which.follow {
        return follow(&app, which, lines, busy).await;
    }
    match logs::last(&app, &which.service, lines, which.boot).await {
        Ok(lines) => Ok(Json(Lines { lines }).into_response()),
        Err(AskError::Refused(why)) => {
            Err(Fault::new(StatusCode::NOT_FOUND, "not_found", "there is no such log").because(why))
        }
        Err(error) => Err(Fault::of_init(&error)),
    }
}

/// The updater's answers are handed on.
async fn follow(
    app: &App,
    which: Which,
    lines: usize,
    busy: Option<Extension<Arc<Busy>>>,
) -> Result<Response, Fault> {
    let no_answer = |why| {
        Fault::of_service(&crate::sockets::NoAnswer {
            who: "the box's updater",
            why,
        })
    };
    let call = Call::Logs {
        service: which.service,
        lines,
        boot: which.boot,
        follow: true,
    };
    let mut line = serde_json::to_vec(&call).map_err(|e| no_answer(e.into()))?;
    line.push(b'\n');
    let mut stream = UnixStream::connect(&app.places.updater)
        .await
        .map_err(no_answer)?;
    stream.write_all(&line).await.map_err(no_answer)?;
    let mut stream = BufReader::new(stream);
    let first = match answer(&mut stream).await.map_err(no_answer)? {
        Answer::Logs { lines } => lines,
        Answer::Error { message, .. } => {
            let fault = Fault::new(StatusCode::NOT_FOUND, "not_found", "there is no such log");
            return Err(fault.because(message));
        }
        _ => return Err(NotDone::Strange.into()),
    };
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
    tokio::spawn(async move {
        let _busy = busy;
        let mut next = first;
        // Nothing to tell is told as well: so both sides notice when the other is gone.
        while sender.send_data(ndjson(&next)).await.is_ok() {
            next = match answer(&mut stream).await {
                Ok(Answer::Logs { lines }) => lines,
                _ => return,
            };
        }
    });
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::new(body)).into_response())
}

fn ndjson(lines: &[String]) -> Bytes {
    let mut line = serde_json::json!({ "lines": lines }).to_string();
    line.push('\n');
    line.into()
}

async fn answer(stream: &mut BufReader<UnixStream>) -> std::io::Result<Answer> {
    let mut line = Vec::new();
    let mut limited = stream.take(MAX_LINE as u64);
    let read = limited.read_until(b'\n', &mut line);
    timeout(FOLLOW_TIME, read)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(serde_json::from_slice(&line)?)
}

/// The log of the box's doors.
#[derive(Debug, Serialize, ToSchema)]
pub struct Audit {
    /// The newest first, each a sentence.
    entries: Vec<Entry>,
}

/// One line of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// When, from where, who, what.
    text: String,
    /// Whether the owner should look at it.
    alarming: bool,
}

/// What happened to the box's doors, and what was changed: sign-ins, wrong codes, laptops, mail.
#[utoipa::path(
    get,
    path = "/audit",
    tag = "machine",
    responses(
        (status = 200, body = Audit),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
    )
)]
pub async fn audit(State(app): State<Arc<App>>, _: Owner) -> Result<Json<Audit>, Fault> {
    let entries = app.view(|store, _| store.audit(ENTRIES)).await?;
    let entries = entries.iter().map(|entry| Entry {
        text: entry.to_string(),
        alarming: entry.what.is_alarming(),
    });
    Ok(Json(Audit {
        entries: entries.collect(),
    }))
}

/// Restart the box.
#[utoipa::path(
    post,
    path = "/reboot",
    tag = "machine",
    responses(
        (status = 202, description = "it goes down within some seconds"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "a part of the box does not answer", body = Fault),
    )
)]
pub async fn reboot(State(app): State<Arc<App>>, owner: Owner) -> Result<StatusCode, Fault> {
    updates::restart(&app, owner.who, owner.from).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Making the box as new.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The box's name, so that nobody resets the wrong one.
    name: String,
}

/// What comes of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AsNew {
    /// The new pairing code, as people type it.
    code: String,
}

/// Forget owner, laptops, accounts and all mail, and restart.
///
/// Name, network and certificate stay.
#[utoipa::path(
    post,
    path = "/reset",
    tag = "machine",
    request_body = Reset,
    responses(
        (status = 202, description = "it restarts, and wipes everything on the way up", body = AsNew),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 409, description = "refused", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "that is not its name", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "a part of the box does not answer", body = Fault),
    )
)]
pub async fn reset(
    State(app): State<Arc<App>>,
    owner: Owner,
    Asked(asked): Asked<Reset>,
) -> Result<(StatusCode, Json<AsNew>), Fault> {
    let name = &app.settings.name;
    if asked.name != *name {
        return Err(Fault::unusable("wrong_name", "nothing was reset")
            .because(format!("this box is called {name}")));
    }
    let code = factory_reset::<NotDone>(&app, owner.who, owner.from).await?;
    let code = display_code(code.normalised());
    Ok((StatusCode::ACCEPTED, Json(AsNew { code })))
}
