//! From what was chosen ([`Tunnel`]) to what can be worked with ([`Config`]): once, at the start.

use crate::endpoint::Endpoint;
use crate::keys::PublicKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_service::files;
use roost_service::tunnel::{Backend, Outside, Secondary, Tunnel};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Smallest MTU within the tunnel, in bytes: IPv6 needs it (RFC 8200, section 5).
pub const MIN_MTU: u16 = 1280;
/// Largest: an Ethernet frame less IPv6, UDP and WireGuard's own 32 bytes.
pub const MAX_MTU: u16 = 1420;
/// Until a larger one is known to pass. It leaves room for PPPoE and DS-Lite.
pub const CAREFUL_MTU: u16 = 1380;
/// Tables below are the kernel's and init's.
const MIN_TABLE: u32 = 1000;
/// Longest name of an interface (IFNAMSIZ, with a zero byte).
const MAX_NAME: usize = 15;
/// Longest silence that home routers forgive is two minutes (RFC 4787, REQ-5).
const MAX_KEEPALIVE_S: u16 = 120;
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// Most addresses of one kind outside.
const MAX_OUTSIDE: usize = 8;
/// Bytes of a key for transfers: as few as are hard to guess, and HMAC-SHA256's block.
const TRANSFER_KEY: std::ops::RangeInclusive<usize> = 16..=64;

/// There where the kernel has WireGuard.
const KERNEL: &str = "/sys/module/wireguard";

/// Holding one proves: every address is one that a host can have, the relay's key is a point that
/// a handshake can be made with, the numbers are in their ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The relay's key.
    pub peer: PublicKey,
    /// Where the relay is.
    pub endpoint: Endpoint,
    /// The relay's address within the tunnel.
    pub peer_address: Option<Ipv4Addr>,
    /// The box's addresses within the tunnel.
    pub addresses: Addresses,
    /// What encrypts.
    pub backend: Backend,
    /// Fixed MTU.
    pub mtu: Option<u16>,
    /// Seconds.
    pub keepalive_s: u16,
    /// UDP port, 0 for any.
    pub listen_port: u16,
    /// Interface.
    pub interface: String,
    /// Routing table.
    pub table: u32,
    /// Whether port 25 stays closed after a stop.
    pub keep_port_25_closed: bool,
    /// Where the internet reaches the box.
    pub outside: Option<Outside>,
}

/// The box's addresses within the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Always there: mail leaves by IPv4.
    pub v4: Ipv4Addr,
    /// Where the relay has IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// Whether `address` is one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4 == self.v4,
            IpAddr::V6(v6) => Some(v6) == self.v6,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        [Some(IpAddr::V4(self.v4)), self.v6.map(IpAddr::V6)]
            .into_iter()
            .flatten()
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} cannot be {value:?}: {why}")]
pub struct Fault {
    /// The field, e.g. `relay.endpoint`.
    pub field: &'static str,
    /// What stands there.
    pub value: String,
    /// The rule that it breaks.
    pub why: String,
}

fn fault<T>(
    field: &'static str,
    value: impl ToString,
    why: impl Into<String>,
) -> Result<T, Vec<Fault>> {
    Err(vec![Fault {
        field,
        value: value.to_string(),
        why: why.into(),
    }])
}

/// Keeps the value, or puts the faults with the others.
fn take<T>(faults: &mut Vec<Fault>, result: Result<T, Vec<Fault>>) -> Option<T> {
    result.map_err(|mut more| faults.append(&mut more)).ok()
}

impl Config {
    /// Checks all fields.
    ///
    /// # Errors
    /// Every field that cannot be used, in their order, so that nobody has to try one at a time.
    pub fn new(tunnel: &Tunnel) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let relay = &tunnel.relay;
        let peer = take(
            &mut faults,
            PublicKey::parse(&relay.public_key)
                .or_else(|why| fault("relay.public_key", &relay.public_key, why.to_string())),
        );
        let endpoint = take(
            &mut faults,
            Endpoint::parse(&relay.endpoint)
                .or_else(|why| fault("relay.endpoint", &relay.endpoint, why.to_string())),
        );
        take(
            &mut faults,
            relay
                .address4
                .map_or(Ok(()), |v4| host4("relay.address4", v4)),
        );
        take(&mut faults, host4("address4", tunnel.address4));
        take(
            &mut faults,
            tunnel.address6.map_or(Ok(()), |v6| host6("address6", v6)),
        );
        if relay.address4 == Some(tunnel.address4) {
            let why = "the box and the relay need different addresses";
            take::<()>(&mut faults, fault("relay.address4", tunnel.address4, why));
        }
        if let Some(mtu) = tunnel.mtu.filter(|m| !(MIN_MTU..=MAX_MTU).contains(m)) {
            let why = format!("it is between {MIN_MTU} and {MAX_MTU} bytes");
            take::<()>(&mut faults, fault("mtu", mtu, why));
        }
        if !(1..=MAX_KEEPALIVE_S).contains(&tunnel.keepalive_s) {
            let why = format!("it is between 1 and {MAX_KEEPALIVE_S} seconds");
            take::<()>(&mut faults, fault("keepalive_s", tunnel.keepalive_s, why));
        }
        take(&mut faults, name(&tunnel.interface));
        if tunnel.table < MIN_TABLE {
            let why = format!("it is at least {MIN_TABLE}, since lower ones may be the system's");
            take::<()>(&mut faults, fault("table", tunnel.table, why));
        }
        if let Some(outside) = &tunnel.outside {
            take(&mut faults, check_outside(outside));
        }
        let (Some(peer), Some(endpoint), true) = (peer, endpoint, faults.is_empty()) else {
            return Err(faults);
        };
        let outside = tunnel.outside.clone().or_else(|| at(&relay.endpoint));
        Ok(Config {
            peer,
            endpoint,
            peer_address: relay.address4,
            addresses: Addresses {
                v4: tunnel.address4,
                v6: tunnel.address6,
            },
            backend: tunnel.backend,
            mtu: tunnel.mtu,
            keepalive_s: tunnel.keepalive_s,
            listen_port: tunnel.listen_port,
            interface: tunnel.interface.clone(),
            table: tunnel.table,
            keep_port_25_closed: tunnel.keep_port_25_closed,
            outside,
        })
    }
}

/// A relay of which nothing is known but its address.
fn at(endpoint: &str) -> Option<Outside> {
    let socket: SocketAddr = endpoint.parse().ok()?;
    Some(Outside {
        addresses: vec![socket.ip()],
        second_name_server: Vec::new(),
        secondary: None,
    })
}

fn check_outside(outside: &Outside) -> Result<(), Vec<Fault>> {
    addresses("outside.addresses", &outside.addresses)?;
    addresses("outside.second_name_server", &outside.second_name_server)?;
    let Some(Secondary {
        addresses: within,
        key,
        secret,
    }) = &outside.secondary
    else {
        return Ok(());
    };
    addresses("outside.secondary.addresses", within)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if key.is_empty() || key.len() > 63 || !key.chars().all(plain) {
        let why = "it is a name of 1 to 63 small letters, digits, hyphens and dots";
        return fault("outside.secondary.key", key, why);
    }
    // The value itself is never repeated.
    match STANDARD.decode(&secret.0) {
        Ok(bytes) if TRANSFER_KEY.contains(&bytes.len()) => Ok(()),
        _ => fault(
            "outside.secondary.secret",
            "…",
            "it is base64 of 16 to 64 bytes",
        ),
    }
}

fn addresses(field: &'static str, all: &[IpAddr]) -> Result<(), Vec<Fault>> {
    if all.len() > MAX_OUTSIDE {
        return fault(field, all.len(), format!("there are at most {MAX_OUTSIDE}"));
    }
    all.iter().try_for_each(|address| match address {
        IpAddr::V4(v4) => host4(field, *v4),
        IpAddr::V6(v6) => host6(field, *v6),
    })
}

fn host4(field: &'static str, v4: Ipv4Addr) -> Result<(), Vec<Fault>> {
    let unusable = v4.is_unspecified() || v4.is_loopback() || v4.is_multicast();
    if unusable || v4.is_broadcast() || v4.is_link_local() {
        return fault(field, v4, "no host has this address");
    }
    Ok(())
}

fn host6(field: &'static str, v6: Ipv6Addr) -> Result<(), Vec<Fault>> {
    let unusable = v6.is_unspecified() || v6.is_loopback() || v6.is_multicast();
    if unusable || v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some() {
        return fault(
            field,
            v6,
            "no host has this address outside of its own link",
        );
    }
    Ok(())
}

fn name(name: &str) -> Result<(), Vec<Fault>> {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || name.is_empty() || name.len() > MAX_NAME {
        let why = format!("it has 1 to {MAX_NAME} of a-z, 0-9 and '-'");
        return fault("interface", name, why);
    }
    if name == "lo" || name == "all" || name == "default" {
        return fault("interface", name, "the kernel has its own use for it");
    }
    Ok(())
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub why: String,
}

/// Reads the file; `None` where there is none.
///
/// # Errors
/// What is wrong in it, all at once.
pub fn load(path: &Path) -> Result<Option<Config>, LoadError> {
    let fail = |why: String| LoadError {
        path: path.to_owned(),
        why,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error.to_string())),
        Ok(meta) if meta.len() > MAX_FILE => {
            return Err(fail(format!("it is longer than {MAX_FILE} bytes")));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    parse(&bytes).map(Some).map_err(fail)
}

/// [`Config`] from JSON of a [`Tunnel`].
///
/// # Errors
/// What is wrong, all at once, as one line.
pub fn parse(bytes: &[u8]) -> Result<Config, String> {
    let tunnel: Tunnel = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    Config::new(&tunnel).map_err(|faults| in_one(&faults))
}

fn in_one(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

/// Keeps what was chosen in the file, if it can be used.
///
/// # Errors
/// What is wrong in it, all at once, or why it cannot be kept. The file is as it was then.
pub fn save(path: &Path, tunnel: &Tunnel) -> Result<(), String> {
    Config::new(tunnel).map_err(|faults| in_one(&faults))?;
    if tunnel.backend == Backend::Kernel && !Path::new(KERNEL).exists() {
        return Err("backend cannot be \"kernel\": the box's kernel has no WireGuard".into());
    }
    let text = serde_json::to_vec(tunnel).map_err(|e| e.to_string())?;
    files::write(path, &text).map_err(|e| format!("it cannot be kept on the card: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roost_service::tunnel::Relay;

    fn good() -> Tunnel {
        Tunnel {
            relay: Relay {
                public_key: "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=".into(),
                endpoint: "relay.example.org:51820".into(),
                address4: Some("10.82.0.1".parse().unwrap()),
            },
            address4: "10.82.0.2".parse().unwrap(),
            address6: Some("fd82::2".parse().unwrap()),
            backend: Backend::Userspace,
            mtu: None,
            keepalive_s: 25,
            listen_port: 0,
            interface: "relay".into(),
            table: 51820,
            keep_port_25_closed: true,
            outside: None,
        }
    }

    #[test]
    fn what_is_outside_is_checked_and_a_secret_is_not_repeated() {
        let said = |text: &str| {
            let outside = serde_json::from_str(text).unwrap();
            Config::new(&Tunnel {
                outside: Some(outside),
                ..good()
            })
            .map(|config| config.outside.unwrap().addresses.len())
            .map_err(|faults| in_one(&faults))
        };
        assert_eq!(
            said(r#"{"addresses": ["192.0.2.1", "2001:db8::1"]}"#),
            Ok(2)
        );
        insta::assert_snapshot!(
            said(r#"{"addresses": ["192.0.2.1"], "secondary": {"addresses": [], "key": "k", "secret": "secret"}}"#).unwrap_err(),
            @r#"outside.secondary.secret cannot be "…": it is base64 of 16 to 64 bytes"#
        );
        insta::assert_snapshot!(
            said(r#"{"addresses": ["127.0.0.1"]}"#).unwrap_err(),
            @r#"outside.addresses cannot be "127.0.0.1": no host has this address"#
        );
        insta::assert_snapshot!(
            said(r#"{"addresses": [], "secondary": {"addresses": [], "key": "a b", "secret": "AAAA"}}"#).unwrap_err(),
            @r#"outside.secondary.key cannot be "a b": it is a name of 1 to 63 small letters, digits, hyphens and dots"#
        );
    }

    #[test]
    fn a_relay_that_says_no_more_is_reached_where_it_listens() {
        let of = |endpoint: &str| {
            let mut tunnel = good();
            tunnel.relay.endpoint = endpoint.into();
            Config::new(&tunnel).unwrap().outside.map(|o| o.addresses)
        };
        assert_eq!(
            of("192.0.2.1:51820"),
            Some(vec!["192.0.2.1".parse().unwrap()])
        );
        assert_eq!(of("relay.example.org:51820"), None);
    }

    #[test]
    fn a_good_one_is_taken() {
        let config = Config::new(&good()).unwrap();
        assert!(config.addresses.contain("10.82.0.2".parse().unwrap()));
        assert!(config.addresses.contain("fd82::2".parse().unwrap()));
        assert!(!config.addresses.contain("10.82.0.1".parse().unwrap()));
        assert_eq!(config.addresses.iter().count(), 2);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let bad = Tunnel {
            relay: Relay {
                public_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into(),
                endpoint: "relay.example.org".into(),
                address4: Some("127.0.0.1".parse().unwrap()),
            },
            address4: "224.0.0.1".parse().unwrap(),
            address6: Some("fe80::1".parse().unwrap()),
            mtu: Some(1500),
            keepalive_s: 0,
            interface: "eth 0".into(),
            table: 254,
            ..good()
        };
        let json = serde_json::to_vec(&bad).unwrap();
        insta::assert_snapshot!(parse(&json).unwrap_err().replace("; ", "\n"), @r#"
        relay.public_key cannot be "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=": it is of the few keys that protect nothing
        relay.endpoint cannot be "relay.example.org": a port is missing at its end, e.g. `:51820`
        relay.address4 cannot be "127.0.0.1": no host has this address
        address4 cannot be "224.0.0.1": no host has this address
        address6 cannot be "fe80::1": no host has this address outside of its own link
        mtu cannot be "1500": it is between 1280 and 1420 bytes
        keepalive_s cannot be "0": it is between 1 and 120 seconds
        interface cannot be "eth 0": it has 1 to 15 of a-z, 0-9 and '-'
        table cannot be "254": it is at least 1000, since lower ones may be the system's
        "#);
    }

    #[test]
    fn a_missing_file_is_no_fault_and_a_broken_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tunnel.json");
        assert_eq!(load(&path).unwrap(), None);
        std::fs::write(&path, b"{\"relay\":").unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("tunnel.json: EOF while parsing"), "{error}");
        save(&path, &good()).unwrap();
        assert_eq!(load(&path).unwrap(), Config::new(&good()).ok());
        if !Path::new(KERNEL).exists() {
            let backend = Backend::Kernel;
            let kernel = Tunnel { backend, ..good() };
            assert!(save(&path, &kernel).unwrap_err().contains("no WireGuard"));
        }
        let bad = Tunnel { table: 1, ..good() };
        let why = save(&path, &bad).unwrap_err();
        assert!(why.starts_with("table cannot be \"1\""), "{why}");
        assert_eq!(load(&path).unwrap(), Config::new(&good()).ok());
    }

    proptest! {
        #[test]
        fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn numbers_are_in_their_ranges(mtu: u16, keepalive_s: u16, table: u32) {
            let tunnel = Tunnel { mtu: Some(mtu), keepalive_s, table, ..good() };
            let usable = (1280..=1420).contains(&mtu) && (1..=120).contains(&keepalive_s) && table >= 1000;
            prop_assert_eq!(Config::new(&tunnel).is_ok(), usable);
        }
    }
}
