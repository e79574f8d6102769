//! The certificate by which a laptop knows the mail server.

use crate::actions::mail::No;
use crate::actions::mail_certificate;
use crate::app::App;
use crate::device::fault::Fault;
use crate::device::who::Owner;
use crate::sockets::NoAnswer;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What IMAP over TLS (port 993) shows to programs that ask for no name.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailCertificate {
    /// SHA-256 of the certificate (DER), 64 hexadecimal digits.
    sha256: String,
}

/// The certificate that mail programs are shown.
///
/// It is the box's own until an authority has signed one, and changes with every renewal.
#[utoipa::path(
    get,
    path = "/mail/certificate",
    tag = "mail",
    responses(
        (status = 200, body = MailCertificate),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the mail service does not answer", body = Fault),
    )
)]
pub async fn mail_certificate(
    State(app): State<Arc<App>>,
    _: Owner,
) -> Result<Json<MailCertificate>, Fault> {
    match mail_certificate::shown(&app).await {
        Ok(shown) => Ok(Json(MailCertificate {
            sha256: shown.hex(),
        })),
        Err(why) => Err(No::Answer(NoAnswer {
            who: "the mail service",
            why,
        })
        .into()),
    }
}
