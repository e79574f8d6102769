//! What a box says of itself to anybody, on the port of its pages.

use super::address::WebAddress;
use super::error::DeviceError;
use super::link::Link;
use super::stop::Stop;
use super::tls::Expect;
use super::{ANSWER_LIMIT, CONNECT_LIMIT};
use serde::Deserialize;

/// The answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Hello {
    /// What it calls itself.
    pub name: String,
    /// Whether it has an owner.
    pub paired: bool,
    /// Whether its image names no domain and no first account.
    pub needs_mailbox: bool,
}

/// Connects to a box's pages; no key of this computer is shown there.
///
/// # Errors
///
/// [`DeviceError`], if there is no connection or another certificate than expected.
pub fn connect(web: &WebAddress, expect: Expect) -> Result<Link, DeviceError> {
    let socket = web.0.connect(CONNECT_LIMIT)?;
    Link::open(socket, expect, &Stop::default())
}

/// Asks.
///
/// # Errors
///
/// [`DeviceError`], whatever went wrong.
pub fn ask(link: &mut Link, web: &WebAddress) -> Result<Hello, DeviceError> {
    let host = web.0.host_header();
    let answer = link.request(&host, "GET", "/api/v1/hello", None, ANSWER_LIMIT)?;
    serde_json::from_value(answer).map_err(|e| DeviceError::NotUnderstood(e.to_string()))
}
