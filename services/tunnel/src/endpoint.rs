//! Where the relay is: an address, or a name that is looked up again and again.
//!
//! [`Choice`] decides which of a name's addresses is used. It sends nothing and asks nobody.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for an answer of the resolver.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest host name, in bytes (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// Why a text is no [`Endpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No colon with a number behind it.
    #[error("a port is missing at its end, e.g. `:51820`")]
    NoPort,
    /// The number is no port.
    #[error("its port is not between 1 and 65535")]
    Port,
    /// An IPv6 address without brackets cannot be told from its port.
    #[error("an IPv6 address stands in brackets, e.g. `[2001:db8::1]:51820`")]
    Brackets,
    /// Neither address nor name.
    #[error("its host is neither an address nor a name of letters, digits, '-' and '.'")]
    Host,
    /// An address that no relay has.
    #[error("no relay has this address")]
    Address,
}

impl Endpoint {
    /// Reads `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = text.rsplit_once(':').ok_or(EndpointError::NoPort)?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        if !digits {
            return Err(EndpointError::NoPort);
        }
        let port = port.parse().map_err(|_| EndpointError::Port)?;
        if port == 0 {
            return Err(EndpointError::Port);
        }
        let host = if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Host::Address(IpAddr::V6(v6.parse().map_err(|_| EndpointError::Host)?))
        } else if host.contains(':') {
            return Err(EndpointError::Brackets);
        } else if let Ok(v4) = host.parse() {
            Host::Address(IpAddr::V4(v4))
        } else {
            Host::Name(name(host).ok_or(EndpointError::Host)?)
        };
        if let Host::Address(address) = host
            && !reachable(address)
        {
            return Err(EndpointError::Address);
        }
        Ok(Self { host, port })
    }

    /// Whether it has to be looked up.
    pub fn is_name(&self) -> bool {
        matches!(self.host, Host::Name(_))
    }

    /// Looks it up. The answer is sorted, so that two answers can be compared.
    ///
    /// # Errors
    /// Why there is no address, in words.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let name = match &self.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, self.port)]),
            Host::Name(name) => name,
        };
        let found = timeout(
            PATIENCE,
            tokio::net::lookup_host((name.as_str(), self.port)),
        )
        .await;
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(format!("{name} cannot be looked up: {error}")),
            Err(_) => return Err(format!("{name} cannot be looked up: no answer")),
        };
        let mut found: Vec<SocketAddr> = found.filter(|a| reachable(a.ip())).collect();
        // IPv4 first: homes have it more often than working IPv6.
        found.sort_by_key(|a| (a.is_ipv6(), *a));
        found.dedup();
        match found.is_empty() {
            true => Err(format!("{name} has no address that can be used")),
            false => Ok(found),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let letters = text.bytes().any(|b| b.is_ascii_alphabetic());
    (text.len() <= MAX_NAME && letters && text.split('.').all(label))
        .then(|| text.to_ascii_lowercase())
}

/// Packets can be sent there. Loopback too: tests and chained tunnels use it.
fn reachable(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

/// Which address of the relay is used.
///
/// | What happens | What is used then |
/// |---|---|
/// | first answer | its first address |
/// | an answer that is another than the one before | its first address: somebody moved the relay |
/// | the same answer again | what is used: the relay may have roamed, and that is known better |
/// | handshakes fail | the next address of the last answer, in turn |
#[derive(Debug, Default)]
pub struct Choice {
    answer: Vec<SocketAddr>,
    used: usize,
}

impl Choice {
    /// A look-up gave `answer`, sorted. Returns the address to go to, where it changes.
    pub fn answered(&mut self, answer: Vec<SocketAddr>) -> Option<SocketAddr> {
        if answer == self.answer || answer.is_empty() {
            return None;
        }
        self.answer = answer;
        self.used = 0;
        self.answer.first().copied()
    }

    /// Nobody answers. Returns the address to try now, be it the same.
    pub fn failed(&mut self) -> Option<SocketAddr> {
        if self.answer.is_empty() {
            return None;
        }
        self.used = (self.used + 1) % self.answer.len();
        self.answer.get(self.used).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_can_be_written() {
        for (text, shown) in [
            ("relay.example.org:51820", "relay.example.org:51820"),
            ("Relay.Example.org.:1", "relay.example.org:1"),
            ("192.0.2.1:51820", "192.0.2.1:51820"),
            ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.is_name(), shown.starts_with('r'));
        }
    }

    #[test]
    fn what_is_none_is_refused_with_the_rule() {
        for (text, why) in [
            ("", EndpointError::NoPort),
            ("relay.example.org", EndpointError::NoPort),
            ("relay.example.org:", EndpointError::NoPort),
            ("relay.example.org:+1", EndpointError::NoPort),
            ("relay.example.org:0", EndpointError::Port),
            ("relay.example.org:65536", EndpointError::Port),
            ("2001:db8::1:51820", EndpointError::Brackets),
            ("[2001:db8::]x:1", EndpointError::Brackets),
            ("[192.0.2.1]:1", EndpointError::Host),
            ("192.0.2.300:1", EndpointError::Host),
            ("a..b:1", EndpointError::Host),
            ("-a:1", EndpointError::Host),
            ("re lay:1", EndpointError::Host),
            (":1", EndpointError::Host),
            ("0.0.0.0:1", EndpointError::Address),
            ("[ff02::1]:1", EndpointError::Address),
            ("255.255.255.255:1", EndpointError::Address),
        ] {
            assert_eq!(Endpoint::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn the_choice_follows_its_table() {
        let [a, b, c] = ["192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.9:1"]
            .map(|a| a.parse::<SocketAddr>().unwrap());
        let mut choice = Choice::default();
        assert_eq!(choice.failed(), None);
        assert_eq!(choice.answered(vec![]), None);
        assert_eq!(choice.answered(vec![a, b]), Some(a));
        assert_eq!(choice.answered(vec![a, b]), None);
        assert_eq!(choice.failed(), Some(b));
        assert_eq!(choice.answered(vec![a, b]), None);
        assert_eq!(choice.failed(), Some(a));
        assert_eq!(choice.answered(vec![c]), Some(c));
        assert_eq!(choice.failed(), Some(c));
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver() {
        let endpoint = Endpoint::parse("[2001:db8::1]:7").unwrap();
        assert_eq!(
            endpoint.resolve().await,
            Ok(vec!["[2001:db8::1]:7".parse().unwrap()])
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(text in "([a-z0-9.:\\[\\]-]{1,30}|[0-9.]{7,15}|\\[[0-9a-f:]{2,20}\\]):[0-9]{1,5}") {
            if let Ok(endpoint) = Endpoint::parse(&text) {
                prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = Endpoint::parse(&text);
        }
    }
}
