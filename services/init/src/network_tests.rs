//! One interface from first sight to an address.

use super::*;
use std::net::Ipv6Addr;

const S: Duration = Duration::from_secs(1);

/// A network that knows its settings from the start.
fn network_of(settings: Settings) -> Network {
    let mut network = Network::new(1);
    assert_eq!(network.configure(Duration::ZERO, settings, "roost"), []);
    network
}

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
    let mut network = network_of(Settings::Dhcp);
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
    let mut network = network_of(Settings::Dhcp);
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
    let mut network = network_of(Settings::Dhcp);
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
    let mut network = network_of(fixed());
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

#[test]
fn until_the_settings_are_known_the_interface_is_only_switched_on() {
    let mut network = Network::new(1);
    let actions = network.handle(S, Event::Link(eth(2, false)), |_| true);
    assert!(asked(&actions, SET_LINK).is_some(), "{actions:?}");
    assert_eq!(count(&actions, |a| matches!(a, Action::OpenDhcp(_))), 0);
    let actions = network.handle(2 * S, Event::Link(eth(2, true)), |_| true);
    assert_eq!((actions, network.deadline()), (Vec::new(), None));

    // The cable is in already: the first message goes out at once.
    let actions = network.configure(3 * S, Settings::Dhcp, "attic");
    assert_eq!(actions, [Action::OpenDhcp("eth2".into())]);
    assert_eq!(network.deadline(), Some(3 * S));
    let actions = network.tick(3 * S);
    let named = |action: &Action| match action {
        Action::Dhcp(_, bytes) => bytes.windows(5).any(|part| part == b"attic"),
        _ => false,
    };
    assert!(actions.iter().any(named), "{actions:?}");
    assert_eq!(
        network.configure(4 * S, fixed(), "later"),
        [],
        "it counts once"
    );
}

#[test]
fn a_fixed_address_that_is_told_late_is_online_at_once() {
    let mut network = Network::new(1);
    network.handle(S, Event::Link(eth(2, true)), |_| true);
    let actions = network.configure(2 * S, fixed(), "roost");
    assert_eq!(count(&actions, |a| matches!(a, Action::Online)), 1);
    assert_eq!(count(&actions, |a| matches!(a, Action::OpenDhcp(_))), 0);
}

#[test]
fn a_fixed_address_is_online_with_every_cable() {
    let mut network = network_of(fixed());
    let mut online = |at: u32, carrier| {
        let actions = network.handle(at * S, Event::Link(eth(2, carrier)), |_| true);
        count(&actions, |a| matches!(a, Action::Online))
    };
    let told: Vec<usize> = [false, true, true, false, true]
        .into_iter()
        .zip(1..)
        .map(|(carrier, at)| online(at, carrier))
        .collect();
    assert_eq!(told, [0, 1, 0, 0, 1]);
}

#[test]
fn a_lease_that_was_verified_is_online_too() {
    let mut network = network_of(Settings::Dhcp);
    let options: [(u8, &[u8]); 3] = [
        (1, &[255, 0, 0, 0]),
        (51, &[0, 0, 14, 16]),
        (54, &[10, 0, 0, 1]),
    ];
    let answer_to = |actions: &[Action], kind| {
        let id = actions.iter().find_map(|action| match action {
            Action::Dhcp(_, bytes) => Some(u32::from_be_bytes(bytes[4..8].try_into().unwrap())),
            _ => None,
        });
        let client = crate::dhcp::Client {
            id: id.unwrap(),
            mac: [2, 0, 0, 0, 0, 1],
            name: String::new(),
            seconds: 0,
        };
        crate::dhcp::tests::answer(&client, kind, [10, 0, 0, 7], &options)
    };
    let online = |actions: &[Action]| count(actions, |a| matches!(a, Action::Online));
    network.handle(S, Event::Link(eth(2, true)), |_| true);
    let offer = answer_to(&network.tick(S), 2);
    let ack = answer_to(&network.receive(S, &offer), 5);
    assert_eq!(online(&network.receive(S, &ack)), 1);
    network.handle(S, Event::Address(2, [10, 0, 0, 7].into(), 8), |_| true);
    network.handle(9 * S, Event::Link(eth(2, false)), |_| true);
    let actions = network.handle(10 * S, Event::Link(eth(2, true)), |_| true);
    assert_eq!(online(&actions), 0, "not before somebody has answered");
    let ack = answer_to(&actions, 5);
    assert_eq!(online(&network.receive(10 * S, &ack)), 1);
    assert_eq!(online(&network.receive(11 * S, &ack)), 0);
}

/// The sequence number of the only netlink message among `actions` that is of this kind.
fn asked(actions: &[Action], kind: u16) -> Option<u32> {
    let found: Vec<u32> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Netlink(bytes) if bytes[4..6] == kind.to_ne_bytes() => {
                Some(u32::from_ne_bytes(bytes[8..12].try_into().unwrap()))
            }
            _ => None,
        })
        .collect();
    assert!(found.len() < 2, "{actions:?}");
    found.first().copied()
}

const SET_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;

#[test]
fn after_a_loss_everything_is_looked_at_again() {
    let mut network = network_of(Settings::Dhcp);
    let first = asked(&network.start(), GET_LINK).unwrap();
    network.handle(S, Event::Link(eth(2, true)), |_| true);
    let actions = network.handle(S, Event::Listed(first), |_| true);
    assert!(asked(&actions, GET_ADDRESS).is_some(), "{actions:?}");
    network.handle(S, Event::Address(2, [10, 0, 0, 2].into(), 8), |_| true);

    // Announcements were lost: an address went, the interface is still there.
    let again = asked(&network.start(), GET_LINK).unwrap();
    network.handle(2 * S, Event::Link(eth(2, true)), |_| true);
    assert_eq!(network.handle(2 * S, Event::Listed(first), |_| true), []);
    let actions = network.handle(2 * S, Event::Listed(again), |_| true);
    assert!(asked(&actions, GET_ADDRESS).is_some(), "{actions:?}");
    assert!(network.addresses().is_empty());

    // Lost once more: now the interface has gone, and another one has come.
    let again = asked(&network.start(), GET_LINK).unwrap();
    assert_eq!(
        network.handle(3 * S, Event::Link(eth(4, true)), |_| true),
        []
    );
    let actions = network.handle(3 * S, Event::Listed(again), |_| true);
    assert!(actions.contains(&Action::CloseDhcp), "{actions:?}");
    assert!(asked(&actions, GET_LINK).is_some(), "{actions:?}");
    let actions = network.handle(3 * S, Event::Link(eth(4, true)), |_| true);
    assert!(actions.contains(&Action::OpenDhcp("eth4".into())));
}

#[test]
fn a_list_that_is_refused_is_asked_for_again() {
    let mut network = network_of(Settings::Dhcp);
    let first = asked(&network.start(), GET_LINK).unwrap();
    network.handle(S, Event::Refused(first, 16), |_| true);
    assert_eq!(network.deadline(), Some(2 * S));
    assert_eq!(network.tick(S), []);
    assert!(asked(&network.tick(2 * S), GET_LINK).is_some());
    assert_eq!(network.deadline(), None);
}

#[test]
fn an_interface_that_cannot_be_switched_on_is_tried_again() {
    let mut network = network_of(fixed());
    let mut link = eth(2, false);
    link.up = false;
    let mut actions = network.handle(S, Event::Link(link.clone()), |_| true);
    let mut now = S;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let sequence = asked(&actions, SET_LINK).unwrap();
        network.handle(now, Event::Refused(sequence, 5), |_| true);
        let next = network.deadline().unwrap();
        waits.push((next - now).as_secs());
        now = next;
        actions = network.tick(now);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(network.deadline(), None, "no refusal, no other try");
    // Another setting that is refused is no reason to switch it on again.
    network.handle(now, Event::Refused(9_999, 5), |_| true);
    assert_eq!(network.deadline(), None);
}
