//! The program against Pebble and BIND: what an owner and the other services see.

mod world;

use instant_acme::{RevocationReason, RevocationRequest};
use roost_certificates::leaf::Leaf;
use roost_service::certificates::{Answer, Call, Certificate, MAIL, Role, State};
use rustls::pki_types::CertificateDer;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use world::{Options, World, ZONE, chosen, serve};

fn leaf(certificate: &Certificate) -> Leaf {
    Leaf::parse(&certificate.chain_pem).unwrap()
}

#[test]
fn certificates_come_though_many_nonces_are_refused() {
    let pebble = vec![("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "30")];
    let world = chosen(Options {
        pebble,
        ..Options::default()
    });
    let mail = world.wait(MAIL, "");
    assert_eq!(mail.names, [format!("mail.{ZONE}")]);
    serve(&mail);
    let pages = world.wait(ZONE, "");
    let names = ["autoconfig", "autodiscover", "mta-sts"].map(|n| format!("{n}.{ZONE}"));
    assert_eq!(pages.names, names);
    serve(&pages);

    world.until("challenges are taken out", |w| w.challenges().is_empty());
    let status = world.status();
    assert_eq!(status.summary, "All certificates are there and hold.");
    assert!(status.account.unwrap().starts_with("https://127.0.0.1:"));
    let keys = world.certificate_status(MAIL).tls_keys;
    assert_eq!(keys[0].sha256, leaf(&mail).key_sha256);
    assert_eq!(
        keys.iter().map(|k| k.role).collect::<Vec<_>>(),
        [Role::Current, Role::Next]
    );
    for file in std::fs::read_dir(world.path("data")).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
    }
    let shown = world.log("program");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn a_renewal_has_the_same_key() {
    let world = chosen(Options::default());
    let first = world.wait(MAIL, "");
    world.wait(ZONE, "");
    world.done(&Call::Renew { id: MAIL.into() });
    let second = world.wait(MAIL, &first.version);
    assert_ne!(first.serial, second.serial);
    assert_eq!(first.key_pem, second.key_pem);
    // The authority has taken the order as one that replaces the first, at once (RFC 9773, section 5).
    let orders = world.log("pebble").matches("POST /order-plz").count();
    assert_eq!(orders, 3);
    serve(&second);
    assert!(world.certificate_status(MAIL).failure.is_none());
}

#[test]
fn the_next_key_is_taken_once_its_hash_was_published_for_long() {
    let mut world = chosen(Options::default());
    let first = world.wait(MAIL, "");
    world.done(&Call::SwitchKey { id: MAIL.into() });
    let next = world.certificate_status(MAIL).tls_keys[1].sha256.clone();

    world.start_as("dns");
    let now = roost_certificates::now();
    let say = |sha256: &str, since| Call::Published {
        sha256: sha256.into(),
        since,
        ttl_s: 3600,
    };
    world.done(&say(&next, now - 7000));
    // A renewal before that has the old key.
    world.start_as("portal");
    world.done(&Call::Renew { id: MAIL.into() });
    let second = world.wait(MAIL, &first.version);
    assert_eq!(leaf(&second).key_sha256, leaf(&first).key_sha256);

    world.start_as("dns");
    world.done(&say(&next, now - 7201));
    assert!(matches!(world.ask(&say("00", now)), Answer::Refused { .. }));
    world.start_as("mail");
    let third = world.wait(MAIL, &second.version);
    assert_eq!(leaf(&third).key_sha256, next);
    serve(&third);
    let keys = world.certificate_status(MAIL).tls_keys;
    assert_eq!(keys[0].sha256, next);
    let old = &keys[2];
    assert_eq!(
        (old.role, &old.sha256),
        (Role::Previous, &leaf(&first).key_sha256)
    );
}

#[test]
fn the_authoritys_advice_is_followed() {
    let mut world = chosen(Options::default());
    let first = world.wait(MAIL, "");
    world.until("advice was asked for", |w| {
        let asked = std::fs::read_to_string(w.path("data/certificate-mail.json")).unwrap();
        asked.contains("\"ask_again\"")
    });
    let log = world.log("pebble");
    assert!(
        log.contains("renewalInfo/"),
        "this Pebble gives no advice: install 2.6 or later, of Debian trixie"
    );
    // Somebody revokes it elsewhere; Pebble then advises to renew at once.
    world.kill();
    let certificate = &CertificateDer::from(leaf(&first).der);
    let reason = Some(RevocationReason::KeyCompromise);
    world.as_account(async |account| {
        let request = RevocationRequest {
            certificate,
            reason,
        };
        account.revoke(&request).await.unwrap();
    });
    // As if it were asked for a day ago.
    change(&world, |kept| {
        kept["renewal"]["advice"] = serde_json::Value::Null;
    });
    world.start_as("portal");
    let second = world.wait(MAIL, &first.version);
    assert_ne!(first.serial, second.serial);
    // It has told what it replaces, and was understood.
    assert!(
        !world.log("program").contains("no advice"),
        "{}",
        world.log("program")
    );
}

/// Changes what is kept of the mail host's certificate, while the program does not run.
fn change(world: &World, change: impl FnOnce(&mut serde_json::Value)) {
    let path = world.path("data/certificate-mail.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    change(&mut kept);
    std::fs::write(&path, kept.to_string()).unwrap();
}

#[test]
fn a_certificate_is_revoked_after_there_is_another() {
    let world = chosen(Options::default());
    let first = world.wait(MAIL, "");
    let next = world.certificate_status(MAIL).tls_keys[1].sha256.clone();
    world.done(&Call::Revoke {
        id: MAIL.into(),
        key_compromised: true,
    });
    let second = world.wait(MAIL, &first.version);
    assert_eq!(
        leaf(&second).key_sha256,
        next,
        "the key that somebody has is used on"
    );
    world.until("it is revoked", |w| {
        w.log("program").contains("the one before is revoked")
    });
    assert_eq!(world.log("pebble").matches("POST /revoke-cert").count(), 1);
}

#[test]
fn the_other_name_server_has_the_challenge_before_it_is_looked_at() {
    let world = chosen(Options {
        secondary: true,
        // Only there the authority looks.
        pebble_asks_secondary: true,
        ..Options::default()
    });
    serve(&world.wait(MAIL, ""));
    serve(&world.wait(ZONE, ""));
}

#[test]
fn six_days_are_enough() {
    let lifetime_s = 6 * 86_400;
    let world = chosen(Options {
        lifetime_s,
        ..Options::default()
    });
    let mail = world.wait(MAIL, "");
    let status = world.certificate_status(MAIL);
    assert_eq!(status.state, State::Valid);
    let (_, until) = status.valid.unwrap();
    assert_eq!(mail.not_after, until);
    assert!(
        status.next_at.unwrap() < until - lifetime_s / 4,
        "it is renewed too late"
    );
}

#[test]
fn it_is_renewed_by_itself_when_its_time_has_come() {
    let mut world = chosen(Options::default());
    let first = world.wait(MAIL, "");
    world.wait(ZONE, "");
    for (from, until) in [(-80, 10), (-100, -10)] {
        world.kill();
        let old = age(&world, &first, from, until);
        world.clock.store(false, Ordering::SeqCst);
        world.start_as("portal");
        // Nobody knows whether it holds; it is better than none.
        assert_eq!(world.wait(MAIL, "").version, old);
        world.clock.store(true, Ordering::SeqCst);
        let new = world.wait(MAIL, &old);
        serve(&new);
        assert_eq!(new.key_pem, first.key_pem);
        assert_eq!(world.certificate_status(MAIL).state, State::Valid);
    }
}

/// As if the box had been away: a certificate for the current key that holds between these days from
/// now is in place of the one that there is.
fn age(world: &World, certificate: &Certificate, from: i64, until: i64) -> String {
    let key = rcgen::KeyPair::from_pem(&certificate.key_pem).unwrap();
    let mut params = rcgen::CertificateParams::new(certificate.names.clone()).unwrap();
    let day = |days: i64| time::OffsetDateTime::now_utc() + time::Duration::days(days);
    params.not_before = day(from);
    params.not_after = day(until);
    params.serial_number = Some(1.into());
    let chain = params.self_signed(&key).unwrap().pem();
    change(world, |kept| {
        kept["chain"] = chain.clone().into();
        kept["renewal"]["issued"] = serde_json::json!([]);
        kept["renewal"]["advice"] = serde_json::Value::Null;
    });
    Leaf::parse(&chain).unwrap().version
}

#[test]
fn each_guest_gets_what_is_its_own() {
    let mut world = chosen(Options::default());
    world.wait(ZONE, "");
    let get = |id: &str| Call::Get { id: id.into() };
    let renew = Call::Renew { id: MAIL.into() };
    let why = |world: &World, call| match world.ask(&call) {
        Answer::Refused { why } => why,
        _ => panic!("it was not refused"),
    };
    let mut told = vec![why(&world, Call::DnsKey), why(&world, get("nobody"))];
    world.start_as("mail");
    assert!(matches!(world.ask(&get(MAIL)), Answer::Certificate(_)));
    told.extend([why(&world, get(ZONE)), why(&world, renew.clone())]);
    world.start_as("dns");
    assert!(matches!(world.ask(&Call::DnsKey), Answer::DnsKey { .. }));
    told.extend([why(&world, get(MAIL)), why(&world, renew)]);
    insta::assert_snapshot!(told.join("\n"), @r#"
    portal may not ask for this
    there is no certificate "nobody"
    mail may not have the certificate "roost-lab.org"
    mail may not ask for this
    dns may not have the certificate "mail"
    dns may not ask for this
    "#);
    // Of the table, but no guest.
    world.start_as("tunnel");
    assert!(world.try_ask(&Call::Status).is_none());
}
