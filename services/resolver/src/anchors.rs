//! Where the tree of names begins: the root servers, and the keys of the root.

use hickory_proto::rr::Name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The root servers (<https://www.iana.org/domains/root/servers>, as of November 2026), a to m.
const ROOT_SERVERS: [(Ipv4Addr, Ipv6Addr); 13] = [
    (v4(198, 41, 0, 4), v6(0x2001, 0x503, 0xba3e, 0x2, 0x30)),
    (v4(170, 247, 170, 2), v6(0x2801, 0x1b8, 0x10, 0, 0xb)),
    (v4(192, 33, 4, 12), v6(0x2001, 0x500, 0x2, 0, 0xc)),
    (v4(199, 7, 91, 13), v6(0x2001, 0x500, 0x2d, 0, 0xd)),
    (v4(192, 203, 230, 10), v6(0x2001, 0x500, 0xa8, 0, 0xe)),
    (v4(192, 5, 5, 241), v6(0x2001, 0x500, 0x2f, 0, 0xf)),
    (v4(192, 112, 36, 4), v6(0x2001, 0x500, 0x12, 0, 0xd0d)),
    (v4(198, 97, 190, 53), v6(0x2001, 0x500, 0x1, 0, 0x53)),
    (v4(192, 36, 148, 17), v6(0x2001, 0x7fe, 0, 0, 0x53)),
    (v4(192, 58, 128, 30), v6(0x2001, 0x503, 0xc27, 0x2, 0x30)),
    (v4(193, 0, 14, 129), v6(0x2001, 0x7fd, 0, 0, 0x1)),
    (v4(199, 7, 83, 42), v6(0x2001, 0x500, 0x9f, 0, 0x42)),
    (v4(202, 12, 27, 33), v6(0x2001, 0xdc3, 0, 0, 0x35)),
];

/// The keys of the root (<https://data.iana.org/root-anchors/root-anchors.xml>): KSK-2017 and KSK-2024.
const TRUST_ANCHORS: [&str; 2] = [
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// An address whose zeros are in the middle.
const fn v6(a: u16, b: u16, c: u16, d: u16, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, d, last)
}

/// Where answers begin, and what they are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Addresses of root servers.
    pub servers: Vec<IpAddr>,
    /// Records of its keys, in presentation format.
    pub anchors: Vec<String>,
    /// Whether it is the internet's.
    pub public: bool,
}

impl Root {
    /// The internet's.
    pub fn internet() -> Self {
        let servers = ROOT_SERVERS
            .iter()
            .flat_map(|(v4, v6)| [IpAddr::from(*v4), IpAddr::from(*v6)]);
        Self {
            servers: servers.collect(),
            anchors: TRUST_ANCHORS.map(str::to_owned).to_vec(),
            public: true,
        }
    }

    /// As the settings say.
    pub fn of(settings: Option<&roost_service::settings::Resolver>) -> Self {
        match settings {
            Some(own) => Self {
                servers: own.root_servers.clone(),
                anchors: own.trust_anchors.clone(),
                public: false,
            },
            None => Self::internet(),
        }
    }
}

/// A name that is surely not there: whoever says so has to prove it. One label, so that it is the root's own
/// word; an underscore, so that it is nobody's.
pub fn nobody() -> Name {
    Name::from_labels([&b"_nobody"[..]]).unwrap_or_else(|_| Name::root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::dnssec::DigestType;
    use hickory_proto::dnssec::TrustAnchors;
    use hickory_proto::dnssec::rdata::DNSKEY;

    /// The library has the keys themselves; ours are their hashes, from another file of IANA's.
    #[test]
    fn the_keys_are_those_that_another_program_ships() {
        let theirs = TrustAnchors::default();
        let mut found: Vec<String> = (0..theirs.len())
            .map(|at| {
                let key = DNSKEY::with_flags(257, theirs.get(at).unwrap().clone());
                let digest = key.to_digest(&Name::root(), DigestType::SHA256).unwrap();
                let hash: String = digest.as_ref().iter().map(|b| format!("{b:02X}")).collect();
                let tag = key.calculate_key_tag().unwrap();
                format!(". IN DS {tag} 8 2 {hash}")
            })
            .collect();
        found.sort();
        assert_eq!(found, TRUST_ANCHORS);
    }

    #[test]
    fn every_root_server_has_two_addresses_of_its_own() {
        let mut servers = Root::internet().servers;
        servers.sort();
        servers.dedup();
        assert_eq!(servers.len(), 26);
    }
}
