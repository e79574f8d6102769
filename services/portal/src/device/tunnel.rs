//! The way to the relay ([`crate::actions::relay`]), for programs.

use super::fault::{Asked, Fault};
use super::who::Owner;
use crate::actions::relay;
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use roost_service::tunnel;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// How the tunnel to the relay stands. What is not known is `null`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tunnel {
    /// The box's public key (X25519, base64), which the relay has to know.
    #[schema(example = "mDuTCUJBfoQ7Vi3MLsmFhS9VJcW8M1EtGcnJbSoYDxw=")]
    public_key: String,
    /// Whether packets get through.
    state: TunnelState,
    /// What the tunnel is doing, in a sentence for people.
    summary: String,
    /// The box's addresses within the tunnel.
    addresses: Vec<String>,
    /// The relay as it was set, e.g. `relay.example.org:51820`.
    relay: Option<String>,
    /// The relay's address that packets go to at the moment, with the port.
    endpoint: Option<String>,
    /// Bytes of the longest packet within the tunnel.
    mtu: Option<u16>,
    /// Seconds since the last handshake that worked.
    handshake_age_s: Option<u64>,
    /// Seconds that `state` has been what it is.
    since_s: u64,
    /// Milliseconds to the relay and back, as measured last.
    rtt_ms: Option<f64>,
    /// Share of the last probes that got no answer.
    #[schema(minimum = 0, maximum = 1)]
    probe_loss: Option<f64>,
    /// Bytes of IP packets to the relay.
    sent_bytes: u64,
    /// Bytes of IP packets from the relay.
    received_bytes: u64,
    /// Whether the relay sees to it that no other card with this box's keys serves at the same time.
    guarded: Option<bool>,
}

/// Whether packets get through.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TunnelState {
    /// There is no relay yet.
    Unconfigured,
    /// The relay does not answer, or has not said yet that this card may serve.
    Down,
    /// They do.
    Up,
    /// Another card with this box's keys serves in its place; nothing goes to the relay.
    Replaced,
}

impl From<tunnel::Status> for Tunnel {
    fn from(status: tunnel::Status) -> Self {
        Self {
            public_key: status.public_key,
            state: match status.state {
                tunnel::State::Unconfigured => TunnelState::Unconfigured,
                tunnel::State::Down => TunnelState::Down,
                tunnel::State::Up => TunnelState::Up,
                tunnel::State::Replaced => TunnelState::Replaced,
            },
            summary: status.summary,
            addresses: status.addresses.iter().map(ToString::to_string).collect(),
            relay: status.relay,
            endpoint: status.endpoint,
            mtu: status.mtu,
            handshake_age_s: status.handshake_age_s,
            since_s: status.since_s,
            rtt_ms: status.rtt_ms,
            probe_loss: status.probe_loss,
            sent_bytes: status.sent.bytes,
            received_bytes: status.received.bytes,
            guarded: status.guard.and_then(|guard| match guard {
                tunnel::Guard::Held | tunnel::Guard::Waiting | tunnel::Guard::Replaced(_) => {
                    Some(true)
                }
                tunnel::Guard::Absent => Some(false),
                tunnel::Guard::Asking | tunnel::Guard::Unreadable => None,
            }),
        }
    }
}

/// A relay's text, as people paste it into the portal.
// Only a shape for the document: `tunnel::parse` reads it, and says more of what is wrong.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// The other end.
    relay: RelayEnd,
    /// The box's IPv4 address within the tunnel.
    #[schema(format = Ipv4, example = "10.82.0.2")]
    address4: String,
    /// The box's IPv6 address within the tunnel, if it has one.
    #[serde(default)]
    #[schema(format = Ipv6)]
    address6: Option<String>,
    /// What encrypts the packets: the service itself, or the kernel's WireGuard.
    #[serde(default)]
    backend: RelayBackend,
    /// Bytes of the longest packet within the tunnel; missing: found out.
    #[serde(default)]
    #[schema(minimum = 1280, maximum = 1420)]
    mtu: Option<u16>,
    /// Seconds between two packets that keep the home router's mapping alive.
    #[serde(default = "keepalive_s")]
    #[schema(minimum = 1, maximum = 120)]
    keepalive_s: u16,
    /// UDP port of the box; 0: any free one.
    #[serde(default)]
    listen_port: u16,
    /// Name of the network interface.
    #[serde(default = "interface")]
    #[schema(pattern = "^[a-z0-9-]{1,15}$")]
    interface: String,
    /// Number of the routing table.
    #[serde(default = "table")]
    #[schema(minimum = 1000)]
    table: u32,
    /// Whether outbound port 25 stays closed when the service stops.
    #[serde(default = "keep_closed")]
    keep_port_25_closed: bool,
    /// Where the internet reaches the box; missing: at the relay's address, if that is given as one.
    #[serde(default)]
    outside: Option<RelayOutside>,
}

/// Where the internet reaches the box, and who answers for its zones while it is away.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayOutside {
    /// The relay's public addresses.
    #[schema(max_items = 8, example = json!(["192.0.2.1", "2001:db8::1"]))]
    addresses: Vec<String>,
    /// Public addresses of the second name server.
    #[serde(default)]
    #[schema(max_items = 8)]
    second_name_server: Vec<String>,
    /// Who takes copies of the box's zones.
    #[serde(default)]
    secondary: Option<RelaySecondary>,
}

/// Who takes copies of the box's zones.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelaySecondary {
    /// Its addresses within the tunnel.
    #[schema(max_items = 8)]
    addresses: Vec<String>,
    /// Name of the key that signs transfers.
    #[schema(pattern = "^[a-z0-9.-]{1,63}$")]
    key: String,
    /// The key: 16 to 64 bytes in base64.
    #[schema(write_only)]
    secret: String,
}

/// The other end of the tunnel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayEnd {
    /// Its public key (X25519, base64).
    #[schema(min_length = 44, max_length = 44)]
    public_key: String,
    /// Where it listens: a name or an address, with the port.
    #[schema(example = "relay.example.org:51820")]
    endpoint: String,
    /// Its IPv4 address within the tunnel, for measuring the line.
    #[serde(default)]
    #[schema(format = Ipv4)]
    address4: Option<String>,
}

/// What encrypts the packets.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelayBackend {
    /// The service itself.
    #[default]
    Userspace,
    /// The kernel's WireGuard.
    Kernel,
}

fn keepalive_s() -> u16 {
    25
}

fn interface() -> String {
    "relay".into()
}

fn table() -> u32 {
    51820
}

fn keep_closed() -> bool {
    true
}

/// How the tunnel to the relay stands.
#[utoipa::path(
    get,
    path = "/tunnel",
    tag = "relay",
    responses(
        (status = 200, body = Tunnel),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the tunnel service does not answer", body = Fault),
    )
)]
pub async fn tunnel_status(State(app): State<Arc<App>>, _: Owner) -> Result<Json<Tunnel>, Fault> {
    Ok(Json(relay::status(&app).await?.into()))
}

/// Use this relay from now on.
///
/// Connections through the tunnel are cut by it. What was there before goes on if it is refused.
#[utoipa::path(
    put,
    path = "/relay",
    tag = "relay",
    request_body = Relay,
    responses(
        (status = 204, description = "it is kept, and in force within a second"),
        (status = 400, description = "not understood", body = Fault),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 408, description = "too slow", body = Fault),
        (status = 413, description = "too long", body = Fault),
        (status = 415, description = "no JSON", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "no relay's text, or the tunnel cannot use it", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the tunnel service does not answer", body = Fault),
    )
)]
pub async fn set_relay(
    State(app): State<Arc<App>>,
    owner: Owner,
    Asked(text): Asked<Value>,
) -> Result<StatusCode, Fault> {
    relay::set(&app, &text.to_string(), owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Use no relay any more.
///
/// Mail from outside cannot arrive then, unless the home connection has a public address. Without a
/// relay nothing happens.
#[utoipa::path(
    delete,
    path = "/relay",
    tag = "relay",
    responses(
        (status = 204, description = "there is none now"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "the tunnel refuses", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the tunnel service does not answer", body = Fault),
    )
)]
pub async fn remove_relay(State(app): State<Arc<App>>, owner: Owner) -> Result<StatusCode, Fault> {
    relay::clear(&app, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Have this card serve, though another with the same keys has taken its place.
///
/// That one stands down, and this one serves within about a minute.
#[utoipa::path(
    post,
    path = "/relay/takeover",
    tag = "relay",
    responses(
        (status = 204, description = "it is kept; the relay is told as soon as it answers"),
        (status = 401, description = "nobody is signed in", body = Fault),
        (status = 403, description = "another site", body = Fault),
        (status = 421, description = "not a name of the box", body = Fault),
        (status = 422, description = "no other card has taken its place", body = Fault),
        (status = 500, description = "the card fails", body = Fault),
        (status = 503, description = "the tunnel service does not answer", body = Fault),
    )
)]
pub async fn take_over(State(app): State<Arc<App>>, owner: Owner) -> Result<StatusCode, Fault> {
    relay::take_over(&app, owner.who, owner.from).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_documents_shape_is_what_the_tunnel_reads() {
        let end = json!({ "public_key": "x", "endpoint": "relay.example.org:51820" });
        let least = json!({ "relay": end, "address4": "10.82.0.2" });
        let all = json!({
            "relay": { "public_key": "x", "endpoint": "192.0.2.1:51820", "address4": "10.82.0.1" },
            "address4": "10.82.0.2",
            "address6": "fd82::2",
            "backend": "kernel",
            "mtu": 1400,
            "keepalive_s": 20,
            "listen_port": 51820,
            "interface": "wg0",
            "table": 2000,
            "keep_port_25_closed": false,
        });
        for text in [least, all] {
            let shape: Relay = serde_json::from_value(text.clone()).unwrap();
            let read = tunnel::parse(&text.to_string()).unwrap();
            let (shape, read) = (serde_json::to_value(shape), serde_json::to_value(read));
            assert_eq!(shape.unwrap(), read.unwrap());
        }
    }
}
