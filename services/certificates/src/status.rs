//! How certificates stand, in words for people.

use crate::book::{Desk, Job};
use crate::renew::{DAY, Next, Pause};
use crate::setup::Wanted;
use crate::store::Kept;
use roost_service::certificates::{CertificateStatus, State, Status};

/// The whole status. `now`: `None` while the clock is not set.
pub fn status(desk: &Desk, now: Option<u64>) -> Status {
    let setup = desk.setup();
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
    let directory = setup.as_ref().map(|setup| setup.directory.url().to_owned());
    let bad = certificates.iter().find(|c| c.state != State::Valid);
    let summary = match (&setup, bad) {
        (None, _) => "It is not chosen yet how to get certificates.".into(),
        (Some(setup), _) if !setup.terms_agreed => {
            "Nobody has agreed to the certificate authority's terms yet.".into()
        }
        (_, _) if now.is_none() => "The clock is not set yet; nothing is ordered before.".into(),
        (_, Some(bad)) => format!("{}: {}", bad.names.join(", "), bad.summary),
        (_, None) => "All certificates are there and hold.".into(),
    };
    Status {
        summary,
        account: directory
            .as_ref()
            .and_then(|directory| desk.account(directory)?.uri),
        directory,
        certificates,
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
        format!(
            " {}{name} failed: {}. {}",
            failure.what, failure.why, failure.hint
        )
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
    use roost_service::certificates::Failure;

    #[test]
    fn each_state_in_words() {
        let now = 1_800_000_000;
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
            what: "Order a certificate".into(),
            name: Some("mail.example.org".into()),
            why: "the certificate authority says: no".into(),
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
        The certificate holds for 29 days. Order a certificate for mail.example.org failed: the certificate authority says: no. Ask it. The next try is in 5 minutes.
        The certificate holds for 29 days. Order a certificate for mail.example.org failed: the certificate authority says: no. Ask it. The certificate authority wants to be left alone for 2 hours.
        The certificate holds for 29 days. Order a certificate for mail.example.org failed: the certificate authority says: no. Ask it. There were many orders within a week; the next one is in a moment.
        The certificate has expired. Order a certificate for mail.example.org failed: the certificate authority says: no. Ask it.
        ");
    }
}
