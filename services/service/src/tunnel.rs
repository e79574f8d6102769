//! The tunnel service: what the owner chose for it ([`Tunnel`]), what it says of itself ([`Status`]),
//! and what the portal asks of it.
//!
//! A `door` (feature of this crate) at [`socket`], with [`Call`] and [`Answer`]. The portal may ask
//! anything, the name server [`Call::Outside`] alone.
//!
//! [`Generation`] says which of several cards with the same keys this is; `roost restore` writes it, too.

use crate::mail::Secret;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The spec's name of the tunnel service.
pub const SERVICE: &str = "tunnel";
/// Longest [`Call`] and longest [`Answer`] as JSON, in bytes, the line feed included.
pub const MAX_LINE: usize = 16 << 10;

/// The socket.
pub fn socket() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("tunnel.sock")
}

/// What the portal asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// How the tunnel stands.
    Status,
    /// Use this relay from now on. What was there before goes on if it is refused.
    Set {
        /// What was chosen.
        tunnel: Box<Tunnel>,
    },
    /// Use no relay.
    Clear,
    /// Where the internet reaches the box.
    Outside,
    /// Be the one that serves, though another card with the same keys has taken this one's place: that one
    /// stands down.
    TakeOver,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Box<Status>),
    /// To [`Call::Outside`].
    Outside {
        /// `None`: there is no relay.
        reached: Option<Box<Reached>>,
    },
    /// The change is on the card, and is in force within a second. Connections through the tunnel
    /// are cut by it.
    Done,
    /// Nothing was changed.
    Refused {
        /// Why, in one sentence for each field that cannot be used.
        why: String,
    },
}

/// What [`parse`] did not understand.
#[derive(Debug, thiserror::Error)]
#[error("this is no relay's text: {0}")]
pub struct NotARelay(#[from] serde_json::Error);

/// Reads a relay's text, as `roost relay` prints it and people paste it: a [`Tunnel`] as JSON.
///
/// # Errors
/// Says where it stops being one.
pub fn parse(text: &str) -> Result<Tunnel, NotARelay> {
    Ok(serde_json::from_str(text)?)
}

/// How the box reaches its relay. The keys' private halves are in none of it.
///
/// What the fields may hold is checked by the service ([`Tunnel`] as such proves nothing); it names
/// the field that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// The other end.
    pub relay: Relay,
    /// The box's IPv4 address within the tunnel.
    pub address4: Ipv4Addr,
    /// The box's IPv6 address within the tunnel, if it has one.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// What encrypts the packets.
    #[serde(default)]
    pub backend: Backend,
    /// Bytes of the longest packet within the tunnel, 1280 to 1420. `None`: found out by probing,
    /// where [`Relay::address4`] is known, and 1380 otherwise.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// Seconds between two packets that keep the home router's mapping alive, 1 to 120.
    #[serde(default = "keepalive_s")]
    pub keepalive_s: u16,
    /// UDP port of the box; 0: any free one.
    #[serde(default)]
    pub listen_port: u16,
    /// Name of the interface, 1 to 15 of `a-z`, `0-9` and `-`.
    #[serde(default = "interface")]
    pub interface: String,
    /// Number of the routing table, 1000 to 4294967295.
    #[serde(default = "table")]
    pub table: u32,
    /// Whether outbound port 25 stays closed when the service stops, until it starts again or the
    /// box restarts. Without it mail could leave by the home's own address in the meantime.
    #[serde(default = "keep_closed")]
    pub keep_port_25_closed: bool,
    /// Where the internet reaches the box. `None`: at the address of [`Relay::endpoint`], if that is
    /// none of the home's network, and nobody else answers for its zones.
    #[serde(default)]
    pub outside: Option<Outside>,
}

impl Tunnel {
    /// A tunnel to `relay` for the box with this address, and what people rarely choose as it is without their choice.
    pub fn new(relay: Relay, address4: Ipv4Addr) -> Self {
        Self {
            relay,
            address4,
            address6: None,
            backend: Backend::default(),
            mtu: None,
            keepalive_s: keepalive_s(),
            listen_port: 0,
            interface: interface(),
            table: table(),
            keep_port_25_closed: keep_closed(),
            outside: None,
        }
    }
}

/// Where the internet reaches the box, and who answers for its zones while it is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outside {
    /// The relay's public addresses: of the mail server, of web pages and of the first name server.
    pub addresses: Vec<IpAddr>,
    /// Public addresses of the second name server, which is always the relay.
    #[serde(default)]
    pub second_name_server: Vec<IpAddr>,
    /// Who takes copies of the box's zones.
    #[serde(default)]
    pub secondary: Option<Secondary>,
}

/// [`Outside`], and how the box itself gets there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Where.
    pub outside: Outside,
    /// The box's addresses within the tunnel: what is sent from these goes to the relay.
    pub within: Vec<IpAddr>,
}

/// Who takes copies of the box's zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secondary {
    /// Its addresses within the tunnel, the first of which is told of changes.
    pub addresses: Vec<IpAddr>,
    /// Name of the key that signs transfers (RFC 8945).
    pub key: String,
    /// The key: HMAC-SHA256, 16 to 64 bytes in base64.
    pub secret: Secret,
}

/// The other end of the tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// Its public key (X25519, 44 characters of base64).
    pub public_key: String,
    /// Where it listens: `name:port`, `192.0.2.1:51820` or `[2001:db8::1]:51820`.
    pub endpoint: String,
    /// Its IPv4 address within the tunnel, for measuring the line.
    #[serde(default)]
    pub address4: Option<Ipv4Addr>,
}

/// What encrypts the packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The service itself.
    #[default]
    Userspace,
    /// The kernel's WireGuard; its module must be loaded.
    Kernel,
}

fn keepalive_s() -> u16 {
    25
}

fn interface() -> String {
    "relay".into()
}

/// Number of the routing table where nothing else was chosen.
pub fn table() -> u32 {
    51820
}

fn keep_closed() -> bool {
    true
}

/// Name of [`Generation`]'s file, as JSON, in the tunnel service's data folder.
pub const GENERATION: &str = "generation.json";
/// Bytes of [`Generation::instance`], each two hexadecimal digits.
pub const INSTANCE: usize = 16;

/// Which of the cards with one box's keys this is. The relay lets the one with the highest number serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// 1 for a card that was never restored. Otherwise when it was made or made to take over, in seconds
    /// since 1970, or one more than the number that it had to exceed, whichever is more: so the card that
    /// was restored last has the highest, whichever backup it is from.
    pub number: u64,
    /// Tells cards with the same number apart: random, in hexadecimal digits.
    pub instance: String,
    /// Public key of a relay that is known to remember who may serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// The card that has taken this one's place, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
}

/// A card that has taken another's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its number.
    pub by: u64,
    /// When that was noticed, in seconds since 1970.
    pub at_s: u64,
}

impl Generation {
    /// A card's first.
    pub fn first(instance: [u8; INSTANCE]) -> Self {
        Self {
            number: 1,
            instance: hex(instance),
            relay: None,
            replaced: None,
        }
    }

    /// Of a card that is restored at `now_s` (seconds since 1970) from a backup of one with `before`, if
    /// that had any.
    pub fn restored(before: Option<&Self>, instance: [u8; INSTANCE], now_s: u64) -> Self {
        let first = Self::first(instance);
        let number = before.map_or(first.number, |before| before.number);
        Self {
            number: after(number, now_s),
            relay: before.and_then(|before| before.relay.clone()),
            ..first
        }
    }

    /// The same card, which takes back its place at `now_s`.
    pub fn taken_over(&self, now_s: u64) -> Self {
        let highest = self.replaced.as_ref().map_or(0, |replaced| replaced.by);
        Self {
            number: after(highest.max(self.number), now_s),
            replaced: None,
            ..self.clone()
        }
    }
}

/// The relay's shell counts with 64 bits and a sign, JSON elsewhere with 53.
const HIGHEST: u64 = 1 << 53;

fn after(number: u64, now_s: u64) -> u64 {
    number.saturating_add(1).max(now_s).min(HIGHEST)
}

fn hex(bytes: [u8; INSTANCE]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether somebody sees to it that no other card with the same keys serves at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The relay was not asked yet, or does not answer.
    Asking,
    /// The relay says that it is this one.
    Held,
    /// It says so, but the one before may not have noticed yet; this one serves in some seconds.
    Waiting,
    /// The relay does not remember who may serve.
    Absent,
    /// The relay says that it is another, and this one has stood down.
    Replaced(Replaced),
    /// This card cannot say which it is, and stands down.
    Unreadable,
}

/// How the tunnel stands. Fields may be added; a reader skips those that it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The box's public key (44 characters of base64), which the relay has to know.
    pub public_key: String,
    /// Whether packets get through.
    pub state: State,
    /// What the service is doing, in one sentence for people.
    pub summary: String,
    /// What encrypts the packets; `None` while nothing is set up.
    pub backend: Option<Backend>,
    /// The box's addresses within the tunnel.
    pub addresses: Vec<std::net::IpAddr>,
    /// The relay as it was configured.
    pub relay: Option<String>,
    /// The relay's address that packets go to at the moment, with the port.
    pub endpoint: Option<String>,
    /// Bytes of the longest packet within the tunnel.
    pub mtu: Option<u16>,
    /// Seconds since the last handshake that worked.
    pub handshake_age_s: Option<u64>,
    /// Seconds since the relay was heard last.
    pub heard_s: Option<u64>,
    /// Seconds that [`Status::state`] has been what it is.
    pub since_s: u64,
    /// How often the tunnel came up, the first time included.
    pub connected: u64,
    /// To the relay.
    pub sent: Traffic,
    /// From the relay.
    pub received: Traffic,
    /// Milliseconds to the relay and back, as measured last.
    pub rtt_ms: Option<f64>,
    /// Share of the last probes that got no answer, 0 to 1.
    pub probe_loss: Option<f64>,
    /// Share of the relay's packets that did not arrive, 0 to 1.
    pub receive_loss: Option<f64>,
    /// Datagrams that came and were thrown away.
    pub rejected: Rejected,
    /// Why the last datagram could not be sent, if it could not.
    pub send_fault: Option<String>,
    /// Whether somebody sees to it that no second card serves; `None` while there is no relay.
    #[serde(default)]
    pub guard: Option<Guard>,
}

/// Whether packets get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There is no relay yet.
    Unconfigured,
    /// The relay does not answer, or has not said yet that this box may serve.
    Down,
    /// They do.
    Up,
    /// Another card with this box's keys has taken its place: there is no tunnel, and nobody tries.
    Replaced,
}

/// What went one way, as IP packets within the tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets; `None` where the back end does not count them.
    pub packets: Option<u64>,
}

/// Datagrams and packets that were thrown away, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// No message of WireGuard.
    pub malformed: u64,
    /// Not from the relay, or changed on the way.
    pub forged: u64,
    /// Seen before, or too old to tell.
    pub replayed: u64,
    /// For keys that are not in use any more.
    pub stale: u64,
    /// Handshakes that have to show first that their sender's address is real.
    pub under_load: u64,
    /// Packets within the tunnel with addresses that do not belong there.
    pub misaddressed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_has_to_be_said() {
        let json = r#"{
            "relay": {"public_key": "x", "endpoint": "relay.example.org:51820"},
            "address4": "10.82.0.2"
        }"#;
        let tunnel: Tunnel = serde_json::from_str(json).unwrap();
        assert_eq!(tunnel.backend, Backend::Userspace);
        assert_eq!((tunnel.keepalive_s, tunnel.table), (25, 51820));
        assert!(tunnel.keep_port_25_closed);
        let again = serde_json::to_string(&tunnel).unwrap();
        assert_eq!(serde_json::from_str::<Tunnel>(&again).unwrap(), tunnel);
    }

    #[test]
    fn a_later_card_has_the_higher_number() {
        let random = |byte| [byte; INSTANCE];
        let first = Generation::first(random(1));
        assert_eq!(first.instance, "01".repeat(INSTANCE));
        let may = Generation::restored(Some(&first), random(2), 1_777_777_777);
        assert_eq!(may.number, 1_777_777_777);
        // From the backup of the first again, by a laptop whose clock is right, and by one that has none.
        let june = Generation::restored(None, random(3), 1_780_000_000);
        assert!(june.number > may.number);
        let unset = Generation::restored(Some(&may), random(4), 0);
        assert_eq!(unset.number, may.number + 1);
        // What has replaced a card is outranked by it, and what belongs to the card stays.
        let replaced = Generation {
            relay: Some("key".into()),
            replaced: Some(Replaced {
                by: june.number,
                at_s: 5,
            }),
            ..first
        };
        let over = replaced.taken_over(0);
        assert_eq!((over.number, &over.replaced), (june.number + 1, &None));
        assert_eq!(
            (&over.instance, &over.relay),
            (&replaced.instance, &replaced.relay)
        );
        let again = Generation::restored(Some(&replaced), random(5), 9);
        assert_eq!((&again.relay, &again.replaced), (&replaced.relay, &None));
        let end = Generation {
            number: u64::MAX,
            ..over
        };
        assert_eq!(end.taken_over(u64::MAX).number, HIGHEST);
    }

    #[test]
    fn a_generation_is_read_again_and_may_say_little() {
        let little = r#"{"number": 1, "instance": "ab"}"#;
        let read: Generation = serde_json::from_str(little).unwrap();
        assert_eq!((&read.relay, &read.replaced), (&None, &None));
        let guard = Guard::Replaced(Replaced { by: 7, at_s: 8 });
        let text = serde_json::to_string(&guard).unwrap();
        assert_eq!(text, r#"{"replaced":{"by":7,"at_s":8}}"#);
        assert_eq!(serde_json::from_str::<Guard>(&text).unwrap(), guard);
    }

    #[test]
    fn where_the_box_is_reached_can_be_told() {
        let reached = Reached {
            outside: Outside {
                addresses: vec!["192.0.2.1".parse().unwrap()],
                second_name_server: Vec::new(),
                secondary: Some(Secondary {
                    addresses: vec!["10.77.0.1".parse().unwrap()],
                    key: "k".into(),
                    secret: Secret("AAAA".into()),
                }),
            },
            within: vec!["10.77.0.2".parse().unwrap()],
        };
        assert!(!format!("{reached:?}").contains("AAAA"));
        for reached in [None, Some(Box::new(reached))] {
            let answer = Answer::Outside { reached };
            let line = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
        }
    }

    #[test]
    fn a_text_that_is_none_says_where() {
        let said = |text| parse(text).unwrap_err().to_string();
        assert_eq!(
            said("hello"),
            "this is no relay's text: expected value at line 1 column 1"
        );
        assert!(said("{}").contains("missing field `relay`"));
        assert!(parse("").is_err());
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused() {
        let json = r#"{
            "relay": {"public_key": "x", "endpoint": "y:1", "private_key": "z"},
            "address4": "10.82.0.2"
        }"#;
        let error = serde_json::from_str::<Tunnel>(json).unwrap_err();
        assert!(error.to_string().contains("private_key"), "{error}");
    }
}
