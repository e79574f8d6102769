//! What the portal and dns tell: two halves, in any order, again and again.

mod medium;

use medium::{NOW, Recorder, choice, issue, more_zones, open, zones};
use roost_certificates::book::{Desk, Job};
use roost_certificates::renew::{Next, Pause, Why};
use roost_certificates::status::status;
use roost_service::certificates::{Choice, MAIL, PORTAL, Zones};
use std::net::SocketAddr;

fn told() -> (Recorder, Desk) {
    let folder = Recorder::default();
    let desk = open(folder.clone());
    desk.set(choice()).unwrap();
    desk.serve(zones()).unwrap();
    (folder, desk)
}

fn summary(desk: &Desk) -> String {
    status(desk, Some(NOW)).summary
}

/// What is next for each certificate.
fn next(desk: &Desk) -> Vec<(String, Next)> {
    let jobs = desk.jobs(Some(NOW)).into_iter();
    jobs.map(|(wanted, job)| match job {
        Job::Renew(next) => (wanted.id, next),
        _ => panic!("{job:?}"),
    })
    .collect()
}

/// Those that are tried now.
fn due(desk: &Desk) -> Vec<String> {
    let due = next(desk).into_iter().filter(|(_, next)| match next {
        Next::Order(Why::Missing) => true,
        Next::Wait {
            pause: Pause::Failed,
            ..
        } => false,
        other => panic!("{other:?}"),
    });
    due.map(|(id, _)| id).collect()
}

fn fail(desk: &Desk) {
    for wanted in desk.wanted() {
        desk.change(&wanted.id, |kept| kept.renewal.failed(NOW, None))
            .unwrap();
    }
    assert_eq!(due(desk), [""; 0]);
}

#[test]
fn nothing_is_done_before_both_halves_are_there() {
    let (folder, other) = (Recorder::default(), Recorder::default());
    let desk = open(folder.clone());
    let mut said = vec![summary(&desk)];
    desk.set(Choice {
        terms_agreed: false,
        ..choice()
    })
    .unwrap();
    said.push(summary(&desk));
    desk.set(choice()).unwrap();
    said.push(summary(&desk));
    let half = status(&desk, Some(NOW));
    assert_eq!((half.choice, half.zones), (Some(choice()), None));
    assert_eq!((half.certificates, next(&desk)), (vec![], vec![]));

    let names_first = open(other.clone());
    names_first.serve(zones()).unwrap();
    said.push(summary(&names_first));
    let half = status(&names_first, Some(NOW));
    assert_eq!((half.choice, half.zones), (None, Some(zones())));
    assert_eq!((half.certificates, next(&names_first)), (vec![], vec![]));

    desk.serve(zones()).unwrap();
    said.push(summary(&desk));
    names_first.set(choice()).unwrap();
    said.push(status(&names_first, None).summary);
    insta::assert_snapshot!(said.join("\n"), @"
    Nobody has chosen yet how to get certificates.
    Nobody has agreed to the certificate authority's terms yet.
    The name server has not told yet which names the box has.
    Nobody has chosen yet how to get certificates.
    mail.roost-lab.org: There is no certificate yet. It is being ordered.
    The clock is not set yet; nothing is ordered before it is.
    ");
    let ids = [MAIL, "roost-lab.org"];
    assert_eq!(due(&desk), ids);
    assert_eq!(due(&names_first), ids);
    assert_eq!(due(&open(folder)), ids);
    assert_eq!(due(&open(other)), ids);
}

#[test]
fn what_is_told_again_writes_nothing_and_moves_nothing() {
    let (folder, desk) = told();
    fail(&desk);
    let (steps, before) = (folder.steps(), next(&desk));
    desk.serve(zones()).unwrap();
    assert_eq!((folder.steps(), next(&desk)), (steps, before));
    // The owner wants to see it tried, though nothing else is new.
    desk.set(choice()).unwrap();
    assert_eq!(folder.steps(), steps);
    assert_eq!(due(&desk), [MAIL, "roost-lab.org"]);
}

#[test]
fn other_names_start_only_what_they_may_help() {
    let (_, desk) = told();
    fail(&desk);
    desk.serve(more_zones()).unwrap();
    assert_eq!(due(&desk), ["other.org"]);
    fail(&desk);
    desk.serve(Zones {
        mail_host: "mx.other.org".into(),
        ..more_zones()
    })
    .unwrap();
    assert_eq!(due(&desk), [MAIL]);
    fail(&desk);
    // Another name server may have been what had no challenge.
    desk.serve(Zones {
        secondaries: vec![SocketAddr::from(([192, 0, 2, 1], 53)).into()],
        ..zones()
    })
    .unwrap();
    assert_eq!(due(&desk), [MAIL, "roost-lab.org"]);
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let (folder, desk) = told();
    let steps = folder.steps();
    let portal = |name: &str| Choice {
        portal: Some(name.into()),
        ..choice()
    };
    let faults = [
        desk.set(portal("box.other.org")).unwrap_err(),
        desk.serve(Zones {
            mail_host: "mail.elsewhere.org".into(),
            ..zones()
        })
        .unwrap_err(),
    ];
    insta::assert_snapshot!(faults.join("\n"), @"
    portal: box.other.org is in none of the domains.
    mail_host: mail.elsewhere.org is in none of the domains.
    ");
    assert_eq!(
        (desk.choice(), desk.zones()),
        (Some(choice()), Some(zones()))
    );
    assert_eq!(folder.steps(), steps);
}

#[test]
fn a_domain_that_is_gone_stops_nothing_else() {
    let (folder, desk) = told();
    desk.serve(more_zones()).unwrap();
    let portal = Some("box.other.org".into());
    desk.set(Choice { portal, ..choice() }).unwrap();
    for wanted in desk.wanted() {
        issue(&desk, &wanted.id, false);
    }
    let mut said = vec![summary(&desk)];
    let key = desk.certificate(PORTAL).unwrap().key_pem;
    desk.serve(zones()).unwrap();
    said.push(summary(&desk));
    assert!(desk.certificate(PORTAL).is_none());
    // Not even after a power cut.
    said.push(summary(&open(folder)));
    insta::assert_snapshot!(said.join("\n"), @"
    All certificates are there and hold.
    The portal's name box.other.org gets no certificate: it is in none of the box's domains. Choose another name.
    The portal's name box.other.org gets no certificate: it is in none of the box's domains. Choose another name.
    ");
    // Who comes back finds its key.
    desk.serve(more_zones()).unwrap();
    assert_eq!(desk.certificate(PORTAL).unwrap().key_pem, key);
}
