//! The program against Pebble and BIND: what an owner and the other services see.

mod world;

use instant_acme::{Account, RevocationReason, RevocationRequest};
use roost_certificates::http::Https;
use roost_certificates::leaf::Leaf;
use roost_service::certificates::{Answer, Call, Certificate, Directory, MAIL, Role, State};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use world::{Options, World, ZONE};

/// A world in which certificates were chosen.
fn chosen(options: Options) -> World {
    let mut world = World::new(options);
    world.start_as("portal");
    world.done(&Call::Set {
        setup: world.setup(),
    });
    world
}

fn leaf(certificate: &Certificate) -> Leaf {
    Leaf::parse(&certificate.chain_pem).unwrap()
}

/// A TLS server takes both: they belong together.
fn serve(certificate: &Certificate) {
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes());
    let chain: Vec<_> = chain.map(|c| c.unwrap()).collect();
    assert!(chain.len() > 1, "the issuer is missing");
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    config
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
}

/// Whatever failed, without what differs from run to run.
fn failure(world: &World, id: &str) -> String {
    world.until("it fails", |w| w.certificate_status(id).failure.is_some());
    let f = world.certificate_status(id).failure.unwrap();
    let name = f.name.unwrap_or_default();
    let text = format!("{}\n{name}\n{}\n{}", f.what, f.why, f.hint);
    let mut clean = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        // Ports and the like.
        clean += if digits >= 4 { "N" } else { &part[..digits] };
        clean += &part[digits..];
    }
    clean
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
    world.done(&Call::Renew { id: MAIL.into() });
    let second = world.wait(MAIL, &first.version);
    assert_ne!(first.serial, second.serial);
    assert_eq!(first.key_pem, second.key_pem);
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
    revoke_elsewhere(&world, &first);
    forget_advice(&world);
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

/// Uses the account as somebody else would who has it.
fn revoke_elsewhere(world: &World, certificate: &Certificate) {
    use base64::Engine;
    let text = std::fs::read_to_string(world.path("data/accounts.json")).unwrap();
    let account = &serde_json::from_str::<serde_json::Value>(&text).unwrap()[0];
    let text = |field: &str| account[field].as_str().unwrap().to_owned();
    let key = base64::prelude::BASE64_STANDARD
        .decode(text("key"))
        .unwrap();
    let https = Https::new(Some(&world.path("pebble.pem"))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let account = Account::builder_with_http(Box::new(https))
            .from_parts(
                text("uri"),
                PrivatePkcs8KeyDer::from(key),
                text("directory"),
            )
            .await
            .unwrap();
        let certificate = &CertificateDer::from(leaf(certificate).der);
        let reason = Some(RevocationReason::KeyCompromise);
        account
            .revoke(&RevocationRequest {
                certificate,
                reason,
            })
            .await
            .unwrap();
    });
}

/// As if it were asked for a day ago.
fn forget_advice(world: &World) {
    let path = world.path("data/certificate-mail.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    kept["renewal"]["advice"] = serde_json::Value::Null;
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
fn a_directory_that_is_none_is_told() {
    let mut world = World::new(Options::default());
    world.start_as("portal");
    let mut setup = world.setup();
    let right = setup.directory.clone();
    setup.directory = Directory::Url(right.url().replace("/dir", "/elsewhere"));
    world.done(&Call::Set {
        setup: setup.clone(),
    });
    insta::assert_snapshot!(failure(&world, MAIL), @"
    Open an account at the certificate authority

    the certificate authority's answer is none of the ACME protocol
    Check the directory's address: it has to be that of an ACME directory.
    ");

    setup.directory = Directory::Url("https://127.0.0.1:1/dir".into());
    world.done(&Call::Set {
        setup: setup.clone(),
    });
    world.until("another failure", |w| failure(w, MAIL).contains("refused"));
    insta::assert_snapshot!(failure(&world, MAIL), @"
    Open an account at the certificate authority

    the certificate authority cannot be reached (Connection refused (os error 111))
    Check that the box reaches the internet, and the directory's address. It is tried again by itself.
    ");

    // Mended, it goes on at once.
    setup.directory = right;
    world.done(&Call::Set { setup });
    serve(&world.wait(MAIL, ""));
    assert!(world.certificate_status(MAIL).failure.is_none());
}

#[test]
fn a_refused_challenge_is_told_and_not_tried_again_at_once() {
    // Nobody answers there.
    let pebble_asks = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
    let world = chosen(Options {
        pebble_asks,
        ..Options::default()
    });
    insta::assert_snapshot!(failure(&world, MAIL), @r#"
    Prove that the name is the box's
    mail.roost-lab.org
    the certificate authority says: Error retrieving TXT records for DNS challenge ("read udp 127.0.0.1:N->127.0.0.1:1: read: connection refused")
    Check that the domain is delegated to this box, and that its name servers answer from the internet.
    "#);
    world.until("both have failed", |w| {
        w.certificate_status(ZONE).failure.is_some()
    });
    world.until("challenges are taken out", |w| w.challenges().is_empty());
    let status = world.certificate_status(MAIL);
    assert_eq!(
        (status.state, status.failure.unwrap().times),
        (State::Missing, 1)
    );
    assert!(status.next_at.unwrap() >= roost_certificates::now() + 200);
    let orders = world.log("pebble").matches("POST /order-plz").count();
    assert_eq!(orders, 2, "one for each certificate");
}

#[test]
fn the_authority_is_not_asked_while_a_name_server_has_not_got_the_challenge() {
    let mut world = World::new(Options::default());
    world.start_as("portal");
    let mut setup = world.setup();
    setup.secondaries = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
    world.done(&Call::Set {
        setup: setup.clone(),
    });
    world.until("the challenge is published", |w| !w.challenges().is_empty());
    let asked = |w: &World| w.log("pebble").matches("POST /chalZ").count();
    assert_eq!(asked(&world), 0);
    world.kill();
    assert_eq!(asked(&world), 0);
    assert!(
        !world.challenges().is_empty(),
        "nothing is left to take out"
    );

    // What a crash left in the zone goes at the next start, whatever else happens.
    world.clock.store(false, Ordering::SeqCst);
    world.start_as("portal");
    world.until("it is taken out", |w| w.challenges().is_empty());
}

#[test]
fn an_order_goes_on_after_a_crash() {
    let pebble = vec![
        ("PEBBLE_VA_SLEEPTIME", "8"),
        ("PEBBLE_WFE_NONCEREJECT", "0"),
    ];
    let mut world = chosen(Options {
        pebble,
        ..Options::default()
    });
    world.until("the authority looks", |w| {
        w.log("pebble").contains("POST /chalZ")
    });
    world.kill();
    assert_eq!(world.log("pebble").matches("POST /order-plz").count(), 1);
    world.start_as("portal");
    serve(&world.wait(MAIL, ""));
    serve(&world.wait(ZONE, ""));
    world.until("challenges are taken out", |w| w.challenges().is_empty());
    let orders = world.log("pebble").matches("POST /order-plz").count();
    assert_eq!(orders, 2, "one for each certificate, in spite of the crash");
}

#[test]
fn an_account_that_is_gone_is_made_again() {
    let mut world = chosen(Options::default());
    let first = world.wait(MAIL, "");
    world.wait(ZONE, "");
    world.start_pebble();
    world.done(&Call::Renew { id: MAIL.into() });
    let second = world.wait(MAIL, &first.version);
    assert_eq!(first.key_pem, second.key_pem);
    assert!(world.log("program").contains("another account is made"));
    assert!(world.status().account.is_some());
}

#[test]
fn nothing_is_ordered_before_the_clock_is_set() {
    let mut world = World::new(Options::default());
    world.clock.store(false, Ordering::SeqCst);
    world.start_as("portal");
    world.done(&Call::Set {
        setup: world.setup(),
    });
    let status = world.status();
    assert_eq!(
        status.summary,
        "The clock is not set yet; nothing is ordered before."
    );
    assert_eq!(status.certificates[0].next_at, None);
    world.done(&Call::Renew { id: MAIL.into() });
    world.status();
    assert!(
        !world.log("pebble").contains("GET /dir"),
        "{}",
        world.log("pebble")
    );
    world.clock.store(true, Ordering::SeqCst);
    serve(&world.wait(MAIL, ""));
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
