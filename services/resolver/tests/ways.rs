//! Which way answers come, in networks of several kinds.

mod world;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use roost_service::resolver::Way;
use std::time::{Duration, Instant};
use world::{ROOT, ROUTER, Resolver, SILENT, UNBOUND, World, inside, until};

/// Code and AD of a signed name.
fn signed(resolver: &Resolver) -> (ResponseCode, bool) {
    let answer = resolver.ask("www.example.org.", RecordType::A);
    (
        answer.metadata.response_code,
        answer.metadata.authentic_data,
    )
}

/// Code and AD of a forged one.
fn forged(resolver: &Resolver) -> (ResponseCode, bool) {
    let answer = resolver.ask("www.bogus.org.", RecordType::A);
    (
        answer.metadata.response_code,
        answer.metadata.authentic_data,
    )
}

#[test]
fn without_root_servers_the_networks_resolver_is_used_and_checked() {
    if !inside("without_root_servers_the_networks_resolver_is_used_and_checked") {
        return;
    }
    let world = World::new();
    let resolver = world.resolver(SILENT, &[SILENT, UNBOUND], true);
    resolver.wait_for(Way::Forwarded);
    assert_eq!(signed(&resolver), (ResponseCode::NoError, true));
    assert_eq!(forged(&resolver), (ResponseCode::ServFail, false));
    for name in [
        "out.example.org.",
        "host.old.example.org.",
        "outwild.example.org.",
        "x.wild.example.org.",
    ] {
        let answer = resolver.ask(name, RecordType::A);
        assert!(answer.metadata.authentic_data, "{name}: {}", resolver.log());
    }
    let big = resolver.ask("big.example.org.", RecordType::TXT);
    assert!(big.metadata.authentic_data && big.answers.len() > 13);
    let nothing = resolver.ask("nothing.nsec3.org.", RecordType::A);
    assert_eq!(nothing.metadata.response_code, ResponseCode::NXDomain);
    assert!(nothing.metadata.authentic_data);
    let unsigned = resolver.ask("www.unsigned.org.", RecordType::A);
    assert_eq!(unsigned.metadata.response_code, ResponseCode::NoError);
    assert!(!unsigned.metadata.authentic_data);
    insta::assert_snapshot!(resolver.status().summary, @"answers come from the network's resolver, and are checked; the root servers cannot be reached");
}

#[test]
fn networks_change_and_a_router_may_leave_out_signatures() {
    if !inside("networks_change_and_a_router_may_leave_out_signatures") {
        return;
    }
    let world = World::new();
    let router = world.router();
    let resolver = world.resolver(SILENT, &[ROUTER], true);
    resolver.wait_for(Way::Unchecked);
    // Mail goes on; nothing counts as secure. (This router's own resolver does check.)
    assert_eq!(signed(&resolver), (ResponseCode::NoError, false));
    insta::assert_snapshot!(resolver.status().summary, @"answers come from the network's resolver, which leaves out signatures: they cannot be checked");

    // Another network.
    resolver.move_to(&[UNBOUND]);
    resolver.wait_for(Way::Forwarded);
    assert_eq!(signed(&resolver), (ResponseCode::NoError, true));
    assert_eq!(
        resolver.status().network,
        [UNBOUND.parse::<std::net::IpAddr>().unwrap()]
    );

    // No network.
    resolver.move_to(&[]);
    resolver.wait_for(Way::Offline);
    let began = Instant::now();
    assert_eq!(signed(&resolver), (ResponseCode::ServFail, false));
    assert!(began.elapsed() < Duration::from_secs(1), "it fails at once");

    // One whose resolver says nothing: mail's questions for names of the home do not wait for it either.
    resolver.move_to(&[SILENT]);
    until("the network is known", || {
        (resolver.status().network.len() == 1).then_some(())
    });
    resolver.wait_for(Way::Offline);
    let began = Instant::now();
    let answer = resolver.ask("printer.home.arpa.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(began.elapsed() < Duration::from_secs(1), "it fails at once");

    resolver.move_to(&[ROUTER]);
    resolver.wait_for(Way::Unchecked);
    drop(router);
    // The way that does not work any more is noticed by questions without answers.
    let mut number = 0;
    until("it is offline", || {
        number += 1;
        resolver.ask(&format!("{number}.example.net."), RecordType::A);
        (resolver.status().way == Way::Offline).then_some(())
    });
    let _router = world.router();
    resolver.wait_for(Way::Unchecked);

    // Another address may be what was missing.
    resolver.move_to(&[SILENT]);
    resolver.wait_for(Way::Offline);
    world::run(
        "iproute2",
        "ip",
        &["address", "add", "2001:db8:7::1/64", "dev", "lo"],
    );
    until("it is noticed", || {
        resolver
            .log()
            .contains("this machine has other addresses")
            .then_some(())
    });
}

#[test]
fn nothing_is_checked_by_a_clock_that_is_not_set() {
    if !inside("nothing_is_checked_by_a_clock_that_is_not_set") {
        return;
    }
    let world = World::new();
    let resolver = world.resolver(ROOT, &[UNBOUND], false);
    resolver.wait_for(Way::Unchecked);
    assert_eq!(signed(&resolver), (ResponseCode::NoError, false));
    insta::assert_snapshot!(resolver.status().summary, @"answers come from the network's resolver, and are not checked until the clock is set");
    resolver.set_clock();
    resolver.wait_for(Way::Recursive);
    // What was kept without a check is not used any more.
    assert_eq!(signed(&resolver), (ResponseCode::NoError, true));
    assert_eq!(forged(&resolver), (ResponseCode::ServFail, false));
}

#[test]
fn names_of_the_home_are_asked_of_its_resolver() {
    if !inside("names_of_the_home_are_asked_of_its_resolver") {
        return;
    }
    let world = World::new();
    let resolver = world.resolver(ROOT, &[UNBOUND], true);
    resolver.wait_for(Way::Recursive);
    // With a root of one's own `.lan` is a domain like any other, so only these are the home's.
    let before = world.asked("root").len();
    let answer = resolver.ask("printer.home.arpa.", RecordType::A);
    assert!(!answer.metadata.authentic_data);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(world.asked("root").len(), before, "the root is not asked");
    let answer = resolver.ask("nas.lan.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(answer.metadata.authentic_data, "the root says so");
}
