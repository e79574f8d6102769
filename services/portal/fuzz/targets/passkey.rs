//! What a browser answers when it is asked for a passkey, any bytes, to a challenge that was just made:
//! never a panic; no answer signs in without the passkey's key; what is added can be kept and comes
//! back. The first byte says which part of the answer the others are; the rest of it is right, so
//! that the readers of CBOR, keys and signatures are reached.
#![no_main]

#[path = "../../tests/web/authenticator.rs"]
#[allow(dead_code, reason = "the tests of passkeys use the rest")]
mod authenticator;

use authenticator::Device;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use libfuzzer_sys::fuzz_target;
use roost_portal::code::Code;
use roost_portal::owner::Authenticated;
use roost_portal::pairing::Pairing;
use roost_portal::passkey::{Adding, Claim, Name, Options, Passkey, PasskeyId, Signing, Site};
use roost_portal::password::PasswordHash;
use roost_portal::time::{Now, PoweredOn};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::LazyLock;

const ORIGIN: &str = "https://roost.local";
const NOW: Now = Now {
    powered_on: PoweredOn(9),
    wall: None,
};
/// A hash is kept here, and none is computed.
const HASH: &str = "$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";

static KNOWN: LazyLock<(PasskeyId, Passkey)> = LazyLock::new(|| {
    let (adding, options) = adding();
    let answer = Device::new(1).create(&options, ORIGIN);
    adding.finish(&answer, NOW).expect("a device that is right")
});

/// By pairing, which needs no password to be hashed.
fn owner() -> Authenticated {
    let code = || Code::parse("K7Q2-M9XP").expect("a code");
    let from = [192, 168, 1, 7].into();
    let now = NOW.powered_on;
    let keep = |_: &_| Ok::<_, Infallible>(());
    let pairing = Pairing::begin(code(), now);
    let Ok((pairing, grant)) = pairing.enter("K7Q2-M9XP", from, [1; 32], now).keep(keep);
    let grant = grant.expect("the right code");
    let Ok((pairing, claimed)) = pairing.claim(&grant, now).keep(keep);
    claimed.expect("the same browser");
    let hash = PasswordHash::try_from(HASH.to_owned()).expect("a hash");
    let finished = pairing.finish(Some(&grant), hash, NOW);
    let Ok((_, by)) = finished.keep(|_| Ok::<_, Infallible>(()));
    by.expect("the right form")
}

fn site() -> Site {
    Site::of("roost.local").expect("a name")
}

fn adding() -> (Adding, Options) {
    let name = Name::new("phone").expect("a name");
    Adding::begin(owner(), name, site(), "roost", &[], [7; 16], NOW.powered_on).expect("room")
}

fn client_data(kind: &str, options: &str) -> String {
    let options: Value = serde_json::from_str(options).expect("JSON");
    let challenge = &options["publicKey"]["challenge"];
    BASE64.encode(json!({ "type": kind, "challenge": challenge, "origin": ORIGIN }).to_string())
}

fn add(answer: &str, adding: Adding) {
    if let Ok((_, passkey)) = adding.finish(answer, NOW) {
        let kept = serde_json::to_string(&passkey).expect("JSON");
        let back: Passkey = serde_json::from_str(&kept).expect("what was kept");
        assert_eq!(serde_json::to_string(&back).expect("JSON"), kept);
    }
}

fn sign_in(answer: &str, signing: Signing) {
    let Ok(claim) = Claim::parse(answer) else {
        return;
    };
    let decided = signing.finish(&claim, KNOWN.1.clone(), NOW);
    let Ok((_, answer)) = decided.keep(|_| Ok::<_, Infallible>(()));
    assert!(answer.is_err(), "nobody has the key");
}

fn registration(object: &[u8], client_data: String) -> String {
    let id = BASE64.encode([1; 20]);
    json!({
        "id": id, "rawId": id, "type": "public-key",
        "response": { "attestationObject": BASE64.encode(object), "clientDataJSON": client_data },
    })
    .to_string()
}

/// What the passkey's device answers, with one part replaced by another.
fn assertion(options: &str, part: &str, bytes: &[u8]) -> Option<String> {
    let mut device = Device::new(1);
    device.user = Some(BASE64.encode([7; 16]));
    let answer = device.get(options, ORIGIN);
    let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
    let right = answer["response"][part].take();
    answer["response"][part] = BASE64.encode(bytes).into();
    (answer["response"][part] != right).then(|| answer.to_string())
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let signing = || Signing::begin(site(), NOW.powered_on).expect("a name");
    match kind % 7 {
        0 => add(&text, adding().0),
        1 => {
            let (adding, options) = adding();
            let client_data = client_data("webauthn.create", &options);
            add(&registration(bytes, client_data), adding);
        }
        2 => add(&registration(b"\xa0", BASE64.encode(bytes)), adding().0),
        3 => sign_in(&text, signing().0),
        4 | 5 => {
            let (signing, options) = signing();
            let part = ["authenticatorData", "signature"][usize::from(kind % 7 == 5)];
            if let Some(answer) = assertion(&options, part, bytes) {
                sign_in(&answer, signing);
            }
        }
        _ => {
            if let Some(site) = Site::of(&text) {
                assert!(text.to_ascii_lowercase().starts_with(site.host()));
                assert!(site.host().parse::<std::net::IpAddr>().is_err());
            }
        }
    }
});
