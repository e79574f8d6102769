//! A laptop's connection becomes a service's: after the answer to an HTTP upgrade, bytes go both ways.

use super::door::ByLaptop;
use super::fault::Fault;
use crate::actions::updates::NotDone;
use crate::sockets::NoAnswer;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use std::path::Path;
use tokio::net::UnixStream;

/// A service that laptops are piped to.
pub(super) struct Who<'a> {
    /// As the owner knows it, e.g. `the box's updater`.
    pub name: &'static str,
    /// The command for it on the laptop.
    pub command: &'static str,
    /// What the laptop asks for in the header `Upgrade`.
    pub protocol: &'static str,
    /// Its socket.
    pub socket: &'a Path,
}

impl Who<'_> {
    /// Answers the upgrade; from then on the connection is the service's.
    pub(super) async fn pipe(&self, mut request: Request) -> Result<Response, Fault> {
        let Some(laptop) = request.extensions().get::<ByLaptop>().cloned() else {
            return Err(Fault::new(
                StatusCode::FORBIDDEN,
                "laptop_only",
                format!(
                    "{} talks to paired laptops only",
                    self.name.replacen("the box's", "the", 1)
                ),
            )
            .hint(format!("use `{}`", self.command)));
        };
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let (Some(upgrade), true) = (upgrade, self.is_wanted(request.headers())) else {
            let mut answer = Fault::new(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade_needed",
                "the call was not taken",
            )
            .because(format!(
                "it does not ask for an upgrade to {}",
                self.protocol
            ))
            .into_response();
            let headers = answer.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static(self.protocol));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            return Ok(answer);
        };
        // Before the answer: afterwards there is no way to say that it failed.
        let service = UnixStream::connect(self.socket).await.map_err(|why| {
            Fault::of_service(&NoAnswer {
                who: self.name,
                why,
            })
        })?;
        laptop.pipe(upgrade, service);
        let answer = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, self.protocol)
            .body(Body::empty());
        answer.map_err(|_| NotDone::Strange.into())
    }

    fn is_wanted(&self, headers: &HeaderMap) -> bool {
        let upgrade = headers.get(UPGRADE);
        upgrade.is_some_and(|upgrade| upgrade.as_bytes() == self.protocol.as_bytes())
    }
}
