//! How certificates stand, in words for people.

use crate::book::{Desk, Job};
use crate::renew::{DAY, Next, Pause};
use crate::setup::Wanted;
use crate::store::Kept;
use roost_service::certificates::{CertificateStatus, State, Status};

/// The whole status. `now`: `None` while the clock is not set.
pub fn status(desk: &Desk, now: Option<u64>) -> Status {
    let (choice, zones) = (desk.choice(), desk.zones());
    let jobs = desk.jobs(now);
    let mut certificates = Vec::new();
    for wanted in desk.wanted() {
        if let Some(kept) = desk.kept(&wanted.id) {
            let next = jobs.iter().find_map(|(of, job)| match job {
                Job::Renew(next) if *of == wanted => Some(*next),
                _ => None,
            });
            certificates.push(one(wanted, &kept, next, now));
        }
    }
    let directory = choice
        .as_ref()
        .map(|choice| choice.directory.url().to_owned());
    let account = directory
        .as_ref()
        .and_then(|directory| desk.account(directory));
    let (account, caa) = account.map_or((None, Vec::new()), |a| (a.uri, a.caa));
    Status {
        summary: whole(desk, now, &certificates),
        account,
        caa,
        directory,
        choice,
        zones,
        certificates,
    }
}

/// In one sentence how it stands: first what somebody has to do before anything can happen.
fn whole(desk: &Desk, now: Option<u64>, certificates: &[CertificateStatus]) -> String {
    let Some(choice) = desk.choice() else {
        return "Nobody has chosen yet how to get certificates.".into();
    };
    if !choice.terms_agreed {
        return "Nobody has agreed to the certificate authority's terms yet.".into();
    }
    let Some(setup) = desk.setup() else {
        return "The name server has not told yet which names the box has.".into();
    };
    if now.is_none() {
        return "The clock is not set yet; nothing is ordered before it is.".into();
    }
    let bad = certificates.iter().find(|c| c.state != State::Valid);
    match (bad, setup.stray()) {
        (Some(bad), _) => format!("{}: {}", bad.names.join(", "), bad.summary),
        (None, Some(portal)) => format!(
            "The portal's name {portal} gets no certificate: it is in none of the box's domains. \
             Choose another name."
        ),
        (None, None) => "All certificates are there and hold.".into(),
    }
}

fn one(wanted: Wanted, kept: &Kept, next: Option<Next>, now: Option<u64>) -> CertificateStatus {
    let leaf = kept.leaf().map(|(leaf, _)| leaf);
    let until = leaf.as_ref().map(|leaf| leaf.life.until);
    // Without a clock, what there is may hold.
    let state = match (until, now) {
        (None, _) => State::Missing,
        (Some(until), Some(now)) if until < now => State::Expired,
        _ if kept.failure.is_some() => State::Failing,
        _ => State::Valid,
    };
    let next_at = next.and_then(|next| match next {
        Next::Wait { until, .. } => (until < u64::MAX).then_some(until),
        _ => now,
    });
    CertificateStatus {
        summary: summary(state, kept, next, until, now),
        names: wanted.names(),
        readers: wanted.readers.iter().map(ToString::to_string).collect(),
        id: wanted.id,
        state,
        serial: leaf.as_ref().map(|leaf| leaf.serial.clone()),
        valid: leaf.map(|leaf| (leaf.life.from, leaf.life.until)),
        next_at,
        tls_keys: kept.keys.tls_keys(now.unwrap_or(u64::MAX)),
        failure: kept.failure.clone(),
    }
}

fn summary(
    state: State,
    kept: &Kept,
    next: Option<Next>,
    until: Option<u64>,
    now: Option<u64>,
) -> String {
    let left = |then: Option<u64>| now.and_then(|now| then?.checked_sub(now));
    let there = match state {
        State::Missing => "There is no certificate yet.".into(),
        State::Expired => "The certificate has expired.".into(),
        State::Valid | State::Failing => left(until).map_or_else(
            || "There is a certificate.".into(),
            |left| format!("The certificate holds for {}.", span(left)),
        ),
    };
    let failed = kept.failure.as_ref().map(|failure| {
        let name = (failure.name.as_ref()).map_or_else(String::new, |name| format!(" for {name}"));
        // Others' sentences may have a full stop.
        let why = failure.why.trim_end_matches('.');
        format!(" {} failed{name}: {why}. {}", failure.what, failure.hint)
    });
    let then = match next {
        Some(Next::Wait { until, pause }) => {
            let left = left(Some(until)).map_or_else(|| "a while".into(), span);
            match pause {
                Pause::NoClock => " It waits for the clock to be set.".into(),
                // Advice is asked for in between; that is nothing to tell.
                Pause::NotDue => String::new(),
                Pause::Failed => format!(" The next try is in {left}."),
                Pause::Banned => {
                    format!(" The certificate authority wants to be left alone for {left}.")
                }
                Pause::Budget => {
                    format!(" There were many orders within a week; the next one is in {left}.")
                }
            }
        }
        Some(Next::Order(_)) => " It is being ordered.".into(),
        Some(Next::AskAdvice) | None => String::new(),
    };
    format!("{there}{}{then}", failed.unwrap_or_default())
}

/// A span of time in words, rounded down.
fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => return "a moment".into(),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        _ => (seconds / DAY, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::MAX_WHY;
    use crate::setup::{MAX_DOMAINS, MAX_ROOTS, Setup};
    use roost_service::certificates::{Answer, Choice, Failure, MAX_LINE, Secondary, Zones};

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn each_state_in_words() {
        let now = NOW;
        let mut kept = Kept::new("https://ca.example").unwrap();
        let wait = |until, pause| Some(Next::Wait { until, pause });
        let mut lines = vec![
            summary(
                State::Missing,
                &kept,
                wait(u64::MAX, Pause::NoClock),
                None,
                None,
            ),
            summary(
                State::Missing,
                &kept,
                Some(Next::Order(crate::renew::Why::Missing)),
                None,
                Some(now),
            ),
            summary(
                State::Valid,
                &kept,
                wait(now + DAY, Pause::NotDue),
                Some(now + 80 * DAY),
                Some(now),
            ),
        ];
        kept.failure = Some(Failure {
            at: now,
            times: 1,
            what: "Ordering a certificate".into(),
            name: Some("mail.example.org".into()),
            why: "the certificate authority says: No.".into(),
            hint: "Ask it.".into(),
        });
        for (pause, wait_s) in [
            (Pause::Failed, 300),
            (Pause::Banned, 10_000),
            (Pause::Budget, 90),
        ] {
            let until = Some(now + 29 * DAY);
            lines.push(summary(
                State::Failing,
                &kept,
                wait(now + wait_s, pause),
                until,
                Some(now),
            ));
        }
        lines.push(summary(
            State::Expired,
            &kept,
            None,
            Some(now - 1),
            Some(now),
        ));
        insta::assert_snapshot!(lines.join("\n"), @"
        There is no certificate yet. It waits for the clock to be set.
        There is no certificate yet. It is being ordered.
        The certificate holds for 80 days.
        The certificate holds for 29 days. Ordering a certificate failed for mail.example.org: the certificate authority says: No. Ask it. The next try is in 5 minutes.
        The certificate holds for 29 days. Ordering a certificate failed for mail.example.org: the certificate authority says: No. Ask it. The certificate authority wants to be left alone for 2 hours.
        The certificate holds for 29 days. Ordering a certificate failed for mail.example.org: the certificate authority says: No. Ask it. There were many orders within a week; the next one is in a moment.
        The certificate has expired. Ordering a certificate failed for mail.example.org: the certificate authority says: No. Ask it.
        ");
    }

    #[test]
    fn whatever_fails_the_status_is_one_line() {
        let line = format!("{}\n", "A".repeat(64));
        let setup = Setup {
            choice: Choice {
                portal: Some("portal.00.a-rather-long-name-of-a-domain.example.org".into()),
                roots_pem: Some(line.repeat(MAX_ROOTS / line.len())),
                ..Choice::default()
            },
            zones: Zones {
                mail_host: "mail.00.a-rather-long-name-of-a-domain.example.org".into(),
                domains: (0..MAX_DOMAINS)
                    .map(|n| format!("{n:02}.a-rather-long-name-of-a-domain.example.org"))
                    .collect(),
                secondaries: vec![
                    Secondary {
                        address: "[2001:db8::1234:5678]:53".parse().unwrap(),
                        from: Some("2001:db8::8765:4321".parse().unwrap()),
                    };
                    4
                ],
            },
        };
        let mut kept = Kept::new(setup.choice.directory.url()).unwrap();
        let second = kept.keys.next.sha256.clone();
        kept.keys.used(&second, NOW).unwrap();
        let published = crate::keys::Published {
            since: NOW,
            ttl_s: 3600,
        };
        for key in [
            kept.keys.current.sha256.clone(),
            kept.keys.next.sha256.clone(),
        ] {
            assert!(kept.keys.published(&key, published));
        }
        let params = rcgen::CertificateParams::new(vec!["a.org".to_owned()]).unwrap();
        let key = kept.keys.current.pair().unwrap();
        kept.chain = Some(params.self_signed(&key).unwrap().pem());
        let wait = Next::Wait {
            until: NOW + DAY,
            pause: Pause::Banned,
        };
        let certificates = setup.wanted().into_iter().map(|wanted| {
            kept.failure = Some(Failure {
                at: NOW,
                times: 1000,
                what: "Publishing the proof that the name is the box's".into(),
                name: Some(wanted.names[0].name.clone()),
                why: "x".repeat(MAX_WHY),
                hint: "h".repeat(120),
            });
            one(wanted, &kept, Some(wait), Some(NOW))
        });
        let certificates: Vec<_> = certificates.collect();
        assert_eq!(certificates.len(), MAX_DOMAINS + 2);
        assert_eq!(certificates[0].state, State::Failing);
        assert_eq!(certificates[0].tls_keys.len(), 3);
        let status = Status {
            summary: certificates[0].summary.clone(),
            directory: Some(setup.choice.directory.url().into()),
            account: Some("https://ca.example/account/1234567890".into()),
            caa: vec!["ca.example".into()],
            choice: Some(setup.choice),
            zones: Some(setup.zones),
            certificates,
        };
        let line = serde_json::to_string(&Answer::Status(Box::new(status))).unwrap();
        assert!(line.len() < MAX_LINE, "{} bytes", line.len());
    }
}
