//! Where a request comes from, as far as limits go.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One IPv4 address, or an IPv6 network of 64 bits.
///
/// A machine may take any of the 2⁶⁴ addresses of its IPv6 network (RFC 4291 section 2.5.4,
/// RFC 8981), so a single one says nothing. But all machines of a home share that
/// network, and behind some routers an IPv4 address too: **a network is not a
/// person**. Whoever limits by it must leave the rest of the household a way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// One address.
    V4(Ipv4Addr),
    /// The first 64 bits; the others are zero.
    V6(Ipv6Addr),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        // A socket that takes both families shows IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// A browser as people tell theirs apart. What a browser says of itself is anybody's text, so
/// only what is recognised in it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    program: Program,
    system: System,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Program {
    Firefox,
    Edge,
    Opera,
    Chrome,
    Safari,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum System {
    Iphone,
    Ipad,
    Android,
    Windows,
    Mac,
    Linux,
    Other,
}

impl Browser {
    /// Looks for well-known marks in a `User-Agent` header (RFC 9110 section 10.1.5).
    pub fn recognise(user_agent: &str) -> Self {
        // Most say that they are others as well: the first that fits is the most special one.
        let programs = [
            ("Firefox/", Program::Firefox),
            ("FxiOS/", Program::Firefox),
            ("Edg", Program::Edge),
            ("OPR/", Program::Opera),
            ("Chrome/", Program::Chrome),
            ("CriOS/", Program::Chrome),
            ("Safari/", Program::Safari),
        ];
        let systems = [
            ("iPhone", System::Iphone),
            ("iPad", System::Ipad),
            ("Android", System::Android),
            ("Windows", System::Windows),
            ("Macintosh", System::Mac),
            ("Linux", System::Linux),
            ("X11", System::Linux),
        ];
        let has = |mark: &str| user_agent.contains(mark);
        Self {
            program: programs
                .iter()
                .find(|(mark, _)| has(mark))
                .map_or(Program::Other, |found| found.1),
            system: systems
                .iter()
                .find(|(mark, _)| has(mark))
                .map_or(System::Other, |found| found.1),
        }
    }
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.program {
            Program::Firefox => "Firefox",
            Program::Edge => "Edge",
            Program::Opera => "Opera",
            Program::Chrome => "Chrome",
            Program::Safari => "Safari",
            Program::Other => "a browser",
        })?;
        f.write_str(match self.system {
            System::Iphone => " on an iPhone",
            System::Ipad => " on an iPad",
            System::Android => " on Android",
            System::Windows => " on Windows",
            System::Mac => " on a Mac",
            System::Linux => " on Linux",
            System::Other => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_cannot_change_its_network_by_changing_its_address() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap()).to_string();
        assert_eq!(network("192.168.1.20"), "192.168.1.20");
        assert_eq!(network("::ffff:192.168.1.20"), "192.168.1.20");
        assert_eq!(network("2001:db8:1:2:aaaa::1"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2:bbbb::2"), "2001:db8:1:2::/64");
        assert_eq!(network("fe80::1"), "fe80::/64");
    }

    #[test]
    fn browsers_are_told_apart() {
        for (user_agent, text) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1",
                "Safari on an iPhone",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("<script>alert(1)</script>", "a browser"),
        ] {
            assert_eq!(Browser::recognise(user_agent).to_string(), text);
        }
    }
}
