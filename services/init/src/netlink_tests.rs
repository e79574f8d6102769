//! Messages byte by byte, and junk.

use super::*;
use proptest::prelude::*;

#[test]
fn an_address_on_the_wire() {
    let bytes = add_address(1, 2, Ipv4Addr::new(10, 0, 2, 15).into(), 24, Some(3600));
    assert_eq!(u32_at(&bytes, 0) as usize, bytes.len());
    assert_eq!(u16_at(&bytes, 4), RTM_NEWADDR);
    assert_eq!(bytes[16..20], [AF_INET, 24, 0, 0]);
    let attributes: Vec<_> = Attributes(&bytes[24..])
        .map(|(kind, value)| (kind, value.to_vec()))
        .collect();
    assert_eq!(attributes[0], (2, vec![10, 0, 2, 15]));
    assert_eq!(attributes[2], (4, vec![10, 0, 2, 255]));
    assert_eq!(attributes[3].1.len(), 16);
}

#[test]
fn broadcast_addresses_of_odd_prefixes() {
    for (prefix, want) in [
        (0, Some([255; 4])),
        (8, Some([10, 255, 255, 255])),
        (31, None),
        (32, None),
    ] {
        let bytes = add_address(1, 2, Ipv4Addr::new(10, 0, 2, 15).into(), prefix, None);
        let broadcast = Attributes(&bytes[24..])
            .find(|(kind, _)| *kind == 4)
            .map(|(_, value)| value.to_vec());
        assert_eq!(broadcast, want.map(|b| b.to_vec()), "/{prefix}");
    }
}

#[test]
fn what_is_written_can_be_read() {
    let v4 = IpAddr::from([10, 0, 2, 15]);
    let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    let both = [
        add_address(1, 2, v4, 24, None),
        delete_address(2, 2, v6, 64),
    ]
    .concat();
    assert_eq!(
        read(&both),
        [Event::Address(2, v4, 24), Event::AddressGone(2, v6, 64)]
    );
}

#[test]
fn a_link_is_read() {
    let mut body = vec![0, 0];
    body.extend_from_slice(&ARPHRD_ETHER.to_ne_bytes());
    body.extend_from_slice(&2u32.to_ne_bytes());
    body.extend_from_slice(&(IFF_UP | IFF_LOWER_UP).to_ne_bytes());
    body.extend_from_slice(&[0; 4]);
    attribute(&mut body, 3, b"eth0\0");
    attribute(&mut body, 1, &[2, 0, 0, 0, 0, 1]);
    let link = Link {
        index: 2,
        name: "eth0".into(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        up: true,
        carrier: true,
    };
    assert_eq!(read(&finish(RTM_NEWLINK, 0, 0, &body)), [Event::Link(link)]);
}

#[test]
fn a_refusal_is_told_an_acknowledgement_is_not() {
    let refused = finish(NLMSG_ERROR, 0, 7, &(-17i32).to_ne_bytes());
    let done = finish(NLMSG_ERROR, 0, 8, &0i32.to_ne_bytes());
    assert_eq!(read(&[refused, done].concat()), [Event::Refused(7, 17)]);
    let listed = finish(NLMSG_DONE, 0, 9, &0i32.to_ne_bytes());
    let failed = finish(NLMSG_DONE, 0, 10, &(-4i32).to_ne_bytes());
    assert_eq!(
        read(&[listed, failed].concat()),
        [Event::Listed(9), Event::Refused(10, 4)]
    );
}

#[test]
fn addresses_of_small_scope_are_not_told() {
    let mut bytes = add_address(1, 2, [10, 0, 0, 1].into(), 8, None);
    bytes[19] = SCOPE_LINK;
    assert_eq!(read(&bytes), []);
}

proptest! {
    #[test]
    fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn junk_bodies_never_panic(
        kind in prop_oneof![Just(RTM_NEWLINK), Just(RTM_DELLINK), Just(RTM_NEWADDR), Just(NLMSG_ERROR), Just(NLMSG_DONE)],
        body in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let _ = read(&finish(kind, 0, 1, &body));
    }
}
