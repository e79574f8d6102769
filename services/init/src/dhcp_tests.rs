//! Messages as they are on the wire.

use super::*;
use proptest::prelude::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

fn client() -> Client {
    Client {
        id: 0x0102_0304,
        mac: MAC,
        name: "roost".into(),
        seconds: 3,
    }
}

/// A server's message of `kind` with these options.
pub(crate) fn answer(
    client: &Client,
    kind: u8,
    address: [u8; 4],
    options: &[(u8, &[u8])],
) -> Vec<u8> {
    let mut out = vec![0; 236];
    out[0] = 2;
    out[4..8].copy_from_slice(&client.id.to_be_bytes());
    out[16..20].copy_from_slice(&address);
    out[28..34].copy_from_slice(&client.mac);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[53, 1, kind]);
    for (code, value) in options {
        out.extend_from_slice(&[*code, value.len() as u8]);
        out.extend_from_slice(value);
    }
    out.push(255);
    out
}

const USUAL: [(u8, &[u8]); 5] = [
    (1, &[255, 255, 255, 0]),
    (3, &[192, 168, 1, 1]),
    (6, &[192, 168, 1, 1, 9, 9, 9, 9]),
    (51, &[0, 0, 0x0e, 0x10]),
    (54, &[192, 168, 1, 1]),
];

#[test]
fn discover_on_the_wire() {
    let bytes = write(&client(), Ask::Discover);
    assert_eq!(bytes.len(), 300);
    assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 3, 0x80, 0]);
    assert_eq!(bytes[28..34], MAC);
    let options: Vec<_> = Options(&bytes[240..]).collect();
    let name: &[u8] = b"roost";
    assert_eq!(options[0], (53, &[1][..]));
    assert!(options.contains(&(12, name)));
}

#[test]
fn renewing_carries_our_address() {
    let bytes = write(
        &client(),
        Ask::Extend {
            address: Ipv4Addr::new(10, 0, 2, 15),
        },
    );
    assert_eq!(
        bytes[10..16],
        [0, 0, 10, 0, 2, 15],
        "no broadcast flag, ciaddr set"
    );
    assert!(
        !Options(&bytes[240..]).any(|(code, _)| code == 50 || code == 54),
        "RFC 2131 section 4.3.2"
    );
}

#[test]
fn an_ack_is_read() {
    let bytes = answer(&client(), 5, [192, 168, 1, 7], &USUAL);
    let Some(Answer::Ack(grant)) = read(&client(), &bytes) else {
        panic!()
    };
    assert_eq!(grant.address, Ipv4Addr::new(192, 168, 1, 7));
    assert_eq!(
        (grant.prefix, grant.lease_s, grant.renew_s),
        (24, 3600, None)
    );
    assert_eq!(grant.dns.len(), 2);
}

#[test]
fn other_peoples_messages_are_ignored() {
    let bytes = answer(&client(), 5, [192, 168, 1, 7], &USUAL);
    let mut other = client();
    other.id = 9;
    assert_eq!(read(&other, &bytes), None);
    let mut other = client();
    other.mac[5] = 9;
    assert_eq!(read(&other, &bytes), None);
    let mut request = bytes.clone();
    request[0] = 1;
    assert_eq!(read(&client(), &request), None);
    assert_eq!(read(&client(), &bytes[..239]), None);
}

#[test]
fn unusable_grants_are_ignored() {
    for address in [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1]] {
        assert_eq!(
            read(&client(), &answer(&client(), 5, address, &USUAL)),
            None,
            "{address:?}"
        );
    }
    assert_eq!(
        read(&client(), &answer(&client(), 5, [10, 0, 0, 2], &USUAL[..3])),
        None,
        "no lease time"
    );
    assert_eq!(
        read(&client(), &answer(&client(), 6, [0; 4], &[])),
        Some(Answer::Nak)
    );
}

#[test]
fn a_hole_in_the_mask_is_no_mask() {
    assert_eq!(prefix_of(&[255, 0, 255, 0]), None);
    assert_eq!(prefix_of(&[255, 255, 255, 255]), Some(32));
    assert_eq!(prefix_of(&[0; 4]), None);
}

#[test]
fn a_domain_cannot_smuggle_lines() {
    assert_eq!(domain(b"home.arpa\0").as_deref(), Some("home.arpa"));
    assert_eq!(domain(b"x\nnameserver 6.6.6.6"), None);
    assert_eq!(domain(b""), None);
}

proptest! {
    #[test]
    fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&client(), &bytes);
    }

    #[test]
    fn junk_options_never_panic(options in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..9) {
        let mut bytes = answer(&client(), kind, [10, 0, 0, 9], &[]);
        bytes.pop();
        bytes.extend(options);
        if let Some(Answer::Offer(grant) | Answer::Ack(grant)) = read(&client(), &bytes) {
            prop_assert!((1..=32).contains(&grant.prefix) && grant.lease_s > 0);
            prop_assert!(grant.dns.len() <= MAX_ADDRESSES);
        }
    }

    #[test]
    fn any_name_fits(name in "[a-z]{0,300}") {
        let bytes = write(&Client { name, ..client() }, Ask::Discover);
        prop_assert!(Options(&bytes[240..]).any(|(code, _)| code == 55), "options after the name are there");
    }
}
