//! Refusals that many calls share, for the API's document.

use super::fault::Fault;
use utoipa::IntoResponses;

/// Of every call about a zone.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only the document is made from it")]
pub enum Refused {
    /// nobody is signed in
    #[response(status = 401)]
    Nobody(Fault),
    /// another site
    #[response(status = 403)]
    Foreign(Fault),
    /// not a name of the box
    #[response(status = 421)]
    Host(Fault),
    /// the card fails
    #[response(status = 500)]
    Card(Fault),
    /// the name server does not answer
    #[response(status = 503)]
    Silent(Fault),
}

/// Of every call with a body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only the document is made from it")]
pub enum NotTaken {
    /// too slow
    #[response(status = 408)]
    Slow(Fault),
    /// too long
    #[response(status = 413)]
    Long(Fault),
    /// no JSON
    #[response(status = 415)]
    NoJson(Fault),
}
