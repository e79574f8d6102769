//! How the API refuses.

use crate::actions::backups;
use crate::actions::certificates;
use crate::actions::dns;
use crate::actions::mail::No;
use crate::actions::relay;
use crate::actions::sign_in::NotOwner;
use crate::actions::updates::NotDone;
use crate::csrf::Foreign;
use crate::init::AskError;
use crate::pairing::Refusal;
use crate::second::Refused;
use crate::sockets::NoAnswer;
use crate::store::StoreError;
use crate::web::MAX_BODY;
use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Longest time for the body of a call.
const BODY_TIME: Duration = Duration::from_secs(20);

/// Why something was not done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    #[serde(skip)]
    status: StatusCode,
    /// For programs, e.g. `wrong_code`. It does not change when the words do.
    code: &'static str,
    /// What was not done.
    what: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// After how many seconds it may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_s: Option<u64>,
}

impl Fault {
    /// What, with a code for programs.
    pub fn new(status: StatusCode, code: &'static str, what: impl Into<String>) -> Self {
        Self {
            status,
            code,
            what: what.into(),
            because: None,
            hint: None,
            wait_s: None,
        }
    }

    /// What was asked cannot be.
    pub fn unusable(code: &'static str, what: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, what)
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, because: impl ToString) -> Self {
        self.because = Some(because.to_string());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn wait(mut self, wait: Duration) -> Self {
        // Who comes back then is not too early.
        self.wait_s = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// The pairing does not go on.
    pub fn of_pairing(refusal: Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::NotACode(_) => (StatusCode::UNPROCESSABLE_ENTITY, "not_a_code"),
            Refusal::Wrong { .. } => (StatusCode::FORBIDDEN, "wrong_code"),
            Refusal::WrongThenWait { .. } => (StatusCode::TOO_MANY_REQUESTS, "wrong_code_wait"),
            Refusal::Wait { .. } => (StatusCode::TOO_MANY_REQUESTS, "wait"),
            Refusal::NoGrant => (StatusCode::FORBIDDEN, "code_needed"),
            Refusal::Expired => (StatusCode::GONE, "expired"),
            Refusal::Elsewhere => (StatusCode::CONFLICT, "elsewhere"),
            Refusal::Finished => (StatusCode::CONFLICT, "owned"),
        };
        let hint = match refusal {
            Refusal::Finished => {
                "if that is you, pair with the admin password: `roost pair` without --code"
            }
            other => other.hint(),
        };
        let fault = Self::new(status, code, "the box was not paired")
            .because(refusal)
            .hint(hint);
        match refusal {
            Refusal::WrongThenWait { wait } | Refusal::Wait { wait } => fault.wait(wait),
            _ => fault,
        }
    }

    /// Somebody has not shown that they are the owner.
    pub fn of_sign_in(not: NotOwner) -> Self {
        let what = "the box does not take your word for it";
        let forbidden = |code| Self::new(StatusCode::FORBIDDEN, code, what);
        match not {
            NotOwner::Store(error) => error.into(),
            NotOwner::Wait(wait) => {
                let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "wait", what);
                fault.because(wait).wait(wait.wait).hint(
                    "if that was not you, somebody on your network is guessing; a browser in which you signed in before lets you in meanwhile",
                )
            }
            NotOwner::Password(wrong) => forbidden("wrong_password")
                .because(wrong)
                .hint("it is the password of the box's pages, not the one of mail programs"),
            NotOwner::Second(Refused::Missing) => {
                let fault = Self::new(StatusCode::UNAUTHORIZED, "second_needed", what);
                fault
                    .because(Refused::Missing)
                    .hint("add the code: --second DIGITS")
            }
            NotOwner::Second(refused) => forbidden("wrong_second").because(refused),
        }
    }

    /// Init cannot be asked.
    pub fn of_init(error: &AskError) -> Self {
        match error {
            AskError::Refused(why) => {
                Self::new(StatusCode::CONFLICT, "refused", "the box refuses").because(why)
            }
            other => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_answer",
                "a part of the box does not answer",
            )
            .because(other)
            .hint("try again; if that does not help, restart the box by its plug: that is safe"),
        }
    }

    /// The same words; what the call is about is not there.
    #[must_use]
    pub fn not_there(self) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            ..self
        }
    }

    /// Another service cannot be asked.
    pub fn of_service(error: &NoAnswer) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_answer",
            "a part of the box does not answer",
        )
        .because(error)
        .hint("try again in a minute: it may be starting. Its log says more")
    }
}

impl From<NotDone> for Fault {
    fn from(not: NotDone) -> Self {
        match not {
            NotDone::NoAnswer(error) => Self::of_service(&error),
            NotDone::Init(error) => Self::of_init(&error),
            NotDone::Store(error) => error.into(),
            NotDone::Refused { message, hint } => {
                let fault = Self::new(StatusCode::CONFLICT, "refused", "the box refuses");
                Self {
                    hint,
                    ..fault.because(message)
                }
            }
            NotDone::Strange => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "fault",
                "a part of the box has a fault",
            )
            .because(not),
        }
    }
}

impl From<relay::NotDone> for Fault {
    fn from(not: relay::NotDone) -> Self {
        let refused =
            |because| Self::unusable("relay_refused", "the relay was not changed").because(because);
        match not {
            relay::NotDone::NoAnswer(error) => Self::of_service(&error),
            relay::NotDone::Store(error) => error.into(),
            relay::NotDone::Refused { why } => refused(why),
            relay::NotDone::Unusable(reason) => Self {
                hint: reason.hint,
                ..refused(reason.message)
            },
        }
    }
}

impl From<dns::NotDone> for Fault {
    fn from(not: dns::NotDone) -> Self {
        match not {
            dns::NotDone::NoAnswer(error) => Self::of_service(&error),
            dns::NotDone::Store(error) => error.into(),
            dns::NotDone::Refused { why } => {
                Self::unusable("dns_refused", "the name server refuses").because(why)
            }
        }
    }
}

impl From<backups::NotDone> for Fault {
    fn from(not: backups::NotDone) -> Self {
        match not {
            backups::NotDone::NoAnswer(error) => Self::of_service(&error),
            backups::NotDone::Store(error) => error.into(),
            backups::NotDone::Refused { why, hint } => {
                let fault = Self::unusable("backup_refused", "the backup service refuses");
                Self {
                    hint,
                    ..fault.because(why)
                }
            }
        }
    }
}

impl From<certificates::NotDone> for Fault {
    fn from(not: certificates::NotDone) -> Self {
        match not {
            certificates::NotDone::NoAnswer(error) => Self::of_service(&error),
            certificates::NotDone::Store(error) => error.into(),
            certificates::NotDone::Refused { why } => {
                Self::unusable("certificates_refused", "the certificate service refuses")
                    .because(why)
            }
        }
    }
}

impl From<No> for Fault {
    fn from(no: No) -> Self {
        match no {
            No::Answer(error) => Self::of_service(&error),
            No::Refused {
                what,
                because,
                hint,
            } => {
                let fault = Self::new(StatusCode::CONFLICT, "refused", what);
                Self {
                    hint,
                    ..fault.because(because)
                }
            }
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::TooMany { .. } => {
                Self::new(StatusCode::CONFLICT, "too_many", "there is no room for it")
                    .because(error)
                    .hint("remove one that is not used any more")
            }
            StoreError::NoOwner | StoreError::NotBegun => Self::new(
                StatusCode::CONFLICT,
                "no_owner",
                "this box has no owner yet",
            )
            .hint("pair with the code of its card"),
            StoreError::Owned => Self::of_pairing(Refusal::Finished),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "fault",
                "the box cannot read or write what it remembers",
            )
            .because(error)
            .hint("restart the box; if that does not help, its card may be failing"),
        }
    }
}

impl From<Foreign> for Fault {
    fn from(foreign: Foreign) -> Self {
        let status = match foreign {
            Foreign::Host => StatusCode::MISDIRECTED_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        Self::new(status, "foreign", "the call was not taken").because(foreign)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, wait) = (self.status, self.wait_s);
        let mut answer = (status, Json(self)).into_response();
        if let Some(wait) = wait {
            answer.headers_mut().insert(RETRY_AFTER, wait.into());
        }
        answer
    }
}

/// The JSON of a call, read whole, within bounds of length and time.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Asked<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind
            .and_then(|kind| kind.to_str().ok())
            .and_then(|kind| kind.split(';').next());
        // No other site can make a browser send this without asking first (Fetch, "CORS-safelisted").
        if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Fault::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "the call was not taken",
            )
            .because("its Content-Type is not application/json"));
        }
        let whole = axum::body::to_bytes(request.into_body(), MAX_BODY);
        let taken = |status, why: &str| {
            Fault::new(status, "too_long", "the call was not taken").because(why)
        };
        let bytes = match timeout(BODY_TIME, whole).await {
            Ok(Ok(bytes)) => Zeroizing::new(bytes.to_vec()),
            Ok(Err(_)) => {
                return Err(taken(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "it is longer than any call, or was cut off",
                ));
            }
            Err(_) => {
                return Err(taken(
                    StatusCode::REQUEST_TIMEOUT,
                    "it took too long to arrive",
                ));
            }
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Fault::new(
                StatusCode::BAD_REQUEST,
                "not_understood",
                "the call was not understood",
            )
            .because(error)
            .hint("the box may run another version than the program that asks")
        })
    }
}

/// What comes behind the path or the question mark cannot be.
pub fn misspelt(why: impl ToString) -> Fault {
    Fault::new(
        StatusCode::BAD_REQUEST,
        "not_understood",
        "the call was not understood",
    )
    .because(why)
}

/// No such path.
pub async fn not_found() -> Fault {
    Fault::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "the API has no such path",
    )
    .hint("the box may run another version than the program that asks")
}

/// The path has other methods.
pub async fn not_allowed() -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "not_allowed",
        "the API does not have this method for this path",
    )
}

/// Answers are for who has asked, now.
pub async fn add_headers(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
