//! One interface from first sight to an address.

use super::*;
use std::net::Ipv6Addr;

const S: Duration = Duration::from_secs(1);

fn eth(index: u32, carrier: bool) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        mac: Some([2, 0, 0, 0, 0, 1]),
        up: true,
        carrier,
    }
}

fn fixed() -> Settings {
    Settings::Static {
        address: Ipv4Addr::new(192, 168, 1, 5),
        prefix: 24,
        gateway: Ipv4Addr::new(192, 168, 1, 1),
        dns: vec![
            Ipv4Addr::new(192, 168, 1, 1).into(),
            Ipv6Addr::LOCALHOST.into(),
        ],
        address6: None,
    }
}

fn count(actions: &[Action], what: fn(&Action) -> bool) -> usize {
    actions.iter().filter(|action| what(action)).count()
}

#[test]
fn the_first_wired_interface_is_taken() {
    let mut network = Network::new(Settings::Dhcp, "roost", 1);
    let wired = |name: &str| name != "eth1";
    assert_eq!(network.handle(S, Event::Link(eth(1, true)), wired), []);
    let loopback = Link {
        index: 5,
        name: "lo".into(),
        mac: None,
        up: true,
        carrier: true,
    };
    assert_eq!(network.handle(S, Event::Link(loopback), wired), []);
    let actions = network.handle(S, Event::Link(eth(2, false)), wired);
    assert!(
        actions.contains(&Action::OpenDhcp("eth2".into())),
        "{actions:?}"
    );
    assert_eq!(
        network.handle(S, Event::Link(eth(3, true)), wired),
        [],
        "one is enough"
    );
    assert_eq!(network.deadline(), Some(S));
    assert_eq!(
        count(&network.tick(S), |a| matches!(a, Action::Dhcp(..))),
        1
    );
}

#[test]
fn a_cable_that_comes_back_is_asked_over() {
    let mut network = Network::new(Settings::Dhcp, "roost", 1);
    network.handle(S, Event::Link(eth(2, false)), |_| true);
    network.tick(S);
    let actions = network.handle(2 * S, Event::Link(eth(2, true)), |_| true);
    assert_eq!(count(&actions, |a| matches!(a, Action::Dhcp(..))), 1);
    assert_eq!(
        network.handle(2 * S, Event::Link(eth(2, true)), |_| true),
        []
    );
}

#[test]
fn an_interface_may_be_replaced() {
    let mut network = Network::new(Settings::Dhcp, "roost", 1);
    network.handle(S, Event::Link(eth(2, true)), |_| true);
    network.handle(S, Event::Address(2, [10, 0, 0, 2].into(), 8), |_| true);
    network.handle(S, Event::Address(9, [10, 0, 0, 3].into(), 8), |_| true);
    assert_eq!(network.addresses(), ["10.0.0.2/8"]);
    let actions = network.handle(2 * S, Event::LinkGone(2), |_| true);
    assert!(actions.contains(&Action::CloseDhcp));
    assert_eq!((network.addresses().len(), network.deadline()), (0, None));
    let actions = network.handle(3 * S, Event::Link(eth(4, true)), |_| true);
    assert!(actions.contains(&Action::OpenDhcp("eth4".into())));
}

#[test]
fn a_fixed_address_needs_nobody() {
    let mut network = Network::new(fixed(), "roost", 1);
    let actions = network.handle(S, Event::Link(eth(2, true)), |_| true);
    assert_eq!(count(&actions, |a| matches!(a, Action::OpenDhcp(_))), 0);
    assert_eq!(count(&actions, |a| matches!(a, Action::Online)), 1);
    let resolvers = "nameserver 192.168.1.1\nnameserver ::1\noptions timeout:2 attempts:2 edns0\n";
    assert!(
        actions.contains(&Action::Resolvers(resolvers.into())),
        "{actions:?}"
    );
    assert_eq!(network.deadline(), None);
}
