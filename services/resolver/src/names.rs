//! Names that are not looked up from the root: this machine's, the home's, and those that nobody has
//! (RFC 6303, RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476).

use crate::network::Network;
use hickory_proto::rr::{Name, RecordType};

/// Domains of home networks. Only `home.arpa` is meant for that; routers use the others all the same.
const HOME: [&str; 8] = [
    "home.arpa",
    "local",
    "lan",
    "home",
    "internal",
    "corp",
    "fritz.box",
    "localdomain",
];
/// Of those, the ones that are the home's in a network with a root of its own too.
const HOME_ALWAYS: [&str; 2] = ["home.arpa", "local"];
/// Domains that nobody has.
const NOBODY: [&str; 4] = ["invalid", "test", "onion", "alt"];

/// Who answers for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This resolver: the name is this machine.
    Ours,
    /// This resolver: there is no such name.
    Nobody,
    /// The network's resolvers, unchecked.
    Home,
    /// The internet, and if that has no such name, the network's resolvers: the domain of the network's
    /// machines may be any, and must not hide somebody's real domain.
    PublicThenHome,
    /// The internet.
    Public,
}

/// Who answers. `public`: whether the root is the internet's.
pub fn whose(name: &Name, kind: RecordType, network: &Network, public: bool) -> Whose {
    let labels: Vec<String> = name
        .iter()
        .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
        .collect();
    let under = |domain: &str| {
        let domain: Vec<&str> = domain.split('.').collect();
        labels.len() >= domain.len()
            && labels[labels.len() - domain.len()..]
                .iter()
                .map(String::as_str)
                .eq(domain)
    };
    let addresses = matches!(kind, RecordType::A | RecordType::AAAA);
    if under("localhost") {
        return Whose::Ours;
    }
    if under("invalid") || (public && NOBODY.into_iter().any(under)) {
        return Whose::Nobody;
    }
    if HOME_ALWAYS.into_iter().any(under) {
        return Whose::Home;
    }
    if public {
        // A machine of the home; nobody puts addresses at a top-level domain.
        if labels.len() == 1 && addresses {
            return Whose::Home;
        }
        // Questions about the domain itself are those of validators.
        if HOME
            .into_iter()
            .any(|domain| under(domain) && domain.split('.').count() < labels.len())
        {
            return Whose::Home;
        }
        if is_private_reverse(&labels) {
            return Whose::Home;
        }
    }
    match &network.search {
        Some(search) if search.zone_of(name) && name.num_labels() > search.num_labels() => {
            Whose::PublicThenHome
        }
        _ => Whose::Public,
    }
}

/// Whether a name is the reverse name of an address that is no public one (RFC 6303, section 4; RFC 7793).
fn is_private_reverse(labels: &[String]) -> bool {
    let [rest @ .., kind, arpa] = labels else {
        return false;
    };
    if arpa != "arpa" {
        return false;
    }
    let number = |from_end: usize| -> Option<u8> {
        rest.len()
            .checked_sub(from_end + 1)
            .and_then(|at| rest[at].parse().ok())
    };
    match kind.as_str() {
        "in-addr" => match (number(0), number(1)) {
            (Some(0 | 10 | 127 | 255), _)
            | (Some(192), Some(168))
            | (Some(169), Some(254))
            | (Some(172), Some(16..=31))
            | (Some(100), Some(64..=127)) => true,
            (Some(192), Some(0)) => number(2) == Some(2),
            (Some(198), Some(51)) => number(2) == Some(100),
            (Some(203), Some(0)) => number(2) == Some(113),
            _ => false,
        },
        "ip6" => {
            let nibbles: Vec<&str> = rest.iter().rev().map(String::as_str).collect();
            match nibbles.as_slice() {
                // fc00::/7, fe80::/10
                ["f", "c" | "d", ..] | ["f", "e", "8" | "9" | "a" | "b", ..] => true,
                // 2001:db8::/32
                ["2", "0", "0", "1", "0", "d", "b", "8", ..] => true,
                // ::, ::1
                all => {
                    all.len() == 32
                        && all[..31].iter().all(|n| *n == "0")
                        && matches!(all[31], "0" | "1")
                }
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, public: bool) -> Whose {
        let network = Network::parse("nameserver 192.0.2.1\nsearch example.net\n");
        whose(
            &Name::from_ascii(name).unwrap(),
            RecordType::A,
            &network,
            public,
        )
    }

    #[test]
    fn on_the_internet() {
        for (name, is) in [
            ("localhost.", Whose::Ours),
            ("A.LOCALHOST.", Whose::Ours),
            ("mx.example.invalid.", Whose::Nobody),
            ("x.onion.", Whose::Nobody),
            ("mx.test.", Whose::Nobody),
            ("printer.", Whose::Home),
            ("printer.local.", Whose::Home),
            ("nas.fritz.box.", Whose::Home),
            ("nas.LAN.", Whose::Home),
            ("x.home.arpa.", Whose::Home),
            ("1.1.168.192.in-addr.arpa.", Whose::Home),
            ("1.1.31.172.in-addr.arpa.", Whose::Home),
            ("1.1.32.172.in-addr.arpa.", Whose::Public),
            ("1.2.0.192.in-addr.arpa.", Whose::Home),
            ("8.8.8.8.in-addr.arpa.", Whose::Public),
            ("x.d.f.ip6.arpa.", Whose::Home),
            ("b.e.f.ip6.arpa.", Whose::Home),
            ("c.e.f.ip6.arpa.", Whose::Public),
            ("nas.example.net.", Whose::PublicThenHome),
            ("example.net.", Whose::Public),
            ("example.org.", Whose::Public),
            ("notlocal.", Whose::Home),
            ("a.notlocal.", Whose::Public),
            (".", Whose::Public),
        ] {
            assert_eq!(ask(name, true), is, "{name}");
        }
        let own = format!("1.{}ip6.arpa.", "0.".repeat(31));
        assert_eq!(ask(&own, true), Whose::Home);
    }

    #[test]
    fn questions_about_a_top_level_domain_go_to_the_root() {
        let network = Network::default();
        for kind in [RecordType::DS, RecordType::DNSKEY, RecordType::NS] {
            let name = Name::from_ascii("org.").unwrap();
            assert_eq!(whose(&name, kind, &network, true), Whose::Public);
        }
    }

    #[test]
    fn with_a_root_of_ones_own() {
        for (name, is) in [
            ("localhost.", Whose::Ours),
            ("x.invalid.", Whose::Nobody),
            ("x.local.", Whose::Home),
            ("x.home.arpa.", Whose::Home),
            ("mx.test.", Whose::Public),
            ("x.lan.", Whose::Public),
            ("1.1.168.192.in-addr.arpa.", Whose::Public),
            ("printer.", Whose::Public),
        ] {
            assert_eq!(ask(name, false), is, "{name}");
        }
    }
}
