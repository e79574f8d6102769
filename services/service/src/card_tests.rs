//! Cards there and back, and files that are none.

use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn full() -> Card {
    Card {
        format: FORMAT,
        name: Some("attic".into()),
        network: Some(Network::Static {
            address: Ipv4Addr::new(192, 168, 1, 5),
            prefix: 24,
            gateway: Ipv4Addr::new(192, 168, 1, 1),
            dns: vec![Ipv4Addr::new(192, 168, 1, 1).into()],
            address6: None,
        }),
        pairing: Some(Pairing {
            code: "7QXM4KPB".into(),
        }),
        identity: Some(Identity {
            key_pem: "-----BEGIN PRIVATE KEY-----\n…".into(),
            certificate_pem: "-----BEGIN CERTIFICATE-----\n…".into(),
        }),
        computer: Some(Computer {
            name: "desk".into(),
            key: "0f".repeat(32),
        }),
    }
}

#[test]
fn the_placeholder_is_no_card() {
    let bytes = placeholder();
    assert_eq!(parse(&bytes), Ok(None));
    assert!(bytes.starts_with(b"roost card 2 ") && bytes.ends_with(b" \n"));
    assert_eq!(parse(&placeholder_of(1)), Ok(None));
    assert!(
        bytes.iter().all(|b| *b != 0),
        "a zero block would be left out of an image"
    );
}

#[test]
fn what_is_no_card_says_why() {
    let whole = render(&full()).unwrap();
    assert_eq!(parse(&whole[..SIZE - 1]), Err(CardError::Length(SIZE - 1)));
    let mut other = whole;
    other[0] = b'R';
    assert_eq!(parse(&other), Err(CardError::Magic));
    let with = |json: &str| {
        let mut bytes = placeholder();
        bytes[32..32 + json.len()].copy_from_slice(json.as_bytes());
        parse(&bytes)
    };
    assert_eq!(with("{\"format\": 3}"), Err(CardError::Format(3)));
    assert_eq!(with("{\"format\": 0}"), Err(CardError::Format(0)));
    assert!(matches!(with("{"), Err(CardError::Json(1, _))));
    assert!(matches!(
        with("{\"format\": 1, \"colour\": \"red\"}"),
        Err(CardError::Json(..))
    ));
    assert!(matches!(
        with("{\"format\": 1} x"),
        Err(CardError::Json(..))
    ));
    let deep = "[".repeat(15_000);
    assert!(matches!(with(&deep), Err(CardError::Json(..))));
    assert_eq!(
        with("{\"format\": 1, \"name\": \"../etc\"}"),
        Err(CardError::Value("name"))
    );
    assert_eq!(
        with("{\"format\": 1, \"pairing\": {\"code\": \"7qxm-4kpb\"}}"),
        Err(CardError::Value("pairing code"))
    );
    assert_eq!(with("{\"format\":1}").unwrap().unwrap().name, None);
}

/// The bytes that an older box knows: with none but the fields of its own time.
#[test]
fn a_card_without_a_computer_is_one_that_older_boxes_read() {
    let bytes = render(&full().alone()).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(
        text.starts_with("roost card 1 set by roost flash\n{\"format\":1,"),
        "{text}"
    );
    assert!(!text.contains("computer"), "{text}");
    assert_eq!(parse(&bytes), Ok(Some(full().alone())));
    let bytes = render(&full()).unwrap();
    assert!(bytes.starts_with(b"roost card 2 set by roost flash\n{\"format\":2,"));
    assert_eq!(
        (format_of(&bytes), format_of(b"roost card 3 ")),
        (Some(2), None)
    );
}

#[test]
fn what_cannot_be_is_not_written() {
    let refused = |change: fn(&mut Card)| {
        let mut card = full();
        change(&mut card);
        render(&card).unwrap_err().to_string()
    };
    let network = refused(|card| {
        let Some(Network::Static { prefix, .. }) = &mut card.network else {
            unreachable!()
        };
        *prefix = 33;
    });
    assert_eq!(network, "the network in it cannot be used");
    assert!(refused(|card| card.name = Some("a.b".into())).contains("name"));
    assert!(refused(|card| card.format = 0).contains("format"));
    assert!(refused(|card| card.format = 1).contains("computer"));
    assert!(
        refused(|card| card.computer.as_mut().unwrap().name = "a\u{1b}b".into())
            .contains("computer")
    );
    assert!(
        refused(|card| card.computer.as_mut().unwrap().name = "x".repeat(65)).contains("computer")
    );
    assert!(
        refused(|card| card.computer.as_mut().unwrap().key = "0F".repeat(32)).contains("computer")
    );
    assert!(refused(|card| card.computer.as_mut().unwrap().key.clear()).contains("computer"));
    let long = refused(|card| {
        card.identity.as_mut().unwrap().key_pem += &"x".repeat(SIZE);
    });
    assert!(long.contains("the file has 16384"), "{long}");
}

#[test]
fn secrets_are_not_in_debug_texts_or_errors() {
    let text = format!("{:?}", full());
    assert!(
        !text.contains("7QXM4KPB") && !text.contains("BEGIN"),
        "{text}"
    );
    let json = "{\"format\": 1, \"pairing\": {\"code\": 12345678}}";
    let mut bytes = placeholder();
    bytes[32..32 + json.len()].copy_from_slice(json.as_bytes());
    assert!(!parse(&bytes).unwrap_err().to_string().contains("12345678"));
}

#[test]
fn a_code_is_understood_however_it_is_typed() {
    assert_eq!(code([0; 5]), "00000000");
    assert_eq!(code([0xff; 5]), "ZZZZZZZZ");
    assert_eq!(code([0, 0, 0, 0, 1]), "00000001");
    assert_eq!(display_code("7QXM4KPB"), "7QXM-4KPB");
    for typed in [
        "7QXM-4KPB",
        "7qxm4kpb",
        " 7qxm 4kpb\n",
        "7QXM—4KPB",
        "7-Q-X-M-4-K-P-B",
    ] {
        assert_eq!(
            normalise_code(typed).as_deref(),
            Some("7QXM4KPB"),
            "{typed}"
        );
    }
    assert_eq!(normalise_code("oOiI-lL01").as_deref(), Some("00111101"));
    for typed in [
        "",
        "7QXM-4KP",
        "7QXM-4KPB0",
        "7QXM_4KPB",
        "UUUUUUUU",
        "7QXM4KPé",
    ] {
        assert_eq!(normalise_code(typed), None, "{typed}");
    }
}

fn network() -> impl Strategy<Value = Network> {
    let address = any::<u32>().prop_map(Ipv4Addr::from);
    let dns = prop::collection::vec(any::<u32>().prop_map(|n| IpAddr::V4(n.into())), 0..=8);
    let address6 = prop::option::of((any::<u128>().prop_map(Ipv6Addr::from), 1..=128_u8));
    prop_oneof![
        Just(Network::Dhcp),
        (address.clone(), 1..=32_u8, address, dns, address6).prop_map(
            |(address, prefix, gateway, dns, address6)| Network::Static {
                address,
                prefix,
                gateway,
                dns,
                address6
            }
        )
    ]
}

prop_compose! {
    fn card()(
        name in prop::option::of("[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"),
        network in prop::option::of(network()),
        code in prop::option::of(any::<[u8; 5]>()),
        identity in prop::option::of("\\PC{0,1000}"),
        computer in prop::option::of(("[a-z]([\\PC&&[^\\p{Z}]]{0,10})", any::<[u8; 32]>())),
    ) -> Card {
        Card {
            format: if computer.is_some() { FORMAT } else { FORMAT_ALONE },
            name,
            network,
            pairing: code.map(|bytes| Pairing { code: super::code(bytes) }),
            identity: identity.map(|text| Identity {
                key_pem: format!("-----BEGIN PRIVATE KEY-----\n{text}"),
                certificate_pem: format!("-----BEGIN CERTIFICATE-----\n{text}"),
            }),
            computer: computer.map(|(name, key): (String, [u8; 32])| Computer {
                name,
                key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
            }),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(card in card()) {
        let bytes = render(&card).unwrap();
        prop_assert_eq!(format_of(&bytes), Some(card.format));
        prop_assert!(bytes.ends_with(b"\n"));
        prop_assert!(!bytes.contains(&0));
        prop_assert_eq!(parse(&bytes), Ok(Some(card)));
    }

    #[test]
    fn a_damaged_card_never_panics(
        card in card(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = render(&card).unwrap();
        for (at, byte) in damage {
            bytes[at.index(SIZE)] = byte;
        }
        // Whatever comes out can be written again.
        if let Ok(Some(card)) = parse(&bytes) {
            render(&card).unwrap();
        }
    }

    #[test]
    fn junk_never_panics(junk: Vec<u8>, typed: String) {
        prop_assert!(parse(&junk).is_err());
        let mut bytes = placeholder();
        let end = (FIRST_LINE + junk.len()).min(SIZE);
        bytes[FIRST_LINE..end].copy_from_slice(&junk[..end - FIRST_LINE]);
        let _ = parse(&bytes);
        if let Some(code) = normalise_code(&typed) {
            prop_assert_eq!(normalise_code(&display_code(&code)), Some(code));
        }
    }

    #[test]
    fn every_code_is_its_own_normal_form(bytes: [u8; 5]) {
        let code = code(bytes);
        prop_assert_eq!(normalise_code(&code), Some(code.clone()));
        prop_assert_eq!(normalise_code(&display_code(&code).to_lowercase()), Some(code));
    }
}
