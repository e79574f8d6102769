//! What is said of secondaries that do not answer as they must.

mod serve_support;

use roost_dns::notify::{Notifier, Secondary, notify, secondary_serial};
use roost_dns::serve::{Access, Options, Zones};
use roost_dns::update::{ApplyError, Pattern};
use serve_support::*;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

fn options(zones: Zones) -> Options {
    let access = Access {
        secondaries: vec![key("secondary.", SECRET)],
        ..Access::default()
    };
    Options {
        zones,
        access,
        ..Options::default()
    }
}

fn said(error: impl std::error::Error, at: SocketAddr) -> String {
    error.to_string().replace(&at.to_string(), "ADDRESS")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_has_the_key_is_believed() {
    let fixture = Fixture::new();
    let zones = Zones::new();
    zones.publish(fixture.signed(7, "")).unwrap();
    let (_server, at) = ours(options(zones.clone())).await;
    let with = |key| Secondary {
        address: at,
        from: None,
        key,
    };
    let good = with(key("secondary.", SECRET));
    let zone = name(ORIGIN);
    assert_eq!(secondary_serial(&good, &zone).await.unwrap(), 7);

    let wrong = with(key(
        "secondary.",
        "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc=",
    ));
    let error = secondary_serial(&wrong, &zone).await.unwrap_err();
    insta::assert_snapshot!(said(error, at), @"the answer from ADDRESS is not signed with key secondary., or clocks differ by more than five minutes");
    let error = secondary_serial(&good, &name("example.com."))
        .await
        .unwrap_err();
    insta::assert_snapshot!(said(error, at), @"ADDRESS answered Query Refused");
    // Ours takes no NOTIFY, and says so without a signature, as anybody could.
    let error = notify(&good, &zone).await.unwrap_err();
    insta::assert_snapshot!(said(error, at), @"the answer from ADDRESS is not signed with key secondary., or clocks differ by more than five minutes");

    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let error = notify(
        &Secondary {
            address,
            ..good.clone()
        },
        &zone,
    )
    .await
    .unwrap_err();
    insta::assert_snapshot!(said(error, address), @"no answer from ADDRESS");
}

/// Fails, tries again, and says how often and why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_counted() {
    let fixture = Fixture::new();
    let zones = Zones::new();
    zones.publish(fixture.signed(7, "")).unwrap();
    let (_server, address) = ours(options(zones.clone())).await;
    let secondary = Secondary {
        address,
        from: None,
        key: key("secondary.", SECRET),
    };
    let notifier = Notifier::start(&zones, vec![secondary]);
    let began = Instant::now();
    let attempts = || {
        let states = notifier.states();
        let state = states.values().next()?;
        assert_eq!(state.acknowledged, None);
        state.failing.as_ref().map(|(attempts, _)| *attempts)
    };
    while attempts().is_none_or(|attempts| attempts < 2) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // A change is a reason to try at once.
    zones.publish(Arc::clone(&fixture.signed(8, ""))).unwrap();
    while attempts().is_none_or(|attempts| attempts < 3) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[test]
fn other_failures_say_what_failed() {
    let error = ApplyError {
        zone: name(ORIGIN),
        why: "the disk is full".to_owned(),
    };
    insta::assert_snapshot!(error, @"the update of zone example.org. was not applied: the disk is full");
    let error = "a*.b".parse::<Pattern>().unwrap_err();
    insta::assert_snapshot!(error, @"'a*.b' is no pattern of names: labels, '*' and '**', with dots between");
}
