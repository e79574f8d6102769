//! A lease's life, and that no server can hurry the client.

use super::*;
use crate::dhcp::tests::answer;
use proptest::prelude::*;

const S: Duration = Duration::from_secs(1);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn options(lease_s: u32) -> Vec<(u8, Vec<u8>)> {
    vec![
        (1, vec![255, 255, 255, 0]),
        (51, lease_s.to_be_bytes().to_vec()),
        (54, vec![192, 168, 1, 1]),
    ]
}

fn from_server(lease: &Lease, kind: u8, host: u8, lease_s: u32) -> Vec<u8> {
    let options = options(lease_s);
    let options: Vec<(u8, &[u8])> = options
        .iter()
        .map(|(code, value)| (*code, &value[..]))
        .collect();
    answer(&lease.client, kind, [192, 168, 1, host], &options)
}

fn bound(lease_s: u32) -> Lease {
    let mut lease = Lease::new(MAC, "roost", 77, S);
    assert!(matches!(
        &lease.tick(S)[..],
        [Action::Send(Ipv4Addr::BROADCAST, _)]
    ));
    let offer = from_server(&lease, 2, 7, lease_s);
    assert!(matches!(
        &lease.receive(S, &offer)[..],
        [Action::Send(Ipv4Addr::BROADCAST, _)]
    ));
    let ack = from_server(&lease, 5, 7, lease_s);
    assert!(matches!(&lease.receive(S, &ack)[..], [Action::Bind(_)]));
    lease
}

#[test]
fn silence_is_met_with_patience() {
    let mut lease = Lease::new(MAC, "roost", 77, S);
    let mut now = S;
    let mut waits = Vec::new();
    for _ in 0..7 {
        assert_eq!(lease.tick(now).len(), 1);
        assert_eq!(lease.tick(now), [], "not before the next date");
        waits.push((lease.deadline() - now).as_secs());
        now = lease.deadline();
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 32, 32]);
}

#[test]
fn renewed_in_time_with_the_server() {
    let mut lease = bound(3600);
    assert_eq!(lease.deadline(), 1801 * S);
    let sent = lease.tick(1801 * S);
    assert!(
        matches!(&sent[..], [Action::Send(to, _)] if *to == Ipv4Addr::new(192, 168, 1, 1)),
        "{sent:?}"
    );
    let ack = from_server(&lease, 5, 7, 3600);
    assert!(matches!(
        &lease.receive(1802 * S, &ack)[..],
        [Action::Bind(_)]
    ));
    assert_eq!(lease.deadline(), 3602 * S);
}

#[test]
fn an_unheard_client_asks_everybody_and_then_lets_go() {
    let mut lease = bound(3600);
    let mut now = lease.deadline();
    let mut broadcasts = 0;
    let mut asked = 0;
    let lost = loop {
        let actions = lease.tick(now);
        if matches!(actions[0], Action::Unbind(_)) {
            break actions;
        }
        asked += 1;
        broadcasts += usize::from(matches!(actions[0], Action::Send(Ipv4Addr::BROADCAST, _)));
        assert!(lease.deadline() > now);
        now = lease.deadline();
    };
    assert_eq!(now, 3601 * S);
    assert_eq!(lost.len(), 2, "it searches at once");
    assert!(
        broadcasts > 1 && asked > broadcasts && asked < 20,
        "{asked} {broadcasts}"
    );
    assert_eq!(lease.grant(), None);
}

#[test]
fn a_nak_ends_the_lease() {
    let mut lease = bound(3600);
    let nak = answer(&lease.client, 6, [0; 4], &[]);
    assert_eq!(lease.receive(5 * S, &nak), [], "nobody asked");
    lease.link_is_back(6 * S);
    assert_eq!(
        lease.receive(6 * S, &nak),
        [],
        "an answer to something else"
    );
    lease.tick(6 * S);
    let nak = answer(&lease.client, 6, [0; 4], &[]);
    let actions = lease.receive(7 * S, &nak);
    assert!(
        matches!(&actions[..], [Action::Unbind(_), Action::Send(..)]),
        "{actions:?}"
    );
}

#[test]
fn a_new_address_replaces_the_old_one() {
    let mut lease = bound(3600);
    lease.link_is_back(6 * S);
    lease.tick(6 * S);
    let ack = from_server(&lease, 5, 9, 3600);
    let actions = lease.receive(7 * S, &ack);
    assert!(
        matches!(&actions[..], [Action::Unbind(old), Action::Bind(new)] if old.address != new.address)
    );
}

/// The kind and the requested address (option 50) of a message.
fn sent(actions: &[Action]) -> (u8, Option<&[u8]>) {
    let [Action::Send(Ipv4Addr::BROADCAST, bytes)] = actions else {
        panic!("{actions:?}")
    };
    let (mut kind, mut address) = (0, None);
    let mut options = &bytes[240..];
    while let [code @ 1..=254, length, rest @ ..] = options {
        let (value, rest) = rest.split_at(usize::from(*length));
        match code {
            53 => kind = value[0],
            50 => address = Some(value),
            54 => panic!("INIT-REBOOT names no server"),
            _ => {}
        }
        options = rest;
    }
    assert_eq!(bytes[12..16], [0; 4], "nor a client address");
    (kind, address)
}

#[test]
fn a_cable_that_comes_back_is_asked_over_until_somebody_answers() {
    let mut lease = bound(3600);
    lease.link_is_back(100 * S);
    let mut asked = Vec::new();
    for _ in 0..VERIFY_TRIES + 2 {
        let now = lease.deadline();
        let actions = lease.tick(now);
        let (kind, address) = sent(&actions);
        asked.push((now.as_secs() - 100, kind, address.map(<[u8]>::to_vec)));
    }
    let request = |at| (at, 3, Some(vec![192, 168, 1, 7]));
    let discover = |at| (at, 1, None);
    assert_eq!(
        asked,
        [
            request(0),
            request(2),
            request(6),
            request(14),
            discover(30),
            discover(32)
        ]
    );
    assert!(lease.grant().is_some(), "the lease is not over");
    // The cable is pulled and put back once more, and now the router is there.
    lease.link_is_back(140 * S);
    assert_eq!(sent(&lease.tick(140 * S)).0, 3);
    let ack = from_server(&lease, 5, 7, 3600);
    let actions = lease.receive(141 * S, &ack);
    assert!(matches!(&actions[..], [Action::Bind(_)]), "{actions:?}");
    assert_eq!(lease.deadline(), (141 + 1800) * S);
}

#[test]
fn an_address_is_kept_to_its_end_while_another_is_searched() {
    let searching = || {
        let mut lease = bound(600);
        lease.link_is_back(100 * S);
        while !matches!(lease.state, State::Searching { .. }) {
            let now = lease.deadline();
            lease.tick(now);
        }
        lease
    };
    let mut alone = searching();
    let lost = loop {
        let now = alone.deadline();
        let actions = alone.tick(now);
        if matches!(actions[0], Action::Unbind(_)) {
            break now;
        }
    };
    assert_eq!((lost, alone.grant()), (601 * S, None));

    let mut elsewhere = searching();
    let now = elsewhere.deadline();
    let offer = from_server(&elsewhere, 2, 9, 600);
    elsewhere.receive(now, &offer);
    let ack = from_server(&elsewhere, 5, 9, 600);
    let actions = elsewhere.receive(now, &ack);
    assert!(
        matches!(&actions[..], [Action::Unbind(old), Action::Bind(new)] if old.address != new.address),
        "{actions:?}"
    );
}

#[test]
fn an_offer_that_is_not_kept_is_dropped() {
    let mut lease = Lease::new(MAC, "roost", 77, S);
    lease.tick(S);
    let offer = from_server(&lease, 2, 7, 600);
    lease.receive(S, &offer);
    let id = lease.client.id;
    for _ in 0..CHOOSE_TRIES {
        let now = lease.deadline();
        assert_eq!(lease.tick(now).len(), 1);
    }
    assert!(matches!(lease.state, State::Searching { .. }));
    assert_ne!(lease.client.id, id);
}

proptest! {
    /// Whatever a server says, there are at most a few messages a minute.
    #[test]
    fn no_storm(times in proptest::collection::vec((0u8..8, 0u32.., 0u32..40), 1..60)) {
        let mut lease = Lease::new(MAC, "roost", 77, S);
        let mut now = S;
        let mut sent = 0;
        for (kind, lease_s, wait) in times {
            now += Duration::from_secs(wait.into());
            sent += lease.tick(now).iter().filter(|a| matches!(a, Action::Send(..))).count();
            prop_assert!(lease.deadline() > now, "a date in the past is a busy loop");
            if kind == 7 {
                lease.link_is_back(now);
                sent += lease.tick(now).iter().filter(|a| matches!(a, Action::Send(..))).count();
            }
            let holds = matches!(lease.state, State::Bound { .. } | State::Verifying { .. });
            prop_assert!(!holds || lease.held.is_some());
            let message = from_server(&lease, kind, 7, lease_s);
            sent += lease.receive(now, &message).iter().filter(|a| matches!(a, Action::Send(..))).count();
            prop_assert!(lease.deadline() > now);
        }
        prop_assert!(sent as u64 <= 4 + now.as_secs() * 2 + 60);
    }
}
