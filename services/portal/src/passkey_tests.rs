//! A device that signs for real, and all that it may say wrongly.

use super::*;
use crate::authenticator::{Device, PRESENT, VERIFIED};
use proptest::prelude::*;
use std::net::IpAddr;

const ORIGIN: &str = "https://roost.local";

fn site(host: &str) -> Site {
    Site::of(host).unwrap()
}

fn at(seconds: u64) -> Now {
    Now {
        powered_on: PoweredOn(seconds),
        wall: None,
    }
}

fn begin(known: &[Passkey]) -> Result<(Adding, Options), NotAdded> {
    let by = Authenticated::new(SignedInBy::Password);
    let name = Name::new("phone").unwrap();
    let now = PoweredOn(100);
    Adding::begin(by, name, site("roost.local"), "roost", known, [7; 16], now)
}

fn added(device: &mut Device) -> Passkey {
    let (adding, options) = begin(&[]).unwrap();
    let answer = device.create(&options, ORIGIN);
    adding.finish(&answer, at(101)).unwrap().1
}

fn asked() -> (Signing, Options) {
    Signing::begin(site("roost.local"), PoweredOn(200)).unwrap()
}

/// The answer of the device on a page of this origin.
fn signed(device: &mut Device, passkey: &Passkey, origin: &str) -> Result<Passkey, Refused> {
    let (signing, options) = asked();
    finish(signing, &device.get(&options, origin), passkey, 201)
}

fn finish(signing: Signing, answer: &str, passkey: &Passkey, now: u64) -> Result<Passkey, Refused> {
    let claim = Claim::parse(answer)?;
    let (passkey, answer) = signing.finish(&claim, passkey.clone(), at(now)).kept();
    answer.map(|by| {
        assert_eq!(by.by(), SignedInBy::Passkey);
        passkey
    })
}

#[test]
fn only_names_have_passkeys() {
    let host = |text: &str| Site::of(text).map(|site| site.host().to_owned());
    for (text, name) in [
        ("roost.local", "roost.local"),
        ("Roost.Local:443", "roost.local"),
        ("roost.local:8443", "roost.local"),
        ("roost", "roost"),
        ("localhost:1", "localhost"),
    ] {
        assert_eq!(host(text).as_deref(), Some(name), "{text}");
    }
    for text in [
        "192.0.2.5",
        "192.0.2.5:8443",
        "[2001:db8::5]",
        "[2001:db8::5]:443",
        "0x7f.1",
        "2130706433",
        "",
        ":443",
        "a b",
        "roost.local/",
        "roost.local/a",
        "x@roost.local",
        "roost.local?",
        "röost.local",
        "roost.local:0443",
        "roost.local:99999",
    ] {
        assert_eq!(host(text), None, "{text}");
    }
}

#[test]
fn a_passkey_is_made_and_signs_in() {
    let mut device = Device::new(1);
    let passkey = added(&mut device);
    assert_eq!((&*passkey.name, &*passkey.host), ("phone", "roost.local"));
    assert_eq!(passkey.used, None);
    let passkey = signed(&mut device, &passkey, ORIGIN).unwrap();
    assert_eq!(passkey.used, Some(at(201)));
    // What is kept comes back.
    let kept = serde_json::to_string(&passkey).unwrap();
    let back = serde_json::from_str(&kept).unwrap();
    signed(&mut device, &back, ORIGIN).unwrap();
    // A port is a part of the origin and none of the name.
    let (signing, options) = Signing::begin(site("roost.local:8443"), PoweredOn(200)).unwrap();
    let answer = device.get(&options, "https://roost.local:8443");
    finish(signing, &answer, &passkey, 201).unwrap();
}

#[test]
fn browsers_are_asked_for_this() {
    let redacted = |options: &str| {
        let mut options: serde_json::Value = serde_json::from_str(options).unwrap();
        let challenge = options["publicKey"]["challenge"].take();
        assert_eq!(challenge.as_str().unwrap().len(), 43, "32 random bytes");
        serde_json::to_string_pretty(&options).unwrap()
    };
    let here = added(&mut Device::new(1));
    let there = Passkey {
        host: "other.local".into(),
        ..added(&mut Device::new(2))
    };
    let (_, create) = begin(&[here, there]).unwrap();
    let (_, get) = asked();
    assert_ne!(get, asked().1, "a challenge of its own each time");
    insta::assert_snapshot!(format!("{}\n{}", redacted(&create), redacted(&get)));
}

#[test]
fn another_page_gets_no_passkey_and_cannot_use_one() {
    let passkey = added(&mut Device::new(1));
    for origin in [
        "https://evil.example",
        "http://roost.local",
        "https://roost.local:8443",
        "https://www.roost.local",
        "https://roost.local.evil.example",
        "https://local",
        "https://192.0.2.5",
        "null",
        "",
    ] {
        let (adding, options) = begin(&[]).unwrap();
        let answer = Device::new(1).create(&options, origin);
        let added = adding.finish(&answer, at(101)).unwrap_err();
        assert!(
            matches!(added, NotAdded::OtherSite | NotAdded::Unusable),
            "{origin}"
        );
        let mut device = Device::new(1);
        device.user = Some("BwcHBwcHBwcHBwcHBwcHBw".into());
        signed(&mut device, &passkey, ORIGIN).unwrap();
        let refused = signed(&mut device, &passkey, origin).unwrap_err();
        assert!(
            matches!(refused, Refused::OtherSite | Refused::Wrong),
            "{origin}"
        );
    }
}

#[test]
fn another_relying_party_is_refused() {
    let mut device = Device::new(1);
    device.rp_id = Some("evil.example".into());
    let (adding, options) = begin(&[]).unwrap();
    let answer = device.create(&options, ORIGIN);
    let refused = adding.finish(&answer, at(101)).unwrap_err();
    assert_eq!(refused, NotAdded::OtherSite);
    device.rp_id = None;
    let passkey = added(&mut device);
    for other in ["evil.example", "local", "roost"] {
        device.rp_id = Some(other.into());
        let refused = signed(&mut device, &passkey, ORIGIN).unwrap_err();
        assert_eq!(refused, Refused::OtherSite, "{other}");
    }
}

/// The browser would not do it; the box does not count on that.
#[test]
fn a_passkey_is_of_one_name() {
    let mut device = Device::new(1);
    let passkey = added(&mut device);
    let (signing, options) = Signing::begin(site("roost-2.local"), PoweredOn(200)).unwrap();
    let answer = device.get(&options, "https://roost-2.local");
    let refused = finish(signing, &answer, &passkey, 201).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "this passkey signs in at roost.local only"
    );
}

#[test]
fn a_challenge_is_answered_once_and_soon() {
    let mut device = Device::new(1);
    let (adding, options) = begin(&[]).unwrap();
    let made = device.create(&options, ORIGIN);
    assert!(adding.finish(&made, at(219)).is_ok());
    // To another challenge, and too late.
    let (adding, _) = begin(&[]).unwrap();
    assert_eq!(adding.finish(&made, at(101)).unwrap_err(), NotAdded::Late);
    let (adding, options) = begin(&[]).unwrap();
    let made = device.create(&options, ORIGIN);
    assert_eq!(adding.finish(&made, at(220)).unwrap_err(), NotAdded::Late);

    let passkey = added(&mut device);
    let (signing, options) = asked();
    let answer = device.get(&options, ORIGIN);
    let passkey = finish(signing, &answer, &passkey, 319).unwrap();
    let (other, _) = asked();
    assert_eq!(
        finish(other, &answer, &passkey, 201).unwrap_err(),
        Refused::Late
    );
    let (signing, options) = asked();
    let answer = device.get(&options, ORIGIN);
    assert_eq!(
        finish(signing, &answer, &passkey, 320).unwrap_err(),
        Refused::Late
    );
}

#[test]
fn the_device_must_have_looked_who_is_there() {
    for flags in [0, PRESENT, VERIFIED] {
        let mut device = Device::new(1);
        device.flags = flags;
        let (adding, options) = begin(&[]).unwrap();
        let answer = device.create(&options, ORIGIN);
        let refused = adding.finish(&answer, at(101)).unwrap_err();
        assert_eq!(refused, NotAdded::NotVerified, "{flags}");
        device.flags = PRESENT | VERIFIED;
        let passkey = added(&mut device);
        device.flags = flags;
        let refused = signed(&mut device, &passkey, ORIGIN).unwrap_err();
        assert_eq!(refused, Refused::NotVerified, "{flags}");
    }
}

#[test]
fn a_counter_that_goes_back_is_a_copy() {
    let mut device = Device::new(1);
    device.counter = 5;
    let mut passkey = added(&mut device);
    for (counter, right) in [
        (6, true),
        (6, false),
        (5, false),
        (0, false),
        (9, true),
        (8, false),
        (u32::MAX, true),
        (0, false),
    ] {
        device.counter = counter;
        match signed(&mut device, &passkey, ORIGIN) {
            Ok(used) => {
                assert!(right, "{counter}");
                passkey = used;
            }
            Err(refused) => {
                assert_eq!((refused, right), (Refused::Copied, false), "{counter}");
            }
        }
    }
    // Devices that share passkeys do not count.
    let mut device = Device::new(2);
    let passkey = added(&mut device);
    let passkey = signed(&mut device, &passkey, ORIGIN).unwrap();
    signed(&mut device, &passkey, ORIGIN).unwrap();
}

#[test]
fn it_must_be_the_owners_and_signed_with_its_key() {
    let mut device = Device::new(1);
    let passkey = added(&mut device);
    let owner = device.user.clone();
    for user in [
        None,
        Some("AAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        Some("AA".into()),
    ] {
        device.user = user;
        let refused = signed(&mut device, &passkey, ORIGIN).unwrap_err();
        assert_eq!(refused, Refused::Wrong);
    }
    // Another device says that it is this one.
    let mut thief = Device::new(2);
    thief.user.clone_from(&owner);
    thief.id.clone_from(&device.id);
    let refused = signed(&mut thief, &passkey, ORIGIN).unwrap_err();
    assert_eq!(refused, Refused::Wrong);
    // No answer is taken for another passkey than the one that it names.
    let mut other = Device::new(3);
    other.user = owner;
    let refused = signed(&mut other, &passkey, ORIGIN).unwrap_err();
    assert_eq!(refused, Refused::Wrong);
    device.user = other.user;
    signed(&mut device, &passkey, ORIGIN).unwrap();
}

#[test]
fn all_passkeys_of_a_box_are_of_one_owner_and_there_are_not_too_many() {
    let mut first = Device::new(1);
    let passkey = added(&mut first);
    let by = Authenticated::new(SignedInBy::Password);
    let name = Name::new("key").unwrap();
    let known = [passkey.clone()];
    let here = site("roost.local");
    let (_, options) =
        Adding::begin(by, name, here, "roost", &known, [9; 16], PoweredOn(0)).unwrap();
    let mut second = Device::new(2);
    second.create(&options, ORIGIN);
    assert_eq!(first.user, second.user);
    let full = vec![passkey; MAX_PASSKEYS];
    assert_eq!(begin(&full).unwrap_err(), NotAdded::TooMany);
    begin(&full[1..]).unwrap();
}

#[test]
fn names_can_be_read() {
    assert_eq!(Name::new(" my phone ").unwrap().0, "my phone");
    for bad in ["", "  ", "a\nb", &"x".repeat(MAX_NAME + 1)] {
        assert_eq!(Name::new(bad).unwrap_err(), NotAdded::Name, "{bad:?}");
    }
}

#[test]
fn what_waits_is_taken_once_and_a_stranger_ends_only_their_own() {
    let token = |n: u16| {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        SecretToken::from_random(bytes)
    };
    let network = |n: u8| Network::from(IpAddr::from([192, 168, 1, n]));
    let signing = |seconds| {
        let (signing, _) = Signing::begin(site("roost.local"), PoweredOn(seconds)).unwrap();
        signing
    };
    let mut waiting = Waiting::default();
    waiting.sign(token(0).hash(), network(1), signing(10));
    for n in 1..1000 {
        waiting.sign(token(n).hash(), network(2), signing(10));
    }
    assert_eq!(waiting.signing.len(), MAX_SIGNING);
    assert!(waiting.take_signing(&token(1)).is_none(), "the oldest went");
    assert!(waiting.take_signing(&token(999)).is_some());
    assert!(waiting.take_signing(&token(999)).is_none());
    assert!(waiting.take_signing(&token(0)).is_some());
    // What is over makes room.
    waiting.sign(token(1000).hash(), network(1), signing(130));
    assert_eq!(waiting.signing.len(), 1);

    let mut add = |session| waiting.add(SessionId(session), begin(&[]).unwrap().0);
    (0..40).for_each(&mut add);
    add(39);
    assert_eq!(waiting.adding.len(), MAX_SESSIONS);
    assert!(waiting.take_adding(SessionId(0)).is_none());
    assert!(waiting.take_adding(SessionId(39)).is_some());
    assert!(waiting.take_adding(SessionId(39)).is_none());
}

#[test]
fn refusals_are_sentences() {
    let adding = [
        NotAdded::Name,
        NotAdded::NoName,
        NotAdded::Late,
        NotAdded::Twice,
        NotAdded::TooMany,
        NotAdded::OtherSite,
        NotAdded::NotVerified,
        NotAdded::Unusable,
    ];
    let signing = [
        Refused::Late,
        Refused::Unknown,
        Refused::OtherName("roost.local".into()),
        Refused::OtherSite,
        Refused::NotVerified,
        Refused::Copied,
        Refused::Wrong,
    ];
    let adding = adding.iter().map(ToString::to_string);
    let all: Vec<String> = adding
        .chain(signing.iter().map(ToString::to_string))
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_sent_breaks_the_readers(text: String) {
        prop_assert!(Claim::parse(&text).is_err());
        let (adding, _) = begin(&[]).unwrap();
        prop_assert!(adding.finish(&text, at(101)).is_err());
        let _ = Site::of(&text);
        let _ = PasskeyId::parse(&text);
    }

    /// One letter of an answer is another: it is refused, or says the same as before.
    #[test]
    fn a_changed_answer_is_not_taken(at_letter: prop::sample::Index, letter in "[ -~]") {
        let mut device = Device::new(1);
        let passkey = added(&mut device);
        let (signing, options) = asked();
        let answer = device.get(&options, ORIGIN);
        let at_letter = at_letter.index(answer.len());
        let mut changed = answer.clone();
        changed.replace_range(at_letter..=at_letter, &letter);
        let field = |name: &str| {
            let value = |text: &str| {
                let all: serde_json::Value = serde_json::from_str(text).ok()?;
                Some(all["response"][name].clone())
            };
            value(&changed) == value(&answer)
        };
        let same = ["authenticatorData", "clientDataJSON", "signature", "userHandle"].map(field);
        if same != [true; 4] {
            prop_assert!(finish(signing, &changed, &passkey, 201).is_err(), "{}", changed);
        }
    }
}
