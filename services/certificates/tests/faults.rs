//! The program against Pebble and BIND, when something is wrong.

mod world;

use roost_service::certificates::{Answer, Call, Choice, Directory, MAIL, State, Zones};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use world::{Options, World, ZONE, chosen, serve};

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
fn a_directory_that_is_none_is_told() {
    let mut world = World::new(Options::default());
    world.tell(world.zones());
    let mut choice = world.choice();
    let right = choice.directory.clone();
    choice.directory = Directory::Url(right.url().replace("/dir", "/elsewhere"));
    world.choose(choice.clone());
    insta::assert_snapshot!(failure(&world, MAIL), @"
    Opening an account at the certificate authority

    the certificate authority's answer is none of the ACME protocol
    Check the directory's address: it has to be that of an ACME directory.
    ");

    choice.directory = Directory::Url("https://127.0.0.1:1/dir".into());
    world.choose(choice.clone());
    world.until("another failure", |w| failure(w, MAIL).contains("refused"));
    insta::assert_snapshot!(failure(&world, MAIL), @"
    Opening an account at the certificate authority

    the certificate authority cannot be reached (Connection refused (os error 111))
    Check that the box reaches the internet, and the directory's address. It is tried again by itself.
    ");

    // Mended, it goes on at once.
    choice.directory = right;
    world.choose(choice);
    serve(&world.wait(MAIL, ""));
    assert!(world.certificate_status(MAIL).failure.is_none());
}

#[test]
fn what_is_chosen_during_an_order_is_tried_at_once_when_that_fails() {
    let mut world = World::new(Options::default());
    world.tell(world.zones());
    let mut choice = world.choice();
    let right = choice.directory.clone();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    choice.directory = Directory::Url(format!("https://{address}/dir"));
    world.choose(choice.clone());
    let (under_way, _) = silent.accept().unwrap();

    choice.directory = right;
    world.choose(choice);
    drop((under_way, silent));
    serve(&world.wait(MAIL, ""));
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
    Proving that the name is the box's
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
    world.tell(Zones {
        secondaries: vec![SocketAddr::from(([127, 0, 0, 1], 1)).into()],
        ..world.zones()
    });
    world.choose(world.choice());
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
    world.tell(world.zones());
    world.choose(world.choice());
    let status = world.status();
    assert_eq!(
        status.summary,
        "The clock is not set yet; nothing is ordered before it is."
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
fn an_account_that_was_closed_is_replaced() {
    let world = chosen(Options::default());
    let first = world.wait(MAIL, "");
    world.wait(ZONE, "");
    let account = world.status().account.unwrap();
    world.as_account(async |account| account.deactivate().await.unwrap());
    world.done(&Call::Renew { id: MAIL.into() });
    let second = world.wait(MAIL, &first.version);
    assert_eq!(first.key_pem, second.key_pem);
    assert_ne!(world.status().account.unwrap(), account);
}

#[test]
fn another_secret_is_told() {
    let mut world = World::new(Options::default());
    let other = "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIhISE=";
    std::fs::write(world.path("run/acme.key"), other).unwrap();
    world.tell(world.zones());
    world.choose(world.choice());
    insta::assert_snapshot!(failure(&world, MAIL), @"
    Publishing the proof that the name is the box's
    mail.roost-lab.org
    the box's own name server refuses the update (NOTAUTH)
    Look whether the box's name server runs and serves the domain. It is tried again by itself.
    ");
    assert_eq!(world.log("pebble").matches("POST /chalZ").count(), 0);
}

#[test]
fn a_name_outside_of_what_it_may_change_is_told() {
    let mut world = World::new(Options::default());
    world.tell(world.zones());
    world.choose(Choice {
        portal: Some(format!("elsewhere.{ZONE}")),
        ..world.choice()
    });
    insta::assert_snapshot!(failure(&world, "portal"), @"
    Publishing the proof that the name is the box's
    elsewhere.roost-lab.org
    the box's own name server refuses the update (REFUSED)
    Look whether the box's name server runs and serves the domain. It is tried again by itself.
    ");
    // The others are not held up.
    serve(&world.wait(MAIL, ""));
    serve(&world.wait(ZONE, ""));
}

#[test]
fn each_half_is_told_by_who_knows_it_and_what_is_wrong_to_who_told_it() {
    fn refused(answer: Answer) -> String {
        match answer {
            Answer::Refused { why } => why,
            _ => panic!("it was taken"),
        }
    }
    let mut world = World::new(Options::default());
    let set = |choice: &Choice| Call::Set {
        choice: Box::new(choice.clone()),
    };
    let (choice, zones) = (world.choice(), world.zones());
    let wrong_choice = Choice {
        directory: Directory::Url("http://ca.org".into()),
        roots_pem: Some("none".into()),
        ..choice.clone()
    };
    let wrong_zones = Zones {
        mail_host: "mail.elsewhere.org".into(),
        ..zones.clone()
    };
    let serve_call = |zones: &Zones| Call::Serve {
        zones: zones.clone(),
    };
    world.start_as("portal");
    let mut why = vec![
        refused(world.ask(&set(&wrong_choice))),
        refused(world.ask(&serve_call(&zones))),
    ];
    assert_eq!(world.status().directory, None);
    world.done(&set(&choice));
    let status = world.status();
    let said = "The name server has not told yet which names the box has.";
    assert_eq!(status.summary, said);
    assert_eq!((status.choice, status.zones), (Some(choice.clone()), None));

    world.start_as("dns");
    why.push(refused(world.ask(&serve_call(&wrong_zones))));
    why.push(refused(world.ask(&set(&choice))));
    assert_eq!(world.status().zones, None);
    world.done(&serve_call(&zones));
    let status = world.status();
    assert_eq!((status.choice, status.zones), (Some(choice), Some(zones)));
    insta::assert_snapshot!(why.join("\n"), @r#"
    directory: "http://ca.org" is no https address. roots_pem: there is no certificate in it.
    portal may not ask for this
    mail_host: mail.elsewhere.org is in none of the domains.
    dns may not ask for this
    "#);

    world.start_as("mail");
    serve(&world.wait(MAIL, ""));
}
