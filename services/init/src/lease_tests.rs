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
    lease.tick(6 * S);
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
    fn no_storm(times in proptest::collection::vec((0u8..7, 0u32.., 0u32..40), 1..60)) {
        let mut lease = Lease::new(MAC, "roost", 77, S);
        let mut now = S;
        let mut sent = 0;
        for (kind, lease_s, wait) in times {
            now += Duration::from_secs(wait.into());
            sent += lease.tick(now).iter().filter(|a| matches!(a, Action::Send(..))).count();
            prop_assert!(lease.deadline() > now, "a date in the past is a busy loop");
            let message = from_server(&lease, kind, 7, lease_s);
            sent += lease.receive(now, &message).iter().filter(|a| matches!(a, Action::Send(..))).count();
            prop_assert!(lease.deadline() > now);
        }
        prop_assert!(sent as u64 <= 4 + now.as_secs() * 2 + 60);
    }
}
