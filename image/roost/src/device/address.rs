//! Where a box is: a host name or an address, and a port.

use roost_service::update::PORT;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// Longest host name in bytes (RFC 1035, section 2.3.4, as text).
const MAX_HOST: usize = 253;
/// Addresses of one name that are tried: a home box has a few, and each may take a time-out.
const MAX_TRIED: usize = 6;

/// TCP port of a box's web pages.
pub const WEB_PORT: u16 = 443;

/// A host and a port of the device API. Shown without the port if it is the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// In lower case; an IPv6 address without brackets.
    host: String,
    port: u16,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The system knows no address of that name.
    #[error("the name {host} was not found")]
    NotFound {
        /// The name.
        host: String,
        /// What the resolver says.
        source: std::io::Error,
    },
    /// No address answered; at least one was tried.
    #[error("{}", attempts(.0))]
    Failed(Vec<(SocketAddr, std::io::Error)>),
}

impl ConnectError {
    /// What the user should look at.
    pub fn hint(&self) -> &'static str {
        use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        let all = |kind| matches!(self, Self::Failed(tried) if tried.iter().all(|(_, e)| e.kind() == kind));
        if let Self::NotFound { .. } = self {
            "give the box's address, which your router lists: roost status 192.168.1.5, or set ROOST_BOX"
        } else if all(ConnectionRefused) {
            "something is there, but no box answers on that port: is it the right address? A box that is starting answers after about a minute"
        } else if all(NetworkUnreachable) {
            "this machine has no way to that network: is it connected?"
        } else if all(HostUnreachable) {
            "nothing has that address: is the box on, and is it the right address? Your router lists it"
        } else {
            "is the box on, and in the same network as this machine? A firewall may be between the two"
        }
    }
}

fn attempts(tried: &[(SocketAddr, std::io::Error)]) -> String {
    let said: Vec<String> = tried
        .iter()
        .map(|(at, e)| {
            let why = match e.kind() {
                std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                std::io::ErrorKind::TimedOut => "no answer".to_owned(),
                std::io::ErrorKind::HostUnreachable => "no way to this host".to_owned(),
                std::io::ErrorKind::NetworkUnreachable => "no way to this network".to_owned(),
                _ => e.to_string(),
            };
            format!("{at}: {why}")
        })
        .collect();
    said.join("; ")
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, PORT)
    }
}

/// Where a box's web pages are, as people type it or copy it from a browser. Shown without the port
/// if it is that of HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress(pub Address);

impl FromStr for WebAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = text.strip_prefix("https://").unwrap_or(text);
        let host = host.strip_suffix('/').unwrap_or(host);
        Address::parse(host, WEB_PORT).map(Self)
    }
}

impl WebAddress {
    /// Port of the device API there: `roost run` adds the same number to every port.
    pub fn api_port(&self) -> u16 {
        (self.0.port() - WEB_PORT.min(self.0.port()))
            .checked_add(PORT)
            .unwrap_or(PORT)
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f, WEB_PORT)
    }
}

impl Address {
    /// With this port if none is given.
    fn parse(text: &str, port_else: u16) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?} is no host name or address, e.g. roost, roost:{port_else}, 192.168.1.5, [fe80::1%eth0]:{port_else}"
            )
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(expected)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(expected()),
            };
            if !is_v6(host) {
                return Err(expected());
            }
            (host, port)
        } else if is_v6(text) {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty()
            || host.len() > MAX_HOST
            || host.starts_with('-')
            || !(is_v6(host) || host.chars().all(name))
        {
            return Err(expected());
        }
        let port = match port {
            None => port_else,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => match text.parse() {
                Ok(0) | Err(_) => return Err(format!("{text:?} is no port: 1 to 65535")),
                Ok(port) => port,
            },
            Some(_) => return Err(expected()),
        };
        Ok(Self {
            host: host.to_lowercase(),
            port,
        })
    }
}

/// An IPv6 address, perhaps with the interface that it is on (RFC 4007, section 11).
fn is_v6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.chars().all(plain)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, PORT)
    }
}

impl Address {
    fn show(&self, f: &mut fmt::Formatter<'_>, usual: u16) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (_, port) if port == usual => f.write_str(&self.host),
            (false, port) => write!(f, "{}:{port}", self.host),
            (true, port) => write!(f, "[{}]:{port}", self.host),
        }
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port,
        }
    }

    /// Where the pages of the box are whose device API is here; see [`WebAddress::api_port`].
    pub fn web(&self) -> WebAddress {
        let added = self.port.saturating_sub(PORT);
        WebAddress(self.with_port(WEB_PORT + added.min(u16::MAX - WEB_PORT)))
    }

    /// Whether this machine itself is meant. Every emulated box is there.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || (self.host)
                .parse()
                .is_ok_and(|at: std::net::IpAddr| at.is_loopback())
    }

    /// As the header `Host` says it (RFC 9110, section 7.2): a zone means nothing there.
    pub fn host_header(&self) -> String {
        let host = self.host.split('%').next().unwrap_or_default();
        match host.contains(':') {
            true => format!("[{host}]:{}", self.port),
            false => format!("{host}:{}", self.port),
        }
    }

    /// Connects; every address that the name has may take `limit`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] with every address that was tried.
    pub fn connect(&self, limit: Duration) -> Result<TcpStream, ConnectError> {
        let not_found = |source| ConnectError::NotFound {
            host: self.host.clone(),
            source,
        };
        let found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(not_found)?;
        let mut tried = Vec::new();
        for at in found.take(MAX_TRIED) {
            match TcpStream::connect_timeout(&at, limit) {
                Ok(stream) => return Ok(stream),
                Err(e) => tried.push((at, e)),
            }
        }
        if tried.is_empty() {
            return Err(not_found(std::io::Error::other("it has no address")));
        }
        Err(ConnectError::Failed(tried))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_and_addresses_with_and_without_a_port() {
        for (text, shown) in [
            ("roost", "roost"),
            ("Roost.LAN", "roost.lan"),
            ("roost:7625", "roost"),
            ("roost:17625", "roost:17625"),
            ("192.168.1.5", "192.168.1.5"),
            ("192.168.1.5:80", "192.168.1.5:80"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
            ("[::1]:17625", "[::1]:17625"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
        }
        for bad in [
            "",
            ":",
            "roost:",
            ":80",
            "roost:0",
            "roost:65536",
            "roost:+1",
            "roost:x",
            "a b",
            "https://roost",
            "roost/",
            "[::1",
            "[roost]",
            "[::1]80",
            "-x",
            "::1%",
            "[::1]:",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn the_web_address_of_a_box_may_be_copied_from_a_browser() {
        for (text, shown, host) in [
            ("https://Attic.local/", "attic.local", "attic.local:443"),
            ("attic.local", "attic.local", "attic.local:443"),
            ("127.0.0.1:10443", "127.0.0.1:10443", "127.0.0.1:10443"),
            ("fe80::1%eth0", "fe80::1%eth0", "[fe80::1]:443"),
        ] {
            let address: WebAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(address.0.host_header(), host, "{text}");
        }
        for (api, web) in [
            ("attic.local", "attic.local"),
            ("127.0.0.1:17625", "127.0.0.1:10443"),
            ("[::1]:17625", "[::1]:10443"),
            ("attic.local:80", "attic.local"),
        ] {
            let address: Address = api.parse().unwrap();
            assert_eq!(address.web().to_string(), web);
            if api != "attic.local:80" {
                assert_eq!(address.web().api_port(), address.port());
            }
        }
        assert!("http://attic.local".parse::<WebAddress>().is_err());
        assert!("https://attic.local/pair".parse::<WebAddress>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again_as_the_same(text in "\\PC{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }

    #[test]
    fn a_refused_connection_names_the_address_and_what_to_check() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address: Address = format!("127.0.0.1:{port}").parse().unwrap();
        let error = address.connect(Duration::from_secs(5)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("127.0.0.1:{port}: connection refused")
        );
        assert!(error.hint().starts_with("something is there"));
    }
}
